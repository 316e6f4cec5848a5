"""One configuration without a search: how it ends where a part of it fails."""

from io import StringIO

import pytest
from mlflow import MlflowClient
from rich.console import Console

from cmd_tune.errors import CmdTuneError
from cmd_tune.runs import single_run
from cmd_tune.runs.single_run import SingleRun, run_single


def test_what_fails_beside_the_run_is_named_and_the_rest_is_done(tiny, tiny_store, tmp_path, monkeypatch):
    def fail(*_):
        raise CmdTuneError("there is no room for it")

    folder = tmp_path / "runs" / "it"
    folder.mkdir(parents=True)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    single = SingleRun(
        folder=folder, settings=tiny(), data=tiny_store.path, protocol="xview", dataset="synthetic", tracking_uri=uri
    )
    for part in ("baseline_scores", "test_scores"):
        monkeypatch.setattr(single_run, part, fail)
    screen = StringIO()
    with pytest.raises(CmdTuneError, match=r"^baselines, test: failed, the rest is done; .* --resume it .*--test$"):
        run_single(single, test=True, console=Console(file=screen, width=200))
    lines = screen.getvalue().splitlines()
    assert "baselines: there is no room for it" in lines
    assert "test: there is no room for it" in lines
    assert any(line.startswith("val/knn/fused ") for line in lines)
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("synthetic-xview").experiment_id])
    assert run.info.status == "FAILED"
    assert len(client.get_metric_history(run.info.run_id, "loss/total")) == 3


def test_an_address_that_is_none_of_mlflows_leaves_no_folder(tiny, tiny_store, tmp_path):
    """Nor does it take that of an earlier session away."""
    uri = f"sqlite:///{tmp_path / 'no' / 'such' / 'file'}"
    (tmp_path / "no").write_text("a file, where a folder is needed")
    for new in (True, False):
        folder = tmp_path / f"new-{new}"
        folder.mkdir()
        single = SingleRun(
            folder=folder,
            new=new,
            settings=tiny(),
            data=tiny_store.path,
            protocol="xview",
            dataset="synthetic",
            tracking_uri=uri,
        )
        with pytest.raises(CmdTuneError, match=f"^MLflow at {uri}: "):
            run_single(single, test=False, console=Console(file=StringIO()))
        assert folder.exists() is not new
