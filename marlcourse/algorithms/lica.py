"""LICA: learning implicit credit assignment (Zhou et al., NeurIPS 2020, arXiv:2007.02529).

    critic:  minimise  mean m (y - Q(s, onehot(u_1), ..., onehot(u_N)))^2,   y: TD(lambda) of a target critic
    actors:  ascend    mean m Q(s, pi_1, ..., pi_N) + entropy bonus,   pi_i the probabilities themselves, not samples

No agent is handed an advantage of its own: the credit is the gradient dQ/dpi_i that flows through a central critic into
each policy. The entropy bonus is xi * H / stopgrad(H): its gradient grows as the entropy falls (equation 6).
Differs from COMA: no baseline, no log-probability, no sampling in the actor's loss.
Deviates from the release: W1's hypernetwork is 64 wide, as in pymarl2 (the release: 64 N A); where time runs out, the value of
the final observation is that of the policies' probabilities there; H is averaged over agents and real steps, as released.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import check_part
from ..core import Config, EpisodeBatch
from ..nets.critics import MixingCritic
from ..targets import masked_mean, td_lambda
from . import presets
from .actor_critic import ActorCritic


@dataclass(frozen=True)
class LICAConfig(Config):
    """``xi``: strength of the adaptive entropy bonus (0: none). An update is never cut into chunks: the bonus is a ratio of
    means over the whole batch."""

    gamma: float = 0.99
    lam: float = 0.8
    lr: float = 2.5e-3
    critic_lr: float = 5e-4
    optimizer: type = torch.optim.Adam
    grad_clip: float | None = 10.0
    hidden: int = 64
    embed: int = 64
    recurrent: bool = True
    last_action: bool = True
    xi: float = 0.06
    critic_updates: int = 1
    episodes_per_collect: int | None = None
    target_every: int = 200

    presets: ClassVar = presets.LICA


class LICA(ActorCritic):
    """Parts: ``actor`` (shapes as :class:`RecurrentAgent`) and ``critic`` (``forward(state, u) -> [...]``)."""

    Config = LICAConfig

    def build(self) -> None:
        self.build_actor()
        c, spec = self.config, self.spec
        self.critic = self.part("critic", lambda: MixingCritic(spec.n_agents, spec.n_actions, spec.state_dim, c.embed))
        state, u = torch.zeros(2, 3, spec.state_dim), torch.zeros(2, 3, spec.n_agents, spec.n_actions)
        check_part("critic", self.critic, (2, 3), state, u)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)

    def critic_loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error to :meth:`critic_target` at the joint actions played."""
        played = F.one_hot(batch.actions, self.spec.n_actions).to(batch.states.dtype)  # [B,T,N,A]
        q, y = self.critic(batch.states[:, :-1], played), self.critic_target(batch, played)
        return masked_mean((q - y) ** 2, batch.mask), {"q_taken": masked_mean(q, batch.mask)}

    @torch.no_grad()
    def critic_target(self, batch: EpisodeBatch, played: Tensor) -> Tensor:
        """TD(lambda) [B,T]; a next step is worth what the target critic says of the next joint action ``played`` [B,T,N,A]."""
        c = self.config
        if c.gamma == 0:  # no future: the reward alone, and no network is asked
            return batch.reward
        real = torch.cat([batch.mask, torch.zeros_like(batch.mask[:, :1])], 1)[..., None, None] > 0
        pi = self.policies(batch)
        u = torch.where(real, torch.cat([played, played[:, -1:]], 1), pi)  # nobody acted on the final observation
        q_next = self.target_critic(batch.states, u)[:, 1:]
        return td_lambda(batch.reward, batch.terminated, q_next, batch.mask, c.gamma, c.lam)

    def actor_loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        pi = self.policies(batch, final=False)
        value = masked_mean(self.critic(batch.states[:, :-1], pi), batch.mask)
        entropy = masked_mean(-(pi * pi.clamp(min=1e-20).log()).sum(-1), batch.mask)
        bonus = self.config.xi * entropy / entropy.detach().clamp(min=1e-8)
        return -value - bonus, {"value": value, "entropy": entropy}

    def after_update(self, ctx) -> None:
        """Hard copy of the critic into its target every ``target_every`` critic steps."""
        c = self.config
        rounds = ctx.updates_done // (c.critic_updates + 1)
        if rounds % max(1, c.target_every // c.critic_updates) == 0:
            self.target_critic.load_state_dict(self.critic.state_dict())
