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

VALIDATION_SHARE = 0.25  # of the training subjects or setups


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
    """Which clips are trained on, and how validation mirrors what the test set differs in.

    holds_out: what validation takes whole, "subject" or "setup". shift: "camera" where queries and gallery are seen
    by different cameras. published: numbers of training and test clips of the whole data set.
    """

    trains: Callable[[Store], NDArray[np.bool_]]
    holds_out: str = "subject"
    shift: str | None = None
    published: tuple[int, int] | None = None


def _cameras(*numbers: int, published: tuple[int, int] | None = None) -> Protocol:
    return Protocol(lambda store: np.isin(store.camera_N, numbers), shift="camera", published=published)


def _subjects(*numbers: int, published: tuple[int, int] | None = None) -> Protocol:
    return Protocol(lambda store: np.isin(store.subject_N, numbers), published=published)


# Training subjects as the data sets' authors publish them; the second list joins the first in NTU RGB+D 120.
_NTU_60 = (1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38)
_NTU_120 = (45, 46, 47, 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96), 97, 98, 100, 103)

PROTOCOLS: dict[str, dict[str, Protocol]] = {
    "ntu-60": {
        "xsub": _subjects(*_NTU_60, published=(40_091, 16_487)),
        "xview": _cameras(2, 3, published=(37_646, 18_932)),
    },
    "ntu-120": {
        "xsub": _subjects(*_NTU_60, *_NTU_120),
        "xsetup": Protocol(lambda store: store.setup_N % 2 == 0, holds_out="setup"),
    },
    "nw-ucla": {"xview": _cameras(1, 2, published=(1020, 464))},
    "synthetic": {
        "xview": _cameras(1, 2),
        "xsub": Protocol(lambda store: store.subject_N % 4 != 0),
    },
}


def split_store(store: Store, protocol: str | None = None) -> tuple[str, Split]:
    """The named protocol of the store's data set (its first where None), as (name, split).

    Validation holds a quarter of the training subjects (for xsetup: setups) out, spread evenly over their numbers, and
    mirrors what the test set differs in. Under a camera shift the same people are seen by another camera: in turn, the
    held-out clips of each training camera are the queries, and the training clips of the other cameras the gallery.
    Else the gallery are the pretraining clips.
    """
    known = PROTOCOLS.get(store.dataset, {})
    name = protocol or next(iter(known), "")
    if name not in known:
        raise UsageError(f"protocol: '{name}' is not one of {store.dataset}; {nearest(name, known)}")
    train_N = known[name].trains(store)
    if train_N.all() or not train_N.any():
        raise DataError(f"{store.path}: protocol {name} leaves no clips to {'test' if train_N.all() else 'train on'}")

    unit = known[name].holds_out
    unit_N: NDArray[np.int32] = getattr(store, f"{unit}_N")
    units = np.unique(unit_N[train_N])
    count = int(np.ceil(VALIDATION_SHARE * len(units)))
    if count == len(units):
        raise DataError(f"{store.path}: one training {unit} alone; validation needs at least two")
    held = units[((np.arange(count) + 0.5) * len(units) / count).astype(int)]
    held_N = train_N & np.isin(unit_N, held)
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


def describe_counts(store: Store, protocol: str) -> str:
    """Training and test clips of a protocol, beside the published numbers; or why the store cannot be seen under it."""
    try:
        test = split_store(store, protocol)[1].test[0]
    except DataError as error:
        return str(error)
    found, published = (len(test.gallery_N), len(test.query_N)), PROTOCOLS[store.dataset][protocol].published
    note = ""
    if published:
        note = ", as published" if found == published else f" (published: {published[0]} and {published[1]})"
    return f"{protocol}: {found[0]} training clips, {found[1]} test clips{note}"
