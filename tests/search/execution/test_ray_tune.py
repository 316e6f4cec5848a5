"""The book's part in Tune: what is said of a trial whose process failed."""

from types import SimpleNamespace

import pytest

from cmd_tune.search.execution.ray_tune import ERROR, BookCallback

STACK = 'ray::Trial() (pid=7)\n  File "loop.py", line 3, in run\n    step()\n    ^^^^^^\n'
CUDA = """RuntimeError: CUDA error: device-side assert triggered
CUDA kernel errors might be asynchronously reported at some other API call.
  For debugging consider passing CUDA_LAUNCH_BLOCKING=1

Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (STACK + CUDA, "RuntimeError: CUDA error: device-side assert triggered"),
        (STACK + "KeyError: 'a'\n\nDuring its handling:\n\n" + STACK + "ValueError: b", "ValueError: b"),
        ("no stack\nat all", "at all"),
    ],
)
def test_a_trial_failed_for_what_its_exception_says_first(tmp_path, text, reason):
    """Those of PyTorch go on for many lines, of which the last says nothing."""
    told = []
    conductor = SimpleNamespace(ended=lambda *what: told.append(what), failed=pytest.fail)
    trial = SimpleNamespace(trial_id="a", get_error=lambda: text, config={"folder": str(tmp_path)})
    BookCallback(conductor).on_trial_error(1, [], trial)
    assert told == [("a", f"{reason} (in full: {tmp_path / ERROR})", told[0][2])]
    assert (tmp_path / ERROR).read_text() == f"{text}\n"
