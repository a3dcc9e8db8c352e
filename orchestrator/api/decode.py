"""A request's body as raw values: flat JSON, or a form with the pictures as files."""

import io
from collections.abc import Mapping

from aiohttp import web
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from orchestrator.api.body import collect, parse_json
from orchestrator.api.reading import pieces
from orchestrator.errors import FieldError, InvalidParameters, MalformedBody

_FIELDS = 64
"""Parts that a form may have. Each costs the parser as much as a large piece of a picture."""


async def raw_values(request: web.Request) -> Mapping[str, object]:
    """The flat mapping that a caller posted; pictures are str, or bytes (files of a form, long strings of JSON).

    Raises MalformedBody, InvalidParameters for a text that is not UTF-8, and what `reading.pieces` raises.
    """
    if request.content_type == "multipart/form-data":
        return await _form(request)
    return await json_object(request)


async def json_object(request: web.Request) -> Mapping[str, object]:
    """The body as a JSON object, whatever its content type says. Raises MalformedBody and what `pieces` raises."""
    body = await collect(pieces(request))
    try:
        content = await parse_json(body)
    except ValueError as error:
        raise MalformedBody(f"The body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise MalformedBody("The body is not a JSON object of parameters")
    return content


async def _form(request: web.Request) -> Mapping[str, object]:
    """Each piece is parsed as it arrives, which takes no longer than a search for the boundary in it."""
    fields: list[tuple[MultipartSegment, io.BytesIO]] = []
    try:
        _, options = parse_options_header(request.headers["Content-Type"])
        with PushMultipartParser(options.get("boundary", ""), max_segment_count=_FIELDS) as parser:
            async for piece in pieces(request):
                for event in parser.parse(piece):
                    if isinstance(event, MultipartSegment):
                        if not event.name:
                            raise MalformedBody("Each part of the form needs a name")
                        fields.append((event, io.BytesIO()))
                    elif event is not None:
                        fields[-1][1].write(event)
    except MultipartError as error:
        raise MalformedBody(f"The form cannot be read: {error}") from error
    # BytesIO hands over what it holds without a copy.
    return {segment.name: _value(segment, content.getvalue()) for segment, content in fields}


def _value(segment: MultipartSegment, content: bytes) -> str | bytes:
    if segment.filename is not None:
        return content
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        complaint = FieldError(segment.name, "is not UTF-8 text; send a picture as a file, with a file name")
        raise InvalidParameters(None, [complaint]) from error
