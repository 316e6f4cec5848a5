"""What the C library does with memory that a step frees and the next asks for again."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT = 2**30  # bytes: arrays up to this size come from the heap, and that much may lie free at its end


def keep_freed_memory() -> None:
    """Have glibc keep large freed arrays instead of giving them back to the system, for this whole process.

    A step asks for the same hundreds of megabytes as the one before; each page of them would be mapped and zeroed
    anew. Elsewhere than on glibc it does nothing.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _KEPT)
        set_option(_TRIM_THRESHOLD, _KEPT)
