"""What a checked picture is to the rest of the service. Must not know where it came from or how it was decoded."""

import dataclasses
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import FieldError, InvalidParameters


@dataclass(frozen=True)
class Picture:
    """A picture that was read to its last pixel, oriented, flattened on white, and has no metadata.

    Encoded anew, unless it came as just such a PNG.
    """

    field: str
    """The parameter it was given for, so that a later complaint can name it."""
    width: int
    height: int
    png: bytes = dataclasses.field(repr=False)
    """8-bit RGB for a picture, 8-bit L for a mask; no ancillary chunk."""
    digest: str
    """SHA-256 of `png` in hex."""

    @property
    def name(self) -> str:
        """A file name for uploads. The same file has the same name, so that a backend can use its cache."""
        return f"{self.digest}.png"


@dataclass(frozen=True)
class Mask(Picture):
    """A binary mask of exactly its picture's size: 255 is the region to repaint, 0 the rest."""

    region: NDArray[np.bool_] = dataclasses.field(repr=False, compare=False)
    """The same as an array of shape (height, width), so that nobody has to decode the PNG again."""


def digest_of(png: bytes) -> str:
    """Hex SHA-256 of `png`; hashlib lets go of the GIL for anything over 2 KB."""
    return hashlib.sha256(png).hexdigest()


def wrong(name: str, message: str) -> InvalidParameters:
    """The complaint about one field; `message` says what to mend, without the field's name in it."""
    return InvalidParameters(None, [FieldError(name, message)])
