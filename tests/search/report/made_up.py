"""A made-up study of any size, as a real search leaves it: curves over epochs, trials stopped early, failures."""

from collections.abc import Callable, Mapping
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.ablations import due_ablations
from cmd_tune.search.report import StudyFindings
from cmd_tune.search.report.positions import place
from cmd_tune.search.request import read_space
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import Repeat, TrialRecord, TrialState
from cmd_tune.settings import Settings

METRIC = "val/knn/fused"
TWO = {
    "teacher_temperature": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.2},
    "student_temperature": {"distribution": "log_uniform_values", "min": 0.05, "max": 1.0},
}
CONDITIONAL = {
    "shear_range": {"min": 0.0, "max": 1.0},
    "layers": {"min": 1, "max": 3},
    "topk": {"min": 2, "max": 30, "when": "layers > 1"},
    "distill_weight": {"distribution": "log_uniform_values", "min": 0.1, "max": 10, "when": "topk > 9"},
}
RAW, UNTRAINED = {METRIC: 62.0, "test/knn/fused": 60.0}, {METRIC: 41.0, "test/knn/fused": 40.0}
EPOCHS = 10
HERE = Conditions("nw-ucla", "xview", {"val": 287, "test": 464})


def made_up(
    folder: Path,
    tiny: Callable[..., Settings],
    trials: int,
    parameters: Mapping[str, Any] = TWO,
    *,
    noise: float = 1.5,
    height: float = 12.0,
    seed: int = 0,
    stops: bool = True,
    fresh: int = 0,
    asked: Ablation | None = None,
    conditions: Conditions = HERE,
    metrics: tuple[str, ...] = (),
) -> StudyFindings:
    """Best in the middle of the first parameter, by so many points; the second has a third of that; others none.

    Of the trials drawn, one in eleven diverges, and, if it stops, one in three is stopped at half of its epochs. fresh:
    seeds with which the best three and the start point are run again. asked: an ablation, all of whose runs have run.
    metrics: that judge the trials, if several do; more of the first parameter costs time, and more of the second
    weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    content = {"method": "random", "parameters": dict(parameters), "budget": {"trials": trials}}
    content |= {"metrics": [{"name": name} for name in metrics]} if metrics else {}
    (folder / "space.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    space = read_space(folder / "space.yaml")
    start = {name: _at(parameter, 0.3) for name, parameter in space.parameters.items()}
    start = space.conditions.reduced(start, tiny(epochs=EPOCHS, queue_size=64, topk=6).model_dump())
    content["points_to_evaluate"] = [start]
    (folder / "space.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    space = read_space(folder / "space.yaml")
    study = SearchStudy(folder, space, tiny(epochs=EPOCHS, queue_size=64, topk=6), "quick", trials)
    first, second = list(space.parameters)[:2]
    truth: list[float] = []
    for index in range(trials):
        places = {name: 0.3 if index == 0 else float(rng.random()) for name in space.parameters}
        drawn = {name: _at(parameter, places[name]) for name, parameter in space.parameters.items()}
        values = space.conditions.reduced(drawn, study.base.model_dump())
        truth.append(78 - height * (2 * places[first] - 1) ** 2 - height / 3 * (1 - places[second]))
        top = truth[index] + noise * rng.normal()
        trial = TrialRecord(index, values, folder / "trials" / f"{index:03d}", TrialState.FINISHED)
        epochs = EPOCHS
        if index and index % 11 == 0:
            trial.state, trial.reason, trial.failure = TrialState.FAILED, "the loss is nan", FailureTag.DIVERGED
            epochs = 2
        elif stops and index and index % 3 == 0:
            trial.state, trial.reason, epochs = TrialState.STOPPED, "after epoch 5 of 10", 5
        for epoch in range(1, epochs + 1):
            score = 41 + (top - 41) * (1 - np.exp(-3 * epoch / EPOCHS)) / (1 - np.exp(-3)) + 0.2 * rng.normal()
            score = top if epoch == EPOCHS else score
            seconds, weights = epoch * (4 + 16 * places[first]), int(1e5 * (1 + places[second]))
            cost = {"cost/seconds": seconds, "cost/parameters": weights} if metrics else {}
            record = {"epoch": epoch, "loss/total": 5 / epoch, METRIC: float(score), "seconds": 12.0}
            trial.history.append(record | cost)
        study.trials[index] = trial
    for trial in [*study.by_own_score()[:3], study.trials[0]]:
        for number in range(1, fresh + 1):
            again = trial.repeat(Repeat.CONFIRM, number)
            again.history.append({"epoch": EPOCHS, METRIC: truth[trial.index] + noise * float(rng.normal())})
    if asked is not None:
        for run in due_ablations(study, asked):
            first_at, second_at = (place(space.parameters[name], run.values[name]) for name in (first, second))
            top = 78 - height * (2 * first_at - 1) ** 2 - height / 3 * (1 - second_at)
            run.history.append({"epoch": EPOCHS, METRIC: top + noise * float(rng.normal())})
    cost = {"cost/epochs": 400.0, "cost/seconds": 4800.0, "cost/cpu_hours": 2.6667}
    return StudyFindings(study, RAW, UNTRAINED, conditions, cost, asked)


def _at(parameter: Parameter, place: float) -> Any:
    """The value at a place in the range, from 0 to 1."""
    if parameter.choices:
        return parameter.choices[min(len(parameter.choices) - 1, int(place * len(parameter.choices)))]
    low, high = parameter.low, parameter.high
    value = low * (high / low) ** place if parameter.log and log(high / low) else low + place * (high - low)
    return parameter.at(round(value / parameter.q)) if parameter.q else float(f"{value:.6g}")
