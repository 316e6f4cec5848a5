"""What a search shows on screens of several sizes: each trial on one line, the best and the time left always there."""

import pytest
import yaml
from rich.console import Console

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.plan import read_space
from cmd_tune.search.report import StudyFindings, write_report
from cmd_tune.search.report.live import Display
from cmd_tune.search.report.trials_table import by_difference
from cmd_tune.search.spaces.space_file import find_space
from cmd_tune.search.study.study import SearchStudy

HERE = Conditions("synthetic", "xview", {})

RANGES = {
    name: {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0}
    for name in ("teacher_temperature", "student_temperature", "contrast_temperature", "learning_rate", "weight_decay")
}
SHARES = {
    name: {"distribution": "uniform", "min": 0.1, "max": 0.9}
    for name in ("crop_min_share", "shear_range", "corrupted_share", "distill_weight", "stage_switch", "sgd_momentum")
}
CHOICES = {
    "queue_size": {"values": [64, 128, 256]},
    "topk": {"values": [16, 32]},
    "key_momentum": {"values": [0.9, 0.99]},
    "batch_size": {"values": [8, 16]},
    "layers": {"values": [1, 2]},
}
SIXTEEN = {**RANGES, **SHARES, **CHOICES}


@pytest.fixture(scope="module")
def study(tiny, tmp_path_factory):
    """Sixteen parameters, sixteen trials: two run, one failed, the others finished."""
    folder = tmp_path_factory.mktemp("screen")
    content = {"method": "random", "metric": {"name": "val/knn/fused", "goal": "maximize"}, "parameters": SIXTEEN}
    (folder / "space.yaml").write_text(yaml.safe_dump(content))
    study = SearchStudy(folder, read_space(folder / "space.yaml"), tiny(queue_size=64, topk=6), "quick", 40)
    for number in range(16):
        trial, running = study.next(), number > 13
        score = {"val/knn/fused": 1.0 if running else 40.0 + number, "val/knn/joint": 30.0}
        for epoch in (1,) if running else (1, 2, 3):
            study.record(trial, {"epoch": epoch, "loss/total": 12.345} | (score if epoch == 3 else {}))
        if number < 13:
            study.end(trial)
    study.end(study.trials[13], failure="the loss is nan in epoch 4; lower learning_rate or raise the temperatures")
    return study


def lines_of(renderable, width, height):
    console = Console(width=width, height=height, legacy_windows=False)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 24), (80, 12), (200, 50)])
def test_the_live_table_shows_best_and_time_left_on_any_screen(study, width, height):
    display = Display(study, Console(width=width, height=height))
    lines = lines_of(display._render(), width, height)
    assert len(lines) < height
    assert "best 52.00 (trial-012)" in " ".join(lines[-2:])
    assert "left" in " ".join(lines[-2:])
    trials = [line for line in lines if line[:3].isdigit()]
    assert trials[0].startswith("014")  # what runs comes first
    assert all(line.endswith(("running", "finished", "failed")) for line in trials)
    assert len(trials) >= min(13, height - 11)
    assert any(line.startswith("trial-013 failed: the loss is nan") for line in lines)
    assert any(line.startswith("… and ") and line.endswith("more parameters") for line in lines) == (width < 200)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_closing_table_has_a_line_a_trial_and_all_of_the_best_where_some_are_left_out(study, width):
    lines = lines_of(write_report(StudyFindings(study, {"val/knn/joint": 45.0}, {}, HERE)).closing, width, 24)
    assert len([line for line in lines[:10] if line.startswith("trial-")]) == 5
    text = " ".join(lines)
    assert width == 200 or all(f"{name} " in text[text.index("All of trial-012: ") :] for name in SIXTEEN)
    more = [line for line in lines if line.startswith("Shown are the parameters that differ most")]
    assert bool(more) == (width < 200)
    assert all(len(line) <= width for line in lines)


def test_few_parameters_all_have_a_column(make_space, open_study):
    study = open_study(make_space())
    study.record(study.next(), {"epoch": 1, "loss/total": 1.0})
    lines = lines_of(Display(study, Console(width=80, height=24))._render(), 80, 24)
    assert "temperature  temperature" in lines[2]
    assert not any("more parameters" in line for line in lines)


def test_parameters_by_how_much_the_trials_differ_in_them():
    space = read_space(find_space("full"))
    (start,) = space.start_points
    rows = [
        {**start, "learning_rate": 3e-4, "distill_weight": 1.0, "key_momentum": 0.97},
        {**start, "learning_rate": 1e-2, "distill_weight": 1.6, "key_momentum": 0.99},
    ]
    first = by_difference(space.parameters, rows)[:4]
    assert first[:3] == ["learning_rate", "key_momentum", "distill_weight"]  # its whole range, a quarter, a fifth
    assert first[3] == "teacher_temperature"  # the others do not differ, and stand as in the file
