"""QTRAN-base: learning to factorise with transformation (Son et al., ICML 2019, arXiv:1905.05408).

    L = L_td + lambda_opt E (Q'(ubar) - Q_jt(ubar) + V)^2 + lambda_nopt E min(0, Q'(u) - Q_jt(u) + V)^2
    Q'(u) = sum_i Q_i(u_i),  ubar = each agent's own greedy action,  y = r + gamma (1 - terminated) Qbar_jt(s', ubar')

A free joint critic Q_jt learns by TD; the sum of utilities Q' has only to agree with it (up to the state value V) at the
greedy joint action, and to lie above it everywhere else. Q_jt gets no gradient from the last two terms.
Differs from its parent QMIX: no mixer; a joint critic and V(s); three losses.
The joint critic reads the agents' last hidden layer, and its TD loss trains it too, as in PyMARL (nets/critics.py).
Deviates from PyMARL: no Huber or other robust loss, and the greedy joint action is always that of the online agents.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core import EpisodeBatch
from ..exploration import masked
from ..nets.agents import previous_actions
from ..nets.critics import JointCritic, StateValue
from ..targets import masked_mean, td_lambda
from . import presets
from .qmix import QMIX, QMIXConfig


@dataclass(frozen=True)
class QTRANConfig(QMIXConfig):
    """``lambda_opt``, ``lambda_nopt``: weights of the two conditions; ``joint_hidden``: width of the joint critic."""

    lambda_opt: float = 1.0
    lambda_nopt: float = 0.1
    joint_hidden: int = 64

    presets: ClassVar = presets.QTRAN


class QTRAN(QMIX):
    """Parts: ``agent``, ``joint_critic`` and ``value``."""

    Config = QTRANConfig
    mixes = False

    def build(self) -> None:
        super().build()
        c, spec = self.config, self.spec
        self.joint_critic = self.part(
            "joint_critic", lambda: JointCritic(spec.state_dim, c.hidden, spec.n_actions, c.joint_hidden)
        )
        self.value = self.part("value", lambda: StateValue(spec.state_dim, c.joint_hidden))
        self.target_joint_critic = copy.deepcopy(self.joint_critic).requires_grad_(False)

    def encode(self, agent: nn.Module, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """Features [B,T+1,N,H] and masked utilities [B,T+1,N,A]."""
        carry = batch.carry0 or self.initial_carry(len(batch))
        features, _ = agent.encode(batch.obs, previous_actions(batch.actions, carry["last_action"]), carry["hidden"])
        return features, masked(agent.head(features), batch.avail)

    def loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        states, c = batch.states, self.config
        now, after = states[:, :-1], states[:, 1:]
        features, q = self.encode(self.agent, batch)
        greedy = q.detach().argmax(-1)  # ubar, [B,T+1,N]
        chosen = q[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        best = q[:, :-1].gather(-1, greedy[:, :-1].unsqueeze(-1)).squeeze(-1)

        with torch.no_grad():
            target_features, _ = self.encode(self.target_agent, batch)
            q_next = self.target_joint_critic(after, target_features[:, 1:], greedy[:, 1:])
            y = td_lambda(batch.reward, batch.terminated, q_next, batch.mask, c.gamma, c.lam)
            joint_best = self.joint_critic(now, features[:, :-1], greedy[:, :-1])
        joint = self.joint_critic(now, features[:, :-1], batch.actions)
        v = self.value(now)
        td = masked_mean((joint - y) ** 2, batch.mask)
        opt = masked_mean((best.sum(-1) - joint_best + v) ** 2, batch.mask)
        nopt = masked_mean((chosen.sum(-1) - joint.detach() + v).clamp(max=0) ** 2, batch.mask)
        loss = td + c.lambda_opt * opt + c.lambda_nopt * nopt
        return loss, {"td_loss": td, "opt_loss": opt, "nopt_loss": nopt, "q_joint": masked_mean(joint, batch.mask)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"main": self.make_optimizer(self.agent, self.joint_critic, self.value)}

    def after_update(self, ctx) -> None:
        super().after_update(ctx)
        if ctx.updates_done % self.config.target_every == 0:
            self.target_joint_critic.load_state_dict(self.joint_critic.state_dict())
