"""The plan file of a run: what is written is what is read, also from a file of an earlier release."""

from pathlib import Path

import pytest
import yaml

from cmd_tune.data.store import Store
from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.evaluation_plan import Evaluation
from cmd_tune.runs.run_plan import RunPlan, data_fields, experiment_name
from cmd_tune.runs.single_run import SingleRun
from cmd_tune.settings import Settings, make_settings

COMMON = ["data", "fingerprint", "protocol", "dataset", "normalization", "tracking_uri", "id", "environment"]


@pytest.fixture
def common(tiny_store: Store, tmp_path: Path) -> dict[str, object]:
    """What every plan has, of a run in a new folder."""
    (tmp_path / "runs" / "it").mkdir(parents=True)
    data = data_fields(DataSource(tiny_store.path, "xview"), tiny_store)
    return {**data, "folder": tmp_path / "runs" / "it", "tracking_uri": "sqlite:////mlflow.db"}


def resumed(kind: type[RunPlan], storage: Path) -> RunPlan:
    return kind.resumed("it", kept_options={}, storage=storage)


def test_a_pretraining_is_read_as_it_was_written(common: dict[str, object], tmp_path: Path) -> None:
    settings = make_settings("quick", ("here", {"topk": 3, "modalities": ["joint", "bone"]}))
    plan = SingleRun(**common, settings=settings, new=True)
    plan.write()
    content = yaml.safe_load((tmp_path / "runs" / "it" / "pretrain.yaml").read_text(encoding="utf-8"))
    assert list(content) == ["settings", *COMMON]
    assert content["settings"] == settings.model_dump(mode="json")
    again = resumed(SingleRun, tmp_path / "runs")
    assert again == plan.model_copy(update={"new": False})
    assert (again.name, again.experiment) == ("it", "synthetic-xview")
    assert again.normalization == "2s-agcn"


def test_an_evaluation_is_read_as_it_was_written(common: dict[str, object], tiny_store: Store, tmp_path: Path) -> None:
    plan = Evaluation(
        **common, checkpoint=tmp_path / "checkpoint.pt", tasks=("knn", "semi"), transfer_data=tiny_store.path,
        transfer_protocol="xsub", official_best_of_test=True, seed=3,
    )  # fmt: skip
    plan.write()
    content = yaml.safe_load((tmp_path / "runs" / "it" / "evaluate.yaml").read_text(encoding="utf-8"))
    own = ["checkpoint", "weights", "tasks", "transfer_data", "transfer_fingerprint", "transfer_protocol"]
    assert list(content) == [*own, "official_best_of_test", "seed", *COMMON]
    assert content["tasks"] == ["knn", "semi"]
    again = resumed(Evaluation, tmp_path / "runs")
    assert again == plan
    assert isinstance(again, Evaluation)
    assert again.transfer == DataSource(tiny_store.path, "xsub")


def test_what_an_earlier_release_did_not_write_is_made_up_for(
    common: dict[str, object], tiny_store: Store, tmp_path: Path
) -> None:
    kept = {"settings": {"epochs": 7}, "data": str(tiny_store.path), "protocol": "xview", "dataset": "synthetic"}
    kept |= {"tracking_uri": "sqlite:////mlflow.db", "of another release": 1}
    (tmp_path / "runs" / "it" / "pretrain.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
    plan = resumed(SingleRun, tmp_path / "runs")
    assert isinstance(plan, SingleRun)
    assert plan.settings == Settings(epochs=7)
    assert plan.fingerprint is None
    assert plan.experiment == "synthetic-xview"


def test_a_setting_that_was_changed_by_hand_is_named_with_its_file(common: dict[str, object], tmp_path: Path) -> None:
    SingleRun(**common, settings=Settings()).write()
    path = tmp_path / "runs" / "it" / "pretrain.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("epochs: ", "epochs: -"), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"^{path}: settings: epochs = -"):
        resumed(SingleRun, tmp_path / "runs")


def test_keys_that_are_missing_are_named_with_their_file(common: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "runs" / "it" / "pretrain.yaml"
    path.write_text(f"data: {common['data']}\nprotocol: xview\nsettings: {{}}\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        resumed(SingleRun, tmp_path / "runs")
    assert caught.value.lines == [f"{path}: {key}: is missing" for key in ("dataset", "tracking_uri")]


def test_a_plan_that_cannot_be_written_leaves_no_folder(common: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "runs" / "it" / "pretrain.yaml").mkdir()
    with pytest.raises(CmdTuneError, match=r"pretrain.yaml: cannot be written"):
        SingleRun(**common, settings=Settings()).write_new()
    assert not (tmp_path / "runs" / "it").exists()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("data", 3, "data: should be a path; found 3"),
        ("settings", 3, "settings: should be a mapping (setting: value); found 3"),
    ],
)
def test_a_value_that_a_plan_file_cannot_have_is_named(
    common: dict[str, object], tmp_path: Path, key: str, value: object, said: str
) -> None:
    SingleRun(**common, settings=make_settings("quick"), new=True).write()
    path = tmp_path / "runs" / "it" / "pretrain.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**content, key: value}, sort_keys=False), encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        resumed(SingleRun, tmp_path / "runs")
    assert str(refused.value).endswith(f"pretrain.yaml: {said}")


def test_runs_of_different_normalisations_are_not_compared() -> None:
    """They are in experiments of their own; what earlier releases wrote was of 2s-agcn."""
    names = [experiment_name("nw-ucla", "xview", family) for family in ("", "2s-agcn", "upright", "none")]
    assert names == ["nw-ucla-xview", "nw-ucla-xview", "nw-ucla-xview-upright", "nw-ucla-xview-none"]


def test_an_earlier_release_left_no_identity_and_the_one_that_is_made_is_kept(
    common: dict[str, object], tmp_path: Path
) -> None:
    SingleRun(**common, settings=Settings()).write()
    path = tmp_path / "runs" / "it" / "pretrain.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    del content["id"]
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    plan = resumed(SingleRun, tmp_path / "runs")
    assert plan.id.startswith("earlier-")
    assert "id" not in yaml.safe_load(path.read_text(encoding="utf-8"))  # it may yet be refused
    plan.keep_record()
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == {**content, "id": plan.id}
    assert resumed(SingleRun, tmp_path / "runs").id == plan.id


def test_a_run_may_be_recorded_elsewhere_and_its_password_is_not_kept(
    common: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    SingleRun(**common, settings=Settings()).write()
    path = tmp_path / "runs" / "it" / "pretrain.yaml"
    uri = "http://me:s3cret@host:5000"
    plan = SingleRun.resumed("it", kept_options={}, storage=tmp_path / "runs", tracking_uri=uri)
    assert plan.tracking_uri == uri
    plan.keep_record()
    assert "s3cret" not in path.read_text(encoding="utf-8")
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["tracking_uri"] == "http://me:***@host:5000"
    with pytest.raises(UsageError, match=r"^--tracking-uri: the password of http://me:\*\*\*@host:5000 is not kept"):
        resumed(SingleRun, tmp_path / "runs")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert resumed(SingleRun, tmp_path / "runs").tracking_uri == uri


def test_an_identity_that_would_end_a_filter_is_refused(common: dict[str, object], tmp_path: Path) -> None:
    SingleRun(**common, settings=Settings()).write()
    path = tmp_path / "runs" / "it" / "pretrain.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**content, "id": "a' or 'b"}, sort_keys=False), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"^{path}: id: "):
        resumed(SingleRun, tmp_path / "runs")
