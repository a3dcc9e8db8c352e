"""The page's files as the service sends them: policy, types, caching, compression, and that the wheel has them."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.comfyui.backends import REPOSITORY
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.callers import a_key
from tests.integration.services import Service

PAGE = REPOSITORY / "orchestrator" / "page"
NAMES = sorted(path.name for path in PAGE.iterdir() if path.suffix in (".js", ".css", ".svg"))


async def test_the_page_runs_nothing_but_its_own_files(fake: FakeComfyUI, start: Service) -> None:
    client = await start(fake.url)
    async with client.get("/") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        html = await answer.text()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=|javascript:", html)
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", html)


async def test_files_are_kept_for_good_and_the_page_is_asked_for_again(fake: FakeComfyUI, start: Service) -> None:
    client = await start(fake.url)
    async with client.get("/", headers={"Accept-Encoding": "identity"}) as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
        html, mark = await answer.text(), answer.headers["ETag"]
    async with client.get("/", headers={"If-None-Match": mark, "Accept-Encoding": "identity"}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    folder = re.search(r"page/[0-9a-f]{16}/", html)
    assert folder is not None
    addresses = [folder[0] + name for name in NAMES]
    for address in addresses:
        async with client.get(f"/{address}") as answer:
            assert answer.status == 200
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.headers["Content-Encoding"] == "gzip"
            assert await answer.read() == (PAGE / address.rpartition("/")[2]).read_bytes()
    for stranger in ("page/0000000000000000/main.js", addresses[0].replace(NAMES[0], "__init__.py")):
        async with client.get(f"/{stranger}") as answer:
            assert answer.status == 404


async def test_the_page_is_open_where_keys_are_asked_for(fake: FakeComfyUI, start: Service, tmp_path: Path) -> None:
    a_key(tmp_path, "somebody")
    client = await start(fake.url, api_keys="required")
    async with client.get("/") as answer:
        assert answer.status == 200
        script = re.search(r"page/[0-9a-f]{16}/start.js", await answer.text())
    assert script is not None
    assert (await client.get(f"/{script[0]}")).status == 200
    assert (await client.get("/widgets")).status == 401


def test_the_wheel_has_every_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path)]
    source = tmp_path / "source"  # building leaves files where it is done
    shutil.copytree(REPOSITORY / "orchestrator", source / "orchestrator", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, source / name)
    built = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=300)
    if "setuptools" in built.stderr and built.returncode:
        pytest.skip("setuptools is not installed here, so no wheel can be built without the network")
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert {f"orchestrator/page/{name}" for name in [*NAMES, "index.html"]} <= set(wheel.namelist())
