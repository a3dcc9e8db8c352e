"""Services that ask for keys, and callers that have one."""

from pathlib import Path

from orchestrator.callers.caller import Limits, Right
from orchestrator.callers.keys import ApiKeys

Headers = dict[str, str]


def a_key(data: Path, name: str, *rights: Right, **limits: object) -> Headers:
    """The headers of a new caller, who may run widgets unless told otherwise."""
    key = ApiKeys(data / "keys.json").add(name, frozenset(rights or {Right.RUN}), Limits(**limits))  # type: ignore[arg-type]
    return {"Authorization": f"Bearer {key}"}
