"""The operator's settings: what can be set, with its default and what it may be; frozen, handed down as plain values.

Read once, by `loading`; imported by `cli`, `app` and what makes its parts alone.
"""

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

_PROJECT = Path(__file__).resolve().parent.parent
CIVITAI_HOSTS = (
    "civitai.com",
    "civitai.red",
    "civitai.green",
    "b2.civitai.com",
    "civitai-delivery-worker-prod.*.r2.cloudflarestorage.com",
)
"""The site by its three names, and the hosts that it is known to send downloads to; `*` is one label of a name."""

_LEAST_STORE_GB = 0.016
"""What `ImageStore.ensure_room` wants to be free before a job is taken."""
_HOST = re.compile(r"(\*|[\w-]+)(\.(\*|[\w-]+))*", re.ASCII)


def _user_data() -> Path:
    root = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(root) / "comfy-orchestrator"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Backend(_Frozen):
    editor_url: str = Field("", pattern=r"^(https?://[^?#]+)?$")
    """Where people reach its editor, to open jobs in it; when empty, its own address, for callers on this machine."""


class RemoteBackend(_Backend):
    """A ComfyUI server that the operator runs."""

    kind: Literal["remote"] = "remote"
    url: str = Field(pattern=r"^https?://[^/?#]+/?$")
    """Where it answers, such as http://127.0.0.1:8188."""
    name: str = ""
    """What logs, `GET /backends` and `GET /readyz` call it; its host and port when empty."""
    models: Literal["shared", "fetch"] = "shared"
    """`shared`: it reads the service's model folder. `fetch`: its node pack fetches models from the service."""
    headers: dict[str, str] = {}
    """Sent with every request, for a proxy that wants a key."""

    @field_validator("url")
    @classmethod
    def _has_host_and_port(cls, url: str) -> str:
        if "@" in urlsplit(url).netloc:
            raise ValueError("it carries a user name or password; send them by `headers`")
        return _require_origin(url)

    @property
    def called(self) -> str:
        """Its name."""
        return self.name or urlsplit(self.url).netloc


class ManagedBackend(_Backend):
    """A ComfyUI that the service starts, watches and stops: one process a device."""

    kind: Literal["managed"]
    folder: Path | None = None
    """ComfyUI's checkout; where `comfy-cli` has put one when not set."""
    python: Path | None = None
    """What runs it; the `.venv` or `venv` in the folder or beside it when not set."""
    device: Annotated[int, Field(ge=0)] | Literal["cpu"] | None = None
    """Number of the CUDA device, or `cpu`; ComfyUI's own choice when not set."""
    arguments: tuple[str, ...] = ()
    """More of ComfyUI's options, such as --lowvram."""
    port: int = Field(0, ge=0, le=65535)
    """On loopback; 0 takes a free one, another at each start of the service."""
    name: str = Field("", pattern=r"^([A-Za-z0-9][\w.-]*)?$")
    """What logs and `GET /backends` call it, and its folder; `comfyui-<device>` when empty."""

    @field_validator("arguments")
    @classmethod
    def _are_not_ours(cls, arguments: tuple[str, ...]) -> tuple[str, ...]:
        for argument in arguments:
            if argument.partition("=")[0] in _OWN_ARGUMENTS:
                raise ValueError(f"{argument} is set by the service")
        return arguments

    @property
    def called(self) -> str:
        """Its name."""
        return self.name or ("comfyui" if self.device is None else f"comfyui-{self.device}")


_OWN_ARGUMENTS = frozenset(
    {"--port", "--listen", "--cuda-device", "--cpu", "--extra-model-paths-config", "--database-url", "--auto-launch"}
    | {f"--{folder}-directory" for folder in ("input", "output", "temp", "user", "base")}
)


def _kind_of(given: object) -> str:
    kind = given.get("kind", "remote") if isinstance(given, dict) else getattr(given, "kind", "remote")
    return str(kind)


BackendSettings = Annotated[
    Annotated[RemoteBackend, Tag("remote")] | Annotated[ManagedBackend, Tag("managed")], Discriminator(_kind_of)
]


class Settings(_Frozen):
    """Everything that can be set; each line has its default and unit."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    """0 takes a free port."""
    api_keys: Literal["auto", "required", "off"] = "auto"
    """Whether callers need an API key; `auto`: wherever `host` is not this machine alone."""
    cors_origins: tuple[str, ...] = ()
    """Origins of pages whose scripts may call, such as https://studio.example.org; `*` for all."""
    public_url: str = ""
    """What links begin with; `http://host:port` when empty."""
    data: Path = Field(default_factory=_user_data)
    """Folder for pictures, models and the key that signs links."""
    workflows: Path = _PROJECT / "workflows"
    nodes: Path = _PROJECT / "comfyui_nodes"
    backends: tuple[BackendSettings, ...] = ()
    """With none, the embedded backend is started."""
    publish: Literal["off", "editor", "open"] = "editor"
    """Who may publish workflows. With API keys, `editor` and `open` alike: whose key has the right. Without, `editor`:
    only the backends that this service starts; `open`: whoever reaches it."""
    editor_port: int = Field(0, ge=0, le=65535)
    """Where the embedded backend answers on 127.0.0.1, and ComfyUI's editor with it; 0 takes a free port, the same at
    each start if it can."""
    log_format: Literal["text", "json"] = "text"
    """`json`: one object a line, with a line for each stage of each job."""
    otlp_endpoint: str = ""
    """OpenTelemetry collector that spans go to (OTLP over HTTP), such as http://localhost:4318. Empty: no spans."""
    output_format: Literal["jpeg", "png"] = "jpeg"
    link_hours: float = Field(4.0, gt=0)
    """How long a picture is kept and its link works."""
    store_gb: float = 5.0
    """Disk that pictures may use, in 10^9 bytes, at least 0.016; new jobs get 507 when less than that is left of it."""
    inputs_gb: float = Field(2.0, ge=0)
    """Disk that pictures of ended jobs may use, in 10^9 bytes, so that a job can be opened in the editor as it ran; 0
    deletes them when their job ends."""
    png_workflow: bool = True
    """Whether a PNG holds the workflow and the graph that made it, as ComfyUI's own do; a JPEG never does."""
    disk_floor_gb: float = Field(1.0, ge=0)
    """Free disk that is left alone, in 10^9 bytes."""
    body_mb: int = Field(96, gt=0)
    """Largest request body, in 10^6 bytes."""
    picture_megapixels: float = Field(16.8, gt=0)
    """Largest picture taken, in 10^6 pixels."""
    picture_mb: int = Field(64, gt=0)
    """Largest picture file taken, in 10^6 bytes."""
    fetch_seconds: float = Field(20.0, gt=0)
    """How long a picture's URL may take."""
    queue_limit: int = Field(64, ge=1)
    """Jobs that may wait; the next is refused with 429."""
    queue_seconds: float = Field(3600.0, gt=0)
    """How long a job may wait for a backend before it fails."""
    affinity_seconds: float = Field(30.0, ge=0)
    """How long one of the first jobs in line may be passed over for jobs whose checkpoint a backend has loaded."""
    deadline_seconds: float = Field(600.0, gt=0)
    """How long a job may run at a backend before it is cancelled there and fails."""
    wait_seconds: float = Field(600.0, gt=0)
    """How long a request waits for its job before it is answered with 504 and the job's address; the job goes on."""
    shelf_gb: float = Field(60.0, gt=0)
    """Disk that fetched models may use, in 10^9 bytes; the least recently used ones go first."""
    models_url: str = ""
    """Where backends that fetch models reach this service; public_url when empty."""
    civitai_url: str = Field("https://civitai.com", pattern=r"^(https?://[^/?#]+/?)?$")
    """Where models are asked for: civitai.com, .red, .green, or a mirror that `civitai_hosts` lists. Empty: nowhere."""
    civitai_key: str = Field("", repr=False)
    """API key of a Civitai account, for files that need a login."""
    civitai_hosts: tuple[str, ...] = CIVITAI_HOSTS
    """Hosts that models may come from; a whole origin such as http://mirror.local:9000 for one of your own."""
    fetch_hours: float = Field(2.0, gt=0)
    """How long fetching one model may take."""
    webhook_secret: str = Field("", repr=False)
    """What all webhooks are signed with: whsec_ and base64 of 24 bytes or more. Empty: a secret for each API key."""
    webhook_seconds: float = Field(15.0, gt=0)
    """How long a webhook may take to answer."""
    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Private networks that webhooks may be in; none where callers are strangers."""
    fetch_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Private networks that picture URLs may point into, such as 10.1.0.0/16; none where callers are strangers."""

    @property
    def keys_needed(self) -> bool:
        """Whether callers need an API key."""
        return self.api_keys == "required" or (self.api_keys == "auto" and self.is_exposed)

    @property
    def is_exposed(self) -> bool:
        """Whether others than this machine may reach the service."""
        return not _is_loopback(self.host)

    @field_validator("backends")
    @classmethod
    def _have_names_of_their_own(cls, backends: tuple[BackendSettings, ...]) -> tuple[BackendSettings, ...]:
        names = [backend.called for backend in backends]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two backends are called {name}; give each a name of its own")
        return backends

    @field_validator("backends")
    @classmethod
    def _are_not_one(cls, backends: tuple[BackendSettings, ...]) -> tuple[BackendSettings, ...]:
        # By a header a proxy may tell one from another behind the same address.
        seen: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}
        for backend in backends:
            if isinstance(backend, RemoteBackend):
                place = backend.url.rstrip("/").lower(), tuple(sorted(backend.headers.items()))
                other = seen.setdefault(place, backend.called)
                if other != backend.called:
                    raise ValueError(f"{other} and {backend.called} have the same url; list each ComfyUI once")
        return backends

    @field_validator("store_gb")
    @classmethod
    def _holds_an_image(cls, gigabytes: float) -> float:
        if gigabytes < _LEAST_STORE_GB:  # no job would ever be taken
            raise ValueError(f"{gigabytes:g} is less than {_LEAST_STORE_GB:g}, the room that one image is given")
        return gigabytes

    @field_validator("civitai_url", "otlp_endpoint")
    @classmethod
    def _is_reachable(cls, url: str) -> str:
        return _require_origin(url) if url else url

    @field_validator("public_url", "models_url")
    @classmethod
    def _can_begin_a_link(cls, url: str) -> str:
        if url:
            parts = urlsplit(url)
            _require_origin(f"{parts.scheme}://{parts.netloc}")
            if parts.query or parts.fragment:
                raise ValueError(f"{url!r} has more than a path behind its host")
        return url

    @field_validator("civitai_key")
    @classmethod
    def _fits_a_header(cls, key: str) -> str:
        key = key.strip()  # as a file of secrets ends with a line's end
        if not (key.isascii() and key.isprintable()):
            raise ValueError("holds characters that no key has")
        return key

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        # As a browser writes an origin, so that it can be compared: no slash at the end, no capitals.
        return tuple(one if one == "*" else _require_origin(one).rstrip("/").lower() for one in origins)

    @field_validator("civitai_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if "://" in host:
                _require_origin(host)
            elif not _HOST.fullmatch(host):
                raise ValueError(
                    f"{host!r} is no host such as b2.civitai.com, and no origin such as http://mirror:9000"
                )
        return hosts


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name; only this one cannot be made to mean anything else
        return host.lower() == "localhost"


def _require_origin(url: str) -> str:
    parts = urlsplit(url)  # raises ValueError for a port out of range
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or parts.path not in ("", "/"):
        raise ValueError(f"{url!r} is no origin such as http://mirror.local:9000")
    return url
