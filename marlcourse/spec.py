"""What an algorithm may know of a world before it plays."""

from __future__ import annotations

from dataclasses import dataclass


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
