"""Who trains, who asks, who answers: what must not overlap does not."""

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.splits import describe_counts, describe_pretraining, protocols, split_store
from cmd_tune.data.store import open_store, write_store
from cmd_tune.errors import DataError, UsageError


def subjects(store, clips_N):
    return set(store.subject_N[clips_N].tolist())


def cameras(store, clips_N):
    return set(store.camera_N[clips_N].tolist())


@pytest.fixture(params=["xview", "xsub"])
def protocol(request):
    return request.param


@pytest.fixture
def store(make_store):
    return make_store(subjects=11)


def test_held_out_subjects_are_whole_and_never_pretrained_on(store, protocol):
    """A quarter of the training subjects, rounded up; each clip of theirs in the training set is a query, once."""
    _, split = split_store(store, protocol)
    train_N = split.test[0].gallery_N
    queries_N = np.concatenate([part.query_N for part in split.validation])
    held = subjects(store, queries_N)
    training = subjects(store, train_N)
    assert len(held) == int(np.ceil(len(training) / 4))
    assert not held & subjects(store, split.pretrain_N)
    assert len(np.unique(queries_N)) == len(queries_N)
    assert set(queries_N) == {n for n in train_N if store.subject_N[n] in held}
    assert set(split.pretrain_N) == set(train_N) - set(queries_N)


def test_with_nothing_held_out_the_whole_training_set_is_pretrained_on(store, protocol):
    held, whole = split_store(store, protocol)[1], split_store(store, protocol, "none")[1]
    assert whole.validation == ()
    assert whole.pretrain_N.tolist() == held.test[0].gallery_N.tolist()
    assert whole.test[0].query_N.tolist() == held.test[0].query_N.tolist()
    given = len(whole.pretrain_N)
    assert describe_pretraining(store, protocol, whole) == f"all {given} training clips of synthetic {protocol}"
    kept = len(held.pretrain_N)
    assert describe_pretraining(store, protocol, held) == (
        f"{kept} of the {given} training clips of synthetic {protocol}; {given - kept} are held out to validate on"
    )


def test_northwestern_ucla_gives_1020_clips(nw_ucla_store):
    """Wang et al., CVPR 2014: cross-view trains on cameras 1 and 2."""
    assert len(split_store(nw_ucla_store, "xview", "none")[1].pretrain_N) == 1020
    assert len(split_store(nw_ucla_store, "xview")[1].pretrain_N) == 733


def test_held_out_subjects_are_spread(make_store):
    """Of 12 subjects in order, one out of each third: numbers often follow the day of recording."""
    store = make_store(subjects=12)
    _, split = split_store(store, "xview")
    held = sorted(subjects(store, np.concatenate([part.query_N for part in split.validation])))
    assert [(subject - 1) // 4 for subject in held] == [0, 1, 2]


def test_test_is_the_protocol(store, protocol):
    trains = np.isin(store.camera_N, (1, 2)) if protocol == "xview" else store.subject_N % 4 != 0
    _, split = split_store(store, protocol)
    (test,) = split.test
    assert test.gallery_N.tolist() == np.flatnonzero(trains).tolist()
    assert test.query_N.tolist() == np.flatnonzero(~trains).tolist()


def test_validation_never_sees_the_test_set(store, protocol):
    _, split = split_store(store, protocol)
    asked = set(split.test[0].query_N)
    assert not asked & set(split.pretrain_N)
    for part in split.validation:
        assert not asked & {*part.gallery_N, *part.query_N}


def test_cross_view_asks_one_camera_and_looks_in_the_others(store):
    _, split = split_store(store, "xview")
    assert [cameras(store, part.query_N) for part in split.validation] == [{1}, {2}]
    for part, camera in zip(split.validation, (2, 1), strict=True):
        assert part.gallery_N.tolist() == np.flatnonzero(store.camera_N == camera).tolist()


def test_cross_subject_asks_other_subjects_than_it_looks_in(store):
    _, split = split_store(store, "xsub")
    (part,) = split.validation
    assert not subjects(store, part.query_N) & subjects(store, part.gallery_N)
    assert part.gallery_N.tolist() == split.pretrain_N.tolist()
    assert not subjects(store, split.test[0].query_N) & subjects(store, split.test[0].gallery_N)


def test_galleries_hold_every_class(store, protocol):
    _, split = split_store(store, protocol)
    for part in (*split.validation, *split.test):
        assert set(store.label_N[part.gallery_N]) == set(store.label_N[part.query_N]) == {0, 1, 2}


def test_the_first_protocol_is_the_default(store):
    name, split = split_store(store)
    assert name == "xview"
    assert split.pretrain_N.tolist() == split_store(store, "xview")[1].pretrain_N.tolist()


def test_an_unknown_protocol_is_named(store):
    with pytest.raises(UsageError, match=r"'xveiw'.*did you mean 'xview'") as caught:
        split_store(store, "xveiw")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", ["xview", "own"])
def test_unknown_subjects_hold_a_quarter_of_each_class_out(tmp_path, protocol):
    """Of 8, 5, 2 and 1 training clips 2, 1, 1 and 0; the same ones each time; the counts say so."""
    store = write_numbers(tmp_path, label=np.repeat([0, 1, 2, 3], (8, 5, 2, 1)), camera=np.resize([1, 2], 16), tests=9)
    _, split = split_store(store, protocol)
    held_N = np.concatenate([part.query_N for part in split.validation])
    assert np.bincount(store.label_N[held_N], minlength=4).tolist() == [2, 1, 1, 0]
    assert set(split.pretrain_N) == set(range(16)) - set(held_N)
    again = split_store(open_store(store.path), protocol)[1]
    assert again.pretrain_N.tolist() == split.pretrain_N.tolist()
    note = "; subjects unknown, so that validation is a quarter of each class's training clips"
    assert describe_counts(store, protocol) == f"{protocol}: 16 training clips, 9 test clips{note}"


def test_too_few_clips_to_hold_any_out(tmp_path):
    store = write_numbers(tmp_path, label=np.arange(3), camera=np.ones(3, int), tests=1)
    with pytest.raises(DataError, match="too few clips of a class"):
        split_store(store, "own")


def write_numbers(tmp_path, tests, dataset="synthetic", **numbers):
    """One-frame clips trained on, of the given numbers, and test clips of camera 3; "own" is the source's protocol."""
    count = len(numbers["label"])
    ones = np.ones((1, 20, 3, 1), np.float32)
    train = [
        Clip(f"{n}", ones, **{key: int(values[n]) for key, values in numbers.items()}, parts={"own": 1})
        for n in range(count)
    ]
    test = [
        Clip(f"test {n}", ones, label=0, camera=3, subject=99 * ("subject" in numbers), parts={"own": 2})
        for n in range(tests)
    ]
    path = tmp_path / "numbers.arrow"
    write_store(path, [*train, *test], dataset=dataset, layout=LAYOUTS["kinect-20"], normalization="none")
    return open_store(path)


def test_a_protocol_of_the_source_wins_over_the_data_sets_own(make_store, tmp_path):
    """As published, but for which clips; what is in neither half is in no part of the split."""
    made = make_store(subjects=4)
    parts = np.array([0, 1, 1, 2] * 9)
    clips = [
        Clip(made.names[n], np.ones((1, 20, 3, 1), np.float32), label=0, subject=int(made.subject_N[n]),
             camera=int(made.camera_N[n]), parts={"xsub": int(parts[n])})
        for n in range(36)
    ]  # fmt: skip
    write_store(tmp_path / "own.arrow", clips, dataset="synthetic", layout=LAYOUTS["kinect-20"], normalization="none")
    store = open_store(tmp_path / "own.arrow")
    assert list(protocols(store)) == ["xview", "xsub"]
    _, split = split_store(store, "xsub")
    assert split.test[0].gallery_N.tolist() == np.flatnonzero(parts == 1).tolist()
    assert split.test[0].query_N.tolist() == np.flatnonzero(parts == 2).tolist()
    seen = {*split.pretrain_N, *split.validation[0].query_N, *split.validation[0].gallery_N}
    assert seen == set(split.test[0].gallery_N)


def test_a_protocol_of_an_unknown_data_set_is_told_by_what_its_halves_share(tmp_path):
    """Cameras apart: another camera answers; subjects apart too, so that they are held out whole."""
    numbers = {"label": np.zeros(8, int), "camera": np.resize([1, 2], 8), "subject": np.repeat([1, 2, 3, 4], 2)}
    store = write_numbers(tmp_path, tests=2, dataset="mine", **numbers)
    assert list(protocols(store)) == ["own"]
    name, split = split_store(store)
    assert name == "own"
    assert [cameras(store, part.query_N) for part in split.validation] == [{1}, {2}]
    assert [cameras(store, part.gallery_N) for part in split.validation] == [{2}, {1}]
    assert len(subjects(store, np.concatenate([part.query_N for part in split.validation]))) == 1


def test_a_store_without_any_protocol_is_named(tmp_path):
    clip = Clip("a", np.ones((1, 20, 3, 1), np.float32), label=0)
    for dataset in ("mine", "ntu-60"):
        path = tmp_path / f"{dataset}.arrow"
        write_store(path, [clip], dataset=dataset, layout=LAYOUTS["kinect-20"], normalization="none")
        with pytest.raises(DataError, match="has no protocol"):
            split_store(open_store(path))


@pytest.mark.parametrize(("present", "message"), [((1, 2), "no clips to test"), ((3,), "no clips to train on")])
def test_a_protocol_that_leaves_a_side_empty(make_store, present, message):
    with pytest.raises(DataError, match=message):
        split_store(make_store(cameras=present), "xview")


def test_one_training_camera_has_no_other_to_look_in(make_store):
    """Without a second camera, cross-view validation has an empty gallery: an error, in one line, at once."""
    with pytest.raises(DataError, match="camera"):
        split_store(make_store(cameras=(1, 3)), "xview")


def test_the_real_clips(nw_ucla_store):
    """1,020 clips of cameras 1 and 2 answer for 464 of camera 3; 3 of 10 subjects are held out."""
    store = nw_ucla_store
    name, split = split_store(store)
    assert name == "xview"
    assert [(len(part.gallery_N), len(part.query_N)) for part in split.test] == [(1020, 464)]
    queries = sum(len(part.query_N) for part in split.validation)
    assert len(split.pretrain_N) + queries == 1020
    assert len(subjects(store, split.pretrain_N)) == 7
