import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator.comfy.process import BackendProcess
from orchestrator.comfy.supervision import Backoff
from orchestrator.errors import BackendLost
from tests.unit.comfy.graphs import client_of, picture_graph
from tests.unit.comfy.test_client import new_id, until

SOON = Backoff(first=0.02, limit=0.02)


async def at_once() -> bool:
    return True


async def never() -> bool:
    return False


def python(code: str, ready: Callable[[], Awaitable[bool]] = at_once, **others) -> BackendProcess:
    return BackendProcess("test", [sys.executable, "-S", "-u", "-c", code], ready=ready, backoff=SOON, **others)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_fake_backend_as_its_own_process_is_started_and_runs_a_job():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    argv = [sys.executable, "-m", "tests.fakes.comfyui", "--port", str(port)]
    async with client_of(f"http://127.0.0.1:{port}") as client:
        async with BackendProcess("fake", argv, ready=client.alive, backoff=SOON) as process:
            await process.started()
            await client.opened()
            assert await client.run(picture_graph(), new_id(), "9", deadline=10)
        assert not await client.alive()


async def test_its_output_goes_to_the_log_a_line_a_record_with_carriage_returns_too(caplog):
    caplog.set_level(logging.INFO, "orchestrator.backend.test")
    code = "import sys; print('one'); sys.stderr.write('10%\\r20%\\r'); print('x' * 20000)"
    async with python(code + "\n" + "import time; time.sleep(60)") as process:
        await until(lambda: any("xxx" in text for text in caplog.messages))
        assert process.starts >= 1
    texts = [record.getMessage() for record in caplog.records if record.name == "orchestrator.backend.test"]
    assert {"one", "10%", "20%"} <= set(texts)
    assert max(map(len, texts)) <= 8192


async def test_a_child_that_dies_is_started_again():
    async with python("import time; time.sleep(60)") as process:
        await process.started()
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: process.pid not in (None, first))
        await process.started()
        assert process.starts == 2


async def test_a_child_that_is_not_ready_in_time_is_stopped_and_started_again():
    async with python("import time; time.sleep(60)", never, start_deadline=0.1, probe_seconds=0.01) as process:
        await until(lambda: process.starts >= 2)
        assert not process.is_ready
        with pytest.raises(BackendLost, match=r"not ready after 0\.1 s"):
            await process.started()


async def test_a_child_that_dies_before_it_is_ready_is_noticed_before_the_deadline(caplog):
    async with python("raise SystemExit(3)", never, probe_seconds=0.01) as process:
        await until(lambda: process.starts >= 2)
    assert any("ended with code 3 before it was ready" in text for text in caplog.messages)


async def test_a_child_that_dies_while_somebody_else_answers_in_its_place_is_not_taken_for_ready():
    async def answers_late() -> bool:
        await asyncio.sleep(0.3)
        return True

    async with python("raise SystemExit(3)", answers_late) as process:
        await until(lambda: process.starts >= 2)
        assert "before it was ready" in process.failure


async def test_a_child_is_not_started_while_somebody_else_listens_on_its_port():
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        async with python("import time; time.sleep(60)", port=port) as process:
            await until(lambda: process.failure)
            assert (process.starts, process.is_ready) == (0, False)
            assert str(port) in process.failure
            stranger.close()
            await process.started()


async def test_a_child_that_stops_answering_is_started_again(caplog):
    answers = [True]

    async def once() -> bool:
        return answers.pop() if answers else False

    async with python(
        "import time; time.sleep(60)", once, watch_seconds=0.02, silence=0.2, start_deadline=30
    ) as process:
        await until(lambda: process.starts >= 2)
        assert "has not answered for 0.2 s" in process.failure
        assert process.ready_since is None


async def test_a_child_that_still_answers_is_left_alone():
    async with python("import time; time.sleep(60)", watch_seconds=0.02, silence=0.2) as process:
        await process.started()
        await asyncio.sleep(0.6)
        assert process.starts == 1
        assert process.ready_since is not None


async def test_a_child_is_started_anew_on_demand_and_what_comes_before_a_start_is_done_each_time():
    prepared: list[int] = []
    async with python("import time; time.sleep(60)", before=lambda: prepared.append(1)) as process:
        await process.started()
        process.restart("its device failed")
        await until(lambda: process.starts == 2)
        await process.started()
        assert "its device failed" in process.failure
    assert len(prepared) == 2


async def test_a_program_that_does_not_exist_is_told_and_tried_again(caplog):
    async with BackendProcess("none", ["/nonexistent/program"], ready=at_once, backoff=SOON) as process:
        await until(lambda: any("/nonexistent/program" in text for text in caplog.messages))
        assert process.pid is None


async def test_stopping_ends_the_child_gently():
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up'); time.sleep(60)"
    )
    async with python(code) as process:
        await process.started()
        pid = process.pid
        assert pid is not None
    assert not is_running(pid)


async def test_a_child_that_does_not_listen_is_killed_together_with_its_own_children(caplog):
    caplog.set_level(logging.INFO, "orchestrator.backend.test")
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child: print('child', child)\n"
        "time.sleep(60)\n"
    )
    started = time.monotonic()
    async with python(code, stop_deadline=0.2) as process:
        await until(lambda: any(text.startswith("child ") for text in caplog.messages))
        pid = process.pid
    child = next(int(text.split()[1]) for text in caplog.messages if text.startswith("child "))
    assert pid is not None
    assert not is_running(pid)
    await until(lambda: not is_running(child) or is_zombie(child))
    assert time.monotonic() - started < 5


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def test_the_environment_and_the_folder_are_handed_on(tmp_path, caplog):
    caplog.set_level(logging.INFO, "orchestrator.backend.test")
    code = "import os, time; print(os.environ['A'], os.getcwd()); time.sleep(60)"
    async with python(code, env={"A": "b"}, cwd=tmp_path):
        await until(lambda: f"b {tmp_path}" in caplog.messages)
    await asyncio.sleep(0)
