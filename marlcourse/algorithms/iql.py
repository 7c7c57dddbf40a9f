"""IQL: independent Q-learning (Tan, ICML 1993), with networks shared by the team.

    y_i = r + gamma (1 - terminated) Qbar_i(tau'_i, argmax_a Q_i(tau'_i, a)),   minimise the mean of (Q_i(tau_i, a_i) - y_i)^2
    over every agent and real step

Each agent takes the team's reward for its own and the others for part of the world, which moves as they learn.
Differs from QMIX, whose acting and networks it uses: no mixer, one loss per agent.
Deviates from Tan as PyMARL does: deep recurrent utilities, replay, double Q-learning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..core import EpisodeBatch
from ..targets import masked_mean, td_lambda
from . import presets
from .qmix import QMIX, QMIXConfig


@dataclass(frozen=True)
class IQLConfig(QMIXConfig):
    """As QMIX's; ``embed`` and ``hypernet_layers`` belong to its mixer and do nothing here."""

    presets: ClassVar = presets.IQL


class IQL(QMIX):
    """No part but ``agent``: there is nothing to mix."""

    Config = IQLConfig
    mixes = False

    def loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        c = self.config
        q = self.utilities(self.agent, batch)  # [B,T+1,N,A]
        chosen = q[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)  # [B,T,N]
        with torch.no_grad():
            q_next = self.next_utilities(q, batch)  # [B,T,N]
            y = [td_lambda(batch.reward, batch.terminated, x, batch.mask, c.gamma, c.lam) for x in q_next.unbind(-1)]
            y = torch.stack(y, -1)
        loss = masked_mean((chosen - y) ** 2, batch.mask)
        return loss, {"q": masked_mean(chosen, batch.mask), "target": masked_mean(y, batch.mask)}
