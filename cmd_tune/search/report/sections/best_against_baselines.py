"""The best tested trial of a search against the baselines, with intervals."""

from cmd_tune.formatting import markdown_text
from cmd_tune.runs.baseline_comparison import against_baselines
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.metrics import tested_metric
from cmd_tune.search.report.sections.best_trials import BEST


def best_against_baselines(findings: StudyFindings) -> Section | None:
    """None for a comparison, and if no trial was tested or its right answers were not counted."""
    if findings.comparison:
        return None
    study = findings.study
    metric = tested_metric(study.space.metric)
    runs = (run for trial in study.ranked()[:BEST] for run in (*trial.refits.values(), trial) if run.test_scores)
    text = next((against_baselines(run.name, metric, run.folder, study.folder) for run in runs), "")
    return Section(markdown_text(text)) if text else None
