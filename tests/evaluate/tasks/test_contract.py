"""What base.py promises of an evaluation task, for every one that is registered."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from cmd_tune.evaluate.similarity import stream_names
from cmd_tune.evaluate.tasks import DEFAULT_TASKS, OLD_NAMES, TASKS, current_name

# The keys of measures are names of metrics, by which scores of earlier runs are known.
KEYS = {
    "knn": ["knn", "knn5", "knn10", "knn20"],
    "solved": ["linear"],
    "sgd": ["linear_paper"],
    "finetune": ["finetune"],
    "transfer": ["transfer"],
    "semi": ["semi1", "semi5", "semi10", "semi20"],
    "retrieval": ["retrieval_map", "retrieval_recall1", "retrieval_recall5", "retrieval_recall10"],
}

ROUNDING = 1e-9  # percent


def ignore(done: int, total: int) -> None: ...


@pytest.fixture(params=TASKS)
def word(request):
    return request.param


@pytest.fixture
def scored(word, subject):
    """The measures of a task, on changed data or in another folder."""

    def measures(folder="one", **changes):
        return TASKS[word].measure(replace(subject, folder=subject.folder / folder, **changes), ignore)

    return measures


def test_its_keys_are_names_of_metrics_and_its_alone(word, scored):
    keys = [measure.key for measure in scored()]
    assert keys == KEYS.get(word, keys)
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z0-9_]+", key) for key in keys)
    assert not set(keys) & {key for other, theirs in KEYS.items() if other != word for key in theirs}


def test_its_estimates_are_percentages_in_their_intervals_by_stream(scored, subject):
    streams = stream_names(subject.data.settings.modalities)
    for measure in scored():
        assert list(measure.estimates) in (list(streams), list(streams[:-1]))  # the last: of all features joined
        for estimate in measure.estimates.values():
            assert 0 <= estimate.value <= 100
            assert (estimate.low is None) == (estimate.high is None)
            if estimate.low is not None:
                assert 0 <= estimate.low <= estimate.value + ROUNDING
                assert estimate.value - ROUNDING <= estimate.high <= 100


def test_what_it_predicts_are_labels_whose_accuracy_it_estimates(scored, subject):
    label_Q = subject.labels[1].numpy()
    for measure in scored():
        for stream, predicted_Q in (measure.predicted or {}).items():
            assert set(predicted_Q) <= set(subject.labels[0].tolist())
            accuracy = 100 * np.equal(predicted_Q, label_Q).mean()
            assert measure.estimates[stream].value == pytest.approx(accuracy)
        assert measure.predicted is None or measure.predicted.keys() == measure.estimates.keys()


def test_its_measures_can_be_kept_as_json(scored):
    for measure in scored():
        assert json.loads(json.dumps(asdict(measure))) == asdict(measure)


def test_it_leaves_the_encoders_and_the_global_random_state_as_they_were(scored, subject):
    before = {name: value.clone() for name, value in subject.encoders.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    scored()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in subject.encoders.state_dict().items())
    assert all(parameter.grad is None for parameter in subject.encoders.parameters())


def test_the_seed_decides_what_it_draws_and_nothing_else(word, scored):
    first, again, other = scored("first", seed=3), scored("again", seed=3), scored("other", seed=4)
    assert first == again
    assert (first != other) == TASKS[word].draws


def test_the_best_of_test_is_a_measure_more_of_a_curve_and_of_nothing_else(word, scored):
    usual, asked = scored("usual"), scored("asked", best_of_test=True)
    assert asked[: len(usual)] == usual
    assert [measure.key for measure in asked[len(usual) :]] == (
        [f"{usual[-1].key}_official_best_of_test"] if TASKS[word].has_curve else []
    )


def test_it_says_how_far_it_is(word, subject):
    said = []
    TASKS[word].measure(subject, lambda done, total: said.append((done, total)))
    assert [done for done, _ in said] == list(range(1, len(said) + 1))
    assert {total for _, total in said} == ({len(said)} if said else set())


def test_a_clips_score_does_not_depend_on_the_other_test_clips(scored, subject):
    whole = scored()
    half = scored("half", data=replace(subject.data, query_N=subject.data.query_N[::2]))
    for one, other in zip(whole, half, strict=True):
        for stream, predicted_Q in (one.predicted or {}).items():
            assert other.predicted[stream] == predicted_Q[::2]


def test_the_first_clip_retrieved_is_the_nearest_neighbour(subject):
    nearest, recall = TASKS["knn"].measure(subject, ignore)[0], TASKS["retrieval"].measure(subject, ignore)[1]
    assert {name: e.value for name, e in recall.estimates.items()} == {n: e.value for n, e in nearest.estimates.items()}


def test_old_names_are_of_tasks_and_none_is_a_word_of_its_own():
    assert set(OLD_NAMES.values()) | set(DEFAULT_TASKS) <= set(TASKS)
    assert not set(OLD_NAMES) & set(TASKS)
    assert [current_name(name) for name in ("fast", "linear", "knn")] == ["solved", "sgd", "knn"]
