"""Training with labels: against a plain loop, against each modality alone, and stopped half-way."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.compute.slower import Slower
from cmd_tune.data.splits import split_store
from cmd_tune.data.views.crop_shear import CropShear
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.errors import Diverged
from cmd_tune.evaluate.classifier import FINETUNE, LINEAR, Classifier, LabelledClips, Recipe, classify, train_classifier
from cmd_tune.evaluate.features import extract_features
from cmd_tune.train.loop import build_pretrainer

CLASSES = 3
KEY = (0, "test")
SHORT = replace(LINEAR, epochs=4, milestones=(2, 3), batch_size=16)
WHOLE = replace(FINETUNE, epochs=3, milestones=(2,), batch_size=16)


@pytest.fixture
def data(tiny, tiny_store) -> LabelledClips:
    _, split = split_store(tiny_store, "xview")
    return LabelledClips(tiny_store, tiny(), split.test[0].gallery_N, split.test[0].query_N)


def build(data: LabelledClips, *, joined: bool) -> Classifier:
    encoders = build_pretrainer(data.settings, data.store.width).online
    return Classifier(encoders, CLASSES, joined=joined, generator=keyed_generator("heads"))


def test_the_recipes_are_the_papers():
    assert Recipe(True, 0.1, 80, (50, 70), 0.9, 64, 0.5) == LINEAR
    assert [LINEAR.rate(epoch) for epoch in (1, 50, 51, 70, 71, 80)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3]
    )
    assert (FINETUNE.frozen, FINETUNE.learning_rate) == (False, 0.01)


@pytest.mark.parametrize("recipe", [SHORT, WHOLE], ids=["frozen", "whole network"])
def test_against_a_plain_loop(data, recipe):
    """Clip by clip crops, batch by batch features, SGD written out, one modality after the other."""
    ours = build(data, joined=recipe.frozen)
    theirs = copy.deepcopy(ours)
    train_classifier(ours, data, recipe, key=KEY)

    settings, store = data.settings, data.store
    parameters = theirs.heads() if recipe.frozen else list(theirs.parameters())
    velocity = [torch.zeros_like(parameter) for parameter in parameters]
    theirs.encoders.train(not recipe.frozen)
    view = CropShear(settings.crop_min_frames, 0.5, 0, 0)
    for epoch, rate in zip(range(1, recipe.epochs + 1), [1, 1, 0.1, 0.01], strict=False):
        order = torch.randperm(len(data.train_N), generator=keyed_generator(*KEY, "order", epoch)).numpy()
        clips = data.train_N[order]
        draws = view.draw(store.length_N[clips], 20, keyed_generator(*KEY, "crops", epoch))
        for first in range(0, len(clips), recipe.batch_size):
            places = torch.arange(first, min(first + recipe.batch_size, len(clips)))
            views = [
                view.make(store.rows_FX, store.start_N[clips[[i]]], [x[[i]] for x in draws], 8, (20, 3, 1))
                for i in places.tolist()
            ]
            features = theirs.encoders.features(stack_modalities(torch.cat(views), settings.modalities, store.layout))
            labels = torch.from_numpy(store.label_N[clips[places]]).long()
            loss = sum(
                F.cross_entropy(features[m] @ theirs.weight_MFL[m] + theirs.bias_M1L[m], labels) for m in range(3)
            )
            if theirs.joined is not None:
                loss = loss + F.cross_entropy(theirs.joined(torch.cat(list(features), dim=1)), labels)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            with torch.no_grad():
                for parameter, v, gradient in zip(parameters, velocity, gradients, strict=True):
                    if gradient is not None:
                        v.mul_(0.9).add_(gradient)
                        parameter -= recipe.learning_rate * rate * v
    for (name, mine), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=2e-4, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_frozen_encoders_stay_as_they_are_and_others_do_not(data):
    for recipe, changes in ((SHORT, False), (WHOLE, True)):
        classifier = build(data, joined=recipe.frozen)
        before = copy.deepcopy(classifier.encoders.state_dict())
        train_classifier(classifier, data, recipe, key=KEY)
        after = classifier.encoders.state_dict()
        assert any(not torch.equal(before[name], after[name]) for name in before) == changes


@pytest.mark.parametrize("recipe", [SHORT, WHOLE], ids=["frozen", "whole network"])
def test_stopped_and_gone_on_is_never_stopped(data, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("cmd_tune.evaluate.classifier._CHECKPOINT_EVERY", 1)

    class Stop(Exception): ...

    def stop(epoch: int) -> list[float]:
        if epoch == 3:
            raise Stop
        return [float(epoch)]

    unbroken, broken = build(data, joined=recipe.frozen), build(data, joined=recipe.frozen)
    train_classifier(unbroken, data, recipe, key=KEY)
    with pytest.raises(Stop):
        train_classifier(broken, data, recipe, key=KEY, checkpoint=tmp_path / "c.pt", after_epoch=stop)
    again = build(data, joined=recipe.frozen)
    history = train_classifier(
        again, data, recipe, key=KEY, checkpoint=tmp_path / "c.pt", after_epoch=lambda epoch: [float(epoch)]
    )
    assert history == [[float(epoch)] for epoch in range(1, recipe.epochs + 1)]
    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_damaged_checkpoint_is_said_and_training_begins_anew(data, tmp_path, monkeypatch):
    monkeypatch.setattr("cmd_tune.evaluate.classifier._CHECKPOINT_EVERY", 1)
    path, whole, again = tmp_path / "c.pt", build(data, joined=True), build(data, joined=True)
    train_classifier(whole, data, SHORT, key=KEY, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(Slower, match=r"c\.pt: not a whole .*; the classifier is trained from its first epoch$"):
        train_classifier(again, data, SHORT, key=KEY, checkpoint=path)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_classify_is_the_arg_max_of_probabilities(data):
    classifier = build(data, joined=True)
    train_classifier(classifier, data, SHORT, key=KEY)
    settings = data.settings
    features = extract_features(
        classifier.encoders, data.store, data.query_N, modalities=settings.modalities, frames=settings.frames
    )
    with torch.no_grad():
        p = [(features[m] @ classifier.weight_MFL[m] + classifier.bias_M1L[m]).softmax(1).numpy() for m in range(3)]
        joined = classifier.joined(torch.cat(list(features), dim=1)).numpy()
    expected = np.stack([*(x.argmax(1) for x in p), np.mean(p, axis=0).argmax(1), joined.argmax(1)])
    assert np.array_equal(classify(classifier, data).numpy(), expected)
    assert len({tuple(row) for row in expected}) > 2


def test_it_learns_what_can_be_learnt(data):
    """The made-up classes swing differently: a probe of 80 epochs gets most of the training clips right."""
    classifier = build(data, joined=True)
    train_classifier(classifier, data, replace(LINEAR, batch_size=16), key=KEY)
    train = replace(data, query_N=data.train_N)
    right_S = (classify(classifier, train) == data.labels(data.train_N, torch.device("cpu"))).float().mean(1)
    assert right_S[-2:].min() > 0.6


def test_a_loss_that_is_not_finite_is_named(data):
    classifier = build(data, joined=False)
    nn.init.constant_(classifier.encoders.input_norm.weight, float("nan"))
    with pytest.raises(Diverged, match="loss is nan in epoch 1"):
        train_classifier(classifier, data, SHORT, key=KEY)
