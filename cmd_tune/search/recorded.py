"""What MLflow gets of a run beside its scores: what it cost, what a person is told of it, which columns are shown."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from cmd_tune.search.display import shown
from cmd_tune.search.folders import resume_line
from cmd_tune.search.machine import Machine
from cmd_tune.search.mlflow_writer import NOTE
from cmd_tune.search.page import Page
from cmd_tune.search.plan import Plan
from cmd_tune.search.study import Entry
from cmd_tune.train.loop import CHECKPOINT

STATE = "cmd_tune.state"  # tag: a trial's state in words; MLflow calls one that was stopped early "killed"
_SCORES = ("val/knn/fused", "test/knn/fused")
_SECONDS = "cost/seconds"
_PARAMETERS = 4  # that have a column in the UI; the others are behind its button *Columns*


def cost(history: Iterable[Mapping[str, float]], *, workers: int = 1, cpus: float, gpus: float) -> dict[str, float]:
    """Epochs, seconds of training, and the hours of CPUs and GPUs that its workers held meanwhile."""
    seconds = [record.get("seconds", 0.0) for record in history]
    hours = sum(seconds) * workers / 3600
    costs = {"cost/epochs": float(len(seconds)), _SECONDS: round(sum(seconds), 1)}
    costs["cost/cpu_hours"] = round(hours * cpus, 4)
    return costs | ({"cost/gpu_hours": round(hours * gpus, 4)} if gpus else {})


def main_scores(names: Iterable[str]) -> list[str]:
    """Of accuracies by their names, those that stand for all: of the joints alone and of all modalities fused."""
    return [name for name in names if name.startswith(("val/", "test/")) and name.endswith(("/joint", "/fused"))]


def search_page(plan: Plan) -> Page:
    """The trials of a search, best first; those of a table as they came."""
    space, metric = plan.space, plan.space.metric
    order = "" if space.table else metric
    metrics = (*dict.fromkeys((metric, *_SCORES)), _SECONDS)
    return Page(metrics, tuple(space.parameters)[:_PARAMETERS], order, not space.maximize)


def scores_page() -> Page:
    """A run that is no search: its scores."""
    return Page((*_SCORES, _SECONDS))


def run_note(kind: str, folder: Path, contents: str, command: str) -> str:
    """What the UI shows of a run that is no trial, in Markdown."""
    return f"{kind}\n\nFolder: `{folder}` ({contents})\n\nGo on with it: `{resume_line(command, folder)}`"


def search_tags(plan: Plan, machine: Machine) -> dict[str, str]:
    """The note of a search."""
    space = plan.space
    goal = "highest" if space.maximize else "lowest"
    chosen = f"Method {space.method}, {plan.trials} trials over {', '.join(space.parameters)}"
    judged = "" if space.table else f"; the best has the {goal} {space.metric}"
    what = f"{chosen}{judged}. Preset {plan.preset}, {plan.settings.epochs} epochs; {machine}."
    return {NOTE: run_note(what, plan.folder, "search.yaml, trials.csv, trials/", "search")}


def trial_tags(entry: Entry) -> dict[str, str]:
    """The state and the note of a trial."""
    values = ", ".join(f"{name} {shown(value)}" for name, value in entry.values.items())
    what = f"{entry.name} of {entry.folder.parents[1].name}: {values}."
    return {STATE: str(entry.state), NOTE: f"{what}\n\nFolder: `{entry.folder}` (history.jsonl, {CHECKPOINT})"}
