"""One configuration without a search: what it is trained on."""

import pytest
import yaml

from cmd_tune.errors import UsageError
from cmd_tune.search.run import DataSource
from cmd_tune.search.single import new_single, resumed_single


def single(storage, **changes):
    names = ("data", "protocol", "preset", "config", "name", "tracking_uri")
    return new_single(**{**dict.fromkeys(names), "overrides": ["batch_size=8"], "storage": storage, **changes})


@pytest.fixture
def best(make_store, tmp_path):
    """The best configuration of a search on a store, under its second protocol."""
    folder = tmp_path / "runs" / "it"
    folder.mkdir(parents=True)
    store = make_store()
    kept = {"data": str(store.path), "fingerprint": store.fingerprint, "protocol": "xsub"}
    (folder / "search.yaml").write_text(yaml.safe_dump(kept))
    (folder / "best.yaml").write_text("epochs: 3\n")
    return folder / "best.yaml"


def test_the_best_of_a_search_is_trained_on_its_data(best, make_store, tmp_path):
    found = single(tmp_path / "runs", config=best, name="a")
    assert found.source == DataSource(tmp_path / "tiny.arrow", "xsub")
    assert single(tmp_path / "runs", config=best, name="b", protocol="xview").source.protocol == "xview"
    assert single(tmp_path / "runs", config=best, name="c", data=tmp_path / "tiny.arrow").source.protocol == "xview"
    make_store(seed=1)
    with pytest.raises(UsageError, match="is no longer what this run began with"):
        single(tmp_path / "runs", config=best, name="d")
    (tmp_path / "tiny.arrow").unlink()
    with pytest.raises(UsageError, match=r"best.yaml is of a search on .*, which is not there; name the store"):
        single(tmp_path / "runs", config=best, name="d")
    assert not (tmp_path / "runs" / "d").exists()


def test_a_run_goes_on_with_the_data_it_began_with(make_store, tmp_path):
    store = make_store()
    single(tmp_path / "runs", data=store.path, name="a")
    assert resumed_single("a", kept_options={}, storage=tmp_path / "runs").source.path == store.path
    make_store(seed=1)
    with pytest.raises(UsageError, match=r"pretrain.yaml: data: .*tiny.arrow is no longer what this run began with"):
        resumed_single("a", kept_options={}, storage=tmp_path / "runs")
