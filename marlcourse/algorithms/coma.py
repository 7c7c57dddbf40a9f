"""COMA: counterfactual multi-agent policy gradients (Foerster et al., AAAI 2018, arXiv:1705.08926).

    A_i(s, u) = Q(s, u) - sum_a pi_i(a | tau_i) Q(s, (u_-i, a)),   ascend  mean m log pi_i(u_i | tau_i) A_i   (A_i: no gradient)

One central critic gives, for each agent, the value of each of its own actions with the others' actions held fixed; the
baseline is the agent's own expectation over them. The critic learns TD(lambda) returns of a target critic at the actions
taken. On-policy: every batch is collected by the current policy and used once.
Differs from A2C: the baseline asks what this agent's action changed, not how good the state is.
Deviates from PyMARL: the critic takes ``critic_updates`` steps on the whole batch (PyMARL: one per time step, backwards), and
actions are masked before the softmax (PyMARL masks after), so that the epsilon floor and the loss see the same policy; where
time runs out, the value of the final observation is that of the most probable joint action there.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..config import check_part
from ..core import Config, EpisodeBatch
from ..exploration import Schedule, masked
from ..nets.agents import previous_actions
from ..nets.critics import CounterfactualCritic
from ..targets import masked_mean, td_lambda
from . import presets
from .actor_critic import ActorCritic


@dataclass(frozen=True)
class COMAConfig(Config):
    """``epsilon``: share of uniform actions mixed into the policy itself, when acting and in the loss."""

    gamma: float = 0.99
    lam: float = 0.8
    lr: float = 5e-4
    critic_lr: float = 5e-4
    optimizer: type = torch.optim.RMSprop
    grad_clip: float | None = 10.0
    hidden: int = 64
    critic_hidden: int = 128
    recurrent: bool = True
    last_action: bool = True
    epsilon: Schedule = Schedule(0.5, 0.01, 100_000)
    entropy: float = 0.0
    critic_updates: int = 1
    episodes_per_collect: int | None = None
    target_every: int = 200
    chunk_rows: int | None = None

    presets: ClassVar = presets.COMA


def counterfactual_advantage(q: Tensor, pi: Tensor, actions: Tensor) -> Tensor:
    """A_i = Q_i(u_i) - sum_a pi_i(a) Q_i(a). q, pi [...,N,A]; actions [...,N] long -> [...,N] (COMA, equation 4)."""
    taken = q.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    return taken - (pi * q).sum(-1)


class COMA(ActorCritic):
    """Parts: ``actor`` (shapes as :class:`RecurrentAgent`) and ``critic`` (as :class:`CounterfactualCritic`)."""

    Config = COMAConfig

    def build(self) -> None:
        self.build_actor()
        c, spec = self.config, self.spec
        self.critic = self.part(
            "critic",
            lambda: CounterfactualCritic(spec.n_agents, spec.n_actions, spec.obs_dim, spec.state_dim, c.critic_hidden),
        )
        state, obs = torch.zeros(2, 3, spec.state_dim), torch.zeros(2, 3, spec.n_agents, spec.obs_dim)
        actions = torch.zeros(2, 3, spec.n_agents, dtype=torch.long)
        check_part("critic", self.critic, (2, 3, spec.n_agents, spec.n_actions), state, obs, actions, actions - 1)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)

    def policy(self, logits: Tensor, avail: Tensor) -> Tensor:
        """Probabilities [...,N,A]: softmax over available actions, mixed with a uniform share epsilon of them."""
        epsilon = self.config.epsilon(self.env_steps)
        uniform = avail / avail.sum(-1, keepdim=True)
        return (1 - epsilon) * torch.softmax(masked(logits, avail), -1) + epsilon * uniform

    def log_policy(self, logits: Tensor, avail: Tensor) -> Tensor:
        return masked(self.policy(logits, avail).log(), avail)

    def q_values(self, critic: nn.Module, batch: EpisodeBatch, actions: Tensor) -> Tensor:
        """[B,T',N,A]: for each agent the value of each own action, the others' as in ``actions`` [B,T',N] (T' = T or T+1)."""
        carry, t = batch.carry0 or self.initial_carry(len(batch)), actions.shape[1]
        last_action = previous_actions(batch.actions, carry["last_action"])[:, :t]
        return critic(batch.states[:, :t], batch.obs[:, :t], actions, last_action)

    def critic_loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error to :meth:`critic_target` at the actions taken."""
        q = self.q_values(self.critic, batch, batch.actions).gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        return masked_mean((q - self.critic_target(batch)) ** 2, batch.mask), {"q_taken": masked_mean(q, batch.mask)}

    @torch.no_grad()
    def critic_target(self, batch: EpisodeBatch) -> Tensor:
        """TD(lambda) [B,T,N]; a next step is worth what the target critic says of the next actions taken."""
        c = self.config
        if c.gamma == 0:  # no future: the reward alone, and no network is asked
            return batch.reward.unsqueeze(-1).expand_as(batch.actions)
        real = torch.cat([batch.mask, torch.zeros_like(batch.mask[:, :1])], 1).unsqueeze(-1) > 0
        padded = torch.cat([batch.actions, batch.actions[:, -1:]], 1)
        actions = torch.where(real, padded, self.policies(batch).argmax(-1))  # nobody acted on the final observation
        value = self.q_values(self.target_critic, batch, actions).gather(-1, actions.unsqueeze(-1))[:, 1:].squeeze(-1)
        y = [td_lambda(batch.reward, batch.terminated, v, batch.mask, c.gamma, c.lam) for v in value.unbind(-1)]
        return torch.stack(y, -1)

    def actor_loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        pi = self.policies(batch, final=False)
        log_pi = pi.clamp(min=1e-20).log()
        with torch.no_grad():
            advantage = counterfactual_advantage(self.q_values(self.critic, batch, batch.actions), pi, batch.actions)
        taken = log_pi.gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        entropy = masked_mean(-(pi * log_pi).sum(-1), batch.mask)
        loss = -masked_mean(taken * advantage, batch.mask) - self.config.entropy * entropy
        return loss, {"advantage": masked_mean(advantage, batch.mask), "entropy": entropy}

    def after_update(self, ctx) -> None:
        """Hard copy of the critic into its target every ``target_every`` rounds of critic steps."""
        rounds = ctx.updates_done // (self.config.critic_updates + 1)
        if rounds % self.config.target_every == 0:
            self.target_critic.load_state_dict(self.critic.state_dict())
