"""Learning targets: the recursions checked against plain loops, and the cases that public code gets wrong."""

import math

import pytest
import torch

from marlcourse.targets import discounted_return, gae, masked_mean, td_lambda, td_target

GAMMA = 0.9


def row(rewards, ends="terminated", pad=0):
    """One row of these rewards: reward, terminated, mask [1,T]. ends: terminated, truncated, or running (a cut piece)."""
    t = len(rewards)
    reward = torch.zeros(1, t + pad)
    reward[0, :t] = torch.tensor(rewards, dtype=torch.float32)
    terminated = torch.zeros(1, t + pad, dtype=torch.bool)
    terminated[0, t - 1] = ends == "terminated"
    mask = torch.zeros(1, t + pad)
    mask[0, :t] = 1
    return reward, terminated, mask


def loop_td_lambda(rewards, next_values, terminated, gamma, lam):
    """The definition, backwards, for one row without padding."""
    y = [0.0] * len(rewards)
    for t in reversed(range(len(rewards))):
        bootstrap = 0.0 if terminated[t] else next_values[t]
        after = bootstrap if t == len(rewards) - 1 else (1 - lam) * next_values[t] + lam * y[t + 1]
        y[t] = rewards[t] + gamma * after
    return y


def test_one_step_target_bootstraps_except_at_an_end():
    y = td_target(torch.tensor([1.0, 1.0]), torch.tensor([False, True]), torch.tensor([5.0, 5.0]), GAMMA)
    assert y.tolist() == [1 + GAMMA * 5, 1.0]


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.8, 1.0])
def test_the_target_of_a_terminal_step_is_its_reward_exactly(lam):
    reward, terminated, mask = row([0.1, 0.2, 0.3])
    y = td_lambda(reward, terminated, torch.full_like(reward, 1e6), mask, GAMMA, lam)
    assert y[0, -1] == reward[0, -1]


@pytest.mark.parametrize("ends", ["terminated", "truncated", "running"])
@pytest.mark.parametrize("lam", [0.0, 0.4, 1.0])
def test_td_lambda_is_its_definition(ends, lam):
    torch.manual_seed(0)
    reward, terminated, mask = row(torch.randn(6).tolist(), ends)
    values = torch.randn(1, 6)
    want = loop_td_lambda(reward[0].tolist(), values[0].tolist(), terminated[0].tolist(), GAMMA, lam)
    torch.testing.assert_close(td_lambda(reward, terminated, values, mask, GAMMA, lam)[0], torch.tensor(want))


def test_lambda_0_is_the_one_step_target():
    reward, terminated, mask = row([1.0, -2.0, 0.5], "truncated")
    values = torch.tensor([[3.0, 4.0, 5.0]])
    torch.testing.assert_close(
        td_lambda(reward, terminated, values, mask, GAMMA, 0.0), td_target(reward, terminated, values, GAMMA)
    )


def test_lambda_1_is_the_discounted_return():
    reward, terminated, mask = row([1.0, -2.0, 0.5])
    values = torch.full((1, 3), 100.0)
    torch.testing.assert_close(td_lambda(reward, terminated, values, mask, GAMMA, 1.0), discounted_return(reward, mask, GAMMA))


def test_lambda_1_at_a_time_limit_adds_the_value_of_the_final_observation():
    reward, terminated, mask = row([1.0, -2.0, 0.5], "truncated")
    y = td_lambda(reward, terminated, torch.tensor([[9.0, 9.0, 7.0]]), mask, GAMMA, 1.0)
    tail = torch.tensor([[GAMMA**3, GAMMA**2, GAMMA]]) * 7.0
    torch.testing.assert_close(y, discounted_return(reward, mask, GAMMA) + tail)


@pytest.mark.parametrize("ends", ["terminated", "truncated"])
@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_padding_never_reaches_a_target(ends, lam):
    """A truncated row shorter than its batch is the case in which public code reads the value of a padded step."""
    torch.manual_seed(1)
    short, values = row([1.0, 2.0, 3.0], ends), torch.randn(1, 3)
    padded, junk = row([1.0, 2.0, 3.0], ends, pad=4), torch.cat([values, torch.full((1, 4), 1e4)], 1)
    padded[0][0, 3:] = 77.0
    torch.testing.assert_close(
        td_lambda(*padded[:2], junk, padded[2], GAMMA, lam)[:, :3], td_lambda(*short[:2], values, short[2], GAMMA, lam)
    )


@pytest.mark.parametrize("ends", ["terminated", "truncated", "running"])
@pytest.mark.parametrize("lam", [0.0, 0.95, 1.0])
def test_with_the_exact_value_the_advantage_is_zero(ends, lam):
    """Running, terminated, truncated: a world that pays 1 a step, for 5 more steps where it ends, for ever where it is cut."""
    steps = 5
    reward, terminated, mask = row([1.0] * steps, ends, pad=2)
    if ends == "terminated":
        exact = [(1 - GAMMA ** (steps - t)) / (1 - GAMMA) for t in range(steps + 1)]
    else:
        exact = [1 / (1 - GAMMA)] * (steps + 1)
    value = torch.zeros(1, steps + 2)
    value[0, :steps] = torch.tensor(exact[:-1])
    next_value = torch.full((1, steps + 2), 1e3)
    next_value[0, :steps] = torch.tensor(exact[1:])
    if ends == "terminated":
        next_value[0, steps - 1] = 1e3  # what a network happens to say after an end must not matter
    a = gae(reward, value, next_value, terminated, mask, GAMMA, lam)
    torch.testing.assert_close(a, torch.zeros_like(a), atol=2e-5, rtol=0)


def test_gae_with_lambda_1_and_no_values_is_the_return_to_go():
    reward, terminated, mask = row([1.0, 2.0, 3.0], pad=1)
    zero = torch.zeros_like(reward)
    torch.testing.assert_close(gae(reward, zero, zero, terminated, mask, GAMMA, 1.0), discounted_return(reward, mask, GAMMA))


def test_gae_is_its_definition():
    torch.manual_seed(2)
    reward, terminated, mask = row(torch.randn(4).tolist(), "truncated")
    value, next_value, lam = torch.randn(1, 4), torch.randn(1, 4), 0.7
    delta = (reward + GAMMA * next_value - value)[0]
    want = [sum((GAMMA * lam) ** (k - t) * float(delta[k]) for k in range(t, 4)) for t in range(4)]
    torch.testing.assert_close(gae(reward, value, next_value, terminated, mask, GAMMA, lam)[0], torch.tensor(want))


def test_gae_plus_value_is_the_td_lambda_target():
    torch.manual_seed(3)
    reward, terminated, mask = row(torch.randn(5).tolist(), "truncated")
    v = torch.randn(1, 6)
    a = gae(reward, v[:, :-1], v[:, 1:], terminated, mask, GAMMA, 0.8)
    torch.testing.assert_close(a + v[:, :-1], td_lambda(reward, terminated, v[:, 1:], mask, GAMMA, 0.8))


def test_masked_mean_counts_real_steps_only_and_expands_over_agents():
    x = torch.tensor([[1.0, 3.0, 100.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    assert masked_mean(x, mask) == 2.0
    assert masked_mean(torch.stack([x, x + 2], -1), mask) == 3.0  # [R,T,N]: the mean is over agents too
    assert masked_mean(x, torch.zeros_like(mask)) == 0.0  # nothing real: no division by zero
    assert masked_mean(x, torch.tensor([[3.0, 1.0, 0.0]])) == 1.5  # weights count as rows do


def test_long_rows_lose_no_precision():
    reward, mask = torch.ones(1, 400), torch.ones(1, 400)
    want = (1 - 0.99**400) / (1 - 0.99)
    assert math.isclose(discounted_return(reward, mask, 0.99)[0, 0], want, rel_tol=1e-5)
