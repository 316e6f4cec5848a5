"""What must hold for every family of normalisation."""

import numpy as np
import pytest

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations import NORMALIZATIONS, families_from

KINECT = LAYOUTS["kinect-20"]
TURNS_NOT = [name for name, family in NORMALIZATIONS.items() if family.up is None]


def clip(frames=7, bodies=2, seed=0):
    """A random clip of bodies that are there in every frame, a walk away from the sensor."""
    random = np.random.default_rng(seed)
    x_TVCP = random.normal(size=(frames, len(KINECT.joints), 3, bodies))
    return (x_TVCP + random.normal(size=(1, 1, 3, 1)) + [[[0], [0], [3]]]).astype(np.float32)


def apply(name, x_TVCP):
    return NORMALIZATIONS[name].function(x_TVCP, KINECT)


def distances(x_TVCP):
    points_TNC = x_TVCP.astype(np.float64).transpose(0, 3, 1, 2).reshape(len(x_TVCP), -1, 3)
    return np.linalg.norm(points_TNC[:, :, None] - points_TNC[:, None], axis=3)


def scale(name, ours, x_TVCP):
    """By how much lengths grew, 1 if the family keeps them."""
    return 1 if NORMALIZATIONS[name].keeps_size else distances(ours).mean() / distances(x_TVCP).mean()


def close(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_a_rigid_motion_of_each_frame(name):
    """Metres in, metres out: distances within and between bodies are kept, if not their unit, and so is handedness."""
    x_TVCP = clip()
    ours = apply(name, x_TVCP)
    assert ours.dtype == np.float32
    assert ours.shape == x_TVCP.shape
    size = scale(name, ours, x_TVCP)
    close(distances(ours), size * distances(x_TVCP))
    arms, armed = (np.diff(x[:, 4:8, :, 0].astype(float), axis=1) for x in (ours, size * x_TVCP))
    close(np.linalg.det(arms), np.linalg.det(armed))


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_its_input_is_not_changed(name):
    x_TVCP = clip()
    x_TVCP[4:, ..., 1] = 0
    before = x_TVCP.copy()
    apply(name, x_TVCP)
    assert np.array_equal(x_TVCP, before)


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_an_absent_body_is_zero(name):
    """The second body in an inner frame, and in all frames. Its end frames, which 2s-agcn fills, are not looked at."""
    x_TVCP = clip()
    x_TVCP[3, ..., 1] = 0
    assert not apply(name, x_TVCP)[3, ..., 1].any()
    x_TVCP[..., 1] = 0
    ours = apply(name, x_TVCP)
    assert not ours[..., 1].any()
    close(ours[..., :1], apply(name, x_TVCP[..., :1]))


@pytest.mark.parametrize("name", [name for name in NORMALIZATIONS if name != "none"])
def test_without_a_first_body_there_is_no_origin(name):
    x_TVCP = clip()
    x_TVCP[..., 0] = 0
    with pytest.raises(ValueError, match="the first body has no joints in any frame"):
        apply(name, x_TVCP)


@pytest.mark.parametrize("name", [name for name in NORMALIZATIONS if name != "none"])
def test_where_the_clip_stands_does_not_matter(name):
    x_TVCP = clip()
    close(apply(name, x_TVCP + np.array([0.5, -1, 2], np.float32)[:, None]), apply(name, x_TVCP))


@pytest.mark.parametrize("name", ["2s-agcn", "upright", "torso", "centred"])
def test_how_it_walks_does_not_matter(name):
    """Another shift every frame."""
    x_TVCP = clip()
    walk_TVCP = np.random.default_rng(1).normal(size=(len(x_TVCP), 1, 3, 1)).astype(np.float32)
    close(apply(name, x_TVCP + walk_TVCP), apply(name, x_TVCP))


@pytest.mark.parametrize("name", [name for name in NORMALIZATIONS if name != "2s-agcn"])
def test_twice_is_once(name):
    once = apply(name, clip())
    close(apply(name, once), once)


@pytest.mark.parametrize("name", TURNS_NOT)
def test_a_family_without_an_up_keeps_headings(name):
    x_TVCP = clip()
    bones = x_TVCP[:, 1:] - x_TVCP[:, :-1]
    ours = apply(name, x_TVCP)
    close(ours[:, 1:] - ours[:, :-1], scale(name, ours, x_TVCP) * bones)


@pytest.mark.parametrize(
    ("held", "name"), [(held, name) for held in NORMALIZATIONS for name in families_from(held) if name != held]
)
def test_made_from_another_it_is_the_same(held, name):
    x_TVCP = clip()
    x_TVCP[2, ..., 1] = 0
    close(apply(name, apply(held, x_TVCP)), apply(name, x_TVCP))


def test_what_can_be_made_from_what():
    """A shift of the clip can be taken out again; what was taken out of a clip cannot be put back."""
    assert families_from(None) == list(NORMALIZATIONS)
    assert families_from("ctr-gcn") == ["2s-agcn", "upright", "torso", "centred", "ctr-gcn"]
    assert families_from(None, coordinates=2) == ["torso", "centred", "ctr-gcn", "none"]
    assert families_from("2s-agcn") == ["2s-agcn"]
    for held in NORMALIZATIONS:
        assert held in families_from(held)
        assert held == "none" or "none" not in families_from(held)


def test_centred_is_each_frames_spine_at_the_origin():
    x_TVCP = clip()
    close(apply("centred", x_TVCP), x_TVCP - x_TVCP[:, list(KINECT.centre), :, :1])


def test_centred_without_the_first_body_goes_by_the_frames_around():
    """The first body walks a metre a frame along x; in frames 2 and 3 the second body is there alone."""
    x_TVCP = np.repeat(clip(frames=1), 6, axis=0)
    x_TVCP[:, :, 0] += np.arange(6, dtype=np.float32)[:, None, None]
    whole = apply("centred", x_TVCP)
    x_TVCP[2:4, ..., 0] = 0
    ours = apply("centred", x_TVCP)
    close(ours[..., 1], whole[..., 1])
    assert not ours[2:4, ..., 0].any()


def test_ctr_gcn_is_one_shift_by_the_first_frame_that_has_a_body():
    x_TVCP = clip()
    x_TVCP[:2, ..., 0] = 0
    ours = apply("ctr-gcn", x_TVCP)
    expected = x_TVCP - x_TVCP[2, KINECT.centre[0], :, 0][:, None]
    close(ours[2:], expected[2:])
    close(ours[:2, ..., 1], expected[:2, ..., 1])
    assert not ours[:2, ..., 0].any()


def test_none_is_the_same_to_the_bit():
    x_TVCP = clip()
    assert np.array_equal(apply("none", x_TVCP), x_TVCP)
