"""What family a LoRA was made for, told from its tensors. Pure.

ComfyUI merges what it can of a LoRA that does not fit: of an SD1.5 LoRA on SDXL it puts 50 layers into places that
happen to be of the same size, and reports success. So the family is told here, by rules of falling certainty:
1. what the cross-attention reads, 2. the text encoders it changes, 3. how many blocks and how they are named,
4. what its author wrote into the file. What its author chose at Civitai comes after all of these (`finder`).
"""

import re
from collections.abc import Mapping, Sequence

from orchestrator.models.family import FAMILY_OF_CONTEXT, SD15, SDXL, checkpoint_kind
from orchestrator.models.header import Header

_PARTS = re.compile(
    r"(\.lora_(up|down|A|B|mid)(\.default)?\.weight|_lora\.(up|down)\.weight|\.lora\.(up|down)\.weight"
    r"|\.lora_linear_layer\.(up|down)\.weight|\.hada_[wt][12](_[ab])?|\.lokr_(w[12](_[ab])?|t2)"
    r"|\.oft_(blocks|diag)|\.(diff|diff_b|dora_scale|alpha))$"
)
_READS = re.compile(
    r"attn2[._]to_[kv](\.lora_down|\.lora_A|\.lora\.down|_lora\.down|\.lora_linear_layer\.down|\.hada_w1_b|\.diff)"
    r"(\.default)?(\.weight)?$"
)
_LOKR = re.compile(r"(?P<layer>.*attn2[._]to_[kv])\.lokr_(?P<part>w[12])(_b)?$")
_DOWN = ("lora_down", "lora_A", "lora.down")
_FAMILY_OF_TEXT_ENCODER = {768: SD15, 1024: "sd2"}
_BLOCK = re.compile(r"transformer_blocks[._](\d+)[._]")
_DEEPEST_OF_SD15 = 1
_OTHERS: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"(double_blocks|single_blocks|single_transformer_blocks)[._]"), "flux"),
    (re.compile(r"joint_blocks[._]|(base_model\.model\.)?(lora_)?transformer[._]transformer_blocks[._]"), "sd3"),
)
_ARCHITECTURES = (
    ("stable-diffusion-xl", SDXL),
    ("sdxl", SDXL),
    ("stable-diffusion-v1", SD15),
    ("stable-diffusion-v2", "sd2"),
    ("sd_v1", SD15),
    ("sd_v2", "sd2"),
    ("sd3", "sd3"),
    ("stable-diffusion-3", "sd3"),
    ("flux", "flux"),
)


def is_lora(header: Header) -> bool:
    """Whether the tensors are named as a LoRA's are, in any of the layouts that ComfyUI reads."""
    return checkpoint_kind(header) is None and any(_PARTS.search(name) for name in header.shapes)


def lora_family(header: Header) -> str | None:
    """The family that a LoRA was made for, None if nothing in the file tells."""
    shapes = header.shapes
    other = next((family for name in shapes for mark, family in _OTHERS if mark.search(name)), None)
    return (
        other or _by_context(shapes) or _by_text_encoder(shapes) or _by_blocks(shapes) or _by_metadata(header.metadata)
    )


def _by_context(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    for name, shape in shapes.items():
        if _READS.search(name) and len(shape) >= 2:
            return FAMILY_OF_CONTEXT.get(shape[1], f"context-{shape[1]}")
    factors: dict[str, dict[str, int]] = {}
    for name, shape in shapes.items():
        if (match := _LOKR.fullmatch(name)) and len(shape) >= 2:
            layer = factors.setdefault(match["layer"], {})
            layer[match["part"]] = shape[1]
            if len(layer) == 2:  # the Kronecker product of the two is as wide as their widths' product
                width = layer["w1"] * layer["w2"]
                return FAMILY_OF_CONTEXT.get(width, f"context-{width}")
    return None


def _by_text_encoder(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    if any(name.startswith(("lora_te2_", "text_encoder_2.", "lycoris_text_encoder_2_")) for name in shapes):
        return SDXL
    for name, shape in shapes.items():
        if name.startswith("lora_te_") and len(shape) == 2 and _changes_attention(name):
            return _FAMILY_OF_TEXT_ENCODER.get(shape[1])
    return None


def _changes_attention(name: str) -> bool:
    _, attention, after = name.partition("self_attn")
    return bool(attention) and any(down in after for down in _DOWN)


def _by_blocks(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    deepest = max((int(match[1][:6]) for name in shapes for match in _BLOCK.finditer(name)), default=0)
    if deepest > _DEEPEST_OF_SD15:
        return SDXL
    return SDXL if any(re.match(r"lora_unet_(input|output)_blocks_", name) for name in shapes) else None


def _by_metadata(metadata: Mapping[str, str]) -> str | None:
    said = [metadata.get(key, "").lower() for key in ("ss_base_model_version", "modelspec.architecture")]
    found = next((family for text in said for mark, family in _ARCHITECTURES if text.startswith(mark)), None)
    return found or ("sd2" if metadata.get("ss_v2", "").lower() == "true" else None)
