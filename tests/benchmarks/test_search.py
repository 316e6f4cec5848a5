"""`python -m benchmarks search`: what is made of a search's times, and a small search by sleeping trials."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.search import PLACES, Trial, Watched
from benchmarks.timed_trials import made_up
from benchmarks.watched_search import descendants
from cmd_tune.settings import make_settings

ROOT = Path(__file__).resolve().parents[2]


def test_the_time_of_two_places_is_shared_out_by_the_epochs_of_their_trials() -> None:
    trials = [Trial(100, 103, 2.0), Trial(100, 104, 3.0), Trial(103, 105, 2.0), Trial(104, 110, 1.0)]
    found = Watched(trials, 15.0, [])
    assert found.span == 10
    assert found.ideal == 4
    assert found.used == pytest.approx(0.4)
    assert found.used_by_part(2) == pytest.approx([2.5 / 4, 1.5 / 6])


def test_cpu_time_is_that_between_the_first_start_and_the_last_end() -> None:
    samples = [(9.0, {"search": 1.0}), (10.5, {"search": 2.0}), (19.0, {"search": 5.0, "hosts": 1.5}), (21.0, {})]
    found = Watched([Trial(10, 20, 8.0)], 12.0, samples)
    assert found.cpu_seconds() == {"hosts": 1.5, "search": 3.0}


def test_a_sleeping_trial_scores_best_at_the_papers_temperatures() -> None:
    def score(epoch: int, **values: float) -> float:
        return made_up(make_settings("quick", ("test", values)), epoch)["val/knn/fused"]

    best = score(2, teacher_temperature=0.05, student_temperature=0.1)
    assert best == pytest.approx(45.0)
    assert score(1, teacher_temperature=0.05, student_temperature=0.1) == pytest.approx(30.0)
    assert score(2, teacher_temperature=0.02, student_temperature=0.1) < best


@pytest.mark.long
@pytest.mark.slow
def test_the_command_prints_a_row_and_each_place_keeps_its_client() -> None:
    """With trials that are shorter than the start of a client, too."""
    command = ["search", "--trials", "10", "--long", "0", "--real", "0"]
    clients = set()
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as search:
        while search.poll() is None:
            clients |= {
                pid for pid, title, _ in descendants() if re.match("ray::(TrialClient|ResourceTrainable)", title)
            }
            time.sleep(0.1)
        printed = search.stdout.read() if search.stdout else ""
    assert search.returncode == 0
    words = " ".join(printed.replace("│", " ").split())
    assert re.search(r"10 of 1 epoch, asleep 5\.0 s \d+\.\d s \(\+\d+\.\d %\)", words)
    assert len(clients) == PLACES
