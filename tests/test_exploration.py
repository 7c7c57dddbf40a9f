"""Schedules, the one mask, and sampling."""

import pytest
import torch

from marlcourse.exploration import (
    MASKED,
    Schedule,
    categorical,
    constant,
    epsilon_greedy,
    gumbel_straight_through,
    masked,
    uniform_actions,
)  # fmt: skip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


AVAIL = torch.tensor([[True, False, True, False], [False, True, False, False]])  # the second has no choice


def test_a_schedule_is_a_line_and_then_constant():
    s = Schedule(1.0, 0.05, 100)
    assert [s(0), s(50), s(100), s(10_000)] == pytest.approx([1.0, 0.525, 0.05, 0.05])
    assert constant(0.3)(0) == constant(0.3)(10**9) == 0.3
    assert Schedule(1.0, 1.0, 0)(0) == 1.0


def test_masked_actions_have_probability_zero_and_everything_stays_finite():
    logits = torch.randn(2, 4, generator=generator()).requires_grad_()
    policy = torch.distributions.Categorical(logits=masked(logits, AVAIL))
    assert (policy.probs[~AVAIL] == 0.0).all()
    taken = torch.tensor([2, 1])
    assert torch.isfinite(policy.log_prob(taken)).all() and torch.isfinite(policy.entropy()).all()
    assert policy.entropy()[1] == 0.0  # one available action: nothing to decide


def test_no_gradient_reaches_unavailable_actions_or_an_agent_without_a_choice():
    logits = torch.randn(2, 4, generator=generator()).requires_grad_()
    log_pi = torch.log_softmax(masked(logits, AVAIL), -1)
    (log_pi[0, 2] + log_pi[1, 1] + torch.softmax(masked(logits, AVAIL), -1).square().sum()).backward()
    assert (logits.grad[~AVAIL] == 0).all()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[0, [0, 2]] != 0).all()


def test_masked_values_are_finite_and_none_means_no_mask():
    x = torch.randn(2, 4)
    assert torch.isfinite(masked(x, AVAIL)).all()
    assert (masked(x, AVAIL)[~AVAIL] == MASKED).all()
    assert masked(x, None) is x
    assert (masked(x, AVAIL) * 0.0 == 0.0).all()  # -inf would make NaN here


def test_greedy_never_plays_an_unavailable_action():
    q = torch.tensor([[[0.0, 9.0, 1.0, 9.0], [9.0, 0.0, 9.0, 9.0]]])
    assert epsilon_greedy(q, AVAIL.unsqueeze(0), 0.0, generator()).tolist() == [[2, 1]]


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_exploring_plays_available_actions_only(epsilon):
    q = torch.randn(5000, 2, 4, generator=generator())
    avail = AVAIL.expand(5000, 2, 4)
    actions = epsilon_greedy(q, avail, epsilon, generator(1))
    assert avail.gather(-1, actions.unsqueeze(-1)).all()


def test_epsilon_is_one_draw_per_agent():
    """With epsilon .5 and 4 actions an agent leaves its greedy action 3/8 of the time, whatever its neighbour does."""
    q = torch.zeros(40_000, 2, 4)
    q[..., 0] = 1
    moved = epsilon_greedy(q, torch.ones_like(q, dtype=torch.bool), 0.5, generator()) != 0
    assert moved.float().mean() == pytest.approx(0.375, abs=0.01)
    assert moved.all(-1).float().mean() == pytest.approx(0.375**2, abs=0.01)  # one draw for the team would give 9/32


def test_uniform_actions_are_uniform_over_the_available():
    avail = torch.tensor([True, False, True, True]).expand(30_000, 4)
    share = torch.bincount(uniform_actions(avail, generator()), minlength=4) / 30_000
    torch.testing.assert_close(share, torch.tensor([1 / 3, 0, 1 / 3, 1 / 3]), atol=0.012, rtol=0)


def test_categorical_follows_the_probabilities():
    p = torch.tensor([0.7, 0.0, 0.2, 0.1])
    log_p = masked(p.log(), p > 0).expand(40_000, 4)
    share = torch.bincount(categorical(log_p, generator()), minlength=4) / 40_000
    assert share[1] == 0
    torch.testing.assert_close(share, p, atol=0.012, rtol=0)


def test_the_same_generator_draws_the_same_actions():
    logits, avail = torch.randn(50, 2, 4), torch.ones(50, 2, 4, dtype=torch.bool)
    for draw in (
        lambda g: categorical(logits, g),
        lambda g: epsilon_greedy(logits, avail, 0.7, g),
        lambda g: uniform_actions(avail, g),
    ):
        assert torch.equal(draw(generator(3)), draw(generator(3)))
        assert not torch.equal(draw(generator(3)), draw(generator(4)))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_straight_through_is_one_hot_forward_and_soft_backward(temperature):
    logits = torch.randn(500, 4, generator=generator()).requires_grad_()
    weight = torch.randn(500, 4, generator=generator(1))
    hard = gumbel_straight_through(logits, temperature, generator(2))
    assert torch.equal(hard.detach().sort(-1).values, torch.tensor([0.0, 0, 0, 1]).expand(500, 4))
    (got,) = torch.autograd.grad((hard * weight).sum(), logits)
    uniform = torch.rand(500, 4, generator=generator(2)).clamp(1e-20, 1 - 1e-7)
    soft = torch.softmax((logits - (-uniform.log()).log()) / temperature, -1)
    (want,) = torch.autograd.grad((soft * weight).sum(), logits)
    torch.testing.assert_close(got, want)
    assert torch.equal(hard.argmax(-1), soft.argmax(-1))
