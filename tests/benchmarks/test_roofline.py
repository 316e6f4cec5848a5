"""The least time of a step, in its two limits and between them."""

import pytest

from benchmarks.roofline import least_seconds, recurrent_bytes, recurrent_flops
from benchmarks.step import paper_settings, step_flops

EVER = float("inf")


def test_the_papers_sizes():
    """Six GRUs of 3 × 1024 × 1024 weights; 64 samples, two operations a weight."""
    settings = paper_settings(1024, "bfloat16")
    assert recurrent_bytes(settings) == 6 * 3 * 1024 * 1024 * 2
    assert recurrent_bytes(paper_settings(1024, "float32")) == 6 * 3 * 1024 * 1024 * 4
    assert recurrent_flops(settings) == 6 * 3 * 1024 * 1024 * 64 * 2


def test_with_weights_at_hand_it_is_the_products_time():
    settings = paper_settings(256, "float32")
    assert least_seconds(settings, step_flops(settings), 1e12, EVER) == pytest.approx(step_flops(settings) / 1e12)


def test_with_free_products_it_is_the_weights_time():
    """Three layers of 64 frames, three times over."""
    settings = paper_settings(256, "bfloat16")
    expected = 3 * 3 * 64 * 6 * 3 * 256**2 * 2 / 1e12
    assert least_seconds(settings, step_flops(settings), EVER, 1e12) == pytest.approx(expected)


def test_a_frame_takes_the_longer_of_the_two():
    settings = paper_settings(1024, "bfloat16")
    flops = step_flops(settings)
    level = recurrent_bytes(settings) / recurrent_flops(settings)  # where reading and arithmetic take as long
    at = [least_seconds(settings, flops, 1e15, 1e15 * level * ease) for ease in (0.5, 1, 2)]
    assert at[1] == pytest.approx(at[2]) == pytest.approx(flops / 1e15)
    assert at[0] - at[1] == pytest.approx(3 * 3 * 64 * recurrent_flops(settings) / 1e15)
