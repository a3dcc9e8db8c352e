"""`/backends`: every backend as it is now, for whoever runs the service."""

import asyncio
import time
from collections.abc import Mapping

from aiohttp import web

from orchestrator.api.keys import POOL, RECEPTION
from orchestrator.comfy.place import Place
from orchestrator.comfy.stats import Device, SystemStats
from orchestrator.errors import BackendError
from orchestrator.widgets.widget import Widget

_STATS_SECONDS = 2.0
"""How long a backend may take to say what memory it has; without that it is told all the same."""


async def list_backends(request: web.Request) -> web.Response:
    """GET /backends"""
    places, widgets = request.app[POOL].places, request.app[RECEPTION].widgets
    stats = await asyncio.gather(*(_stats(place) for place in places))
    listed = [_described(place, said, widgets) for place, said in zip(places, stats, strict=True)]
    return web.json_response({"backends": listed}, headers={"Cache-Control": "no-store"})


async def _stats(place: Place) -> SystemStats | None:
    if place.connection not in ("ready", "quarantined"):
        return None
    try:
        async with asyncio.timeout(_STATS_SECONDS):
            return await place.backend.stats()
    except (BackendError, TimeoutError):
        return None


def _described(place: Place, stats: SystemStats | None, widgets: Mapping[str, Widget]) -> dict[str, object]:
    state, process = place.state, place.backend.process
    return {
        "name": state.name,
        "kind": state.kind,
        "url": state.url,
        "state": state.connection,
        "since": state.since,
        "reason": state.reason or None,
        "uptime_seconds": round(time.time() - state.since, 1) if state.connection == "ready" else None,
        "model": state.model,
        "running": list(state.running),
        "queued": list(state.waiting),
        "jobs": {"done": state.jobs_done, "failed": state.jobs_failed, "lost": state.jobs_lost},
        "last_failure": state.last_failure or None,
        "pid": process.pid if process else None,
        "starts": state.starts if process else None,
        "comfyui_version": stats.comfyui_version if stats else None,
        "devices": [_device(device) for device in stats.devices] if stats else None,
        "deletes_results": state.drops_results,
        "lacks": _lacks(place, widgets),
    }


def _device(device: Device) -> dict[str, object]:
    return {
        "name": device.name,
        "type": device.kind,
        "vram_total_bytes": device.vram_total,
        "vram_free_bytes": device.vram_free,
    }


def _lacks(place: Place, widgets: Mapping[str, Widget]) -> dict[str, list[str]] | None:
    """Node classes by the widget that cannot run here for want of them; None before its catalogue was read."""
    if place.catalog is None:
        return None
    missing = {name: sorted(place.missing(widget.graph.classes)) for name, widget in widgets.items()}
    return {name: classes for name, classes in missing.items() if classes}
