"""Families compared on a source: the numbers of each, and what the command prints."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.inspect.posture import posture
from cmd_tune.data.normalizations import NORMALIZATIONS
from cmd_tune.data.splits import split_store
from cmd_tune.errors import UsageError
from cmd_tune.evaluate import families
from cmd_tune.evaluate.families import MODALITIES, compare_families, compare_on_screen, renormalised
from cmd_tune.evaluate.scores import raw_knn_scores


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of Northwestern-UCLA's form: three classes, four subjects, three cameras that are turned about y."""
    folder = tmp_path_factory.mktemp("source")
    random = np.random.default_rng(0)
    rest_VC, swing_LVC = random.normal(size=(20, 3)), random.normal(size=(3, 20, 3))
    for label in range(3):
        for subject in range(1, 5):
            for camera in range(1, 4):
                phase_T = np.linspace(0, 6, random.integers(8, 16))
                x_TVC = (
                    rest_VC
                    + np.sin(phase_T)[:, None, None] * swing_LVC[label]
                    + 0.6 * random.normal(size=(len(phase_T), 20, 3))
                )
                sine, cosine = np.sin(camera), np.cos(camera)
                x_TVC = x_TVC @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]).T + [0, 0, 5]
                if subject == 1:
                    x_TVC[3, 4] = 0
                record = {"skeletons": x_TVC.tolist(), "label": label + 1}
                name = f"a{label + 1:02}_s{subject:02}_e00_v{camera:02}"
                (folder / f"{name}.json").write_text(json.dumps(record))
    return folder


def test_each_family_has_the_numbers_of_its_own_store(source: Path, tmp_path: Path) -> None:
    """What is compared in memory is what `ingest --normalise` writes."""
    raw = ingest("nw-ucla", source, tmp_path / "none.arrow", normalization="none").store
    _, split = split_store(raw)
    compared = dict(compare_families(raw, split.validation))
    assert list(compared) == list(NORMALIZATIONS)
    for name, family in compared.items():
        store = ingest("nw-ucla", source, tmp_path / f"{name}.arrow", normalization=name).store
        assert np.array_equal(store.rows_FX, renormalised(raw, name)[0].rows_FX)
        assert family.scores == raw_knn_scores(store, split.validation, modalities=MODALITIES, prefix="val")
        assert np.array_equal(family.stands.tilt_N, posture(store).tilt_N)
        assert family.refused == 0


def test_large_sets_are_compared_by_some_of_their_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "MOST", 3)
    assert families._at_most(np.arange(10, 20)).tolist() == [10, 14, 19]
    assert families._at_most(np.arange(3)).tolist() == [0, 1, 2]


def printed(source: Path, out: Path | None = None, kind: str = "nw-ucla", protocol: str | None = None) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=160)
    compare_on_screen(kind, source, layout=None, exclude=None, protocol=protocol, out=out, console=console)
    return file.getvalue().splitlines()


def test_what_the_command_prints(source: Path, tmp_path: Path) -> None:
    lines = printed(source, tmp_path / "families.png")
    assert [line.split()[0] for line in lines[:7]] == ["normalisation", *NORMALIZATIONS]
    # Of four subjects one is held out: 3 classes before each of two cameras.
    assert lines[7] == (
        "1-NN: percent of 6 clips that xview holds out of its training set, by raw skeletons; one is 16.67 points. The "
        "test set is not looked at."
    )
    assert lines[8] == "joints filled in: 9: left_shoulder 9"
    assert "is the default of nw-ucla" in lines[9]
    assert lines[10] == f"figure: {tmp_path / 'families.png'}"
    assert (tmp_path / "families.png").stat().st_size > 10_000


def test_without_a_test_camera_there_is_no_split(source: Path, tmp_path: Path) -> None:
    for path in source.glob("*_v01.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lines = printed(tmp_path)
    assert lines[1].split()[1:3] == ["–", "–"]
    assert lines[7] == "no nearest neighbours: protocol xview leaves no clips to test"
    with pytest.raises(UsageError, match="protocol: 'xsub' is not one of nw-ucla"):
        printed(source, protocol="xsub")
