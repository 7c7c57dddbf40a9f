"""The one-step traffic junction (Zhou et al. 2020, LICA, section 4.3.1): two cars, each may pass or wait.

Reward 1 if exactly one car passes, else 0: two optima, no label says which car yields.
"""

from __future__ import annotations

import numpy as np
import torch

from ..core import Discrete, EnvSpec, Observation
from .base import World
from .drawing import draw_junction

WAIT, PASS = 0, 1


class Junction(World):
    """Actions: 0 wait, 1 pass. Each car sees only its own number (0 or 1), as in the authors' release; there is no
    state to see, so the state is a constant 0. (With ``state_dim`` 1 and value 0 it carries no information.)"""

    def __init__(self, num_envs: int = 1, device="auto", seed: int = 0):
        self.spec = EnvSpec("junction", 2, 1, 1, 1, Discrete(2))
        super().__init__(num_envs, device, seed)

    def _start(self, draws):
        return {"played": torch.full((self.num_envs, 2), -1, device=self.device)}

    def _advance(self, state, actions, draws):
        reward = (actions.sum(-1) == 1).float()
        return {"played": actions}, reward, torch.ones_like(self.running), {"won": reward > 0}

    def _observe(self, state):
        b = self.num_envs
        number = torch.arange(2.0, device=self.device).view(1, 2, 1).expand(b, 2, 1)
        return Observation(
            number, torch.zeros(b, 1, device=self.device), torch.ones(b, 2, 2, dtype=torch.bool, device=self.device)
        )

    def frame(self, index: int = 0) -> np.ndarray:
        """Two roads seen from above; after the step, the cars where their actions took them."""
        played = [-1, -1] if self.state is None else self.state["played"][index].tolist()
        return draw_junction(played)
