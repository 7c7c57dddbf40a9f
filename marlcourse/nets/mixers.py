"""Mixers: from the team's utilities Q_1..Q_N and the state to one Q_tot.

The contract for a mixer of your own: ``forward(q [...,N], state [...,S]) -> q_tot [...]``.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def hypernet(state_dim: int, out: int, layers: int, hidden: int) -> nn.Module:
    """A network that writes another network's weights: one linear layer, or Linear - ReLU - Linear."""
    if layers == 1:
        return nn.Linear(state_dim, out)
    return nn.Sequential(nn.Linear(state_dim, hidden), nn.ReLU(), nn.Linear(hidden, out))


class MonotonicMixer(nn.Module):
    """QMIX: Q_tot = w2(s) . ELU(W1(s) Q + b1(s)) + V(s), with W1, w2 >= 0 so that dQ_tot/dQ_i >= 0.

    ``layers`` is the depth of the two weight hypernetworks: 1 in the paper, 2 in PyMARL's default.
    The biases keep their sign: an absolute value there would only take capacity away.
    """

    def __init__(self, n_agents: int, state_dim: int, embed: int = 32, hidden: int = 64, layers: int = 2):
        super().__init__()
        self.embed = embed
        self.w1 = hypernet(state_dim, n_agents * embed, layers, hidden)
        self.w2 = hypernet(state_dim, embed, layers, hidden)
        self.b1 = nn.Linear(state_dim, embed)
        self.v = nn.Sequential(nn.Linear(state_dim, embed), nn.ReLU(), nn.Linear(embed, 1))

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        state = state.contiguous()  # a slice of the batch: copied once here instead of once by each network below
        w1 = self.w1(state).abs().unflatten(-1, (-1, self.embed))  # [...,N,E]
        x = (q.unsqueeze(-1) * w1).sum(-2) + self.b1(state)  # [...,E]; a product of many tiny matrices is slow
        return (F.elu(x) * self.w2(state).abs()).sum(-1) + self.v(state).squeeze(-1)
