"""Decoding in a child process the two formats whose decoders hold the GIL for a whole picture.

Pillow's WebP and AVIF readers decode in one call without letting go of the GIL: 140 and 75 ms for 12 megapixels, during
which the event loop stands still. Small ones are decoded in place. Must not know what the picture is for.

Run as a program (`python -m orchestrator.images.apart FORMAT`) it is the child: a picture file on standard input, on
standard output one line "MODE WIDTH HEIGHT" and the raw pixels; exit status 1 for a file that cannot be decoded.
"""

import subprocess
import sys
import tempfile

from PIL import Image

_FORMATS = frozenset({"WEBP", "AVIF"})
_PIXELS = 2_000_000
"""Up to here the GIL is held for some 25 ms at most; a child takes 200 ms to start."""
_SECONDS = 60.0
_BAND_ROWS = 64


def needed(image: Image.Image) -> bool:
    """Whether this opened, not yet loaded picture would hold up the event loop if it were loaded here."""
    return image.format in _FORMATS and image.width * image.height > _PIXELS


def load(data: bytes, kind: str) -> Image.Image:
    """The first frame (RGB or RGBA) of the file `data` of the format `kind`; OSError if it cannot be decoded.

    Through files and into a buffer: joining a pipe's pieces, or `read`, would hold the GIL for a copy.
    """
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(data)
        source.seek(0)
        command = [sys.executable, "-m", __name__, kind]
        try:
            # The command is ours; the caller's data reaches the child only as its input.
            subprocess.run(  # noqa: S603
                command, stdin=source, stdout=target, stderr=subprocess.DEVNULL, timeout=_SECONDS, check=True
            )
        except subprocess.SubprocessError as error:
            raise OSError(f"the {kind} file cannot be decoded") from error
        target.seek(0)
        mode, width, height = target.readline().decode("ascii").split()
        pixels = bytearray(int(width) * int(height) * len(mode))
        target.readinto(pixels)
        return Image.frombytes(mode, (int(width), int(height)), pixels)


def main() -> int:
    """The child's part."""
    with Image.open(sys.stdin.buffer, formats=[sys.argv[1]]) as image:
        image.load()
        out = sys.stdout.buffer
        out.write(f"{image.mode} {image.width} {image.height}\n".encode("ascii"))
        for top in range(0, image.height, _BAND_ROWS):
            out.write(image.crop((0, top, image.width, min(top + _BAND_ROWS, image.height))).tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
