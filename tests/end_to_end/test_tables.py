"""Tables, and searches that stop trials early."""

import csv
import json
import re
import signal
from collections import Counter
from itertools import product

import pytest
import yaml

from tests.end_to_end.searches import GRID, epochs_done, finish, mlflow_runs, search, start, trials, wait_for

pytestmark = [pytest.mark.long, pytest.mark.slow]


def test_trials_that_are_stopped_early_have_no_rank_and_a_finite_space_is_run_whole(tiny_store, tmp_path):
    space = {
        **GRID,
        "method": "tpe",
        "parameters": {"weight_decay": {"values": [0.0, 1e-4, 1e-3, 1e-2, 1e-1]}},
        "constraints": ["weight_decay < 0.1"],
        "early_terminate": {"type": "asha", "grace_period": 1, "reduction_factor": 2},
        "metric": {"name": "loss/total", "goal": "minimize"},
        "budget": {"trials": 7},
    }
    output = finish(search(tmp_path, tiny_store, space, "--concurrent", "1"))
    assert "\n4 of 7 trials: all 4 configurations that the space allows have been run\n" in output
    rows = trials(tmp_path)
    stopped = [row for row in rows if row["state"] == "stopped early"]
    assert stopped
    assert all(int(row["epoch"]) < 4 for row in stopped)
    ranked = sorted((row for row in rows if row not in stopped), key=lambda row: float(row["loss/total"]))
    assert [row["rank"] for row in ranked] == [str(rank) for rank in range(1, len(ranked) + 1)]
    assert {row["rank"] for row in stopped} == {""}
    head = (tmp_path / "runs" / "it" / "best.yaml").read_text().splitlines()[0]
    assert head.startswith(f"# {ranked[0]['trial']} of it: loss/total ")
    client, runs = mlflow_runs(tmp_path)
    assert runs["it"].info.status == "FINISHED"
    assert runs["it"].data.tags["cmd_tune.reason"] == "all 4 configurations that the space allows have been run"
    kept = {name for name in runs if "checkpoint.pt" in {f.path for f in client.list_artifacts(runs[name].info.run_id)}}
    assert kept == {ranked[0]["trial"]}
    assert {runs[row["trial"]].info.status for row in rows} == {"FINISHED"}
    states = {row["trial"]: runs[row["trial"]].data.tags["cmd_tune.state"] for row in rows}
    assert states == {
        row["trial"]: f"stopped early after epoch {row['epoch']} of 4" if row in stopped else "finished" for row in rows
    }
    assert all(row["test/knn/fused"] == "" for row in stopped)  # the test set is for finalists


TABLE = {
    "method": "cells",
    "metric": {"name": "test/knn/joint", "goal": "maximize"},
    "title": "Two cells",
    "cells": [
        {"student_temperature": 0.1, "reported": {"test/knn/joint": 70.6}},
        {"student_temperature": 0.5, "reported": {"test/knn/joint": 64.3}},
    ],
    "reported_on": {"by": "us", "dataset": "synthetic", "protocol": "xview", "probes": {"knn": "1-NN"}},
    "seeds": [0, 1, 2],
    "claims": [{"says": "sharp is best", "best": {"student_temperature": 0.1}}],
}


def test_a_table_is_killed_and_gets_more_seeds_and_runs_nothing_twice(tiny_store, tmp_path):
    process = search(tmp_path, tiny_store, {**TABLE, "seeds": [0]}, "--concurrent", "1")
    wait_for(lambda: epochs_done(tmp_path, 1) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    resume = ["-m", "cmd_tune", "search", "--resume", "it"]
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TABLE))
    output = finish(start(*resume, "--space", "space.yaml", cwd=tmp_path))
    resumed, *started = re.findall(r"^trial-\d+ (?:starts|resumes).*$", output, re.MULTILINE)
    assert re.fullmatch("trial-001 resumes after epoch [23]: student_temperature 0.5, seed 0", resumed)
    assert started == [
        f"trial-{index:03d} starts: student_temperature {temperature}, seed {seed}"
        for index, (seed, temperature) in enumerate(product((1, 2), (0.1, 0.5)), 2)
    ]
    rows = trials(tmp_path)
    assert [(row["student_temperature"], row["seed"], row["epoch"]) for row in rows] == [
        (temperature, seed, "4") for seed in "012" for temperature in ("0.1", "0.5")
    ]
    assert all(row["test/knn/joint"] for row in rows)
    assert not [name for name in rows[0] if name.startswith("val/")]  # nothing was held out
    assert "\npretraining on all 48 training clips of synthetic xview\n" in output

    folder = tmp_path / "runs" / "it"
    tested = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/test.json")}
    assert "starts" not in finish(start(*resume, cwd=tmp_path)).replace("starting Ray", "")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/test.json")} == tested
    assert len(tested) == 6
    assert trials(tmp_path) == rows

    with open(folder / "cells.csv") as file:
        cells = list(csv.DictReader(file))
    for cell in cells:
        scores = [float(r["test/knn/joint"]) for r in rows if r["student_temperature"] == cell["student_temperature"]]
        assert (cell["metric"], cell["seeds"]) == ("test/knn/joint", "3")
        assert float(cell["mean"]) == pytest.approx(sum(scores) / 3, abs=0.006)
        assert float(cell["difference"]) == pytest.approx(sum(scores) / 3 - float(cell["reported"]), abs=0.006)
    report = (folder / "report.md").read_text()
    assert "6 of 6 trials finished. Test set: 24 clips" in report
    assert "\nPretrained on all 48 training clips.\n" in report
    assert len(json.loads((folder / "looks.json").read_text())) == 1  # the last session showed the same scores again
    assert not (folder / "best.yaml").exists()

    client, runs = mlflow_runs(tmp_path)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert len(runs) == 9
    for row in rows:
        run = runs[row["trial"]]
        own = {"student_temperature": row["student_temperature"], "seed": row["seed"]}
        assert run.data.params.items() >= own.items()
        steps = Counter(point.step for point in client.get_metric_history(run.info.run_id, "loss/total"))
        assert steps == {1: 1, 2: 1, 3: 1, 4: 1}
        assert run.data.metrics["test/knn/joint"] == pytest.approx(float(row["test/knn/joint"]), abs=0.011)
    names = {file.path for file in client.list_artifacts(runs["it"].info.run_id)}
    assert names >= {"report.md", "cells.csv", "table.png", "trials.csv", "baselines.yaml"}
