"""The kinds of inputs that are mutated, and what reads each of them: the program's commands as they are typed.

What would train for long does not begin: a search ends when its engine would open, `pretrain` and `evaluate` when they
are planned.
"""

import gzip
import io
import json
import os
import pickle
import random
import shutil
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from benchmarks.fuzz_templates import EVALUATION, OFFICIAL, ROOT, RUN, SEARCH, STORAGE, STORE, TINY
from benchmarks.mutations import (
    NASTY,
    VALUES,
    damaged,
    mutated_container,
    mutated_text,
    mutated_words,
    mutated_yaml,
)
from cmd_tune import cli
from cmd_tune.data.layouts import LAYOUTS, layout_content
from cmd_tune.runs import evaluation_run, single_run
from cmd_tune.runs.failures import named_failures
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.runs.single_run import resumed_single
from cmd_tune.search.execution import ENGINES
from cmd_tune.search.execution.ray_engine import RayEngine
from cmd_tune.yaml_files import dump_yaml

SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
GOLDEN = ROOT / "tests" / "golden" / "space_files.json.gz"


class Reached(BaseException):
    """Raised where an input has been taken, and a run would begin."""


class _ClosedEngine(RayEngine):
    def open(self, *, trials: int | None, given: int) -> None:
        raise Reached


def _begin(*_: object, **__: object) -> None:
    raise Reached


def command(*words: str) -> None:
    """A command, in this process, as `python -m cmd_tune` runs it."""
    sys.argv = ["cmd_tune", *words]
    cli.main()


class Kind(ABC):
    """A kind of input, in a folder of its own that starts as a copy of the templates."""

    def __init__(self, templates: Path, place: Path) -> None:
        self.templates, self.place = templates, place
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(templates, place)
        os.chdir(place)
        ENGINES["ray"] = _ClosedEngine
        single_run.run_single = _begin
        evaluation_run.run_evaluation = _begin
        self.prepare()

    def prepare(self) -> None:
        """What all inputs are made from; nothing unless a kind needs it."""
        return

    @abstractmethod
    def take(self, rng: random.Random) -> None:
        """Make an input, and have it read."""

    def restore(self, folder: str) -> None:
        """Have a folder as the templates have it."""
        shutil.rmtree(self.place / folder, ignore_errors=True)
        shutil.copytree(self.templates / folder, self.place / folder)


class SpaceFiles(Kind):
    def prepare(self) -> None:
        texts = [path.read_text(encoding="utf-8") for path in SPACES]
        if GOLDEN.exists():
            texts += [text for text, meant in json.loads(gzip.decompress(GOLDEN.read_bytes())) if meant is not None]
        self.texts = texts
        self.words = sorted({word for text in texts for word in text.replace(",", " ").split()})

    def take(self, rng: random.Random) -> None:
        Path("mutated.yaml").write_bytes(mutated_yaml(rng.choice(self.texts), rng, self.words))
        shutil.rmtree(self.place / "spaces", ignore_errors=True)
        changes = ["--set", "batch_size=8"] if rng.random() < 0.8 else []
        changes += ["--set", "holdout=validation"] if rng.random() < 0.6 else []  # which tables need to be judged so
        command("search", "--space", "mutated.yaml", "--data", STORE, "--storage", "spaces", *changes)


class SettingsFiles(Kind):
    def prepare(self) -> None:
        self.text = (self.templates / STORAGE / SEARCH / "best.yaml").read_text(encoding="utf-8")
        self.lines = [line.replace(": ", "=") for line in self.text.splitlines() if ": " in line]

    def take(self, rng: random.Random) -> None:
        shutil.rmtree(self.place / "single", ignore_errors=True)
        words = ["pretrain", "--data", STORE, "--storage", "single"]
        if rng.random() < 0.7:
            Path("mutated.yaml").write_bytes(mutated_yaml(self.text, rng))
            command(*words, "--config", "mutated.yaml")
        given = [mutated_text(rng.choice(self.lines), rng).decode(errors="replace") for _ in range(rng.choice([1, 2]))]
        command(*words, *TINY, *(word for one in given for word in ("--set", one.replace("\0", ""))))


class LayoutFiles(Kind):
    def prepare(self) -> None:
        self.layouts = {name: dump_yaml(layout_content(layout)) for name, layout in LAYOUTS.items()}
        for name, layout in LAYOUTS.items():
            shape = (9, len(layout.joints), layout.coordinates, 1)
            x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            np.savez(f"{name}.npz", joints=x, lengths=np.array([4, 5]), label=np.array([0, 1]))

    def take(self, rng: random.Random) -> None:
        name = rng.choice(sorted(self.layouts))
        Path("mutated.yaml").write_bytes(mutated_yaml(self.layouts[name], rng))
        Path("made.arrow").unlink(missing_ok=True)
        command("ingest", "generic", f"{name}.npz", "--layout", "mutated.yaml", "--out", "made.arrow")


class PlanFiles(Kind):
    def take(self, rng: random.Random) -> None:
        file, words = rng.choice(
            [
                (f"{SEARCH}/search.yaml", ["search", "--resume", SEARCH]),
                (f"{RUN}/pretrain.yaml", ["pretrain", "--resume", RUN]),
                (f"{EVALUATION}/evaluate.yaml", ["evaluate", "--resume", EVALUATION]),
                (f"{SEARCH}/search.yaml", ["pretrain", "--config", f"{STORAGE}/{SEARCH}/best.yaml"]),
            ]
        )
        self.restore(f"{STORAGE}/{SEARCH}")
        if words[0] == "search":  # of which the rest would be reported
            (self.place / STORAGE / SEARCH / "baselines.yaml").unlink()
        path = self.place / STORAGE / file
        before = (self.templates / STORAGE / file).read_text(encoding="utf-8")
        path.write_bytes(mutated_yaml(before, rng))
        try:
            command(*words)
        finally:
            path.write_text(before, encoding="utf-8")


class CommandLines(Kind):
    LINES = (
        "search --space space.yaml --data tiny.arrow --trials 3 --name it --set batch_size=8 --concurrent 2 --refit",
        "search --space temps.yaml --data tiny.arrow --protocol xview --preset quick --workers 1 --set batch_size=8",
        "search --resume search --trials 4 --tracking-uri sqlite:///other.db --storage runs --gpus-per-worker 0.5",
        "search --space table1 --data tiny.arrow --set batch_size=8 --set epochs=3 --no-refit --name table",
        "pretrain --data tiny.arrow --set batch_size=8 --set queue_size=20 --set topk=6 --preset quick --test",
        "pretrain --config runs/search/best.yaml --storage runs --name again --tracking-uri http://127.0.0.1:9",
        "pretrain --resume single --test",
        "evaluate runs/single --data tiny.arrow --with knn,solved --protocol xview --name scored",
        "evaluate runs/search/trials/000 --with sgd,finetune --official-best-of-test --seed 3",
        "evaluate --resume scores",
        "ingest generic clips --layout kinect-20 --out made.arrow --normalise upright --half --strict",
        "ingest nw-ucla clips --out made.arrow --exclude names.txt",
        "inspect tiny.arrow",
        "inspect clips --format generic --layout kinect-20 --protocol xsub",
        "export runs/single --out theirs.pth.tar",
        "import official.pth.tar --out ours.pt --data tiny.arrow --protocol xview --set frames=8",
        "settings",
        "--version",
        "--help",
    )

    def prepare(self) -> None:
        Path("clips").mkdir()
        rng = np.random.default_rng(0)
        lines = ["file,label,subject,camera"]
        for clip in range(4):
            np.save(f"clips/{clip}.npy", rng.normal(size=(6, 20, 3)).astype(np.float32))
            lines.append(f"{clip}.npy,{clip % 2},{clip + 1},1")
        Path("clips/index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        Path("names.txt").write_text("0\n", encoding="utf-8")
        self.lines = [line.split() for line in self.LINES]
        self.options = sorted({word for line in self.lines for word in line if word.startswith("--")} | {"--address"})
        self.kept = {path.name for path in self.place.iterdir()}

    def take(self, rng: random.Random) -> None:
        words = mutated_words(rng.choice(self.lines), rng, self.options)
        # Nothing is written outside of this folder.
        words = [word.replace("..", "").replace("=/", "=").replace("///", "//").lstrip("/~") for word in words]
        try:
            command(*words)
        finally:
            for path in self.place.iterdir():
                if path.name not in self.kept:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.restore(STORAGE)
            for name in (STORE, OFFICIAL):
                shutil.copy(self.templates / name, self.place / name)


class Stores(Kind):
    def prepare(self) -> None:
        self.content = (self.templates / STORE).read_bytes()
        self.batch = pa.ipc.open_file(io.BytesIO(self.content)).get_batch(0)

    def take(self, rng: random.Random) -> None:
        content = self.other_batch(rng) if rng.random() < 0.5 else self.other_bytes(rng)
        Path("mutated.arrow").write_bytes(content)
        shutil.rmtree(self.place / "single", ignore_errors=True)
        if rng.random() < 0.6:
            command("inspect", "mutated.arrow")
        command("pretrain", "--data", "mutated.arrow", "--storage", "single", *TINY)

    def other_bytes(self, rng: random.Random) -> bytes:
        """Half of them changed in the metadata at both ends, where it hurts."""
        if rng.random() < 0.5:
            return damaged(self.content, rng)
        changed, edge = bytearray(self.content), rng.choice([(0, 3000), (-3500, -1)])
        for _ in range(rng.choice([1, 1, 3])):
            changed[rng.randrange(*edge)] ^= 1 << rng.randrange(8)
        return bytes(changed)

    def other_batch(self, rng: random.Random) -> bytes:
        """A whole Arrow file of other columns or metadata."""
        batch = self.batch
        metadata = {key.decode(): value.decode() for key, value in batch.schema.metadata.items()}
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        key = rng.choice(sorted(columns))
        kind = rng.choice(["metadata", "metadata", "drop", "numbers", "type", "rows", "none", "part"])
        if kind == "metadata":
            name = rng.choice(sorted(metadata))
            metadata[name] = mutated_text(metadata[name], rng).decode(errors="replace")
        elif kind == "drop":
            del columns[key]
        elif kind == "part":
            columns["part:" + rng.choice(NASTY)] = pa.array([rng.choice([-1, 0, 1, 2, 7])] * len(batch), pa.int8())
        elif kind == "numbers":
            number = rng.choice(["label", "subject", "camera", "setup"])
            values = [rng.choice([-1, 0, 1, 3, 2**31 - 1, -(2**31)]) for _ in range(len(batch))]
            columns[number] = pa.array(values, pa.int32())
        elif kind == "type":
            columns[key] = pa.array([rng.choice([1.5, None]) for _ in range(len(batch))])
        elif kind == "none":
            columns[key] = pa.array([None] * len(batch), columns[key].type)
        taken = pa.RecordBatch.from_pydict(columns)
        if kind == "rows":
            taken = taken.slice(rng.randrange(len(batch)), rng.choice([0, 1, 5]))
        taken = taken.replace_schema_metadata(metadata)
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, taken.schema) as writer:
            for _ in range(rng.choice([1, 1, 1, 0, 2])):
                writer.write_batch(taken)
        return sink.getvalue()


class Checkpoints(Kind):
    def prepare(self) -> None:
        self.ours = (self.templates / STORAGE / RUN / "checkpoint.pt").read_bytes()
        self.theirs = (self.templates / OFFICIAL).read_bytes()

    def take(self, rng: random.Random) -> None:
        which = rng.choice(["export", "evaluate", "resume", "resume", "import"])
        content = self.theirs if which == "import" else self.ours
        if rng.random() < 0.4:
            content = damaged(content, rng)
        else:
            buffer = io.BytesIO()
            torch.save(mutated_container(torch.load(io.BytesIO(content), weights_only=True), rng, VALUES), buffer)
            content = buffer.getvalue()
        if which == "resume":
            self.restore(f"{STORAGE}/{RUN}")
            (self.place / STORAGE / RUN / "checkpoint.pt").write_bytes(content)
            single = resumed_single(RUN, kept_options={}, storage=Path(STORAGE))
            with named_failures():
                run(single.settings, single.source, single.folder, lambda record: None)
            return
        Path("mutated.pt").write_bytes(content)
        Path("made.pt").unlink(missing_ok=True)
        shutil.rmtree(self.place / "scores", ignore_errors=True)
        more = ["--out", "made.pt"] if which != "evaluate" else ["--storage", "scores", "--data", STORE]
        command(which, "mutated.pt", *more)


class Pickles(Kind):
    def prepare(self) -> None:
        clips = [
            {"frame_dir": f"S001C00{n + 1}P00{n + 1}R001A00{n + 1}", "label": n, "total_frames": 4,
             "keypoint": np.random.default_rng(n).normal(size=(1, 4, 25, 3)).astype(np.float16)}
            for n in range(3)
        ]  # fmt: skip
        names = [str(clip["frame_dir"]) for clip in clips]
        content = {"split": {"xsub_train": names[:2], "xsub_val": names[2:]}, "annotations": clips}
        self.contents = [pickle.dumps(content, protocol) for protocol in (0, 2, 4, 5)]

    def take(self, rng: random.Random) -> None:
        content = rng.choice(self.contents)
        for _ in range(rng.choice([1, 2])):
            content = damaged(content, rng) or b"."
        Path("ntu60_3d.pkl").write_bytes(content)
        Path("made.arrow").unlink(missing_ok=True)
        command("ingest", "pyskl", "ntu60_3d.pkl", "--out", "made.arrow")


class ResumeFolders(Kind):
    TEXTS = (
        "search.yaml", "space.yaml", "trials.csv", "environment.yaml", "baselines.yaml", "best.yaml",
        "raw_by_subject.json", "trials/000/history.jsonl", "trials/001/history.jsonl", "trials/000/test.json",
        "trials/001/test_by_subject.json", "trials/000/environment.yaml", "lock",
    )  # fmt: skip

    def take(self, rng: random.Random) -> None:
        self.restore(f"{STORAGE}/{SEARCH}")
        folder = self.place / STORAGE / SEARCH
        for _ in range(rng.choice([1, 1, 2])):
            self.spoil(folder, rng)
        command("search", "--resume", SEARCH)

    def spoil(self, folder: Path, rng: random.Random) -> None:
        kind = rng.choice(["text", "text", "text", "study", "rows", "rows", "gone", "folder"])
        study = folder / "study.db"
        if kind == "text" and (path := folder / rng.choice(self.TEXTS)).is_file():
            mutated = mutated_yaml if path.suffix == ".yaml" else mutated_text
            path.write_bytes(mutated(path.read_text(encoding="utf-8", errors="replace"), rng))
        elif kind == "study" and study.is_file():
            study.write_bytes(damaged(study.read_bytes(), rng))
        elif kind == "rows" and study.is_file():
            with suppress(sqlite3.Error):
                self.spoil_rows(study, rng)
        elif kind in ("gone", "folder"):
            files = [path for path in folder.rglob("*") if path.is_file() and "ray" not in path.parts]
            path = rng.choice(sorted(files))
            path.unlink()
            if kind == "folder":
                path.mkdir()

    @staticmethod
    def spoil_rows(study: Path, rng: random.Random) -> None:
        """A value changed, a row or a table taken out."""
        with closing(sqlite3.connect(study)) as database, database:
            names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
            table = rng.choice(sorted(names))
            columns = [row[1] for row in database.execute(f'pragma table_info("{table}")')]
            kind = rng.choice(["value", "value", "value", "row", "table"])
            if kind == "table":
                database.execute(f'drop table "{table}"')
                return
            rows = [row for (row,) in database.execute(f'select rowid from "{table}"')]  # noqa: S608
            if not rows:
                return
            row = rng.choice(rows)
            if kind == "row":
                database.execute(f'delete from "{table}" where rowid = ?', (row,))  # noqa: S608
                return
            value = rng.choice([*NASTY, None, -1, 0, 7, 2**60, 0.5])
            database.execute(f'update "{table}" set "{rng.choice(columns)}" = ? where rowid = ?', (value, row))  # noqa: S608


KINDS: dict[str, Callable[[Path, Path], Kind]] = {
    "space files": SpaceFiles,
    "settings": SettingsFiles,
    "layouts": LayoutFiles,
    "plan files": PlanFiles,
    "command lines": CommandLines,
    "stores": Stores,
    "checkpoints": Checkpoints,
    "pickles": Pickles,
    "resume folders": ResumeFolders,
}
