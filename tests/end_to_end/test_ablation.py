"""A search that runs the path from its start point to its best trial: killed in the middle of it, and resumed."""

import json
import re
import signal
from itertools import pairwise

import pytest

from tests.end_to_end.searches import finish, mlflow_runs, search, start, trials, wait_for

pytestmark = [pytest.mark.long, pytest.mark.slow]

# The loss of the second point is smaller, since it has no term between the modalities.
SPACE = {
    "method": "random",
    "metric": {"name": "loss/total", "goal": "minimize"},
    "parameters": {
        "objective": {"values": ["cmd", "base"]},
        "learning_rate": {"values": [0.001, 0.002]},
        "key_momentum": {"values": [0.9, 0.97]},
    },
    "points_to_evaluate": [
        {"objective": "cmd", "learning_rate": 0.001, "key_momentum": 0.9},
        {"objective": "base", "learning_rate": 0.002, "key_momentum": 0.97},
    ],
    "budget": {"trials": 2},
    "confirm": "none",
    "refit": "none",
    "ablation": {"seeds": 1},
}
EPOCHS = 12


def epochs(folder):
    history = folder / "history.jsonl"
    return history.read_text().count("\n") if history.exists() else 0


def test_a_kill_in_the_middle_of_the_path_loses_nothing(tiny_store, tmp_path):
    process = search(tmp_path, tiny_store, SPACE, "--concurrent", "1", epochs=EPOCHS)
    folder = tmp_path / "runs" / "it"
    second = folder / "trials" / "001" / "ablation-1-1"
    wait_for(lambda: 3 <= epochs(second) < EPOCHS, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first = folder / "trials" / "001" / "ablation-0-1" / "history.jsonl"
    kept = first.read_bytes()

    resume = ["-m", "cmd_tune", "search", "--resume", "it"]
    output = finish(start(*resume, cwd=tmp_path))
    path = "objective, then learning_rate, then key_momentum"
    assert f"\nablation: from the start point (trial-000) to trial-001: {path}\n" in output
    assert "fresh seeds, 3 runs\n" in output
    assert not re.search(r"^trial-\d+ (starts|resumes)", output, re.MULTILINE)
    assert len(re.findall(r"^ablation step 1 to trial-001, seed 1 resumes after epoch \d+$", output, re.MULTILINE)) == 1
    assert first.read_bytes() == kept
    ran = sorted(folder.glob("trials/001/ablation-*"))
    assert [(run.name, epochs(run)) for run in ran] == [(f"ablation-{n}-1", EPOCHS) for n in range(4)]
    assert list(folder.glob("trials/*/ablation-*/*.pt")) == []

    report = (folder / "report.md").read_text()
    assert "From the start point to trial-001, loss/total goes from" in report
    assert "![From the start point to the best trial, one parameter changed after the other](ablation.png)" in report
    listed = json.loads((folder / "trials.json").read_text())[1]["ablation"]
    losses = [json.loads((run / "history.jsonl").read_text().splitlines()[-1])["loss/total"] for run in ran]
    assert [step["scores"]["1"] for step in listed] == [pytest.approx(loss, rel=1e-5) for loss in losses]
    assert [step["difference"] and step["difference"]["mean"] for step in listed] == [
        None, *(pytest.approx(after - before, rel=1e-4) for before, after in pairwise(losses)),
    ]  # fmt: skip
    _, runs = mlflow_runs(tmp_path)
    assert runs["trial-001"].data.metrics["cost/epochs"] == 5 * EPOCHS
    rows = trials(tmp_path)
    assert "is finished; nothing is left to run" in finish(start(*resume, cwd=tmp_path))
    assert trials(tmp_path) == rows
