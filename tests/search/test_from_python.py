"""Searches from Python, with trials in this process in the place of Ray's."""

import pytest

import cmd_tune
from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.search.execution import ENGINES
from cmd_tune.yaml_files import read_yaml
from tests.search.local_engine import LocalEngine
from tests.search.played import SPACE

TINY = {
    "hidden_size": 8, "embedding_size": 8, "frames": 8, "queue_size": 32, "topk": 8, "crop_min_frames": 4, "epochs": 2,
    "batch_size": 8, "modalities": ["joint", "motion"], "learning_rate": 1e-05,
}  # fmt: skip


def test_a_search_of_a_mapping_runs_and_is_opened_again(tmp_path, tiny_store, monkeypatch, capsys):
    monkeypatch.setitem(ENGINES, "ray", LocalEngine)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = cmd_tune.run_search(
        SPACE, data=tiny_store.path, settings=TINY, trials=2, storage=tmp_path / "runs", name="it", quiet=True
    )
    assert capsys.readouterr().out == ""
    assert (result.folder, str(result.state)) == (tmp_path / "runs" / "it", "finished")
    assert result.trials["student_temperature"].iloc[0] == 0.1
    assert (result.best.learning_rate, result.best.modalities) == (1e-05, ("joint", "motion"))
    kept = read_yaml(result.folder / "search.yaml")
    assert (kept["space"], kept["trials"]) == (str(result.folder / "space.yaml"), 2)
    again = cmd_tune.open_search("it", storage=tmp_path / "runs")
    assert again.trials.equals(result.trials)
    assert cmd_tune.open_search(result.folder).best == result.best
    assert isinstance(again, cmd_tune.SearchResult)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"space": {"parameters": {"student_temprature": {"values": [1]}}}}, "student_temprature"),
        (
            {"space": "tmps.yaml"},
            "no such file, nor a search space of that name; did you mean 'temps'?",
        ),
        ({"space": SPACE, "preset": "huge"}, "huge"),
        ({"space": SPACE, "settings": {"epoch": 3}}, "epoch"),
        ({"space": SPACE, "data": "none.arrow"}, "none.arrow"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_leaves_no_folder(tmp_path, options, said):
    with pytest.raises(CmdTuneError) as caught:
        cmd_tune.run_search(**options, storage=tmp_path / "runs")
    (line,) = caught.value.lines
    assert said in line
    assert not list((tmp_path / "runs").glob("*/search.yaml"))


def test_a_name_of_no_search_is_a_mistake(tmp_path):
    with pytest.raises(UsageError, match=r"^it: .* has no such run; there are none$"):
        cmd_tune.open_search("it", storage=tmp_path)


def test_the_package_has_these_and_no_others():
    with pytest.raises(AttributeError, match="module 'cmd_tune' has no attribute 'serch'"):
        _ = cmd_tune.serch
    assert cmd_tune.search.__name__ == "cmd_tune.search"  # the folder, for which the function has another name
