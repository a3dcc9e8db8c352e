"""A request's body as raw values: flat JSON, or a form with the pictures as files."""

import io
from collections.abc import Mapping

from aiohttp import web
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from orchestrator.api.body import BadBody, collect, parse_json
from orchestrator.api.reading import pieces
from orchestrator.errors import FieldError, InvalidParameters, MalformedBody

_FIELDS = 64
"""Parts that a form may have. Each costs the parser as much as a large piece of a picture."""


async def raw_values(request: web.Request) -> Mapping[str, object]:
    """The flat mapping that a caller posted; pictures are str, or bytes (files of a form, long strings of JSON).

    What a form has more than once is a tuple. Raises MalformedBody, InvalidParameters for a text that is not UTF-8, and
    what `reading.pieces` raises.
    """
    if request.content_type == "multipart/form-data":
        return await _form(request)
    return await json_object(request, "send JSON, or a form as multipart/form-data")


async def json_object(request: web.Request, mend: str = "send JSON") -> Mapping[str, object]:
    """The body as a JSON object, whatever its content type says; `mend` is told those who seem to mean something else.

    Raises MalformedBody, and what `pieces` raises.
    """
    body = await collect(pieces(request))
    try:
        content = await parse_json(body)
    except BadBody as error:
        if request.content_type.endswith("json"):
            raise MalformedBody(f"The body is not JSON: {error}") from error
        came = f"as {request.content_type[:60]}" if "Content-Type" in request.headers else "without a content type"
        raise MalformedBody(f"The body came {came} and is not JSON: {error}; {mend}") from error
    if not isinstance(content, dict):
        raise MalformedBody("The body is not a JSON object of parameters")
    return content


async def _form(request: web.Request) -> Mapping[str, object]:
    """Each piece is parsed as it arrives, which takes no longer than a search for the boundary in it."""
    fields: list[tuple[MultipartSegment, io.BytesIO]] = []
    _, options = parse_options_header(request.headers["Content-Type"])
    if not options.get("boundary"):
        raise MalformedBody("The form's Content-Type names no boundary; leave that header to what makes the form")
    try:
        with PushMultipartParser(options["boundary"], max_segment_count=_FIELDS) as parser:
            async for piece in pieces(request):
                for event in parser.parse(piece):
                    if isinstance(event, MultipartSegment):
                        if not event.name:
                            raise MalformedBody("Each part of the form needs a name")
                        fields.append((event, io.BytesIO()))
                    elif event is not None:
                        fields[-1][1].write(event)
    except ParserLimitReached as error:
        many = len(fields) >= _FIELDS
        most = f"more than {_FIELDS} parts" if many else "a part with more or longer headers than a form needs"
        raise MalformedBody(f"The form has {most}; send the parameters alone") from error
    except MultipartError as error:
        broken = f"The form breaks off, or is not well-formed, after {len(fields)} of its parts; send it again, whole"
        raise MalformedBody(broken) from error
    values: dict[str, list[str | bytes]] = {}
    for segment, content in fields:
        # BytesIO hands over what it holds without a copy.
        values.setdefault(segment.name, []).append(_value(segment, content.getvalue()))
    return {name: given[0] if len(given) == 1 else tuple(given) for name, given in values.items()}


def _value(segment: MultipartSegment, content: bytes) -> str | bytes:
    if segment.filename is not None:
        return content
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        complaint = FieldError(segment.name, "is not UTF-8 text; send a picture as a file, with a file name")
        raise InvalidParameters(None, [complaint]) from error
