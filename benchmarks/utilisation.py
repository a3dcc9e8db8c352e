"""How busy four backends are kept: the share of the time in which each of them runs a job, while there are jobs.

python -m benchmarks.utilisation [--jobs 400]

Each job is an inpainting of 512x512 that takes its backend 200 ms; so many callers wait for one each that there is
always one more. Backends, service and callers are processes of their own on one machine, so the figure falls when that
is busy with something else: the idle gaps between a backend's jobs are told as well. Counted from the moment at which
each backend has had a few jobs to the one at which the callers run out.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import aiohttp

from benchmarks.backends import Spans, fake_backends
from benchmarks.overhead import bodies_of
from benchmarks.report import figure
from benchmarks.service import serving
from tests.integration.models import SD15, write_header

_BACKENDS = 4
_RUN_SECONDS = 0.2
_CALLERS = 16
_WARM_UP = 5
"""A backend's first and last jobs that do not count: not all have begun, or some are through."""


async def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    options = parser.parse_args()
    bodies = bodies_of(options.jobs)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_header(data / "models" / "checkpoints" / "demo.safetensors", SD15)
        async with fake_backends(_BACKENDS, _RUN_SECONDS, steps=4) as backends:
            config = {"backends": [{"url": url} for url in backends.urls], "disk_floor_gb": 0}
            (data / "config.yaml").write_text(json.dumps(config))
            async with serving(data, "--config", str(data / "config.yaml")) as session:
                await _call(session, bodies)
            spans = await backends.stop()
    _tell(spans)


async def _call(session: aiohttp.ClientSession, bodies: Sequence[dict[str, object]]) -> None:
    waiting = list(bodies)

    async def call() -> None:
        while waiting:
            async with session.post("/widgets/inpaint", json=waiting.pop()) as answer:
                if answer.status != 200:
                    raise RuntimeError(await answer.text())

    await asyncio.gather(*(call() for _ in range(_CALLERS)))


def _tell(spans: Spans) -> None:
    begin = max(jobs[_WARM_UP][0] for jobs in spans)
    end = min(jobs[-_WARM_UP][1] for jobs in spans)
    busy = sum(max(0.0, min(end, last) - max(begin, first)) for jobs in spans for first, last in jobs)
    gaps = [
        later[0] - earlier[1]
        for jobs in spans
        for earlier, later in pairwise(jobs)
        if begin <= earlier[1] and later[0] <= end
    ]
    about = {"backends": len(spans), "run_ms": 1000 * _RUN_SECONDS, "callers": _CALLERS, "picture": "512x512"}
    figure("utilisation", 100 * busy / (len(spans) * (end - begin)), "% busy", len(gaps), **about)
    figure("utilisation_gap_p50", 1000 * statistics.median(gaps), "ms", len(gaps), **about)
    figure("utilisation_gap_p99", 1000 * statistics.quantiles(gaps, n=100)[98], "ms", len(gaps), **about)
    figure("utilisation_no_gap", 100 * sum(gap < 0.002 for gap in gaps) / len(gaps), "% of jobs", len(gaps), **about)


if __name__ == "__main__":
    asyncio.run(main())
