"""How the C library gives out memory. Must not know what it is for."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt(3), from its <malloc.h>."""
_BLOCK_BYTES = 8 * 2**20
_KEPT_BYTES = 32 * 2**20


def keep_freed_memory() -> None:
    """Has the process keep what it frees, up to 32 MB, for its next job, where the C library is glibc.

    A job of one 512x512 picture takes and frees some 3 MB in buffers that glibc would give back to the kernel each
    time, and the 570 page faults of taking them again are more than a millisecond. Blocks of 8 MB and more still go
    back at once. One arena for all threads, so that the 32 MB are there once.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return
    for parameter, value in ((_MMAP_THRESHOLD, _BLOCK_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES), (_ARENA_MAX, 1)):
        mallopt(parameter, value)
