"""Plausible wrong answers to chapter 04's exercises; every check must reject every one."""

import math

import torch

from marlcourse.course.checks import ch04
from marlcourse.course.exercises import mutate
from marlcourse.credit import normalised_entropy


def nats(g):
    return normalised_entropy(g) * math.log(g.shape[-1])


def log_two(g):
    """Divides by log 2, whatever N is."""
    return nats(g) / math.log(2)


def softmaxed(g):
    return normalised_entropy(torch.softmax(g, -1))


def without_floor(g):
    """NaN where an agent has no credit."""
    p = g / g.sum(-1, keepdim=True)
    return -(p * p.log()).sum(-1) / math.log(g.shape[-1])


def without_keepdim(g):
    p = g + 1e-8
    p = p / p.sum(-1)
    return -(p * p.log()).sum(-1) / math.log(g.shape[-1])


def over_states(g):
    p = g + 1e-8
    p = p / p.sum(0, keepdim=True)
    return -(p * p.log()).sum(-1) / math.log(g.shape[-1])


def bits(g):
    return nats(g) / math.log(2)


def over_everything(g):
    p = g + 1e-8
    p = p / p.sum(-1, keepdim=True)
    return -(p * p.log()).sum() / math.log(g.shape[-1])


def averaged(g):
    p = g + 1e-8
    p = p / p.sum(-1, keepdim=True)
    return -(p * p.log()).mean(-1) / math.log(g.shape[-1])


def unshared(g):
    p = g + 1e-8
    return -(p * p.log()).sum(-1) / math.log(g.shape[-1])


def linear(q, w1, b1, w2):
    """No slope: as if the hidden layer were linear."""
    return (w1 @ w2).expand(q.shape)


def released(q, w1, b1, w2):
    x = q @ w1 + b1
    h = torch.nn.functional.elu(x)
    return (torch.where(h > 0, 1.0, h.clamp(max=0).exp()) * w2) @ w1.T


def flat_below(q, w1, b1, w2):
    return ((q @ w1 + b1 > 0).float() * w2) @ w1.T


def exponential_everywhere(q, w1, b1, w2):
    return ((q @ w1 + b1).exp() * w2) @ w1.T


def without_output_weights(q, w1, b1, w2):
    x = q @ w1 + b1
    return torch.where(x > 0, 1.0, x.clamp(max=0).exp()) @ w1.T


def without_bias(q, w1, b1, w2):
    return ch04.credit_by_hand(q, w1, torch.zeros_like(b1), w2)


def slope_at_output(q, w1, b1, w2):
    h = torch.nn.functional.elu(q @ w1 + b1)
    return (h.clamp(max=0).exp() * w2) @ w1.T


def elu_itself(q, w1, b1, w2):
    return (torch.nn.functional.elu(q @ w1 + b1) * w2) @ w1.T


def times_q(q, w1, b1, w2):
    return ch04.credit_by_hand(q, w1, b1, w2) * q


def asks_autograd(q, w1, b1, w2):
    leaf = q.detach().clone().requires_grad_()
    (g,) = torch.autograd.grad((torch.nn.functional.elu(leaf @ w1 + b1) @ w2).sum(), leaf)
    return g


def negative(q, w1, g, share):
    """The shares are right and the greedy actions turned round."""
    c = -g / share
    return q * c, w1 / c.unsqueeze(-1)


def forgets_g(q, w1, g, share):
    return q / share, w1 * share.unsqueeze(-1)


def swapped(q, w1, g, share):
    q, w1 = ch04.rescale(q, w1, g, share)
    return w1, q


def in_place(q, w1, g, share):
    c = g / share
    q *= c
    w1 /= c.unsqueeze(-1)
    return q, w1


def only_q(q, w1, g, share):
    return q * (g / share), w1


def unmoved(q, w1, g, share):
    return q, w1


def without_unsqueeze(q, w1, g, share):
    factor = g / share
    return q * factor, w1 / factor


def upside_down(q, w1, g, share):
    c = share / g
    return q * c, w1 / c.unsqueeze(-1)


def always_equal(q, w1, g, share):
    return q * g, w1 / g.unsqueeze(-1)


def as_released(h):
    return torch.where(h > 0, 1.0, h.clamp(max=0).exp())


def relu_slope(h):
    return (h > 0).float()


def plus_one_everywhere(h):
    return h + 1


def with_if(h):
    return torch.ones_like(h) if h > 0 else h + 1


def log_of(h):
    """Takes exp(x) - 1 for the slope."""
    return torch.where(h > 0, 1.0, h)


def one_minus(h):
    return torch.where(h > 0, 1.0, 1 - h)


def exp_everywhere(h):
    return h.exp()


def taken_twice(h):
    return torch.where(h > 0, 1.0, h.exp() - 1)


def attached(td_loss, mixer, q, state, mask, weight):
    leaf = q if q.requires_grad else q.requires_grad_()
    (g,) = torch.autograd.grad(mixer(leaf, state).sum(), leaf, create_graph=True)
    return td_loss + weight * (mask * normalised_entropy(g)).sum() / mask.sum()


def no_graph(td_loss, mixer, q, state, mask, weight):
    leaf = q.detach().requires_grad_()
    (g,) = torch.autograd.grad(mixer(leaf, state).sum(), leaf)
    return td_loss + weight * (mask * normalised_entropy(g)).sum() / mask.sum()


def not_followed(td_loss, mixer, q, state, mask, weight):
    leaf = q.detach()
    (g,) = torch.autograd.grad(mixer(leaf, state).sum(), leaf, create_graph=True)
    return td_loss + weight * (mask * normalised_entropy(g)).sum() / mask.sum()


def of_mean_credit(td_loss, mixer, q, state, mask, weight):
    g = ch04.credit(mixer, q, state, create_graph=True)
    return td_loss + weight * normalised_entropy(g[mask > 0].mean(0))


def indexed_by_numbers(td_loss, mixer, q, state, mask, weight):
    entropy = normalised_entropy(ch04.credit(mixer, q, state, create_graph=True))
    return td_loss + weight * entropy[mask].mean()


def mean_of_episodes(td_loss, mixer, q, state, mask, weight):
    entropy = normalised_entropy(ch04.credit(mixer, q, state, create_graph=True))
    return td_loss + weight * ((mask * entropy).sum(-1) / mask.sum(-1)).mean()


MUTANTS = {
    "4.1": [without_keepdim, nats, log_two, softmaxed, without_floor, over_states, averaged, unshared, bits, over_everything],
    "4.2": [linear, released, flat_below, exponential_everywhere, without_output_weights, without_bias]
    + [slope_at_output, elu_itself, times_q, asks_autograd],
    "4.3": [without_unsqueeze, only_q, unmoved, upside_down, always_equal, negative, forgets_g, swapped, in_place],
    "4.5": [with_if, as_released, relu_slope, plus_one_everywhere, log_of, one_minus, exp_everywhere, taken_twice],
    "4.4": [
        attached,
        no_graph,
        not_followed,
        mutate(ch04.gre_loss, "td_loss + weight", "0 * td_loss + weight"),
        mutate(ch04.gre_loss, "td_loss + weight", "td_loss.detach() + weight"),
        mutate(ch04.gre_loss, "masked_mean(normalised_entropy(g), mask)", "normalised_entropy(g).mean()"),
        mutate(ch04.gre_loss, "masked_mean(normalised_entropy(g), mask)", "(mask * normalised_entropy(g)).mean()"),
        mutate(ch04.gre_loss, "td_loss + weight", "td_loss - weight"),
        mutate(ch04.gre_loss, "td_loss + weight *", "td_loss +"),
        mutate(ch04.gre_loss, "td_loss + weight *", "td_loss + 0.5 *"),
        of_mean_credit,
        indexed_by_numbers,
        mean_of_episodes,
    ],
}
