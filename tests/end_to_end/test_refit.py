"""A search whose finalists are refit: killed while it refits, resumed, and the same as one that was not."""

import json
import re
import signal

import pytest

from cmd_tune.train.checkpoint import load_checkpoint
from tests.end_to_end.searches import GRID, finish, mlflow_runs, search, start, trials, wait_for

pytestmark = [pytest.mark.long, pytest.mark.slow]


def epochs(folder):
    history = folder / "history.jsonl"
    return history.read_text().count("\n") if history.exists() else 0


def test_a_kill_while_finalists_are_refit_loses_nothing(tiny_store, tmp_path):
    space = {**GRID, "refit": {"seeds": [0, 5]}}
    process = search(tmp_path, tiny_store, space, "--concurrent", "1", epochs=12)
    folder = tmp_path / "runs" / "it"

    def refits():
        return sorted(folder.glob("trials/*/refit-*"))

    wait_for(lambda: len(refits()) >= 2 and 3 <= epochs(max(refits(), key=lambda p: p.stat().st_ctime)) < 12, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {path: (path / "test.json").read_bytes() for path in refits() if (path / "test.json").exists()}
    assert kept

    resume = ["-m", "cmd_tune", "search", "--resume", "it"]
    output = finish(start(*resume, cwd=tmp_path))
    assert "\nrefit: then the best 3 again on all 48, 6 runs: 267 % as much work as 3 whole trials\n" in output
    assert not re.search(r"^trial-\d+ (starts|resumes)", output, re.MULTILINE)
    assert len(re.findall(r"^refit of trial-\d+, seed [05] resumes after epoch \d+$", output, re.MULTILINE)) == 1
    assert len(refits()) == 6
    assert {path: (path / "test.json").read_bytes() for path in kept} == kept
    rows = trials(tmp_path)
    for row in rows:
        scores = []
        for seed in (0, 5):
            place = folder / "trials" / row["trial"][-3:] / f"refit-{seed}"
            assert epochs(place) == 12
            checkpoint = load_checkpoint(place / "checkpoint.pt")
            assert (checkpoint["settings"]["holdout"], checkpoint["settings"]["seed"]) == ("none", seed)
            scores.append(json.loads((place / "test.json").read_text())["test/knn/fused"])
        assert float(row["test/knn/fused"]) == pytest.approx(sum(scores) / 2, abs=0.006)
        own = json.loads((folder / "trials" / row["trial"][-3:] / "test.json").read_text())
        assert float(row["before_refit/test/knn/fused"]) == pytest.approx(own["test/knn/fused"], abs=0.006)

    client, runs = mlflow_runs(tmp_path)
    for row in rows:
        metrics = runs[row["trial"]].data.metrics
        for name in ("test/knn/fused", "before_refit/test/knn/fused"):
            assert metrics[name] == pytest.approx(float(row[name]), abs=0.011)
        assert metrics["cost/epochs"] == 3 * 12
    best = (folder / "best.yaml").read_text().splitlines()
    assert re.match(r"# test/knn/fused [\d.]+ after its refit on the whole training set, seed 0, 5: trials/", best[1])
    trial = re.search(r"trials/(\d+)/refit-0/checkpoint.pt;", best[1])[1]
    kept = client.list_artifacts(runs[f"trial-{trial}"].info.run_id)
    assert "checkpoint.pt" in {file.path for file in kept}
    again = finish(start(*resume, cwd=tmp_path))
    assert "is finished; nothing is left to run" in again
    assert trials(tmp_path) == rows
