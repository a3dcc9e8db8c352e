"""ComfyUI's HTTP API, one method a request: typed values in and out, every failure a BackendError.

Owns one aiohttp session. Knows nothing of the websocket or of what a job is; `following` and `client` know the order in
which the answers may be trusted.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Literal
from urllib.parse import quote
from uuid import uuid4

import aiohttp

from orchestrator.comfy.execution import ImageRef
from orchestrator.errors import BackendLost, GraphRejected


@dataclass(frozen=True)
class Limits:
    """Deadlines of one backend's requests and waits, in seconds."""

    connect: float = 5.0
    """For a TCP connection, and for the websocket's opening."""
    request: float = 30.0
    """For one request and its answer."""
    transfer: float = 120.0
    """For one upload, picture or catalogue."""
    poll: float = 2.0
    """Between looks at a job when no message comes."""
    grace: float = 5.0
    """How long a backend may fail to answer before its job is given up."""
    abandon: float = 5.0
    """For cancelling a job that nobody waits for any more."""


@dataclass(frozen=True)
class Upload:
    """A picture for a backend. `name` must follow from the content, so that the same name is the same picture."""

    name: str
    data: bytes

    @property
    def reference(self) -> str:
        """What stands for it in a graph, until `uploads` says where it is at a backend."""
        return f"{UPLOAD_FOLDER}/{self.name} [temp]"


@dataclass(frozen=True)
class Accepted:
    """The graph is in the backend's queue."""


@dataclass(frozen=True)
class Refused:
    """Validation refused the graph; `body` is the decoded answer."""

    body: object


@dataclass(frozen=True)
class Doubtful:
    """No answer, or a server error: the graph may be in the queue or not; only looking for its id can tell."""

    reason: str


UPLOAD_FOLDER = "orchestrator"
_PIECE = 1 << 18
"""Bytes of a picture that are handed to the socket at once."""


@dataclass(frozen=True)
class Listed:
    """A backend's queue: by its id each job as the queue lists it, with its graph."""

    running: Mapping[str, object]
    waiting: Mapping[str, object]

    @property
    def all(self) -> Mapping[str, object]:
        return {**self.running, **self.waiting}


class Wire:
    """One backend's HTTP API. Every method raises BackendLost when there is no usable answer."""

    def __init__(self, url: str, *, name: str, headers: Mapping[str, str] | None, limits: Limits) -> None:
        self._url = url.rstrip("/")
        self.name = name
        self._headers = dict(headers or {})
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Wire":
        timeout = aiohttp.ClientTimeout(total=self._limits.request, sock_connect=self._limits.connect)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        self._session = None

    async def submit(
        self, prompt: Mapping[str, object], prompt_id: str, client_id: str
    ) -> Accepted | Refused | Doubtful:
        """POST /prompt. After a BackendLost the graph is certainly not in the queue."""
        body = {"prompt": prompt, "prompt_id": prompt_id, "client_id": client_id}
        try:
            status, answer = await self._call("POST", "/prompt", body=body)
        except BackendLost as error:
            if isinstance(error.__cause__, aiohttp.ClientConnectorError):
                raise
            return Doubtful(error.detail)
        if status >= 500:
            return Doubtful(f'Backend "{self.name}" answered POST /prompt with HTTP {status}')
        if status == 400:
            return Refused(self._decode(answer, "/prompt"))
        self._require_success(status, "POST /prompt")
        return Accepted()

    async def history(self, prompt_id: str) -> object | None:
        """The history entry of a job that has ended; None for an unfinished and for an unknown one."""
        entries = self._object(await self._get(f"/history/{prompt_id}"), "/history")
        return entries.get(prompt_id)

    async def queue(self) -> Listed:
        """The jobs that run and that wait."""
        queue = self._object(await self._get("/queue"), "/queue")
        return Listed(_by_id(queue.get("queue_running")), _by_id(queue.get("queue_pending")))

    async def view(self, image: ImageRef) -> bytes:
        """The bytes of a picture."""
        query = {"filename": image.filename, "subfolder": image.subfolder, "type": image.type}
        status, data = await self._call("GET", "/view", query=query, deadline=self._limits.transfer)
        self._require_success(status, f"GET /view of {image.filename}")
        return data

    async def upload(self, data: bytes, folder: str, name: str, kind: Literal["temp", "input"] = "temp") -> None:
        """POST /upload/image, below the folder of that kind. Raises GraphRejected when the picture is not taken."""
        boundary = uuid4().hex
        head, tail = _around_file(kind, folder, name, boundary)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + len(data) + len(tail)),
        }
        body = _in_pieces(head, data, tail)
        status, _ = await self._call(
            "POST", "/upload/image", data=body, headers=headers, deadline=self._limits.transfer
        )
        if 400 <= status < 500:
            raise GraphRejected(f'Backend "{self.name}" refused a picture of {len(data)} bytes: HTTP {status}')
        self._require_success(status, "POST /upload/image")

    async def object_info(self) -> object:
        """The decoded node catalogue, some megabytes where there are many custom nodes."""
        return self._decode(await self._get("/object_info", self._limits.transfer), "/object_info")

    async def system_stats(self) -> object:
        """The decoded answer to GET /system_stats."""
        return self._decode(await self._get("/system_stats"), "/system_stats")

    async def extensions(self) -> frozenset[str]:
        """The JavaScript files that the editor loads, as paths of URLs; none where there is no editor."""
        status, data = await self._call("GET", "/extensions")
        if status == 404:
            return frozenset()
        self._require_success(status, "GET /extensions")
        return frozenset(str(path) for path in _list(self._decode(data, "/extensions")))

    async def user_files(self, folder: str) -> list[str]:
        """The names of the files in a folder of the editor's user, the newest first."""
        status, data = await self._call("GET", "/userdata", query={"dir": folder, "full_info": "true"})
        if status == 404:
            return []
        self._require_success(status, "GET /userdata")
        files = [item for item in _list(self._decode(data, "/userdata")) if isinstance(item, Mapping)]
        changed = sorted(files, key=lambda item: float(item.get("modified") or 0), reverse=True)
        return [str(item.get("path")) for item in changed]

    async def put_user_file(self, path: str, data: bytes) -> None:
        """Writes a file of the editor's user, over one that is there."""
        status, _ = await self._call("POST", f"/userdata/{quote(path, safe='')}", data=_in_pieces(b"", data, b""))
        self._require_success(status, "POST /userdata")

    async def forget_opened(self, jobs: Sequence[str]) -> None:
        """POST /orchestrator/opened/forget of our pack: the pictures of these jobs are deleted."""
        status, _ = await self._call("POST", "/orchestrator/opened/forget", body={"jobs": list(jobs)})
        self._require_success(status, "POST /orchestrator/opened/forget")

    async def delete_user_file(self, path: str) -> None:
        """Deletes a file of the editor's user; one that is gone is no fault."""
        status, _ = await self._call("DELETE", f"/userdata/{quote(path, safe='')}")
        if status != 404:
            self._require_success(status, "DELETE /userdata")

    async def delete_queued(self, prompt_id: str) -> None:
        """Takes a waiting job out of the queue; a running one stays."""
        self._require_success((await self._call("POST", "/queue", body={"delete": [prompt_id]}))[0], "POST /queue")

    async def interrupt(self, prompt_id: str) -> None:
        """Interrupts the job if it is the one that runs."""
        self._require_success((await self._call("POST", "/interrupt", body={"prompt_id": prompt_id}))[0], "/interrupt")

    async def free(self) -> None:
        """Asks the backend to unload its models and give memory back."""
        body = {"unload_models": True, "free_memory": True}
        self._require_success((await self._call("POST", "/free", body=body))[0], "POST /free")

    async def forget(self, prompt_id: str) -> None:
        """Takes a job that has ended out of the history."""
        status, _ = await self._call("POST", "/history", body={"delete": [prompt_id]})
        self._require_success(status, "POST /history")

    async def drop_results(self, prompt_id: str, files: Sequence[ImageRef]) -> bool:
        """POST /orchestrator/results of our pack: deletes these of the job's files. False where there is no pack."""
        body = {"prompt_id": prompt_id, "files": [asdict(file) for file in files]}
        status, _ = await self._call("POST", "/orchestrator/results", body=body)
        if status in (404, 405):
            return False
        self._require_success(status, "POST /orchestrator/results")
        return True

    async def place_model(self, wanted: Mapping[str, object]) -> tuple[int, Mapping[str, object]]:
        """POST /orchestrator/models of our pack: status and body, empty if it is not an object."""
        status, answer = await self._call("POST", "/orchestrator/models", body=wanted)
        try:
            value = json.loads(answer)
        except ValueError:
            value = None
        return status, value if isinstance(value, Mapping) else {}

    async def _get(self, path: str, deadline: float | None = None) -> bytes:
        status, data = await self._call("GET", path, deadline=deadline)
        self._require_success(status, f"GET {path}")
        return data

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        data: AsyncIterator[bytes] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> tuple[int, bytes]:
        if self._session is None:
            raise BackendLost(f'Backend "{self.name}" is not open')
        timeout = aiohttp.ClientTimeout(total=deadline or self._limits.request, sock_connect=self._limits.connect)
        url = self._url + path
        try:
            async with self._session.request(
                method, url, json=body, data=data, params=query, headers=headers, timeout=timeout
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            text = str(error) or type(error).__name__
            raise BackendLost(f'Backend "{self.name}" did not answer {method} {path}: {text}') from error

    def _require_success(self, status: int, request: str) -> None:
        if not 200 <= status < 300:
            raise BackendLost(f'Backend "{self.name}" answered {request} with HTTP {status}')

    def _decode(self, data: bytes, path: str) -> object:
        try:
            return json.loads(data)
        except ValueError as error:
            raise BackendLost(f'Backend "{self.name}" answered {path} with something that is not JSON') from error

    def _object(self, data: bytes, path: str) -> Mapping[str, object]:
        value = self._decode(data, path)
        if not isinstance(value, Mapping):
            raise BackendLost(f'Backend "{self.name}" answered {path} with something that is not an object')
        return value


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _by_id(items: object) -> Mapping[str, object]:
    return {str(item[1]): item for item in _list(items) if isinstance(item, list) and len(item) > 1}


def _around_file(kind: str, folder: str, name: str, boundary: str) -> tuple[bytes, bytes]:
    """What stands before and after the file in the form that `POST /upload/image` takes."""
    fields = {"type": kind, "subfolder": folder, "overwrite": "true"}
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
    head = "".join(parts) + file + "Content-Type: image/png\r\n\r\n"
    return head.encode(), f"\r\n--{boundary}--\r\n".encode()


async def _in_pieces(head: bytes, data: bytes, tail: bytes) -> AsyncIterator[bytes]:
    # A small picture goes out in one packet. A large one in pieces, for handing over 30 MB at once holds up the loop.
    if len(data) <= _PIECE:
        yield head + data + tail
        return
    yield head
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]
    yield tail
