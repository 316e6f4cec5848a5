"""Who trains, who asks, who answers: the protocols of each data set, and the validation split inside the training set.

N clip index.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.store import Store
from cmd_tune.errors import DataError, UsageError, nearest

Indices = NDArray[np.int64]

VALIDATION_SHARE = 0.25  # of the training subjects


@dataclass(frozen=True)
class Retrieval:
    """Labelled clips to look in, and clips to be named. Accuracies are over the queries."""

    gallery_N: Indices
    query_N: Indices


@dataclass(frozen=True)
class Split:
    """What a run may see of a data set.

    pretrain_N: clips of the training set whose subjects are not held out. validation: for choosing; its queries are
    clips of held-out subjects. test: the protocol's, with the whole training set as gallery; for finalists.
    """

    pretrain_N: Indices
    validation: tuple[Retrieval, ...]
    test: tuple[Retrieval, ...]


@dataclass(frozen=True)
class Protocol:
    """Which clips are trained on, and what else the test set differs in ("camera", or None where it is the subject)."""

    trains: Callable[[Store], NDArray[np.bool_]]
    shift: str | None = None


def _cameras(*numbers: int) -> Protocol:
    return Protocol(lambda store: np.isin(store.camera_N, numbers), shift="camera")


PROTOCOLS: dict[str, dict[str, Protocol]] = {
    "nw-ucla": {"xview": _cameras(1, 2)},
    "synthetic": {
        "xview": _cameras(1, 2),
        "xsub": Protocol(lambda store: store.subject_N % 4 != 0),
    },
}


def split_store(store: Store, protocol: str | None = None) -> tuple[str, Split]:
    """The named protocol of the store's data set (its first where None), as (name, split).

    Validation holds a quarter of the training subjects out, spread evenly over their numbers, and mirrors what the
    test set differs in. Under a camera shift the same people are seen by another camera: in turn, the held-out clips
    of each training camera are the queries, and the training clips of the other cameras the gallery. Else the
    gallery are the pretraining clips.
    """
    known = PROTOCOLS.get(store.dataset, {})
    name = protocol or next(iter(known), "")
    if name not in known:
        raise UsageError(f"protocol: '{name}' is not one of {store.dataset}; {nearest(name, known)}")
    train_N = known[name].trains(store)
    if train_N.all() or not train_N.any():
        raise DataError(f"{store.path}: protocol {name} leaves no clips to {'test' if train_N.all() else 'train on'}")

    subjects = np.unique(store.subject_N[train_N])
    count = int(np.ceil(VALIDATION_SHARE * len(subjects)))
    if count == len(subjects):
        raise DataError(f"{store.path}: one training subject alone; validation needs at least two")
    held = subjects[((np.arange(count) + 0.5) * len(subjects) / count).astype(int)]
    held_N = train_N & np.isin(store.subject_N, held)
    pretrain_N = train_N & ~held_N

    if known[name].shift == "camera":
        cameras = np.unique(store.camera_N[train_N])
        if len(cameras) == 1:
            raise DataError(f"{store.path}: one training camera alone; validation of {name} needs at least two")
        rounds = [(train_N & (store.camera_N != camera), held_N & (store.camera_N == camera)) for camera in cameras]
    else:
        rounds = [(pretrain_N, held_N)]
    return name, Split(
        pretrain_N=np.flatnonzero(pretrain_N),
        validation=tuple(Retrieval(np.flatnonzero(g), np.flatnonzero(q)) for g, q in rounds),
        test=(Retrieval(np.flatnonzero(train_N), np.flatnonzero(~train_N)),),
    )
