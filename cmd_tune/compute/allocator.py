"""Makes the C library keep the memory that one step frees and the next step allocates again."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT = 2**30  # bytes: arrays up to this size come from the heap, and that much may lie free at its end


def keep_freed_memory() -> None:
    """Make glibc keep large freed arrays instead of returning them to the system, in this whole process.

    Each step allocates the same hundreds of megabytes as the one before, and every page of them would be mapped and
    zeroed again. Without glibc this does nothing.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _KEPT)
        set_option(_TRIM_THRESHOLD, _KEPT)
