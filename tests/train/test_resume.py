"""Stopped and resumed, a run ends where one that never stopped does: to the bit."""

import shutil
import warnings

import pytest
import torch

from cmd_tune.compute import native
from cmd_tune.errors import CmdTuneError, DataError, UsageError
from cmd_tune.train.checkpoint import load_checkpoint, save_checkpoint
from cmd_tune.train.kept_checkpoints import path_before
from cmd_tune.train.loop import CHECKPOINT, epochs_done

EPOCHS = 4
SETTINGS = {
    "adamw, cosine": {"optimizer": "adamw", "learning_rate": 0.003},
    "sgd, step": {"optimizer": "sgd", "learning_rate": 0.05, "schedule": "step", "step_epoch": 2},
    "bfloat16": {"optimizer": "sgd", "learning_rate": 0.05, "precision": "bfloat16"},
    "mcl": {"objective": "mcl"},
    "crossclr, two stages": {"objective": "crossclr", "stages": "two"},  # the first two epochs are base's
    "cmd, two stages": {"stages": "two", "distillation": "consensus"},
}
FIRST = "adamw, cosine"


class Stopped(Exception):
    pass


def stop_after(epoch):
    def report(record):
        if record["epoch"] == epoch:
            raise Stopped

    return report


def without_times(history):
    return [{key: value for key, value in record.items() if not key.endswith("seconds")} for record in history]


def differences(a, b, path=""):
    """Where two nests of dicts, lists and tensors differ in a bit; the seconds that epochs took are no state."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = (set(a) | set(b)) - {"seconds", "cost/seconds"}
        return [d for key in sorted(keys, key=str) for d in differences(a.get(key), b.get(key), f"{path}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for index, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}/{index}")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    return [] if type(a) is type(b) and a == b else [path]


@pytest.fixture(scope="module")
def settings(tiny):
    return {name: tiny(epochs=EPOCHS, **changes) for name, changes in SETTINGS.items()}


@pytest.fixture(scope="module")
def unbroken(settings, tiny_store, worker, tmp_path_factory):
    """Name → the final state of a run that nobody stopped, and what it reported."""
    finished = {}
    for name, values in settings.items():
        folder, reported = tmp_path_factory.mktemp("unbroken"), []
        pretrainer = worker.train(values, tiny_store, folder, reported.append)
        finished[name] = (folder, load_checkpoint(folder / CHECKPOINT), pretrainer.state_dict(), reported)
    return finished


def test_a_checkpoint_holds_all_of_the_state(unbroken, settings):
    _, checkpoint, state, reported = unbroken[FIRST]
    assert not differences(checkpoint["pretrainer"], state)
    assert without_times(checkpoint["history"]) == without_times(reported)
    assert checkpoint["settings"] == settings[FIRST].model_dump(mode="json")
    assert [record["epoch"] for record in reported] == [1, 2, 3, 4]
    parameters = checkpoint["optimizer"]["param_groups"][0]["params"]
    assert set(checkpoint["optimizer"]["state"]) == set(parameters)
    pointer = EPOCHS * 4 * 8 % 20  # 4 epochs of 4 batches of 8, bank of 20
    assert checkpoint["pretrainer"]["banks.pointer"].item() == pointer


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_stopped_after_an_epoch(unbroken, settings, tiny_store, worker, tmp_path, name, epoch):
    with pytest.raises(Stopped):
        worker.train(settings[name], tiny_store, tmp_path, stop_after(epoch))
    assert len(load_checkpoint(tmp_path / CHECKPOINT)["history"]) == epoch
    reported = []
    pretrainer = worker.train(settings[name], tiny_store, tmp_path, reported.append)
    _, checkpoint, state, all_reported = unbroken[name]
    assert not differences(load_checkpoint(tmp_path / CHECKPOINT), checkpoint)
    assert not differences(pretrainer.state_dict(), state)
    assert without_times(reported) == without_times(all_reported)


@pytest.mark.parametrize("name", [FIRST, "bfloat16"])
def test_stopped_on_joints_in_2_d(settings, flat_store, worker, tmp_path, name):
    whole = worker.train(settings[name], flat_store, tmp_path / "whole")
    with pytest.raises(Stopped):
        worker.train(settings[name], flat_store, tmp_path / "stopped", stop_after(2))
    resumed = worker.train(settings[name], flat_store, tmp_path / "stopped")
    assert not differences(resumed.state_dict(), whole.state_dict())


@pytest.mark.parametrize("way", ["two threads", "without a compiler"])
def test_stopped_on_another_way_of_computing(settings, tiny_store, worker, tmp_path, monkeypatch, way):
    before = torch.get_num_threads()
    if way == "two threads":
        torch.set_num_threads(2)
    else:
        monkeypatch.setattr(native, "library", lambda: None)
    whole = worker.train(settings[FIRST], tiny_store, tmp_path / "whole")
    with pytest.raises(Stopped):
        worker.train(settings[FIRST], tiny_store, tmp_path / "stopped", stop_after(2))
    resumed = worker.train(settings[FIRST], tiny_store, tmp_path / "stopped")
    torch.set_num_threads(before)
    assert not differences(resumed.state_dict(), whole.state_dict())


def test_stopped_between_checkpoints(unbroken, settings, tiny_store, worker, tmp_path):
    """A checkpoint every second epoch, stopped after the third: the third is run again, to the same numbers."""
    every_second = settings[FIRST].model_copy(update={"checkpoint_every": 2})
    first, second = [], []

    def report(record):
        first.append(record)
        stop_after(3)(record)

    with pytest.raises(Stopped):
        worker.train(every_second, tiny_store, tmp_path, report)
    assert [r["epoch"] for r in load_checkpoint(tmp_path / CHECKPOINT)["history"]] == [1, 2]
    pretrainer = worker.train(every_second, tiny_store, tmp_path, second.append)
    assert not differences(pretrainer.state_dict(), unbroken[FIRST][2])
    assert without_times(second[:3]) == without_times(first)


@pytest.mark.parametrize("name", ["crossclr, two stages", "cmd, two stages"])
def test_a_second_stage_goes_on_from_all_that_the_first_left(unbroken, settings, tiny_store, worker, tmp_path, name):
    """Weights, key encoders, optimiser and banks: a run of base, stopped at the switch, goes on as the objective."""
    base = settings[name].model_copy(update={"objective": "base", "stages": "one"})
    with pytest.raises(Stopped):
        worker.train(base, tiny_store, tmp_path, stop_after(2))
    state = load_checkpoint(tmp_path / CHECKPOINT)
    state.pop("format")
    save_checkpoint(tmp_path / CHECKPOINT, {**state, "settings": settings[name].model_dump(mode="json")})
    worker.train(settings[name], tiny_store, tmp_path)
    assert not differences(load_checkpoint(tmp_path / CHECKPOINT), unbroken[name][1])


def test_a_checkpoint_of_an_earlier_release(unbroken, settings, tiny_store, worker, tmp_path):
    """It lacks the settings that came later, which had their default's effect; another value than that is named."""
    later = {"objective", "stages", "stage_switch", "mcl_form", "crossclr_topk", "crossclr_context", "distillation"}
    later |= {"encoder", "views"}
    with pytest.raises(Stopped):
        worker.train(settings[FIRST], tiny_store, tmp_path, stop_after(2))
    state = load_checkpoint(tmp_path / CHECKPOINT)
    state.pop("format")
    earlier = {key: value for key, value in state["settings"].items() if key not in later}
    save_checkpoint(tmp_path / CHECKPOINT, {**state, "settings": earlier})
    other = settings[FIRST].model_copy(update={"objective": "crossclr", "stages": "two"})
    with pytest.raises(UsageError, match="was made with another objective, stages; "):
        worker.train(other, tiny_store, tmp_path)
    worker.train(settings[FIRST], tiny_store, tmp_path)
    assert not differences(load_checkpoint(tmp_path / CHECKPOINT), unbroken[FIRST][1])


def test_history_is_reported_again_in_order(settings, tiny_store, worker, tmp_path):
    """Whoever listens after a resume has every epoch once; those of the checkpoint come first, word for word."""
    with pytest.raises(Stopped):
        worker.train(settings[FIRST], tiny_store, tmp_path, stop_after(2))
    kept = load_checkpoint(tmp_path / CHECKPOINT)["history"]
    reported = []
    worker.train(settings[FIRST], tiny_store, tmp_path, reported.append)
    assert reported[:2] == kept
    assert [record["epoch"] for record in reported] == [1, 2, 3, 4]


def test_a_finished_run_is_not_trained_on(unbroken, settings, tiny_store, worker):
    folder, checkpoint, state, reported = unbroken[FIRST]
    before = (folder / CHECKPOINT).stat()
    again = []
    pretrainer = worker.train(settings[FIRST], tiny_store, folder, again.append)
    assert not differences(pretrainer.state_dict(), state)
    assert again == reported == checkpoint["history"]
    assert (folder / CHECKPOINT).stat().st_mtime_ns == before.st_mtime_ns


@pytest.fixture(scope="module")
def killed(settings, tiny_store, run_jobs, tmp_path_factory):
    """Folders of runs that SIGKILL ended: in the second epoch's third step; as the second checkpoint was to appear, the
    first one under its own name or already under that of the one before.
    """
    deaths = {"in mid-epoch": ("step", 4 + 3), "while saving": ("rename", 2), "between the renames": ("rename", 3)}
    folders = {case: tmp_path_factory.mktemp("killed") for case in deaths}
    runs = {"run": settings[FIRST]}
    jobs = [{"folder": folders[c], "store": tiny_store, "runs": runs, "die_at": deaths[c]} for c in folders]
    assert run_jobs(*jobs) == [[-9]] * 3
    return folders


@pytest.mark.parametrize("case", ["in mid-epoch", "while saving", "between the renames"])
@pytest.mark.filterwarnings("ignore::cmd_tune.compute.slower.Slower")
def test_killed(unbroken, killed, settings, tiny_store, worker, case):
    folder = killed[case] / "run"
    assert (folder / CHECKPOINT).exists() == (case != "between the renames")
    assert epochs_done(folder) == 1
    reported = []
    pretrainer = worker.train(settings[FIRST], tiny_store, folder, reported.append)
    _, checkpoint, state, all_reported = unbroken[FIRST]
    assert not differences(load_checkpoint(folder / CHECKPOINT), checkpoint)
    assert not differences(pretrainer.state_dict(), state)
    assert without_times(reported) == without_times(all_reported)
    assert [path.name for path in folder.iterdir()] == [CHECKPOINT]  # nothing of the killed writer is left


@pytest.mark.parametrize("name", [FIRST, "crossclr, two stages"])
def test_the_last_checkpoint_is_damaged(unbroken, settings, tiny_store, worker, tmp_path, name):
    """The run goes on from the one before, to the bit; the damaged one is replaced and never becomes the one before."""
    path, kept = tmp_path / CHECKPOINT, []
    with pytest.raises(Stopped):
        worker.train(settings[name], tiny_store, tmp_path, stop_after(3))
    content = path.read_bytes()
    path.write_bytes(content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:])
    assert len(load_checkpoint(path_before(path))["history"]) == 2

    def report(record):
        files = (path, path_before(path))
        kept.append([len(load_checkpoint(file)["history"]) for file in files if file.exists() and len(kept) > 1])
        reported.append(record)

    reported = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pretrainer = worker.train(settings[name], tiny_store, tmp_path, report)
    assert [str(one.message).partition("; ")[2] for one in said] == [
        "checkpoint-before.pt, of epoch 2, is used in its place"
    ]
    _, checkpoint, state, all_reported = unbroken[name]
    assert not differences(load_checkpoint(path), checkpoint)
    assert not differences(pretrainer.state_dict(), state)
    assert without_times(reported) == without_times(all_reported)
    assert kept[2:] == [[3, 2], [4]]
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_a_run_that_finished_keeps_one_even_if_it_was_killed_before_it_said_so(unbroken, settings, tiny_store, worker):
    folder = unbroken[FIRST][0]
    shutil.copy(folder / CHECKPOINT, path_before(folder / CHECKPOINT))
    worker.train(settings[FIRST], tiny_store, folder)
    assert [file.name for file in folder.iterdir()] == [CHECKPOINT]


# What cannot be resumed


@pytest.fixture
def stopped(unbroken, tmp_path):
    """A folder with a whole checkpoint."""
    shutil.copy(unbroken[FIRST][0] / CHECKPOINT, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher_temperature": 0.04},
        {"modalities": ("joint", "bone", "motion")},
        {"seed": 1, "queue_size": 21},
        {"epochs": EPOCHS + 1},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_changed_settings_are_named(stopped, settings, tiny_store, worker, changes):
    other = settings[FIRST].model_copy(update=changes)
    with pytest.raises(UsageError) as caught:
        worker.train(other, tiny_store, stopped)
    message = str(caught.value)
    assert message.startswith(f"{stopped / CHECKPOINT}: ")
    assert "\n" not in message
    named = {key for key in type(other).model_fields if key in message.replace(str(stopped), "")}
    assert named == set(changes)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95, 0.999])
def test_a_truncated_checkpoint_is_named(stopped, settings, tiny_store, worker, share):
    path = stopped / CHECKPOINT
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="not a whole checkpoint"):
        worker.train(settings[FIRST], tiny_store, stopped)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"history": None}, "damaged, or not of this program: its history is a NoneType"),
        ({"settings": [1]}, "damaged, or not of this program: its settings is a list"),
        ({"pretrainer": torch.zeros(2)}, "holds no pretrainer"),
        ({"pretrainer": {"x": torch.zeros(2)}}, "its tensors are not those of its settings"),
        ({"optimizer": {"param_groups": []}}, "its tensors are not those of its settings"),
        ({"optimizer": 3}, "damaged, or not of this program: its optimizer is a int"),
    ],
    ids=str,
)
def test_a_checkpoint_of_other_content_is_named(stopped, settings, tiny_store, worker, changes, said):
    save_checkpoint(stopped / CHECKPOINT, {**load_checkpoint(stopped / CHECKPOINT), **changes})
    with pytest.raises(DataError) as caught:
        worker.train(settings[FIRST], tiny_store, stopped)
    assert str(caught.value).startswith(f"{stopped / CHECKPOINT}: {said}")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_cannot_be_written_is_named(settings, tiny_store, worker, tmp_path):
    (tmp_path / "file").write_text("in the way of a folder")
    with pytest.raises(CmdTuneError, match="cannot be written") as caught:
        worker.train(settings[FIRST], tiny_store, tmp_path / "file" / "run")
    assert "\n" not in str(caught.value)


def test_other_data_in_the_same_place_are_refused(tiny, make_store, worker, tmp_path):
    settings = tiny(epochs=2)
    with pytest.raises(Stopped):
        worker.train(settings, make_store(), tmp_path, stop_after(1))
    other = make_store(seed=1)
    with pytest.raises(UsageError, match=r"was trained on synthetic .*tiny.arrow, not .*tiny.arrow, which holds"):
        worker.train(settings, other, tmp_path)
    worker.train(settings, make_store(), tmp_path)
