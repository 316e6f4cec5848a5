"""What is told of a store: counts that can be checked by hand, and what is missing from it."""

from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.inspect.statistics import Counts, counted, lengths, presence, protocol_counts, shown_counts
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.store import Store, open_store, write_store
from tests.data.inspect.conftest import clip


def test_frames_miss_the_bodies_that_their_clip_has(store: Store) -> None:
    found = presence(store)
    assert found.has_NP.tolist() == [[True, False], [True, True], [True, True], [False, False]]
    assert found.missing_NP.tolist() == [[0, 0], [0, 2], [1, 2], [0, 0]]
    assert found.broken == 0


def test_frames_are_looked_at_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = presence(store)
    monkeypatch.setattr("cmd_tune.data.inspect.statistics._CHUNK", 3)
    assert np.array_equal(presence(store).missing_NP, whole.missing_NP)


def test_frames_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    spoilt = clip("spoilt", [(1, 1)] * 5)
    spoilt.joints_TVCP[2:4, 3, 1, 0] = np.nan
    write_store(tmp_path / "a.arrow", [spoilt], dataset="mine", layout=LAYOUTS["ntu-25"], normalization="none")
    assert presence(open_store(tmp_path / "a.arrow")).broken == 2


def test_counts_and_lengths(store: Store) -> None:
    assert counted(store.label_N) == {0: 1, 1: 1, 2: 2}
    assert list(lengths(store).values()) == [1, 1, 2, 3, 4, 4, 5]


def test_long_lists_are_shortened_to_their_ends() -> None:
    assert shown_counts({1: 4, 2: 5}) == "1: 4, 2: 5"
    many = {number: 100 + number for number in range(20)} | {7: 3, 12: 900}
    assert shown_counts(many) == "7: 3, 0: 100, 1: 101, 14 more, 18: 118, 19: 119, 12: 900"


def test_protocols_with_their_validation(tiny_store: Store) -> None:
    """8 subjects, 3 classes, 3 cameras: of 48 clips under xview, those of 2 subjects ask; of xsub's 6, 2 as well."""
    found = protocol_counts(tiny_store)
    assert found["xview"] == Counts(48, 24, 36, 12, "")
    assert found["xsub"] == Counts(54, 18, 36, 18, "")


def test_a_protocol_that_cannot_be_seen_is_said(make_store) -> None:
    found = protocol_counts(make_store(cameras=(3,)))
    assert found["xview"].train is None
    assert "leaves no clips to train on" in found["xview"].note
