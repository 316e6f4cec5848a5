"""The metrics that the tracker has beside those of trials: the best trial's scores, and the baselines'."""

from cmd_tune.evaluate.scores import Scores
from cmd_tune.runs.run_records import main_scores
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.trials_table import trials_columns
from cmd_tune.search.study.trial_record import BEFORE_REFIT


def known_baselines(findings: StudyFindings) -> dict[str, Scores]:
    """The scores of each baseline that has some, by its kind: "untrained" and "raw"."""
    kinds = {"untrained": findings.untrained, "raw": findings.raw}
    return {kind: scores for kind, scores in kinds.items() if scores}


def best_metrics(findings: StudyFindings) -> dict[str, float]:
    """The best trial's scores; empty for a comparison, which selects nothing, and if no trial finished."""
    study = findings.study
    if findings.comparison or not study.ranked():
        return {}
    best = study.ranked()[0]
    mains = main_scores(trials_columns(study))
    names = dict.fromkeys((study.space.metric, *mains, *(BEFORE_REFIT + name for name in mains)))
    scores = {f"best/{name}": best.score(name) for name in names}
    if findings.confirmation and findings.confirmation.winner.trial is best:
        scores[f"best/confirm/{study.space.metric}"] = findings.confirmation.winner.mean
    return {name: value for name, value in scores.items() if value is not None} | {"best/trial": float(best.index)}


def tested_metric(metric: str) -> str:
    """The test score that corresponds to the metric of a search."""
    return f"test/{metric.removeprefix('val/')}" if metric.startswith("val/") else "test/knn/fused"
