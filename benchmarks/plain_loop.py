"""The plain way to update and act with QMIX, as most public code does it: the yardstick of these benchmarks.

Everything happens step by step: at each of T+1 time steps the inputs are concatenated ([obs, one-hot last action, one-hot
id]) and sent through fc1, a GRU cell and fc2, for the online and then for the target network. Written here, for the
comparison only, and kept fair: the target pass runs under no_grad, the one-hot actions are computed once for the batch and
not counted, the mixer sees all time steps at once. It takes its weights from a library QMIX, so both compute one loss.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from marlcourse.algorithms.qmix import QMIX
from marlcourse.core import EpisodeBatch
from marlcourse.exploration import MASKED


class PlainAgent(nn.Module):
    """fc1 - ReLU - GRUCell - fc2 for ONE time step: inputs [B*N, O+A+N], hidden [B*N, H] -> q [B*N, A], hidden."""

    def __init__(self, width_in: int, hidden: int, n_actions: int):
        super().__init__()
        self.fc1 = nn.Linear(width_in, hidden)
        self.rnn = nn.GRUCell(hidden, hidden)
        self.fc2 = nn.Linear(hidden, n_actions)

    def forward(self, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.rnn(torch.relu(self.fc1(inputs)), hidden)
        return self.fc2(hidden), hidden


class PlainMixer(nn.Module):
    """QMIX's mixer with two-layer hypernetworks: q [B,T,N], states [B,T,S] -> q_tot [B,T]."""

    def __init__(self, n_agents: int, state_dim: int, embed: int, hidden: int):
        super().__init__()
        self.n_agents, self.state_dim, self.embed = n_agents, state_dim, embed

        def two_layers(out: int, width: int) -> nn.Module:
            return nn.Sequential(nn.Linear(state_dim, width), nn.ReLU(), nn.Linear(width, out))

        self.w1, self.w2 = two_layers(n_agents * embed, hidden), two_layers(embed, hidden)
        self.b1, self.v = nn.Linear(state_dim, embed), two_layers(1, embed)

    def forward(self, q: Tensor, states: Tensor) -> Tensor:
        rows, steps = q.shape[:2]
        states = states.reshape(-1, self.state_dim)
        w1 = torch.abs(self.w1(states)).view(-1, self.n_agents, self.embed)
        b1 = self.b1(states).view(-1, 1, self.embed)
        x = F.elu(torch.bmm(q.reshape(-1, 1, self.n_agents), w1) + b1)
        w2 = torch.abs(self.w2(states)).view(-1, self.embed, 1)
        v = self.v(states).view(-1, 1, 1)
        return (torch.bmm(x, w2) + v).view(rows, steps)


class PlainQMIX:
    """Update and act step by step, from copies of the weights of ``reference``."""

    def __init__(self, reference: QMIX):
        self.spec, self.config = reference.spec, reference.config
        spec, c, device = self.spec, self.config, reference.device
        width = spec.obs_dim + spec.n_actions + spec.n_agents
        self.agent = PlainAgent(width, c.hidden, spec.n_actions).to(device)
        self.mixer = PlainMixer(spec.n_agents, spec.state_dim, c.embed, 64).to(device)
        self.agent.load_state_dict(dict(zip(self.agent.state_dict(), reference.agent.state_dict().values())))
        self.mixer.load_state_dict(
            {k: reference.mixer.state_dict()[k] for k in self.mixer.state_dict()}  # same names by construction
        )
        self.target_agent, self.target_mixer = copy.deepcopy(self.agent), copy.deepcopy(self.mixer)
        self.parameters = [*self.agent.parameters(), *self.mixer.parameters()]
        self.optimizer = torch.optim.RMSprop(self.parameters, lr=c.lr, alpha=0.99, eps=1e-5)

    def one_hot_last(self, batch: EpisodeBatch) -> Tensor:
        """[B,T+1,N,A]: the previous action as a one-hot, zeros at the first step. Public code keeps it in the batch."""
        hot = F.one_hot(batch.actions, self.spec.n_actions).float()
        return torch.cat([torch.zeros_like(hot[:, :1]), hot], 1)

    def inputs(self, obs: Tensor, last: Tensor) -> Tensor:
        """[B*N, O+A+N] of one step. PyMARL's controller makes the identity anew at every step, and so does this one."""
        rows, n, _ = obs.shape
        ids = torch.eye(n, device=obs.device).unsqueeze(0).expand(rows, n, n)
        return torch.cat([part.reshape(rows * n, -1) for part in (obs, last, ids)], 1)

    def unroll(self, agent: PlainAgent, batch: EpisodeBatch, last: Tensor) -> Tensor:
        """Q_i at every step: [B,T+1,N,A], by a Python loop over time."""
        rows, steps, n, _ = batch.obs.shape
        hidden = torch.zeros(rows * n, self.config.hidden, device=batch.obs.device)
        out = []
        for t in range(steps):
            q, hidden = agent(self.inputs(batch.obs[:, t], last[:, t]), hidden)
            out.append(q.view(rows, n, -1))
        return torch.stack(out, 1)

    def loss(self, batch: EpisodeBatch, last: Tensor) -> Tensor:
        q = self.unroll(self.agent, batch, last)
        chosen = q[:, :-1].gather(3, batch.actions.unsqueeze(3)).squeeze(3)
        with torch.no_grad():
            best = q.detach().clone().masked_fill_(~batch.avail, MASKED)[:, 1:].argmax(3, keepdim=True)
            q_next = self.unroll(self.target_agent, batch, last)[:, 1:].gather(3, best).squeeze(3)
            q_next = self.target_mixer(q_next, batch.state[:, 1:])
            y = batch.reward + self.config.gamma * (1 - batch.terminated.float()) * q_next
        td = (self.mixer(chosen, batch.state[:, :-1]) - y) * batch.mask
        return (td**2).sum() / batch.mask.sum()

    def update(self, batch: EpisodeBatch, last: Tensor) -> Tensor:
        loss = self.loss(batch, last)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.config.grad_clip)
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def act(self, obs: Tensor, last: Tensor, avail: Tensor, hidden: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        """obs [B,N,O], last [B,N,A] one-hot, avail [B,N,A] -> actions [B,N], their one-hots, hidden [B*N,H].

        The selection of public code: greedy on masked values, uniform by a categorical over what is available, and a
        coin per agent that picks between the two.
        """
        rows, n, _ = obs.shape
        q, hidden = self.agent(self.inputs(obs, last), hidden)
        q = q.view(rows, n, -1).clone()
        q[~avail] = MASKED
        coin = (torch.rand_like(obs[:, :, 0]) < epsilon).long()
        uniform = torch.distributions.Categorical(avail.float()).sample().long()
        actions = coin * uniform + (1 - coin) * q.max(2)[1]
        return actions, F.one_hot(actions, self.spec.n_actions).float(), hidden
