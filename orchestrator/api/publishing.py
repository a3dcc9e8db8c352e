"""`PUT /widgets/{name}`: a workflow becomes a widget. Who may do that is decided here; what it takes, in `widgets`."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import compare_digest
from typing import Literal

from aiohttp import web

from orchestrator.api.access import caller_of, given_key
from orchestrator.api.body import collect
from orchestrator.api.keys import API_KEYS, SIGNER
from orchestrator.api.reading import pieces
from orchestrator.callers.caller import Right
from orchestrator.errors import FieldError, InvalidParameters, MalformedBody, NotPermitted
from orchestrator.widgets.creation import Words
from orchestrator.widgets.following import LivingWidgets
from orchestrator.widgets.publishing import Plan, Publication, plan, write

log = logging.getLogger(__name__)

_FLAGS = ("replace", "anew", "dry_run")
_WORDS = ("title", "description")
_LONGEST_WORDS = 2000


@dataclass(frozen=True)
class Publishing:
    """Whether workflows may be published, by whom, and the widgets that they join.

    `mode` is `off`, `editor` (where no keys are asked for, the service's own backends alone, which know `secret`) or
    `open` (whoever reaches the service). Where keys are asked for, a key with the right to publish is needed in both.
    """

    widgets: LivingWidgets
    mode: Literal["off", "editor", "open"]
    secret: str
    lock: asyncio.Lock
    """One publication at a time, from the look at what is there to the last file."""


PUBLISHING = web.AppKey("publishing", Publishing)


async def publish_widget(request: web.Request) -> web.Response:
    """PUT /widgets/{name}: makes or replaces it; with `dry_run`, says what would come of it"""
    publishing = request.app[PUBLISHING]
    _admit(request, publishing)
    said = await _body(request)
    publication = _publication(request.match_info["name"], said)
    widgets = publishing.widgets
    async with publishing.lock:
        planned = await asyncio.to_thread(plan, widgets.folder, publication, widgets.catalog)
        if said.get("dry_run"):
            return web.json_response(_told(request, planned))
        await asyncio.to_thread(write, widgets.folder, planned)
        change = await asyncio.to_thread(widgets.read_again, planned.name)
        widgets.adopt(change)
    for sentence in (*change.taken_up, *change.refused):
        log.info("published: %s", sentence)
    return web.json_response(_told(request, planned), status=201 if planned.is_new else 200)


def _admit(request: web.Request, publishing: Publishing) -> None:
    """Raises NotPermitted."""
    if publishing.mode == "off":
        raise NotPermitted("Publishing is off here; the operator can set `publish`")
    if request.app[API_KEYS] is not None:
        caller_of(request).require(Right.PUBLISH)
        return
    if "Origin" in request.headers:
        # Nothing but the browser's own address says who this is, and every page in it has that.
        raise NotPermitted("A web page cannot publish where no API keys are asked for; the editor's node pack can")
    if publishing.mode == "editor" and not compare_digest(given_key(request).encode(), publishing.secret.encode()):
        raise NotPermitted(
            "Only the editor of a backend that this service starts can publish here; for others, ask for API keys "
            "(`api_keys: required`) and make one with the right to publish, or set `publish: open`"
        )


async def _body(request: web.Request) -> Mapping[str, object]:
    data = bytes(await collect(pieces(request)))
    try:
        said = await asyncio.to_thread(json.loads, data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as fault:
        raise MalformedBody(f"The body is not JSON: {fault}") from fault
    if not isinstance(said, dict):
        raise MalformedBody("The body is not a JSON object with a workflow in it")
    return said


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _publication(name: str, said: Mapping[str, object]) -> Publication:
    """Raises InvalidParameters, naming each field."""
    faults = [FieldError(flag, "must be true or false") for flag in _FLAGS if type(said.get(flag, False)) is not bool]
    for word in _WORDS:
        text = said.get(word, "")
        if not isinstance(text, str) or len(text) > _LONGEST_WORDS or not text.replace("\n", " ").isprintable():
            faults.append(FieldError(word, f"must be a text of at most {_LONGEST_WORDS} characters"))
    if not isinstance(said.get("workflow"), dict):
        faults.append(FieldError("workflow", "must be what the editor saves, a JSON object"))
    faults += [
        FieldError(str(word)[:100], "is not known") for word in said if word not in (*_FLAGS, *_WORDS, "workflow")
    ]
    if faults:
        raise InvalidParameters("The publication cannot be used", faults)
    words = Words(str(said.get("title", "")).strip(), str(said.get("description", "")).strip())
    return Publication(name, said["workflow"], said.get("replace") is True, said.get("anew") is True, words)


def _told(request: web.Request, planned: Plan) -> dict[str, object]:
    return {
        "name": planned.name,
        "created": planned.is_new,
        "parameters": list(planned.widget.definition.parameters),
        "sentences": list(planned.sentences),
        "titles": dict(planned.titles),
        "url": f"/widgets/{planned.name}",
        "page": f"{request.app[SIGNER].base_url}/?widget={planned.name}",
    }
