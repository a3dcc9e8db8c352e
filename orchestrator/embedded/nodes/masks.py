"""Nodes for masks: tensors [n, h, w] in 0..1."""

from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from orchestrator.embedded.catalogue import InputSpec, NodeClass, Result
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.nodes.pictures import complaint, fingerprint, narrowed, plane


def _load(file: Path, channel: str) -> Result:
    with Image.open(file) as opened:
        picture = narrowed(ImageOps.exif_transpose(opened)).convert("RGBA")
    values = plane(picture.getchannel(channel[0].upper()))
    return Result(((1 - values if channel == "alpha" else values)[None],))


def _invert(mask: Tensor) -> Result:
    return Result((torch.ones_like(mask) - mask,))


def classes(folders: Folders) -> tuple[NodeClass, ...]:
    """LoadImageMask and InvertMask."""
    return (
        NodeClass(
            name="LoadImageMask",
            title="Load Image (as Mask)",
            category="mask",
            inputs=lambda: (
                InputSpec("image", folders.input_pictures(), {"image_upload": True}),
                InputSpec("channel", ["alpha", "red", "green", "blue"]),
            ),
            outputs=("MASK",),
            make=lambda: lambda image, channel: _load(folders.annotated(image), channel),
            changed=lambda image, channel: fingerprint(folders, image),
            check=lambda image: complaint(folders, image),
            checked=frozenset({"image"}),
        ),
        NodeClass(
            name="InvertMask",
            title="InvertMask",
            category="mask",
            inputs=lambda: (InputSpec("mask", "MASK"),),
            outputs=("MASK",),
            make=lambda: _invert,
            module="comfy_extras.nodes_mask",
        ),
    )
