"""A request's body as raw values: flat JSON, or a form with the pictures as files."""

import io
from collections.abc import Mapping

from aiohttp import BodyPartReader, web

from orchestrator.api.body import collect, parse_json
from orchestrator.errors import BodyTooLarge, FieldError, InvalidParameters, MalformedBody


async def raw_values(request: web.Request) -> Mapping[str, object]:
    """The flat mapping that a caller posted; pictures are str, or bytes (files of a form, long strings of JSON).

    Raises MalformedBody and BodyTooLarge.
    """
    if request.content_type == "multipart/form-data":
        return await _form(request)
    return await json_object(request)


async def json_object(request: web.Request) -> Mapping[str, object]:
    """The body as a JSON object, whatever its content type says. Raises MalformedBody and BodyTooLarge."""
    body = await collect(request.content.iter_any(), request.client_max_size)
    try:
        content = await parse_json(body)
    except ValueError as error:
        raise MalformedBody(f"The body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise MalformedBody("The body is not a JSON object of parameters")
    return content


async def _form(request: web.Request) -> Mapping[str, object]:
    values: dict[str, object] = {}
    left = request.client_max_size
    try:
        reader = await request.multipart()
        async for part in reader:
            if not isinstance(part, BodyPartReader) or not part.name:
                raise MalformedBody("Each part of the form needs a name and may not be a form itself")
            content = await _part(part, left)
            left -= len(content)
            values[part.name] = content if part.filename is not None else _text(part.name, content)
    except (ValueError, AssertionError) as error:
        raise MalformedBody(f"The form cannot be read: {error}") from error
    return values


async def _part(part: BodyPartReader, limit: int) -> bytes:
    content = io.BytesIO()  # hands over what it holds without the copy that bytes(bytearray) makes
    while chunk := await part.read_chunk(1 << 16):
        content.write(chunk)
        if content.tell() > limit:
            raise BodyTooLarge("The form is larger than this service takes")
    return content.getvalue()


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        complaint = FieldError(name, "is not UTF-8 text; send a picture as a file, with a file name")
        raise InvalidParameters(None, [complaint]) from error
