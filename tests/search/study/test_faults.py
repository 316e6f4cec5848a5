"""What kills and damage leave of a study: nothing is shifted, lost or made worse."""

import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from functools import partial
from itertools import count
from math import log
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import event

from cmd_tune.errors import CmdTuneError
from cmd_tune.search.study.study import STUDY
from cmd_tune.search.study.trial_record import TrialState

FINITE = {"key_momentum": {"values": [0.9, 0.97, 0.99]}, "layers": {"values": [1, 2, 3]}}
RULED = {"queue_size": {"values": [16, 32, 64, 128]}, "topk": {"values": [16, 32, 64, 128]}}
GRID = {"method": "grid", "parameters": FINITE, "points_to_evaluate": None, "budget": None}
RANDOM = {"method": "random", "parameters": RULED, "constraints": ["topk <= queue_size"], "points_to_evaluate": None}
FREE = {"method": "random"}
TPE_RULED = {**RANDOM, "method": "tpe"}
TWO_METRICS = {**TPE_RULED, "metric": None, "metrics": [{"name": "val/knn/fused"}, {"name": "cost/parameters"}]}


def score(values):
    """A made-up accuracy, which the values alone decide."""
    return sum(map(float, values.values()))


def play(study, at_once):
    """Runs all trials of a study, so many at a time, the oldest to its end first."""
    running = []
    while True:
        while len(running) < at_once and (trial := study.next()):
            running.append(trial)
        if not running:
            return
        trial = running.pop(0)
        for epoch in range(1, study.epochs_of(trial) + 1):
            cost = sum(map(float, trial.values.values())) % 50
            metrics = {"loss/total": 1.0, "val/knn/fused": score(trial.values), "cost/parameters": cost}
            study.record(trial, {"epoch": epoch, **metrics})
        study.end(trial)


def in_a_process(work):
    """Runs work in a process of its own, and waits for its end; returns whether it was killed."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def kill_at(commit, study):
    """Has this process killed right before, or right after, a commit to the study's file; counted from 1."""
    seen = 0
    before, number = commit % 2, (commit + 1) // 2
    engine = study._study._storage._backend.engine

    def on_commit(*_):
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    if before:
        event.listen(engine, "commit", on_commit)
    else:  # the commit has happened once the connection is returned
        event.listen(engine, "checkin", on_commit)


def values_of(study):
    return [trial.values for trial in study.trials.values()]


@pytest.fixture
def open_here(make_space, open_study):
    return lambda space, trials, **more: open_study(make_space(**space), trials=trials, epochs=1, **more)


@pytest.mark.parametrize(
    ("space", "trials", "at_once", "every"),
    [(GRID, 9, 3, 19), (RANDOM, 9, 2, 19), (FREE, 5, 3, 11), (TPE_RULED, 9, 1, 23), (TWO_METRICS, 9, 2, 23)],
    ids=["grid", "random, ruled", "random", "tpe", "two metrics"],
)
def test_a_search_that_is_killed_again_and_again_has_the_trials_of_one_that_is_not(
    open_here, tmp_path, space, trials, at_once, every
):
    """Each session is killed some commits later after its start than the one before, until one comes to the end."""
    whole = open_here(space, trials)
    play(whole, at_once)
    expected = values_of(whole)
    assert len(expected) == trials
    shutil.rmtree(tmp_path / "search")

    def session(kills):
        study = open_here(space, trials)
        kill_at(3 + every * kills, study)
        play(study, at_once)

    kills = 0
    while in_a_process(partial(session, kills)):
        kills += 1
    assert kills > 2
    study = open_here(space, trials)
    assert values_of(study) == expected
    assert {trial.state for trial in study.trials.values()} == {TrialState.FINISHED}
    assert {trial.score("val/knn/fused") for trial in study.trials.values()} == set(map(score, expected))


@pytest.mark.parametrize(("space", "step"), [(GRID, 1), (TPE_RULED, 17)], ids=["grid", "tpe"])
def test_a_kill_between_any_two_commits_of_a_start_changes_nothing(open_here, tmp_path, space, step):
    """Of the sixth trial; before it, tpe has suggestions rejected, and tells some of them to Optuna."""
    play(open_here(space, 6), 1)
    expected = values_of(open_here(space, 6))
    shutil.rmtree(tmp_path / "search")
    play(open_here(space, 5), 1)
    shutil.move(tmp_path / "search", tmp_path / "five")

    def session(point):
        study = open_here(space, 6)
        kill_at(point, study)
        study.next()

    for point in count(1, step):
        shutil.rmtree(tmp_path / "search", ignore_errors=True)
        shutil.copytree(tmp_path / "five", tmp_path / "search")
        killed = in_a_process(partial(session, point))
        study = open_here(space, 6)
        assert study.next().values == expected[5], point
        assert study.next() is None
        if not killed:
            break
    assert point > 5


def test_the_draws_of_a_search_are_as_independent_as_those_of_one_stream(open_here):
    """Of 100 random trials: each temperature is spread evenly over its range, and neither tells the other."""
    space = {**FREE, "points_to_evaluate": None}
    study = open_here(space, 100)
    while study.next():
        pass
    ranges = {"teacher_temperature": (0.01, 0.2), "student_temperature": (0.05, 1.0)}
    places = {
        name: [log(values[name] / low) / log(high / low) for values in values_of(study)]
        for name, (low, high) in ranges.items()
    }
    for places_of_one in places.values():
        tenths = [sum(int(10 * place) == tenth for place in places_of_one) for tenth in range(10)]
        assert sum((count - 10) ** 2 / 10 for count in tenths) < 27.9  # chi squared of 9 degrees, one in a thousand
    one, other = places.values()
    pairs = sum((a - 0.5) * (b - 0.5) for a, b in zip(one, other, strict=True)) / 100 * 12
    assert abs(pairs) < 3.3 / 100**0.5


# Damage: one line each, and no file is changed


@pytest.fixture
def begun(open_here, tmp_path):
    """A search of four random trials: two finished, one running, one not begun. Returns its folder."""
    study = open_here(FREE, 4)
    for index in range(3):
        trial = study.next()
        study.record(trial, {"epoch": 1, "loss/total": 1.0, "val/knn/fused": 10.0 + index})
        if index < 2:
            study.end(trial)
    return tmp_path / "search"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def foreign(path):
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("create table songs (name text)")
    other.close()


def of_another_study(path):
    with sqlite3.connect(path) as other:
        other.execute("update studies set study_name = 'mine'")
    other.close()


def scribbled(path):
    content = bytearray(path.read_bytes())
    for place in range(4096, len(content), 3):
        content[place] ^= 0x5A
    path.write_bytes(content)


def with_rows(*commands):
    """Rows that SQLite takes and no search writes."""

    def damage(path):
        with sqlite3.connect(path) as other:
            for words in commands:
                other.execute(words)
        other.close()

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (with_rows("drop table trials"), "is damaged (no table trials)"),
        (with_rows("update trials set state = 'x'"), "is damaged (LookupError: "),
        (with_rows("delete from trials"), "is damaged (ValueError: it has nothing of trial 0, which has run)"),
        (with_rows("drop table trial_user_attributes"), "is damaged (no table trial_user_attributes)"),
        (
            with_rows("update trial_user_attributes set value_json = '['"),
            "is damaged (JSON",
        ),
        (
            with_rows("delete from trial_user_attributes where key = 'values'"),
            "is damaged (ValueError: it has nothing of trial 0, which has run)",
        ),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "is damaged (database disk image is malformed)"),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "is damaged ("),
        (lambda path: path.write_text("notes\n" * 1000), "is damaged ("),
        (scribbled, "is damaged ("),
        (lambda path: path.write_bytes(b""), "is empty, and with it what 3 trials were and scored"),
        (lambda path: path.unlink(), "is missing, and with it what 3 trials were and scored"),
        (foreign, "is not the study of this search but holds tables songs"),
        (of_another_study, "is not the study of this search but holds studies mine"),
    ],
)
def test_a_damaged_study_is_refused_in_one_line(begun, open_here, damage, said):
    damage(begun / STUDY)
    before = contents(begun)
    with pytest.raises(CmdTuneError) as caught:
        open_here(FREE, 4)
    assert f"{begun / STUDY}: {said}" in str(caught.value)
    assert str(caught.value).endswith(
        "restore it from a copy, or start a new search; the trials' checkpoints stay where they are"
    )
    assert len(caught.value.lines) == 1
    assert contents(begun) == before


def test_a_study_that_another_program_has_locked_is_refused(begun, open_here, monkeypatch):
    monkeypatch.setattr("cmd_tune.search.study.study_file._PATIENCE_S", 0.1)
    with sqlite3.connect(begun / STUDY, isolation_level=None) as other:
        other.execute("begin exclusive")
        with pytest.raises(CmdTuneError, match=r"study\.db: another program has locked it; end that program"):
            open_here(FREE, 4)
        other.execute("rollback")
    other.close()
    assert len(open_here(FREE, 4).trials) == 3


def test_opening_a_study_writes_nothing(begun, open_here):
    before = contents(begun)
    study = open_here(FREE, 4)
    assert [trial.state for trial in study.trials.values()] == [
        TrialState.FINISHED, TrialState.FINISHED, TrialState.UNFINISHED,
    ]  # fmt: skip
    assert not study.complete
    assert contents(begun) == before


def test_the_folder_of_a_finished_trial_may_be_gone(begun, open_here):
    shutil.rmtree(begun / "trials" / "001")
    study = open_here(FREE, 4)
    assert study.remarks == [f"{begun / 'trials' / '001'} is gone; its scores are the study's"]
    assert [(trial.index, trial.score("val/knn/fused")) for trial in study.ranked()] == [(1, 11.0), (0, 10.0)]
    play(study, 1)
    assert sorted(trial.index for trial in study.ranked()) == [0, 1, 2, 3]


def test_a_running_trial_whose_folder_is_gone_begins_anew(open_study, make_space, tmp_path):
    """Optuna forgets what it reported, which early stopping would go by."""
    early = {"type": "asha", "grace_period": 1, "reduction_factor": 2}
    space = make_space(early_terminate=early, method="random")
    study = open_study(space, trials=2)
    trial = study.next()
    study.record(trial, {"epoch": 2, "loss/total": 1.0, "val/knn/fused": 70.0})
    values = trial.values
    shutil.rmtree(trial.folder)
    again = open_study(space, trials=2)
    assert again.remarks == [f"{trial.folder} is gone; the trial begins anew, unless its checkpoint is there"]
    trial = again.next()
    assert (trial.index, trial.values, trial.epoch, trial.state) == (0, values, 0, TrialState.RUNNING)
    for epoch in (1, 2, 3):
        assert again.record(trial, {"epoch": epoch, "loss/total": 1.0, "val/knn/fused": 10.0})
    again.end(trial)
    last = again._study.trials[-1]
    assert (last.value, last.intermediate_values) == (10.0, {1: 10.0, 2: 10.0, 3: 10.0})
    assert open_study(space, trials=2).ranked()[0].score("val/knn/fused") == 10.0
    assert len(open_study(space, trials=2).trials) == 1


@pytest.mark.parametrize(
    "content", ["", "12", "{}", '{"seconds": "x"}', '{"seconds": -1}', '{"seconds": Infinity}', "\0"]
)
def test_a_damaged_clock_is_named(begun, open_here, content):
    (begun / "clock.json").write_text(content)
    with pytest.raises(CmdTuneError, match=r"clock\.json: holds no time; write \{\"seconds\": N\}, or remove it"):
        open_here(FREE, 4)


def test_the_time_counts_over_sessions(open_here, tmp_path):
    timed = {**FREE, "budget": {"trials": 4, "time": 100}}
    study = open_here(timed, 4)
    assert 99 < study.deadline - monotonic() <= 100
    with study.clock.kept():
        pass
    kept = json.loads((tmp_path / "search" / "clock.json").read_text())["seconds"]
    assert 0 <= kept < 10
    (tmp_path / "search" / "clock.json").write_text('{"seconds": 100}')
    late = open_here(timed, 4)
    assert late.timed_out
    assert late.next() is None
    assert late.shortfall == "the time is up"
    assert not late.complete
    assert open_here({**FREE, "budget": {"trials": 4, "time": 3600}}, 4).next().index == 0


# A real full disk: a small file system of this test's own


ON_A_SMALL_DISK = """
import sys
from pathlib import Path
from cmd_tune.full_disk import as_disk_full
from cmd_tune.search.request import read_space
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.settings import make_settings

folder, space = Path(sys.argv[1]), read_space(Path(sys.argv[2]))
settings = make_settings("quick", ("test", {"epochs": 1}))
trials = 0
try:
    study = SearchStudy(folder, space, settings, "quick", 300)
    with (folder / "filling").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(int(sys.argv[3]))):
                pass
        except OSError:
            pass
    while trial := study.next():
        study.record(trial, {"epoch": 1, "loss/total": 1.0, "val/knn/fused": 50.0})
        study.end(trial)
        trials += 1
except Exception as error:
    print(as_disk_full(error, folder / "study.db"))
(folder / "filling").unlink()
again = SearchStudy(folder, space, settings, "quick", 4)
assert len(again.trials) in (trials, trials + 1), (len(again.trials), trials)
while trial := again.next():
    again.record(trial, {"epoch": 1, "loss/total": 1.0, "val/knn/fused": 50.0})
    again.end(trial)
print(max(4, len(again.trials)), {str(trial.state) for trial in again.trials.values()})
"""


@pytest.mark.parametrize("block", [4096, 65536], ids=["not a page is free", "some pages are free"])
def test_a_study_on_a_full_disk_says_so_and_goes_on_with_room_again(make_space, tmp_path, block):
    space = make_space(**FREE).path
    disk = tmp_path / "disk"
    disk.mkdir()
    script = shlex.join([sys.executable, "-c", ON_A_SMALL_DISK, str(disk), str(space), str(block)])
    mounted = f"mount -t tmpfs -o size=1m none {shlex.quote(str(disk))}"
    apart = [shutil.which("unshare") or "/bin/false", "-Urm", "sh", "-c"]
    if subprocess.run([*apart, mounted], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run([*apart, f"{mounted} && {script}"], capture_output=True, text=True, env=environment)
    said, last = ended.stdout.splitlines()
    assert said.startswith(f"{disk}/")
    assert ": cannot be written: the disk is full (0.0 MB are free, " in said
    assert last == "4 {'finished'}"
    assert ended.stderr == ""
