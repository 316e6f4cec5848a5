"""A setting that a kept file lacks has its default wherever the file is read, whatever the run's preset has."""

import pytest
import yaml

from cmd_tune.errors import UsageError
from cmd_tune.runs.run_folder import PRETRAIN_FILE, SEARCH_FILE
from cmd_tune.runs.single_run import new_single, resumed_single
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.plan import new_plan, resumed_plan
from cmd_tune.search.request import check_request
from cmd_tune.settings import PRESETS, Settings, kept_settings, make_settings
from cmd_tune.train.checkpoint import save_checkpoint
from cmd_tune.train.loop import CHECKPOINT, build_pretrainer
from cmd_tune.train.saved_checkpoint import open_saved

LACKED = ("schedule", "crop_min_share", "encoder", "views")  # the first two differ in the quick preset


@pytest.fixture
def without():
    """Takes settings out of a mapping, as a release that did not have them wrote it."""
    return lambda values: {key: value for key, value in values.items() if key not in LACKED}


def expected(settings):
    """The settings, but for the defaults of what their file lacks."""
    return Settings(**{key: value for key, value in settings.model_dump().items() if key not in LACKED})


def rewrite(path, change):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(change(content)), encoding="utf-8")


def test_it_has_the_default_and_not_a_presets_value(without):
    quick = make_settings("quick")
    kept = kept_settings("old.yaml", without(quick.model_dump(mode="json")))
    assert (kept.schedule, kept.crop_min_share, kept.encoder, kept.views) == ("step", 0.1, "gru", "crop_shear")
    assert kept == expected(quick) != quick
    assert kept_settings("old.yaml", {}) == Settings()
    assert PRESETS["paper"] == {}
    with pytest.raises(UsageError, match=r"^old.yaml: unknown setting 'epoch', did you mean 'epochs'\?$"):
        kept_settings("old.yaml", {"epoch": 3})


def test_in_a_pretrainings_plan(tiny, tiny_store, without, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    options = dict.fromkeys(("protocol", "preset", "tracking_uri"))
    made = new_single(
        data=tiny_store.path, config=config, name="it", overrides=[], storage=tmp_path / "runs", **options
    )
    rewrite(made.folder / PRETRAIN_FILE, lambda plan: {**plan, "settings": without(plan["settings"])})
    assert resumed_single("it", kept_options={}, storage=tmp_path / "runs").settings == expected(made.settings)


def test_in_a_searchs_plan_and_its_best_settings(make_plan_folder, tiny_store, without, tmp_path):
    made = make_plan_folder()
    rewrite(made.folder / SEARCH_FILE, lambda plan: {**plan, "settings": without(plan["settings"])})
    options = {**dict.fromkeys(("space_name", "trials", "tracking_uri")), "resources": ResourceRequest()}
    assert resumed_plan("it", kept_options={}, storage=tmp_path / "runs", **options).settings == expected(made.settings)

    best = made.folder / "best.yaml"
    best.write_text(yaml.safe_dump(without(made.settings.model_dump(mode="json"))))
    options = dict.fromkeys(("data", "protocol", "preset", "tracking_uri"))
    again = new_single(config=best, name="again", overrides=["epochs=2"], storage=tmp_path / "runs", **options)
    assert again.settings == expected(made.settings).model_copy(update={"epochs": 2})


@pytest.fixture
def make_plan_folder(tiny_store, tmp_path):
    """Plans a search of the quick preset in the folder `it`."""
    space = tmp_path / "space.yaml"
    metric = {"name": "loss/total", "goal": "minimize"}
    space.write_text(
        yaml.safe_dump({"method": "random", "metric": metric, "parameters": {"layers": {"values": [1, 2]}}})
    )
    options = dict.fromkeys(("protocol", "preset", "trials", "tracking_uri"))
    return lambda: new_plan(
        check_request(
            str(space),
            data=tiny_store.path,
            name="it",
            overrides=["batch_size=8"],
            resources=ResourceRequest(),
            storage=tmp_path / "runs",
            **options,
        )
    )


def test_in_a_checkpoint(tiny, without, tmp_path):
    settings = tiny(schedule="step", crop_min_share=0.1)
    state = {"pretrainer": build_pretrainer(settings, 60).state_dict(), "epoch": 1}
    save_checkpoint(tmp_path / CHECKPOINT, {**state, "settings": without(settings.model_dump(mode="json"))})
    saved = open_saved(tmp_path)
    assert saved.settings == settings
    assert saved.encoders().modalities == len(settings.modalities)
