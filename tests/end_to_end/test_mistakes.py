"""What is known to be wrong at the start."""

import os

import pytest

from cmd_tune.errors import CmdTuneError
from tests.end_to_end.searches import GRID, REPOSITORY, finish, search, start
from tests.typed import refused

pytestmark = pytest.mark.long

BAD = {
    "--space tmps.yaml": "--space tmps.yaml: no such file, nor a search space of that name; did you mean 'temps'?",
    "--space temps.yaml --data gone.arrow": "gone.arrow: no such file; make one with 'python -m cmd_tune ingest'",
    "--space temps.yaml --preset papr": "preset: 'papr' is unknown, did you mean 'paper'?",
    "--space temps.yaml --set quue_size=5": "--set: unknown setting 'quue_size', did you mean 'queue_size'?",
    "--space temps.yaml --set epochs": "--set epochs: expected key=value",
    "--space temps.yaml --set epochs=0": "--set: epochs = 0: should be greater than or equal to 1",
    "--space temps.yaml --set topk=600": "topk 600 exceeds queue_size 192",
    "--space temps.yaml --set student_temperature=1": "--set student_temperature: is a parameter of",
    "--space temps.yaml --set batch_size=8 --workers 5": "--workers 5: batch_size 8 is not a multiple of it; take",
    "--space temps.yaml --set batch_size=36 --cpus 2 --workers 18": "--workers 18: 18 workers do not fit on 2",
    "--space temps.yaml --set batch_size=8 --cpus 2 --concurrent 9": "--concurrent 9: 9 workers do not fit on 2 CPUs",
    "--space temps.yaml --cpus 2 --address auto": "--cpus: is for this machine, and the cluster at --address counts",
    "--space temps.yaml --set batch_size=64": "batch_size 64: there are only 36 clips to pretrain on; make it smaller",
    "--space temps.yaml --set batch_size=8 --name a/b": "--name a/b: use letters, digits",
    "--resume it --set epochs=3": "--set: a resumed run keeps its own; leave it out, or start a new one",
    "--resume nothing": "--resume nothing: runs has no such run; there are none",
    "": "--space: name a space file, for instance --space temps.yaml",
}


def test_a_cluster_that_is_not_there_is_named_at_once(tiny_store, tmp_path):
    output = finish(search(tmp_path, tiny_store, GRID, "--address", "127.0.0.1:9"), 1)
    assert output.splitlines()[-1].startswith("error: --address 127.0.0.1:9: nobody answers there")
    assert os.listdir(tmp_path / "runs") == []


def test_several_mistakes_are_a_line_each(tiny_store, tmp_path):
    words = ["--space", "temps", "--data", tiny_store.path, "--set", "epochs=0", "--set", "quue_size=5"]
    output = finish(start(REPOSITORY / "run_search.py", *words, cwd=tmp_path), 2)
    assert output.splitlines() == [
        "error: --set: unknown setting 'quue_size', did you mean 'queue_size'?",
        "error: --set: epochs = 0: should be greater than or equal to 1",
    ]


@pytest.mark.parametrize("words", BAD, ids=list(BAD))
def test_a_mistake_ends_in_one_line_and_exit_code_2(words, tiny_store, tmp_path, monkeypatch):
    """In this process; the two above show that the line and the code come out of it."""
    data = [] if "--data" in words or "--resume" in words else ["--data", str(tiny_store.path)]
    monkeypatch.chdir(tmp_path)
    error = refused("search", *words.split(), *data, kind=CmdTuneError)
    assert error.exit_code == (1 if "gone.arrow" in words else 2)
    (line,) = error.lines
    assert BAD[words] in line
    assert not (tmp_path / "runs").exists() or not os.listdir(tmp_path / "runs")
