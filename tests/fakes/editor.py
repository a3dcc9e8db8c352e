"""What a ComfyUI's editor needs of its server to be handed a job: extensions, and the files of its user."""

from itertools import count

from aiohttp import web

OPEN_JOB = "/extensions/orchestrator_editor/open_job.js"


class FakeEditor:
    """`extensions` are the scripts that the editor loads; `files` those of its user, by path; `forgotten` jobs whose
    pictures our pack was to delete."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.extensions = ["/extensions/core/other.js", OPEN_JOB]
        self.files: dict[str, bytes] = {}
        self._changed: dict[str, int] = {}
        self._clock = count()

    def routes(self) -> list[web.RouteDef]:
        """ComfyUI's routes."""
        return [
            web.get("/extensions", self._list_extensions),
            web.post("/orchestrator/opened/forget", self._forget),
            web.get("/userdata", self._list),
            web.get("/userdata/{file}", self._read),
            web.post("/userdata/{file}", self._write),
            web.delete("/userdata/{file}", self._delete),
        ]

    async def _list_extensions(self, request: web.Request) -> web.Response:
        return web.json_response(self.extensions)

    async def _forget(self, request: web.Request) -> web.Response:
        self.forgotten += (await request.json())["jobs"]
        return web.json_response({"deleted": 0})

    async def _list(self, request: web.Request) -> web.Response:
        folder = request.query["dir"] + "/"
        found = [path for path in self.files if path.startswith(folder)]
        if not found:
            return web.Response(status=404)
        listed = [
            {"path": path.removeprefix(folder), "size": len(self.files[path]), "modified": self._changed[path]}
            for path in found
        ]
        return web.json_response(listed)

    async def _read(self, request: web.Request) -> web.Response:
        path = request.match_info["file"]
        return web.Response(body=self.files[path]) if path in self.files else web.Response(status=404)

    async def _write(self, request: web.Request) -> web.Response:
        path = request.match_info["file"]
        self.files[path], self._changed[path] = await request.read(), next(self._clock)
        return web.json_response(path)

    async def _delete(self, request: web.Request) -> web.Response:
        found = self.files.pop(request.match_info["file"], None)
        return web.Response(status=404 if found is None else 204)
