"""The product game a1 * a2 of the HATRPO paper (Kuba et al. 2022): one step, continuous actions in [-2, 2].

Reward a1 * a2: what is good for one agent turns its sign with the other's action.
"""

from __future__ import annotations

import numpy as np
import torch

from ..core import Box, EnvSpec, Observation
from .base import World
from .drawing import draw_surface


class ProductGame(World):
    """``clip``: actions outside [-2, 2] are moved to the border first (False: taken as they are)."""

    def __init__(self, num_envs: int = 1, device="auto", seed: int = 0, clip: bool = True):
        self.spec = EnvSpec("product-game", 2, 1, 1, 1, Box(1, -2.0, 2.0))
        self.clip = clip
        super().__init__(num_envs, device, seed, clip=clip)

    def _start(self, draws):
        return {"played": torch.full((self.num_envs, 2, 1), float("nan"), device=self.device)}

    def _advance(self, state, actions, draws):
        used = actions.clamp(-2, 2) if self.clip else actions
        return {"played": used.float()}, used.float().prod(1).squeeze(-1), torch.ones_like(self.running), {}

    def _observe(self, state):
        one = torch.ones(self.num_envs, 2, 1, device=self.device)
        return Observation(one, one[:, 0], None)

    def frame(self, index: int = 0) -> np.ndarray:
        """The payoff surface, with the joint action played as a point."""
        played = None if self.state is None else self.state["played"][index].flatten().tolist()
        return draw_surface(None if played is None or np.isnan(played).any() else played)
