"""`python -m benchmarks fuzz`: some hundred inputs of all kinds, and that it sees what does not end well."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks.fuzz import OUTCOMES, SHARES, tried
from benchmarks.fuzz_kinds import KINDS, Reached
from benchmarks.fuzz_worker import ended, judged
from benchmarks.mutations import damaged, mutated_container, mutated_text, mutated_words
from cmd_tune.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
TEXT = "name: a\nvalues: [1, 2]\n"


def test_every_kind_has_a_share() -> None:
    assert KINDS.keys() == SHARES.keys()
    assert sum(SHARES.values()) == 1000


def test_an_input_is_made_from_its_number_alone() -> None:
    def made(seed: int) -> list[object]:
        rng = random.Random(seed)  # noqa: S311
        words = mutated_words(["a", "b"], rng, ["--c"])
        content = {"a": [1, {"b": 2}]}
        changed = mutated_container(content, rng, [None])
        assert content == {"a": [1, {"b": 2}]}
        return [damaged(b"content", rng), mutated_text(TEXT, rng), words, changed]

    assert [made(seed) for seed in range(50)] == [made(seed) for seed in range(50)]
    assert len({repr(made(seed)) for seed in range(50)}) == 50


class Ending:
    """A kind whose inputs end as they are told to."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def take(self, rng: random.Random) -> None:
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "succeeded"),
        (Reached(), "succeeded"),
        (SystemExit(0), "succeeded"),
        (DataError("a.arrow: damaged"), "one line"),
        (SystemExit(2), "one line"),
        (SystemExit(130), "other end"),
        (KeyError("x"), "traceback"),
        (RecursionError(), "traceback"),
    ],
)
def test_how_an_input_ended(error: BaseException | None, outcome: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(Ending(error), random.Random(0)) == outcome  # type: ignore[arg-type]  # noqa: S311
    assert ("Traceback" in capsys.readouterr().err) == (outcome == "traceback")


def test_what_was_said_counts() -> None:
    assert judged("one line", "a remark\nerror: a.yaml: wrong\n") == "one line"
    assert judged("one line", "") == "other end"
    assert judged("succeeded", "Traceback (most recent call last):\n") == "traceback"
    assert judged("one line", "error: runs/it: KeyError: 'x'; see /a/errors.log there") == "unnamed"


@pytest.mark.parametrize(("fault", "outcome"), [("os.kill(os.getpid(), 11)", "crash"), ("time.sleep(600)", "hang")])
def test_a_crash_and_a_hang_are_seen_and_the_rest_is_tried(
    fault: str, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's place is taken by one of three inputs of which the second does not end."""
    worker = tmp_path / "benchmarks"
    worker.mkdir()
    (worker / "__init__.py").write_text("")
    (worker / "fuzz_worker.py").write_text(
        "import json, os, sys, time\n"
        "print(json.dumps({'started': True}), flush=True)\n"
        "for number in range(int(sys.argv[3]), int(sys.argv[4])):\n"
        f"    if number == 1: {fault}\n"
        "    print(json.dumps({'number': number, 'outcome': 'succeeded', 'said': ''}), flush=True)\n"
    )
    monkeypatch.setattr(fuzz, "ROOT", tmp_path)
    monkeypatch.setattr(fuzz, "PATIENCE", 2)
    started = time.monotonic()
    found = [(one["number"], one["outcome"]) for one in tried("a", 0, 0, 3, tmp_path, tmp_path)]
    assert found == [(0, "succeeded"), (1, outcome), (2, "succeeded")]
    assert time.monotonic() - started < 300


@pytest.mark.long
@pytest.mark.slow
def test_some_hundred_inputs_of_all_kinds_end_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "fuzz", "--inputs", "200"],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    rows = {line[:16].strip(): line[16:].split() for line in done.stdout.splitlines() if line[:16].strip() in SHARES}
    assert rows.keys() == SHARES.keys()
    for kind, (inputs, *counts) in rows.items():
        assert int(inputs) == round(0.2 * SHARES[kind])
        assert sum(map(int, counts[:2])) == int(inputs), kind
        assert len(counts) == len(OUTCOMES)
        assert int(counts[1]) > 0, kind  # some are wrong
    assert sum(int(counts[1]) for counts in rows.values()) > 20  # … and some are read as if nothing were
