"""MNMPG's networks: a Gaussian hierarchy z drawn from the state, and a mixer whose weights are written from the decoded z."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .mixers import MonotonicMixer

VARIANCE_FLOOR = 0.002  # qyz55/MNMPG, var_floor: the log-density of a Gaussian that has shrunk to a point has no bound


class GaussianEncoder(nn.Module):
    """p_theta(z | s) = N(mean(s), diag std(s)^2): state [...,S] -> mean [...,K], std [...,K] > 0.

    Linear - LeakyReLU - Linear, whose second half is the logarithm of the variance.
    """

    def __init__(self, state_dim: int, z_dim: int = 3, hidden: int = 16):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(state_dim, hidden), nn.LeakyReLU(), nn.Linear(hidden, 2 * z_dim))

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.net(state).chunk(2, -1)
        return mean, log_variance.exp().clamp(min=VARIANCE_FLOOR).sqrt()

    def log_prob(self, state: Tensor, z: Tensor) -> Tensor:
        """log p_theta(z | s), summed over the K entries: state [...,S], z [...,K] -> [...]."""
        mean, std = self(state)
        return (-0.5 * ((z - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


class HierarchicalMixer(nn.Module):
    """Q_tot = mixer(Q_1..Q_N; [s, e]), e = decoder(z): monotone in every Q_i for any z, any state and any decoder, because
    the inner :class:`MonotonicMixer` takes the absolute value of its weights.

    ``mix_state=False``: the inner mixer is given e alone. Without a ``z`` (a target, a meter) the mean of p(z | s) is used.
    ``encoder`` holds the parameters that the paper calls theta; ``decoder`` and ``mixer`` together are its zeta.
    """

    def __init__(
        self,
        n_agents: int,
        state_dim: int,
        z_dim: int = 3,
        encoder_hidden: int = 16,
        embed: int = 32,
        layers: int = 2,
        mix_state: bool = True,
    ):
        super().__init__()
        self.mix_state = mix_state
        self.encoder = GaussianEncoder(state_dim, z_dim, encoder_hidden)
        self.decoder = nn.Sequential(nn.Linear(z_dim, state_dim), nn.LeakyReLU())
        self.mixer = MonotonicMixer(n_agents, state_dim * (1 + mix_state), embed, layers=layers)

    def forward(self, q: Tensor, state: Tensor, z: Tensor | None = None) -> Tensor:
        """q [...,N], state [...,S], z [...,K] -> [...]."""
        e = self.decoder(self.encoder(state)[0] if z is None else z)  # [...,S]
        return self.mixer(q, torch.cat([state, e], -1) if self.mix_state else e)
