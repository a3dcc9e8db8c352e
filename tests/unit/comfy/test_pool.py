import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import FrozenInstanceError

import pytest

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.pool import Pool
from orchestrator.errors import BackendLost, NoBackend, QueueFull
from tests.fakes.comfyui import FakeComfyUI
from tests.unit.comfy.graphs import AT_ONCE, QUICK, picture_graph
from tests.unit.comfy.test_client import new_id, until

A = {"input": {"required": {}}, "output": [], "output_node": False}
CLASS_A = frozenset({"A"})


@asynccontextmanager
async def pool_of(*fakes: FakeComfyUI, waiting_limit: int = 10, patience: float = 5.0, wait: bool = True):
    async with AsyncExitStack() as stack:
        for fake in fakes:
            await stack.enter_async_context(fake)
        clients = [
            BackendClient(fake.url, name=f"b{number}", limits=QUICK, backoff=AT_ONCE)
            for number, fake in enumerate(fakes)
        ]
        pool = Pool(clients, waiting_limit=waiting_limit, patience=patience, backoff=AT_ONCE)
        await stack.enter_async_context(pool)
        if wait:
            await until(lambda: all(state.connection == "ready" for state in pool.snapshot()))
        yield pool


async def hold(pool: Pool, release: asyncio.Event, model: str = "m", classes=CLASS_A) -> str:
    async with pool.lease(classes, model) as lease:
        await release.wait()
        return lease.backend.name


def fake_with(*classes: str) -> FakeComfyUI:
    return FakeComfyUI(catalog_json=dict.fromkeys(classes, A))


async def test_a_lease_is_a_connected_backend_that_runs_graphs():
    async with pool_of(FakeComfyUI()) as pool:
        graph = picture_graph()
        async with pool.lease(graph.classes, "tiny.safetensors") as lease:
            assert await lease.backend.run(graph, new_id(), "9", deadline=5)
        state = pool.snapshot()[0]
        assert (state.jobs_done, state.busy, state.model) == (1, False, "tiny.safetensors")


async def test_a_backend_has_one_job_at_a_time_and_the_next_waits():
    async with pool_of(fake_with("A")) as pool:
        first_done, second_done = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(hold(pool, first_done))
        await until(lambda: pool.snapshot()[0].busy)
        second = asyncio.create_task(hold(pool, second_done))
        await asyncio.sleep(0.05)
        second_done.set()
        await asyncio.sleep(0.05)
        assert not second.done()
        first_done.set()
        assert await first == await second == "b0"


async def test_waiting_jobs_are_served_in_the_order_they_came():
    served: list[int] = []

    async def job(number: int) -> None:
        async with pool.lease(CLASS_A, "m"):
            served.append(number)
            await asyncio.sleep(0)

    async with pool_of(fake_with("A")) as pool:
        await asyncio.gather(*(job(number) for number in range(8)))
    assert served == list(range(8))


async def test_an_idle_backend_that_ran_the_model_last_is_preferred():
    async with pool_of(fake_with("A"), fake_with("A"), fake_with("A")) as pool:
        release = asyncio.Event()
        holds = [asyncio.create_task(hold(pool, release, model)) for model in ("x", "y", "z")]
        await until(lambda: all(state.busy for state in pool.snapshot()))
        release.set()
        names = dict(zip("xyz", [await held for held in holds], strict=True))
        for model in "yxzyx":
            assert await hold(pool, release, model) == names[model]


async def test_a_job_with_a_new_model_goes_where_nothing_is_loaded():
    async with pool_of(fake_with("A"), fake_with("A")) as pool:
        release = asyncio.Event()
        release.set()
        first = await hold(pool, release, "x")
        assert await hold(pool, release, "y") != first


async def test_a_backend_that_lacks_a_class_is_never_chosen_and_does_not_hold_up_others():
    async with pool_of(fake_with("A"), fake_with("B")) as pool:
        release = asyncio.Event()
        first = asyncio.create_task(hold(pool, release))
        await until(lambda: pool.snapshot()[0].busy)
        second = asyncio.create_task(hold(pool, release))
        done = asyncio.Event()
        done.set()
        assert await hold(pool, done, classes=frozenset({"B"})) == "b1"
        assert not second.done()
        release.set()
        assert {await first, await second} == {"b0"}


async def test_a_job_that_must_wait_longer_does_not_hold_up_the_one_behind_it():
    async with pool_of(fake_with("A"), fake_with("B")) as pool:
        endless, release = asyncio.Event(), asyncio.Event()
        class_b = frozenset({"B"})
        holds = [asyncio.create_task(hold(pool, endless)), asyncio.create_task(hold(pool, release, classes=class_b))]
        await until(lambda: all(state.busy for state in pool.snapshot()))
        holds.append(asyncio.create_task(hold(pool, endless)))
        behind = asyncio.create_task(hold(pool, release, classes=class_b))
        await asyncio.sleep(0.01)
        release.set()
        async with asyncio.timeout(5):
            assert await behind == "b1"
        endless.set()
        await asyncio.gather(*holds)


async def test_classes_that_no_backend_has_are_named():
    async with pool_of(fake_with("A"), fake_with("B")) as pool:
        with pytest.raises(NoBackend, match=r"node classes X, Y$"):
            async with pool.lease(frozenset({"A", "X", "Y"}), "m"):
                pass


async def test_a_full_queue_says_when_to_come_again():
    async with pool_of(fake_with("A"), waiting_limit=1) as pool:
        release = asyncio.Event()
        jobs = [asyncio.create_task(hold(pool, release))]
        await until(lambda: pool.snapshot()[0].busy)
        pool.ensure_room()
        jobs.append(asyncio.create_task(hold(pool, release)))
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFull) as caught:
            await hold(pool, release)
        assert caught.value.retry_after >= 1
        with pytest.raises(QueueFull):
            pool.ensure_room()
        release.set()
        await asyncio.gather(*jobs)
        pool.ensure_room()


async def test_retry_after_follows_the_measured_run_time():
    async with pool_of(fake_with("A"), waiting_limit=0) as pool:
        release = asyncio.Event()
        unmeasured = asyncio.create_task(hold(pool, release))
        await until(lambda: pool.snapshot()[0].busy)
        with pytest.raises(QueueFull) as before:
            pool.ensure_room()
        release.set()
        await unmeasured
        release.clear()
        measured = asyncio.create_task(hold(pool, release))
        await until(lambda: pool.snapshot()[0].busy)
        with pytest.raises(QueueFull) as after:
            pool.ensure_room()
        assert after.value.retry_after < before.value.retry_after
        release.set()
        await measured


async def test_a_waiter_that_gives_up_leaves_its_place_to_the_next():
    async with pool_of(fake_with("A"), waiting_limit=2) as pool:
        release = asyncio.Event()
        first = asyncio.create_task(hold(pool, release))
        await until(lambda: pool.snapshot()[0].busy)
        second = asyncio.create_task(hold(pool, release))
        third = asyncio.create_task(hold(pool, release))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.wait({second})
        release.set()
        assert await third == await first == "b0"


async def test_a_waiter_cancelled_in_the_moment_it_is_served_gives_the_backend_back():
    async with pool_of(fake_with("A")) as pool:
        async with pool.lease(CLASS_A, "m"):
            waiter = asyncio.create_task(hold(pool, asyncio.Event()))
            await asyncio.sleep(0.01)
        # The backend is the waiter's by now, and the waiter has not run since.
        assert pool.snapshot()[0].busy
        waiter.cancel()
        await asyncio.wait({waiter})
        assert not pool.snapshot()[0].busy


async def test_a_lease_has_a_deadline_when_asked_for():
    async with pool_of(fake_with("A")) as pool, pool.lease(CLASS_A, "m"):
        with pytest.raises(NoBackend, match="in time"):
            async with pool.lease(CLASS_A, "m", deadline=0.05):
                pass


async def test_without_any_connected_backend_a_job_waits_for_the_pools_patience_only():
    gone = fake_with("A")
    async with gone:
        pass
    client = BackendClient(gone.url, name="gone", limits=QUICK, backoff=AT_ONCE)
    async with Pool([client], waiting_limit=1, patience=0.1, backoff=AT_ONCE) as pool:
        assert not pool.ready
        with pytest.raises(NoBackend, match="is connected"):
            async with pool.lease(CLASS_A, "m"):
                pass


async def test_a_job_that_waits_for_a_restarting_backend_gets_it():
    fake = fake_with("A")
    async with pool_of(fake) as pool:
        await fake.stop()
        await until(lambda: pool.snapshot()[0].connection == "lost")
        assert not pool.ready
        release = asyncio.Event()
        release.set()
        waiting = asyncio.create_task(hold(pool, release))
        await asyncio.sleep(0.02)
        await fake.start()
        assert await waiting == "b0"
        assert pool.ready


async def test_a_backend_that_comes_back_without_the_class_fails_those_who_wait():
    fake = fake_with("A")
    async with pool_of(fake) as pool:
        await fake.stop()
        await until(lambda: pool.snapshot()[0].connection == "lost")
        waiting = asyncio.create_task(hold(pool, asyncio.Event()))
        await asyncio.sleep(0.02)
        fake.catalog_json = {"B": A}
        await fake.start()
        with pytest.raises(NoBackend, match="node classes A"):
            await waiting


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


async def test_a_lost_job_is_counted_and_the_backend_is_free_again():
    async with pool_of(fake_with("A")) as pool:
        with pytest.raises(BackendLost):
            async with pool.lease(CLASS_A, "m"):
                raise BackendLost
        state = pool.snapshot()[0]
        assert (state.jobs_lost, state.jobs_done, state.busy) == (1, 0, False)
        with pytest.raises(FrozenInstanceError):
            state.busy = True


async def test_a_pool_without_backends_says_so():
    async with Pool([], waiting_limit=1) as pool:
        with pytest.raises(NoBackend, match="configured"):
            async with pool.lease(CLASS_A, "m"):
                pass


async def test_closing_the_pool_fails_those_who_wait():
    async with pool_of(fake_with("A")) as pool:
        first = asyncio.create_task(hold(pool, asyncio.Event()))
        await until(lambda: pool.snapshot()[0].busy)
        second = asyncio.create_task(hold(pool, asyncio.Event()))
        await asyncio.sleep(0.01)
    with pytest.raises(NoBackend, match="stopping"):
        await second
    first.cancel()
    await asyncio.wait({first})
