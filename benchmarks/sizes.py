"""The sizes every speed figure is quoted at, and random full batches of those sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from marlcourse.core import Discrete, EnvSpec, EpisodeBatch, Observation


@dataclass(frozen=True)
class Size:
    """``rows`` episodes of ``steps`` steps; the rest as in EnvSpec. Named after the StarCraft maps they resemble."""

    name: str
    rows: int
    steps: int
    n_agents: int
    n_actions: int
    obs_dim: int
    state_dim: int

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec(self.name, self.n_agents, self.obs_dim, self.state_dim, self.steps, Discrete(self.n_actions))

    def batch(self, seed: int = 0, device: torch.device | str = "cpu") -> EpisodeBatch:
        """A full batch (no padding) of normal observations and random available actions."""
        g = torch.Generator().manual_seed(seed)
        b, t, n, a = self.rows, self.steps, self.n_agents, self.n_actions
        avail = torch.rand(b, t + 1, n, a, generator=g) < 0.7
        avail[..., 0] = True
        noise = torch.rand(b, t, n, a, generator=g).masked_fill_(~avail[:, :-1], -1.0)
        terminated = torch.zeros(b, t, dtype=torch.bool)
        terminated[: b // 2, -1] = True
        truncated = torch.zeros(b, t, dtype=torch.bool)
        truncated[b // 2 :, -1] = True
        return EpisodeBatch(
            obs=torch.randn(b, t + 1, n, self.obs_dim, generator=g),
            state=torch.randn(b, t + 1, self.state_dim, generator=g),
            avail=avail,
            actions=noise.argmax(-1),
            reward=torch.randn(b, t, generator=g),
            terminated=terminated,
            truncated=truncated,
            mask=torch.ones(b, t),
            length=torch.full((b,), t),
        ).to(device)

    def observation(self, worlds: int, seed: int = 0, device: torch.device | str = "cpu") -> Observation:
        """What ``worlds`` worlds show at one moment."""
        g = torch.Generator().manual_seed(seed)
        avail = torch.rand(worlds, self.n_agents, self.n_actions, generator=g) < 0.7
        avail[..., 0] = True
        obs = torch.randn(worlds, self.n_agents, self.obs_dim, generator=g)
        return Observation(obs.to(device), torch.randn(worlds, self.state_dim, generator=g).to(device), avail.to(device))


SMALL = Size("3m-like", rows=32, steps=60, n_agents=3, n_actions=9, obs_dim=30, state_dim=48)
LARGE = Size("MMM2-like", rows=32, steps=180, n_agents=10, n_actions=18, obs_dim=176, state_dim=322)
SIZES = {size.name: size for size in (SMALL, LARGE)}
