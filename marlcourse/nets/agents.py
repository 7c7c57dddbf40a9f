"""Networks of one agent, shared by the team: what it sees (and saw) in, one number per own action out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core import EnvSpec

PIECE = 64  # time steps per fused GRU call: blocks of memory small enough to be used again beat one large fresh block


class InputLayer(nn.Module):
    """Linear layer on [obs, one-hot last action, one-hot agent id]; both one-hots come as one row of a constant table.

    obs [...,N,O], last_action [...,N] long (-1: none yet, a row of zeros) -> [...,N,H].
    """

    def __init__(self, spec: EnvSpec, hidden: int, last_action: bool = True, agent_id: bool = True):
        super().__init__()
        a, n = self.n_actions, self.n_agents = spec.n_actions, spec.n_agents
        of_action, of_id = torch.eye(1 + a)[:, 1:].repeat_interleave(n, 0), torch.eye(n).repeat(1 + a, 1)
        one_hots = torch.cat([of_action[:, : a * last_action], of_id[:, : n * agent_id]], 1)
        self.register_buffer("one_hots", one_hots, persistent=False)  # row (1 + last action) * N + agent
        self.register_buffer("first_row", torch.arange(n) + n, persistent=False)
        self.linear = nn.Linear(spec.obs_dim + one_hots.shape[1], hidden)

    def forward(self, obs: Tensor, last_action: Tensor) -> Tensor:
        row = torch.add(self.first_row, last_action, alpha=self.n_agents)
        return self.linear.forward(torch.cat([obs, torch.embedding(self.one_hots, row)], -1))


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
        features, h = [], hidden.reshape(1, b * n, -1)
        for o, last in zip(obs.transpose(0, 1).split(PIECE), last_action.transpose(0, 1).split(PIECE)):
            out, h = self.gru(self.fc1(o, last).relu_().flatten(1, 2), h)  # [t,B*N,H]
            features.append(out)
        return torch.cat(features).view(t, b, n, -1).transpose(0, 1), h.view(b, n, -1)

    def step(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One step without a time axis, as bare as it gets: a GRU cell is cheaper than the fused sequence kernel."""
        b, n, width = hidden.shape
        x = self.fc1.forward(obs, last_action).relu_().view(b * n, width)
        h = torch.gru_cell(x, hidden.reshape(b * n, width), *self.gru._flat_weights)
        return self.head.forward(h).view(b, n, -1), h.view(b, n, width)

    def forward(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        features, hidden = self.encode(obs, last_action, hidden)
        return self.head(features.transpose(0, 1)).transpose(0, 1), hidden  # time-major, as the GRU left them: no copy


def one_step(agent: nn.Module, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """For acting, obs [B,N,O] -> values [B,N,A]: the agent's own ``step``, or a sequence of one step."""
    if hasattr(agent, "step"):
        return agent.step(obs, last_action, hidden)
    values, hidden = agent(obs.unsqueeze(1), last_action.unsqueeze(1), hidden)
    return values.squeeze(1), hidden


def previous_actions(actions: Tensor, first: Tensor) -> Tensor:
    """actions [B,T,N], first [B,N] (the action before the row, -1 at a reset) -> last_action [B,T+1,N]."""
    return torch.cat([first.unsqueeze(1), actions], 1)
