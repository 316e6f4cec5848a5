"""Augmentation: each operation re-derived in NumPy, each distribution counted, each draw where its key puts it."""

import os
from importlib import import_module
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cmd_tune.compute import native
from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.data.views.crop_shear import CropShear, Draws, centre_crop, crop_resize, distort

PAPER = CropShear(crop_min_frames=64, crop_min_share=0.1, shear_range=1.0, corrupted_share=0.6)
SHORT = CropShear(crop_min_frames=4, crop_min_share=0.1, shear_range=1.0, corrupted_share=0.6)
MANY = 40_000


def draw(frames, joints=25, view=PAPER, key=("draws",)):
    frames_B = torch.as_tensor(frames)
    return view.draw(frames_B, joints, keyed_generator(*key))


def share_is(hits, probability):
    """A count within five standard deviations of a binomial's mean: a right one fails once in two million."""
    hits = np.asarray(hits)
    assert abs(hits.mean() - probability) < 5 * np.sqrt(probability * (1 - probability) / len(hits))


# Crop and resize


def resized(rows_TX, start, length, frames):
    """np.interp at the half-pixel centres of the target frames."""
    position_T = np.clip((np.arange(frames) + 0.5) * length / frames - 0.5, 0, length - 1)
    crop_TX = rows_TX[start : start + length]
    return np.stack([np.interp(position_T, np.arange(length), column) for column in crop_TX.T], axis=1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    frames=st.integers(1, 50),
    data=st.data(),
)
def test_crop_resize_is_interpolation_within_each_clip(lengths, frames, data):
    """Rows of other clips, and of the same clip outside the crop, are NaN here and must not be looked at."""
    rows_FX = np.full((sum(lengths), 3), np.nan, dtype=np.float32)
    starts, crops, expected = [], [], []
    for clip, n in enumerate(lengths):
        crop = data.draw(st.integers(1, n))
        start = sum(lengths[:clip]) + data.draw(st.integers(0, n - crop))
        rows_FX[start : start + crop] = np.random.default_rng(clip).normal(size=(crop, 3))
        starts.append(start)
        crops.append(crop)
    for start, crop in zip(starts, crops, strict=True):
        expected.append(resized(rows_FX.astype(float), start, crop, frames))
    ours = crop_resize(torch.from_numpy(rows_FX), torch.tensor(starts), torch.tensor(crops), frames)
    np.testing.assert_allclose(ours.numpy(), np.stack(expected), rtol=1e-4, atol=1e-4)


def test_a_whole_clip_of_the_right_length_is_unchanged():
    rows_FX = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(crop_resize(rows_FX, torch.tensor([0]), torch.tensor([64]), 64)[0], rows_FX)


def test_half_the_frames_are_means_of_pairs():
    rows_FX = torch.arange(12.0).square()[:, None]
    halved = crop_resize(rows_FX, torch.tensor([2]), torch.tensor([10]), 5)
    assert halved.flatten().tolist() == [(t**2 + (t + 1) ** 2) / 2 for t in (2, 4, 6, 8, 10)]


def test_one_frame_fills_the_view():
    rows_FX = torch.tensor([[1.0, 2.0], [np.nan, np.nan]])
    assert crop_resize(rows_FX, torch.tensor([0]), torch.tensor([1]), 3).tolist() == [[[1.0, 2.0]] * 3]


def test_half_precision_rows_give_float32_views():
    rows_FX = torch.randn(9, 2, generator=torch.Generator().manual_seed(0)).half()
    ours = crop_resize(rows_FX, torch.tensor([1]), torch.tensor([7]), 4)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours[0].numpy(), resized(rows_FX.double().numpy(), 1, 7, 4), rtol=1e-5, atol=1e-6)


def test_centre_crop_leaves_out_a_fortieth_at_each_end():
    frames_B = torch.arange(1, 301)
    start_B, length_B = centre_crop(frames_B, 0.95)
    assert start_B.tolist() == [n // 40 for n in range(1, 301)]
    assert length_B.tolist() == [n - 2 * (n // 40) for n in range(1, 301)]


def test_centre_crop_of_everything():
    start_B, length_B = centre_crop(torch.arange(1, 301), 1.0)
    assert not start_B.any()
    assert length_B.tolist() == list(range(1, 301))


# Draws of the crop


def test_crop_lengths_follow_the_formula():
    """⌊10·u⌋, u ~ U[0.1, 1], at least 4: 4 when u < 0.5, with probability 4/9; 5, …, 9 with 1/9 each."""
    length_B = draw(torch.full((MANY,), 10), view=SHORT).length_B.numpy()
    assert set(length_B) == {4, 5, 6, 7, 8, 9}
    for length in range(4, 10):
        share_is(length_B == length, 4 / 9 if length == 4 else 1 / 9)


def test_crop_lengths_of_the_paper():
    """300 frames: 64 when u < 65/300; uniform above it."""
    length_B = draw(torch.full((MANY,), 300)).length_B.numpy()
    assert (length_B.min(), length_B.max()) == (64, 299)
    share_is(length_B == 64, (65 / 300 - 0.1) / 0.9)
    share_is(length_B < 165, (165 / 300 - 0.1) / 0.9)


def test_the_smallest_share_is_a_lower_limit():
    view = CropShear(crop_min_frames=1, crop_min_share=0.5, shear_range=1.0, corrupted_share=0.6)
    length_B = draw(torch.full((MANY,), 100), view=view).length_B.numpy()
    assert (length_B.min(), length_B.max()) == (50, 99)
    share_is(length_B < 75, 0.5)


@pytest.mark.parametrize("frames", [1, 3, 64])
def test_short_clips_are_kept_whole(frames):
    draws = draw(torch.full((1000,), frames))
    assert set(draws.length_B.tolist()) == {frames}
    assert set(draws.start_B.tolist()) == {0}


def test_starts_are_uniform_over_every_place_the_crop_fits():
    draws = draw(torch.full((MANY,), 10), view=SHORT)
    for length in range(4, 10):
        start_B = draws.start_B[draws.length_B == length].numpy()
        places = 10 - length + 1
        assert set(start_B) == set(range(places))
        for place in range(places):
            share_is(start_B == place, 1 / places)


def test_crops_stay_inside_clips_of_mixed_lengths():
    frames_B = torch.from_numpy(np.random.default_rng(0).integers(1, 301, MANY))
    draws = draw(frames_B)
    assert draws.start_B.min() == 0
    assert (draws.start_B + draws.length_B <= frames_B).all()
    assert torch.equal(draws.length_B.clamp(max=64), frames_B.clamp(max=64))


# Draws of the distortion


def kinds(draws):
    """Which samples are sheared, zeroed and mixed."""
    sheared_B = (draws.matrix_BCC.diagonal(dim1=1, dim2=2) == 1).all(1)
    zeroed_B = (draws.kept_BV + draws.mixed_BV == 0).any(1)
    return sheared_B.numpy(), zeroed_B.numpy(), (~sheared_B & (draws.mixed_BV == 1).any(1)).numpy()


def test_shear_half_the_time_else_zero_or_mix_half_the_time():
    sheared_B, zeroed_B, mixed_B = kinds(draw(torch.full((MANY,), 30)))
    assert (sheared_B.astype(int) + zeroed_B + mixed_B == 1).all()
    share_is(sheared_B, 1 / 2)
    share_is(zeroed_B, 1 / 4)
    share_is(mixed_B, 1 / 4)


@pytest.mark.parametrize(("joints", "spoilt"), [(25, 15), (20, 12)])
def test_the_number_of_spoilt_joints_is_fixed_and_the_joints_are_not(joints, spoilt):
    draws = draw(torch.full((MANY,), 30), joints=joints)
    sheared_B, zeroed_B, mixed_B = kinds(draws)
    assert (draws.mixed_BV[sheared_B] == 1).all()
    assert not draws.mixed_BV[zeroed_B].any()
    assert set((draws.mixed_BV + draws.kept_BV)[mixed_B].flatten().tolist()) == {1.0}
    assert set((joints - draws.kept_BV.sum(1)[~sheared_B]).tolist()) == {spoilt}
    assert set(draws.kept_BV.flatten().tolist()) == {0.0, 1.0}
    spoilt_BV = (draws.kept_BV[~sheared_B] == 0).numpy()
    for joint in range(joints):
        share_is(spoilt_BV[:, joint], spoilt / joints)
    share_is(spoilt_BV[:, 0] & spoilt_BV[:, 1], spoilt * (spoilt - 1) / (joints * (joints - 1)))


@pytest.mark.parametrize(("share", "spoilt"), [(0.0, 0), (1.0, 25), (0.3, 8)])
def test_the_share_of_spoilt_joints_is_a_setting(share, spoilt):
    draws = draw(torch.full((200,), 30), view=CropShear(64, 0.1, 1.0, share))
    sheared_B = kinds(draws)[0]
    assert set((draws.kept_BV[~sheared_B] == 0).sum(1).tolist()) == {spoilt}


def test_shear_has_ones_on_the_diagonal_and_uniform_entries_beside_it():
    draws = draw(torch.full((MANY,), 30))
    matrices = draws.matrix_BCC[kinds(draws)[0]].numpy()
    assert (matrices[:, range(3), range(3)] == 1).all()
    for row, column in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]:
        entries = matrices[:, row, column]
        assert -1 <= entries.min() < -0.99
        assert 0.99 < entries.max() <= 1
        share_is(entries < 0, 0.5)
        share_is(np.abs(entries) < 0.5, 0.5)


def test_corruption_matrices_are_uniform_everywhere():
    draws = draw(torch.full((2 * MANY,), 30))
    matrices = draws.matrix_BCC[~kinds(draws)[0]].numpy().reshape(-1, 9)
    assert len(matrices) > 0.9 * MANY
    for entries in matrices.T:
        assert -1 <= entries.min() < -0.99
        assert 0.99 < entries.max() <= 1
        share_is(entries < 0, 0.5)
        share_is(np.abs(entries) < 0.5, 0.5)
    assert np.abs(np.corrcoef(matrices.T) - np.eye(9)).max() < 5 / np.sqrt(len(matrices))


def test_shear_range_scales_every_entry_but_the_diagonal():
    whole = draw(torch.full((500,), 30))
    half = draw(torch.full((500,), 30), view=CropShear(64, 0.1, 0.5, 0.6))
    sheared_B = torch.from_numpy(kinds(whole)[0])
    ones_BCC = sheared_B[:, None, None] * torch.eye(3)
    assert torch.equal(half.matrix_BCC - ones_BCC, (whole.matrix_BCC - ones_BCC) / 2)


def test_without_strength_nothing_is_distorted():
    draws = draw(torch.full((500,), 30), view=CropShear(64, 0.1, 0.0, 0.0))
    x_BTVCP = torch.randn(500, 2, 25, 3, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(distort(x_BTVCP, draws), x_BTVCP)


# The distortion itself


def test_distort_is_one_matrix_a_joint_in_every_frame_and_body():
    """x′ = A·x, the column convention: a shear trial (row, column) adds a share of `column` to `row`."""
    draws = draw(torch.full((64,), 30), joints=20)
    x_BTVCP = np.random.default_rng(0).normal(size=(64, 5, 20, 3, 2)).astype(np.float32)
    ours = distort(torch.from_numpy(x_BTVCP), draws).numpy()
    expected = np.empty_like(x_BTVCP)
    for sample in range(64):
        for joint in range(20):
            if draws.mixed_BV[sample, joint]:
                matrix = draws.matrix_BCC[sample].numpy()
            else:
                matrix = np.eye(3) * draws.kept_BV[sample, joint].numpy()
            for frame in range(5):
                for body in range(2):
                    expected[sample, frame, joint, :, body] = matrix @ x_BTVCP[sample, frame, joint, :, body]
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    assert all(kind.any() for kind in kinds(draws))


def test_absent_joints_stay_absent():
    draws = draw(torch.full((64,), 30), joints=20)
    assert not distort(torch.zeros(64, 3, 20, 3, 2), draws).any()


def test_a_shear_by_hand():
    shear = torch.tensor([[[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [-0.25, 0.0, 1.0]]])
    none = torch.zeros(1, 1)
    draws = Draws(torch.zeros(1), torch.ones(1), shear, kept_BV=none, mixed_BV=none + 1)
    x_BTVCP = torch.tensor([4.0, 2.0, 1.0]).view(1, 1, 1, 3, 1)
    assert distort(x_BTVCP, draws).flatten().tolist() == [5.0, 2.0, 0.0]


# Joints in 2-D


def test_two_coordinates_use_their_part_of_the_same_matrices():
    """A key's numbers do not depend on the coordinates: a flat skeleton's view in 3-D begins with its view in 2-D."""
    draws = draw(torch.full((64,), 30), joints=17)
    assert all(kind.any() for kind in kinds(draws))
    flat_BTVCP = torch.randn(64, 4, 17, 2, 2, generator=torch.Generator().manual_seed(0))
    in_space = torch.cat((flat_BTVCP, torch.zeros(64, 4, 17, 1, 2)), dim=3)
    torch.testing.assert_close(distort(flat_BTVCP, draws), distort(in_space, draws)[:, :, :, :2], rtol=1e-6, atol=1e-6)


def test_a_shear_by_hand_in_2_d():
    shear = torch.tensor([[[1.0, 0.5, 9.0], [-0.25, 1.0, 9.0], [9.0, 9.0, 1.0]]])
    none = torch.zeros(1, 1)
    draws = Draws(torch.zeros(1), torch.ones(1), shear, kept_BV=none, mixed_BV=none + 1)
    x_BTVCP = torch.tensor([4.0, 2.0]).view(1, 1, 1, 2, 1)
    assert distort(x_BTVCP, draws).flatten().tolist() == [5.0, 1.0]


def test_distort_in_2_d_is_one_matrix_a_joint():
    draws = draw(torch.full((32,), 30), joints=17)
    x_BTVCP = np.random.default_rng(0).normal(size=(32, 3, 17, 2, 2)).astype(np.float32)
    matrix_BVCC = (
        draws.mixed_BV[..., None, None] * draws.matrix_BCC[:, None, :2, :2]
        + draws.kept_BV[..., None, None] * torch.eye(2)
    ).numpy()
    expected = np.einsum("bvcd,btvdp->btvcp", matrix_BVCC, x_BTVCP)
    np.testing.assert_allclose(distort(torch.from_numpy(x_BTVCP), draws).numpy(), expected, rtol=1e-5, atol=1e-6)


# Both at once


SHAPES = [(25, 3, 2), (20, 3, 1), (3, 3, 3), (17, 2, 2), (33, 2, 1), (3, 2, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_view_is_its_crop_distorted(shape, threads):
    """One compiled pass gives what the two functions give."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    length_N = torch.randint(1, 90, (50,), generator=generator)
    start_N = length_N.cumsum(0) - length_N
    rows_FX = torch.randn(int(length_N.sum()), prod(shape), generator=generator)
    frames = 17
    draws = draw(length_N, joints=shape[0], view=CropShear(12, 0.2, 1.0, 0.6))
    assert native.library() is not None
    ours = PAPER.make(rows_FX, start_N, draws, frames, shape)
    crop = crop_resize(rows_FX, start_N + draws.start_B, draws.length_B, frames)
    torch.testing.assert_close(ours, distort(crop.unflatten(2, shape), draws), rtol=1e-4, atol=1e-5)
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_gpus_kernel_has_the_same_view(shape, kind):
    """By Triton's interpreter; rows of other clips are not numbers here, and must not be looked at."""
    pytest.importorskip("triton", reason="no Triton for this system")
    if os.environ["TRITON_INTERPRET"] != "1":
        pytest.skip("the kernels are compiled here: test_gpu.py has them")
    kernels = import_module("cmd_tune.data.views.crop_shear_kernels")
    length_N = torch.tensor([1, 7, 30, 12])
    rows_FX = torch.full((int(length_N.sum()) + 8, prod(shape)), torch.nan, dtype=kind)
    start_N = length_N.cumsum(0) - length_N + 2 * torch.arange(4)
    for start, length in zip(start_N, length_N, strict=True):
        rows_FX[start : start + length].normal_(generator=torch.Generator().manual_seed(int(start)))
    joints, C, bodies = shape
    draws = draw(length_N, joints=joints, view=CropShear(5, 0.2, 1.0, 0.6))
    drawn = (draws.length_B, draws.matrix_BCC[:, :C, :C], draws.kept_BV, draws.mixed_BV)
    ours = kernels.draw_view(rows_FX, start_N + draws.start_B, *(x.contiguous() for x in drawn), 17, bodies)
    theirs = PAPER.make(rows_FX, start_N, draws, 17, shape).flatten(2)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
def test_half_precision_rows_give_views_in_float32(monkeypatch, compiled):
    if not compiled:
        monkeypatch.setattr(native, "library", lambda: None)
    length_N = torch.tensor([40, 50])
    rows_FX = torch.randn(90, 75, generator=torch.Generator().manual_seed(0)).half()
    draws = draw(length_N)
    half, whole = (
        PAPER.make(rows, torch.tensor([0, 40]), draws, 16, (25, 3, 1)) for rows in (rows_FX, rows_FX.float())
    )
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=1e-5, atol=2e-6)


# Keys


def same(a, b):
    return [torch.equal(x, y) for x, y in zip(a, b, strict=True)]


def test_a_key_gives_its_draws_again():
    frames_B = torch.arange(100, 200)
    assert all(same(draw(frames_B, key=(3, "views", 7, 11)), draw(frames_B, key=(3, "views", 7, 11))))


@pytest.mark.parametrize("other", [(4, "views", 7, 11), (3, "order", 7, 11), (3, "views", 8, 11), (3, "views", 7, 12)])
def test_any_other_key_gives_others(other):
    frames_B = torch.arange(100, 200)
    assert not any(same(draw(frames_B, key=(3, "views", 7, 11)), draw(frames_B, key=other)))


def test_parts_of_a_key_do_not_run_together():
    draws = [torch.rand(4, generator=keyed_generator(*key)).tolist() for key in [(1, 23), (12, 3), (123,), (1, 2, 3)]]
    assert len({tuple(d) for d in draws}) == 4


def test_a_key_means_the_same_in_every_process_and_release():
    """A run stopped under one release and resumed under the next draws on; Python's own hash() would not."""
    assert keyed_generator(0, "order", 1).initial_seed() == 2961819992523135983


def test_draws_do_not_touch_the_global_stream():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    draw(torch.arange(100, 200))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_slice_of_the_draws_gives_a_slice_of_the_views():
    """What each worker does: draw for the global batch, keep its part."""
    frames_B = torch.randint(1, 40, (12,), generator=torch.Generator().manual_seed(0))
    start_B = torch.cumsum(frames_B, 0) - frames_B
    rows_FX = torch.randn(int(frames_B.sum()), 60, generator=torch.Generator().manual_seed(1))
    draws = draw(frames_B, joints=20, view=SHORT)

    def views(samples):
        mine = Draws(*(x[samples] for x in draws))
        x_BTX = crop_resize(rows_FX, start_B[samples] + mine.start_B, mine.length_B, 16)
        return distort(x_BTX.unflatten(2, (20, 3, 1)), mine)

    whole = views(slice(None))
    assert torch.equal(torch.cat([views(slice(0, 4)), views(slice(4, 12))]), whole)
