"""The worker thread: imports torch and the nodes while the server already answers, then runs prompts one by one."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from orchestrator.embedded.catalogue import Catalogue
from orchestrator.embedded.executor import Executor, Show, Tell
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.packs import Packs, load_packs
from orchestrator.embedded.prompts import Prompts

_log = logging.getLogger(__name__)

_IDLE_SECONDS = 60.0
_SWEPT_AFTER = 3600.0
_JOIN_SECONDS = 10.0


@dataclass(frozen=True)
class _Loaded:
    catalogue: Catalogue
    packs: Packs
    executor: Executor
    forget_models: Callable[[], None]


@dataclass(frozen=True)
class Setting:
    """Where files are, where node packs are if anywhere, and how many threads torch computes with if not all cores.

    `first` is called by the worker before it imports the nodes, while the routes already answer. `server` is what packs
    get for ComfyUI's module of that name.
    """

    folders: Folders
    packs: Path | None
    threads: int | None = None
    first: Callable[[], None] | None = None
    server: ModuleType | None = None


class Engine:
    """Owner of the worker thread. `failed` is called from it when it cannot go on."""

    def __init__(
        self,
        setting: Setting,
        prompts: Prompts,
        monitor: Monitor,
        tell: Tell,
        failed: Callable[[], None],
        show: Show = lambda *_: None,
    ) -> None:
        self._setting = setting
        self._prompts = prompts
        self._monitor = monitor
        self._tell = tell
        self._show = show
        self._failed = failed
        self._loaded: _Loaded | None = None
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether the nodes are there to be described and run."""
        return self._ready.is_set()

    @property
    def catalogue(self) -> Catalogue | None:
        """The node classes, None until they are imported."""
        return self._loaded.catalogue if self._loaded else None

    @property
    def packs(self) -> Packs | None:
        """What the node packs bring, None until they are imported."""
        return self._loaded.packs if self._loaded else None

    @property
    def running_node(self) -> tuple[str | None, str] | None:
        """Client and id of the node that runs now."""
        return self._loaded.executor.now if self._loaded else None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Interrupts what runs and waits for the thread, at most ten seconds."""
        self._stopping.set()
        self._prompts.close()
        self._monitor.interrupt()
        self._thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        try:
            loaded = self._load()
            self._loaded = loaded
            self._ready.set()
            _log.info("Ready with %d node classes", len(loaded.catalogue))
            _warm_up()
            while not self._stopping.is_set():
                self._turn(loaded)
        except Exception:  # noqa: BLE001 - the edge of a supervised thread
            _log.exception("The worker has failed")
            self._failed()

    def _load(self) -> _Loaded:
        import torch

        from orchestrator.embedded.checkpoint import Shelf
        from orchestrator.embedded.nodes import core_classes

        if self._setting.first:
            self._setting.first()
        if self._setting.threads:
            torch.set_num_threads(self._setting.threads)
        folders = self._setting.folders
        shelf = Shelf()
        packs = Packs()
        if self._setting.packs is not None:
            packs = load_packs(self._setting.packs, folders, self._setting.server)
        catalogue = {kind.name: kind for kind in (*core_classes(folders, shelf, self._monitor), *packs.classes)}
        executor = Executor(catalogue, self._monitor, folders, self._tell, self._show)
        return _Loaded(catalogue, packs, executor, shelf.clear)

    def _turn(self, loaded: _Loaded) -> None:
        """One prompt, or the chores of an idle minute."""
        import torch

        prompt = self._prompts.take(_IDLE_SECONDS, self._monitor.begin)
        self._grant_wishes(loaded)
        self._setting.folders.sweep(_SWEPT_AFTER)
        if prompt is None:
            return
        with torch.inference_mode():
            outcome = loaded.executor.run(prompt)
        self._prompts.finish(prompt, outcome)
        if prompt.client is not None:
            self._tell("executing", {"node": None, "prompt_id": prompt.prompt_id}, prompt.client)

    def _grant_wishes(self, loaded: _Loaded) -> None:
        wishes = self._prompts.wishes()
        if wishes.unload_models or wishes.free_memory:
            loaded.forget_models()
        if wishes.free_memory:
            loaded.executor.clear()


def _warm_up() -> None:
    """Imports what the first checkpoint will need, which takes seconds, before it is asked for."""
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel  # noqa: F401
