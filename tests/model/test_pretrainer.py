"""One step of CMD: what it compares with what, and what it leaves alone."""

import numpy as np
import pytest
import torch

from cmd_tune.model.encoders import GRUEncoder
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.objectives import CMD, MCL, Base, CrosSCLR
from cmd_tune.model.objectives.terms import numbers
from cmd_tune.model.pretrainer import Pretrainer

M, B, T, X, D, K = 3, 4, 5, 12, 6, 10


def build(momentum=0.9, **objective):
    generator = torch.Generator().manual_seed(0)
    encoders = GRUEncoder(M, X, hidden_size=4, embedding_size=D, layers=2, generator=generator)
    values = {
        "contrast_temperature": 0.07,
        "teacher_temperature": 0.05,
        "student_temperature": 0.1,
        "topk": 4,
        "distill_weight": 1.0,
        **objective,
    }
    pretrainer = Pretrainer(encoders, MemoryBanks(M, K, D, generator), CMD(**values), momentum)
    with torch.no_grad():  # the twins apart, as they are after any step
        for parameter in pretrainer.online.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return pretrainer


def views(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(M, B, T, X, generator=generator), torch.randn(M, B, T, X, generator=generator)


def copy_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def weights(module):
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def test_the_key_encoders_start_as_copies_that_learn_nothing():
    encoders = GRUEncoder(M, X, hidden_size=4, embedding_size=D)
    pretrainer = Pretrainer(encoders, MemoryBanks(M, K, D), CMD(0.07, 0.05, 0.1, 4, 1.0), 0.9)
    for (name, ours), twin in zip(pretrainer.online.named_parameters(), pretrainer.momentum.parameters(), strict=True):
        assert torch.equal(ours, twin), name
        assert ours.data_ptr() != twin.data_ptr(), name
        assert ours.requires_grad, name
        assert not twin.requires_grad, name


class Alone(GRUEncoder):
    """Takes nothing over samples that it would tell other workers."""

    def statistics(self, x_MBTX):
        return x_MBTX.new_empty(0)


@pytest.mark.parametrize(("kind", "exchanges"), [(GRUEncoder, [2 * (2 * M * X + 1)]), (Alone, [])])
def test_what_workers_tell_each_other_of_both_views_is_one_exchange(kind, exchanges):
    """Two workers with the same share each have the losses and statistics of one."""
    alone, several = build(), build()
    several.online.__class__ = several.momentum.__class__ = kind
    given = []

    def gather(x):
        given.append(len(x))
        return torch.stack([x, x])

    query, key = views()
    expected, keys_MBD = alone(query, key)
    found, ours_MBD = several(query, key, gather)
    assert given == exchanges
    torch.testing.assert_close(found.total, expected.total)
    torch.testing.assert_close(ours_MBD, keys_MBD)
    for encoders in ("online", "momentum"):
        ours, theirs = (getattr(one, encoders).input_norm.running_mean for one in (several, alone))
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.9, 1.0])
def test_momentum_moves_parameters_by_its_share(momentum):
    """m = 0 copies the online encoder, m = 1 never moves."""
    pretrainer = build(momentum)
    online, before = weights(pretrainer.online), weights(pretrainer.momentum)
    pretrainer(*views())
    for name, after in weights(pretrainer.momentum).items():
        if momentum in (0.0, 1.0):
            assert torch.equal(after, online[name] if momentum == 0 else before[name]), name
        else:
            torch.testing.assert_close(after, momentum * before[name] + (1 - momentum) * online[name])


def test_the_update_comes_before_the_keys():
    """With m = 0 the keys are the online encoder's embeddings of the second view."""
    pretrainer = build(momentum=0.0)
    query, key = views()
    _, keys_MBD = pretrainer(query, key)
    with torch.no_grad():
        torch.testing.assert_close(keys_MBD, pretrainer.online(key))


def test_running_statistics_are_each_encoders_own():
    """Of the query view online, of the key view in the twin; the momentum update leaves them."""
    pretrainer = build(momentum=0.0)
    query, key = views()
    pretrainer(query, key)
    for encoders, view in ((pretrainer.online, query), (pretrainer.momentum, key)):
        norm = encoders.input_norm
        torch.testing.assert_close(norm.running_mean, 0.1 * view.mean((1, 2)), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * view.flatten(1, 2).var(1), rtol=1e-5, atol=1e-6)
        assert norm.num_batches_tracked == 1


def test_a_forward_leaves_the_banks_alone():
    pretrainer = build()
    before = copy_of(pretrainer.banks)
    pretrainer(*views())
    assert all(torch.equal(value, before[name]) for name, value in pretrainer.banks.state_dict().items())


def test_losses_from_the_embeddings_and_the_banks_as_they_were():
    pretrainer = build(momentum=0.9, distill_weight=0.3)
    query, key = views()
    banks = pretrainer.banks.keys_MKD.double().numpy()
    with torch.no_grad():
        q = pretrainer.online(query).double().numpy()
    losses, keys = pretrainer(query, key)
    k = keys.double().numpy()

    def softmax(x):
        exponentials = np.exp(x - x.max())
        return exponentials / exponentials.sum()

    contrastive, hits = np.zeros(M), np.zeros(M)
    for a in range(M):
        for b in range(B):
            logits = np.array([q[a, b] @ k[a, b], *(banks[a] @ q[a, b])]) / 0.07
            contrastive[a] -= np.log(softmax(logits)[0]) / B
            hits[a] += (logits[0] > logits[1:].max()) / B
    distillation = 0.0
    for teacher in range(M):
        for student in range(M):
            for b in range(B):
                if teacher == student:
                    continue
                near = banks[teacher] @ k[teacher, b]
                rows = np.argsort(-near)[:4]
                p = softmax(near[rows] / 0.05)
                s = softmax((banks[student] @ q[student, b])[rows] / 0.1)
                distillation += (p * np.log(p / s)).sum() / B
    np.testing.assert_allclose(losses.contrastive_M.detach().numpy(), contrastive, rtol=1e-4, atol=1e-5)
    assert losses.cross_modal.item() == pytest.approx(distillation, rel=1e-4)
    assert losses.total.item() == pytest.approx(contrastive.sum() + 0.3 * distillation, rel=1e-4)
    assert losses.hit_share_M.tolist() == pytest.approx(hits.tolist())


def test_a_hit_is_a_positive_nearer_than_the_whole_bank():
    """No positive beats a bank that holds the query itself; every one beats a bank on the far side of the sphere."""
    pretrainer = build(momentum=0.0)
    query, key = views()
    with torch.no_grad():
        q_MBD = pretrainer.online(query)
        pretrainer.banks.keys_MKD[:, 2 : 2 + B] = q_MBD
        assert pretrainer(query, key)[0].hit_share_M.tolist() == [0.0] * M
        pretrainer.banks.keys_MKD.copy_(-q_MBD.mean(1, keepdim=True).expand(M, K, D))
        assert pretrainer(query, key)[0].hit_share_M.tolist() == [1.0] * M


def test_gradients_reach_the_online_encoders_alone():
    pretrainer = build()
    losses, keys_MBD = pretrainer(*views())
    losses.total.backward()
    assert all(parameter.grad.any() for parameter in pretrainer.online.parameters())
    assert all(parameter.grad is None for parameter in pretrainer.momentum.parameters())
    assert not keys_MBD.requires_grad


def test_mutual_contrast_from_the_embeddings():
    """Each modality's queries against every bank; the losses and hits of each by itself are reported beside it."""
    pretrainer = build()
    query, key = views()
    with torch.no_grad():
        q = pretrainer.online(query)
    own, _ = build()(query, key)
    pretrainer.objective = MCL(0.07, "added")
    losses, k = pretrainer(query, key)
    banks, expected = pretrainer.banks.keys_MKD, 0.0
    for a in range(M):
        for b in range(M):
            logits = torch.cat(((q[a] * k[b]).sum(1, keepdim=True), q[a] @ banks[b].T), dim=1) / 0.07
            expected += torch.nn.functional.cross_entropy(logits, torch.zeros(B, dtype=torch.long)).item()
    assert losses.total.item() == pytest.approx(expected, rel=1e-5)
    assert losses.cross_modal.item() == pytest.approx(expected - own.contrastive_M.sum().item(), rel=1e-5)
    torch.testing.assert_close(losses.contrastive_M, own.contrastive_M)
    assert torch.equal(losses.hit_share_M, own.hit_share_M)


def test_an_objectives_numbers_stay_where_they_are_read():
    """A captured step reads this memory again, whatever the objective has become meanwhile."""
    pretrainer = build()
    memory = pretrainer.numbers_PN.data_ptr()
    assert torch.equal(pretrainer.numbers_PN, numbers((pretrainer.objective,), K))
    for objective in (CMD(0.5, 0.25, 0.125, 3, 0.75), CrosSCLR(0.07, 1, "with"), Base(0.25)):
        pretrainer.objective = objective
        expected = numbers((objective,), K)
        assert pretrainer.objective is objective
        assert expected is None or torch.equal(pretrainer.numbers_PN, expected)
        assert pretrainer.numbers_PN.data_ptr() == memory


@pytest.mark.parametrize(
    "objective",
    [Base(0.07), MCL(0.07, "instead"), CrosSCLR(0.07, 1, "with"), CMD(0.07, 0.05, 0.1, 4, 1.0, "consensus")],
)
def test_every_objective_moves_every_branch(objective):
    """All online encoders get a gradient, all key encoders follow, and what is reported of a modality is the same."""
    pretrainer = build()
    reference, _ = build()(*views())
    pretrainer.objective = objective
    before = weights(pretrainer.momentum)
    losses, _ = pretrainer(*views())
    losses.total.backward()
    for name, parameter in pretrainer.online.named_parameters():
        assert all(of_one.any() for of_one in parameter.grad), name
    for name, after in weights(pretrainer.momentum).items():
        assert all(not torch.equal(a, b) for a, b in zip(after, before[name], strict=True)), name
    torch.testing.assert_close(losses.contrastive_M, reference.contrastive_M)
    assert torch.equal(losses.hit_share_M, reference.hit_share_M)


def test_weight_zero_is_contrastive_learning_alone():
    """λ = 0: the total and its gradient do not know the distillation's temperatures or neighbours."""
    gradients = []
    for objective in ({}, {"student_temperature": 0.9, "teacher_temperature": 0.4, "topk": 2}):
        pretrainer = build(distill_weight=0.0, **objective)
        losses, _ = pretrainer(*views())
        assert losses.total.item() == pytest.approx(losses.contrastive_M.sum().item(), rel=1e-6)
        losses.total.backward()
        gradients.append([parameter.grad for parameter in pretrainer.online.parameters()])
    pretrainer = build()
    pretrainer.objective = Base(0.07)
    losses, _ = pretrainer(*views())
    losses.total.backward()
    assert losses.cross_modal.item() == 0.0
    gradients.append([parameter.grad for parameter in pretrainer.online.parameters()])
    for a, b, base in zip(*gradients, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(base, a)  # its products have fewer rows, which may round otherwise


def test_one_neighbour_is_contrastive_learning_alone():
    losses, _ = build(topk=1)(*views())
    assert losses.cross_modal.item() == 0.0


def test_its_whole_state_is_in_its_state_dict():
    """What a checkpoint must hold: both twins with their statistics, the banks and the pointer."""
    pretrainer = build()
    _, keys_MBD = pretrainer(*views())
    pretrainer.banks.enqueue(keys_MBD)
    other = build()
    other.load_state_dict(pretrainer.state_dict())
    one, two = pretrainer(*views(5))[0], other(*views(5))[0]
    assert torch.equal(one.total, two.total)
    roots = {name.split(".")[0] for name in pretrainer.state_dict()}
    assert roots == {"online", "momentum", "banks"}
    norms = [name for name in pretrainer.state_dict() if "input_norm.running" in name]
    assert len(norms) == 4
