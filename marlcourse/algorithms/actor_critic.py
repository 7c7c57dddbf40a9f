"""What COMA and LICA share: discrete actors, one central critic, and the schedule "collect, critic steps, one actor step".

    collect on-policy;  critic_updates times: critic -= grad critic_loss;   once: actors -= grad actor_loss

A paper's file adds the critic, the two losses and, where it is not a plain softmax, the policy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import check_agent
from ..core import Action, Algorithm, EpisodeBatch, Observation
from ..exploration import categorical, masked
from ..nets.agents import RecurrentAgent, one_step, previous_actions
from ..nets.small import FeedForwardAgent


class ActorCritic(Algorithm):
    """Not an algorithm by itself: a child defines ``build`` (calling :meth:`build_actor` first, then making ``critic``),
    ``critic_loss``, ``actor_loss`` and ``after_update``; its Config has ``recurrent``, ``hidden``, ``last_action``,
    ``critic_lr`` and ``critic_updates``."""

    def build_actor(self) -> None:
        c, spec = self.config, self.spec
        network = RecurrentAgent if c.recurrent else FeedForwardAgent
        self.actor = self.part("actor", lambda: network(spec, c.hidden, c.last_action))
        check_agent("actor", self.actor, spec)

    def initial_carry(self, batch_size: int) -> dict[str, Tensor]:
        n = self.spec.n_agents
        none_yet = torch.full((batch_size, n), -1, device=self.device)
        return {"hidden": self.actor.initial_hidden(batch_size, n), "last_action": none_yet}

    def policy(self, logits: Tensor, avail: Tensor) -> Tensor:
        """Probabilities [...,N,A]; unavailable actions have probability 0."""
        return torch.softmax(masked(logits, avail), -1)

    def log_policy(self, logits: Tensor, avail: Tensor) -> Tensor:
        """Log-probabilities [...,N,A] of the same policy."""
        return torch.log_softmax(masked(logits, avail), -1)

    def act(self, observation: Observation, carry, explore: bool, generator: torch.Generator) -> Action:
        logits, hidden = one_step(self.actor, observation.obs, carry["last_action"], carry["hidden"])
        log_pi = self.log_policy(logits, observation.avail)
        actions = categorical(log_pi, generator) if explore else log_pi.argmax(-1)
        log_prob = log_pi.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        return Action(actions, {"hidden": hidden, "last_action": actions}, log_prob)

    def policies(self, batch: EpisodeBatch, final: bool = True) -> Tensor:
        """pi [B,T+1,N,A] at every observation of the batch; ``final=False``: [B,T,N,A], the last one left out."""
        carry, t = batch.carry0 or self.initial_carry(len(batch)), batch.actions.shape[1] + final
        last_action = previous_actions(batch.actions, carry["last_action"])[:, :t]
        logits, _ = self.actor(batch.obs[:, :t], last_action, carry["hidden"])
        return self.policy(logits, batch.avail[:, :t])

    def loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Both losses, for inspection; :meth:`iterate` steps them apart."""
        (critic, a), (actor, b) = self.critic_loss(batch), self.actor_loss(batch)
        return critic + actor, {**a, **b}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            "critic": self.make_optimizer(self.critic, lr=self.config.critic_lr),
            "actor": self.make_optimizer(self.actor),
        }

    def iterate(self, ctx) -> dict[str, Tensor]:
        batch = ctx.collect()
        metrics: dict[str, Tensor] = {}
        for _ in range(self.config.critic_updates):
            metrics |= ctx.step("critic", self.critic_loss, batch)
        metrics |= ctx.step("actor", self.actor_loss, batch)
        self.after_update(ctx)
        return metrics
