"""QMIX-GRE: QMIX with gradient entropy regularisation (Zhao et al. 2022, arXiv:2202.04427, section 4.3).

    minimise  TD loss + lambda sum_t m_t H_t / sum_t m_t,   H = -sum_i p_i log p_i / log N,   p_i = g_i / sum_j g_j,
    g_i = dQ_tot/dQ_i, the credit of agent i (Eqs. 6, 7, 10)

Low entropy means credit that differs between agents. Only the mixer can lower it: the utilities in g are detached.
Differs from its parent QMIX: one more term in the loss (its functions stand in credit.py). ``entropy_weight=0`` is QMIX, bit
for bit. Clipping counts all gradients together, so that where it bites a large lambda also shortens the agents' step.
Deviates from the paper: means over real steps instead of sums over the batch, as in the released code.
Deviates from that code: autograd takes the slope, for any mixer, where the release takes exp(ELU(x)) for the slope of ELU
at x < 0 (it is exp(x)); ``as_released=True`` goes back to that. A team of one has no entropy to lower: H = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..core import EpisodeBatch
from ..credit import credit, inputs_of, is_monotonic, monotonic_slope, normalised_entropy
from ..targets import masked_mean
from . import presets
from .qmix import QMIX, QMIXConfig


@dataclass(frozen=True)
class QMIXGREConfig(QMIXConfig):
    """``entropy_weight``: the paper's lambda, searched per map in {1e-3, 5e-4, 1e-4} (caption of its Figure 8).
    ``as_released``: the slope of the published code, which is QMIX's own mixer's alone."""

    entropy_weight: float = 1e-3
    as_released: bool = False

    presets: ClassVar = presets.QMIX_GRE


class QMIXGRE(QMIX):
    """Parts: ``agent`` and ``mixer``, as QMIX's; any differentiable mixer."""

    Config = QMIXGREConfig

    def build(self) -> None:
        super().build()
        if self.config.as_released and not is_monotonic(self.mixer):
            raise ValueError(
                f"as_released=True repeats a formula for MonotonicMixer, not for {type(self.mixer).__name__}: leave it False, "
                "then autograd finds the slope of your mixer."
            )

    def slope(self, q: Tensor, state: Tensor) -> Tensor:
        """dQ_tot/dQ_i at q [B,T,N], state [B,T,S], from which only the mixer's parameters can be reached: [B,T,N]."""
        if self.config.as_released:
            return monotonic_slope(self.mixer, q, state, as_released=True)
        return credit(self.mixer, q, state, create_graph=True)

    def loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        with inputs_of(self.mixer) as seen:
            td_loss, metrics = super().loss(batch)
        if self.config.entropy_weight == 0:
            return td_loss, metrics
        q, state = seen[0]  # the utilities of the actions taken, and s_t: no second pass through the agents
        entropy = masked_mean(normalised_entropy(self.slope(q, state)), batch.mask)
        return td_loss + self.config.entropy_weight * entropy, {**metrics, "td_loss": td_loss, "entropy": entropy}
