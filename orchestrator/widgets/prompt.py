"""A1111's `<lora:name[:text encoder weight[:unet weight]]>` tags in a prompt. Pure.

The tags leave the text and nothing else of it changes (A1111 leaves the blanks and commas around them too). Weights
default to 1.0, the UNet's to the text encoder's; `te=` and `unet=` name them. `<lyco:…>` is read as `<lora:…>`. The
same LoRA twice is applied twice, each time with its own weight. (A1111 loads one object and uses the last weight for
both.) What the same file would do elsewhere but cannot do here is refused, never dropped: `<hypernet:…>`, rank
truncation (`dyn=`, a third number), block weights. As in A1111 (v1.10.1, `modules/extra_networks.py` 175-191 and
`processing_scripts/comments.py`) a tag of any other `<word:…>` leaves the text unread, what is not closed or has
nothing behind its colon is text, and so is all that a `#` hides from its line's end.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.errors import FieldError, InvalidParameters
from orchestrator.widgets.literals import Unreadable, name_fault, real_number, shown

MOST_LORAS = 32
LARGEST_WEIGHT = 100.0
"""ComfyUI's LoraLoader takes weights from -100 to 100."""

MOST_PARTS = 32
"""Each part between `AND`s is one more evaluation of the model at every step."""

_TAG = re.compile(r"#[^\n]*|<(?:\s*(?P<kind>lora|lyco|hypernet)\s*|\w+):(?P<inside>[^>]+)>", re.IGNORECASE)
"""A tag, or a comment, in which there are none."""

_AND = re.compile(r"\bAND\b")

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
    found: list[re.Match[str]] = []

    def taken(match: re.Match[str]) -> str:
        if match["kind"]:
            found.append(match)
        return "" if match["inside"] else match[0]

    rest = _replaced(text, taken)
    if len(found) > MOST_LORAS:
        raise InvalidParameters(fields=[FieldError(field, f"has more than {MOST_LORAS} LoRA tags")])
    tags: list[LoraTag] = []
    complaints: list[FieldError] = []
    for match in found:
        try:
            tags.append(_read_tag(match))
        except Unreadable as fault:
            complaints.append(FieldError(field, f"{shown(match[0])}: {fault}"))
    if complaints:
        raise InvalidParameters(fields=complaints)
    return rest, tuple(tags)


def without_tags(text: str) -> str:
    """The text with its LoRA tags taken out unread, for a prompt that cannot have LoRAs: the negative one.

    Other `<word:…>` stay: A1111 reads no tags there.
    """
    return _replaced(text, lambda match: "" if match["kind"] else match[0])


def _replaced(text: str, replacement: Callable[[re.Match[str]], str]) -> str:
    """The text with its tags and comments replaced, in time that grows with the text: past its last > is no tag."""
    end = text.rfind(">") + 1
    return _TAG.sub(replacement, text[:end]) + text[end:]


def parts(text: str) -> int:
    """How many parts `AND` makes of the text."""
    return 1 + len(_AND.findall(text))


def _read_tag(match: re.Match[str]) -> LoraTag:
    inside = match["inside"]
    if match["kind"].lower() == "hypernet":
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
