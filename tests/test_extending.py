"""docs/extending.md: all recipes applied to a copy of the package, the contracts run there, every new word used."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.store import Store, open_store

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
# Of each contract test that runs the words of a dict: the new words.
CONTRACTS = {
    "tests/data/normalizations/test_contract.py": ["sized"],
    "tests/data/readers/test_contract.py": ["csv"],
    "tests/data/views/test_contract.py": ["turn"],
    "tests/evaluate/tasks/test_contract.py": ["centroid"],
    "tests/model/encoders/test_contract.py": ["pool"],
    "tests/model/objectives/test_contract.py": ["match"],
    "tests/search/study/methods/test_contract.py": ["halton"],
    "tests/search/study/early_stopping/test_contract.py": ["quartile"],
    "tests/search/execution/test_contract.py": ["serial"],
    "tests/tracking/test_contract.py": ["folder"],
    "tests/search/report/test_contract.py": [],  # all parts of a report, on the studies below
}
SPACE = {
    "method": "halton",
    "metric": {"name": "loss/match", "goal": "minimize"},
    "parameters": {"key_momentum": {"min": 0.9, "max": 0.99}, "contrast_temperature": {"min": 0.05, "max": 0.2}},
    "settings": {
        "objective": "match",
        "encoder": "pool",
        "views": "turn",
        "modalities": ["joint", "jerk"],
        "hidden_size": 8,
        "embedding_size": 8,
        "queue_size": 16,
        "topk": 8,
        "frames": 8,
        "epochs": 3,
        "batch_size": 8,
        "schedule": "step",
        "step_epoch": 3,
        "learning_rate": 0.01,
        "warmup_epochs": 2,
    },
    "early_terminate": {"type": "quartile", "grace_period": 2, "startup_trials": 1},
    "budget": {"trials": 6},
}


def blocks(language: str) -> list[tuple[str, str]]:
    """(path, content) of each block that belongs to a file."""
    return re.findall(rf'^```{language} title="([^"\n]+)"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE)


def apply(diff: str, text: str) -> str:
    """A file's text with the changes of a diff made. @@ parts its hunks, each of which must fit the text once."""
    for hunk in re.split(r"^@@\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        before, after = ("".join(line[1:] for line in lines if line[0] in kinds) for kinds in (" -", " +"))
        assert text.count(before) == 1, f"{text.count(before)} times in the file:\n{before}"
        text = text.replace(before, after)
    return text


def source_of(path: str) -> dict[str, object]:
    """The names that a new file defines."""
    (content,) = (content for name, content in blocks("python") if name == path)
    names: dict[str, object] = {"__name__": "recipe"}
    exec(content, names)  # noqa: S102
    return names


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with every recipe applied."""
    copy = tmp_path_factory.mktemp("extended") / "cmd_tune"
    for name in ("cmd_tune", "docs", "search_spaces", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    for name in ("pyproject.toml", "run_search.py"):
        shutil.copy(ROOT / name, copy)
    for path, content in blocks("python"):
        assert not (copy / path).exists()
        (copy / path).write_text(content, encoding="utf-8")
    for path, diff in blocks("diff"):
        (copy / path).write_text(apply(diff, (copy / path).read_text(encoding="utf-8")), encoding="utf-8")
    return copy


def run(folder: Path, *arguments: str | Path, ok: bool = True) -> str:
    """Runs Python in a copy; returns all that it says."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (done.returncode == 0) is ok, done.stdout
    return done.stdout


def test_every_recipe_has_files_that_only_its_lines_name() -> None:
    """What the table at the top promises: a new file is named by one diff, that of the dict."""
    diffs = [diff for _, diff in blocks("diff")]
    for path, _ in blocks("python"):
        module = path.removesuffix(".py").replace("/", ".")
        assert sum(module in diff for diff in diffs) == 1, path
    named = set(re.findall(r"`((?:cmd_tune|tests|docs)/[\w/.]+)`", PAGE))
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_the_copy_is_in_the_house_style(extended: Path) -> None:
    paths = [path for path, _ in blocks("python") + blocks("diff") if path.endswith(".py")]
    run(extended, "-m", "ruff", "check", *paths)
    run(extended, "-m", "ruff", "format", "--check", *paths)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("path", CONTRACTS)
def test_what_is_new_keeps_its_contract(extended: Path, path: str) -> None:
    words = CONTRACTS[path]
    only = " or ".join(words or ["stopped", "seed"])
    said = run(extended, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", path, "-k", only)
    assert all(re.search(rf"^PASSED .*\b{word}\b", said, re.MULTILINE) for word in words)
    assert "skipped" not in said


@pytest.fixture(scope="module")
def searched(extended: Path, tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search in which every new word takes part: its folder, and all that it said."""
    storage = tmp_path_factory.mktemp("runs")
    space = storage / "new-words.yaml"
    space.write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    where = ["--storage", storage, "--tracking-uri", f"folder:{storage / 'shown'}", "--data", tiny_store.path]
    said = run(extended, "run_search.py", "--space", space, "--name", "it", *where)
    return storage / "it", said


@pytest.mark.long
def test_a_search_with_every_new_word(searched: tuple[Path, str]) -> None:
    folder, said = searched
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        trials = list(csv.DictReader(file))
    assert len(trials) == 6
    shares = [(float(trial["contrast_temperature"]) - 0.05) / 0.15 for trial in trials]
    # Optuna draws the first trial by itself, to learn of the parameters. The first four points of a scrambled Halton
    # sequence lie in four quarters of its first parameter; of random draws, one time in eleven.
    assert {int(4 * share) for share in shares[1:5]} == {0, 1, 2, 3}
    assert [trial["state"] for trial in trials].count("stopped early") + sum(t["rank"] != "" for t in trials) == 6
    history = [json.loads(line) for line in (folder / "trials/000/history.jsonl").read_text("utf-8").splitlines()]
    assert [record["learning_rate"] for record in history] == pytest.approx([0.005, 0.01, 0.01])
    assert all(record["loss/match"] > 0 and "loss/jerk" in record for record in history)
    assert (folder / "spread.png").is_file()
    assert re.search(r"^Training took .+ in all\.$", said, re.MULTILINE)
    (first,) = (folder.parent / "shown").glob("*-0.json")
    shown = json.loads(first.read_text("utf-8"))
    ours = {str(int(x["epoch"])): x["loss/match"] for x in history}
    assert shown["metrics"]["loss/match"] == pytest.approx(ours, rel=5e-4)  # four digits
    assert shown["status"] == "finished"
    assert "starting this process" in said


@pytest.mark.long
def test_a_task_scores_what_the_search_has_trained(extended: Path, searched: tuple[Path, str]) -> None:
    folder, _ = searched
    where = ["--storage", folder.parent, "--tracking-uri", f"folder:{folder.parent / 'shown'}"]
    command = ["evaluate", folder / "trials/000", "--with", "centroid", "--name", "e"]
    said = run(extended, "-m", "cmd_tune", *command, *where)
    assert "class means" in said
    results = json.loads((folder.parent / "e/results.json").read_text("utf-8"))
    right = np.equal(results["predicted"]["centroid"]["joint"], results["test_labels"]).mean()
    of_encoder = next(iter(results["scores"].values()))
    assert of_encoder["centroid"]["joint"]["value"] == pytest.approx(100 * right)


@pytest.mark.long
def test_a_source_in_the_new_format_becomes_a_store(extended: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    source = tmp_path / "csv"
    source.mkdir()
    for subject in (1, 2, 3):
        for action in (1, 2):
            rows_TX = generator.normal(size=(5 + subject, 75))
            np.savetxt(source / f"s0{subject}_a0{action}.csv", rows_TX, delimiter=",")
    (source / "s04_a01.csv").write_text("1,2,3\n", encoding="utf-8")
    said = run(extended, "-m", "cmd_tune", "ingest", "csv", source, "--out", tmp_path / "lab.arrow")
    assert "s04_a01.csv: not rows of 75 numbers" in said
    store = open_store(tmp_path / "lab.arrow")
    assert (store.dataset, store.length_N.tolist()) == ("lab", [6, 6, 7, 7, 8, 8])
    assert (store.label_N.tolist(), store.subject_N.tolist()) == ([0, 1] * 3, [1, 1, 2, 2, 3, 3])
    assert store.part_N["xsub"].tolist() == [1, 1, 2, 2, 1, 1]


@pytest.mark.long
def test_a_setting_is_in_the_list_of_settings(extended: Path) -> None:
    (line,) = (line for line in run(extended, "-m", "cmd_tune", "settings").splitlines() if "warmup_epochs" in line)
    assert line.split()[:3] == ["warmup_epochs", "0", "0"]


# Numbers of the new files.


def test_jerk_is_a_third_difference() -> None:
    import cmd_tune.data.views.modalities as modalities

    (diff,) = (diff for path, diff in blocks("diff") if path.endswith("modalities.py"))
    names = {**vars(modalities)}
    exec(apply(diff, Path(modalities.__file__).read_text(encoding="utf-8")), names)  # noqa: S102
    cubes_BTVCP = torch.arange(6.0).pow(3).reshape(1, 6, 1, 1, 1)
    jerk_T = names["MODALITIES"]["jerk"](cubes_BTVCP, LAYOUTS["ntu-25"]).flatten()
    assert jerk_T[1:-2].tolist() == [6.0, 6.0, 6.0]  # of t³
    assert jerk_T[-1] == 0


def test_a_turn_is_about_the_vertical_and_keeps_lengths() -> None:
    view = source_of("cmd_tune/data/views/turn.py")["Turn"]()  # type: ignore[operator]
    rows_FX = torch.tensor([[1.0, 0.0, 5.0]])
    quarter = view.choose(torch.tensor([[0.25]]), torch.tensor([1]))
    turned_BTVCP = view.make(rows_FX, torch.tensor([0]), quarter, 1, (1, 3, 1))
    torch.testing.assert_close(turned_BTVCP.flatten(), torch.tensor([0.0, 1.0, 5.0]), atol=1e-6, rtol=0)


def test_matching_is_the_mean_squared_difference_over_ordered_pairs() -> None:
    """Constant similarities: of students 0.1, 0.2, of teachers 0.5, 0.8: (0.1 − 0.8)² + (0.2 − 0.5)² = 0.58."""
    objective = source_of("cmd_tune/model/objectives/match.py")["Match"](0.07, 2.0)  # type: ignore[operator]
    student_MABK, teacher_MBK = torch.ones(2, 1, 3, 4), torch.ones(2, 3, 4)
    student_MABK *= torch.tensor([0.1, 0.2])[:, None, None, None]
    teacher_MBK *= torch.tensor([0.5, 0.8])[:, None, None]
    loss, matched, contrastive_M = objective(torch.zeros(2, 1, 3), student_MABK, teacher_MBK)
    assert matched.item() == pytest.approx(0.58)
    assert loss.item() == pytest.approx(contrastive_M.sum().item() + 2 * 0.58)


def test_the_nearest_mean_may_be_of_another_class_than_the_nearest_clip() -> None:
    predict = source_of("cmd_tune/evaluate/tasks/centroids.py")["centroid_predictions"]
    gallery_MGF = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]])  # two of a class at 0° and 90°, one at 37°
    query_MQF = torch.tensor([[[0.7, 0.7], [1.0, 0.1]]])
    assert predict(gallery_MGF, query_MQF, torch.tensor([4, 4, 7]))[0].tolist() == [4, 7]  # type: ignore[operator]
