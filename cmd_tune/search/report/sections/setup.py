"""The head of a comparison's report: its title, the data, how many trials finished, and why others did not."""

from cmd_tune.data.splits import PROTOCOLS
from cmd_tune.evaluate.tally import read_tally
from cmd_tune.formatting import markdown_text, named_values
from cmd_tune.runs.pretrain_and_score import UNTRAINED_TALLY, Conditions
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.spaces.comparison import Comparison
from cmd_tune.search.study.trial_record import NO_RESULT, TrialState


def setup(findings: StudyFindings) -> Section | None:
    """None for a search."""
    if findings.comparison is None:
        return None
    study, comparison, conditions = findings.study, findings.comparison.stated, findings.conditions
    wanted = list(comparison.trials())
    trials = study.trials.values()
    finished = [trial for trial in trials if trial.values in wanted and trial.state is TrialState.FINISHED]
    seeds = ", ".join(str(seed) for seed in comparison.seeds)
    family = f"normalised as {conditions.normalization}, " if conditions.normalization else ""
    clips = conditions.queries.get("test", 0)
    pretrained = _pretrained(comparison, conditions)
    paragraphs = [
        f"# {markdown_text(comparison.title or study.folder.name)}",
        f"{conditions.dataset}, {conditions.protocol}, {family}preset {study.preset}, {study.base.epochs} epochs, "
        f"seeds {seeds}: {len(finished)} of {len(wanted)} trials finished."
        + (f" Test set: {clips} clips; one is {100 / clips:.2f} points." if clips else ""),
        *([pretrained] if pretrained else []),
    ]
    if tally := read_tally(study.folder / UNTRAINED_TALLY):
        paragraphs.append(f"Intervals of baselines, and of cells with one seed, are {tally.describe()}.")
    without = [trial for trial in trials if trial.state in NO_RESULT]
    paragraphs += [
        markdown_text(f"{trial.name} {trial.state} ({named_values(trial.values)}): {trial.reason}") for trial in without
    ]
    return Section("\n\n".join(paragraphs))


def _pretrained(comparison: Comparison, ours: Conditions) -> str:
    """How many clips the cells were pretrained on, and how many those of the reported accuracies were, if known."""
    if not ours.training:
        return ""
    if any("holdout" in cell.values for cell in comparison.cells):
        return f"Pretrained on what each cell's holdout leaves of the {ours.training:,} training clips."
    clips = "all" if ours.pretrained == ours.training else f"{ours.pretrained:,} of the"
    text = f"Pretrained on {clips} {ours.training:,} training clips"
    origin = comparison.origin
    theirs = PROTOCOLS.get(origin.dataset, {}).get(origin.protocol) if origin else None
    if origin and theirs and theirs.published:
        text += f"; {origin.by}: on {theirs.published[0]:,} of {origin.dataset} {origin.protocol}"
    return f"{text}."
