"""Which store and which protocol a run starts from."""

from pathlib import Path

from cmd_tune.data.splits import split_store
from cmd_tune.data.store import Store
from cmd_tune.runs.data_source import DataSource, open_data


def test_a_store_is_opened_under_its_first_protocol_or_the_one_asked_for(tiny_store: Store, tmp_path: Path) -> None:
    source, store = open_data(tmp_path, tiny_store.path, None)
    assert source == DataSource(tiny_store.path, split_store(tiny_store, None)[0])
    assert store.fingerprint == tiny_store.fingerprint
    source, _ = open_data(tmp_path, tiny_store.path, "xsub")
    _, split = source.open("validation")
    assert split.pretrain_N.tolist() == split_store(tiny_store, "xsub")[1].pretrain_N.tolist()
    assert list(tmp_path.iterdir()) == []


def test_without_a_store_actions_are_made_up_once(tmp_path: Path) -> None:
    source, store = open_data(tmp_path / "runs", None, None)
    assert source.path.parent == tmp_path / "runs" / "data"
    assert (store.dataset, store.layout.name) == ("synthetic", "ntu-25")
    written = source.path.stat().st_mtime_ns
    again, _ = open_data(tmp_path / "runs", None, None)
    assert again == source
    assert source.path.stat().st_mtime_ns == written
