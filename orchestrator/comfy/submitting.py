"""Gives one job to a backend and takes it back: the graph and its pictures sent, what was sent withdrawn again.

Knows what a lost answer may mean. Knows nothing of how a job fares once it is there; that is for `following`.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from orchestrator.comfy.following import Following
from orchestrator.comfy.graph import Graph
from orchestrator.comfy.listener import Listener
from orchestrator.comfy.rejection import explain, names_file
from orchestrator.comfy.strays import Strays
from orchestrator.comfy.uploads import Uploads
from orchestrator.comfy.wire import Accepted, Doubtful, Limits, Refused, Upload, Wire
from orchestrator.errors import BackendError, BackendLost, GraphRejected

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Submitting:
    """For the jobs of one backend."""

    wire: Wire
    listener: Listener
    uploads: Uploads
    strays: Strays
    limits: Limits

    async def ready(self) -> None:
        """A socket that is just being opened is worth a moment: without it there is no progress to see."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.connect):
                await self.listener.tried()

    async def begin(self, graph: Graph, following: Following, pictures: Sequence[Upload]) -> None:
        """Sends the job, whose pictures are held. Raises GraphRejected or BackendLost, and then it is not there."""
        if following.again:
            await self.strays.settle(following.prompt_id)
            await self.wire.forget(following.prompt_id)
        try:
            await self._submit(graph, following, pictures)
        except BaseException:
            await self.abandon(following)
            raise

    async def abandon(self, following: Following) -> None:
        """Has the backend drop the job, where it may still have it and shall not keep it; later if not now."""
        if not following.at_backend or following.left:
            return
        try:
            async with asyncio.timeout(self.limits.abandon):
                await self.cancel(following.prompt_id, following)
        except (BackendError, TimeoutError) as error:
            said = following.prompt_id, self.wire.name, error
            log.warning('Job %s may still run at backend "%s": %s', *said, extra={"job": following.prompt_id})
            self.strays.add(following.prompt_id)

    async def cancel(self, prompt_id: str, following: Following | None) -> None:
        """Takes the job out of the queue, or interrupts it if it runs. Raises BackendLost."""
        if following is not None:
            following.cancelled = True
        await self.strays.drop(prompt_id)
        if following is not None:
            following.nudge()

    async def withdraw(self, following: Following) -> None:
        """Takes the job out of the queue if it waits there. Raises BackendLost."""
        following.withdrawn = True
        try:
            await self.wire.delete_queued(following.prompt_id)
        except BackendError:
            following.withdrawn = False
            raise
        following.nudge()

    async def _submit(self, graph: Graph, following: Following, pictures: Sequence[Upload]) -> None:
        prompt = graph.to_api()
        answer = await self._post(prompt, following)
        if isinstance(answer, Refused) and names_file(answer.body, self.uploads.files(pictures)):
            self.uploads.forget(pictures)
            await self.uploads.send(pictures)
            answer = await self._post(prompt, following)
        match answer:
            case Refused(body):
                raise GraphRejected(explain(graph, body))
            case Doubtful(reason):
                following.doubt = reason

    async def _post(self, prompt: Mapping[str, object], following: Following) -> Accepted | Refused | Doubtful:
        following.at_backend = True
        posting = asyncio.create_task(self.wire.submit(prompt, following.prompt_id, self.listener.client_id))
        try:
            answer = await asyncio.shield(posting)
        except asyncio.CancelledError:
            # A request that is cut off may still be acted on, after our cancelling: let it arrive first.
            await asyncio.wait({posting}, timeout=self.limits.abandon)
            if not posting.cancel() and not posting.cancelled():
                posting.exception()
            raise
        except BackendLost:
            following.at_backend = False
            raise
        following.at_backend = not isinstance(answer, Refused)
        return answer
