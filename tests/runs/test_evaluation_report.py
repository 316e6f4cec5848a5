"""What an evaluation found, beside what was right by hand: six clips of two subjects, two classes."""

from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from cmd_tune.evaluate.intervals import difference_interval
from cmd_tune.evaluate.tasks import Estimate, Measure
from cmd_tune.figures import DPI
from cmd_tune.runs.evaluation_report import confusion, differences, draw_figures, figures, metrics, on_screen, results

LABELS = [0, 0, 1, 1, 0, 1]
OURS, THEIRS = [0, 0, 1, 0, 0, 1], [0, 1, 0, 0, 0, 1]  # 5 and 3 of 6 right


@pytest.fixture
def data():
    """Clips 0 to 3 to learn from, 4 to 9 to be asked about; two subjects of four and two of these."""
    store = SimpleNamespace(
        dataset="rig",
        normalization="ours",
        label_N=np.array([0, 1, 0, 1, *LABELS]),
        subject_N=np.array([5, 5, 6, 6, 1, 1, 1, 1, 2, 2], np.int32),
        names=[f"clip-{n}" for n in range(10)],
    )
    settings = SimpleNamespace(modalities=("joint", "bone"))
    return SimpleNamespace(store=store, settings=settings, train_N=np.arange(4), query_N=np.arange(4, 10))


@pytest.fixture
def lines():
    def measure(key, value, fused, std=None):
        estimates = {"joint": Estimate(value), "fused": Estimate(value, value - 10, value + 5, std)}
        return Measure(key, key.upper(), estimates, {"joint": fused, "fused": fused} if fused else None)

    return {
        "checkpoint": [measure("knn", 83.33, OURS), measure("semi", 40.0, None, std=2.25)],
        "untrained encoder": [measure("knn", 50.0, THEIRS)],
    }


def test_a_difference_is_of_the_same_clips_with_subjects_taken_together(lines, data):
    found = differences(lines, data)
    assert list(found) == ["knn"]  # the others name no labels, or have no baseline
    estimate = found["knn"]["untrained encoder"]["fused"]
    assert estimate.value == pytest.approx(100 * 2 / 6)
    # Of four clips of the first subject 3 and 1 are right, of two of the second 2 and 2.
    assert (estimate.low, estimate.high) == difference_interval([3, 2], [1, 2], [4, 2])


def test_metrics_have_a_searchs_names(lines):
    assert metrics(lines) == {
        "test/knn/joint": 83.33,
        "test/knn/fused": 83.33,
        "test/semi/joint": 40.0,
        "test/semi/fused": 40.0,
        "baseline/untrained/test/knn/joint": 50.0,
        "baseline/untrained/test/knn/fused": 50.0,
    }


def test_the_table_has_intervals_spreads_and_what_the_test_set_is(lines, data):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(on_screen(lines, data, "xsub"))
    rows = [" ".join(line.split()) for line in capture.get().splitlines()]
    assert "KNN 83.3 – 83.3 73–88 –" in rows  # joint, bone, fused, on joined features
    assert "SEMI 40.0 – 40.0 ± 2.2 –" in rows
    assert "KNN 50.0 – 50.0 40–55 –" in rows
    assert rows.index("untrained encoder") > rows.index("checkpoint")
    text = " ".join(rows)
    assert "rig xsub: 4 training clips, 6 test clips, 2 classes; normalised as ours." in text
    assert "over 6 clips, those of each of 2 subjects taken together; ±: standard deviation over subsets." in text
    low, high = difference_interval([3, 2], [1, 2], [4, 2])
    assert f"fused KNN, on the same clips: +33.3 ({low:+.1f} to {high:+.1f}) against the untrained encoder." in text


def test_everything_as_plain_values(lines, data):
    found = results(lines, data, None, {"protocol": "xsub"})
    assert (found["protocol"], found["training_clips"], found["test_clips"]) == ("xsub", 4, 6)
    assert found["scores"]["checkpoint"]["semi"]["fused"] == {"value": 40.0, "low": 30.0, "high": 45.0, "std": 2.25}
    assert found["scores"]["checkpoint"]["knn"]["joint"] == {"value": 83.33}
    assert found["test_labels"] == LABELS
    assert found["test_names"] == [f"clip-{n}" for n in range(4, 10)]
    assert found["predicted"] == {"knn": {"joint": OURS, "fused": OURS}}
    assert found["transfer_test_clips"] is None


def test_a_figure_for_each_measure_of_labels(lines, data, tmp_path):
    assert draw_figures(lines["checkpoint"], data, tmp_path) == [tmp_path / "knn.png"]
    data_of_png = (tmp_path / "knn.png").read_bytes()
    assert data_of_png.startswith(b"\x89PNG")
    drawing = figures(lines["checkpoint"], data)["knn"]
    assert (int.from_bytes(data_of_png[16:20]), int.from_bytes(data_of_png[20:24])) == (
        drawing.size[0] * DPI,
        drawing.size[1] * DPI,
    )
    assert drawing.caption == "KNN, fused: 83.3 % of 6 test clips"
    assert drawing.predicted_Q.tolist() == OURS


def test_a_confusion_matrix_by_hand():
    classes, counts = confusion(np.array([4, 4, 4, 7, 9]), np.array([4, 7, 7, 7, 2]))
    assert classes.tolist() == [2, 4, 7, 9]
    assert counts.tolist() == [[0, 0, 0, 0], [0, 1, 2, 0], [0, 0, 1, 0], [1, 0, 0, 0]]
