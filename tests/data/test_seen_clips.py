"""What a checkpoint keeps of its clips, and how these are found again in other stores."""

import numpy as np
import torch

import cmd_tune
from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.seen_clips import clip_keys, count_seen, keys_fingerprint, pretraining_record
from cmd_tune.data.store import open_store, write_store

NAMED = [f"S001C00{camera}P001R001A00{action}" for action in (1, 2, 3) for camera in (1, 2)]


def store_of(path, names, seed=0, normalization="2s-agcn"):
    rng = np.random.default_rng(seed)
    clips = [Clip(name, rng.normal(size=(4, 25, 3, 1)).astype(np.float32), n % 2) for n, name in enumerate(names)]
    write_store(path, clips, dataset="ntu-60", layout=LAYOUTS["ntu-25"], normalization=normalization)
    return open_store(path)


def test_a_clip_of_a_public_set_is_told_again_in_any_order_and_normalisation(tmp_path):
    ours = store_of(tmp_path / "a.arrow", NAMED)
    theirs = store_of(tmp_path / "b.arrow", NAMED[::-1], seed=1, normalization="none")
    keys_N = clip_keys(ours, np.array([0, 2, 5]))
    assert count_seen(keys_N, theirs, np.arange(6)) == 3
    assert count_seen(keys_N, theirs, np.array([0, 1, 3])) == 2  # the clips 5, 4 and 2 of ours
    assert len(clip_keys(ours, np.arange(6)).unique()) == 6


def test_a_number_means_a_clip_of_its_own_store_alone(tmp_path):
    names = [f"train-{n:06}" for n in range(6)]
    ours, theirs = store_of(tmp_path / "a.arrow", names), store_of(tmp_path / "b.arrow", names, seed=1)
    keys_N = clip_keys(ours, np.array([0, 2, 5]))
    assert count_seen(keys_N, ours, np.array([1, 2, 3, 5])) == 2
    assert count_seen(keys_N, theirs, np.arange(6)) == 0


def test_the_fingerprint_of_a_set_has_no_order():
    keys_N = torch.tensor([3, -1, 2**62])
    assert keys_fingerprint(keys_N) == keys_fingerprint(keys_N.flip(0)) != keys_fingerprint(keys_N[:2])


def test_a_record_is_whole(tmp_path):
    store = store_of(tmp_path / "a.arrow", NAMED)
    record = pretraining_record(store, "xview", np.array([1, 3]))
    assert record.items() >= store.record("xview").items()
    assert (record["clips"], record["version"]) == (2, cmd_tune.__version__)
    assert record["clips_fingerprint"] == keys_fingerprint(clip_keys(store, np.array([3, 1])))
    assert torch.equal(record["clip_keys"], clip_keys(store, np.array([1, 3])))
