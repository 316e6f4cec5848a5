"""Bodies that keep their limbs, views that are rigid, and a set on which learning pays.

T frame, V joint, C coordinate, P body.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import store_clips
from cmd_tune.data.splits import split_store
from cmd_tune.data.synthetic import ACTIONS, ANGLES, CAMERAS, LAYOUT, Actor, perform, pose, record, synthesize
from cmd_tune.evaluate.scores import encoder_scores, raw_knn_scores
from cmd_tune.model.encoders import Encoder
from cmd_tune.settings import make_settings
from cmd_tune.train.loop import build_pretrainer, pretrain

Floats = NDArray[np.float64]

JOINTS = LAYOUT.joints
BASE = LAYOUT.base[0]
BY_NAME = {action.name: action for action in ACTIONS}
TWO_BODIES = {label for label, action in enumerate(ACTIONS) if action.reply is not None}


def actor(size: float = 1.0) -> Actor:
    """A body of hanging bones, 10 cm a bone."""
    return Actor(np.tile([0, 0, -0.1 * size], (25, 1)), np.zeros(len(ANGLES)), tempo=1.0, amplitude=1.0)


def posed(**angles: float) -> Floats:
    angles_TA = np.zeros((1, len(ANGLES)))
    for name, value in angles.items():
        angles_TA[0, ANGLES.index(name)] = value
    return pose(angles_TA, actor().bones_VC)[0]


def bone(joints_VC: Floats, name: str) -> Floats:
    """Direction of the bone that ends in a joint, in bones of 10 cm."""
    joint = JOINTS.index(name)
    return (joints_VC[joint] - joints_VC[LAYOUT.parents[joint]]) / 0.1


def bone_lengths(joints_TVC: Floats) -> Floats:
    return np.linalg.norm(joints_TVC - joints_TVC[:, list(LAYOUT.parents)], axis=2)


RIGHT, FORWARD, UP = np.eye(3)


@pytest.mark.parametrize(
    ("angles", "joint", "direction"),
    [
        ({}, "right_elbow", -UP),
        ({"right_reach": 90}, "right_elbow", FORWARD),
        ({"right_reach": 90}, "right_hand_tip", FORWARD),
        ({"right_out": 90}, "right_elbow", RIGHT),
        ({"left_out": 90}, "left_elbow", -RIGHT),
        ({"right_reach": 90, "right_across": 90}, "right_elbow", -RIGHT),
        ({"left_reach": 90, "left_across": 90}, "left_elbow", RIGHT),
        ({"right_elbow": 90}, "right_wrist", FORWARD),
        ({"right_out": 90, "right_elbow": 90, "right_twist": -90}, "right_wrist", UP),
        ({"left_out": 90, "left_elbow": 90, "left_twist": -90}, "left_wrist", UP),
        ({"right_hip": 90}, "right_knee", FORWARD),
        ({"right_hip": 90, "right_knee": 90}, "right_ankle", -UP),
        ({"left_spread": 90}, "left_knee", -RIGHT),
        ({"bend": 90}, "spine_base", -FORWARD),
        ({"side": 90}, "spine_base", -RIGHT),
        ({"bend": 90, "right_reach": 90}, "right_elbow", -UP),
        ({"bend": 90}, "right_knee", -UP),
        ({"face": 90, "right_reach": 90}, "right_elbow", -RIGHT),
    ],
)
def test_angles_turn_limbs_the_way_they_say(angles: dict[str, float], joint: str, direction: Floats) -> None:
    assert_allclose(bone(posed(**angles), joint), direction, atol=1e-12)


def test_body_stands_on_the_floor() -> None:
    assert posed(right_knee=90)[:, 2].min() == 0
    assert_allclose(posed(rise=12)[:, 2].min(), 0.12)
    assert_allclose(posed(step=-30)[BASE, :2], (0, -0.3))


@pytest.mark.parametrize("name", ["circle inwards", "jumping jack", "bow", "kick", "push"])
def test_limbs_keep_their_length_through_a_take_and_are_the_subject_s(name: str) -> None:
    take_TVCP = perform(BY_NAME[name], actor(1.1), actor(0.9), np.random.default_rng(0))

    first_TV = np.delete(bone_lengths(take_TVCP[..., 0]), LAYOUT.joints.index("spine_shoulder"), axis=1)
    assert_allclose(first_TV, 0.11)
    if BY_NAME[name].reply is not None:
        second_TV = np.delete(bone_lengths(take_TVCP[..., 1]), LAYOUT.joints.index("spine_shoulder"), axis=1)
        assert_allclose(second_TV, 0.09)


def test_partner_stands_before_the_actor_and_faces_them() -> None:
    take_TVCP = perform(BY_NAME["handshake"], actor(), actor(), np.random.default_rng(0))

    between_TC = take_TVCP[:, BASE, :, 1] - take_TVCP[:, BASE, :, 0]
    assert 0.9 * 0.9 <= between_TC[:, 1].min() <= between_TC[:, 1].max() <= 0.9 * 1.2
    hands_T = [np.ptp(take_TVCP[:, JOINTS.index(f"{side}_hand"), 1, 0]) for side in ("right", "left")]
    shaking = JOINTS.index(("right_hand", "left_hand")[int(np.argmax(hands_T))])
    assert (take_TVCP[:, shaking, 1, 0] - take_TVCP[:, BASE, 1, 0]).mean() > 0.02
    assert (take_TVCP[:, shaking, 1, 1] - take_TVCP[:, BASE, 1, 1]).mean() < -0.02


def test_cameras_see_one_take_rigidly_turned() -> None:
    take_TVCP = perform(BY_NAME["push"], actor(4), actor(4), np.random.default_rng(0))
    views = [record(take_TVCP, camera, np.random.default_rng(1)).astype(np.float64) for camera in CAMERAS]

    turns = []
    for view_TVCP in views:
        seen_T = view_TVCP.any(axis=(1, 2)).all(axis=1)
        seen_T[:12] = False  # the tracker settles
        true_NC, seen_NC = (x[seen_T].transpose(0, 1, 3, 2).reshape(-1, 3) for x in (take_TVCP, view_TVCP))
        turn_CC, off = _rigid_fit(true_NC, seen_NC)
        assert off < 0.025
        turns.append(turn_CC)
    between = [
        np.degrees(np.arccos((np.trace(a @ b.T) - 1) / 2)) for a, b in ((turns[0], turns[1]), (turns[1], turns[2]))
    ]
    assert_allclose(between, 45, atol=10)  # headings 45° apart, and tilts of their own


def _rigid_fit(a_NC: Floats, b_NC: Floats) -> tuple[Floats, float]:
    """The orthogonal map that brings a onto b after centring, and the root mean square of what is left, in metres."""
    a_NC, b_NC = a_NC - a_NC.mean(0), b_NC - b_NC.mean(0)
    u, _, vt = np.linalg.svd(b_NC.T @ a_NC)
    turn_CC = u @ vt
    return turn_CC, float(np.sqrt(((b_NC - a_NC @ turn_CC.T) ** 2).mean()))


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return synthesize()


def test_every_action_subject_and_camera_equally_often(clips: list[Clip]) -> None:
    assert len(ACTIONS) == 20
    assert Counter((clip.label, clip.subject, clip.camera) for clip in clips) == {
        (label, subject, camera): 2 for label in range(20) for subject in range(1, 9) for camera in (1, 2, 3)
    }
    assert len({clip.name for clip in clips}) == len(clips) == 960
    last = clips[-1]
    assert (last.name, last.label, last.subject, last.camera) == ("a20_s08_r02_v03", 19, 8, 3)


def test_clips_have_the_shape_of_ntu_in_metres(clips: list[Clip]) -> None:
    assert {(clip.joints_TVCP.dtype.name, clip.joints_TVCP.shape[1:]) for clip in clips} == {("float32", (25, 3, 2))}
    lengths = np.array([len(clip.joints_TVCP) for clip in clips])
    assert (lengths.min(), lengths.max()) == (40, 110)
    seen = [clip.joints_TVCP[..., 0][clip.joints_TVCP[..., 0].any(axis=(1, 2))] for clip in clips]
    depth = np.array([body_TVC[:, BASE, 2].mean() for body_TVC in seen])
    head_over_foot = [np.ptp(body_TVC[..., 1], axis=1).mean() for body_TVC in seen]
    assert 2 < depth.min() < depth.max() < 4.5
    assert 1.0 < min(head_over_foot) < max(head_over_foot) < 2.5


def test_second_body_is_zero_exactly_where_the_action_has_one_actor(clips: list[Clip]) -> None:
    assert {clip.label for clip in clips if clip.joints_TVCP[..., 1].any()} == TWO_BODIES == {16, 17, 18, 19}
    assert all(clip.joints_TVCP[..., 1].any() for clip in clips if clip.label in TWO_BODIES)


def test_some_frames_are_lost_whole_and_the_second_body_with_the_first(clips: list[Clip]) -> None:
    present = [clip.joints_TVCP.any(axis=2) for clip in clips]  # (T, V, P)
    assert all((here.all(axis=1) == here.any(axis=1)).all() for here in present)
    lost_first = [~here[:, 0, 0] for here in present]
    assert 0.15 < np.mean([lost.any() for lost in lost_first]) < 0.25
    assert {int(lost.sum()) for lost in lost_first} == {0, 1, 2, 3, 4, 5}
    assert not any(here[~here[:, 0, 0], :, 1].any() for here in present)
    assert any(
        (here[:, 0, 0] & ~here[:, 0, 1]).any() for here, c in zip(present, clips, strict=True) if c.label in TWO_BODIES
    )


def test_subjects_differ_in_limb_lengths_and_keep_them(clips: list[Clip]) -> None:
    thigh = JOINTS.index("right_knee")
    measured: dict[int, list[float]] = {subject: [] for subject in range(1, 9)}
    for clip in clips:
        body_TVC = clip.joints_TVCP[12:, ..., 0]
        body_TVC = body_TVC[body_TVC.any(axis=(1, 2))]
        measured[clip.subject].append(float(np.median(bone_lengths(body_TVC)[:, thigh])))

    means = np.array([np.mean(values) for values in measured.values()])
    spreads = np.array([np.std(values) for values in measured.values()])
    assert spreads.max() < 0.005
    assert 0.015 < means.std() < 0.06
    assert_allclose(means.mean(), 0.42, atol=0.04)


def test_arguments_decide_everything() -> None:
    first, again, other = (synthesize(subjects=2, repetitions=1, seed=seed) for seed in (5, 5, 6))

    assert len(first) == 2 * 20 * 3
    for a, b in zip(first, again, strict=True):
        assert a.name == b.name
        assert_array_equal(a.joints_TVCP, b.joints_TVCP)
    assert not any(np.array_equal(a.joints_TVCP, b.joints_TVCP) for a, b in zip(first, other, strict=True))


@pytest.mark.long
@pytest.mark.slow
def test_cmd_learns_what_raw_skeletons_and_chance_features_do_not_have(
    clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = store_clips(
        clips, tmp_path / "synthetic.arrow", dataset="synthetic", layout=LAYOUT, normalization="2s-agcn"
    )
    _, split = split_store(store)
    settings = make_settings("quick", ("test", {"evaluate_every": 1000}))
    untrained = build_pretrainer(settings, store.width).online

    def evaluate(encoders: Encoder) -> dict[str, float]:
        return encoder_scores(encoders, store, split.validation, settings, prefix="val")

    history: list[dict[str, float]] = []
    scores = {
        "raw skeleton": raw_knn_scores(store, split.validation, modalities=settings.modalities, prefix="val"),
        "untrained": evaluate(untrained),
    }
    pretrain(
        settings,
        store,
        split.pretrain_N,
        folder=tmp_path,
        evaluate=evaluate,
        report=history.append,
        device=torch.device("cpu"),
    )
    scores["CMD"] = history[-1]
    with capsys.disabled():
        print()
        for name, of in scores.items():
            print(f"{name:>12}: " + ", ".join(f"{key} {of[key]:.1f}" for key in of if key.startswith("val/knn")))

    raw, chance, cmd = (scores[name]["val/knn/fused"] for name in ("raw skeleton", "untrained", "CMD"))
    assert 25 < raw < 55
    assert 25 < chance < 55
    assert max(raw, chance) + 12 < cmd < 97
