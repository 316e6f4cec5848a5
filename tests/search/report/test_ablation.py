"""The path from the start point to the best trial: its order, what is forbidden, and its steps by NumPy and SciPy."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.ablations import due_ablations
from cmd_tune.search.report import StudyFindings
from cmd_tune.search.report.ablation import changes_in_words, ordered, steps_between
from cmd_tune.search.report.importance import Impact, Importance, ParameterEffect
from cmd_tune.search.report.sections import ablation
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.trial_record import Repeat, TrialRecord, TrialState
from cmd_tune.settings import make_settings

METRIC = "val/knn/fused"
FOUR = {
    "queue_size": {"values": [16, 32, 64, 128]},
    "topk": {"values": [4, 8, 16, 32]},
    "key_momentum": {"values": [0.9, 0.99]},
    "teacher_temperature": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.2},
}
START = {"queue_size": 16, "topk": 4, "key_momentum": 0.9, "teacher_temperature": 0.05}
OTHER = {"queue_size": 64, "topk": 16, "key_momentum": 0.9, "teacher_temperature": 0.02}
FAR = {**OTHER, "topk": 32}  # more neighbours than the start point's queue has
AUTO = Ablation()
FRESH_START, FRESH_BEST = [70.1, 71.4, 69.5, 70.9, 70.2], [74.0, 74.9, 73.2, 74.6, 74.1]


@pytest.fixture
def played(make_space, open_study):
    """A study of the start point and another configuration, with scores over seeds 1, 2, …, of which none may be."""

    def make(start=FRESH_START, best=FRESH_BEST, *, trials=40, other=OTHER, **space):
        points = {
            "points_to_evaluate": [START, other],
            "parameters": FOUR,
            "budget": {"trials": trials},
            "method": "random",
        }
        study = open_study(make_space(**points, **space), trials=trials, epochs=1)
        for own, scores in ((70.0, start), (75.0, best)):
            trial = study.next()
            end(study, trial, own)
            for seed, score in enumerate(scores, 1):
                again = trial.repeat(Repeat.CONFIRM, seed)
                again.folder.mkdir()
                again.take({"epoch": 1, "loss/total": 1.0, METRIC: score})
        return study

    return make


def end(study, trial, score):
    study.record(trial, {"epoch": 1, "loss/total": 1.0, METRIC: score})
    study.end(trial)


def findings(study, ablation=AUTO):
    return StudyFindings(study, {}, {}, Conditions("", "", {}), ablation=ablation)


def with_trials(study, count=40):
    """With so many trials, whose work pays for the path; the others were stopped before their first epoch."""
    for index in range(len(study.trials), count):
        study.trials[index] = TrialRecord(index, {}, study.folder / "trials" / f"{index:03d}", TrialState.STOPPED)
    return study


def effects(*told):
    known = [ParameterEffect(name, Impact.MATTERS, 3.0, (1.0, 5.0), 0.01) for name in told]
    return Importance((*known, ParameterEffect("queue_size", Impact.CANNOT_TELL)), 30, 1.0, "over seeds")


def test_what_matters_most_changes_first_then_the_others_in_the_order_of_the_space(played):
    study = played()
    assert ordered(study, effects("teacher_temperature", "topk")) == [
        "teacher_temperature", "topk", "queue_size", "key_momentum",
    ]  # fmt: skip
    assert ordered(study, effects()) == list(FOUR)


def changed(steps):
    return [tuple(step.changed) for step in steps]


def test_a_step_that_the_settings_forbid_waits_until_it_may_be(played):
    study = played(other=FAR)
    start, best = (study.trials[index].values for index in (0, 1))
    steps, limited = steps_between(study, start, best, ["topk", "teacher_temperature", "queue_size"], most=9)
    # topk 32 of a queue of 16 is not allowed, whatever the temperature.
    assert changed(steps) == [(), ("teacher_temperature",), ("queue_size",), ("topk",)]
    assert steps[2].values == {**start, "teacher_temperature": 0.02, "queue_size": 64}
    assert steps[0].values == start
    assert steps[-1].values == best
    assert not limited


def test_a_constraint_forbids_as_settings_do(played):
    study = played(constraints=["queue_size <= 16 or teacher_temperature < 0.03"])
    start, best = (study.trials[index].values for index in (0, 1))
    steps, _ = steps_between(study, start, best, ["queue_size", "topk", "teacher_temperature"], most=9)
    assert changed(steps) == [(), ("topk",), ("teacher_temperature",), ("queue_size",)]


def test_what_is_forbidden_one_by_one_changes_with_the_fewest_others(played):
    bound = "(queue_size == 16) == (teacher_temperature == 0.05)"
    study = played(constraints=[bound])
    start, best = (study.trials[index].values for index in (0, 1))
    steps, limited = steps_between(study, start, best, ["queue_size", "topk", "teacher_temperature"], most=9)
    assert changed(steps) == [(), ("topk",), ("queue_size", "teacher_temperature")]
    assert not limited
    steps, limited = steps_between(study, start, best, ["queue_size", "topk", "teacher_temperature"], most=0)
    assert changed(steps) == [(), ("queue_size", "topk", "teacher_temperature")]
    assert limited
    path = findings(study, Ablation(seeds=2))
    assert "queue_size and teacher_temperature change together, since constraints or settings allow none of them " in (
        ablation(path).markdown
    ).replace("teacher_temperature and queue_size", "queue_size and teacher_temperature")


@pytest.mark.parametrize(
    ("most", "then"),
    [
        (0, [("queue_size", "topk", "teacher_temperature")]),
        (1, [("queue_size",), ("topk", "teacher_temperature")]),
        (2, [("queue_size",), ("topk",), ("teacher_temperature",)]),
    ],
)
def test_what_there_are_no_runs_for_changes_in_the_last_step(played, most, then):
    study = played()
    start, best = (study.trials[index].values for index in (0, 1))
    steps, limited = steps_between(study, start, best, ["queue_size", "topk", "teacher_temperature"], most=most)
    assert changed(steps) == [(), *then]
    assert limited is (most < 2)


def test_what_counts_beside_a_value_alone_comes_and_goes_with_it(make_space, open_study):
    conditional = {
        "objective": {"values": ["mcl", "cmd"]},
        "topk": {"values": [4, 8, 16], "when": "objective == 'cmd'"},
        "layers": {"values": [1, 2]},
    }
    study = open_study(make_space(parameters=conditional, points_to_evaluate=None))
    without, with_topk = {"objective": "mcl", "layers": 1}, {"objective": "cmd", "topk": 8, "layers": 2}
    there, _ = steps_between(study, without, with_topk, ["topk", "layers", "objective"], most=9)
    assert changed(there) == [(), ("layers",), ("topk", "objective")]
    there, _ = steps_between(study, without, with_topk, ["objective", "topk", "layers"], most=9)
    assert changed(there) == [(), ("layers",), ("objective", "topk")]
    assert there[1].values == {"objective": "mcl", "layers": 2}
    back, _ = steps_between(study, with_topk, without, ["layers", "topk", "objective"], most=9)
    assert [step.values for step in back[1:]] == [{"objective": "cmd", "topk": 8, "layers": 1}, without]
    near, _ = steps_between(study, {**with_topk, "topk": 4}, {**with_topk, "layers": 1}, ["topk", "layers"], most=9)
    assert changed(near) == [(), ("topk",), ("layers",)]


def run_path(study, scores, ablation=AUTO):
    """Ends the runs of the path with these scores, by number and seed; None fails for its values."""
    for run in due_ablations(study, ablation):
        run.keep()
        run.take({"epoch": 1, "loss/total": 1.0, METRIC: scores[run.number][run.seed - 1]})


FIRST, SECOND = [73.0, 73.9, 72.6, 73.1, 73.4], [73.3, 73.5, 72.9, 73.6, 72.9]


def test_steps_are_paired_over_the_seeds_and_their_p_values_corrected(played):
    study = with_trials(played())
    run_path(study, {1: FIRST, 2: SECOND})
    path = findings(study).path
    assert (path.start.index, path.best.index, path.seeds, path.missing) == (0, 1, [1, 2, 3, 4, 5], 0)
    assert changed(path.steps) == [(), ("queue_size",), ("topk",), ("teacher_temperature",)]
    rows = [FRESH_START, FIRST, SECOND, FRESH_BEST]
    raw = [stats.ttest_rel(after, before).pvalue for before, after in pairwise(rows)]
    order = np.argsort(raw)
    corrected = np.empty(3)
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.array(raw)[order] * [3, 2, 1]))
    for number, step in enumerate(path.steps):
        assert list(step.scores.values()) == rows[number]
        assert step.mean == pytest.approx(np.mean(rows[number]))
        assert step.interval == pytest.approx(stats.t.interval(0.95, 4, np.mean(rows[number]), stats.sem(rows[number])))
        if number == 0:
            assert step.change is None
            continue
        gain = np.subtract(rows[number], rows[number - 1])
        assert step.change.mean == pytest.approx(gain.mean())
        assert step.change.interval == pytest.approx(stats.t.interval(0.95, 4, gain.mean(), stats.sem(gain)))
        assert step.change.p == pytest.approx(corrected[number - 1])
    assert sum(step.change.mean for step in path.steps[1:]) == pytest.approx(np.mean(FRESH_BEST) - np.mean(FRESH_START))


def test_a_seed_that_failed_is_left_out_of_both_of_its_steps(played):
    study = with_trials(played())
    run_path(study, {1: FIRST, 2: SECOND})
    (gone,) = (run for run in study.trials[1].ablations if (run.number, run.seed) == (1, 2))
    gone.history.clear()
    assert findings(study).path.missing == 1
    gone.reason, gone.failure = "the loss is nan", FailureTag.DIVERGED
    path = findings(study).path
    assert (path.missing, path.steps[1].failed) == (0, [2])
    assert [step.change.seeds for step in path.steps[1:]] == [4, 4, 5]
    assert path.steps[2].change.mean == pytest.approx(np.mean(np.subtract(SECOND, FIRST)[[0, 2, 3, 4]]))


def test_without_a_gain_that_is_told_there_is_nothing_to_explain(played):
    assert findings(played(FRESH_START, [70.0, 71.9, 69.9, 70.4, 70.8])).no_path == (
        "By 5 fresh seeds the best trial cannot be told from the start point: there is no gain to explain."
    )


@pytest.mark.parametrize(
    ("start", "best", "said"),
    [
        (FRESH_BEST, FRESH_START, "The start point is the best"),
        ([], [], "have not both run with fresh seeds"),
        ([70.0], [75.0, 76.0], "have not both run with fresh seeds"),
    ],
)
def test_why_there_is_no_path(played, start, best, said):
    study = played(start, best)
    assert said in findings(study).no_path
    assert findings(study).path is None
    asked = findings(study, Ablation(seeds=2))
    assert (asked.path is None) == said.startswith("The start point")


def test_a_start_point_that_failed_begins_no_path(make_space, open_study):
    study = open_study(make_space(), epochs=1)
    study.end(study.next(), failure="the loss is nan")
    end(study, study.next(), 60.0)
    assert "no start point that came to its last epoch" in findings(study, Ablation(seeds=2)).no_path


def test_seeds_that_are_asked_for_are_those_that_follow_the_trials(played):
    path = findings(played([70.0], []), Ablation(seeds=3)).path
    assert path.seeds == [1, 2, 3]
    assert [len(step.scores) for step in path.steps] == [1, 0, 0, 0]
    assert path.missing == 11
    assert not path.limited


def test_nothing_runs_between_two_that_differ_in_one_parameter(played):
    path = findings(played([70.0], [], other={**START, "topk": 8}), Ablation(seeds=3)).path
    assert (path.missing, path.differing) == (0, 1)


def test_half_the_work_of_the_trials_limits_the_path(played):
    path = findings(with_trials(played(), 10)).path  # 5 runs, of 5 seeds each
    assert [len(step.changed) for step in path.steps] == [0, 1, 2]
    assert path.limited
    assert not findings(with_trials(played(), 40)).path.limited


def test_changes_are_said_with_their_values(played):
    path = findings(with_trials(played()), Ablation(seeds=2)).path
    said = [change for number in range(1, len(path.steps)) for change in changes_in_words(path, number)]
    assert sorted(said) == ["queue_size 16 → 64", "teacher_temperature 0.05 → 0.02", "topk 4 → 16"]
    assert changes_in_words(path, 0) == []


def test_many_parameters_of_one_condition_are_one_step_and_soon_found(make_space, open_study):
    names = ("topk", "distill_weight", "teacher_temperature", "student_temperature", "learning_rate", "weight_decay",
             "key_momentum", "shear_range", "crop_min_share", "contrast_temperature", "layers", "frames", "queue_size",
             "batch_size")  # fmt: skip
    mcl, cmd = {"objective": "mcl", "seed": 0}, {"objective": "cmd", "seed": 1}
    spec = {"objective": {"values": ["mcl", "cmd"]}, "seed": {"values": [0, 1]}}
    for name in names:
        low = make_settings("quick").model_dump()[name]
        spec[name] = {"values": [low], "when": "objective == 'cmd'"}
        cmd[name] = low
    study = open_study(make_space(parameters=spec, points_to_evaluate=None))
    tried = []
    allows = study.space.allows
    object.__setattr__(study.space, "allows", lambda *words: tried.append(words) or allows(*words))
    steps, limited = steps_between(study, mcl, cmd, ["objective", *names, "seed"], most=20)
    assert changed(steps) == [(), ("seed",), ("objective", *names)]
    assert not limited
    assert len(tried) < 40
