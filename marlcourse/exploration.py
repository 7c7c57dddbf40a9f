"""Schedules, masking and sampling: the only module that draws actions, always from a given generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MASKED = -1e10  # large, negative and finite: -inf times a mask of 0 would be NaN
_MASKED = torch.tensor(MASKED)  # made once: acting is a race of small operations


@dataclass(frozen=True)
class Schedule:
    """A straight line from ``start`` to ``end`` over ``steps`` environment steps, then constant."""

    start: float
    end: float
    steps: int

    def __call__(self, env_steps: int) -> float:
        return self.start + (min(env_steps / self.steps, 1.0) if self.steps > 0 else 1.0) * (self.end - self.start)


def constant(value: float) -> Schedule:
    """A schedule that never changes."""
    return Schedule(value, value, 0)


def masked(values: Tensor, avail: Tensor | None) -> Tensor:
    """Q-values or logits [...,A] with unavailable actions at a large negative number. The one mask of the library:
    acting, losses, entropies, KL and ratios all use it. No gradient reaches unavailable entries."""
    return values if avail is None else torch.where(avail, values, _MASKED)


def uniform_actions(avail: Tensor, generator: torch.Generator) -> Tensor:
    """One available action per row of avail [...,A], each equally likely: [...] long."""
    return masked(torch.rand(avail.shape, generator=generator, device=avail.device), avail).argmax(-1)


def epsilon_greedy(q: Tensor, avail: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Greedy actions of q [B,N,A]; with probability epsilon an agent plays a uniform available one instead. [B,N] long."""
    if epsilon > 0:  # a coin and A random numbers for each agent: the largest of these is a uniform choice
        b, n, a = q.shape
        u = torch.rand(b, n, a + 1, generator=generator, device=q.device)
        q = torch.where(u.narrow(2, 0, 1) < epsilon, u.narrow(2, 1, a), q)
    return masked(q, avail).argmax(-1)


def gumbel(shape: torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard Gumbel noise."""
    uniform = torch.rand(shape, generator=generator, device=device).clamp(1e-20, 1 - 1e-7)
    return -torch.log(-torch.log(uniform))


def categorical(log_probs: Tensor, generator: torch.Generator) -> Tensor:
    """Sample from log-probabilities (or masked logits) [...,A] by the Gumbel-max trick: [...] long."""
    return (log_probs + gumbel(log_probs.shape, generator, log_probs.device)).argmax(-1)


def gumbel_straight_through(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """A one-hot sample [...,A] whose gradient is that of the soft sample softmax((logits + noise) / temperature)."""
    soft = torch.softmax((logits + gumbel(logits.shape, generator, logits.device)) / temperature, -1)
    hard = torch.nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
    return hard + (soft - soft.detach())  # the bracket is exactly 0, so the sample is exactly one-hot
