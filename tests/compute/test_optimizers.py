"""PyTorch's optimisers without its compiler."""

import subprocess
import sys

import pytest
import torch

from cmd_tune.compute import optimizers

KINDS = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "fused": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.01, "fused": True}),
    ("LBFGS", {"max_iter": 4, "line_search_fn": "strong_wolfe"}),
]


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_they_are_pytorchs_to_the_bit_over_steps_and_a_restored_state(name, options):
    def descend(kind):
        generator = torch.Generator().manual_seed(0)
        weights = [torch.randn(5, 3, generator=generator).requires_grad_(), torch.randn(4, generator=generator)]
        weights[1].requires_grad_()
        optimizer = kind(weights, **options)

        def loss():
            optimizer.zero_grad(set_to_none=True)
            value = weights[0].pow(4).sum() + weights[1].cos().sum()
            value.backward()
            return value

        for step in range(6):
            if step == 3:
                kept = optimizer.state_dict()
                optimizer = kind(weights, **options)
                optimizer.load_state_dict(kept)
            optimizer.step(loss)
        return weights, optimizer.state_dict()

    ours, theirs = descend(getattr(optimizers, name)), descend(getattr(torch.optim, name))
    assert all(torch.equal(x, y) for x, y in zip(ours[0], theirs[0], strict=True))
    assert repr(ours[1]) == repr(theirs[1])


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_they_do_not_load_the_compiler(name, options):
    program = f"""
import sys, torch
from cmd_tune.compute.optimizers import {name}
weight = torch.ones(3, requires_grad=True)
optimizer = {name}([weight], **{options!r})
def loss():
    optimizer.zero_grad()
    value = weight.square().sum()
    value.backward()
    return value
optimizer.step(loss)
optimizer.load_state_dict(optimizer.state_dict())
assert weight.grad is not None and not weight.equal(torch.ones(3))
print("torch._dynamo" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert said.stdout == "False\n", said.stderr
