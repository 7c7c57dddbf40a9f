"""Mixers that see nothing of the utilities but their sum: VDN's and QMIX-simple's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .mixers import hypernet


class SumMixer(nn.Module):
    """VDN: Q_tot = Q_1 + ... + Q_N."""

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        return q.sum(-1)


class SimpleMixer(nn.Module):
    """Q_tot = w2(s) ELU(w1(s) (Q_1 + ... + Q_N) + b1(s)) + b2(s), w1, w2 >= 0 (Zhao et al. 2022, Eq. 9).

    :class:`MonotonicMixer` with one number in the place of each matrix: it reads the state, and every agent gets the same
    credit w1(s) w2(s) ELU'. Any number of agents. q [...,N], state [...,S] -> [...].

    ``layers`` is the depth of the hypernetworks of w1 and w2 (of width ``hidden``); ``embed`` the width inside b2.
    """

    def __init__(self, state_dim: int, embed: int = 32, hidden: int = 64, layers: int = 2):
        super().__init__()
        self.w1 = hypernet(state_dim, 1, layers, hidden)
        self.w2 = hypernet(state_dim, 1, layers, hidden)
        self.b1 = nn.Linear(state_dim, 1)
        self.b2 = nn.Sequential(nn.Linear(state_dim, embed), nn.ReLU(), nn.Linear(embed, 1))

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        state = state.contiguous()  # a slice of the batch: copied once here instead of once by each network below
        x = self.w1(state).abs() * q.sum(-1, keepdim=True) + self.b1(state)  # [...,1]
        return (self.w2(state).abs() * F.elu(x) + self.b2(state)).squeeze(-1)
