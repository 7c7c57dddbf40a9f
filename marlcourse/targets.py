"""Pure functions that turn rewards and values into learning targets.

A row is a piece of one episode, so an end can only stand on its last valid step. Every recursion below is therefore one
matrix product with a triangle of powers: no loop over time, and nothing leaks in from padding.
All tensors are [R,T]; ``next_value`` [R,T] is the value of the TRUE next observation; ``mask`` is positive on a prefix: ones,
or weights of rows. Weights count in means alone, never in a target.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x [R,T,...] over real steps; mask [R,T] is expanded over the trailing axes."""
    mask = mask.reshape(mask.shape + (1,) * (x.dim() - mask.dim())).expand_as(x)
    return (x * mask).sum() / mask.sum().clamp(min=1e-8)


def _decayed_sum(x: Tensor, decay: float) -> Tensor:
    """y_t = sum over k >= t of decay^(k-t) x_k, for x [R,T]."""
    t = torch.arange(x.shape[1], device=x.device)
    age = t[:, None] - t[None, :]  # k - t: row k, column t
    return x @ torch.where(age >= 0, torch.pow(decay, age.clamp(min=0).to(x.dtype)), 0.0)


def td_target(reward: Tensor, terminated: Tensor, next_value: Tensor, gamma: float) -> Tensor:
    """y = r + gamma (1 - terminated) V(next). A time limit bootstraps from the true final observation, an end does not."""
    return reward + gamma * (1 - terminated.to(reward.dtype)) * next_value


def td_lambda(reward: Tensor, terminated: Tensor, next_value: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """TD(lambda): y_t = r_t + gamma ((1-lam) V_{t+1} + lam y_{t+1}), and y = r + gamma V(next) on a row's last valid step.

    lam=0 is :func:`td_target`; lam=1 the discounted return, bootstrapped where the row stops without an end.
    """
    real = mask > 0
    bootstrap = gamma * (1 - terminated.to(reward.dtype)) * next_value
    last = real & ~torch.cat([real[:, 1:], torch.zeros_like(real[:, :1])], 1)
    return _decayed_sum(real * (reward + torch.where(last, bootstrap, (1 - lam) * bootstrap)), gamma * lam)


def discounted_return(reward: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """G_t = r_t + gamma r_{t+1} + ... over real steps."""
    return _decayed_sum(reward * (mask > 0), gamma)


def gae(
    reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, mask: Tensor, gamma: float, lam: float
) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016): A_t = sum_k (gamma lam)^k delta_{t+k}; zero on padding."""
    delta = td_target(reward, terminated, next_value, gamma) - value
    return _decayed_sum(delta * (mask > 0), gamma * lam) * (mask > 0)
