"""Hands jobs to a backend's editor: pictures where LoadImage finds them, the workflow where our extension does.

The extension (`comfyui_nodes/orchestrator_editor/web`) loads `userdata/orchestrator/<job>.json` of the editor's user.
Pictures are inputs, for of others the editor shows none. What is there is bounded: of the jobs opened last, `_KEPT`;
our pack deletes the pictures of older ones. Each job's have names of their own, so that Run never takes those of
another. Knows nothing of what a job is.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from urllib.parse import urlencode

from orchestrator.comfy.wire import UPLOAD_FOLDER, Upload, Wire

_EXTENSION = "/orchestrator_editor/open_job.js"
_FOLDER = "orchestrator"
_KEPT = 8
"""Opened jobs that a backend remembers."""
_JOB_FILE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json", re.ASCII)
_PICTURES = f"{UPLOAD_FOLDER}/opened"


class Editor:
    """One backend's editor. Every method raises BackendLost."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._putting = asyncio.Lock()

    async def takes_jobs(self) -> bool:
        """True when its editor has our extension."""
        return any(path.endswith(_EXTENSION) for path in await self._wire.extensions())

    async def put(self, job_id: str, workflow: str, pictures: Sequence[Upload]) -> str:
        """Has the backend keep a workflow (JSON) and its pictures; the query of the editor's address that loads it."""
        async with self._putting:
            for number, picture in enumerate(pictures):
                file = f"{job_id}-{number}.png"
                await self._wire.upload(picture.data, _PICTURES, file, "input")
                opened = json.dumps(f"{_PICTURES}/{file}")
                workflow = workflow.replace(json.dumps(picture.reference), opened)
            await self._wire.put_user_file(f"{_FOLDER}/{job_id}.json", workflow.encode())
            await self._forget_old(f"{job_id}.json")
        return urlencode({"orchestrator_job": job_id})

    async def _forget_old(self, newest: str) -> None:
        files = await self._wire.user_files(_FOLDER)
        old = [name for name in files if _JOB_FILE.fullmatch(name) and name != newest][_KEPT - 1 :]
        if old:
            await self._wire.forget_opened([name.removesuffix(".json") for name in old])
        for name in old:
            await self._wire.delete_user_file(f"{_FOLDER}/{name}")
