"""From what a caller sent for a picture or a mask to a checked `Picture`. Must not know widgets or graphs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from PIL import Image

from orchestrator.errors import InvalidParameters
from orchestrator.images.decode import decode_mask, decode_picture, is_untouched
from orchestrator.images.fetch import Fetcher
from orchestrator.images.guard import AddressGuard, Network
from orchestrator.images.inline import file_bytes, scheme_of
from orchestrator.images.picture import Mask, Picture, digest_of, wrong
from orchestrator.images.png import encode_png, plain_png, verified_png
from orchestrator.images.threads import PictureThreads

__all__ = ["Mask", "Picture", "PictureSource"]

MAX_PIXELS = 16_777_216
"""4096x4096: what 12- and 16-megapixel cameras deliver, and some 64 MB as Pillow holds it; four times SDXL's side."""

_ASPECT_PERCENT = 1
_THRESHOLD = 128
_Read = TypeVar("_Read")
Check = Callable[[Mask], None]
"""Called in a thread; raises InvalidParameters for a mask that is not taken."""


@dataclass(frozen=True)
class Drawn:
    """A mask as large as it came, and what its check says of it at that size."""

    mask: Mask
    check: Check
    complaint: InvalidParameters | None


class PictureSource:
    """Reads pictures from URLs, data URLs, base64 and files. Owns the HTTP session, from `async with` to its end.

    `max_bytes` bounds a picture file (downloaded or decoded from base64), `max_pixels` its width times height,
    `timeout` (seconds) a download with its at most `max_redirects` redirects. `allow_networks` are let through although
    they are not public; leave it empty where callers are strangers.
    """

    def __init__(
        self,
        threads: PictureThreads,
        *,
        max_bytes: int = 64_000_000,
        max_pixels: int = MAX_PIXELS,
        timeout: float = 20.0,
        max_redirects: int = 5,
        user_agent: str = "comfy-orchestrator",
        allow_networks: Sequence[Network | str] = (),
        name_servers: Sequence[str] | None = None,
    ) -> None:
        self._threads = threads
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._fetcher = Fetcher(
            AddressGuard(allow_networks),
            max_bytes=max_bytes,
            timeout=timeout,
            max_redirects=max_redirects,
            user_agent=user_agent,
            name_servers=name_servers,
        )

    async def __aenter__(self) -> Self:
        await self._fetcher.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._fetcher.__aexit__(kind, error, trace)

    async def read(self, content: str | bytes, field: str) -> Picture:
        """The picture that `content` is or points to, upright, RGB, as large as it came.

        str is an http(s) URL, a data URL or bare base64; bytes are a picture file, or such a text. Raises
        InvalidParameters naming `field`, with a message that says what to mend.
        """
        file = await self._file(content, field)
        return await self._in_thread(field, lambda: self._picture(file(), field))

    async def read_mask(self, content: str | bytes, field: str, check: Check = lambda _: None) -> Drawn:
        """The mask that `content` is or points to, binary (128 and up is 255), as large as it came; for `fit_mask`.

        Apart from that, so that it can be read while its picture is. It mostly has the picture's size, so that it is
        checked here already. Raises InvalidParameters naming `field`.
        """
        file = await self._file(content, field)

        def drawn() -> Drawn:
            mask = _mask(_binary(decode_mask(file(), field, self._max_pixels)), field)
            return Drawn(mask, check, _complaint(check, mask))

        return await self._in_thread(field, drawn)

    async def fit_mask(self, drawn: Drawn, size: tuple[int, int]) -> Mask:
        """The mask of `read_mask`, resized to its picture's `size` (width, height) and checked at that.

        Binary first, so that soft or JPEG edges do not depend on the sizes; then LANCZOS as A1111 resizes masks, and
        128 again. Nearest would lose thin lines when shrinking and leave stairs when enlarging.
        Raises InvalidParameters naming the mask when its aspect ratio is more than 1 % off the picture's, and what
        its check raises.
        """
        here = (drawn.mask.width, drawn.mask.height)
        _check_aspect(here, size, drawn.mask.field)
        if here == size:
            if drawn.complaint is not None:
                raise drawn.complaint
            return drawn.mask

        def fitted() -> Mask:
            mask = _resized(drawn.mask, size)
            drawn.check(mask)
            return mask

        return await self._in_thread(drawn.mask.field, fitted)

    async def _file(self, content: str | bytes, field: str) -> Callable[[], bytes]:
        """How to get at the picture file, to be called in a thread: what is inline has still to be decoded."""
        scheme = scheme_of(content)
        if scheme is None or scheme == "data":
            return partial(file_bytes, content, field, self._max_bytes)
        if scheme not in ("http", "https"):
            message = f"The scheme {scheme[:20]!r} is not supported; send an http(s) URL, a data URL or base64."
            raise wrong(field, message)
        text = content if isinstance(content, str) else content.decode("ascii", "replace")
        body = await self._fetcher.fetch(text, field)
        return lambda: body

    async def _in_thread(self, field: str, work: Callable[[], _Read]) -> _Read:
        try:
            return await self._threads.run(work)
        except TimeoutError as error:
            raise wrong(field, "Decoding the picture took too long; send a smaller or simpler one.") from error

    def _picture(self, data: bytes, field: str) -> Picture:
        verified = verified_png(data, self._max_pixels)
        if verified is not None:
            png, width, height = verified
            return Picture(field, width, height, png, digest_of(png))
        image = decode_picture(data, field, self._max_pixels)
        # A file that needs no change goes on as it came: that is quicker, and less to send than stored pixels.
        png = (plain_png(data) if is_untouched(image) else None) or encode_png(image)
        return Picture(field, image.width, image.height, png, digest_of(png))


def _mask(image: Image.Image, field: str) -> Mask:
    png = encode_png(image)
    return Mask(field, image.width, image.height, png, digest_of(png), np.asarray(image) > 0)


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    image = Image.fromarray(mask.region.astype(np.uint8) * np.uint8(255))
    return _mask(_binary(image.resize(size, Image.Resampling.LANCZOS)), mask.field)


def _complaint(check: Check, mask: Mask) -> InvalidParameters | None:
    try:
        check(mask)
    except InvalidParameters as complaint:
        return complaint
    return None


def _binary(image: Image.Image) -> Image.Image:
    return image.point([255 if value >= _THRESHOLD else 0 for value in range(256)])


def _check_aspect(mask: tuple[int, int], picture: tuple[int, int], field: str) -> None:
    here, there = mask[0] * picture[1], mask[1] * picture[0]
    if abs(here - there) * 100 > there * _ASPECT_PERCENT:
        shown = f"{mask[0]}x{mask[1]} and the picture {picture[0]}x{picture[1]}"
        raise wrong(field, f"The mask is {shown}: their aspect ratios differ by more than 1 %; send one that fits.")
