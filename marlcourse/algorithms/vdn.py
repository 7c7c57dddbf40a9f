"""VDN: value-decomposition networks (Sunehag et al., AAMAS 2018, arXiv:1706.05296).

    minimise  sum_t m_t (Q_1 + ... + Q_N - y_t)^2 / sum_t m_t,   y = r + gamma (1 - terminated) sum_i max Qbar_i

Differs from its parent QMIX: the mixer is a sum, with no parameters and no state.
Deviates from the paper as PyMARL does: parameters are shared between agents, and double Q-learning chooses the target's action.
"""

from __future__ import annotations

from ..nets.simple_mixer import SumMixer
from .qmix import QMIX


class VDN(QMIX):
    """QMIX with a sum for a mixer (``embed`` and ``hypernet_layers`` of the config belong to QMIX's and do nothing here)."""

    def default_mixer(self) -> SumMixer:
        return SumMixer()
