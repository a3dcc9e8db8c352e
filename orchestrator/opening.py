"""Opens a job in the editor of a backend: its pictures and its workflow are put there, and where to look is told.

Joins jobs, what they need and backends. Knows nothing of HTTP, nor of how an editor is handed a workflow.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.comfy.place import Place
from orchestrator.comfy.pool import Pool
from orchestrator.comfy.wire import Upload
from orchestrator.errors import NoBackend, NoEditor, StorageError
from orchestrator.jobs.job import Job
from orchestrator.provisions import Provisions

_MEND = "load the job's workflow (its link, or a PNG of it) into an editor by hand"


@dataclass(frozen=True)
class Opener:
    """`editors` says where people reach each backend's editor, by the backend's name; "" is nowhere."""

    pool: Pool
    provisions: Provisions
    editors: Mapping[str, str]

    async def open(self, job: Job, *, on_this_machine: bool) -> str:
        """The address at which the editor shows the job, which pressing Run then repeats.

        `on_this_machine`: whoever asks can reach what this service can. Raises NoBackend, NoEditor with the mend, or
        BackendLost.
        """
        if not job.spec.workflow:
            raise NoEditor("This job was accepted before workflows were kept; load its prompt into an editor by hand")
        place = self._place(job)
        backend = place.backend
        address = self.editors.get(backend.name, "") or (backend.url if on_this_machine else "")
        if not address:
            raise NoEditor(f'Backend "{backend.name}" has no editor_url in the settings; set it, or {_MEND}')
        if not await backend.editor.takes_jobs():
            pack = "the node pack orchestrator_editor"
            raise NoEditor(f'Backend "{backend.name}" does not have {pack}; install it there, or {_MEND}')
        query = await backend.editor.put(job.id, job.spec.workflow, await self._pictures(job))
        return f"{address.rstrip('/')}/?{query}"

    def _place(self, job: Job) -> Place:
        """Where it ran; another backend that has its nodes only when that one is gone."""
        ready = [place for place in self.pool.places if place.connection == "ready" and place.may_run(job.spec.classes)]
        if not ready:
            raise NoBackend
        return next((place for place in ready if place.backend.name == job.backend), ready[0])

    async def _pictures(self, job: Job) -> list[Upload]:
        try:
            return [Upload(name, png) for name, png in (await self.provisions.pictures(job.spec)).items()]
        except StorageError as error:
            raise NoEditor(f"The job's pictures are no longer kept: inputs_gb in the settings; {_MEND}") from error
