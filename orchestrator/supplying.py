"""Models for a backend elsewhere: files of the shelf as signed links that it fetches before a job runs there.

Joins models, links and backends for the pipeline. Knows nothing of requests.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.placing import Placement
from orchestrator.images.links import LinkSigner
from orchestrator.models.finder import ModelFile
from orchestrator.models.layout import folder_of
from orchestrator.models.outlet import Outlet
from orchestrator.models.speed import Progress, Speedometer


@dataclass(frozen=True)
class ModelSupplier:
    """Gives a backend at most `seconds` for each model, and links that work as long."""

    outlet: Outlet
    signer: LinkSigner
    seconds: float

    async def supply(
        self, backend: BackendClient, files: Sequence[ModelFile], tell: Callable[[Progress], None]
    ) -> None:
        """Sees that the backend has the files, which the caller holds; at once if it reads the shelf itself.

        Raises a BackendError or a StorageError.
        """
        if not backend.fetches_models:
            return
        for file in files:
            content = await asyncio.to_thread(self.outlet.content, file.place)
            url = self.signer.url(content.sha256, time.time() + self.seconds)
            kind = folder_of(file.place.root, file.place.kind).name
            wanted = Placement(kind, file.file, content.sha256, content.size, url)
            speed = Speedometer(f"{file.name} for {backend.name}", content.size, time.monotonic)
            await backend.place(
                wanted,
                deadline=self.seconds,
                tell=lambda received, speed=speed: tell(speed.at(received)),  # type: ignore[misc]
            )
