"""The text files of a finished study, by name: each a function of the findings, or None if there is none to write."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.evaluate.scores import Scores
from cmd_tune.formatting import csv_text
from cmd_tune.search.report.ablation import AblationPath, StepChange
from cmd_tune.search.report.cell_results import cells_columns
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.metrics import tested_metric
from cmd_tune.search.report.scores_in_words import bare_score, written
from cmd_tune.search.report.trials_table import trials_columns
from cmd_tune.search.study.trial_record import BEFORE_REFIT, TrialRecord
from cmd_tune.train.loop import CHECKPOINT
from cmd_tune.yaml_files import dump_yaml, read_yaml

BASELINES = "baselines.yaml"


def trials_csv(findings: StudyFindings) -> str:
    """Values of parameters as they ran, to the last digit; scores as a person writes them."""
    study = findings.study
    kept = {*study.space.fixed, *study.space.parameters}
    return csv_text(
        {
            name: column if name in kept else [written(name, x) if isinstance(x, float) else x for x in column]
            for name, column in trials_columns(study).items()
        }
    )


def trials_json(findings: StudyFindings) -> str:
    """A list of the trials. scores: their last ones, and those on the test set. fresh_seeds: scores that confirm.

    ablation: of the best trial, the steps from the start point to it.
    """
    study = findings.study
    metric = study.space.metric
    ranks = {} if findings.comparison else {trial.index: rank for rank, trial in enumerate(study.ranked(), 1)}
    trials, path = [], findings.path
    for trial in study.trials.values():
        names = dict.fromkeys(name for record in (*trial.history, trial.tests) for name in record)
        scores = {name: trial.score(name) for name in names if name not in ("epoch", "seconds")}
        fresh = study.confirmed(trial)
        trials.append(
            {
                "number": trial.index,
                "state": str(trial.state),
                "reason": trial.reason,
                "rank": ranks.get(trial.index),
                **({"front": trial in findings.front} if study.space.more_metrics else {}),
                "values": trial.values,
                "scores": {name: written(name, score) for name, score in scores.items() if score is not None},
                "fresh_seeds": {str(seed): written(metric, score) for seed, score in fresh.items()},
                "ablation": _steps(metric, path) if path and path.best is trial else [],
                "epochs": trial.epochs_run,
                "seconds": round(sum(record.get("seconds", 0.0) for run in trial.runs for record in run.history), 1),
            }
        )
    return json.dumps(trials, indent=1) + "\n"


def _steps(metric: str, path: AblationPath) -> list[dict[str, Any]]:
    """The steps of a path, the start point first: values, scores by seed, and the difference to the step before."""

    def difference(change: StepChange | None) -> dict[str, Any] | None:
        if change is None:
            return None
        interval = [float(f"{end:.6g}") for end in change.interval or ()]
        return {"mean": float(f"{change.mean:.6g}"), "interval": interval, "p": float(f"{change.p:.6g}")}

    return [
        {
            "changed": list(step.changed),
            "values": step.values,
            "scores": {str(seed): written(metric, score) for seed, score in step.scores.items()},
            "failed": list(step.failed),
            "difference": difference(step.change),
        }
        for step in path.steps
    ]


def baselines_yaml(findings: StudyFindings) -> str | None:
    if not (findings.raw or findings.untrained):
        return None
    return dump_yaml({"raw_skeletons": findings.raw, "untrained_encoder": findings.untrained})


def kept_baselines(folder: Path) -> tuple[Scores, Scores] | None:
    """(raw, untrained) from baselines.yaml in a search's folder; None if the file is missing.

    Raises CmdTuneError if it holds anything else.
    """
    path = folder / BASELINES
    if not path.exists():
        return None
    kept = read_yaml(path)
    try:
        kinds = (kept["raw_skeletons"], kept["untrained_encoder"])
        raw, untrained = ({str(name): float(score) for name, score in kind.items()} for kind in kinds)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CmdTuneError(f"{path}: holds no scores of baselines; remove it to have them computed again") from None
    return raw, untrained


def best_yaml(findings: StudyFindings) -> str | None:
    """The settings of the best trial. None for a comparison, which selects nothing, and if no trial finished."""
    study = findings.study
    if findings.comparison or not study.ranked():
        return None
    best = study.ranked()[0]
    metric = study.space.metric
    head = f"# {best.name} of {study.folder.name}: {metric} {bare_score(metric, best.score(metric), digits=2)}\n"
    head += _tested(best, tested_metric(metric))
    return head + dump_yaml(study.settings_of(best).model_dump(mode="json"))


def _tested(best: TrialRecord, metric: str) -> str:
    """Comment lines with a trial's test score, and which checkpoint has it; empty if it was not tested."""
    if (score := best.tests.get(metric)) is None:
        return ""
    refits = [refit for refit in best.refits.values() if refit.test_scores]
    if not refits:
        return f"# {metric} {score:.2f}\n"
    seeds = ", ".join(str(refit.seed) for refit in refits)
    before = best.tests.get(BEFORE_REFIT + metric)
    was = f"; before the refit {before:.2f}" if before is not None else ""
    place = f"trials/{refits[0].folder.parent.name}/{refits[0].folder.name}/{CHECKPOINT}"
    return (
        f"# {metric} {score:.2f} after its refit on the whole training set, seed {seeds}: {place}{was}\n"
        "# to pretrain so again: --set holdout=none\n"
    )


def cells_csv(findings: StudyFindings) -> str | None:
    """None for a search."""
    comparison = findings.comparison
    return csv_text(cells_columns(comparison.stated, comparison.results)) if comparison else None


FILES: dict[str, Callable[[StudyFindings], str | None]] = {
    "trials.csv": trials_csv,
    "trials.json": trials_json,
    BASELINES: baselines_yaml,
    "best.yaml": best_yaml,
    "cells.csv": cells_csv,
}
