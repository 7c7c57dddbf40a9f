"""Central critics: they see the whole team and serve training only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CounterfactualCritic(nn.Module):
    """COMA: for each agent, the value of each of its own actions with the other agents' actions given.

    Input of agent i: state, its observation, the others' actions as one-hots (its own block zeroed), everybody's last
    actions, its id. Linear - ReLU - Linear - ReLU - Linear.

    state [B,T,S], obs [B,T,N,O], actions [B,T,N], last_action [B,T,N] (-1: none) -> [B,T,N,A].
    """

    def __init__(self, n_agents: int, n_actions: int, obs_dim: int, state_dim: int, hidden: int = 128):
        super().__init__()
        self.n_agents, self.n_actions = n_agents, n_actions
        width = state_dim + obs_dim + 2 * n_agents * n_actions + n_agents
        self.net = nn.Sequential(
            *(nn.Linear(width, hidden), nn.ReLU()),
            *(nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, n_actions),
        )

    def forward(self, state: Tensor, obs: Tensor, actions: Tensor, last_action: Tensor) -> Tensor:
        b, t, n, _ = obs.shape
        eye = torch.eye(n, device=obs.device, dtype=obs.dtype)
        joint = F.one_hot(actions, self.n_actions).to(obs.dtype).unsqueeze(2).expand(b, t, n, n, -1)
        others = joint * (1 - eye).unsqueeze(-1)  # agent i's own block is zero: else its baseline would know its action
        # row -1 of the padded identity is the zero vector: no last action yet
        last = torch.eye(self.n_actions + 1, device=obs.device, dtype=obs.dtype)[:, 1:][last_action + 1]
        parts = [state.unsqueeze(2).expand(b, t, n, -1), obs, others.flatten(3)]
        parts += [last.flatten(2).unsqueeze(2).expand(b, t, n, -1), eye.expand(b, t, n, n)]
        return self.net(torch.cat(parts, -1))


class MixingCritic(nn.Module):
    """LICA: Q(s, u) = w2(s) . ReLU(W1(s) u + b1(s)) + b2(s), u the concatenated action probabilities, any signs.

    The state multiplies the actions, so dQ/du (the credit each agent receives) depends on the state.
    ``hidden`` is the width of the hypernetwork that writes W1: the release uses embed * N * A, pymarl2 narrows it to 64.

    state [...,S], u [...,N,A] -> [...].
    """

    def __init__(self, n_agents: int, n_actions: int, state_dim: int, embed: int = 64, hidden: int = 64):
        super().__init__()
        self.embed = embed
        self.w1 = nn.Sequential(nn.Linear(state_dim, hidden), nn.ReLU(), nn.Linear(hidden, n_agents * n_actions * embed))
        self.w2 = nn.Sequential(nn.Linear(state_dim, embed), nn.ReLU(), nn.Linear(embed, embed))
        self.b1 = nn.Linear(state_dim, embed)
        self.b2 = nn.Sequential(nn.Linear(state_dim, embed), nn.ReLU(), nn.Linear(embed, 1))

    def forward(self, state: Tensor, u: Tensor) -> Tensor:
        w1 = self.w1(state).unflatten(-1, (-1, self.embed))  # [...,N*A,E]
        h = torch.relu((u.flatten(-2).unsqueeze(-2) @ w1).squeeze(-2) + self.b1(state))
        return (h * self.w2(state)).sum(-1) + self.b2(state).squeeze(-1)


class MLPCritic(nn.Module):
    """Q(s, u) by an MLP with one hidden layer on [state, flat u], any signs. With no state features it is all that the
    mixing critic degenerates to: the critic of LICA's one-step junction.

    state [...,S], u [...,N,D] -> [...].
    """

    def __init__(self, width_in: int, hidden: int = 32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width_in, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, state: Tensor, u: Tensor) -> Tensor:
        return self.net(torch.cat([state, u.flatten(-2)], -1)).squeeze(-1)


class JointCritic(nn.Module):
    """QTRAN: Q_jt(s, u), any function of the state and of the agents' features with their actions.

    Each agent's [feature, one-hot action] goes through the same Linear - ReLU - Linear; the sum over agents, with the
    state, through Linear - ReLU - Linear - ReLU - Linear.

    state [...,S], features [...,N,H], actions [...,N] long -> [...].
    """

    def __init__(self, state_dim: int, feature_dim: int, n_actions: int, hidden: int = 64):
        super().__init__()
        self.n_actions, width = n_actions, feature_dim + n_actions
        self.encoder = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.net = mlp(state_dim + width, hidden)

    def forward(self, state: Tensor, features: Tensor, actions: Tensor) -> Tensor:
        one_hot = F.one_hot(actions, self.n_actions).to(features.dtype)
        team = self.encoder(torch.cat([features, one_hot], -1)).sum(-2)
        return self.net(torch.cat([state, team], -1)).squeeze(-1)


class StateValue(nn.Module):
    """V(s) by Linear - ReLU - Linear - ReLU - Linear: state [...,S] -> [...]."""

    def __init__(self, state_dim: int, hidden: int = 64):
        super().__init__()
        self.net = mlp(state_dim, hidden)

    def forward(self, state: Tensor) -> Tensor:
        return self.net(state).squeeze(-1)


class FreeMixer(nn.Module):
    """An unrestricted mixer: an MLP on [Q, state] plus V(s). Weighted QMIX uses it for its central critic."""

    def __init__(self, n_agents: int, state_dim: int, hidden: int = 256):
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Linear(n_agents + state_dim, hidden), nn.ReLU()),
            *(nn.Linear(hidden, hidden), nn.ReLU()),
            *(nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, 1),
        )
        self.v = nn.Sequential(nn.Linear(state_dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        return (self.net(torch.cat([q, state], -1)) + self.v(state)).squeeze(-1)


def mlp(width_in: int, hidden: int) -> nn.Sequential:
    """Two hidden layers and one number out."""
    return nn.Sequential(nn.Linear(width_in, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))
