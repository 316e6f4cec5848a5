"""Splits of a store: the protocols of each data set, and the validation split inside the training set.

A protocol says which clips of a store are for training and test. It is the data set's own, or came with the source.
N clip index.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import TEST, TRAIN
from cmd_tune.data.store import Store
from cmd_tune.errors import DataError, UsageError, did_you_mean

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

Holdout = Literal["validation", "none"]
"""The training clips that pretraining leaves out: those to validate on, or none."""

VALIDATION_SHARE = 0.25  # of the training subjects or setups, else of each class's training clips
_SEED = 0  # of the clips that are held out if no subjects are known


@dataclass(frozen=True)
class GalleryAndQueries:
    """Gallery: labelled clips to compare with. Queries: clips whose labels are predicted; accuracies are over these."""

    gallery_N: Indices
    query_N: Indices


@dataclass(frozen=True)
class Split:
    """The clips that a run may use, by purpose.

    pretrain_N: clips of the training set that are not held out. validation: to choose by; its queries are the held-out
    clips; empty if none are. test: the protocol's test set, with the whole training set as gallery.
    """

    pretrain_N: Indices
    validation: tuple[GalleryAndQueries, ...]
    test: tuple[GalleryAndQueries, ...]


@dataclass(frozen=True)
class Protocol:
    """The training and test clips, and how validation mirrors the difference between them.

    part: TRAIN, TEST or NEITHER for each clip. by: the property that decides, "subject", "camera" or "setup"; None if
    the source decides. holds_out: "subject" or "setup", which validation holds out whole. shift: "camera" if queries
    and gallery are seen by different cameras. published: numbers of training and test clips of the whole data set.
    """

    part: Callable[[Store], NDArray[np.int8]]
    by: str | None = None
    holds_out: str = "subject"
    shift: str | None = None
    published: tuple[int, int] | None = None


def _trains(by: str, on: Callable[[NDArray[np.int32]], NDArray[np.bool_]], **rest: Any) -> Protocol:
    """The protocol that trains on clips with some numbers of subjects, cameras or setups; the others are the test."""
    return Protocol(lambda store: np.where(on(getattr(store, f"{by}_N")), TRAIN, TEST).astype(np.int8), by, **rest)


def _cameras(*numbers: int, published: tuple[int, int] | None = None) -> Protocol:
    return _trains("camera", lambda camera_N: np.isin(camera_N, numbers), shift="camera", published=published)


def _subjects(*numbers: int, published: tuple[int, int] | None = None) -> Protocol:
    return _trains("subject", lambda subject_N: np.isin(subject_N, numbers), published=published)


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
        "xsetup": _trains("setup", lambda setup_N: setup_N % 2 == 0, holds_out="setup"),
    },
    "nw-ucla": {"xview": _cameras(1, 2, published=(1020, 464))},
    "synthetic": {
        "xview": _cameras(1, 2),
        "xsub": _trains("subject", lambda subject_N: subject_N % 4 != 0),
    },
}


def protocols(store: Store) -> dict[str, Protocol]:
    """The protocols of a store, by name: its data set's, and the source's, which win on equal names.

    A protocol of the data set is left out if the store lacks the numbers that it goes by, such as subjects.
    """
    own = PROTOCOLS.get(store.dataset, {})
    known = {name: protocol for name, protocol in own.items() if getattr(store, f"{protocol.by}_N").any()}
    return known | {name: _given(store, name) for name in sorted(store.part_N)}


def _given(store: Store, name: str) -> Protocol:
    """A protocol of the source. If its name is unknown, validation holds out what training and test do not share."""
    own = PROTOCOLS.get(store.dataset, {}).get(name)
    if own:
        shift = own.shift if own.shift and getattr(store, f"{own.shift}_N").any() else None
        return replace(own, part=lambda store: store.part_N[name], by=None, shift=shift)

    def apart(key: str) -> bool:
        of_N = getattr(store, f"{key}_N")
        train, test = (set(of_N[store.part_N[name] == part].tolist()) for part in (TRAIN, TEST))
        return not (train & test or 0 in train | test)

    return Protocol(
        part=lambda store: store.part_N[name],
        holds_out="setup" if apart("setup") and not apart("subject") else "subject",
        shift="camera" if apart("camera") else None,
    )


def _protocol_of(store: Store, protocol: str | None) -> tuple[str, Protocol]:
    """A protocol of the store with its name; None: its first. Raises UsageError or DataError if there is none such."""
    known = protocols(store)
    if not known:
        raise DataError(f"{store.path}: has no protocol; ingest it with its split")
    name = protocol or next(iter(known))
    if name not in known:
        raise UsageError(f"protocol: '{name}' is not one of {store.dataset}; {did_you_mean(name, known)}")
    return name, known[name]


def split_store(store: Store, protocol: str | None = None, holdout: Holdout = "validation") -> tuple[str, Split]:
    """The named protocol of the store (None: its first), as (name, split).

    With holdout none, all training clips are for pretraining, and there is no validation.
    Validation holds out a quarter of the training subjects (for xsetup: setups), spread evenly over their numbers. If
    fewer than two are known, it holds out a quarter of each class's training clips, drawn with a fixed seed; the same
    people may then be on both sides. Validation differs from training as the test does. Under a camera shift, the
    held-out clips of each training camera in turn are the queries, and the training clips of the other cameras the
    gallery. Otherwise the pretraining clips are the gallery.
    """
    name, chosen = _protocol_of(store, protocol)
    part_N = chosen.part(store)
    train_N, test_N = part_N == TRAIN, part_N == TEST
    if not (train_N.any() and test_N.any()):
        raise DataError(f"{store.path}: protocol {name} leaves no clips to {'test' if train_N.any() else 'train on'}")

    held_N = np.zeros_like(train_N) if holdout == "none" else _held_out(store, train_N, chosen.holds_out)
    pretrain_N = train_N & ~held_N
    rounds = [] if holdout == "none" else _validation(store, name, chosen, train_N, held_N)
    return name, Split(
        pretrain_N=np.flatnonzero(pretrain_N),
        validation=tuple(GalleryAndQueries(np.flatnonzero(g), np.flatnonzero(q)) for g, q in rounds),
        test=(GalleryAndQueries(np.flatnonzero(train_N), np.flatnonzero(test_N)),),
    )


def _validation(store: Store, name: str, chosen: Protocol, train_N: Flags, held_N: Flags) -> list[tuple[Flags, Flags]]:
    """(Gallery, queries) of each round. Raises DataError if the training clips are too few, or of one camera alone."""
    cure = "or pretrain on all with --set holdout=none"
    if not held_N.any():
        raise DataError(
            f"{store.path}: protocol {name} trains on too few clips of a class to hold any out; add some, {cure}"
        )
    if chosen.shift != "camera":
        return [(train_N & ~held_N, held_N)]
    cameras = np.unique(store.camera_N[train_N])
    if len(cameras) == 1:
        raise DataError(
            f"{store.path}: one training camera alone; validation of {name} needs at least two; add one, {cure}"
        )
    return [(train_N & (store.camera_N != camera), held_N & (store.camera_N == camera)) for camera in cameras]


def describe_pretraining(store: Store, protocol: str, split: Split) -> str:
    """The number of clips that a run pretrains on, and how many the protocol gives, in words."""
    clips, given = len(split.pretrain_N), len(split.test[0].gallery_N)
    of = f"training clips of {store.dataset} {protocol}"
    if clips == given:
        return f"all {given:,} {of}"
    return f"{clips:,} of the {given:,} {of}; {given - clips:,} are held out to validate on"


def _known_units(store: Store, train_N: NDArray[np.bool_], unit: str) -> NDArray[np.int32]:
    """The known numbers of training subjects or setups; empty if there are fewer than two."""
    of_N: NDArray[np.int32] = getattr(store, f"{unit}_N")
    units = np.unique(of_N[train_N])
    return units if (units != 0).sum() > 1 else units[:0]


def _held_out(store: Store, train_N: NDArray[np.bool_], unit: str) -> NDArray[np.bool_]:
    units = _known_units(store, train_N, unit)
    if len(units):
        count = int(np.ceil(VALIDATION_SHARE * len(units)))
        held = units[((np.arange(count) + 0.5) * len(units) / count).astype(int)]
        return train_N & np.isin(getattr(store, f"{unit}_N"), held)
    held_N = np.zeros_like(train_N)
    random = np.random.default_rng(_SEED)
    for label in np.unique(store.label_N[train_N]):
        of_class = random.permutation(np.flatnonzero(train_N & (store.label_N == label)))
        held_N[of_class[: max(round(VALIDATION_SHARE * len(of_class)), len(of_class) > 1)]] = True
    return held_N


def remarks(store: Store, protocol: str, split: Split) -> tuple[str, str]:
    """Two remarks: how counts differ from the published ones; whether validation holds out clips instead of subjects.

    Each is empty if it does not apply.
    """
    view = protocols(store)[protocol]
    found, published = (len(split.test[0].gallery_N), len(split.test[0].query_N)), view.published
    compared = unknown = ""
    if published:
        compared = "as published" if found == published else f"(published: {published[0]} and {published[1]})"
    if not len(_known_units(store, view.part(store) == TRAIN, view.holds_out)):
        unknown = f"{view.holds_out}s unknown, so that validation is a quarter of each class's training clips"
    return compared, unknown


def describe_counts(store: Store, protocol: str) -> str:
    """The numbers of training and test clips under a protocol, with remarks; or why it does not fit the store."""
    try:
        split = split_store(store, protocol)[1]
    except DataError as error:
        return str(error)
    compared, unknown = remarks(store, protocol, split)
    test = split.test[0]
    text = f"{protocol}: {len(test.gallery_N)} training clips, {len(test.query_N)} test clips"
    if compared:
        text += f" {compared}" if compared.startswith("(") else f", {compared}"
    return f"{text}; {unknown}" if unknown else text
