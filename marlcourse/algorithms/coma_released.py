"""COMA as LICA's release trains it on the one-step junction: kept for chapter 01, where it is the puzzle.

    descend  -mean over ALL joint actions, equally weighted, of  sum_i log P_i(pass) (Q(u) - Q(u with u_i flipped))

Differs from its parent COMA in three places, each taken from the release (mzho7212/LICA, one-step traffic junction):
the data are every joint action with equal weight instead of the policy's own; the baseline is the value of the other
action instead of the policy's expectation; and the log-probability is that of passing, even where the car waited.
With equal weights and the true values its expected gradient is zero at any policy: nothing in it can learn.
Not a reading of the COMA paper: compare with ``COMA`` before you conclude anything about that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..core import EpisodeBatch
from ..targets import masked_mean
from .coma import COMA


class COMAReleased(COMA):
    """For two actions (0 wait, 1 pass). Feed it a batch with the joint actions equally weighted."""

    def actor_loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        pi = self.policies(batch, final=False)
        with torch.no_grad():
            q = self.q_values(self.critic, batch, batch.actions)
            taken = batch.actions.unsqueeze(-1)
            advantage = (q.gather(-1, taken) - q.gather(-1, 1 - taken)).squeeze(-1)
        log_pass = pi[..., 1].clamp(min=1e-20).log()
        return -masked_mean(log_pass * advantage, batch.mask), {"advantage": masked_mean(advantage, batch.mask)}
