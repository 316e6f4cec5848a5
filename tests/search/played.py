"""Searches whose trials a test plays: their folders are those of real ones, and nothing is trained."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from cmd_tune.data.store import Store
from cmd_tune.runs.environment import record_session
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.plan import Plan, new_plan
from cmd_tune.search.request import check_request
from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import Repeat, TrialRecord
from tests.search.conftest import SPACE as TEMPERATURES

SPACE = {**TEMPERATURES, "method": "random", "refit": "none", "confirm": "none", "ablation": "none"}


def new_search(storage: Path, name: str, store: Store, *overrides: str, **changes: Any) -> Plan:
    """Writes down a search of the temperatures, with top-level keys of its space changed; None leaves a key out."""
    storage.mkdir(parents=True, exist_ok=True)
    file = storage.parent / f"{name}.space.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in {**SPACE, **changes}.items() if value is not None}))
    request = check_request(
        str(file),
        storage=storage,
        name=name,
        data=store.path,
        protocol="xview",
        preset=None,
        overrides=["batch_size=8", "epochs=2", *overrides],
        trials=None,
        resources=ResourceRequest(),
        tracking_uri=None,
    )
    plan = new_plan(request)
    record_session(plan.folder, {})
    return plan


def study_of(plan: Plan) -> SearchStudy:
    return SearchStudy(plan.folder, plan.space, plan.settings, plan.preset, plan.trials)


def play(study: SearchStudy, scores: Iterable[float | FailureTag | None]) -> list[TrialRecord]:
    """Runs a trial for each score: to its end with that, to a failure of that kind, or to its first epoch alone."""
    played = []
    for score in scores:
        trial = study.next()
        assert trial
        played.append(trial)
        if isinstance(score, FailureTag):
            study.end(trial, failure="it broke", tag=score)
            continue
        value = score if score is not None else 1.0
        for epoch in range(1, study.epochs_of(trial) + 1 if score is not None else 2):
            study.record(trial, {"epoch": epoch, "loss/total": 1.0, study.space.metric: value, "seconds": 2.0})
        if score is not None:
            study.end(trial)
    return played


def confirm(study: SearchStudy, trial: TrialRecord, scores: Mapping[int, float]) -> None:
    """Runs a trial again with each of these seeds, to these scores."""
    for seed, score in scores.items():
        record = trial.repeat(Repeat.CONFIRM, seed)
        record.folder.mkdir(parents=True)
        for epoch in range(1, study.epochs_of(trial) + 1):
            record.take({"epoch": epoch, study.space.metric: score})


def give_test_scores(study: SearchStudy, metric: str = "test/knn/fused", value: Callable[[int], float] = float) -> None:
    """Gives each finalist its score on the test set."""
    for trial in study.finalists(3):
        study.record_test(trial, {metric: value(trial.index)})
