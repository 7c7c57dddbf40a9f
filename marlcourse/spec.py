"""The world's side of the vocabulary: what is known of it before play, what it shows, and what it can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Discrete:
    """``n`` actions, numbered from 0."""

    n: int


@dataclass(frozen=True)
class Box:
    """Continuous actions: ``dim`` numbers, each in [low, high]."""

    dim: int
    low: float = -1.0
    high: float = 1.0


@dataclass(frozen=True)
class EnvSpec:
    """What an algorithm may know of a world before it plays.

    ``state_is_obs``: the state is the concatenated observations of all agents, and is then not stored twice.
    """

    name: str
    n_agents: int
    obs_dim: int
    state_dim: int
    episode_limit: int
    actions: Discrete | Box
    state_is_obs: bool = False

    @property
    def n_actions(self) -> int:
        """Number of discrete actions A. Raises TypeError for a continuous world, which has none."""
        if not isinstance(self.actions, Discrete):
            raise TypeError(f"{self.name} has continuous actions: choose an algorithm for continuous actions.")
        return self.actions.n


class Observation(NamedTuple):
    """obs [B,N,O] float; state [B,S] float; avail [B,N,A] bool with a True in each row (None: continuous actions)."""

    obs: Tensor
    state: Tensor
    avail: Tensor | None


class Step(NamedTuple):
    """One step of B worlds. ``observation`` is the TRUE final one where an episode ends (never that of the next episode).

    reward [B] float; terminated [B] bool (the task ended) and truncated [B] bool (the time ran out), True on the ending
    step only; a finished world stays still with reward 0 until it is reset; info maps names to [B] tensors
    (``won`` [B] bool where the world knows victory).
    """

    observation: Observation
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    info: dict[str, Tensor]


@runtime_checkable
class VecEnv(Protocol):
    """B worlds at once, tensors on one device, one random generator of their own."""

    spec: EnvSpec
    num_envs: int
    device: torch.device

    def reset(self, seed: int | None = None, where: Tensor | None = None) -> Observation:
        """Begin episodes (``where`` [B] bool: only in these worlds). With a seed, (seed, actions) fixes all that follows."""

    def step(self, actions: Tensor) -> Step:
        """Play one joint action per world: [B,N] long, or [B,N,D] float for continuous actions."""

    def fresh(self, num_envs: int | None = None, seed: int = 0) -> VecEnv:
        """An independent copy, for evaluation and watching."""

    def frame(self, index: int = 0) -> np.ndarray:
        """A picture of one world, HxWx3 uint8."""

    def state_dict(self) -> dict: ...
    def load_state_dict(self, state: dict) -> None: ...
    def close(self) -> None: ...
