"""A checkpoint has one score: to the last digit the same on any number of threads, in any order of the clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.data.splits import GalleryAndQueries, split_store
from cmd_tune.evaluate.classifier import FINETUNE, LINEAR, Classifier, LabelledClips, classify, train_classifier
from cmd_tune.evaluate.features import extract_features
from cmd_tune.evaluate.linear import linear_probabilities
from cmd_tune.evaluate.raw_skeletons import raw_predictions
from cmd_tune.evaluate.similarity import similarity_blocks
from cmd_tune.train.loop import build_pretrainer


@pytest.fixture
def same_on_any_threads():
    """Calls a function with 1, 2, 3 and 5 threads, and checks that its tensors are equal."""
    before = torch.get_num_threads()

    def check(function):
        found = []
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            found.append(function())
            assert torch.get_num_threads() == threads
        assert all(torch.equal(other, found[0]) for other in found[1:])

    yield check
    torch.set_num_threads(before)


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_solved_probe(same_on_any_threads):
    """Its hundred steps make a sum's last digit the prediction of a clip in two hundred."""
    gallery_MGF, query_MQF, label_G = random(3, 2500, 40), random(3, 300, 40), torch.arange(2500) % 10
    same_on_any_threads(lambda: linear_probabilities(gallery_MGF, query_MQF, label_G))


def test_similarities(same_on_any_threads):
    gallery_MGF, query_MQF = random(3, 1300, 33), random(3, 70, 33)
    same_on_any_threads(lambda: torch.cat([x.clone() for x in similarity_blocks(gallery_MGF, query_MQF, block=32)], 1))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features(same_on_any_threads, tiny, make_store, precision):
    store, settings = make_store(subjects=16), tiny(precision=precision)
    encoders = build_pretrainer(settings, store.width).online
    options = {"modalities": settings.modalities, "frames": settings.frames}
    clips_N = np.arange(len(store))
    same_on_any_threads(lambda: extract_features(encoders, store, clips_N, **options))
    order_N = np.random.default_rng(0).permutation(clips_N)
    whole = extract_features(encoders, store, clips_N, **options)
    assert torch.equal(extract_features(encoders, store, order_N, **options), whole[:, order_N])


def test_raw_skeletons(same_on_any_threads, tiny, tiny_store):
    _, split = split_store(tiny_store)
    part = GalleryAndQueries(split.test[0].gallery_N, split.test[0].query_N)
    same_on_any_threads(lambda: raw_predictions(tiny_store, part, tiny().modalities, block=16))


@pytest.mark.parametrize("recipe", [LINEAR, FINETUNE], ids=["linear", "finetune"])
def test_trained_classifiers(same_on_any_threads, tiny, tiny_store, recipe):
    _, split = split_store(tiny_store)
    data = LabelledClips(tiny_store, tiny(), split.test[0].gallery_N, split.test[0].query_N)

    def weights():
        encoders = build_pretrainer(tiny(), tiny_store.width).online
        classifier = Classifier(encoders, 3, joined=recipe.frozen, generator=keyed_generator("initial values"))
        train_classifier(classifier, data, replace(recipe, epochs=3, batch_size=16), key=("key",))
        return torch.cat([x.flatten() for x in (*classifier.parameters(), classify(classifier, data))])

    same_on_any_threads(weights)
