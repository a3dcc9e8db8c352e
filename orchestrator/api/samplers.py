"""`/samplers`: every sampler name of Stable Diffusion WebUI, with what runs for it."""

from aiohttp import web

from orchestrator.widgets.samplers import SAMPLERS, SHORT_NAMES, UNFAITHFUL


async def list_samplers(_: web.Request) -> web.Response:
    """GET /samplers: those that run, in A1111's spelling, and those that are refused, each with the nearest"""
    run = [
        {
            "name": sampler.name,
            "aliases": list(SHORT_NAMES.get(sampler.name, ())),
            "sampler_name": sampler.sampler_name,
            "scheduler": sampler.scheduler,
            **({"note": sampler.note} if sampler.note else {}),
        }
        for sampler in SAMPLERS
    ]
    refused = [{"name": one.name, "nearest": one.nearest, "reason": one.reason} for one in UNFAITHFUL]
    return web.json_response({"samplers": run, "refused": refused})
