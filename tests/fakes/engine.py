"""What stands behind a fake ComfyUI's routes: something that takes prompts and says how they fare."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

Json = dict[str, Any]

Send = Callable[[str, Json, str | None], Awaitable[None]]
"""Sends a message of this type and data to the socket of one client id, or to all for None."""


class Engine(Protocol):
    """Scripted jobs or a recorded session."""

    def submit(self, body: Json) -> tuple[int, Json]:
        """POST /prompt: HTTP status and body."""

    def queue(self) -> Json:
        """GET /queue."""

    def history(self, prompt_id: str) -> Json:
        """GET /history/{prompt_id}."""

    def forget(self, prompt_ids: list[str]) -> None:
        """POST /history {"delete": …}."""

    def delete(self, prompt_ids: list[str]) -> None:
        """POST /queue {"delete": …}."""

    def interrupt(self, prompt_id: str | None) -> None:
        """POST /interrupt."""

    async def close(self) -> None:
        """Stops and forgets everything."""


def no_such_class(prompt: Mapping[str, Json], known: frozenset[str]) -> Json | None:
    """ComfyUI's complaint about a class that it does not have; None when it has them all."""
    for node_id, node in prompt.items():
        if node["class_type"] not in known:
            message = f"Cannot execute because node {node['class_type']} does not exist."
            error = {"type": "invalid_prompt", "message": message, "details": f"Node ID '#{node_id}'", "extra_info": {}}
            return {"error": error, "node_errors": {}}
    return None


def no_such_file(prompt: Mapping[str, Json], has: Callable[[str], bool]) -> Json | None:
    """ComfyUI's complaint about pictures in its temp folder that it does not have; None when it has them all."""
    errors: Json = {}
    for node_id, node in prompt.items():
        name = node["inputs"].get("image")
        if node["class_type"].startswith("LoadImage") and str(name).endswith(" [temp]") and not has(name):
            complaint = {
                "type": "custom_validation_failed",
                "message": "Custom validation failed for node",
                "details": f"image - Invalid image file: {name}",
                "extra_info": {"input_name": "image"},
            }
            errors[node_id] = {"errors": [complaint], "dependent_outputs": [], "class_type": node["class_type"]}
    if not errors:
        return None
    error = {
        "type": "prompt_outputs_failed_validation",
        "message": "Prompt outputs failed validation",
        "details": "",
        "extra_info": {},
    }
    return {"error": error, "node_errors": errors}


def last_nodes(prompt: Mapping[str, Json]) -> list[str]:
    """The nodes that no other node needs."""
    needed = {
        value[0] for node in prompt.values() for value in node["inputs"].values() if isinstance(value, list) and value
    }
    return [node_id for node_id in prompt if node_id not in needed]
