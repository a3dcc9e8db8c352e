"""Which models a caller can name without waiting: the whole files on the shelf, and the operator's own names. Blocks.

A list for people to choose from; what a name means, and whether it can work, is the finder's question.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.models.family import trouble
from orchestrator.models.header import NotSafetensors
from orchestrator.models.layout import KINDS, SUFFIX, Place, folder_of
from orchestrator.models.names import Names
from orchestrator.models.reference import Kind
from orchestrator.models.shelf import Shelf


@dataclass(frozen=True)
class OfferedModel:
    """A name that a request may hold, and what people know the model by; family is "" where that is not known yet."""

    kind: Kind
    name: str
    title: str
    family: str


def offered_models(shelf: Shelf, names: Names) -> list[OfferedModel]:
    """Each once, checkpoints before LoRAs, by name. A file that is no model of its folder is left out."""
    return [model for kind in KINDS for model in sorted(_of_kind(shelf, names, kind), key=lambda one: one.name)]


def _of_kind(shelf: Shelf, names: Names, kind: Kind) -> Iterator[OfferedModel]:
    own = {name for named_kind, name in names.known if named_kind == kind}
    yield from (OfferedModel(kind, name, name, "") for name in own)
    for path in folder_of(shelf.root, kind).glob("*" + SUFFIX):
        place = Place(shelf.root, kind, path.stem)
        if (family := _family(shelf, place)) is None:
            continue
        origin = shelf.origin(place)
        name = str(origin.version_id) if origin is not None and origin.chosen else place.stem
        if name not in own:
            yield OfferedModel(kind, name, origin.title if origin is not None else place.stem, family)


def _family(shelf: Shelf, place: Place) -> str | None:
    """ "" for a LoRA that does not tell; None for what cannot be used."""
    try:
        if not shelf.is_whole(place):
            return None
        nature = shelf.nature(place)
    except (NotSafetensors, OSError):
        return None
    if place.kind == "lora":
        return (nature.lora_family or "") if nature.is_lora else None
    checkpoint = nature.checkpoint
    return None if checkpoint is None or nature.lacking or trouble(checkpoint) else checkpoint.family
