"""Networks of one agent, shared by the team: what it sees (and saw) in, one number per own action out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core import EnvSpec

PIECE = 64  # time steps per fused GRU call: blocks of memory small enough to be used again beat one large fresh block

class InputLayer(nn.Module):
    """Linear layer on [obs, one-hot last action, one-hot agent id], without building the one-hots.

    A one-hot times a matrix is a row of that matrix, so the last action and the id are looked up in the weight of one
    ordinary ``nn.Linear`` (same parameters, same start, same gradients as the concatenation, a third of the memory).

    obs [B,T,N,O], last_action [B,T,N] long (-1: none yet) -> [B,T,N,H].
    """

    def __init__(self, spec: EnvSpec, hidden: int, last_action: bool = True, agent_id: bool = True):
        super().__init__()
        self.obs_dim, self.n_agents = spec.obs_dim, spec.n_agents
        self.n_actions = spec.n_actions if last_action else 0
        self.agent_id = agent_id
        self.linear = nn.Linear(self.obs_dim + self.n_actions + (self.n_agents if agent_id else 0), hidden)

    def forward(self, obs: Tensor, last_action: Tensor) -> Tensor:
        of_obs, of_action, of_id = self.linear.weight.split([self.obs_dim, self.n_actions, self.n_agents * self.agent_id], 1)
        table = self.linear.bias + of_id.T if self.agent_id else self.linear.bias.expand(self.n_agents, -1)  # [N,H]
        row = torch.arange(self.n_agents, device=obs.device).expand(obs.shape[:-1])
        if self.n_actions:
            table = (F.pad(of_action, (1, 0)).T.unsqueeze(1) + table).flatten(0, 1)  # [(1+A)*N,H], first: no action yet
            row = row + (last_action + 1) * self.n_agents
        # one fused product-and-sum; not in place (addmm_), which vmap over seeds has no rule for
        out = torch.addmm(F.embedding(row.reshape(-1), table), obs.reshape(-1, self.obs_dim), of_obs.T)
        return out.view(*obs.shape[:-1], -1)


class RecurrentAgent(nn.Module):
    """Linear - ReLU - GRU - Linear, as in PyMARL: a DRQN, or a policy with memory.

    obs [B,T,N,O], last_action [B,T,N], hidden [B,N,H] -> values [B,T,N,A], hidden after the last step [B,N,H].
    ``encode`` stops before the last layer, ``head`` is that layer.
    """

    def __init__(self, spec: EnvSpec, hidden: int = 64, last_action: bool = True, agent_id: bool = True):
        super().__init__()
        self.hidden = hidden
        self.fc1 = InputLayer(spec, hidden, last_action, agent_id)
        self.gru = nn.GRU(hidden, hidden)
        self.head = nn.Linear(hidden, spec.n_actions)

    def initial_hidden(self, batch_size: int, n_agents: int) -> Tensor:
        return torch.zeros(batch_size, n_agents, self.hidden, device=self.head.weight.device)

    def encode(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        b, t, n, _ = obs.shape
        if t == 1:  # acting: one cell step, cheaper than starting the fused sequence kernel
            x = self.fc1(obs, last_action).relu_().view(b * n, -1)
            h = torch.gru_cell(x, hidden.reshape(b * n, -1), *self.gru.all_weights[0])
            return h.view(b, 1, n, -1), h.view(b, n, -1)
        features, h = [], hidden.reshape(1, b * n, -1)
        for piece in zip(obs.split(PIECE, 1), last_action.split(PIECE, 1)):
            x = self.fc1(*piece).relu_().transpose(0, 1).flatten(1, 2)  # [t,B*N,H]
            out, h = self.gru(x, h)
            features.append(out)
        return torch.cat(features).view(t, b, n, -1).transpose(0, 1), h.view(b, n, -1)

    def forward(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        features, hidden = self.encode(obs, last_action, hidden)
        return self.head(features.transpose(0, 1)).transpose(0, 1), hidden  # time-major, as the GRU left them: no copy


def previous_actions(actions: Tensor, first: Tensor) -> Tensor:
    """actions [B,T,N], first [B,N] (the action before the row, -1 at a reset) -> last_action [B,T+1,N]."""
    return torch.cat([first.unsqueeze(1), actions], 1)
