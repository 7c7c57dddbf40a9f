"""Networks without memory: for worlds of one or two steps, and the junction's in the sizes of LICA's release."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core import EnvSpec
from .agents import InputLayer


class FeedForwardAgent(nn.Module):
    """Linear - ReLU - Linear - ReLU - Linear: no memory. ``hidden`` passes through untouched. Shapes as RecurrentAgent."""

    def __init__(self, spec: EnvSpec, hidden: int = 64, last_action: bool = False, agent_id: bool = True):
        super().__init__()
        self.hidden = hidden
        self.fc1 = InputLayer(spec, hidden, last_action, agent_id)
        self.fc2 = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, spec.n_actions)

    def initial_hidden(self, batch_size: int, n_agents: int) -> Tensor:
        return torch.zeros(batch_size, n_agents, 0, device=self.head.weight.device)

    def encode(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return torch.relu(self.fc2(torch.relu(self.fc1(obs, last_action)))), hidden

    def forward(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        features, hidden = self.encode(obs, last_action, hidden)
        return self.head(features), hidden


class SigmoidAgent(nn.Module):
    """Policy 1 - 32 - 1: P(action 1) = sigmoid(z(obs)), written as the logits (0, z). No memory, no last action, no id
    beside what is in ``obs``. Shapes as :class:`marlcourse.nets.agents.RecurrentAgent`, A = 2."""

    def __init__(self, obs_dim: int = 1, hidden: int = 32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(obs_dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def initial_hidden(self, batch_size: int, n_agents: int) -> Tensor:
        return torch.zeros(batch_size, n_agents, 0, device=self.net[0].weight.device)

    def forward(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        z = self.net(obs)
        return torch.cat([torch.zeros_like(z), z], -1), hidden


class PassCritic(nn.Module):
    """Critic 2 - 32 - 1 on both cars' P(pass) (1 or 0 for an action played): with no state to condition on, LICA's mixing
    critic is just such an MLP. state is ignored; u [...,N,2] -> [...]."""

    def __init__(self, n_agents: int = 2, hidden: int = 32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_agents, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, state: Tensor, u: Tensor) -> Tensor:
        return self.net(u[..., 1]).squeeze(-1)


class PassCounterfactualCritic(nn.Module):
    """The same 2 - 32 - 1 network asked COMA's question: Q of each own action, the other car's as played.

    actions [B,T,N] -> [B,T,N,2]; the other arguments of a counterfactual critic carry nothing here and are ignored. The
    network sees each of the 2^N joint actions once, and the answers are looked up.
    """

    def __init__(self, n_agents: int = 2, hidden: int = 32):
        super().__init__()
        self.joint = PassCritic(n_agents, hidden)
        place = 2 ** torch.arange(n_agents)
        self.register_buffer("place", place)  # joint action number = sum of place_i * action_i
        passes = (torch.arange(2**n_agents).unsqueeze(-1) // place % 2).float()
        self.register_buffer("every", torch.stack([1 - passes, passes], -1))  # [2^N,N,2]

    def forward(self, state: Tensor, obs: Tensor, actions: Tensor, last_action: Tensor) -> Tensor:
        table = self.joint(state, self.every)  # [2^N]
        others = (actions * self.place).sum(-1, keepdim=True) - actions * self.place  # [B,T,N]
        return torch.stack([table[others], table[others + self.place]], -1)
