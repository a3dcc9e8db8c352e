"""Nodes that read, scale, paste and write pictures: tensors [n, h, w, 3] in 0..1."""

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torch.nn.functional import interpolate

from orchestrator.embedded.catalogue import InputSpec, NodeClass, Result
from orchestrator.embedded.compositing import composite
from orchestrator.embedded.folders import Folders, OutsideFolder, within

_LARGEST = 16384
_PLACE = {"default": 0, "min": 0, "max": _LARGEST, "step": 1}
_NO_ALPHA = (64, 64)
"""The size of the empty mask that stands for "this picture has no alpha channel", as in ComfyUI."""


def plane(picture: Image.Image) -> Tensor:
    """One channel or three, 8 bits, as float32 [h, w] or [h, w, 3] in 0..1."""
    return torch.from_numpy(np.asarray(picture).astype(np.float32) / 255.0)


def narrowed(picture: Image.Image) -> Image.Image:
    """A 32-bit grey picture brought to the range of eight bits, as ComfyUI does; others unchanged."""
    return picture.point(lambda value: value * (1 / 255)) if picture.mode == "I" else picture


def fingerprint(folders: Folders, image: str) -> str:
    """A hash of the file that `image` names, so that a changed file is read again."""
    return hashlib.sha256(folders.annotated(image).read_bytes()).hexdigest()


def complaint(folders: Folders, image: str) -> bool | str:
    """True when `image` names a file, else what to tell the client."""
    try:
        found = folders.annotated(image).is_file()
    except OutsideFolder:
        found = False
    return found or f"Invalid image file: {image}"


def _alpha(frame: Image.Image) -> Tensor:
    if "A" in frame.getbands():
        return 1 - plane(frame.getchannel("A"))
    if frame.mode == "P" and "transparency" in frame.info:
        return 1 - plane(frame.convert("RGBA").getchannel("A"))
    return torch.zeros(_NO_ALPHA)


def _load(file: Path) -> Result:
    pictures: list[Tensor] = []
    masks: list[Tensor] = []
    with Image.open(file) as opened:
        for raw in ImageSequence.Iterator(opened):
            frame = narrowed(ImageOps.exif_transpose(raw))
            picture = plane(frame.convert("RGB"))
            if not pictures or picture.shape == pictures[0].shape:
                pictures.append(picture)
                masks.append(_alpha(frame))
        if opened.format == "MPO":  # a stereo photo's second eye is no animation
            del pictures[1:], masks[1:]
    return Result((torch.stack(pictures), torch.stack(masks)))


def _load_class(folders: Folders) -> NodeClass:
    return NodeClass(
        name="LoadImage",
        title="Load Image",
        category="image",
        inputs=lambda: (InputSpec("image", folders.input_pictures(), {"image_upload": True}),),
        outputs=("IMAGE", "MASK"),
        make=lambda: lambda image: _load(folders.annotated(image)),
        changed=lambda image: fingerprint(folders, image),
        check=lambda image: complaint(folders, image),
        checked=frozenset({"image"}),
    )


def _prefix(prefix: str, first: Tensor) -> str:
    """The placeholders that ComfyUI fills in a file name prefix."""
    now = datetime.now()
    words = {
        "width": str(first.shape[1]),
        "height": str(first.shape[0]),
        "year": str(now.year),
        "month": f"{now.month:02}",
        "day": f"{now.day:02}",
        "hour": f"{now.hour:02}",
        "minute": f"{now.minute:02}",
        "second": f"{now.second:02}",
    }
    return re.sub(r"%(\w+)%", lambda match: words.get(match[1], match[0]), prefix)


def _next_number(folder: Path, stem: str) -> int:
    numbers = (re.fullmatch(re.escape(stem) + r"_(\d+)_.*", file.name) for file in folder.iterdir())
    return max((int(match[1]) for match in numbers if match), default=0) + 1


def _metadata(prompt: Any, extra: Any) -> PngInfo:
    info = PngInfo()
    if prompt is not None:
        info.add_text("prompt", json.dumps(prompt))
    for name, value in (extra or {}).items():
        info.add_text(name, json.dumps(value))
    return info


def _save(folder: Path, kind: str, prefix: str, compress: int, images: Tensor, info: PngInfo) -> Result:
    *subfolders, stem = _prefix(prefix, images[0]).split("/")
    place = within(folder, *subfolders)
    place.mkdir(parents=True, exist_ok=True)
    number = _next_number(place, stem)
    saved = []
    for offset, image in enumerate(images):
        pixels = (image * 255).clamp(0, 255).numpy().astype(np.uint8)
        name = f"{stem}_{number + offset:05}_.png"
        Image.fromarray(pixels).save(place / name, pnginfo=info, compress_level=compress)
        saved.append({"filename": name, "subfolder": "/".join(subfolders), "type": kind})
    return Result(ui={"images": saved})


_HIDDEN = (
    InputSpec("prompt", "PROMPT", category="hidden"),
    InputSpec("extra_pnginfo", "EXTRA_PNGINFO", category="hidden"),
)


def _save_class(folders: Folders) -> NodeClass:
    def save(images: Tensor, filename_prefix: str, prompt: Any = None, extra_pnginfo: Any = None) -> Result:
        return _save(folders.of("output"), "output", filename_prefix, 4, images, _metadata(prompt, extra_pnginfo))

    return NodeClass(
        name="SaveImage",
        title="Save Image",
        category="image",
        inputs=lambda: (
            InputSpec("images", "IMAGE"),
            InputSpec("filename_prefix", "STRING", {"default": "ComfyUI"}),
            *_HIDDEN,
        ),
        outputs=(),
        make=lambda: save,
        output_node=True,
    )


def _preview_class(folders: Folders) -> NodeClass:
    def preview(images: Tensor, prompt: Any = None, extra_pnginfo: Any = None) -> Result:
        prefix = f"ComfyUI_temp_{uuid4().hex[:5]}"
        return _save(folders.of("temp"), "temp", prefix, 1, images, _metadata(prompt, extra_pnginfo))

    return NodeClass(
        name="PreviewImage",
        title="Preview Image",
        category="image",
        inputs=lambda: (InputSpec("images", "IMAGE"), *_HIDDEN),
        outputs=(),
        make=lambda: preview,
        output_node=True,
    )


def _composite(
    destination: Tensor, source: Tensor, x: int, y: int, resize_source: bool, mask: Tensor | None = None
) -> Result:
    pasted = composite(destination[..., :3].movedim(-1, 1), source[..., :3].movedim(-1, 1), x, y, mask, resize_source)
    return Result((pasted.movedim(1, -1),))


def _composite_class() -> NodeClass:
    return NodeClass(
        name="ImageCompositeMasked",
        title="ImageCompositeMasked",
        category="image",
        inputs=lambda: (
            InputSpec("destination", "IMAGE"),
            InputSpec("source", "IMAGE"),
            InputSpec("x", "INT", _PLACE),
            InputSpec("y", "INT", _PLACE),
            InputSpec("resize_source", "BOOLEAN", {"default": False}),
            InputSpec("mask", "MASK", category="optional"),
        ),
        outputs=("IMAGE",),
        make=lambda: _composite,
        module="comfy_extras.nodes_mask",
    )


def _scale(image: Tensor, upscale_method: str, width: int, height: int, crop: str) -> Result:
    rows, columns = image.shape[1:3]
    if not width and not height:
        return Result((image,))
    width = width or max(1, round(columns * height / rows))
    height = height or max(1, round(rows * width / columns))
    if crop == "center":
        keep_columns = min(columns, columns - 2 * round((columns - rows * width / height) / 2))
        keep_rows = min(rows, rows - 2 * round((rows - columns * height / width) / 2))
        left, top = (columns - keep_columns) // 2, (rows - keep_rows) // 2
        image = image[:, top : top + keep_rows, left : left + keep_columns]
    return Result((interpolate(image.movedim(-1, 1), size=(height, width), mode=upscale_method).movedim(1, -1),))


def _scale_class() -> NodeClass:
    size = {"default": 512, "min": 0, "max": _LARGEST, "step": 1}
    return NodeClass(
        name="ImageScale",
        title="Upscale Image",
        category="image/upscaling",
        inputs=lambda: (
            InputSpec("image", "IMAGE"),
            InputSpec("upscale_method", ["nearest-exact", "bilinear", "area", "bicubic"]),
            InputSpec("width", "INT", size),
            InputSpec("height", "INT", size),
            InputSpec("crop", ["disabled", "center"]),
        ),
        outputs=("IMAGE",),
        make=lambda: _scale,
    )


def classes(folders: Folders) -> tuple[NodeClass, ...]:
    """The picture nodes."""
    return (_load_class(folders), _save_class(folders), _preview_class(folders), _composite_class(), _scale_class())
