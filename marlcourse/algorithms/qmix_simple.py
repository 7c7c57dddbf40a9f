"""QMIX-simple: QMIX that must give all agents the same credit (Zhao et al. 2022, arXiv:2202.04427, section 4.2).

    Q_tot = w2(s) ELU(w1(s) (Q_1 + ... + Q_N) + b1(s)) + b2(s),   w1, w2 >= 0   (Eq. 9), trained by QMIX's loss

A baseline with a question: if it does as well as QMIX, then QMIX's freedom to tell agents apart was not what helped.
Differs from its parent QMIX: the mixer sees the sum of utilities (nets/simple_mixer.py).
Deviates from the paper as its code does: two-layer hypernetworks by default, where the text says one (``hypernet_layers``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..nets.simple_mixer import SimpleMixer
from . import presets
from .qmix import QMIX, QMIXConfig


@dataclass(frozen=True)
class QMIXSimpleConfig(QMIXConfig):
    """As QMIX's; ``embed`` is the width inside b2 alone, since w1, w2 and b1 are single numbers."""

    presets: ClassVar = presets.QMIX_SIMPLE


class QMIXSimple(QMIX):
    """QMIX with :class:`SimpleMixer`."""

    Config = QMIXSimpleConfig

    def default_mixer(self) -> SimpleMixer:
        return SimpleMixer(self.spec.state_dim, self.config.embed, layers=self.config.hypernet_layers)
