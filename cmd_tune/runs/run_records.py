"""The parts of a snapshot that all runs share: cost, data, a note, the columns of the UI."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from cmd_tune.formatting import rounded
from cmd_tune.remote_files import Place
from cmd_tune.tracking import DataInput, Page
from cmd_tune.train.costs import SECONDS

SCORES = ("val/knn/fused", "test/knn/fused")  # metrics that have a column in the UI
EPOCHS = "cost/epochs"


def cost(history: Iterable[Mapping[str, float]], *, workers: int = 1, cpus: float, gpus: float) -> dict[str, float]:
    """Epochs, seconds of training, and hours of the CPUs and GPUs that the workers held meanwhile."""
    seconds = [record.get("seconds", 0.0) for record in history]
    hours = sum(seconds) * workers / 3600
    costs = {EPOCHS: float(len(seconds)), SECONDS: round(sum(seconds), 1)}
    costs["cost/cpu_hours"] = round(hours * cpus, 4)
    return costs | ({"cost/gpu_hours": round(hours * gpus, 4)} if gpus else {})


def rounded_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics as the tracker is shown them; the run's folder has all digits. Epochs and seconds stay as they are."""
    return {name: rounded(value) if "/" in name else value for name, value in metrics.items()}


def main_scores(names: Iterable[str]) -> list[str]:
    """The accuracies of the joint stream and of the fused stream, of these names."""
    return [name for name in names if name.startswith(("val/", "test/")) and name.endswith(("/joint", "/fused"))]


def data_input(
    dataset: str, fingerprint: str, place: Place, protocol: str, normalization: str, *, context: str = "training"
) -> DataInput:
    """The data set of a run, by its name, its content and where it lies. context: what for, in a word."""
    profile = {"protocol": protocol} | ({"normalization": normalization} if normalization else {})
    return DataInput(dataset, fingerprint, str(place), profile, context)


def scores_page() -> Page:
    """The columns of a run that is no search."""
    return Page((*SCORES, SECONDS))


def run_note(kind: str, folder: Path, contents: str, resume: str) -> str:
    """The note of a run that is no trial, in Markdown. resume: the command that goes on with it."""
    return f"{kind}\n\nFolder: `{folder}` ({contents})\n\nGo on with it: `{resume}`"
