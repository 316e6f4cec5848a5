"""What fails in a search, in its midst or at its end."""

import re
import shlex
import shutil
from types import SimpleNamespace

import pytest

from tests.end_to_end.searches import GRID, epochs_done, finish, mlflow_runs, search, start, trials, wait_for

pytestmark = [pytest.mark.long, pytest.mark.slow]


def test_what_fails_at_the_end_is_named_and_the_rest_is_done(tiny_store, tmp_path):
    """A finalist without a checkpoint, a file that cannot be written."""
    process = search(tmp_path, tiny_store, GRID, "--concurrent", "1")
    wait_for(lambda: epochs_done(tmp_path, 1) >= 1, process)
    folder = tmp_path / "runs" / "it"
    (folder / "trials" / "000" / "checkpoint.pt").unlink()
    (folder / "best.yaml").mkdir()
    output = finish(process, 1)
    lines = output.splitlines()
    assert f"test of trial-000: {folder / 'trials' / '000' / 'checkpoint.pt'}: no such checkpoint" in lines
    assert f"best.yaml: {folder / 'best.yaml'}: cannot be written: Is a directory" in lines
    assert lines[-1].startswith("error: test of trial-000, best.yaml: failed, the rest is done")
    assert [bool(row["test/knn/fused"]) for row in trials(tmp_path)] == [False, True, True]
    assert (folder / "baselines.yaml").is_file()
    assert any(line.startswith("untrained ") for line in lines)
    _, runs = mlflow_runs(tmp_path)
    assert {name: run.info.status for name, run in runs.items()} == {
        "it": "FAILED", "trial-000": "FINISHED", "trial-001": "FINISHED", "trial-002": "FINISHED",
        "untrained encoder": "FINISHED", "raw skeletons, 1-NN": "FINISHED",
    }  # fmt: skip


def test_a_search_that_cannot_go_on_ends_in_order_and_is_resumed(tiny_store, tmp_path):
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 0.02, 0.05, 0.1, 0.2, 0.3]}}}
    data, away = tmp_path / "data.arrow", tmp_path / "away.arrow"
    shutil.copy(tiny_store.path, data)
    process = search(tmp_path, SimpleNamespace(path=data), space, "--concurrent", "1")
    wait_for(lambda: epochs_done(tmp_path, 0) >= 1, process)
    data.rename(away)
    lines = finish(process, 1).splitlines()
    assert lines[-1].startswith(
        f"error: 3 trials in a row failed alike, the last since {data}: no such file; make one with"
    )
    assert [row["state"] for row in trials(tmp_path)] == ["finished", "failed", "failed", "failed"]
    resume = shlex.split(lines[-1].partition("go on with: ")[2])

    away.rename(data)  # a resume tries the three again, before the last two
    process = start(*resume[1:], cwd=tmp_path)
    wait_for(lambda: epochs_done(tmp_path, 3) >= 1, process)
    history = tmp_path / "runs" / "it" / "trials" / "005" / "history.jsonl"
    history.mkdir(parents=True)
    output = finish(process, 1)
    assert output.splitlines()[-1].startswith(f"error: {history}: cannot be written: Is a directory; mend that, and go")
    assert "Traceback" not in output
    assert [row["state"] for row in trials(tmp_path)] == ["finished"] * 5 + ["unfinished"]
    _, runs = mlflow_runs(tmp_path)
    assert {name for name, run in runs.items() if run.info.status != "FINISHED"} == {"it", "trial-005"}
    assert (runs["it"].info.status, runs["trial-005"].info.status) == ("FAILED", "KILLED")

    history.rmdir()
    output = finish(start(*resume[1:], cwd=tmp_path))
    assert re.findall(r"^trial-\d+ (?:starts|resumes)", output, re.MULTILINE) == ["trial-005 starts"]
    assert [(row["state"], row["epoch"]) for row in trials(tmp_path)] == [("finished", "4")] * 6
    _, runs = mlflow_runs(tmp_path)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
