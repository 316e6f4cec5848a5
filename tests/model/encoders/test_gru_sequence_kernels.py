"""All frames as one kernel, interpreted: blocks that samples and units do not fill, and what is not kept."""

import pytest
import torch

from tests.model.conftest import computing
from tests.model.encoders.test_gru_layer import inputs, run
from tests.model.interpreted import gru_sequence_kernels

pytestmark = pytest.mark.long

# (T, B, I, H): several blocks with a rest; a frame, a rest of one sample and one unit; tiles that are full
SHAPES = [(5, 37, 4, 19), (1, 17, 2, 1), (3, 32, 3, 16), (2, 1, 1, 40)]
M = 2


@pytest.fixture(autouse=True)
def _all_frames():
    with computing("triton, all frames"):
        yield


def with_gradients(tensors, last_only):
    out = run(tensors, last_only)
    pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [out, *torch.autograd.grad(out, tensors, pull.to(out.dtype))]


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str)
def test_states_and_gradients_are_those_of_float64(shape, dtype, tolerance, last_only):
    tensors = inputs(dtype, (M, *shape))
    exact = [x.detach().double().requires_grad_() for x in tensors]
    for a, b in zip(with_gradients(tensors, last_only), with_gradients(exact, last_only), strict=True):
        assert (a.double() - b).norm() <= tolerance * b.norm()


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_states_are_the_same_where_nothing_is_kept(dtype, last_only):
    tensors = inputs(dtype, (M, *SHAPES[0]))
    with torch.no_grad():
        plain = run(tensors, last_only)
    assert torch.equal(plain, run(tensors, last_only))


def test_the_last_state_alone_is_that_of_all_frames_before_it_was_rounded():
    tensors = inputs(torch.bfloat16, (M, *SHAPES[0]))
    last, every = run(tensors, True), run(tensors, False)
    assert last.dtype == torch.float32
    assert torch.equal(last.bfloat16(), every[:, -1])


@pytest.mark.parametrize(
    ("dtype", "largest"), [(torch.bfloat16, 128), (torch.float32, 64), (torch.float64, 0), (torch.float16, 0)], ids=str
)
def test_which_layers_go_this_way(dtype, largest):
    taken = [H for H in range(1, 200) if gru_sequence_kernels.has_room(torch.empty(2, 3 * H, dtype=dtype))]
    assert taken == list(range(1, largest + 1))
