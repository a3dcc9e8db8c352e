"""A1111's `<lora:name[:text encoder weight[:unet weight]]>` tags in a prompt. Pure.

The tags leave the text and nothing else of it changes (A1111 leaves the blanks and commas around them too). Weights
default to 1.0, the UNet's to the text encoder's; `te=` and `unet=` name them. `<lyco:…>` is read as `<lora:…>`. The
same LoRA twice is applied twice, each time with its own weight. (A1111 loads one object and uses the last weight for
both.) What the same file would do elsewhere but cannot do here is refused, never dropped: `<hypernet:…>`, rank
truncation (`dyn=`, a third number), block weights. Other `<word:…>` is text.
"""

import re
from dataclasses import dataclass
from itertools import islice

from orchestrator.errors import FieldError, InvalidParameters
from orchestrator.widgets.literals import Unreadable, name_fault, real_number, shown

MOST_LORAS = 32
LARGEST_WEIGHT = 100.0
"""ComfyUI's LoraLoader takes weights from -100 to 100."""

_TAG = re.compile(r"<\s*(lora|lyco|hypernet)\s*:([^<>]*)(>?)", re.IGNORECASE)

_AIR = re.compile(r"\s*(?:urn:)?air:[^:]*:[^:]*:[^:]*:", re.IGNORECASE)
"""The start of a Civitai name that has colons of its own: urn:air:sd1:lora:civitai:82098@87153."""


@dataclass(frozen=True)
class LoraTag:
    """One tag: the LoRA's name or Civitai version id as written, and its two weights."""

    name: str
    text_encoder: float
    unet: float


def extract_loras(text: str, field: str = "prompt") -> tuple[str, tuple[LoraTag, ...]]:
    """The text without its LoRA tags, and the tags in order.

    Raises InvalidParameters with one FieldError (of `field`) for each tag that cannot be read or run.
    """
    tags: list[LoraTag] = []
    complaints: list[FieldError] = []
    matches = list(islice(_TAG.finditer(text), MOST_LORAS + 1))
    if len(matches) > MOST_LORAS:
        raise InvalidParameters(fields=[FieldError(field, f"has more than {MOST_LORAS} LoRA tags")])
    for match in matches:
        try:
            tags.append(_read_tag(match))
        except Unreadable as fault:
            complaints.append(FieldError(field, f"{shown(match[0])}: {fault}"))
    if complaints:
        raise InvalidParameters(fields=complaints)
    return without_tags(text), tuple(tags)


def without_tags(text: str) -> str:
    """The text with its (closed) LoRA tags taken out unread, for a prompt that cannot have LoRAs: the negative one."""
    return _TAG.sub(lambda match: "" if match[3] else match[0], text)


def _read_tag(match: re.Match[str]) -> LoraTag:
    kind, inside, end = match[1].lower(), match[2], match[3]
    if not end:
        raise Unreadable("the tag is not closed with >")
    if kind == "hypernet":
        raise Unreadable("hypernetworks are not supported")
    air = _AIR.match(inside)
    name, *rest = (part.strip() for part in (inside[air.end() :] if air else inside).split(":"))
    name = air[0].strip() + name if air else name
    fault = name_fault(name)
    if fault:
        raise Unreadable(fault)
    numbers = [part for part in rest if "=" not in part]
    named = dict(_named(part) for part in rest if "=" in part)
    if len(numbers) > 2 or named.keys() - {"te", "unet"}:
        raise Unreadable("only two weights can be given, the text encoder's and the UNet's: <lora:name:0.8:0.6>")
    text_encoder = _weight(named.get("te", numbers[0] if numbers else "1"))
    unet = named.get("unet", numbers[1] if len(numbers) > 1 else None)
    return LoraTag(name, text_encoder, text_encoder if unet is None else _weight(unet))


def _named(part: str) -> tuple[str, str]:
    key, _, value = part.partition("=")
    return key.strip().lower(), value


def _weight(text: str) -> float:
    weight = real_number(text)
    if weight is None:
        raise Unreadable(f"the weight {shown(text)} is not a number")
    if abs(weight) > LARGEST_WEIGHT:
        raise Unreadable(f"a weight must be from {-LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g}")
    return weight
