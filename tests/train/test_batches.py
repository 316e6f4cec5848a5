"""Which clips a batch holds, in which order, and that its two views are two."""

import numpy as np
import pytest
import torch

from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.store import open_store, write_store
from cmd_tune.data.views.crop_shear import CropShear

CLIPS = 30


@pytest.fixture
def numbered(tmp_path):
    """Clips that show who they are: every coordinate of clip n is n + 1, in each of its 1 to 7 frames."""
    clips = [
        Clip(f"clip {n}", np.full((1 + n % 7, 20, 3, 1), n + 1, dtype=np.float32), label=0, subject=n)
        for n in range(CLIPS)
    ]
    write_store(tmp_path / "n.arrow", clips, dataset="synthetic", layout=LAYOUTS["kinect-20"], normalization="none")
    return open_store(tmp_path / "n.arrow")


@pytest.fixture
def plain(tiny):
    """Settings under which a view keeps its numbers: no shear, no corruption."""
    return lambda **changes: tiny(
        objective="base", modalities=("joint",), topk=1, shear_range=0, corrupted_share=0, **changes
    )


def clips_of(view_MBTX):
    """Which clip each sample is; all its numbers say so."""
    numbers_B = view_MBTX[0, :, 0, 0]
    torch.testing.assert_close(view_MBTX[0], numbers_B[:, None, None].expand_as(view_MBTX[0]))
    return (numbers_B.round().long() - 1).tolist()


def epoch_order(batches, epoch):
    return [clips_of(query) for query, _ in batches.epoch(epoch)]


def test_an_epoch_sees_each_clip_at_most_once_and_drops_an_incomplete_batch(numbered, plain, worker):
    chosen = np.arange(3, CLIPS)
    batches = worker.make_batches(plain(), numbered, chosen)
    order = epoch_order(batches, 1)
    assert len(order) == len(batches) == 27 // 8
    seen = [clip for batch in order for clip in batch]
    assert len(set(seen)) == len(seen) == 24
    assert set(seen) <= set(chosen)


def test_every_clip_is_dropped_in_some_epoch_and_none_always(numbered, plain, worker):
    batches = worker.make_batches(plain(batch_size=28), numbered, np.arange(CLIPS))
    dropped = [set(range(CLIPS)) - set(epoch_order(batches, epoch)[0]) for epoch in range(1, 9)]
    assert {len(clips) for clips in dropped} == {2}
    assert len(set.union(*dropped)) > 8
    assert not set.intersection(*dropped)


def test_both_views_are_of_the_same_clips(numbered, plain, worker):
    for query, key in worker.make_batches(plain(), numbered, np.arange(CLIPS)).epoch(1):
        assert clips_of(query) == clips_of(key)


def test_order_is_keyed_by_seed_and_epoch(numbered, plain, worker):
    batches = worker.make_batches(plain(), numbered, np.arange(CLIPS))
    again = worker.make_batches(plain(), numbered, np.arange(CLIPS))
    other = worker.make_batches(plain(seed=1), numbered, np.arange(CLIPS))
    assert epoch_order(batches, 2) == epoch_order(again, 2) == epoch_order(batches, 2)
    assert epoch_order(batches, 1) != epoch_order(batches, 2)
    assert epoch_order(batches, 1) != epoch_order(other, 1)


def test_views_are_drawn_anew_each_time(tiny, tiny_store, worker):
    """Query and key, each step and each epoch: no stream repeats."""
    batches = worker.make_batches(tiny(batch_size=36), tiny_store)
    (one,), (two,) = batches.epoch(1), batches.epoch(2)
    by_clip = []
    for epoch, views in ((1, one), (2, two)):
        order = torch.randperm(36, generator=keyed_generator(0, "order", epoch))
        by_clip += [view[:, order.argsort()] for view in views]
    for i, a in enumerate(by_clip):
        for b in by_clip[i + 1 :]:
            same_B = (a == b).flatten(2).all(2).all(0)
            assert not same_B.any()


def test_clips_of_one_frame(numbered, tiny, worker):
    """They have no motion, and break nothing."""
    one_frame = np.flatnonzero(numbered.length_N.numpy() == 1)
    settings = tiny(batch_size=len(one_frame), modalities=("joint", "motion"))
    for query, key in worker.make_batches(settings, numbered, one_frame).epoch(1):
        for view in (query, key):
            assert torch.isfinite(view).all()
            assert not view[1].any()
            assert view[0].any()


def test_shapes(tiny, tiny_store, make_store, worker):
    query, key = next(worker.make_batches(tiny(frames=5), tiny_store).epoch(1))
    assert query.shape == key.shape == (3, 8, 5, 60)
    two_bodies = make_store(layout="ntu-25", bodies=2)
    query, _ = next(worker.make_batches(tiny(objective="base", modalities=("bone",), topk=1), two_bodies).epoch(1))
    assert query.shape == (1, 8, 8, 150)
    assert query.dtype == torch.float32


def test_an_epochs_draws_are_those_of_its_steps_one_by_one(tiny, tiny_store, worker):
    """The order and the numbers of a step depend on (seed, epoch, step) alone."""
    settings = tiny(batch_size=8, modalities=("joint", "motion"))
    view = CropShear(settings.crop_min_frames, settings.crop_min_share, settings.shear_range, settings.corrupted_share)
    shape = tiny_store.frame_shape()
    batches = worker.make_batches(settings, tiny_store, np.arange(len(tiny_store)))
    order = torch.randperm(len(tiny_store), generator=keyed_generator(settings.seed, "order", 3))
    for step, views in enumerate(batches.epoch(3)):
        clips_B = order[8 * step : 8 * step + 8].repeat(2)
        generator = keyed_generator(settings.seed, "views", 3, step)
        draws = view.draw(tiny_store.length_N[clips_B], shape[0], generator)
        both = view.make(tiny_store.rows_FX, tiny_store.start_N[clips_B], draws, settings.frames, shape).flatten(2)
        assert torch.equal(torch.cat([view[0] for view in views]), both)
