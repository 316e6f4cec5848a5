"""Features: of the centre crop, in eval mode, whatever the batches."""

import numpy as np
import pytest
import torch

from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.evaluate.features import centre_views, extract_features
from cmd_tune.train.loop import build_pretrainer

CPU = torch.device("cpu")


@pytest.fixture
def encoders(tiny, tiny_store):
    """With running statistics that are not those they start with."""
    online = build_pretrainer(tiny(), tiny_store.width).online
    online.train()
    online.input_norm(3 * torch.randn(3, 8, 8, tiny_store.width, generator=torch.Generator().manual_seed(0)) + 1)
    return online


def extract(encoders, store, clips_N, settings, **changes):
    return extract_features(encoders, store, clips_N, modalities=settings.modalities, frames=settings.frames, **changes)


@pytest.mark.parametrize("batch_size", [1, 7, 72, 500])
def test_batches_do_not_change_features(encoders, tiny, tiny_store, batch_size):
    clips_N = np.arange(len(tiny_store))
    whole = extract(encoders, tiny_store, clips_N, tiny())
    assert whole.shape == (3, 72, 16)
    torch.testing.assert_close(extract(encoders, tiny_store, clips_N, tiny(), batch_size=batch_size), whole)


def test_features_are_in_the_order_asked_for(encoders, tiny, tiny_store):
    whole = extract(encoders, tiny_store, np.arange(72), tiny())
    clips_N = np.array([50, 3, 71, 3, 0])
    torch.testing.assert_close(extract(encoders, tiny_store, clips_N, tiny(), batch_size=2), whole[:, clips_N])


def test_running_statistics_are_used_and_left_alone(encoders, tiny, tiny_store):
    before = {name: value.clone() for name, value in encoders.state_dict().items()}
    clips_N = np.arange(10)
    ours = extract(encoders, tiny_store, clips_N, tiny())
    assert all(torch.equal(value, before[name]) for name, value in encoders.state_dict().items())
    assert not ours.requires_grad
    x_BTVCP = centre_views(tiny_store, torch.from_numpy(clips_N), tiny().frames, CPU)
    encoders.eval()
    with torch.no_grad():
        expected = encoders.features(stack_modalities(x_BTVCP, tiny().modalities, tiny_store.layout))
    torch.testing.assert_close(ours, expected)


def test_no_clips_no_features(encoders, tiny, tiny_store):
    assert extract(encoders, tiny_store, np.arange(0), tiny()).shape == (3, 0, 16)


@pytest.mark.parametrize("share", [0.95, 0.5, 1.0])
def test_the_view_is_the_middle_of_the_clip(make_store, share):
    """⌊(1 − share)/2·n⌋ frames left out at each end, the rest resized."""
    store = make_store(frames=(1, 90), subjects=3)
    clips_N = torch.arange(len(store))
    views_BTVCP = centre_views(store, clips_N, 16, CPU, share)
    assert views_BTVCP.shape == (len(store), 16, 20, 3, 1)
    for clip in range(len(store)):
        start, n = int(store.start_N[clip]), int(store.length_N[clip])
        margin = int((1 - share) / 2 * n + 1e-9)
        kept_TX = store.rows_FX[start + margin : start + n - margin].double().numpy()
        at_T = np.clip((np.arange(16) + 0.5) * len(kept_TX) / 16 - 0.5, 0, len(kept_TX) - 1)
        expected = np.stack([np.interp(at_T, np.arange(len(kept_TX)), column) for column in kept_TX.T], axis=1)
        np.testing.assert_allclose(views_BTVCP[clip].reshape(16, -1).numpy(), expected, rtol=1e-4, atol=1e-5)
