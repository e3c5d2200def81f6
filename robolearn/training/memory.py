"""How the C library treats the memory of tensors."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGEST_BYTES = 1 << 30, 1 << 25


def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB of freed memory, in pieces of up to 32 MiB (glibc; elsewhere nothing happens).

    Otherwise every step hands back the memory of its activations and takes it anew, at a page fault every 4 KiB: a
    fifteenth of the time of a BESO step.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
