"""Cross-modal distillation, pair by pair and by consensus: re-derived in NumPy, in closed form, and at its limits."""

import math

import numpy as np
import pytest
import torch

from cmd_tune.model.objectives.distillation import CMD, consensus_distillation, pairwise_distillation

M, B, K = 3, 5, 16


def similarities(seed, dtype=torch.float64):
    return 2 * torch.rand(M, B, K, generator=torch.Generator().manual_seed(seed), dtype=dtype) - 1


def softmax(x):
    exponentials = np.exp(x - x.max())
    return exponentials / exponentials.sum()


def distillation(student_MBK, teacher_MBK, topk, student_temperature, teacher_temperature):
    """Sample by sample and pair by pair, as the paper writes it."""
    total = 0.0
    for a in range(M):
        for b in range(M):
            if a == b:
                continue
            for sample in range(B):
                rows = np.argsort(-teacher_MBK[a, sample])[:topk]
                p = softmax(teacher_MBK[a, sample, rows] / teacher_temperature)
                s = softmax(student_MBK[b, sample, rows] / student_temperature)
                total += (p * np.log(p / s)).sum() / B
    return total


@pytest.mark.parametrize("topk", [1, 2, 7, K])
@pytest.mark.parametrize("temperatures", [(0.1, 0.05), (0.05, 0.1), (1.0, 1.0)])
def test_distillation_is_the_papers(topk, temperatures):
    student, teacher = similarities(0), similarities(1)
    ours = pairwise_distillation(
        student, teacher, topk, student_temperature=temperatures[0], teacher_temperature=temperatures[1]
    )
    expected = distillation(student.numpy(), teacher.numpy(), topk, *temperatures)
    assert ours.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_one_neighbour_is_exactly_nothing():
    student, teacher = similarities(0, torch.float32).requires_grad_(), similarities(1, torch.float32)
    loss = pairwise_distillation(student, teacher, 1, student_temperature=0.1, teacher_temperature=0.05)
    assert loss.item() == 0.0
    loss.backward()
    assert not student.grad.any()


def test_a_cold_teacher_points_at_its_nearest_neighbour():
    """τ_t → 0: each term is −log s at the row of bank a nearest to a's key."""
    student, teacher = similarities(0), similarities(1)
    ours = pairwise_distillation(student, teacher, 6, student_temperature=0.1, teacher_temperature=1e-6)
    expected = 0.0
    for a in range(M):
        for b in range(M):
            for sample in range(B):
                rows = np.argsort(-teacher[a, sample].numpy())[:6]
                if a != b:
                    expected -= np.log(softmax(student[b, sample, rows].numpy() / 0.1)[0]) / B
    assert ours.item() == pytest.approx(expected, rel=1e-9)


def test_a_cold_teacher_is_finite_in_float32():
    student, teacher = similarities(0, torch.float32), similarities(1, torch.float32)
    loss = pairwise_distillation(student, teacher, K, student_temperature=0.1, teacher_temperature=1e-4)
    assert torch.isfinite(loss)


def test_a_hot_teacher_asks_for_the_uniform_distribution():
    """τ_t → ∞ and τ_s → ∞: both are uniform; a hot teacher alone leaves Σ −log(s)/N − log N."""
    student, teacher = similarities(0), similarities(1)
    loss = pairwise_distillation(student, teacher, K, student_temperature=1e9, teacher_temperature=1e9)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    loss = pairwise_distillation(student, teacher, K, student_temperature=0.1, teacher_temperature=1e9)
    log_s = (student / 0.1).log_softmax(2)
    expected = 2 * (-log_s.mean(2) - math.log(K)).mean(1).sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


def test_a_student_like_its_teacher_has_nothing_to_learn():
    """Equal similarities in all modalities and equal temperatures: every KL and its gradient is 0."""
    shared = similarities(0)[:1].expand(M, B, K)
    student = shared.clone().requires_grad_()
    loss = pairwise_distillation(student, shared, 9, student_temperature=0.07, teacher_temperature=0.07)
    assert loss.item() == pytest.approx(0, abs=1e-14)
    loss.backward()
    assert student.grad.abs().max() < 1e-13


def test_all_neighbours_need_no_order():
    """K = topk: permuting the rows of all banks together changes nothing."""
    student, teacher = similarities(0), similarities(1)
    rows = torch.randperm(K, generator=torch.Generator().manual_seed(2))
    temperatures = {"student_temperature": 0.1, "teacher_temperature": 0.05}
    one = pairwise_distillation(student, teacher, K, **temperatures)
    other = pairwise_distillation(student[..., rows], teacher[..., rows], K, **temperatures)
    assert one.item() == pytest.approx(other.item(), rel=1e-12)


def test_two_modalities_by_hand():
    """Two rows, both neighbours, τ = 1: teacher (ln 3, 0) gives p = (3/4, 1/4), student (0, 0) gives s = (1/2, 1/2)."""
    teacher = torch.tensor([[[math.log(3), 0.0]], [[0.0, 0.0]]], dtype=torch.float64)
    student = torch.tensor([[[math.log(2), 0.0]], [[0.0, 0.0]]], dtype=torch.float64)
    ours = pairwise_distillation(student, teacher, 2, student_temperature=1.0, teacher_temperature=1.0)
    first_to_second = 3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)
    second_to_first = 1 / 2 * math.log((1 / 2) / (2 / 3)) + 1 / 2 * math.log((1 / 2) / (1 / 3))
    assert ours.item() == pytest.approx(first_to_second + second_to_first, rel=1e-12)


def test_one_modality_has_nobody_to_learn_from():
    loss = pairwise_distillation(
        similarities(0)[:1], similarities(1)[:1], 4, student_temperature=0.1, teacher_temperature=0.05
    )
    assert loss.item() == 0.0


def test_gradients_are_those_of_finite_differences():
    teacher = similarities(1)

    def loss(student):
        return pairwise_distillation(student, teacher, 7, student_temperature=0.3, teacher_temperature=0.2)

    assert torch.autograd.gradcheck(loss, similarities(0).requires_grad_())


def test_no_gradient_reaches_the_teacher():
    student, teacher = similarities(0).requires_grad_(), similarities(1).requires_grad_()
    loss = pairwise_distillation(student, teacher, 7, student_temperature=0.1, teacher_temperature=0.05)
    loss.backward()
    assert teacher.grad is None
    assert student.grad.any()


def test_the_gradient_of_the_student_in_closed_form():
    """∂KL/∂logit = (s − p)/τ_s on the neighbours, 0 elsewhere, over the batch; here for one pair of modalities."""
    student, teacher = similarities(0)[:2].requires_grad_(), similarities(1)[:2]
    pairwise_distillation(student, teacher, 7, student_temperature=0.1, teacher_temperature=0.05).backward()
    for a, b in [(0, 1), (1, 0)]:
        for sample in range(B):
            rows = np.argsort(-teacher[a, sample].numpy())[:7]
            expected = np.zeros(K)
            s = softmax(student[b, sample].detach().numpy()[rows] / 0.1)
            expected[rows] = (s - softmax(teacher[a, sample].numpy()[rows] / 0.05)) / 0.1 / B
            np.testing.assert_allclose(student.grad[b, sample].numpy(), expected, rtol=1e-9, atol=1e-12)


# Consensus

TEMPERATURES = {"student_temperature": 0.1, "teacher_temperature": 0.05}


def gradient(distillation, student, teacher, topk, **temperatures):
    student = student.clone().requires_grad_()
    distillation(student, teacher, topk, **temperatures).backward()
    return student.grad


def many(seed, modalities, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(modalities, B, K, generator=generator, dtype=dtype) - 1


@pytest.mark.parametrize("modalities", [2, 3, 6])
@pytest.mark.parametrize("topk", [1, 2, 7, K])
@pytest.mark.parametrize("temperatures", [(0.1, 0.05), (0.05, 0.1), (1.0, 1.0)])
def test_consensus_in_numpy(modalities, topk, temperatures):
    """Student by student: the mean of the others' distributions, on the rows where it has most."""
    student, teacher = many(0, modalities).numpy(), many(1, modalities).numpy()
    expected = 0.0
    for b in range(modalities):
        for sample in range(B):
            whole = np.mean(
                [softmax(teacher[a, sample] / temperatures[1]) for a in range(modalities) if a != b], axis=0
            )
            rows = np.argsort(-whole)[:topk]
            q = whole[rows] / whole[rows].sum()
            s = softmax(student[b, sample, rows] / temperatures[0])
            expected += (modalities - 1) * (q * np.log(q / s)).sum() / B
    ours = consensus_distillation(
        torch.from_numpy(student),
        torch.from_numpy(teacher),
        topk,
        student_temperature=temperatures[0],
        teacher_temperature=temperatures[1],
    )
    assert ours.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("modalities", [2, 3, 6])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_on_all_rows_consensus_has_the_gradient_of_all_pairs(modalities, dtype, within):
    student, teacher = many(0, modalities, dtype), many(1, modalities, dtype)
    pairs = gradient(pairwise_distillation, student, teacher, K, **TEMPERATURES)
    consensus = gradient(consensus_distillation, student, teacher, K, **TEMPERATURES)
    assert pairs.abs().max() > 0.1
    torch.testing.assert_close(consensus, pairs, rtol=0, atol=within * pairs.abs().max().item())


def test_what_consensus_leaves_out_is_the_teachers_disagreement():
    """On all rows the pairs' loss is the consensus' and Σ_{a≠b} KL(p_a ‖ q_b), in which there is no student."""
    teacher = similarities(1)
    p = (teacher / 0.05).softmax(2)
    apart = 0.0
    for b in range(M):
        q = (p.sum(0) - p[b]) / (M - 1)
        apart += sum((p[a] * (p[a] / q).log()).sum(1).mean().item() for a in range(M) if a != b)
    for seed in (0, 2):
        pairs = pairwise_distillation(similarities(seed), teacher, K, **TEMPERATURES)
        consensus = consensus_distillation(similarities(seed), teacher, K, **TEMPERATURES)
        assert (pairs - consensus).item() == pytest.approx(apart, rel=1e-9)


@pytest.mark.parametrize("topk", [2, 7, K])
def test_two_modalities_are_a_pair(topk):
    """M = 2: the others' mean is the other, its rows are the other's; loss and gradient are the paper's."""
    student, teacher = many(0, 2), many(1, 2)
    pairs, consensus = (
        d(student, teacher, topk, **TEMPERATURES) for d in (pairwise_distillation, consensus_distillation)
    )
    assert consensus.item() == pytest.approx(pairs.item(), rel=1e-12)
    one, other = (
        gradient(d, student, teacher, topk, **TEMPERATURES) for d in (pairwise_distillation, consensus_distillation)
    )
    torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-13)


def test_consensus_of_one_row_is_nothing():
    student = similarities(0, torch.float32).requires_grad_()
    loss = consensus_distillation(student, similarities(1, torch.float32), 1, **TEMPERATURES)
    assert loss.item() == 0.0
    loss.backward()
    assert not student.grad.any()


def test_consensus_like_the_student_has_nothing_to_learn():
    shared = similarities(0)[:1].expand(M, B, K)
    temperatures = {"student_temperature": 0.07, "teacher_temperature": 0.07}
    assert consensus_distillation(shared, shared, 9, **temperatures).item() == pytest.approx(0, abs=1e-13)
    assert gradient(consensus_distillation, shared, shared, 9, **temperatures).abs().max() < 1e-13


@pytest.mark.parametrize("topk", [6, K])
def test_a_student_does_not_learn_from_its_own_teacher(topk):
    """b's term, its rows and its gradient do not change with b's teacher."""
    student, teacher = similarities(0), similarities(1)
    before = gradient(consensus_distillation, student, teacher, topk, **TEMPERATURES)
    teacher[1] = similarities(2)[1]
    after = gradient(consensus_distillation, student, teacher, topk, **TEMPERATURES)
    assert torch.equal(after[1], before[1])
    assert (after[0] - before[0]).abs().max() > 1e-3


def test_its_own_share_leaves_no_rounding():
    """float32, b's teacher sure of one row, to which the others give next to nothing: which rows, and how much."""
    teacher = similarities(1, torch.float32)
    teacher[0] = -1.0
    teacher[0, :, 3] = 1.0
    teacher[1:, :, 3] = -1.0
    student = similarities(0, torch.float32)
    for topk in (8, K):
        ours = gradient(consensus_distillation, student, teacher, topk, **TEMPERATURES)
        exact = gradient(consensus_distillation, student.double(), teacher.double(), topk, **TEMPERATURES)
        assert torch.equal(ours != 0, exact != 0)
        torch.testing.assert_close(ours.double(), exact, rtol=0, atol=1e-6 * exact.abs().max().item())


def test_cold_teachers_point_at_their_nearest_neighbours():
    """τ_t → 0 in float32: (M − 1)·q, read off the gradient (M − 1)(s − q) / τ_s, is 1 at each other's nearest row.

    The rows to which no teacher gives anything are taken in the order of the others' similarities.
    """
    student, teacher = similarities(0, torch.float32), similarities(1, torch.float32)
    temperatures = {"student_temperature": 0.1, "teacher_temperature": 1e-4}
    grad = gradient(consensus_distillation, student, teacher, 6, **temperatures)
    expected = torch.zeros(M, B, K)
    for b in range(M):
        others = [a for a in range(M) if a != b]
        for a in others:
            expected[b].scatter_add_(1, teacher[a].argmax(1, keepdim=True), torch.ones(B, 1))
        rest_BK = teacher[others].sum(0) + 100 * expected[b]
        rows_BN = rest_BK.topk(6).indices
        assert torch.equal((grad[b] != 0).nonzero()[:, 1].view(B, 6), rows_BN.sort(1).values)
    s = (student / 0.1).masked_fill(grad == 0, -torch.inf).softmax(2)
    torch.testing.assert_close((M - 1) * s - 0.1 * B * grad, expected, rtol=0, atol=1e-5)


def test_hot_teachers_ask_for_the_uniform_distribution():
    loss = consensus_distillation(similarities(0), similarities(1), K, student_temperature=0.1, teacher_temperature=1e9)
    log_s = (similarities(0) / 0.1).log_softmax(2)
    expected = (M - 1) * (-log_s.mean(2) - math.log(K)).mean(1).sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


def test_no_other_rows_keep_more_of_the_teachers():
    """The mass of each student's teachers on its rows, which are those with a gradient, against random choices."""
    student, teacher = similarities(0), similarities(1)
    chosen = gradient(consensus_distillation, student, teacher, 6, **TEMPERATURES) != 0
    assert (chosen.sum(2) == 6).all()
    p = (teacher / 0.05).softmax(2)
    others = p.sum(0) - p
    kept = (others * chosen).sum(2)
    generator = torch.Generator().manual_seed(3)
    for _ in range(200):
        rows = torch.rand(M, B, K, generator=generator).topk(6).indices
        assert (others.gather(2, rows).sum(2) <= kept + 1e-12).all()


def test_consensus_gradients_are_those_of_finite_differences():
    teacher = similarities(1)

    def loss(student):
        return consensus_distillation(student, teacher, 7, student_temperature=0.3, teacher_temperature=0.2)

    assert torch.autograd.gradcheck(loss, similarities(0).requires_grad_())


def test_no_gradient_reaches_the_consensus():
    student, teacher = similarities(0).requires_grad_(), similarities(1).requires_grad_()
    consensus_distillation(student, teacher, 7, **TEMPERATURES).backward()
    assert teacher.grad is None
    assert student.grad.any()


# The method


@pytest.mark.parametrize(
    ("name", "function"), [("pairwise", pairwise_distillation), ("consensus", consensus_distillation)]
)
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_cmd_adds_the_weighted_distillation(asked, contrastive, name, function, weight):
    expected = function(asked[1][:, 0], asked[2], 4, student_temperature=0.1, teacher_temperature=0.05)
    total, between, own = CMD(0.07, 0.05, 0.1, 4, weight, name)(*asked)
    assert between.item() == pytest.approx(expected.item())
    assert total.item() == pytest.approx((contrastive.sum() + weight * expected).item())
    assert torch.equal(own, contrastive)
