"""OW-QMIX and CW-QMIX: weighted QMIX (Rashid et al., NeurIPS 2020, arXiv:2006.10800).

    minimise  mean m (w (Q_tot - y)^2 + c (Q*_hat - y)^2),   y = r + gamma (1 - terminated) Qbar*_hat(s', argmax_u Q_tot)

Q*_hat is an unrestricted central critic with agents of its own; the weight w (no gradient) spares the monotonic Q_tot from
fitting joint actions that are bad anyway:

    optimistic (OW)   w = 1 where Q_tot < y, else alpha
    central (CW)      w = 1 where u is the greedy joint action ubar or y > Q*_hat(s, ubar), else alpha

Differs from its parent QMIX: a second, unrestricted network gives the target, and the loss is weighted.
Deviates from the release: CW compares with the online central critic at s_t (the release takes the target one).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..config import check_agent, check_part
from ..core import EpisodeBatch
from ..nets.agents import RecurrentAgent
from ..nets.critics import FreeMixer
from ..nets.small import FeedForwardAgent
from ..targets import masked_mean, td_lambda
from . import presets
from .qmix import QMIX, QMIXConfig


@dataclass(frozen=True)
class WQMIXConfig(QMIXConfig):
    """``alpha``: the weight of a joint action that is not worth fitting; 1 makes the loss a plain QMIX loss."""

    alpha: float = 0.1
    central_hidden: int = 256
    central_loss: float = 1.0

    presets: ClassVar = presets.WQMIX


class OWQMIX(QMIX):
    """Parts: ``agent``, ``mixer``, ``central_agent``, ``central_mixer`` (both central parts unrestricted)."""

    Config = WQMIXConfig

    def build(self) -> None:
        super().build()
        c, spec = self.config, self.spec
        network = RecurrentAgent if c.recurrent else FeedForwardAgent
        self.central_agent = self.part("central_agent", lambda: network(spec, c.hidden, c.last_action))
        self.central_mixer = self.part("central_mixer", lambda: FreeMixer(spec.n_agents, spec.state_dim, c.central_hidden))
        check_agent("central_agent", self.central_agent, spec)
        q, state = torch.zeros(2, 3, spec.n_agents), torch.zeros(2, 3, spec.state_dim)
        check_part("central_mixer", self.central_mixer, (2, 3), q, state)
        self.target_central_agent = copy.deepcopy(self.central_agent).requires_grad_(False)
        self.target_central_mixer = copy.deepcopy(self.central_mixer).requires_grad_(False)

    def weight(self, q_tot: Tensor, y: Tensor, is_greedy: Tensor, central_greedy: Tensor) -> Tensor:
        """[B,T] in {alpha, 1}: OW looks at the sign of the error alone."""
        return torch.where(q_tot < y, 1.0, self.config.alpha)

    def loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        states, c = batch.states, self.config
        q = self.utilities(self.agent, batch)  # [B,T+1,N,A]
        actions, greedy = batch.actions.unsqueeze(-1), q.argmax(-1, keepdim=True)  # [B,T,N,1], [B,T+1,N,1]
        q_tot = self.mixer(q[:, :-1].gather(-1, actions).squeeze(-1), states[:, :-1])

        central = self.utilities(self.central_agent, batch)
        q_hat = self.central_mixer(central[:, :-1].gather(-1, actions).squeeze(-1), states[:, :-1])
        with torch.no_grad():
            target = self.utilities(self.target_central_agent, batch)[:, 1:]
            q_next = self.target_central_mixer(target.gather(-1, greedy[:, 1:]).squeeze(-1), states[:, 1:])
            y = td_lambda(batch.reward, batch.terminated, q_next, batch.mask, c.gamma, c.lam)
            central_greedy = self.central_mixer(central[:, :-1].gather(-1, greedy[:, :-1]).squeeze(-1), states[:, :-1])
            is_greedy = (actions == greedy[:, :-1]).squeeze(-1).all(-1)
            w = self.weight(q_tot, y, is_greedy, central_greedy)
        fit = masked_mean(w * (q_tot - y) ** 2, batch.mask)
        central_fit = masked_mean((q_hat - y) ** 2, batch.mask)
        return fit + c.central_loss * central_fit, {
            "weighted_loss": fit,
            "central_loss": central_fit,
            "weight": masked_mean(w, batch.mask),
            "q_tot": masked_mean(q_tot, batch.mask),
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"main": self.make_optimizer(self.agent, self.mixer, self.central_agent, self.central_mixer)}

    def after_update(self, ctx) -> None:
        super().after_update(ctx)
        if ctx.updates_done % self.config.target_every == 0:
            self.target_central_agent.load_state_dict(self.central_agent.state_dict())
            self.target_central_mixer.load_state_dict(self.central_mixer.state_dict())


class CWQMIX(OWQMIX):
    """The central weighting: only its ``weight`` differs."""

    def weight(self, q_tot: Tensor, y: Tensor, is_greedy: Tensor, central_greedy: Tensor) -> Tensor:
        return torch.where(is_greedy | (y > central_greedy), 1.0, self.config.alpha)
