"""Tasks: what they count, on which labels, and that nothing is done twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmd_tune.data.splits import split_store
from cmd_tune.evaluate import tasks
from cmd_tune.evaluate.classifier import FINETUNE, LINEAR, LabelledClips
from cmd_tune.evaluate.intervals import clustered_interval, wilson_interval
from cmd_tune.evaluate.tasks import TASKS, EncoderUnderTest
from cmd_tune.train.loop import build_pretrainer

STREAMS = ["joint", "motion", "bone", "fused", "concatenated"]


def ignore(done: int, total: int) -> None: ...


@pytest.fixture(autouse=True)
def short_recipes(monkeypatch):
    monkeypatch.setattr(tasks, "LINEAR", replace(LINEAR, epochs=3))
    monkeypatch.setattr(tasks, "FINETUNE", replace(FINETUNE, epochs=2))


@pytest.fixture
def subject(tiny, tiny_store, tmp_path) -> EncoderUnderTest:
    _, split = split_store(tiny_store, "xview")
    data = LabelledClips(tiny_store, tiny(), split.test[0].gallery_N, split.test[0].query_N)
    return EncoderUnderTest(build_pretrainer(tiny(), tiny_store.width).online, data, tmp_path)


@pytest.mark.parametrize(
    ("task", "keys"),
    [
        ("knn", ["knn", "knn5", "knn10", "knn20"]),
        ("solved", ["linear"]),
        ("sgd", ["linear_paper"]),
        ("finetune", ["finetune"]),
        ("transfer", ["transfer"]),
        ("semi", ["semi1", "semi5", "semi10", "semi20"]),
        ("retrieval", ["retrieval_map", "retrieval_recall1", "retrieval_recall5", "retrieval_recall10"]),
    ],
)
def test_names_streams_and_ranges(subject, task, keys):
    measures = TASKS[task](subject, ignore)
    assert [measure.key for measure in measures] == keys
    streams = STREAMS if task in ("knn", "solved", "sgd", "retrieval") else STREAMS[:-1]
    for measure in measures:
        assert list(measure.estimates) == streams
        assert all(0 <= estimate.value <= 100 for estimate in measure.estimates.values())


def test_accuracies_are_counted_with_their_interval(subject):
    store, query_N = subject.data.store, subject.data.query_N
    label_Q, subject_Q = store.label_N[query_N], store.subject_N[query_N]
    for task in ("knn", "solved", "sgd", "finetune"):
        measure = TASKS[task](subject, ignore)[0]
        for stream, estimate in measure.estimates.items():
            hit_Q = np.array(measure.predicted[stream]) == label_Q
            assert estimate.value == pytest.approx(100 * hit_Q.mean())
            by_subject = [hit_Q[subject_Q == number] for number in np.unique(subject_Q)]
            assert (estimate.low, estimate.high) == clustered_interval(
                [int(hits.sum()) for hits in by_subject], [len(hits) for hits in by_subject]
            )


def test_without_subjects_clips_are_taken_by_themselves(subject):
    nobody = replace(subject.data.store, subject_N=np.zeros_like(subject.data.store.subject_N))
    for measure in TASKS["knn"](replace(subject, data=replace(subject.data, store=nobody)), ignore):
        for estimate in measure.estimates.values():
            assert (estimate.low, estimate.high) == wilson_interval(estimate.value, len(subject.data.query_N))


def test_the_first_clip_retrieved_is_the_nearest_neighbour(subject):
    nearest, recall = TASKS["knn"](subject, ignore)[0], TASKS["retrieval"](subject, ignore)[1]
    assert {name: e.value for name, e in recall.estimates.items()} == {n: e.value for n, e in nearest.estimates.items()}


def test_semi_is_the_mean_and_spread_of_five_subsets(subject, monkeypatch):
    seen = []
    original = tasks._train_and_classify

    def watch(part, recipe, name, progress):
        seen.append(part.data.train_N)
        return original(part, recipe, name, progress)

    monkeypatch.setattr(tasks, "_train_and_classify", watch)
    progress = []
    measures = TASKS["semi"](subject, lambda done, total: progress.append((done, total)))
    assert progress == [(done, 4 * 5 * 2) for done in range(1, 4 * 5 * 2 + 1)]
    label_N = subject.data.store.label_N
    assert [np.bincount(label_N[clips]).tolist() for clips in seen[::5]] == [[1] * 3, [1] * 3, [2] * 3, [3] * 3]
    assert all(set(clips) <= set(subject.data.train_N) for clips in seen)
    assert len({tuple(clips) for clips in seen[15:]}) == 5
    runs = [original(replace(subject), FINETUNE, f"semi20-{run}", ignore)[0] for run in range(5)]  # kept, not run again
    label_Q = torch.from_numpy(label_N[subject.data.query_N])
    joint = [100 * float((run[0] == label_Q).float().mean()) for run in runs]
    assert measures[3].estimates["joint"].value == pytest.approx(np.mean(joint), rel=1e-5)
    assert measures[3].estimates["joint"].std == pytest.approx(np.std(joint, ddof=1), rel=1e-5)


def test_what_was_trained_is_kept_and_not_trained_again(subject, monkeypatch):
    first = TASKS["sgd"](subject, ignore)
    assert [path.name for path in subject.folder.iterdir()] == ["linear_paper.json"]
    monkeypatch.setattr(tasks, "train_classifier", None)
    assert TASKS["sgd"](subject, ignore) == first


def test_best_of_test_is_said_only_where_asked_for(subject, tmp_path):
    asked = replace(subject, folder=tmp_path / "asked", best_of_test=True)
    last, best = TASKS["sgd"](asked, ignore)
    assert best.key == "linear_paper_official_best_of_test"
    assert all(best.estimates[name].value >= last.estimates[name].value - 1e-4 for name in STREAMS)
    assert TASKS["sgd"](subject, ignore) == [last]


def test_fine_tuning_leaves_the_encoders_as_they_were(subject):
    before = {name: value.clone() for name, value in subject.encoders.state_dict().items()}
    for task in ("finetune", "semi"):
        TASKS[task](subject, ignore)
    assert all(torch.equal(value, before[name]) for name, value in subject.encoders.state_dict().items())
