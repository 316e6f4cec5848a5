"""The number of workers does not matter: one process against two, three and four that talk over gloo."""

import shutil
from functools import partial

import pytest
import torch

from benchmarks.collectives import step_collectives

pytestmark = pytest.mark.long

SINGLE = 1
WORKERS = (2, 3, 4)
# Accuracies are counts: where two similarities are equal but for rounding, one sample may tip over. What they count
# is compared below, to the last digits. Percent of one of 12 queries, and of one of an epoch's 3 × 12 samples.
ONE_MORE = {"val": 100 / 12 + 1e-4, "accuracy": 100 / 36 + 1e-4}


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def runs(tiny):
    """Banks of 20 rows and batches of 12: the pointer wraps within a batch."""
    tiny = partial(tiny, batch_size=12)
    sgd = tiny(optimizer="sgd", learning_rate=0.05, schedule="step", step_epoch=2)
    others = {
        "base": {"objective": "base"},
        "mcl": {"objective": "mcl", "mcl_form": "instead"},
        "crossclr": {"objective": "crossclr", "stages": "two", "stage_switch": 0.4},
        "consensus": {"distillation": "consensus", "modalities": ("joint", "acceleration", "rotation_axis")},
    }
    by_objective = {name: tiny(optimizer="sgd", learning_rate=0.05, **changes) for name, changes in others.items()}
    return {"sgd": sgd, "adamw": tiny(optimizer="adamw", learning_rate=0.002), **by_objective}


@pytest.fixture(scope="module")
def outcomes(tiny_store, flat_store, runs, worker, run_jobs, tmp_path_factory):
    """Number of workers → run → the outcome of each rank; and so of two workers where something is special."""
    alone = tmp_path_factory.mktemp("one")
    found = {SINGLE: {name: [worker.outcome(settings, tiny_store, alone / name)] for name, settings in runs.items()}}

    # One process stops after the first epoch; the others take its checkpoint up.
    def stop(record):
        raise Stopped

    with pytest.raises(Stopped):
        worker.train(runs["sgd"], tiny_store, alone / "resumed", stop)
    found[SINGLE]["resumed"] = found[SINGLE]["sgd"]

    uneven = runs["sgd"].model_copy(update={"batch_size": 13})
    jobs = []
    for workers in WORKERS:
        folder = tmp_path_factory.mktemp(f"workers-{workers}")
        shutil.copytree(alone / "resumed", folder / "resumed")
        jobs.append({
            "folder": folder,
            "store": tiny_store,
            "runs": {**runs, "resumed": runs["sgd"], "uneven": uneven, "counted": runs["sgd"]},
            "counted": ["counted"],
            "workers": workers,
        })  # fmt: skip
    special = {
        "without a compiler": {"compiled": False},
        "in 2-D": {"store": flat_store, "runs": {"adamw": runs["adamw"]}},
        "apart": {"apart": True},
    }
    for case, changes in special.items():
        folder = tmp_path_factory.mktemp("special")
        jobs.append({"folder": folder, "store": tiny_store, "runs": {"sgd": runs["sgd"]}, "workers": 2, **changes})
        if case == "apart":
            shutil.copytree(alone / "resumed", folder / "sgd-of-0")
    assert run_jobs(*jobs) == [[0] * job["workers"] for job in jobs]
    for case, job in zip((*WORKERS, *special), jobs, strict=True):
        found[case] = {
            name: [torch.load(job["folder"] / f"{name}-{rank}.pt", weights_only=True) for rank in range(job["workers"])]
            for name in job["runs"]
        }
    return found


@pytest.fixture(params=WORKERS, ids=lambda workers: f"{workers} workers")
def workers(request):
    return request.param


@pytest.fixture(params=["sgd", "adamw", "resumed", "base", "mcl", "crossclr", "consensus"])
def name(request):
    return request.param


def test_losses_and_scores_of_every_epoch(outcomes, workers, name):
    (alone,) = outcomes[SINGLE][name]
    for together in outcomes[workers][name]:
        assert len(together["records"]) == 3
        for one, several in zip(alone["records"], together["records"], strict=True):
            assert set(one) == set(several)
            for key in set(one) - {"seconds", "cost/seconds"}:
                assert several[key] == pytest.approx(one[key], rel=2e-5, abs=ONE_MORE.get(key.split("/")[0], 0.0)), key


def test_weights_banks_and_running_statistics(outcomes, workers, name):
    (alone,) = outcomes[SINGLE][name]
    together = outcomes[workers][name][0]
    assert set(alone["state"]) == set(together["state"])
    for key, value in alone["state"].items():
        torch.testing.assert_close(
            together["state"][key], value, rtol=1e-4, atol=5e-5, msg=lambda m, k=key: f"{k}: {m}"
        )


def test_every_worker_holds_the_same_state(outcomes, workers, name):
    first, *others = outcomes[workers][name]
    for other in others:
        for key, value in first["state"].items():
            assert torch.equal(other["state"][key], value), key
        untimed = {"seconds": 0, "cost/seconds": 0}
        assert [r | untimed for r in other["records"]] == [r | untimed for r in first["records"]]


def test_shared_features_come_back_whole(outcomes, workers, name):
    """24 clips in blocks of 5: with four workers, one has two blocks and three have one."""
    (alone,) = outcomes[SINGLE][name]
    for together in outcomes[workers][name]:
        torch.testing.assert_close(together["features"], alone["features"], rtol=1e-4, atol=2e-5)


def test_views_are_slices_of_one_global_batch(outcomes, workers):
    """Same clips, in the same order, augmented the same way, to the bit."""
    (alone,) = outcomes[SINGLE]["sgd"]
    ranks = outcomes[workers]["sgd"]
    assert len(alone["views"]) == 3
    for step, whole in enumerate(alone["views"]):
        parts = [rank["views"][step] for rank in ranks]
        assert {part.shape[2] for part in parts} == {12 // workers}
        assert torch.equal(torch.cat(parts, dim=2), whole)


def test_a_batch_that_does_not_divide_is_refused_by_every_worker(outcomes, workers):
    for rank in outcomes[workers]["uneven"]:
        assert rank["error"].startswith("UsageError: batch_size 13")
        assert f"the {workers} workers" in rank["error"]


def test_what_a_run_exchanges(outcomes, workers, runs, tiny_store):
    """Two collectives a step, by their bytes: statistics of both views; gradients with the keys of the whole batch.

    Beside these, one sum when the run begins and one of an epoch's means: total, cross-modal, two of each modality.
    """
    M, B, X, H, D = 3, 12, tiny_store.width, 8, 8
    assert X == 60
    statistics = ("allgather_", 4 * 2 * (2 * M * X + 1))
    layers = sum(2 * 3 * H * (inputs + H + 2) for inputs in (X, 2 * H))
    head = 2 * H * 2 * H + 2 * H + D * 2 * H + D
    gradients_and_keys = ("allreduce_", 4 * (M * (2 * X + layers + head) + M * B * D))
    epoch = [statistics, gradients_and_keys] * 3 + [("allreduce_", 4 * (2 + 2 * M))]
    for counted in outcomes[workers]["counted"]:
        assert counted == [("allreduce_", 8), *epoch * 3]
    of_step = [(one.operation, one.given) for one in step_collectives(runs["sgd"], X).values()]
    assert of_step == [statistics, gradients_and_keys]


def test_the_way_of_computing_does_not_matter_either(outcomes):
    """Two workers without the compiled functions, against one with them: as near as rounding lets three epochs stay."""
    together = outcomes["without a compiler"]["sgd"][0]
    (alone,) = outcomes[SINGLE]["sgd"]
    for one, several in zip(alone["records"], together["records"], strict=True):
        for key in set(one) - {"seconds", "cost/seconds"}:
            assert several[key] == pytest.approx(one[key], rel=2e-5, abs=ONE_MORE.get(key.split("/")[0], 0.0)), key
    for key, value in alone["state"].items():
        torch.testing.assert_close(together["state"][key], value, rtol=1e-4, atol=5e-5)


def test_joints_in_2_d(outcomes, runs, flat_store, worker, tmp_path):
    """Losses, scores, state and views of two workers against those of one."""
    alone = worker.outcome(runs["adamw"], flat_store, tmp_path)
    ranks = outcomes["in 2-D"]["adamw"]
    for one, several in zip(alone["records"], ranks[0]["records"], strict=True):
        for key in set(one) - {"seconds", "cost/seconds"}:
            assert several[key] == pytest.approx(one[key], rel=2e-5, abs=ONE_MORE.get(key.split("/")[0], 0.0)), key
    for key, value in alone["state"].items():
        torch.testing.assert_close(ranks[0]["state"][key], value, rtol=1e-4, atol=5e-5)
    for step, whole in enumerate(alone["views"]):
        assert whole.shape[-1] == flat_store.width == 17 * 2 * 2
        assert torch.equal(torch.cat([rank["views"][step] for rank in ranks], dim=2), whole)


def test_workers_that_see_other_checkpoints_are_refused(outcomes):
    """As on nodes that share no disk: one would go on from epoch 2, the other begin."""
    for rank, (epoch, outcome) in enumerate(zip((1, 0), outcomes["apart"]["sgd"], strict=True)):
        said = (
            f"sgd-of-{rank}/checkpoint.pt: worker {rank} goes on from epoch {epoch}, another one from another; is the "
            "folder on a disk that all nodes share?"
        )
        assert outcome["error"].startswith("DataError: ")
        assert outcome["error"].endswith(said)
