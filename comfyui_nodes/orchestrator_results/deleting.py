"""Which files a job may have deleted, and the deletion. Standard library alone; knows nothing of ComfyUI's server."""

from collections.abc import Callable, Iterator
from pathlib import Path

_FOLDERS = ("output", "temp")


def delete_results(body: object, outputs: Callable[[str], object], folder_of: Callable[[str], str]) -> int:
    """Deletes what the request asks for and the job's history lists; gives the number of files deleted.

    `outputs(prompt_id)` is what the history says that the job left, `folder_of(type)` where such files lie.
    """
    if not isinstance(body, dict) or not isinstance(body.get("prompt_id"), str):
        return 0
    wanted = set(_files(body.get("files")))
    deleted = 0
    for kind, subfolder, name in wanted & set(_listed(outputs(body["prompt_id"]))):
        root = Path(folder_of(kind)).resolve()
        file = (root / subfolder / name).resolve()
        if root in file.parents and file.is_file():
            file.unlink(missing_ok=True)
            deleted += 1
    return deleted


def _listed(outputs: object) -> Iterator[tuple[str, str, str]]:
    """Every file of every node's output, under whatever word the node lists it."""
    for output in outputs.values() if isinstance(outputs, dict) else ():
        for listed in output.values() if isinstance(output, dict) else ():
            yield from _files(listed)


def _files(listed: object) -> Iterator[tuple[str, str, str]]:
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict) and isinstance(item.get("filename"), str) and item.get("type") in _FOLDERS:
            yield item["type"], str(item.get("subfolder") or ""), item["filename"]
