"""Asks Civitai, or a mirror of it: facts of versions, and the bytes of files, which `delivery` brings."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from yarl import URL

from orchestrator.errors import ModelError, ModelNotFound, ModelUnavailable
from orchestrator.models.civitai import Unreadable, Version, read_model_versions, read_version
from orchestrator.models.connection import Connection, Patience
from orchestrator.models.delivery import Arrival, Delivery
from orchestrator.models.flight import SingleFlight
from orchestrator.models.memory import Memory

_FACTS_SECONDS = 300.0
"""As long as Civitai's own edge keeps an answer."""
_LISTED = 12


class CivitaiClient:
    """One HTTP session with Civitai, from `async with` to its end. `key` is sent to `base`'s origin alone."""

    def __init__(self, base: str, hosts: Sequence[str], *, key: str = "", patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self._connection = Connection(URL(base), hosts, key, self.patience)
        self._delivery = Delivery(self._connection)
        self._facts: Memory[int, Version] = Memory(_FACTS_SECONDS)
        self._asking: SingleFlight[int, Version] = SingleFlight()

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.__aexit__(kind, error, trace)

    @property
    def quiet_seconds(self) -> float:
        """How long Civitai has asked us to wait."""
        return self._connection.quiet.left

    def one_try(self) -> AbstractAsyncContextManager[None]:
        """Ends the block after `patience.answer` seconds with ModelUnavailable: a host that drips never stalls."""
        return self._connection.one_try()

    def open_file(
        self, version_id: int, file_id: int, *, start: int = 0, end: int | None = None, etag: str = ""
    ) -> AbstractAsyncContextManager[Arrival]:
        """The file's bytes from `start`, or from 0; see `Delivery.open`."""
        return self._delivery.open(version_id, file_id, start=start, end=end, etag=etag)

    async def version(self, version_id: int) -> Version:
        """The facts of a version, at most five minutes old. Raises a ModelError with what to do about it."""
        if (known := self._facts.recall(version_id)) is not None:
            return known
        return await self._asking.run(version_id, lambda: self._ask_version(version_id))

    async def _ask_version(self, version_id: int) -> Version:
        what = f"Version {version_id}"
        try:
            content = await self._connection.get_json(f"api/v1/model-versions/{version_id}", what)
        except ModelNotFound as error:
            told = ModelNotFound(await self._told_from_model(version_id, error.detail))
            self._facts.keep_refusal(version_id, told)
            raise told from error
        except ModelError as error:
            self._facts.keep_refusal(version_id, error)
            raise
        try:
            version = read_version(content)
        except Unreadable as error:
            raise ModelUnavailable(f"Civitai's answer for {what} cannot be read: {error}") from error
        self._facts.keep(version_id, version)
        return version

    async def _told_from_model(self, number: int, detail: str) -> str:
        """A better text for an unknown version: people paste the number from a model's page, which is another one."""
        try:
            model = read_model_versions(
                await self._connection.get_json(f"api/v1/models/{number}", f"Model {number}", tries=1)
            )
        except (ModelError, Unreadable):
            return detail
        listed = ", ".join(f"{version_id} ({name})" for version_id, name in model.versions[:_LISTED])
        more = f" and {len(model.versions) - _LISTED} more" if len(model.versions) > _LISTED else ""
        return (
            f"Civitai knows no version {number}. It is the number of the model {model.name!r}; "
            f"give one of its versions: {listed or 'none is published'}{more}"
        )
