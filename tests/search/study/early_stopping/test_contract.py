"""What every rule of early stopping must do: a new line in EARLY_STOPPING is held to it here."""

import pytest
from scipy import stats

from cmd_tune.search.study.early_stopping import EARLY_STOPPING, StoppingRule, stopping_rule
from cmd_tune.search.study.early_stopping.asha import Asha

EPOCHS = 8
# Of each rule: its keys in a space file, and the first epoch (or seed) after which it may stop a trial of EPOCHS.
CASES = {
    "asha": ({"grace_period": 2, "reduction_factor": 3}, 2),
    "hyperband": ({"min_iter": 2, "max_iter": 8, "eta": 3}, 2),
    "median": ({"grace_period": 2, "startup_trials": 1}, 2),
    "predicted": ({"grace_period": 2, "startup_trials": 2, "chance": 0.05}, 2),
    "wilcoxon": ({"p_threshold": 0.1, "startup_seeds": 2}, 4),  # 1/2^4 is below 0.1
}


@pytest.fixture(params=EARLY_STOPPING)
def rule(request):
    assert request.param in CASES, f"add a case of {request.param} to CASES: its keys, and its first look"
    return request.param


@pytest.fixture
def stopped_by(make_space):
    """A random search that the rule stops; of losses, which are to be small."""

    def make(rule):
        keys, _ = CASES[rule]
        metric = {"name": "loss/total", "goal": "minimize"}
        seeds = EPOCHS if EARLY_STOPPING[rule].over_seeds else 1
        stopping = {"type": rule, **keys}
        budget = {"trials": 99}
        return make_space(method="random", metric=metric, early_terminate=stopping, budget=budget, seeds=seeds)

    return make


@pytest.fixture
def open_of(open_study):
    """Opens the study of a search whose trials have EPOCHS epochs, or as many seeds of one epoch."""
    return lambda space: open_study(space, 99, epochs=EPOCHS // space.seeds)


def play(study, loss, reopen=None):
    """Runs a trial of this loss in every epoch, until it ends or is stopped. Returns the study and the epochs it ran.

    reopen: opens the study anew after each epoch, as after an interruption.
    """
    trial = study.next()
    while run := study.next_run(trial):
        run.folder.mkdir(exist_ok=True)
        study.record(run, {"epoch": run.epoch + 1, "loss/total": loss})
        stops = study.should_stop(run)
        if stops or (run.epoch == study.epochs_of(run) and not study.goes_on(run)):
            break
        if reopen:
            epochs, study = trial.epochs_run, reopen()
            trial = study.next()
            assert trial.epochs_run == epochs
    study.end(trial)
    return study, trial.epochs_run


def test_a_trial_that_is_alone_runs_to_its_end(stopped_by, rule, open_of):
    assert play(open_of(stopped_by(rule)), 9.0)[1] == EPOCHS


def test_a_hopeless_trial_is_stopped_but_not_before_the_first_look(stopped_by, rule, open_of):
    study = open_of(stopped_by(rule))
    for loss in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5):
        study, _ = play(study, loss)
    assert CASES[rule][1] <= play(study, 9.0)[1] < EPOCHS
    assert play(study, 0.1)[1] == EPOCHS  # the best so far


def test_the_first_look_and_what_runs_whole_are_as_it_says(stopped_by, rule, open_of):
    """Each trial is worse than those before; early stopping cannot save more."""
    space = stopped_by(rule)
    stops, study = stopping_rule(space), open_of(space)
    ends = [play(study, float(loss))[1] for loss in range(1, 13)]
    assert min(ends) == stops.first_look(EPOCHS) == CASES[rule][1]
    assert ends.count(EPOCHS) == stops.whole_trials


def test_an_interruption_changes_nothing(stopped_by, rule, open_of, tmp_path):
    space, losses = stopped_by(rule), (5.0, 4.0, 6.0, 3.0, 5.5, 1.0)
    ends = []
    for interrupted in (False, True):

        def reopen():
            return open_of(space)

        study = reopen()
        ends.append([])
        for loss in losses:
            study, epoch = play(study, loss, reopen if interrupted else None)
            ends[-1].append(epoch)
        (tmp_path / "search").rename(tmp_path / f"done-{interrupted}")
    assert ends[0] == ends[1]
    assert {EPOCHS} < set(ends[0])


def test_what_stops_nothing_says_so(stopped_by, rule):
    space = stopped_by(rule)
    first = CASES[rule][1]
    said = stopping_rule(space).stops_nothing(first, first)
    key, _, sentence = said.partition(": ")
    assert key in EARLY_STOPPING[rule].model_fields
    assert sentence
    assert stopping_rule(space).stops_nothing(first + 1, first + 1) == ""


def test_every_key_has_a_check(rule):
    """Numbers of a file are whole or finite ones in a range: no key takes just anything."""
    example = {"type": rule, **CASES[rule][0]}
    for key in example.keys() - {"type"}:
        for odd in (None, True, "x", -1, float("nan")):
            with pytest.raises(ValueError, match="should be"):
                EARLY_STOPPING[rule].model_validate({**example, key: odd})


def test_a_rule_without_a_pruner_cannot_be_read():
    class Half(StoppingRule):
        example = "{type: half}"

    with pytest.raises(TypeError, match="abstract method"):
        Half.model_validate({"type": "half"})


@pytest.mark.parametrize("written", ["none", {"type": "none"}])
def test_none_stops_nothing(make_space, open_study, written):
    space = make_space(method="random", metric={"name": "loss/total", "goal": "minimize"}, early_terminate=written)
    study = open_study(space, 99, epochs=EPOCHS)
    for loss in (0.1, 0.1, 9.0):
        study, epoch = play(study, loss)
        assert epoch == EPOCHS


def test_median_compares_the_best_so_far_with_the_median_of_those_that_finished(make_space, open_study):
    """Of losses 1, 2, 3 it is 2: a trial of 2.1 ends at the first look, one of 1.9 runs to its end."""
    rule = {"type": "median", "grace_period": 3, "startup_trials": 3}
    metric = {"name": "loss/total", "goal": "minimize"}
    study = open_study(make_space(method="random", metric=metric, early_terminate=rule), 99, epochs=EPOCHS)
    ends = []
    for loss in (3.0, 2.0, 1.0, 1.9, 2.1):
        study, epoch = play(study, loss)
        ends.append(epoch)
    assert ends == [EPOCHS] * 4 + [3]


def test_hyperband_has_a_bracket_for_each_first_rung_before_the_end():
    """Rungs first after 2, 6 and 18 epochs, of 20."""
    pruner = EARLY_STOPPING["hyperband"].model_validate({"type": "hyperband", "min_iter": 2, "max_iter": 20}).pruner(20)
    pruner._try_initialization(None)
    assert [rung._min_resource * 3**rung._min_early_stopping_rate for rung in pruner._pruners] == [2, 6, 18]


def test_asha_has_its_rungs_where_the_file_says():
    pruner = Asha(type="asha", grace_period=4, reduction_factor=2).pruner(20)
    assert (pruner._min_resource, pruner._reduction_factor) == (4, 2)


@pytest.mark.parametrize(("loss", "ends"), [(5.0, EPOCHS), (5.9, EPOCHS), (6.1, 2)])
def test_predicted_adds_what_others_gained_since_that_epoch(make_space, open_study, loss, ends):
    """Losses fall by 1 and 3 from epoch 2 to the last, so by 2 ± t(1, 90 %) · √2 · √1.5: to 4 - 2 - 5.33 at best."""
    rule = {"type": "predicted", "grace_period": 2, "startup_trials": 2, "chance": 0.1}
    metric = {"name": "loss/total", "goal": "minimize"}
    study = open_study(make_space(method="random", metric=metric, early_terminate=rule), 99, epochs=EPOCHS)
    for then, last in ((3.0, 2.0), (4.0, 1.0)):
        trial = study.next()
        for epoch in range(1, EPOCHS + 1):
            study.record(trial, {"epoch": epoch, "loss/total": then if epoch < EPOCHS else last})
        study.end(trial)
    reach = stats.t.ppf(0.9, 1) * 2**0.5 * 1.5**0.5
    assert 1.0 + 2.0 + reach == pytest.approx(8.33, abs=0.01)
    _, epochs = play(study, loss + 1.0 + 2.0 + reach - 6.0)
    assert epochs == ends


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        ({}, True),
        ({"method": "random"}, True),
        ({"early_terminate": "none"}, False),
        ({"method": "gp"}, False),  # it learns nothing of what is stopped
        ({"method": "auto"}, False),
        ({"metric": {"name": "loss/total"}}, False),
    ],
)
def test_where_the_file_says_nothing_trials_end_that_will_not_come_to_the_best(make_space, changes, stops):
    rule = stopping_rule(make_space(**changes))
    assert (rule is not None and rule.type == "predicted") is stops
    assert make_space(**changes).early_terminate is None


def test_nothing_ends_before_four_trials_have_finished(make_space, open_study):
    study = open_study(make_space(budget={"trials": 9}), 9, epochs=5)
    ends = []
    for score in (60.0, 10.0, 20.0, 30.0, 10.0, 61.0):
        trial = study.next()
        while study.next_run(trial):
            study.record(trial, {"epoch": trial.epoch + 1, "loss/total": 1.0, "val/knn/fused": score})
            if study.should_stop(trial):
                break
        study.end(trial)
        ends.append(trial.epoch)
    assert ends == [5, 5, 5, 5, 1, 5]  # the first look is after a fifth of the epochs
