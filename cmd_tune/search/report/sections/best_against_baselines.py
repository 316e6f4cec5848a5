"""The best tested trial of a search against the baselines, with intervals."""

from rich.text import Text

from cmd_tune.runs.baseline_comparison import against_baselines
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.sections.best_trials import BEST


def best_against_baselines(findings: StudyFindings) -> Section | None:
    """None for a comparison, and if no trial was tested or its right answers were not counted."""
    if findings.comparison:
        return None
    study = findings.study
    metric = _tested_metric(study.space.metric)
    tested = (trial for trial in study.ranked()[:BEST] if trial.test_scores)
    text = next((against_baselines(trial.name, metric, trial.folder, study.folder) for trial in tested), "")
    return Section(screen=[Text(text, style="dim")]) if text else None


def _tested_metric(metric: str) -> str:
    """The test score that corresponds to the search's metric."""
    return f"test/{metric.removeprefix('val/')}" if metric.startswith("val/") else "test/knn/fused"
