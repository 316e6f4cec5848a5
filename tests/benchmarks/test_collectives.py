"""What `python -m benchmarks workers` derives. tests/train/test_distributed.py counts the collectives of real runs."""

import pytest
import torch

from benchmarks.collectives import Collective, gradients, keys, step_collectives
from benchmarks.invariance import difference
from benchmarks.scaling import STEP_S, scaled
from cmd_tune.settings import make_settings
from cmd_tune.train.loop import build_pretrainer


@pytest.mark.parametrize(("modalities", "channels"), [(("joint", "bone"), 12), (("joint", "motion", "bone"), 150)])
def test_numbers_that_a_step_exchanges(tiny, modalities, channels):
    settings = tiny(modalities=modalities, layers=3, embedding_size=5, batch_size=6)
    pretrainer = build_pretrainer(settings, channels)
    assert gradients(settings, channels) == sum(x.numel() for x in pretrainer.online.parameters())
    assert keys(settings) == len(modalities) * 6 * 5
    statistics, rest = step_collectives(settings, channels).values()
    assert statistics.given == 4 * 2 * len(pretrainer.online.statistics(torch.randn(len(modalities), 3, 2, channels)))
    assert rest.given == 4 * (gradients(settings, channels) + len(modalities) * 6 * 5)


def test_what_a_worker_sends_in_a_ring():
    """Of a sum, each part goes round twice but for one worker; of a gather, a worker's own goes to all others once."""
    reduced, gathered = Collective("allreduce_", 800), Collective("allgather_", 100)
    assert [reduced.moved(workers) for workers in (1, 2, 8)] == [0, 800, 1400]
    assert [gathered.moved(workers) for workers in (1, 2, 8)] == [0, 100, 700]


def test_the_papers_step_on_many_gpus():
    """148 million numbers that learn and 24,576 of keys: 593.6 MB; 2 · 7/8 of it at 450 GB/s are 2.3 ms."""
    paper = make_settings("paper")
    assert gradients(paper, 150) == 148_372_740
    strong = scaled(paper, 150, 8, cards=1, weak=False)
    assert strong.moved == 1.75 * 4 * (148_372_740 + 3 * 64 * 128) + 7 * 7208
    assert strong.seconds == pytest.approx(1.0388e9 / 450e9, rel=1e-4)
    assert strong.step == pytest.approx(STEP_S / 8 + strong.seconds)
    assert 8 * strong.efficiency == pytest.approx(STEP_S / strong.step)
    one_card, eight = (scaled(paper, 150, 64, cards=cards, weak=True) for cards in (1, 8))
    assert one_card.batch == 64 * 64
    assert one_card.seconds == pytest.approx(8 * eight.seconds) == pytest.approx(one_card.moved / 50e9)
    assert eight.efficiency == pytest.approx(STEP_S / (STEP_S + eight.seconds))


def test_how_far_two_runs_are_apart(tmp_path):
    runs = {
        "one": ((2.0, 1.0), 75.0, 3.0, torch.tensor([3.0, 4.0])),
        "other": ((2.0, 1.5), 72.5, 3.5, torch.tensor([3.0, 4.5])),
    }
    for name, (losses, score, weight, bank) in runs.items():
        history = [{"epoch": i, "loss/total": loss, "val/knn/joint": score} for i, loss in enumerate(losses, 1)]
        tensors = {"online.a": torch.tensor(weight), "banks.keys_MKD": bank, "banks.pointer": torch.tensor(7)}
        (tmp_path / name).mkdir()
        torch.save({"history": history, "pretrainer": tensors}, tmp_path / name / "checkpoint.pt")
    apart = difference(tmp_path / "one", tmp_path / "other")
    assert (apart.first, apart.losses, apart.scores) == (0.0, 0.5, 2.5)
    assert (apart.weights, apart.banks) == pytest.approx((0.5 / 3, 0.1))
    assert set(vars(difference(tmp_path / "one", tmp_path / "one")).values()) == {0.0}
