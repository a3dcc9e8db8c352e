"""Has a backend fetch the models of a job before it runs, where the backend does not read the service's own folder.

Speaks to the pack `orchestrator_models` there. Knows nothing of where the service keeps its files.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from orchestrator.comfy.wire import Wire
from orchestrator.errors import BackendError, BackendTimeout

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0


@dataclass(frozen=True)
class Placement:
    """A model for a backend: the folder and the name that the graph means, its content, and where to fetch it."""

    kind: str
    """`checkpoints` or `loras`."""
    file: str
    sha256: str
    size: int
    """Bytes."""
    url: str


async def place(wire: Wire, name: str, wanted: Placement, deadline: float, tell: Callable[[int], None]) -> None:
    """Returns when the backend has the file; tells the bytes that have come.

    Raises BackendError with the backend's reason, BackendTimeout after `deadline` seconds, BackendLost.
    """
    wait = _FIRST_WAIT
    try:
        async with asyncio.timeout(deadline):
            while True:
                status, answer = await wire.place_model(asdict(wanted))
                if status == 200:
                    return
                if status != 202:
                    raise BackendError(
                        f'Backend "{name}" cannot take the model {wanted.file}: {_reason(status, answer)}'
                    )
                received = answer.get("received")
                if isinstance(received, int):
                    tell(received)
                await asyncio.sleep(wait)
                wait = min(_LONGEST_WAIT, wait * 2)
    except TimeoutError as error:
        raise BackendTimeout(f'Backend "{name}" had not fetched {wanted.file} after {deadline:g} s') from error


def _reason(status: int, answer: Mapping[str, object]) -> str:
    if status in (404, 405):
        return "it has not loaded the node pack orchestrator_models; copy comfyui_nodes there and restart it"
    return str(answer.get("error") or f"HTTP {status}")[:500]
