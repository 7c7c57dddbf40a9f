"""How a mixer shares the team's value among agents: pure functions on utilities q [...,N] and states [...,S].

Two readings of "credit". The slope dQ_tot/dQ_i (Zhao et al. 2022, arXiv:2202.04427, section 4.1) with its normalised
entropy is easy to take, but hangs on the scale of each Q_i: multiply Q_1 by 10, divide its weights in the mixer by 10, and
no action changes while the entropy does. What Q_tot loses when one agent alone plays another action (:func:`invariant_credit`)
does not notice such a change.

All functions work for any mixer ``forward(q [...,N], state [...,S]) -> [...]`` whose rows do not mix.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .nets.mixers import MonotonicMixer

TINY = 1e-8  # added to every slope before they are shared out, as in the release: log(0) never happens


def credit(mixer: nn.Module, q: Tensor, state: Tensor, create_graph: bool = False) -> Tensor:
    """g_i = dQ_tot/dQ_i at utilities q [...,N] and state [...,S]: [...,N].

    The utilities are detached: whatever is learned from g moves the mixer alone. ``create_graph=True`` keeps the way back
    to the mixer's parameters. A utility that the mixer ignores has credit 0.
    """
    q = q.detach()
    with torch.enable_grad():
        try:
            q.requires_grad_()
        except RuntimeError:  # inside torch.func, as in an Ensemble, where only torch.func takes gradients
            return torch.func.grad(lambda q: mixer(q, state).sum())(q)
        (g,) = torch.autograd.grad(mixer(q, state).sum(), q, create_graph=create_graph, materialize_grads=True)
    return g


def monotonic_slope(mixer: MonotonicMixer, q: Tensor, state: Tensor, as_released: bool = False) -> Tensor:
    """dQ_tot/dQ_i of :class:`MonotonicMixer` by hand (Zhao et al. 2022, Eq. 8): [...,N].

        g_i = sum_j W1[i,j] ELU'(x_j) w2[j],   x = W1^T Q + b1,   ELU'(x) = 1 where x > 0, else exp(x)

    ``as_released=True`` takes exp(ELU(x)) where x < 0, as the published code does: for x -> -inf it tends to exp(-1) = 0.37,
    the true slope to 0. q is detached, and the way back to the mixer's parameters is kept. Raises TypeError for a mixer
    that computes something else.
    """
    if not is_monotonic(mixer):
        raise TypeError(f"monotonic_slope knows MonotonicMixer alone, not {type(mixer).__name__}: use credit, for any mixer.")
    w1 = mixer.w1(state).abs().unflatten(-1, (-1, mixer.embed))  # [...,N,E]
    x = (q.detach().unsqueeze(-2) @ w1).squeeze(-2) + mixer.b1(state)  # [...,E]
    slope = (F.elu(x) if as_released else x).clamp(max=0).exp()
    return (w1 @ (slope * mixer.w2(state).abs()).unsqueeze(-1)).squeeze(-1)


def is_monotonic(mixer: nn.Module) -> bool:
    """Whether the formula of :func:`monotonic_slope` is this mixer's."""
    return isinstance(mixer, MonotonicMixer) and type(mixer).forward is MonotonicMixer.forward


def normalised_entropy(g: Tensor) -> Tensor:
    """H = -sum_i p_i log p_i / log N with p_i = |g_i| / sum_j |g_j| (Zhao et al. 2022, Eqs. 6 and 7): [...,N] -> [...].

    1 where all agents get the same (nothing at all included), 0 where one gets everything, and 0 for a team of one, which
    has nobody to tell apart. The scale of g does not matter while it is well above 1e-8 (``TINY``). A monotonic mixer has
    g >= 0; of any other mixer the size of g counts.
    """
    n = g.shape[-1]
    if n == 1:
        return torch.zeros_like(g[..., 0])
    share = g.abs() + TINY
    share = share / share.mean(-1, keepdim=True)  # N p_i: 1 for all where all get the same, so that H is then exactly 1
    return 1 - (share * share.log()).mean(-1) / math.log(n)


def coefficient_of_variation(g: Tensor) -> Tensor:
    """Standard deviation over mean of |g_i| across the team: [...,N] -> [...]. 0 where all agents get the same.

    For nearly equal credit H is about 1 - CV^2 / (2 log N): an entropy of .98 still allows a CV of .25 in a team of 5.
    """
    g = g.abs()
    return g.std(-1, correction=0) / g.mean(-1).clamp(min=TINY)


@torch.no_grad()
def invariant_credit(
    mixer: nn.Module, q: Tensor, state: Tensor, actions: Tensor | None = None, avail: Tensor | None = None
) -> Tensor:
    """What Q_tot loses when agent i alone plays another action, averaged over its other available actions: [...,N].

        c_i = mean over a != u_i of Q_tot(u) - Q_tot(u with a in the place of u_i)

    q [...,N,A] are the utilities of all actions, ``actions`` u [...,N] the joint action (default: the greedy one, for which
    c_i >= 0 in a monotonic mixer), avail [...,N,A]. 0 for an agent without a choice. In units of Q_tot. Rescaling any Q_i
    with the mixer compensating leaves it as it is, since it looks at Q_tot alone.
    """
    n, a = q.shape[-2:]
    avail = torch.ones_like(q, dtype=torch.bool) if avail is None else avail
    u = q.masked_fill(~avail, -torch.inf).argmax(-1) if actions is None else actions
    chosen = q.gather(-1, u.unsqueeze(-1)).squeeze(-1)  # [...,N]
    before = mixer(chosen, state).unsqueeze(-1)  # [...,1]
    states = state.unsqueeze(-2).expand(*state.shape[:-1], a, state.shape[-1])  # [...,A,S]
    others = avail & (torch.arange(a, device=q.device) != u.unsqueeze(-1))  # [...,N,A]
    losses = []
    for i in range(n):
        alone = chosen.unsqueeze(-2).repeat(*[1] * (chosen.dim() - 1), a, 1)  # [...,A,N]: a row for each action of agent i
        alone[..., i] = torch.where(others[..., i, :], q[..., i, :], chosen[..., i : i + 1])
        losses.append((before - mixer(alone, states)).sum(-1) / others[..., i, :].sum(-1).clamp(min=1))
    return torch.stack(losses, -1)


@contextlib.contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[tuple]]:
    """The arguments of every call of ``module`` inside the block, in order: what a loss fed to its mixer need not be
    computed twice."""
    seen: list[tuple] = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args))
    try:
        yield seen
    finally:
        handle.remove()
