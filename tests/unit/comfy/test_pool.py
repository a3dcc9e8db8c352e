import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import FrozenInstanceError

import pytest

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.pool import Pool
from orchestrator.errors import DeviceFault, NoBackend
from tests.fakes.comfyui import FakeComfyUI
from tests.unit.comfy.graphs import AT_ONCE, QUICK, picture_graph
from tests.unit.comfy.test_client import new_id, until

A = {"input": {"required": {}}, "output": [], "output_node": False}


@asynccontextmanager
async def pool_of(*fakes: FakeComfyUI):
    async with AsyncExitStack() as stack:
        for fake in fakes:
            await stack.enter_async_context(fake)
        clients = [
            BackendClient(fake.url, name=f"b{number}", limits=QUICK, backoff=AT_ONCE)
            for number, fake in enumerate(fakes)
        ]
        pool = await stack.enter_async_context(Pool(clients, backoff=AT_ONCE))
        await until(lambda: all(state.connection == "ready" for state in pool.snapshot()))
        yield pool


def fake_with(*classes: str) -> FakeComfyUI:
    return FakeComfyUI(catalog_json=dict.fromkeys(classes, A))


async def test_classes_that_no_backend_has_are_named():
    async with pool_of(fake_with("A"), fake_with("B")) as pool:
        pool.require(frozenset({"A"}))
        with pytest.raises(NoBackend, match=r"node classes X, Y$"):
            pool.require(frozenset({"A", "X", "Y"}))


async def test_a_pool_without_backends_says_so():
    async with Pool([]) as pool:
        with pytest.raises(NoBackend, match="configured"):
            pool.require(frozenset({"A"}))


async def test_where_to_draw_is_told_of_the_backend_that_brings_an_editor_and_of_no_other(caplog):
    caplog.set_level(logging.INFO, "orchestrator.comfy.pool")
    async with fake_with("A") as own, fake_with("A") as other:
        clients = [
            BackendClient(own.url, name="embedded", kind="embedded", limits=QUICK, backoff=AT_ONCE),
            BackendClient(other.url, name="other", limits=QUICK, backoff=AT_ONCE),
        ]
        async with Pool(clients, backoff=AT_ONCE) as pool:
            await until(lambda: all(state.connection == "ready" for state in pool.snapshot()))
    assert [text for text in caplog.messages if "to draw" in text] == [f"Open {own.url} in a browser to draw workflows"]


async def test_a_backend_that_is_gone_is_not_ready_until_it_is_back():
    fake = fake_with("A")
    async with pool_of(fake) as pool:
        place = pool.places[0]
        place.take("m")
        await fake.stop()
        await until(lambda: pool.snapshot()[0].connection == "lost")
        assert place.down.is_set()
        with pytest.raises(NoBackend, match="is connected"):
            pool.require_ready()
        await fake.start()
        await until(lambda: pool.ready)
        assert place.up.is_set()
        assert place.model is None  # it may have been restarted: nothing is loaded as far as we know
        pool.require_ready()


async def test_a_catalogue_that_cannot_be_read_at_first_is_read_later():
    fake = fake_with("A")
    fake.faults.fail("GET /object_info", times=2)
    async with pool_of(fake) as pool:
        assert pool.ready
        assert len(fake.requests("GET /object_info")) == 3


async def test_the_catalogue_is_that_of_the_connected_backends_together():
    one, two = fake_with("A"), fake_with("B")
    async with pool_of(one, two) as pool:
        assert set(pool.catalog().classes) == {"A", "B"}
        await two.stop()
        await until(lambda: pool.snapshot()[1].connection == "lost")
        assert set(pool.catalog().classes) == {"A"}


async def test_a_snapshot_is_a_frozen_copy():
    async with pool_of(fake_with("A")) as pool:
        state = pool.snapshot()[0]
        pool.places[0].take("m")
        assert not state.busy
        assert pool.snapshot()[0].busy
        with pytest.raises(FrozenInstanceError):
            state.busy = True


async def test_a_backend_that_was_never_reached_says_why():
    async with FakeComfyUI() as fake:
        pass
    async with Pool([BackendClient(fake.url, name="gone", limits=QUICK, backoff=AT_ONCE)], backoff=AT_ONCE) as pool:
        await until(lambda: pool.snapshot()[0].reason)
        assert pool.snapshot()[0].connection == "connecting"
        assert "no connection" in pool.snapshot()[0].reason


async def test_a_remote_backend_whose_device_failed_is_quarantined_until_it_was_restarted():
    fake = FakeComfyUI()
    fake.faults.raise_in, fake.faults.raised = "KSampler", ("RuntimeError", "CUDA error: unspecified launch failure")
    async with pool_of(fake) as pool:
        with pytest.raises(DeviceFault):
            await pool.places[0].backend.run(picture_graph(), new_id(), "9", deadline=10)
        await until(lambda: pool.snapshot()[0].connection == "quarantined")
        assert "launch failure" in pool.snapshot()[0].reason
        assert not pool.ready
        assert pool.places[0].down.is_set()
        fake.faults.raise_in = ""
        await fake.restart()
        await until(lambda: pool.ready)
        assert await pool.places[0].backend.run(picture_graph(), new_id(), "9", deadline=10)
        assert (pool.snapshot()[0].jobs_lost, pool.snapshot()[0].jobs_done) == (1, 1)
