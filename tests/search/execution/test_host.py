"""What a host does: numbers are those of processes of their own, whatever it did before; stops, failures, calls."""

import asyncio
import json
import multiprocessing
import os
import pickle
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.distributed as dist

from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.execution.desk import NOTHING, Desk
from cmd_tune.search.execution.engine import TrialTask
from cmd_tune.search.execution.host import serve
from cmd_tune.search.execution.resources import TrialResources
from cmd_tune.search.execution.trial_process import run_task
from cmd_tune.train.checkpoint import load_checkpoint

ALONE = TrialResources(workers=1, cpus=1.0, gpus=0.0, threads=1)
PATIENCE_S = 60.0


class DeskHere:
    """A desk in a thread of this process, whose methods wait for their answers."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._desk = Desk()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def __getattr__(self, name):
        method = getattr(self._desk, name)
        return lambda *words, **more: asyncio.run_coroutine_threadsafe(method(*words, **more), self._loop).result()


def read_to_the_end(desk, key, stop_after=None):
    """The reports of a trial, as its client reads them; the last one is that of its end."""
    told = []
    while True:
        said = desk.fetch(key, len(told), PATIENCE_S)
        assert said != NOTHING
        told.append(said)
        if "report" not in said:
            return told
        if len(told) == stop_after:
            desk.leave(key)
            return told


@contextmanager
def host_of_one(desk, resources=ALONE):
    """A host in a thread. Raises what the host raised."""
    raised = []

    def work():
        try:
            serve(desk, 0, resources)
        except BaseException as error:
            raised.append(error)
            desk.lost(0, repr(error))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        desk.close()
        thread.join()
    for error in raised:
        raise error


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def make_task(folder, settings, store, index=0):
    folder.mkdir(parents=True)
    return TrialTask(index, folder, settings, DataSource(store.path, "xview"), ALONE)


def numbers(told):
    """All that was reported but what it took."""
    records = [record for said in told for record in (said.get("report") or said.get("end"))["records"]]
    kept = [
        {name for name in record if not name.endswith("seconds") and not name.startswith("system/")}
        for record in records
    ]
    return [{name: record[name] for name in names} for names, record in zip(kept, records, strict=True)]


def alike(one, other):
    """Whether two checkpoints hold the same, to the bit."""
    states = [load_checkpoint(folder / "checkpoint.pt") for folder in (one, other)]
    flat = [torch.utils._pytree.tree_flatten(state["pretrainer"])[0] for state in states]
    return all(torch.equal(a, b) for a, b in zip(*flat, strict=True))


def test_nothing_of_a_trial_reaches_the_next_one(tiny, tiny_store, tmp_path):
    """Trials of other precisions, modalities and objectives, one that diverges, one that is stopped: then it."""
    before = {
        "rounded": tiny(precision="bfloat16", hidden_size=16),
        "two": tiny(modalities=("joint", "bone"), objective="mcl", seed=4),
        "diverges": tiny(student_temperature=1e-40),
        "stopped": tiny(epochs=50, optimizer="sgd"),
    }
    desk = DeskHere()
    with host_of_one(desk):
        for name, settings in before.items():
            desk.submit(name, make_task(tmp_path / name, settings, tiny_store).to_plain(), first=True)
            read_to_the_end(desk, name, stop_after=2 if name == "stopped" else None)
        after = make_task(tmp_path / "after", tiny(), tiny_store)
        desk.submit("after", after.to_plain(), first=True)
        told = read_to_the_end(desk, "after")
    alone, reports = make_task(tmp_path / "alone", tiny(), tiny_store), []
    run_task(alone, lambda report: reports.append({"report": vars(report)}))
    assert numbers(told) == numbers(reports)
    assert alike(after.folder, alone.folder)


def test_a_trial_that_cannot_go_on_says_why_and_the_host_goes_on(tiny, tiny_store, tmp_path):
    desk = DeskHere()
    with host_of_one(desk):
        lost = TrialTask(0, tmp_path, tiny(), DataSource(tmp_path / "no.arrow", "xview"), ALONE)
        desk.submit("lost", lost.to_plain(), first=True)
        (end,) = read_to_the_end(desk, "lost")
        desk.submit("call", pickle.dumps(partial(max, 3, 4)), first=False)
        (value,) = read_to_the_end(desk, "call")
        desk.submit("fails", pickle.dumps(partial(json.loads, "{")), first=False)
        (error,) = read_to_the_end(desk, "fails")
    assert "no.arrow: no such file" in end["end"]["failure"]
    assert end["end"]["kind"] == "DataError"
    assert pickle.loads(value["end"]["pickle"]) == (4, None)  # noqa: S301
    assert type(pickle.loads(error["end"]["pickle"])[1]) is json.JSONDecodeError  # noqa: S301


def test_a_stopped_trial_wastes_an_epoch_at_most(tiny, tiny_store, tmp_path):
    """Stopped for what it was after epoch 2, it has computed epoch 3 meanwhile, and no more."""
    desk = DeskHere()
    with host_of_one(desk):
        task = make_task(tmp_path / "it", tiny(epochs=300, evaluate_every=300), tiny_store)
        desk.submit("it", task.to_plain(), first=True)
        read_to_the_end(desk, "it", stop_after=2)
        desk.submit("next", pickle.dumps(partial(max, 3, 4)), first=False)
        read_to_the_end(desk, "next")
    assert len(load_checkpoint(task.folder / "checkpoint.pt")["history"]) in (2, 3)


def test_a_defect_ends_the_host(tiny, tiny_store, tmp_path):
    """What it leaves behind in the process, as of a GPU, nobody knows."""
    desk = DeskHere()

    def run():
        with host_of_one(desk, TrialResources(1, 1.0, 0.0, threads=0)):
            desk.submit("it", make_task(tmp_path / "it", tiny(), tiny_store).to_plain(), first=True)
            return read_to_the_end(desk, "it")

    with pytest.raises(RuntimeError, match="positive"):
        run()


def test_fused_trials_are_those_of_processes_of_their_own(tiny, tiny_store, tmp_path):
    """Five trials over three places: one diverges, one is stopped, one cannot begin; a call comes between them."""
    cases = {
        "one": tiny(seed=1, teacher_temperature=0.02, epochs=4),
        "diverges": tiny(student_temperature=1e-40),
        "stopped": tiny(seed=2, epochs=50, optimizer="sgd"),
        "two": tiny(seed=3, topk=9, learning_rate=0.003),
        "three": tiny(seed=4, key_momentum=0.5),
    }
    desk = DeskHere()
    told = {}

    def ask(name):
        told[name] = read_to_the_end(desk, name, stop_after=2 if name == "stopped" else None)

    with host_of_one(desk, replace(ALONE, fused=3)):
        for index, (name, settings) in enumerate(cases.items()):
            desk.submit(name, make_task(tmp_path / name, settings, tiny_store, index).to_plain(), first=True)
        lost = TrialTask(9, tmp_path, tiny(), DataSource(tmp_path / "no.arrow", "xview"), ALONE)
        desk.submit("lost", lost.to_plain(), first=True)
        desk.submit("call", pickle.dumps(partial(max, 3, 4)), first=False)
        asking = [threading.Thread(target=ask, args=(name,)) for name in (*cases, "lost", "call")]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
    assert pickle.loads(told.pop("call")[0]["end"]["pickle"]) == (4, None)  # noqa: S301
    assert "no.arrow: no such file" in told.pop("lost")[0]["end"]["failure"]
    assert told["diverges"][-1]["end"]["kind"] == "Diverged"
    assert len(told["stopped"]) == 2
    for name in ("one", "two", "three"):
        alone, reports = make_task(tmp_path / "alone" / name, cases[name], tiny_store), []
        run_task(alone, lambda report, reports=reports: reports.append({"report": vars(report)}))
        for ours, theirs in zip(numbers(told[name]), numbers(reports), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5)
        states = [load_checkpoint(folder / "checkpoint.pt")["pretrainer"] for folder in (tmp_path / name, alone.folder)]
        for tensor, x in states[1].items():
            torch.testing.assert_close(states[0][tensor], x, rtol=1e-4, atol=1e-5, msg=tensor)


def test_a_defect_of_a_fused_trial_is_its_own_and_the_process_takes_no_more(tiny, tiny_store, tmp_path):
    """The stack goes to whoever asks for the trial. Its fellow comes to its end. A third place is idle."""
    desk = DeskHere()
    broken = make_task(tmp_path / "broken", tiny(), tiny_store)
    told = {}
    with host_of_one(desk, replace(ALONE, fused=3)):
        desk.submit("good", make_task(tmp_path / "good", tiny(epochs=6), tiny_store).to_plain(), first=True)
        while len(desk.state()["hosts"]) < 3:
            time.sleep(0.01)
        desk.submit("broken", {**broken.to_plain(), "settings": {"precision": "none"}}, first=True)
        for name in ("good", "broken"):
            told[name] = read_to_the_end(desk, name)
        desk.submit("late", pickle.dumps(partial(max, 3, 4)), first=False)
        assert desk.fetch("late", 0, 1.0) == NOTHING
    assert told["broken"][0]["lost"].splitlines()[0] == "Traceback (most recent call last):"
    assert "precision" in told["broken"][0]["lost"]
    assert len(told["good"]) == 7


def _be_worker(rank, folder, tasks, told):
    """A worker of a host of two; the first one's desk is its own, and reads what the clients would."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(told["port"]))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    desk = DeskHere()
    found = {}

    def ask():
        for key, task, stop_after in tasks:
            desk.submit(key, task, first=True)
            found[key] = read_to_the_end(desk, key, stop_after)
        desk.close()

    asking = threading.Thread(target=ask, daemon=True)
    if rank == 0:
        asking.start()
    try:
        serve(desk, 0, TrialResources(2, 1.0, 0.0, threads=1))
    except CmdTuneError as error:
        (folder / f"raised-{rank}").write_text(str(error))
        return
    if rank == 0:
        asking.join()
    dist.destroy_process_group()  # else its threads may still run when the process ends
    if rank == 0:
        (folder / "found.pickle").write_bytes(pickle.dumps(found))


def _run_two(folder, tasks, free_port):
    context = multiprocessing.get_context("spawn")
    words = (folder, [(key, task.to_plain(), stop) for key, task, stop in tasks], {"port": free_port})
    workers = [context.Process(target=_be_worker, args=(rank, *words), daemon=True) for rank in range(2)]
    for worker in workers:
        worker.start()
    return workers


@pytest.mark.long
def test_two_workers_serve_one_trial_after_another(tiny, tiny_store, tmp_path, free_port):
    """One that diverges, one that is stopped, one that comes to its end with the numbers of one worker."""
    settings = {"diverges": tiny(student_temperature=1e-40), "stopped": tiny(epochs=50), "whole": tiny()}
    tasks = [
        (name, make_task(tmp_path / name, some, tiny_store), 2 if name == "stopped" else None)
        for name, some in settings.items()
    ]
    for worker in _run_two(tmp_path, tasks, free_port):
        worker.join()
        assert worker.exitcode == 0
    found = pickle.loads((tmp_path / "found.pickle").read_bytes())  # noqa: S301
    assert "in epoch 1; lower learning_rate" in found["diverges"][-1]["end"]["failure"]
    alone, reports = make_task(tmp_path / "alone", tiny(), tiny_store), []
    run_task(alone, lambda report: reports.append({"report": vars(report)}))
    for ours, theirs in zip(numbers(found["whole"]), numbers(reports), strict=True):
        losses = [name for name in theirs if name.startswith("loss/")]
        assert [ours[name] for name in losses] == pytest.approx([theirs[name] for name in losses], rel=1e-4)


@pytest.mark.long
def test_a_worker_that_cannot_go_on_alone_ends_its_host(tiny, tiny_store, tmp_path, free_port):
    """The others wait for it in a collective, so that only the end of the group frees them."""
    task = make_task(tmp_path / "it", tiny(epochs=300, evaluate_every=300), tiny_store)
    (task.folder / "environment.yaml").mkdir()  # which the first worker alone writes
    workers = _run_two(tmp_path, [("it", task, None)], free_port)
    workers[0].join(120)
    for worker in workers:
        worker.kill()
    assert not (tmp_path / "raised-1").exists()
    assert "worker 0 on" in (tmp_path / "raised-0").read_text()
