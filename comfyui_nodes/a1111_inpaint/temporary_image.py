"""Node: hands the result over as a PNG in ComfyUI's temporary folder, from where /view serves it.

Unlike Save Image it writes no prompt into the file, keeps few files, and never runs from the cache: every run has an
`executed` message and a picture of its own. Must not know who fetches the picture.
"""

import contextlib
import struct
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import folder_paths
import torch

from .levels import levels_of

SUBFOLDER = "orchestrator/out"
KEPT_FILES = 200


def png_parts(levels: torch.Tensor) -> Sequence[bytes]:
    """An uncompressed PNG of uint8 (height, width, 3), without metadata; in parts, since its pixels are not copied.

    Pillow would spend 50 to 100 ms of a megapixel on filters and compression; the file lives for minutes and mostly
    travels over a local wire. Format: RFC 2083, colour type 2, filter 0 in every row.
    """
    height, width = levels.shape[:2]
    rows = torch.zeros((height, 1 + 3 * width), dtype=torch.uint8)
    rows[:, 1:] = levels.reshape(height, -1)

    def chunk(kind: bytes, body: bytes) -> tuple[bytes, ...]:
        return struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(rows.numpy(), level=0)
    return b"\x89PNG\r\n\x1a\n", *chunk(b"IHDR", header), *chunk(b"IDAT", pixels), *chunk(b"IEND", b"")


def drop_old(folder: Path, keep: int) -> None:
    """Deletes all but the newest `keep` pictures; one that somebody else deletes meanwhile is no error."""
    files = [*folder.glob("*.png")]
    if len(files) <= keep:
        return
    dated = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            dated.append((file.stat().st_mtime_ns, file))
    for _, file in sorted(dated, reverse=True)[keep:]:
        file.unlink(missing_ok=True)


class A1111TemporaryImage:
    """IMAGE (batch, height, width, 3 or more) → one PNG a picture; levels are cut to whole ones as WebUI does.

    Raises ValueError for values that are not finite: they would become black, outside the mask as well.
    """

    CATEGORY = "inpaint/a1111"
    DESCRIPTION = "Shows the result and hands it over as a PNG without metadata. Nothing is kept in the output folder."
    FUNCTION = "hand_over"
    RETURN_TYPES = ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {"required": {"images": ("IMAGE", {"tooltip": "The pictures to hand over."})}}

    @classmethod
    def IS_CHANGED(cls, **_: object) -> float:  # noqa: N802 - ComfyUI's name
        return float("nan")  # unequal to itself: ComfyUI never takes this node from its cache

    def hand_over(self, images: torch.Tensor) -> dict[str, Any]:
        if not images.sum().isfinite():  # one value that is not finite is enough for the sum not to be
            raise ValueError(
                "the picture holds values that are no numbers: the model broke down. Lower the weights in the prompt "
                "and of the LoRAs, or load another VAE or a file of higher precision"
            )
        folder = Path(folder_paths.get_temp_directory()) / SUBFOLDER
        folder.mkdir(parents=True, exist_ok=True)
        shown = []
        for image in images:
            name = f"{uuid.uuid4().hex}.png"
            with (folder / name).open("wb") as file:
                file.writelines(png_parts(levels_of(image[..., :3], rounded=False)))
            shown.append({"filename": name, "subfolder": SUBFOLDER, "type": "temp"})
        drop_old(folder, max(KEPT_FILES, len(shown)))
        return {"ui": {"images": shown}}
