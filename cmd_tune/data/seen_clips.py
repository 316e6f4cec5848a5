"""What a checkpoint keeps of the clips that it was pretrained on: keys, which tell them again in other stores as well.

N clip.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

import cmd_tune
from cmd_tune.data.clip_names import parse_clip_name
from cmd_tune.data.splits import Indices
from cmd_tune.data.store import Store


def clip_keys(store: Store, clips_N: Indices) -> Tensor:
    """A key for each clip, (N) int64: a hash of its name.

    A name in the form of a public data set is that clip in every store of the set, however it was normalised. Any other
    name, such as a number, means a clip of this store alone, of which the key is then made as well.
    """
    digests = []
    for clip in clips_N.tolist():
        name = store.names[clip]
        parsed = parse_clip_name(name)
        text = f"{parsed.sets}/{name}" if parsed else f"{store.fingerprint}/{name}"
        digests.append(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return torch.from_numpy(np.frombuffer(b"".join(digests), "<i8").copy())


def keys_fingerprint(keys_N: Tensor) -> str:
    """A hash of a set of keys, whatever their order."""
    return hashlib.blake2b(keys_N.sort().values.numpy().tobytes(), digest_size=16).hexdigest()


def count_seen(keys_N: Tensor, store: Store, clips_N: Indices) -> int:
    """How many of a store's clips are among those with these keys."""
    return int(np.isin(clip_keys(store, clips_N).numpy(), keys_N.numpy()).sum())


def pretraining_record(store: Store, protocol: str | None, clips_N: Indices) -> dict[str, Any]:
    """What a checkpoint keeps of the clips that it is pretrained on, as tensors and plain values."""
    keys_N = clip_keys(store, clips_N)
    return {
        **store.record(protocol),
        "clips": len(clips_N),
        "clips_fingerprint": keys_fingerprint(keys_N),
        "clip_keys": keys_N,
        "version": cmd_tune.__version__,
    }
