"""Random numbers by key: a draw depends on what it is for, not on what was drawn before it.

So a resumed run needs no state of generators, and every worker draws the same.
"""

import hashlib

import torch


def keyed_generator(*key: int | str) -> torch.Generator:
    """A CPU generator whose stream depends on the key alone, for instance on (seed, "views", epoch, step)."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
