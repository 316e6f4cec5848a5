"""Tells too little memory from other failures, whatever library met it."""

import errno

ADVICE = "out of memory; free some, or take a machine with more of it"
# Of PyTorch's allocators, Arrow's memory maps, CUDA and its libraries, C++, and threads for which there is no stack.
_WORDS = (
    "can't allocate memory",
    "Cannot allocate memory",
    "out of memory",
    "ALLOC_FAILED",
    "std::bad_alloc",
    "can't start new thread",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means too little memory: by its type, or by its message where the type is a common one."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno:
        return error.errno == errno.ENOMEM
    named = type(error).__name__ == "OutOfMemoryError"  # PyTorch's, which is not imported for this
    return isinstance(error, OSError | RuntimeError) and (named or any(word in str(error) for word in _WORDS))
