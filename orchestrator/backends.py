"""The backends that the settings name, as clients; those that the service runs itself are started and stopped here."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from PIL import Image

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.embedded import Folders, embedded_backend
from orchestrator.comfy.installation import find_installation
from orchestrator.comfy.managed import ManagedSetup, managed_backend
from orchestrator.settings import ManagedBackend, RemoteBackend, Settings

log = logging.getLogger(__name__)


async def open_backends(
    settings: Settings, mark: str, environment: Mapping[str, str], resources: AsyncExitStack
) -> list[BackendClient]:
    """The operator's ComfyUI servers and those that the service starts, or the embedded backend where there are none.

    Raises SettingsError. `mark` tells this service's files at a backend from another's; `environment` is for the
    processes that are started.
    """
    if settings.backends:
        return [
            await resources.enter_async_context(managed_backend(managed_setup(settings, backend, environment)))
            if isinstance(backend, ManagedBackend)
            else remote_client(backend, mark)
            for backend in settings.backends
        ]
    log.info("no backend is configured: starting the embedded one, which samples on the CPU")
    temporary = await resources.enter_async_context(_emptied(settings.data.absolute() / "backends" / "embedded"))
    await asyncio.to_thread(_example_inputs, temporary / "input")
    folders = Folders(
        models=settings.data / "models",
        temporary=temporary,
        nodes=settings.nodes,
        workflows=settings.workflows,
        editor=settings.data / "editor",
    )
    return [await resources.enter_async_context(embedded_backend(folders, settings.editor_port, environment))]


def remote_client(backend: RemoteBackend, mark: str = "") -> BackendClient:
    """A client of a ComfyUI that the operator runs."""
    return BackendClient(
        backend.url,
        name=backend.called,
        headers=backend.headers,
        fetches_models=backend.models == "fetch",
        mark=mark,
    )


def managed_setup(
    settings: Settings, backend: ManagedBackend, environment: Mapping[str, str] | None = None
) -> ManagedSetup:
    """What a managed backend is started with. Raises SettingsError when its ComfyUI is not found."""
    return ManagedSetup(
        name=backend.called,
        installation=find_installation(backend.folder, backend.python),
        home=(settings.data / "backends" / backend.called).absolute(),
        models=(settings.data / "models").absolute(),
        nodes=settings.nodes.absolute(),
        device=backend.device,
        arguments=backend.arguments,
        port=backend.port,
        environment=environment or {},
    )


def _example_inputs(folder: Path) -> None:
    """The pictures that the project's drawings name, so that they run in the editor as they are opened."""
    samples = Path(__file__).parent / "demo"
    folder.mkdir(parents=True)
    shutil.copy(samples / "mask.png", folder / "mask.png")
    with Image.open(samples / "sample.jpg") as picture:
        picture.save(folder / "picture.png")


@asynccontextmanager
async def _emptied(folder: Path) -> AsyncIterator[Path]:
    """The folder without what was in it, which is deleted at the end; by the next start where there was no end."""
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True)
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
