"""QMIX: monotonic value function factorisation (Rashid et al., ICML 2018, arXiv:1803.11485).

    minimise  sum_t m_t (Q_tot(s_t, u_t) - y_t)^2 / sum_t m_t,   y = r + gamma (1 - terminated) Qbar_tot(s', argmax_u Q)

Q_tot = mixer(Q_1(tau_1, u_1), ..., Q_N(tau_N, u_N); s) with dQ_tot/dQ_i >= 0, so that each agent's own argmax is the
team's. The action of the target is chosen by the online agents and judged by the target ones (double Q-learning).

Differs from its parent, IQL with parameter sharing: one loss on the mixed value instead of one loss per agent.
Deviates from PyMARL, on purpose: padding never reaches a TD(lambda) target (PyMARL's recursion starts at the end of the
batch, so that a truncated short episode reads the value of a padded step).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..config import check_agent, check_part
from ..core import Action, Algorithm, Config, EpisodeBatch, Observation
from ..exploration import Schedule, epsilon_greedy, masked
from ..nets.agents import RecurrentAgent, one_step, previous_actions
from ..nets.mixers import MonotonicMixer
from ..nets.small import FeedForwardAgent
from ..targets import masked_mean, td_lambda
from . import presets


@dataclass(frozen=True)
class QMIXConfig(Config):
    """``chunk_rows``: work through an update in pieces of so many rows (less memory, same gradient).
    ``hypernet_layers``: 1 in the paper, 2 in PyMARL."""

    gamma: float = 0.99
    lam: float = 0.0
    lr: float = 5e-4
    optimizer: type = torch.optim.RMSprop
    grad_clip: float | None = 10.0
    hidden: int = 64
    recurrent: bool = True
    last_action: bool = True
    double_q: bool = True
    embed: int = 32
    hypernet_layers: int = 2
    epsilon: Schedule = Schedule(1.0, 0.05, 50_000)
    replay_episodes: int = 5000
    batch_size: int = 32
    episodes_per_collect: int | None = None
    updates_per_collect: int = 1
    target_every: int = 200
    chunk_rows: int | None = None

    presets: ClassVar = presets.QMIX


class QMIX(Algorithm):
    """Parts: ``agent`` (shapes as :class:`RecurrentAgent`) and ``mixer`` (``forward(q [...,N], state [...,S]) -> [...]``)."""

    Config = QMIXConfig
    mixes = True  # False: no mixer to build, none to replace

    def build(self) -> None:
        c, spec = self.config, self.spec
        network = RecurrentAgent if c.recurrent else FeedForwardAgent
        self.agent = self.part("agent", lambda: network(spec, c.hidden, c.last_action))
        check_agent("agent", self.agent, spec)
        self.mixer = self.part("mixer", self.default_mixer) if self.mixes else nn.Identity()
        if self.mixes:
            check_part("mixer", self.mixer, (2, 3), torch.zeros(2, 3, spec.n_agents), torch.zeros(2, 3, spec.state_dim))
        self.target_agent = copy.deepcopy(self.agent).requires_grad_(False)
        self.target_mixer = copy.deepcopy(self.mixer).requires_grad_(False)

    def default_mixer(self) -> nn.Module:
        c = self.config
        return MonotonicMixer(self.spec.n_agents, self.spec.state_dim, c.embed, layers=c.hypernet_layers)

    def initial_carry(self, batch_size: int) -> dict[str, Tensor]:
        n = self.spec.n_agents
        none_yet = torch.full((batch_size, n), -1, device=self.device)
        return {"hidden": self.agent.initial_hidden(batch_size, n), "last_action": none_yet}

    def act(self, observation: Observation, carry, explore: bool, generator: torch.Generator) -> Action:
        q, hidden = one_step(self.agent, observation.obs, carry["last_action"], carry["hidden"])
        epsilon = self.config.epsilon(self.env_steps) if explore else 0.0
        actions = epsilon_greedy(q, observation.avail, epsilon, generator)
        return Action(actions, {"hidden": hidden, "last_action": actions})

    def utilities(self, agent: nn.Module, batch: EpisodeBatch) -> Tensor:
        """Q_i(tau_i, .) at every observation of the batch: [B,T+1,N,A], unavailable actions masked."""
        start = {"hidden": agent.initial_hidden(len(batch), self.spec.n_agents)}  # this agent's own memory, not another's
        carry = batch.carry0 or self.initial_carry(len(batch)) | start
        q, _ = agent(batch.obs, previous_actions(batch.actions, carry["last_action"]), carry["hidden"])
        return masked(q, batch.avail)

    def next_utilities(self, q: Tensor, batch: EpisodeBatch) -> Tensor:
        """Qbar_i(tau'_i, argmax_u Q_i(tau'_i, u)) at the true next observations: [B,T,N]."""
        q_target = batch.seen_by("q_target", self.target_agent, lambda rows: self.utilities(self.target_agent, rows)[:, 1:])
        best = (q[:, 1:] if self.config.double_q else q_target).argmax(-1, keepdim=True)
        return q_target.gather(-1, best).squeeze(-1)

    def loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        states, c = batch.states, self.config
        q = self.utilities(self.agent, batch)  # [B,T+1,N,A]
        chosen = q[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)  # [B,T,N]
        with torch.no_grad():
            q_next = self.target_mixer(self.next_utilities(q, batch), states[:, 1:])  # [B,T]
            y = td_lambda(batch.reward, batch.terminated, q_next, batch.mask, c.gamma, c.lam)
        q_tot = self.mixer(chosen, states[:, :-1])  # [B,T]
        loss = masked_mean((q_tot - y) ** 2, batch.mask)
        return loss, {"q_tot": masked_mean(q_tot, batch.mask), "target": masked_mean(y, batch.mask)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"main": self.make_optimizer(self.agent, self.mixer)}

    def after_update(self, ctx) -> None:
        """Hard copy of agent and mixer into their targets every ``target_every`` updates."""
        if ctx.updates_done % self.config.target_every == 0:
            self.target_agent.load_state_dict(self.agent.state_dict())
            self.target_mixer.load_state_dict(self.mixer.state_dict())
