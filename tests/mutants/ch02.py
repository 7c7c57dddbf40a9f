"""Plausible wrong answers to chapter 02's exercises; every check must reject every one."""

import torch
import torch.nn.functional as F

from marlcourse.course.checks import ch02
from marlcourse.course.exercises import mutate


def play_together(greedy, n_actions, epsilon):
    """One coin for the whole team."""
    p = torch.full((n_actions, n_actions), epsilon / n_actions**2)
    p[tuple(greedy)] += 1 - epsilon
    return p


def play_others(greedy, n_actions, epsilon):
    """Exploring never draws the greedy action."""
    own = torch.full((2, n_actions), epsilon / (n_actions - 1))
    for agent, u in enumerate(greedy):
        own[agent, u] = 1 - epsilon
    return torch.outer(*own)


def play_transposed(greedy, n_actions, epsilon):
    return ch02.play(greedy, n_actions, epsilon).T


def play_unnormalised(greedy, n_actions, epsilon):
    """Forgets that the greedy action is drawn by exploring too, and everywhere else epsilon/A."""
    own = torch.full((2, n_actions), epsilon / n_actions)
    for agent, u in enumerate(greedy):
        own[agent, u] = 1 - epsilon
    return torch.outer(*own)


def play_added(greedy, n_actions, epsilon):
    """Sum of the two agents' probabilities instead of their product."""
    own = torch.full((2, n_actions), epsilon / n_actions)
    for agent, u in enumerate(greedy):
        own[agent, u] += 1 - epsilon
    return own[0].unsqueeze(-1) + own[1]


def play_averaged(greedy, n_actions, epsilon):
    return play_added(greedy, n_actions, epsilon) / 2


def plain_overall_mean(table, p, q):
    return (table @ q).unsqueeze(-1) + p @ table - table.mean()


def mean_of_row_means(table, p, q):
    return (table @ q).unsqueeze(-1) + p @ table - (table @ q).mean()


def no_overlap(table, p, q):
    return (table @ q).unsqueeze(-1) + p @ table


def swapped(table, p, q):
    return (p @ table).unsqueeze(-1) + table @ q - p @ table @ q


def unweighted(table, p, q):
    return table.mean(1, keepdim=True) + table.mean(0, keepdim=True) - table.mean()


def wrong_partner(table, p, q):
    rows, columns = table @ p, q @ table
    return rows.unsqueeze(-1) + columns - p @ table @ q


def undivided(table, p, q):
    return table.sum(1, keepdim=True) + table.sum(0) - table.sum()


def abs_everywhere(q, w1, b1, w2, v):
    return F.elu(q @ w1.abs() + b1.abs()) @ w2.abs() + v


def first_layer_only(q, w1, b1, w2, v):
    return F.elu(q @ w1.abs() + b1) @ w2 + v


def relu_mixer(q, w1, b1, w2, v):
    return torch.relu(q @ w1.abs() + b1) @ w2.abs() + v


def abs_of_result(q, w1, b1, w2, v):
    return (F.elu((q @ w1).abs() + b1) @ w2).abs() + v


def softplus_weights(q, w1, b1, w2, v):
    return F.elu(q @ F.softplus(w1) + b1) @ F.softplus(w2) + v


def abs_last_bias(q, w1, b1, w2, v):
    return F.elu(q @ w1.abs() + b1) @ w2.abs() + v.abs()


def idle_w2(q, w1, b1, w2, v):
    return F.elu(q @ w1.abs() + b1).sum(-1) + v


def second_layer_only(q, w1, b1, w2, v):
    return F.elu(q @ w1 + b1) @ w2.abs() + v


def no_last_bias(q, w1, b1, w2, v):
    return F.elu(q @ w1.abs() + b1) @ w2.abs()


def pessimistic(q_tot, y, is_greedy, central_greedy, alpha):
    _, cw = ch02.wqmix_weights(q_tot, y, is_greedy, central_greedy, alpha)
    return torch.where(q_tot > y, 1.0, alpha), cw


def own_value(q_tot, y, is_greedy, central_greedy, alpha):
    ow, _ = ch02.wqmix_weights(q_tot, y, is_greedy, central_greedy, alpha)
    return ow, torch.where(is_greedy | (y > q_tot), 1.0, alpha)


def both_needed(q_tot, y, is_greedy, central_greedy, alpha):
    ow, _ = ch02.wqmix_weights(q_tot, y, is_greedy, central_greedy, alpha)
    return ow, torch.where(is_greedy & (y > central_greedy), 1.0, alpha)


def not_the_greedy(q_tot, y, is_greedy, central_greedy, alpha):
    ow, _ = ch02.wqmix_weights(q_tot, y, is_greedy, central_greedy, alpha)
    return ow, torch.where(y > central_greedy, 1.0, alpha)


def exchanged(q_tot, y, is_greedy, central_greedy, alpha):
    return ch02.wqmix_weights(q_tot, y, is_greedy, central_greedy, alpha)[::-1]


def fitted_beats_central(q_tot, y, is_greedy, central_greedy, alpha):
    ow, _ = ch02.wqmix_weights(q_tot, y, is_greedy, central_greedy, alpha)
    return ow, torch.where(is_greedy | (q_tot > central_greedy), 1.0, alpha)


def ties_count(q_tot, y, is_greedy, central_greedy, alpha):
    ow, _ = ch02.wqmix_weights(q_tot, y, is_greedy, central_greedy, alpha)
    return ow, torch.where(is_greedy | (y >= central_greedy), 1.0, alpha)


def above_zero(q_tot, y, is_greedy, central_greedy, alpha):
    ow, _ = ch02.wqmix_weights(q_tot, y, is_greedy, central_greedy, alpha)
    return ow, torch.where(is_greedy | (y > 0), 1.0, alpha)


def always_a_tenth(q_tot, y, is_greedy, central_greedy, alpha):
    return ch02.wqmix_weights(q_tot, y, is_greedy, central_greedy, 0.1)


def ties_count_in_ow(q_tot, y, is_greedy, central_greedy, alpha):
    _, cw = ch02.wqmix_weights(q_tot, y, is_greedy, central_greedy, alpha)
    return torch.where(q_tot <= y, 1.0, alpha), cw


def repaired(y, greedy, value, alpha):
    better = y > value
    better[tuple(greedy)] = True
    return torch.where(better, 1.0, alpha)


MUTANTS = {
    "2.1": [play_together, play_others, play_transposed, play_unnormalised, play_added, play_averaged],
    "2.2": [no_overlap, swapped, unweighted, wrong_partner, undivided, plain_overall_mean, mean_of_row_means],
    "2.3": [
        abs_everywhere,
        first_layer_only,
        second_layer_only,
        relu_mixer,
        abs_of_result,
        no_last_bias,
        softplus_weights,
        abs_last_bias,
        idle_w2,
    ],
    "2.4": [
        pessimistic,
        own_value,
        both_needed,
        not_the_greedy,
        exchanged,
        fitted_beats_central,
        ties_count,
        above_zero,
        always_a_tenth,
        ties_count_in_ow,
    ],
    "2.5": [
        mutate(ch02.qtran_conditions, "clamp(max=0)", "clamp(min=0)"),
        mutate(ch02.qtran_conditions, "joint.detach()", "joint"),
        mutate(ch02.qtran_conditions, "joint_best.detach()", "joint_best"),
        mutate(ch02.qtran_conditions, "(best - joint_best.detach() + v)", "(best - joint_best.detach())"),
        mutate(ch02.qtran_conditions, "+ v).clamp", "+ v.detach()).clamp"),
        mutate(ch02.qtran_conditions, ".clamp(max=0)", ""),
        mutate(ch02.qtran_conditions, "(best - ", "(best.detach() - "),
        mutate(ch02.qtran_conditions, "(chosen - ", "(chosen.detach() - "),
        mutate(ch02.qtran_conditions, "joint_best.detach() + v)", "joint_best.detach() + v.detach())"),
    ],
    "2.6": [
        lambda y, greedy, online, target, alpha: repaired(y, greedy, target[tuple(greedy)], alpha),
        lambda y, greedy, online, target, alpha: repaired(y, greedy, target.max(), alpha),
        lambda y, greedy, online, target, alpha: repaired(y, greedy, online.max(), alpha),
        lambda y, greedy, online, target, alpha: repaired(y, greedy, target, alpha),
        lambda y, greedy, online, target, alpha: repaired(y, greedy, online, alpha),
        lambda y, greedy, online, target, alpha: repaired(y, greedy, y[tuple(greedy)], alpha),
        lambda y, greedy, online, target, alpha: torch.where(y > online[tuple(greedy)], 1.0, alpha),
    ],
}
