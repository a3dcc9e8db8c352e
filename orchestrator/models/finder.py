"""From the names in a request to checked model files, before any is fetched; then the files themselves, held for a job.

`checkpoint` and `lora` say what a name means and whether it can work: from the shelf alone where the file is there,
else from Civitai's facts and the file's first megabyte. `hold` pins the files and fetches what is missing. Knows
nothing of widgets or jobs.
"""

import asyncio
import copy
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

from orchestrator.errors import FieldError, ModelError, ModelMismatch, ModelNotFound, ModelUnavailable
from orchestrator.models import family
from orchestrator.models.choice import base_family, choose_file, names_other_family, require_usable
from orchestrator.models.client import CivitaiClient
from orchestrator.models.download import Downloader, RemoteFile, Tell
from orchestrator.models.flight import SingleFlight
from orchestrator.models.header import NotSafetensors
from orchestrator.models.layout import SUFFIX, Place, stem_of
from orchestrator.models.look import Looker
from orchestrator.models.names import Names
from orchestrator.models.nature import Nature
from orchestrator.models.offer import OfferedModel, offered_models
from orchestrator.models.pins import Pins
from orchestrator.models.reference import BadReference, CivitaiVersion, Kind, LocalName, read_reference
from orchestrator.models.shelf import Shelf
from orchestrator.models.speed import Progress

log = logging.getLogger(__name__)

_WORD: dict[Kind, str] = {"checkpoint": "checkpoint", "lora": "LoRA"}


@dataclass(frozen=True)
class ModelFile:
    """A model that was asked for: what a backend calls its file, and the family read from it."""

    name: str
    """As the request has it."""
    file: str
    family: str
    field: str
    """The request's field that named it."""
    place: Place
    remote: RemoteFile | None = None
    """What to fetch, if it is not on the shelf."""
    channels: int = 4
    """How many channels a checkpoint's UNet reads: 4, or 9 if it is an inpainting one."""


@dataclass(frozen=True)
class Supply:
    """Where models come from that are not on the shelf."""

    client: CivitaiClient
    looker: Looker
    downloader: Downloader


@dataclass(frozen=True)
class _Found:
    """What a name means, and what it is."""

    place: Place
    nature: Nature
    base_model: str = ""
    remote: RemoteFile | None = None


class ModelFinder:
    """Finds on `shelf`, by the operator's `names`, and at `supply` (None: nothing is fetched)."""

    def __init__(self, shelf: Shelf, names: Names | None = None, supply: Supply | None = None) -> None:
        self._shelf = shelf
        self._names = names or Names()
        self._supply = supply
        self._pins = Pins(shelf)
        self._fetching: SingleFlight[Place, None] = SingleFlight()
        self._listeners: dict[Place, list[Tell]] = {}

    async def checkpoint(self, name: str, field: str, families: Sequence[str]) -> ModelFile:
        """The checkpoint that a name means, if it is whole and of one of `families`; it may still have to be fetched.

        Raises a ModelError naming `field`.
        """
        with _naming(field):
            found = await self._find("checkpoint", name)
            kind = found.nature.checkpoint
            if kind is None:
                raise ModelMismatch(f"{name} is not a Stable Diffusion checkpoint in one file")
            if problem := family.trouble(kind):
                raise ModelMismatch(f"{name} cannot be used: {problem}")
            if lacking := found.nature.lacking:
                raise ModelMismatch(f"{name} cannot be used: the file holds no {' and no '.join(lacking)}")
            if kind.family not in families:
                raise ModelMismatch(f"{name} is {kind.family}; this widget runs {', '.join(families)}")
            if (said := base_family(found.base_model)) and said != kind.family:
                log.warning("%s is %s by its tensors; its author says %s", name, kind.family, found.base_model)
            return replace(_file(name, field, found, kind.family), channels=kind.channels)

    async def offered(self) -> list[OfferedModel]:
        """What can be named without a download."""
        return await asyncio.to_thread(offered_models, self._shelf, self._names)

    async def lora(self, name: str, field: str, checkpoint: ModelFile | None) -> ModelFile:
        """The LoRA that a name means, if it fits the checkpoint; it may still have to be fetched. Without a checkpoint,
        because that one cannot be used, only whether there is such a LoRA.

        ComfyUI merges what it can of an unfit one and reports success, so it is refused here.
        Raises a ModelError naming `field`.
        """
        with _naming(field):
            found = await self._find("lora", name)
            if not found.nature.is_lora:
                raise ModelMismatch(f"{name} is not a LoRA")
            made_for = found.nature.lora_family or base_family(found.base_model)
            if checkpoint is None:
                return _file(name, field, found, made_for or "")
            if made_for is None and names_other_family(found.base_model):
                raise ModelMismatch(
                    f"the LoRA {name} is made for {found.base_model}, the checkpoint {checkpoint.name} is "
                    f"{checkpoint.family}"
                )
            if made_for is None:
                log.warning(
                    "nothing tells which family the LoRA %s is made for; it is taken for %s", name, checkpoint.family
                )
                made_for = checkpoint.family
            if made_for != checkpoint.family:
                raise ModelMismatch(
                    f"the LoRA {name} is made for {made_for}, the checkpoint {checkpoint.name} is {checkpoint.family}"
                )
            return _file(name, field, found, made_for)

    def recall(self, kind: Kind, name: str, field: str, file: str, made_for: str) -> ModelFile:
        """A model that was found before, in this process or another, from what was written down of it."""
        return ModelFile(name, file, made_for, field, Place(self._shelf.root, kind, file.removesuffix(SUFFIX)))

    @asynccontextmanager
    async def hold(self, files: Sequence[ModelFile], tell: Tell) -> AsyncGenerator[None, None]:
        """All the files on the shelf, and none of them deleted, while the block lasts: `pin` and `fetch` in one."""
        with await self.pin(files):
            await self.fetch(files, tell)
            yield

    async def pin(self, files: Sequence[ModelFile]) -> ExitStack:
        """From now until the answer is closed none of the files is deleted, those that are still to come included."""
        with ExitStack() as pins:
            for file in files:
                pins.enter_context(await self._pins.pin(file.place))
            return pins.pop_all()

    async def are_here(self, files: Sequence[ModelFile]) -> bool:
        """True if there is nothing to fetch."""
        return await asyncio.to_thread(lambda: all(self._shelf.is_whole(file.place) for file in files))

    async def fetch(self, files: Sequence[ModelFile], tell: Tell) -> None:
        """Fetches what is missing of the pinned files, one by one, and tells how far it is.

        Raises a ModelError naming the field, or a StorageError.
        """
        for file in files:
            with _naming(file.field):
                await self._ensure(file, tell)

    async def _ensure(self, file: ModelFile, tell: Tell) -> None:
        if await asyncio.to_thread(self._shelf.is_whole, file.place):
            return
        # It may have left the shelf since it was found there.
        found = await self._find(file.place.kind, file.name) if file.remote is None else None
        remote = file.remote if found is None else found.remote
        if found is not None and found.place != file.place:
            raise ModelNotFound(f"{file.name} stood for {file.file}, which is gone, and stands for another file now")
        if remote is None or self._supply is None:
            raise ModelNotFound(f"{file.name} was on the shelf a moment ago and is gone; try again")
        remote = replace(remote, family=file.family)
        downloader = self._supply.downloader
        listeners = self._listeners.setdefault(file.place, [])
        listeners.append(tell)
        try:
            await self._fetching.run(
                file.place, lambda: downloader.fetch(file.place, remote, lambda progress: _all(listeners, progress))
            )
        finally:
            listeners.remove(tell)
            if not listeners:
                self._listeners.pop(file.place, None)

    async def _find(self, kind: Kind, name: str) -> _Found:
        try:
            means = self._names.means(kind, name) or read_reference(name, kind)
        except BadReference as error:
            raise ModelNotFound(str(error)) from error
        found = await asyncio.to_thread(self._on_shelf, kind, name, means)
        if found is not None:
            return found
        if isinstance(means, CivitaiVersion) and self._supply is not None:
            try:
                return await self._at_civitai(kind, means, self._supply)
            except ModelUnavailable as error:
                here = await asyncio.to_thread(self._shelf.near, kind, name)
                hint = f"; on the shelf there are: {', '.join(here)}" if here else ""
                raise ModelUnavailable(error.detail + hint, retry_after=error.retry_after) from error
        raise await asyncio.to_thread(self._unknown, kind, name, means)

    def _on_shelf(self, kind: Kind, name: str, means: CivitaiVersion | LocalName) -> _Found | None:
        place = None
        if isinstance(means, LocalName) and self._names.means(kind, name) is not None:
            place = Place(self._shelf.root, kind, means.name)
            if not place.file.is_file():
                raise ModelNotFound(f"{name} stands for the file {means.name} in models.yaml, and there is none")
        place = place or self._shelf.named(kind, name)
        if place is None and isinstance(means, CivitaiVersion):
            place = self._shelf.fetched_version(kind, means.version_id, means.file_id)
        if place is None:
            return None
        try:
            nature = self._shelf.nature(place)
        except FileNotFoundError:  # evicted a moment ago
            return None
        except (NotSafetensors, OSError) as error:
            raise ModelMismatch(f"{place.stem} cannot be read as safetensors: {error}") from error
        origin = self._shelf.origin(place)
        return _Found(place, nature, origin.base_model if origin else "")

    async def _at_civitai(self, kind: Kind, means: CivitaiVersion, supply: Supply) -> _Found:
        version = await supply.client.version(means.version_id)
        if means.model_id is not None and version.model_id not in (None, means.model_id):
            raise ModelNotFound(
                f"Civitai's version {version.id} belongs to the model {version.model_id}, not to {means.model_id}"
            )
        require_usable(version, kind)
        file = choose_file(version, means.file_id)
        place = Place(self._shelf.root, kind, stem_of(version.id, file.id))
        if await asyncio.to_thread(self._shelf.is_whole, place):
            return _Found(place, await asyncio.to_thread(self._shelf.nature, place), version.base_model)
        looked = await supply.looker.look(version, file)
        predicts = looked.nature.prediction if kind == "checkpoint" else ""
        remote = RemoteFile(version, file, looked.size, "", predicts, chosen=means.file_id is None)
        return _Found(place, looked.nature, version.base_model, remote)

    def _unknown(self, kind: Kind, name: str, means: CivitaiVersion | LocalName) -> ModelNotFound:
        near = self._shelf.near(kind, name)
        hint = f"; there are: {', '.join(near)}" if near else ""
        if isinstance(means, CivitaiVersion):
            hint += "; fetching from Civitai is turned off (civitai_url)"
        return ModelNotFound(f"there is no {_WORD[kind]} {name[:100]!r} here{hint}")


def _file(name: str, field: str, found: _Found, made_for: str) -> ModelFile:
    return ModelFile(name, found.place.backend_name, made_for, field, found.place, found.remote)


def _all(listeners: Sequence[Callable[[Progress], None]], progress: Progress) -> None:
    for tell in tuple(listeners):
        tell(progress)


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Puts the request's field into a ModelError that names none."""
    try:
        yield
    except ModelError as error:
        if error.fields:
            raise
        named = copy.copy(error)  # the same refusal may be on its way to other requests, with fields of their own
        named.fields = (FieldError(field, error.detail),)
        raise named from error
