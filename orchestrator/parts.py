"""Single parts of the service, made as the settings say; `app.py` joins them, and commands use them one by one."""

import asyncio
import logging
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from yarl import URL

from orchestrator.callers.keys import ApiKeys
from orchestrator.errors import SettingsError
from orchestrator.images.inputs import InputFiles
from orchestrator.images.links import secret_file
from orchestrator.images.source import PictureSource
from orchestrator.images.store import ImageStore
from orchestrator.images.threads import PictureThreads
from orchestrator.jobs.sqlite import Dials, SqliteEngine
from orchestrator.jobs.sqlite.database import require_readable
from orchestrator.models.client import CivitaiClient
from orchestrator.models.download import Downloader
from orchestrator.models.finder import ModelFinder, Supply
from orchestrator.models.locks import FileLock
from orchestrator.models.look import Looker
from orchestrator.models.names import Names, load_names
from orchestrator.models.origins import AllowedOrigins
from orchestrator.models.room import Room
from orchestrator.models.shelf import Shelf, tell
from orchestrator.settings import Settings
from orchestrator.telemetry.observer import Observer
from orchestrator.telemetry.tracing import tracer_to
from orchestrator.webhooks.signing import WebhookSigner

log = logging.getLogger(__name__)


@contextmanager
def sole_service(data: Path) -> Iterator[None]:
    """Keeps every other service off the data folder, which is made if it is missing, for its owner alone.

    Two would take each other's jobs for those of a life that is over. Raises SettingsError.
    """
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if data.stat().st_mode & stat.S_IROTH:
            log.warning("others on this machine may look into the data folder %s: chmod 700 it, or 711", data)
        _keep_private(data)
        lock = FileLock.try_exclusive(data / "service.lock")
    except OSError as error:
        raise _no_data_folder(data, error) from error
    if lock is None:
        raise SettingsError(f"Another service runs on the data folder {data}; stop it, or set `data` to another folder")
    with lock:
        yield


def _keep_private(data: Path) -> None:
    """Callers' pictures and people's drawings are their owner's alone where the data folder lets others pass: each
    folder is made so, and one that an earlier version made for all to read is mended here."""
    for folder in (data / name for name in ("inputs", "backends", "editor")):
        if folder.is_dir() and folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            try:
                folder.chmod(0o700)
            except PermissionError:
                log.warning("others on this machine may look into %s: have its owner chmod 700 it", folder)


def require_usable(settings: Settings) -> None:
    """Raises SettingsError or StorageError for what would stop the start though each setting is well-formed.

    Makes nothing and changes nothing, so that it may be asked by another user and beside a running service.
    """
    require_nodes(settings)
    existing = next(path for path in (settings.data.absolute(), *settings.data.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=existing, prefix=".check-"):
            pass
    except OSError as error:
        raise _no_data_folder(settings.data, error) from error
    key = settings.data / "link.key"
    webhook_signer(settings, secret_file(key) if key.exists() else b"not made yet")
    required_keys(settings)
    require_readable(settings.data / "jobs.sqlite")
    if settings.otlp_endpoint:
        tracer_to(settings.otlp_endpoint).close()


def require_nodes(settings: Settings) -> None:
    """Raises SettingsError when a backend that the service starts would look for node packs in vain."""
    starts_one = not settings.backends or any(backend.kind == "managed" for backend in settings.backends)
    if starts_one and not settings.nodes.is_dir():
        raise SettingsError(f"nodes: {settings.nodes} is no folder of node packs")


def _no_data_folder(data: Path, error: OSError) -> SettingsError:
    return SettingsError(f"data: the folder {data} cannot be used: {error.strerror or error}")


def keys_of(data: Path) -> ApiKeys:
    """The API keys of a data folder."""
    return ApiKeys(data / "keys.json")


def required_keys(settings: Settings) -> ApiKeys | None:
    """The keys that callers need, or None where they need none. Raises StorageError."""
    if not settings.keys_needed:
        if settings.is_exposed:
            log.warning("api_keys is off: whoever reaches %s port %s may do everything", settings.host, settings.port)
        return None
    keys = keys_of(settings.data)
    if not keys.listed():
        log.warning("there is no API key yet, so nobody can call; `orchestrator keys add NAME` makes one")
    return keys


def webhook_signer(settings: Settings, secret: bytes | None = None) -> WebhookSigner:
    """What webhooks are signed with. Raises SettingsError."""
    try:
        return WebhookSigner(secret or secret_file(settings.data / "link.key"), settings.webhook_secret)
    except ValueError as error:
        raise SettingsError(f"webhook_secret {error}") from error


def job_engine(settings: Settings, observer: Observer) -> SqliteEngine:
    dials = Dials(
        waiting_limit=settings.queue_limit, kept=settings.link_hours * 3600, affinity=settings.affinity_seconds
    )
    return SqliteEngine(settings.data / "jobs.sqlite", dials, observe=observer.happened)


def load_model_names(settings: Settings) -> Names:
    """The operator's names for models. Raises SettingsError for them, and for a civitai_url that is not allowed."""
    if settings.civitai_url and not AllowedOrigins(settings.civitai_hosts).permits(URL(settings.civitai_url)):
        raise SettingsError(
            f"civitai_url {settings.civitai_url} is at none of civitai_hosts; list it there if it is your mirror"
        )
    return load_names(settings.data / "models.yaml")


def shelf_of(settings: Settings) -> Shelf:
    """The models folder."""
    return Shelf(settings.data / "models")


@asynccontextmanager
async def open_models(
    settings: Settings, heard: Callable[[str, int], None] = lambda *_: None
) -> AsyncIterator[ModelFinder]:
    """The finder of models, with a session to Civitai unless that is turned off. Says what an earlier life left behind.

    Raises SettingsError.
    """
    shelf, names = shelf_of(settings), load_model_names(settings)
    tell(await asyncio.to_thread(shelf.survey), shelf.root)
    if not settings.civitai_url:
        yield ModelFinder(shelf, names)
        return
    room = Room(shelf.root, int(settings.shelf_gb * 1e9), int(settings.disk_floor_gb * 1e9))
    async with CivitaiClient(settings.civitai_url, settings.civitai_hosts, key=settings.civitai_key) as client:
        deadline = settings.fetch_hours * 3600
        downloader = Downloader(client, shelf, room, deadline=deadline, source=settings.civitai_url, heard=heard)
        yield ModelFinder(shelf, names, Supply(client, Looker(client), downloader))


def picture_source(settings: Settings, threads: PictureThreads) -> PictureSource:
    return PictureSource(
        threads,
        max_bytes=settings.picture_mb * 1_000_000,
        max_pixels=int(settings.picture_megapixels * 1_000_000),
        timeout=settings.fetch_seconds,
        allow_networks=settings.fetch_networks,
    )


def input_files(settings: Settings) -> InputFiles:
    return InputFiles(settings.data / "inputs", int(settings.inputs_gb * 1e9))


def image_store(settings: Settings) -> ImageStore:
    return ImageStore(
        settings.data / "images",
        limit_bytes=int(settings.store_gb * 1e9),
        lifetime=settings.link_hours * 3600,
        floor_bytes=int(settings.disk_floor_gb * 1e9),
    )
