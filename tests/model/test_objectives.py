"""The losses: re-derived in NumPy, in closed form, and at their limits."""

import math

import numpy as np
import pytest
import torch

from cmd_tune.model.objectives import cross_modal_distillation, info_nce

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
    ours = cross_modal_distillation(
        student, teacher, topk, student_temperature=temperatures[0], teacher_temperature=temperatures[1]
    )
    expected = distillation(student.numpy(), teacher.numpy(), topk, *temperatures)
    assert ours.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_one_neighbour_is_exactly_nothing():
    student, teacher = similarities(0, torch.float32).requires_grad_(), similarities(1, torch.float32)
    loss = cross_modal_distillation(student, teacher, 1, student_temperature=0.1, teacher_temperature=0.05)
    assert loss.item() == 0.0
    loss.backward()
    assert not student.grad.any()


def test_a_cold_teacher_points_at_its_nearest_neighbour():
    """τ_t → 0: each term is −log s at the row of bank a nearest to a's key."""
    student, teacher = similarities(0), similarities(1)
    ours = cross_modal_distillation(student, teacher, 6, student_temperature=0.1, teacher_temperature=1e-6)
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
    loss = cross_modal_distillation(student, teacher, K, student_temperature=0.1, teacher_temperature=1e-4)
    assert torch.isfinite(loss)


def test_a_hot_teacher_asks_for_the_uniform_distribution():
    """τ_t → ∞ and τ_s → ∞: both are uniform; a hot teacher alone leaves Σ −log(s)/N − log N."""
    student, teacher = similarities(0), similarities(1)
    loss = cross_modal_distillation(student, teacher, K, student_temperature=1e9, teacher_temperature=1e9)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    loss = cross_modal_distillation(student, teacher, K, student_temperature=0.1, teacher_temperature=1e9)
    log_s = (student / 0.1).log_softmax(2)
    expected = 2 * (-log_s.mean(2) - math.log(K)).mean(1).sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


def test_a_student_like_its_teacher_has_nothing_to_learn():
    """Equal similarities in all modalities and equal temperatures: every KL and its gradient is 0."""
    shared = similarities(0)[:1].expand(M, B, K)
    student = shared.clone().requires_grad_()
    loss = cross_modal_distillation(student, shared, 9, student_temperature=0.07, teacher_temperature=0.07)
    assert loss.item() == pytest.approx(0, abs=1e-14)
    loss.backward()
    assert student.grad.abs().max() < 1e-13


def test_all_neighbours_need_no_order():
    """K = topk: permuting the rows of all banks together changes nothing."""
    student, teacher = similarities(0), similarities(1)
    rows = torch.randperm(K, generator=torch.Generator().manual_seed(2))
    temperatures = {"student_temperature": 0.1, "teacher_temperature": 0.05}
    one = cross_modal_distillation(student, teacher, K, **temperatures)
    other = cross_modal_distillation(student[..., rows], teacher[..., rows], K, **temperatures)
    assert one.item() == pytest.approx(other.item(), rel=1e-12)


def test_two_modalities_by_hand():
    """Two rows, both neighbours, τ = 1: teacher (ln 3, 0) gives p = (3/4, 1/4), student (0, 0) gives s = (1/2, 1/2)."""
    teacher = torch.tensor([[[math.log(3), 0.0]], [[0.0, 0.0]]], dtype=torch.float64)
    student = torch.tensor([[[math.log(2), 0.0]], [[0.0, 0.0]]], dtype=torch.float64)
    ours = cross_modal_distillation(student, teacher, 2, student_temperature=1.0, teacher_temperature=1.0)
    first_to_second = 3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)
    second_to_first = 1 / 2 * math.log((1 / 2) / (2 / 3)) + 1 / 2 * math.log((1 / 2) / (1 / 3))
    assert ours.item() == pytest.approx(first_to_second + second_to_first, rel=1e-12)


def test_one_modality_has_nobody_to_learn_from():
    loss = cross_modal_distillation(
        similarities(0)[:1], similarities(1)[:1], 4, student_temperature=0.1, teacher_temperature=0.05
    )
    assert loss.item() == 0.0


def test_gradients_are_those_of_finite_differences():
    teacher = similarities(1)

    def loss(student):
        return cross_modal_distillation(student, teacher, 7, student_temperature=0.3, teacher_temperature=0.2)

    assert torch.autograd.gradcheck(loss, similarities(0).requires_grad_())


def test_no_gradient_reaches_the_teacher():
    student, teacher = similarities(0).requires_grad_(), similarities(1).requires_grad_()
    loss = cross_modal_distillation(student, teacher, 7, student_temperature=0.1, teacher_temperature=0.05)
    loss.backward()
    assert teacher.grad is None
    assert student.grad.any()


def test_the_gradient_of_the_student_in_closed_form():
    """∂KL/∂logit = (s − p)/τ_s on the neighbours, 0 elsewhere, over the batch; here for one pair of modalities."""
    student, teacher = similarities(0)[:2].requires_grad_(), similarities(1)[:2]
    cross_modal_distillation(student, teacher, 7, student_temperature=0.1, teacher_temperature=0.05).backward()
    for a, b in [(0, 1), (1, 0)]:
        for sample in range(B):
            rows = np.argsort(-teacher[a, sample].numpy())[:7]
            expected = np.zeros(K)
            s = softmax(student[b, sample].detach().numpy()[rows] / 0.1)
            expected[rows] = (s - softmax(teacher[a, sample].numpy()[rows] / 0.05)) / 0.1 / B
            np.testing.assert_allclose(student.grad[b, sample].numpy(), expected, rtol=1e-9, atol=1e-12)


# Contrastive term


def test_info_nce_in_closed_form():
    """All similarities alike: log(1 + K). Positive 1 and K negatives −1 at τ: log(1 + K·e^(−2/τ))."""
    assert info_nce(torch.zeros(M, B), torch.zeros(M, B, K), 0.07).tolist() == pytest.approx([math.log(1 + K)] * M)
    for temperature in (0.07, 0.5, 2.0):
        ours = info_nce(torch.ones(M, B).double(), -torch.ones(M, B, K).double(), temperature)
        expected = math.log1p(K * math.exp(-2 / temperature))
        assert ours.tolist() == pytest.approx([expected] * M, rel=1e-5 if temperature > 0.07 else 1e-2)


def test_info_nce_is_cross_entropy_of_class_zero_a_modality():
    positive, bank = similarities(2)[..., 0], similarities(0)
    logits = torch.cat((positive[..., None], bank), dim=2) / 0.07
    expected = [np.mean([-np.log(softmax(row.numpy())[0]) for row in of_one]) for of_one in logits]
    assert info_nce(positive, bank, 0.07).tolist() == pytest.approx(expected, rel=1e-12)


def test_info_nce_gradient():
    def loss(positive, bank):
        return info_nce(positive, bank, 0.3)

    assert torch.autograd.gradcheck(loss, (similarities(2)[..., 0].requires_grad_(), similarities(0).requires_grad_()))


def test_info_nce_of_cold_temperatures_is_finite():
    bank = torch.zeros(1, 1, 2)
    bank[..., 1] = 1.0
    assert info_nce(torch.zeros(1, 1), bank, 1e-6).tolist() == pytest.approx([1e6])
