"""What a search will take: counted in closed form from a probe, and on real steps against a real run."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic

import pytest
import torch

from cmd_tune.runs.data_source import DataSource, open_data
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.runs.probe import Probed
from cmd_tune.search.execution import ResourcePlan, TrialResources
from cmd_tune.search.plan import Plan, plan_of
from cmd_tune.search.prediction import Prediction, predicted, probe_at_once
from cmd_tune.search.request import SearchRequest
from cmd_tune.settings import Settings, make_settings
from cmd_tune.train.fused import FusedPrograms

FOUND = Probed(step=0.5, validation=3.0, test=7.0, checkpoint=0.25, memory=100, gpu_memory=0)
TRIAL = TrialResources(workers=1, cpus=2.0, gpus=0.5, threads=2)


@pytest.fixture
def planned(request_of: Callable[..., SearchRequest]) -> Callable[..., Plan]:
    """Plans a search of 36 clips in batches of 8, 10 epochs each, an evaluation every 4 and a checkpoint every 2."""

    def make(*more: str, **changes: object) -> Plan:
        request = request_of("epochs=10", "checkpoint_every=2", *more, **changes)
        return plan_of(request, *request.open_data())

    return make


EVERY = "evaluate_every=4"
ONE = 40 * 0.5 + 3 * 3.0 + 5 * 0.25  # 36 // 8 = 4 steps an epoch; evaluated after epochs 4, 8 and 10


def test_trials_run_in_rounds_and_refits_after_them(planned: Callable[..., Plan]) -> None:
    plan = planned(EVERY, refit={"seeds": [0, 1]})
    _, split = plan.source.open("validation")
    steps = len(split.test[0].gallery_N) // 8
    refit = 10 * steps * 0.5 + 5 * 0.25 + 7.0
    found = predicted(plan, ResourcePlan(TRIAL, concurrent=4, learning=3), FOUND)
    assert (found.trial, found.refit) == (ONE, refit)
    assert found.whole == 2 * ONE + 2 * refit  # four trials, three at once; six refits, four at once
    hours = (4 * ONE + 6 * refit) / 3600
    assert found.cpu_hours == pytest.approx(2 * hours)
    assert found.gpu_hours == pytest.approx(0.5 * hours)
    assert found.memory == 4 * 100


def test_confirmations_run_between_them(planned: Callable[..., Plan]) -> None:
    plan = planned(EVERY, refit="none", confirm={"top": 2, "seeds": 3})
    found = predicted(plan, ResourcePlan(TRIAL, concurrent=4, learning=3), FOUND)
    assert found.whole == 2 * ONE + 3 * ONE  # the best two and the start point, four at once
    assert found.cpu_hours == pytest.approx(2 * (4 + 9) * ONE / 3600)


def test_the_path_to_the_best_runs_after_them(planned: Callable[..., Plan]) -> None:
    plan = planned(EVERY, refit="none", confirm={"top": 1, "seeds": 2}, ablation={"seeds": 3})
    found = predicted(plan, ResourcePlan(TRIAL, concurrent=4, learning=3), FOUND)
    # four confirmations; one configuration between two with three seeds, and one seed more of each end
    assert found.whole == 2 * ONE + 1 * ONE + 2 * ONE
    assert found.cpu_hours == pytest.approx(2 * (4 + 4 + 5) * ONE / 3600)


def test_a_table_is_tested_and_has_no_refits(planned: Callable[..., Plan]) -> None:
    cells = {"method": "cells", "cells": [{"topk": 8}, {"topk": 16}], "seeds": [0, 1, 2], "metric": None}
    plan = planned(**cells, parameters=None, points_to_evaluate=None, budget=None)
    _, split = plan.source.open("none")
    trial = 10 * (len(split.pretrain_N) // 8) * 0.5 + 5 * 0.25 + 7.0
    found = predicted(plan, ResourcePlan(TRIAL, concurrent=4, learning=4), FOUND)
    assert (found.trial, found.refit, found.whole) == (trial, 0, 2 * trial)


def test_the_time_of_the_budget_is_the_longest(planned: Callable[..., Plan]) -> None:
    layout = ResourcePlan(TRIAL, concurrent=2, learning=2)
    plan = planned(EVERY, budget={"trials": 50, "time": 100}, refit="none", confirm="none")
    assert predicted(plan, layout, FOUND).whole == 100
    found = predicted(replace(plan, trials=None), layout, FOUND)
    assert found.whole <= 100
    assert found.cpu_hours == pytest.approx(2 * 6 * ONE / 3600)  # three rounds of two in 100 s


def test_fused_trials_share_the_hours_and_the_memory_of_their_process(planned: Callable[..., Plan]) -> None:
    """Of three processes of up to four trials: what each takes counts once, also where it has one trial."""
    plan = planned(
        EVERY, refit={"seeds": [0, 1, 2]}, confirm={"top": 3, "seeds": 3}, budget={"trials": 26}, ablation="none"
    )
    _, split = plan.source.open("validation")
    refit = 10 * (len(split.test[0].gallery_N) // 8) * 0.5 + 5 * 0.25 + 7.0
    each = replace(TRIAL, fused=4)
    found = predicted(plan, ResourcePlan(each, concurrent=9, learning=9), replace(FOUND, gpu_memory=70))
    assert (found.trial, found.refit) == (ONE, refit)
    assert found.whole == 3 * ONE + 2 * ONE + 1 * refit  # 9 + 9 + 8 trials; 9 + 3 confirmations; 9 refits
    hours = ((3 + 3 + 2) * ONE + (3 + 1) * ONE + 3 * refit) / 3600  # processes that work in each round
    assert found.cpu_hours == pytest.approx(2 * hours)
    assert found.gpu_hours == pytest.approx(0.5 * hours)
    assert (found.memory, found.gpu_memory) == (3 * 100, 70)


def test_trials_of_several_workers_take_the_hours_of_all(planned: Callable[..., Plan]) -> None:
    plan = planned(EVERY, refit="none", confirm="none")
    found = predicted(plan, ResourcePlan(replace(TRIAL, workers=3), concurrent=2, learning=2), FOUND)
    assert found.cpu_hours == pytest.approx(2 * 3 * 4 * ONE / 3600)
    assert found.memory == 2 * 3 * 100


def test_lines_have_units() -> None:
    lines = Prediction(30.25, 0, 5400, 3.0, 1.5, 2_000_000_000, 3_000_000_000).lines()
    assert list(lines) == [
        "time: about 1h30m; a trial takes 30s",
        "cost: 3 CPU-hours, 1.5 GPU-hours",
        "memory: 2 GB for all that runs at once, 3 GB of a GPU for each worker",
    ]


def _timed(settings: Settings, source: DataSource, folder: Path, trials: int) -> float:
    torch.set_num_threads(1)
    folders = [folder / str(trial) for trial in range(trials)]
    for each in folders:
        each.mkdir(parents=True)
    began = monotonic()
    if trials == 1:
        run(settings, source, folders[0], lambda record: None)
    else:
        with closing(FusedPrograms(trials)) as programs, ThreadPoolExecutor(trials) as threads:
            fused = partial(run, settings, source, report=lambda record: None, programs=programs)
            for ended in [threads.submit(fused, each) for each in folders]:
                ended.result()
    return monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("trials", [1, 3])
def test_a_prediction_is_within_15_percent_of_a_real_run(tmp_path: Path, trials: int) -> None:
    """The quick preset on made-up actions, by one thread: a probe, the run, a probe, each in a process of its own."""
    source, store = open_data(tmp_path, None, None)
    settings = make_settings("quick")
    clips = len(source.open("validation")[1].pretrain_N)
    assert len(store) == 960
    before = probe_at_once(settings, source, 1, 1, False, trials)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        took = pool.submit(_timed, settings, source, tmp_path / "run", trials).result()
    after = probe_at_once(settings, source, 1, 1, False, trials)
    told = sum(found.seconds(settings, clips, validated=True, tested=False) for found in (before, after)) / 2
    assert told / took == pytest.approx(1, abs=0.15)
