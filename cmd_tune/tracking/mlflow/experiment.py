"""The experiment that a run is recorded in: found, brought back if somebody deleted it, or made."""

from pathlib import Path
from typing import Any

NOTE = "mlflow.note.content"  # tag that is shown as the description, of experiments and of runs
_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on prompts and traces


def find_or_make(client: Any, name: str, files: Path | None) -> tuple[Any, str]:
    """The experiment of a name, active. Returns it, and what was done: "", "restored" or "made".

    files: the folder of its artifacts; None: the server's own choice. Others may do the same at the same time.
    """
    tags = {**_TRAINING, NOTE: _EXPERIMENT_NOTE}
    found, done = client.get_experiment_by_name(name), ""
    try:
        if found is None:
            done = "made"
            client.create_experiment(name, files.absolute().as_uri() if files else None, tags)
        elif found.lifecycle_stage == "deleted":
            done = "restored"
            client.restore_experiment(found.experiment_id)
    except Exception:
        again = client.get_experiment_by_name(name)
        if again is None or again.lifecycle_stage == "deleted":
            raise
    if done:
        found = client.get_experiment_by_name(name)
    for tag, value in tags.items():
        if tag not in found.tags:
            client.set_experiment_tag(found.experiment_id, tag, value)
    return found, done


_EXPERIMENT_NOTE = """\
Pretraining runs of cmd_tune on one data set under one protocol. A search is a run; its trials are the runs inside it.

* `val/…` and `test/…`: percent right, by k-nearest neighbours or a linear probe, of each modality and of all fused.
  Trials are chosen by `val`; `test` is scored for finalists, once, at the last epoch.
* `loss/…`: means over an epoch's steps, in all and by modality.
* `cost/…`: training time over all epochs, and CPUs and GPUs held for as long.

Every other number is in the folder of the run, which its description names."""
