"""What a store holds, in numbers: counts, lengths, missing frames, splits.

F stored frame, N clip, V joint, C coordinate, P body.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.splits import protocols, remarks, split_store
from cmd_tune.data.store import Store
from cmd_tune.errors import DataError

QUANTILES = {"shortest": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "longest": 1.0}
_CHUNK = 65_536  # frames looked at at a time


@dataclass(frozen=True)
class Presence:
    """The bodies of each clip, and in how many frames they are missing. A body that a clip never has is not missing.

    has_NP: whether a clip has a body in any frame. missing_NP: its frames without a body that it has. broken: number
    of frames with coordinates that are not finite; `ingest` refuses such frames.
    """

    has_NP: NDArray[np.bool_]
    missing_NP: NDArray[np.int64]
    broken: int


def presence(store: Store) -> Presence:
    """Count bodies and missing frames, by reading every coordinate; those of an absent body are 0."""
    V, C, P = store.frame_shape()
    present_FP = np.empty((len(store.rows_FX), P), bool)
    broken = 0
    for start in range(0, len(present_FP), _CHUNK):
        x_FVP = store.rows_FX[start : start + _CHUNK].numpy().reshape(-1, V * C, P)
        present_FP[start : start + _CHUNK] = (x_FVP != 0).any(axis=1)
        broken += int((~np.isfinite(x_FVP)).any(axis=(1, 2)).sum())
    seen_NP = np.add.reduceat(present_FP.astype(np.int64), store.start_N.numpy(), axis=0)
    has_NP = seen_NP > 0
    return Presence(has_NP, np.where(has_NP, store.length_N.numpy()[:, None] - seen_NP, 0), broken)


def counted(numbers_N: NDArray[np.int32]) -> dict[int, int]:
    """How many clips have each number (label, subject, …), in ascending order of the numbers."""
    values, counts = np.unique(numbers_N, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def shown_counts(counts: Mapping[int, int], most: int = 12) -> str:
    """`number: clips` for each number; if there are many, for those with the fewest and the most clips."""
    if len(counts) <= most:
        return ", ".join(f"{number}: {count}" for number, count in counts.items())
    by_count = sorted(counts, key=lambda number: (counts[number], number))
    few, many = by_count[:3], by_count[-3:]
    ends = [", ".join(f"{number}: {counts[number]}" for number in part) for part in (few, many)]
    return f"{ends[0]}, {len(counts) - 6} more, {ends[1]}"


def shown_missing(joints: Sequence[str], missing_V: Sequence[int]) -> str:
    """How often joints were missing, over frames and bodies, the most often first; "none" if none was."""
    found = sorted(((count, joint) for count, joint in zip(missing_V, joints, strict=True) if count), reverse=True)
    if not found:
        return "none"
    return f"{sum(count for count, _ in found):,}: " + ", ".join(f"{joint} {count:,}" for count, joint in found)


def lengths(store: Store) -> dict[str, int]:
    """Lengths of clips, in frames, at each quantile of QUANTILES."""
    return {name: int(np.quantile(store.length_N.numpy(), share)) for name, share in QUANTILES.items()}


@dataclass(frozen=True)
class Counts:
    """Numbers of clips under a protocol: training, test; of the training clips, those to pretrain on and to validate.

    note: how the numbers compare with the published ones; if all are None, why the protocol does not fit the store.
    """

    train: int | None
    test: int | None
    pretrain: int | None
    validation: int | None
    note: str


def protocol_counts(store: Store) -> dict[str, Counts]:
    """The counts of every protocol of the store."""
    found = {}
    for name in protocols(store):
        try:
            _, split = split_store(store, name)
        except DataError as error:
            found[name] = Counts(None, None, None, None, str(error))
            continue
        (test,) = split.test
        queries = sum(len(part.query_N) for part in split.validation)
        note = "; ".join(remark for remark in remarks(store, name, split) if remark)
        found[name] = Counts(len(test.gallery_N), len(test.query_N), len(split.pretrain_N), queries, note)
    return found
