"""An evaluation before it runs and as it goes on: its tasks, its data, and whether they fit the checkpoint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.compute.slower import Slower
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.splits import split_store
from cmd_tune.data.store import open_store
from cmd_tune.errors import DataError, UsageError
from cmd_tune.evaluate.tasks import DEFAULT_TASKS
from cmd_tune.remote_files import RemoteFolder
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.evaluation_plan import (
    check_fit,
    checkpoint_here,
    new_evaluation,
    remarks,
    resumed_evaluation,
)
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.train.checkpoint import load_checkpoint, save_checkpoint
from cmd_tune.train.saved_checkpoint import open_saved


def asked(checkpoint, store, storage, **changes):
    """An evaluation as the command asks for it; store None: without --data."""
    data = store and store.path
    options = {"protocol": None, "tasks": None, "transfer_data": None, "best_of_test": False, "seed": 0, "name": None}
    return new_evaluation(checkpoint, data=data, storage=storage, tracking_uri=None, **{**options, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": "knnn"}, "--with knnn: no such task, did you mean 'knn'?"),
        ({"tasks": "transfer"}, "--with transfer and --transfer-data STORE go together"),
        (
            {"best_of_test": True},
            "--official-best-of-test: applies to sgd, finetune, transfer, and --with names none of these",
        ),
        (
            {"best_of_test": True, "tasks": "semi,knn"},
            "--official-best-of-test: applies to sgd, finetune, transfer, and",
        ),
        ({"seed": 3, "tasks": "knn,retrieval"}, "--seed 3: applies to sgd, semi, finetune, transfer, and --with names"),
        ({"protocol": "xsup"}, "protocol: 'xsup' is not one of synthetic; did you mean 'xsub'?"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(run_folder, tiny_store, tmp_path, changes, message):
    with pytest.raises(UsageError) as caught:
        asked(run_folder, tiny_store, tmp_path / "runs", **changes)
    assert str(caught.value).startswith(message)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["p"]


def test_the_probes_names_of_an_earlier_release_still_work(run_folder, tiny_store, tmp_path):
    """They are what they were, under the new names; a linear probe of a search is the solved one."""
    evaluation = asked(run_folder, tiny_store, tmp_path / "runs", tasks="linear, fast,knn,sgd", best_of_test=True)
    assert evaluation.tasks == ("sgd", "solved", "knn")
    with pytest.raises(UsageError, match="--with fastt: no such task"):
        asked(run_folder, tiny_store, tmp_path / "runs", tasks="fastt")


def test_other_skeletons_are_refused(run_folder, make_store, tmp_path):
    store = make_store(layout="ntu-25", bodies=2)
    with pytest.raises(DataError, match=r"25 joints × 3 × 2 bodies are 150 channels, the encoders of .* take 60"):
        asked(run_folder, store, tmp_path / "runs")


def test_without_data_a_checkpoint_is_scored_on_what_it_was_trained_on(trained, tmp_path):
    folder, store = trained
    evaluation = asked(folder, None, tmp_path / "runs")
    assert (evaluation.source, evaluation.dataset) == (DataSource(store.path, "xsub"), "synthetic")
    assert asked(folder, store, tmp_path / "runs", name="again").source.protocol == "xsub"
    assert asked(folder, None, tmp_path / "runs", name="other", protocol="xview").source.protocol == "xview"


@pytest.mark.parametrize("then", ["gone", "changed"])
def test_data_that_are_no_longer_there_are_asked_for(trained, make_store, tmp_path, then):
    folder, store = trained
    store.path.rename(tmp_path / "elsewhere.arrow")
    if then == "changed":
        make_store(seed=1)
    else:
        content = load_checkpoint(folder / "checkpoint.pt")
        content.pop("format")
        save_checkpoint(folder / "checkpoint.pt", {**content, "data": {**content["data"], "dataset": "mine"}})
    with pytest.raises(UsageError, match=f"{store.path}, which .* name the store") as caught:
        asked(folder, None, tmp_path / "runs")
    assert caught.value.exit_code == 2
    assert len(list((tmp_path / "runs").iterdir())) == 1
    moved = open_store(tmp_path / "elsewhere.arrow")
    query_N = split_store(moved, "xsub")[1].test[0].query_N
    assert remarks(open_saved(folder), moved, "xsub", query_N) == []
    if then == "changed":
        (said,) = remarks(open_saved(folder), open_store(store.path), "xsub", query_N)
        assert said.startswith("not the data that the checkpoint was trained on: synthetic xsub")


def test_test_clips_that_were_pretrained_on_are_said(trained):
    """Also of a checkpoint of an earlier release, which has no keys of clips."""
    folder, store = trained
    seen = split_store(store, "xsub")[1].pretrain_N
    query_N = split_store(store, "xview")[1].test[0].query_N
    both = len(set(seen) & set(query_N))
    assert both > 0
    saved = open_saved(folder)
    said = [
        "scored under xview, but pretrained under xsub",
        f"the checkpoint was pretrained on {both} of these {len(query_N)} test clips",
    ]
    assert remarks(saved, store, "xview", query_N) == said
    older = {key: saved.data[key] for key in store.record("xsub")}
    assert remarks(replace(saved, data=older), store, "xview", query_N) == said
    assert remarks(saved, store, "xsub", split_store(store, "xsub")[1].test[0].query_N) == []


def test_what_is_not_known_is_said_to_be_unknown(trained, make_store):
    folder, store = trained
    saved = open_saved(folder)
    (said,) = remarks(replace(saved, data={}), store, "xview", np.arange(3))
    assert said.startswith(f"it is unknown what {saved.path} was pretrained on, perhaps on some of these test clips; ")
    older = {key: saved.data[key] for key in store.record("xsub")}
    said = remarks(replace(saved, data=older), make_store(seed=1), "xsub", np.arange(3))
    assert said[1:] == ["it is unknown on how many of these 3 test clips the checkpoint was pretrained"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalization": "upright"}, "normalised as upright, what .* was trained on as 2s-agcn"),
        (
            {"layout": replace(LAYOUTS["kinect-20"], base=(3,))},
            "its skeletons are kinect-20, those that .* was trained",
        ),
    ],
)
def test_other_normalisations_and_joints_are_refused(trained, changes, message):
    folder, store = trained
    with pytest.raises(DataError, match=message):
        check_fit(open_saved(folder), replace(store, **changes))


def test_every_difference_of_the_skeletons_is_named(trained):
    folder, store = trained
    other = replace(store, normalization="none", layout=replace(LAYOUTS["kinect-20"], base=(3,)))
    with pytest.raises(DataError) as caught:
        check_fit(open_saved(folder), other)
    assert [line.partition(": ")[2][:12] for line in caught.value.lines] == ["its skeleton", "normalised a"]


def test_an_evaluation_goes_on_with_what_it_began_with(trained, make_store, tiny, tmp_path):
    folder, store = trained
    asked(folder, store, tmp_path / "runs", name="e")

    def resumed():
        return resumed_evaluation("e", kept_options={}, storage=tmp_path / "runs")

    assert resumed().source == DataSource(store.path, "xsub")
    make_store(seed=1)
    with pytest.raises(UsageError, match=r"evaluate.yaml: data: .*tiny.arrow is no longer what this run began with"):
        resumed()
    make_store()
    (folder / "checkpoint.pt").unlink()
    run(tiny(epochs=2), DataSource(store.path, "xsub"), folder, lambda record: None)
    with pytest.raises(UsageError, match=r"checkpoint: .*checkpoint.pt has changed since; start a new evaluation"):
        resumed()


def test_a_checkpoint_must_be_named(tiny_store, tmp_path):
    with pytest.raises(UsageError, match="CHECKPOINT: name a checkpoint"):
        asked(None, tiny_store, tmp_path)


@pytest.mark.parametrize("value", [0, Path("x"), 3])
def test_whatever_was_typed_is_refused_on_a_resume(tmp_path, value):
    """Also a seed of 0, which is no less a value than another."""
    with pytest.raises(UsageError, match="--seed: a resumed run keeps its own"):
        resumed_evaluation("e", kept_options={"--seed": value, "--with": None}, storage=tmp_path)


def test_what_is_not_asked_for_is_usual(run_folder, tiny_store, tmp_path):
    evaluation = asked(run_folder, tiny_store, tmp_path / "runs")
    assert evaluation.tasks == DEFAULT_TASKS
    assert (evaluation.checkpoint, evaluation.weights) == (
        run_folder / "checkpoint.pt", open_saved(run_folder).fingerprint,
    )  # fmt: skip
    assert (evaluation.source, evaluation.transfer) == (DataSource(tiny_store.path, "xview"), None)
    assert asked(run_folder, tiny_store, tmp_path / "runs", tasks="knn, knn,retrieval").tasks == ("knn", "retrieval")


def test_a_transfer_has_data_of_its_own_that_fit_the_encoders_too(run_folder, tiny_store, make_store, tmp_path):
    other = make_store(seed=1)
    evaluation = asked(run_folder, tiny_store, tmp_path / "runs", tasks="transfer", transfer_data=other.path)
    assert evaluation.transfer == DataSource(other.path, "xview")
    assert (evaluation.source.path, evaluation.transfer_fingerprint) == (tiny_store.path, other.fingerprint)
    wide = make_store(layout="ntu-25")
    with pytest.raises(DataError, match=r"are 75 channels, the encoders of .* take 60"):
        asked(run_folder, tiny_store, tmp_path / "runs", tasks="transfer", transfer_data=wide.path)
    with pytest.raises(UsageError, match="--with transfer and --transfer-data STORE go together"):
        asked(run_folder, tiny_store, tmp_path / "runs", tasks="knn", transfer_data=other.path)


def test_a_layout_of_another_name_is_the_same_skeleton(trained):
    """Joints and bones are what the encoders were trained on, whatever a file calls them."""
    folder, store = trained
    check_fit(open_saved(folder), replace(store, layout=replace(store.layout, name="mine")))


def test_a_checkpoint_at_a_uri_is_fetched(s3, run_folder):
    RemoteFolder(s3).upload(run_folder / "checkpoint.pt", "p/checkpoint.pt")
    for typed in (f"{s3}/p", f"{s3}/p/", f"{s3}/p/checkpoint.pt"):
        path = checkpoint_here(typed)
        assert path.read_bytes() == (run_folder / "checkpoint.pt").read_bytes()
    with pytest.raises(DataError, match=r"/q/checkpoint.pt: there is no such file$"):
        checkpoint_here(f"{s3}/q")
    assert (checkpoint_here(None), checkpoint_here("runs/p")) == (None, Path("runs/p"))


def test_where_the_last_checkpoint_at_a_uri_is_damaged_or_gone_the_one_before_it_is_taken(s3, run_folder):
    remote, content = RemoteFolder(f"{s3}/p"), (run_folder / "checkpoint.pt").read_bytes()
    remote.write("checkpoint-before.pt", content)
    with pytest.warns(Slower, match=rf"^{s3}/p/checkpoint.pt: there is no such file; {s3}/p/checkpoint-before.pt is"):
        assert checkpoint_here(f"{s3}/p").name == "checkpoint-before.pt"
    remote.write("checkpoint.pt", content[:1000] + bytes([content[1000] ^ 4]) + content[1001:])
    damaged = f"{s3}/p/checkpoint.pt: not a whole checkpoint (its content is not what was written)"
    with pytest.warns(Slower) as said:
        path = checkpoint_here(f"{s3}/p")
    assert [str(warning.message) for warning in said] == [
        f"{damaged}; {s3}/p/checkpoint-before.pt is used in its place"
    ]
    assert open_saved(path).epoch == 3
    remote.write("checkpoint-before.pt", content[:-3])
    with pytest.raises(DataError) as neither:
        checkpoint_here(f"{s3}/p")
    assert str(neither.value) == damaged
