"""`python -m benchmarks gpu`: all that a card can show in some minutes, part by part, for whoever has one for a while.

Each part is a process of its own, bounded in time; what it measures is written as it comes, one JSON object a line. A
part that fails or takes too long says so, and the next one begins. This file needs nothing but the standard library and
rich, so that it can say what the machine lacks.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
GPU_TESTS = ("tests/test_gpu.py", "tests/train/test_distributed_gpu.py")


@dataclass(frozen=True)
class Part:
    """name: also what `benchmarks.gpu_parts` calls it, with `arguments`. seconds: the most it may take."""

    name: str
    seconds: float
    arguments: tuple[str, ...] = ()

    def command(self, device: str) -> list[str]:
        if self.name == "tests":
            side_by_side = ["-n", "4"] if find_spec("xdist") else []  # kernels take longer to compile than to run
            return [sys.executable, "-m", "pytest", "-q", "--tb=short", *side_by_side, *GPU_TESTS]
        part = self.name.partition(",")[0]
        return [sys.executable, "-m", "benchmarks.gpu_parts", part, "--device", device, *self.arguments]


PARTS = (
    Part("machine", 60),
    Part("tests", 150),
    Part("loop", 90),
    *(Part(f"step, H = {size}", 90, ("--hidden", str(size))) for size in (1024, 256, 64)),
    Part("fused", 150),
    Part("views", 45),
    Part("objective", 60),
    Part("evaluation", 90),
    Part("workers", 90),
    Part("pretrain", 120),
)


def measure(
    minutes: Annotated[float, typer.Option(help="The most that all parts together may take.", min=0.05)] = 8,
    device: Annotated[str, typer.Option(help="cuda, or cpu to try the command.")] = "cuda",
    wheels: Annotated[
        Path | None, typer.Option(help="A folder of wheels to install beside the command: pydantic's, if need be.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where each figure goes as a line of JSON.")] = Path("gpu.jsonl"),
) -> None:
    """Run every part on a card, within the minutes given; exit code 1 where one did not end well."""
    end = monotonic() + 60 * minutes
    console = Console(width=150, highlight=False)
    well = True
    with installed(wheels) as environment, out.open("w", encoding="utf-8") as file:
        for part in PARTS:
            state = ""
            seconds = min(part.seconds, end - monotonic())
            for line in results(part.name, part.command(device), seconds, environment):
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
                console.print(_shown(line), markup=False, soft_wrap=True)
                state = line.get("state", state)
            well = well and state == "done"
    if not well:
        raise typer.Exit(1)


def results(part: str, command: list[str], seconds: float, environment: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Each figure of a part as it comes, then how the part ended, and what it said where it failed."""
    if seconds <= 0:
        yield {"part": part, "state": "not begun", "why": "the minutes were up"}
        return
    started = monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        assert process.stdout is not None
        # The pipe ends when the part and all that it has started have ended, or are stopped.
        timer = threading.Timer(seconds, _stop, [process])
        timer.start()
        said = []
        try:
            for line in process.stdout:
                if line.startswith("{"):
                    yield {"part": part, **json.loads(line)}
                else:
                    said.append(line)
            code = process.wait()
        finally:
            timer.cancel()
            _stop(process)
        taken = round(monotonic() - started, 1)
        errors.seek(0)
        words = "".join(said) + errors.read()
    last = (words.strip().splitlines() or [f"exit code {code}"])[-1]
    if code == 0:
        yield {"part": part, "state": "done", "seconds": taken} | ({"why": said[-1].strip()} if said else {})
    elif taken >= seconds:
        yield {"part": part, "state": "stopped", "seconds": taken, "why": f"it was not done in {seconds:.0f} s"}
    else:
        yield {"part": part, "state": "failed", "seconds": taken, "why": last, "output": words[-4000:]}


@contextmanager
def installed(wheels: Path | None) -> Iterator[dict[str, str]]:
    """The environment of the parts, with the wheels of a folder where one is given."""
    with tempfile.TemporaryDirectory() as site:
        if wheels is not None:
            files = sorted(str(path) for path in wheels.glob("*.whl"))
            if not files:
                raise typer.BadParameter(f"{wheels}: has no .whl file", param_hint="--wheels")
            install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", site]
            subprocess.run([*install, *files], check=True)  # noqa: S603
        path = os.pathsep.join(filter(None, [site, str(ROOT), os.environ.get("PYTHONPATH", "")]))
        yield {**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "passive"}


def _stop(process: subprocess.Popen[str]) -> None:
    """End a part with every process it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _shown(line: dict[str, Any]) -> str:
    if "state" in line:
        why = f": {line['why']}" if line.get("why") else ""
        after = f" after {line['seconds']:.0f} s" if "seconds" in line else ""
        return f"{line['part']}: {line['state']}{after}{why}"
    return f"    {line['text']}"
