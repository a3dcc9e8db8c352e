"""What a backend says of its machine: `GET /system_stats` as typed values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """One device; memory in bytes, as free as the driver says."""

    name: str
    kind: str
    """`cuda`, `cpu`, `mps`, …"""
    vram_total: int
    vram_free: int


@dataclass(frozen=True)
class SystemStats:
    """A backend's software, main memory (bytes) and devices."""

    comfyui_version: str
    pytorch_version: str
    ram_total: int
    ram_free: int
    devices: tuple[Device, ...]

    @classmethod
    def of(cls, value: object) -> "SystemStats":
        """Reads a decoded answer; what is not there is empty or 0."""
        said = value if isinstance(value, Mapping) else {}
        system = said.get("system")
        system = system if isinstance(system, Mapping) else {}
        listed = said.get("devices")
        devices = (
            tuple(_device(item) for item in listed if isinstance(item, Mapping)) if isinstance(listed, list) else ()
        )
        return cls(
            comfyui_version=str(system.get("comfyui_version") or ""),
            pytorch_version=str(system.get("pytorch_version") or ""),
            ram_total=_bytes(system.get("ram_total")),
            ram_free=_bytes(system.get("ram_free")),
            devices=devices,
        )


def _device(value: Mapping[str, object]) -> Device:
    return Device(
        name=str(value.get("name") or ""),
        kind=str(value.get("type") or ""),
        vram_total=_bytes(value.get("vram_total")),
        vram_free=_bytes(value.get("vram_free")),
    )


def _bytes(value: object) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0
