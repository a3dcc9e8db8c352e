import asyncio
from contextlib import suppress

from orchestrator.comfy.execution import Execution, Progress
from orchestrator.comfy.following import Following
from orchestrator.comfy.messages import Executing
from orchestrator.comfy.wire import Limits, Wire
from tests.unit.comfy.graphs import into, picture_graph


async def test_a_preview_is_told_with_the_node_that_painted_it_also_when_the_next_has_begun():
    told: list[Progress] = []
    async with Wire("http://127.0.0.1:9", name="nobody", headers=None, limits=Limits(poll=60)) as wire:
        following = Following(Execution("a", picture_graph()), wire, Limits(poll=60))
        following.hear(Executing("a", "4"))
        following.show(b"the picture so far")
        following.hear(Executing("a", "8"))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await following.to_end(into(told))
    assert [(now.node_title, now.preview) for now in told] == [("Sampler", b"the picture so far"), ("VAEDecode", None)]
