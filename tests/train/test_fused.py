"""Trials side by side: each one's numbers are those that it has alone, whoever its fellows are and whatever they do.

Alone is `pretrain` with its own steps, which other tests hold to the authors' numbers.
"""

import threading
from contextlib import contextmanager, suppress

import pytest
import torch
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from cmd_tune.data.splits import split_store
from cmd_tune.data.store import open_store
from cmd_tune.errors import Diverged
from cmd_tune.train import fused_program
from cmd_tune.train.checkpoint import load_checkpoint
from cmd_tune.train.fused import FusedPrograms, shape_settings
from cmd_tune.train.loop import CHECKPOINT, pretrain
from cmd_tune.train.step import steps_alone

CPU = torch.device("cpu")


class Stopped(Exception):
    """Raised by a report, as a stop of a search is."""


def train(settings, store, folder, steps_by=steps_alone, stop_after=None, device=CPU):
    """The records of a run and what its checkpoint holds of the model and the optimiser."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []

    def report(record):
        records.append({name: x for name, x in record.items() if not name.endswith("seconds")})
        if record["epoch"] == stop_after:
            raise Stopped

    clips_N = split_store(store, "xview")[1].pretrain_N
    with suppress(Stopped):
        pretrain(
            *(settings, store, clips_N),
            **{"folder": folder, "evaluate": lambda _: {}, "report": report, "device": device, "steps_by": steps_by},
        )
    state = load_checkpoint(folder / CHECKPOINT)
    return records, state["pretrainer"], state["optimizer"]


@contextmanager
def programs_of(slots):
    programs = FusedPrograms(slots)
    try:
        yield programs
    finally:
        programs.close()


def side_by_side(slots, store, works, device=CPU):
    """Run functions of (steps_by, store) in a thread each. Their results, or what they raised."""
    results = [None] * len(works)
    with programs_of(slots) as programs:

        def run(index):
            try:
                results[index] = works[index](programs, programs.store(open_store(store.path), device))
            except Exception as error:
                results[index] = error

        threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=300)
            assert not thread.is_alive()
    return results


def assert_same(ours, theirs, within=1e-5):
    """Records and every tensor of the checkpoint: by default within float32's rounding of a few dozen steps."""
    assert len(ours[0]) == len(theirs[0])
    for mine, its in zip(ours[0], theirs[0], strict=True):
        assert mine == pytest.approx(its, rel=within)
    assert ours[1].keys() == theirs[1].keys()
    for name, x in theirs[1].items():
        torch.testing.assert_close(ours[1][name], x, rtol=10 * within, atol=within, msg=name)
    assert ours[2]["param_groups"] == theirs[2]["param_groups"]
    assert ours[2]["state"].keys() == theirs[2]["state"].keys()
    for index, of_parameter in theirs[2]["state"].items():
        assert ours[2]["state"][index].keys() == of_parameter.keys()
        for name, x in of_parameter.items():
            if isinstance(x, torch.Tensor):
                torch.testing.assert_close(ours[2]["state"][index][name], x, rtol=10 * within, atol=within / 10)


def fused_works(cases, folder):
    """For `side_by_side`: to train each of some settings in a folder of its own."""
    return [
        lambda steps_by, store, index=index: train(cases[index], store, folder / f"f{index}", steps_by)
        for index in range(len(cases))
    ]


def assert_each_as_alone(cases, store, folder):
    """As many slots as there are settings, all side by side; then each again by itself."""
    for index, fused in enumerate(side_by_side(len(cases), store, fused_works(cases, folder))):
        assert_same(fused, train(cases[index], store, folder / f"a{index}"))


def varied(tiny, index, **changes):
    """Settings in which everything differs that may differ between trials of one program."""
    of_trial = {
        "seed": index,
        "teacher_temperature": 0.03 + 0.01 * index,
        "student_temperature": 0.08 + 0.02 * index,
        "contrast_temperature": 0.05 + 0.01 * index,
        "distill_weight": 0.5 + index,
        "topk": 3 + index,
        "key_momentum": 0.9 + 0.01 * index,
        "learning_rate": 0.001 * (1 + index),
        "weight_decay": 1e-3 * index,
        "shear_range": 0.5 + 0.1 * index,
        "crop_min_share": 0.2 + 0.05 * index,
        "epochs": 2 + index % 3,
    }
    return tiny(**{**of_trial, **changes})


@pytest.mark.parametrize("trials", [1, 3, 8])
def test_trials_of_one_program_have_the_numbers_that_each_has_alone(tiny, tiny_store, tmp_path, trials):
    cases = [varied(tiny, index) for index in range(trials)]
    assert_each_as_alone(cases, tiny_store, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "base"},
        {"objective": "mcl"},
        {"objective": "mcl", "mcl_form": "instead"},
        {"objective": "crossclr", "crossclr_topk": 2},
        {"distillation": "consensus"},
        {"stages": "two"},
        {"optimizer": "sgd", "learning_rate": 0.05},
        {"optimizer": "sgd", "sgd_momentum": 0.0, "learning_rate": 0.05},
        {"precision": "bfloat16"},
        {"modalities": ("joint", "bone")},
        {"schedule": "step", "step_epoch": 1},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_every_method_and_optimiser(tiny, tiny_store, tmp_path, changes):
    """Three trials each; of two stages they pass from base to the objective at epochs of their own."""
    cases = [varied(tiny, index, **changes) for index in range(3)]
    assert_each_as_alone(cases, tiny_store, tmp_path)


def test_slots_change_their_trials(tiny, tiny_store, tmp_path):
    """Three slots, nine trials of other lengths, one after another: of some the slot's last one was stopped early."""
    cases = [varied(tiny, index) for index in range(9)]

    def three(first):
        return lambda steps_by, store: [
            train(cases[i], store, tmp_path / f"f{i}", steps_by, stop_after=1 if i % 4 == 2 else None)
            for i in range(first, 9, 3)
        ]

    found = side_by_side(3, tiny_store, [three(first) for first in range(3)])
    for first, of_slot in enumerate(found):
        for index, fused in zip(range(first, 9, 3), of_slot, strict=True):
            alone = train(cases[index], tiny_store, tmp_path / f"a{index}", stop_after=1 if index % 4 == 2 else None)
            assert_same(fused, alone)


@pytest.mark.parametrize("first", ["alone", "fused"])
def test_a_trial_goes_on_from_a_checkpoint_of_either_way(tiny, tiny_store, tmp_path, first):
    """Stopped after an epoch alone and resumed among others, and the other way round."""
    cases = [varied(tiny, index, epochs=3) for index in range(3)]

    def half(steps_by, store, index, stop_after):
        return train(cases[index], store, tmp_path / f"f{index}", steps_by, stop_after)

    def among_others(stop_after):
        works = [lambda steps_by, store, i=i: half(steps_by, store, i, stop_after) for i in range(3)]
        return side_by_side(3, tiny_store, works)

    if first == "alone":
        for index in range(3):
            half(steps_alone, tiny_store, index, 1)
        found = among_others(None)
    else:
        among_others(1)
        found = [half(steps_alone, tiny_store, index, None) for index in range(3)]
    for index, (records, *state) in enumerate(found):
        assert_same((records, *state), train(cases[index], tiny_store, tmp_path / f"a{index}"))


def test_a_fellow_that_diverges_touches_nobody(tiny, tiny_store, tmp_path):
    """Its weights and loss are no numbers from its first epoch on; the others' numbers do not move."""
    cases = [varied(tiny, index, optimizer="sgd", epochs=3) for index in range(3)]
    cases[1] = varied(tiny, 1, optimizer="sgd", epochs=3, learning_rate=1e30, contrast_temperature=1e-30)
    found = side_by_side(3, tiny_store, fused_works(cases, tmp_path))
    assert isinstance(found[1], Diverged)
    for index in (0, 2):
        assert_same(found[index], train(cases[index], tiny_store, tmp_path / f"a{index}"))


def test_trials_of_other_shapes_get_programs_of_their_own(tiny, tiny_store, tmp_path):
    shapes = [{}, {"hidden_size": 12}, {"queue_size": 33}, {"objective": "base"}, {"batch_size": 9}, {"frames": 6}]
    cases = [varied(tiny, index, **changes) for index, changes in enumerate(shapes)]
    assert_each_as_alone(cases, tiny_store, tmp_path)


def test_a_fault_of_one_trials_batches_is_its_own(tiny, tiny_store, tmp_path, monkeypatch):
    cases = [varied(tiny, index, epochs=3) for index in range(3)]

    def breaks(settings, pretrainer, optimizer, batches, steps_by):
        prepare = batches.prepare

        def broken(epoch):
            for step, prepared in enumerate(prepare(epoch)):
                if (epoch, step) == (2, 1):
                    raise OSError("the disk is gone")
                yield prepared

        batches.prepare = broken
        return steps_by(settings, pretrainer, optimizer, batches)

    def work(index):
        def run(steps_by, store):
            by = steps_by if index != 1 else lambda *given: breaks(*given, steps_by)
            return train(cases[index], store, tmp_path / f"f{index}", by)

        return run

    found = side_by_side(3, tiny_store, [work(index) for index in range(3)])
    assert str(found[1]) == "the disk is gone"
    for index in (0, 2):
        assert_same(found[index], train(cases[index], tiny_store, tmp_path / f"a{index}"))


def test_a_program_that_fails_says_so_to_all_and_the_next_one_works(tiny, tiny_store, tmp_path, monkeypatch):
    """As when the memory of a card is full: who waits gets the exception; what comes later, a program of its own."""
    case = varied(tiny, 0)
    with programs_of(2) as programs:
        store = programs.store(open_store(tiny_store.path), CPU)
        with monkeypatch.context() as patch:
            patch.setattr(fused_program, "build_encoder", lambda *_, **__: (_ for _ in ()).throw(MemoryError("full")))
            with pytest.raises(MemoryError, match="full"):
                train(case, store, tmp_path / "f", programs)
        assert_same(train(case, store, tmp_path / "f", programs), train(case, tiny_store, tmp_path / "a"))


@pytest.mark.parametrize(
    ("objective", "structure"),
    [("base", set()), ("mcl", {"mcl_form"}), ("crossclr", {"crossclr_context"}), ("cmd", {"distillation"})],
)
def test_the_settings_of_a_shape_are_those_of_its_tensors_and_choices(tiny, objective, structure):
    """Numbers are in tensors, whatever they are: of the objective, of the views, of the optimiser."""
    names = set(shape_settings(tiny(objective=objective)))
    assert {"hidden_size", "layers", "queue_size", "batch_size", "frames", "precision", "views", "stages"} < names
    assert {"mcl_form", "crossclr_context", "distillation"} & names == structure
    numbers = {"seed", "epochs", "topk", "crossclr_topk", "teacher_temperature", "weight_decay", "shear_range"}
    assert not numbers & names


@budget(max_examples=10, deadline=None)
@given(
    plan=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.booleans()), min_size=1, max_size=6),
    slots=st.integers(1, 3),
)
def test_any_order_of_coming_and_going(tiny, tiny_store, tmp_path_factory, plan, slots):
    """Trials of drawn settings over drawn slots, more threads than slots; some are stopped after an epoch."""
    folder = tmp_path_factory.mktemp("any")
    cases = [varied(tiny, index, epochs=epochs) for index, epochs, _ in plan]
    stops = [1 if stopped else None for *_, stopped in plan]
    works = [
        lambda steps_by, store, i=i: train(cases[i], store, folder / f"f{i}", steps_by, stops[i])
        for i in range(len(plan))
    ]
    for index, fused in enumerate(side_by_side(slots, tiny_store, works)):
        assert_same(fused, train(cases[index], tiny_store, folder / f"a{index}", stop_after=stops[index]))
