"""Small worlds and batches for tests. Not a test file: load it with ``from_tests("worlds_for_tests")`` of the test files.

``OddWorld`` has everything that a loss can get wrong: episodes of unequal length, ends and time limits side by side,
unavailable actions (an agent may be left with one), a state that is not the observations, and rewards that depend on it.
"""

from __future__ import annotations

import torch

from marlcourse.core import Discrete, EnvSpec, Observation
from marlcourse.envs.base import World
from marlcourse.rollout import Collector


class OddWorld(World):
    """3 agents, 4 actions, at most 5 steps. World b ends after ``length[b]`` in 1..7 steps: 6 and 7 are cut by the limit."""

    _masks_actions = True

    def __init__(self, num_envs: int = 1, device="cpu", seed: int = 0, agents: int = 3, actions: int = 4, limit: int = 5):
        self.spec = EnvSpec("odd", agents, 3, 4, limit, Discrete(actions))
        super().__init__(num_envs, device, seed, agents=agents, actions=actions, limit=limit)

    def _draw_start(self):
        b, s = self.num_envs, self.spec
        return {
            "length": torch.randint(1, s.episode_limit + 3, (b,), generator=self.generator),
            "table": torch.randn(b, s.episode_limit + 1, s.n_agents, s.obs_dim, generator=self.generator),
            "closed": torch.rand(b, s.episode_limit + 1, s.n_agents, s.n_actions, generator=self.generator) < 0.5,
        }

    def _start(self, draws):
        return {**draws, "t": torch.zeros(self.num_envs, dtype=torch.long), "total": torch.zeros(self.num_envs)}

    def _advance(self, state, actions, draws):
        t = state["t"] + 1
        reward = actions.float().mean(-1) + state["table"][torch.arange(self.num_envs), state["t"], 0, 0]
        return {**state, "t": t, "total": state["total"] + reward}, reward, t >= state["length"], {}

    def _observe(self, state):
        t, rows = state["t"].clamp(max=self.spec.episode_limit), torch.arange(self.num_envs)
        obs = state["table"][rows, t]
        avail = ~state["closed"][rows, t]
        avail = avail | (~avail.any(-1, keepdim=True) & (torch.arange(self.spec.n_actions) == 1))  # one is always left
        extra = torch.stack([state["t"].float(), state["total"], state["length"].float(), obs.sum((1, 2))], -1)
        return Observation(obs, extra, avail)


def played(algorithm, worlds: int = 12, seed: int = 0, episodes: int | None = None, **options):
    """(world, batch): what ``algorithm`` (built for ``OddWorld(**options).spec``) plays in it with exploration."""
    world = OddWorld(worlds, **options)
    return world, Collector(world, algorithm, seed).collect(episodes)


class Memoryless(torch.nn.Module):
    """A part for tests: an agent whose outputs are one free table [A] per agent, whatever it sees."""

    def __init__(self, n_agents: int, n_actions: int):
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(n_agents, n_actions))

    def initial_hidden(self, batch_size, n_agents):
        return torch.zeros(batch_size, n_agents, 0)

    def forward(self, obs, last_action, hidden):
        return self.table.expand(*obs.shape[:2], *self.table.shape), hidden


def gradients(loss: torch.Tensor, module: torch.nn.Module) -> dict[str, torch.Tensor | None]:
    """{parameter name: gradient of the loss, None where it does not reach}."""
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True, retain_graph=True)
    return {n: g for (n, _), g in zip(named, found)}


def scrambled_padding(batch, seed: int = 1):
    """The same rows with other numbers wherever ``mask`` is 0 (and after the true final observation)."""
    import dataclasses

    g = torch.Generator().manual_seed(seed)
    after = torch.arange(batch.obs.shape[1]) > batch.length.unsqueeze(1)  # [R,T+1]
    pad = batch.mask == 0

    def noise(x, where):
        where = where.view(*where.shape, *[1] * (x.dim() - 2))
        if x.dtype == torch.bool:
            return torch.where(where, ~x, x)
        if x.dtype == torch.long:
            return torch.where(where, (x + 1) % 2, x)
        return torch.where(where, torch.randn(x.shape, generator=g) * 50, x)

    avail = noise(batch.avail, after)
    return dataclasses.replace(
        batch,
        obs=noise(batch.obs, after),
        state=noise(batch.state, after),
        avail=avail | ~avail.any(-1, keepdim=True),
        reward=noise(batch.reward, pad),
        terminated=noise(batch.terminated, pad),
        truncated=noise(batch.truncated, pad),
        actions=noise(batch.actions, pad),
    )


def longer(batch, steps: int):
    """The same rows with ``steps`` further steps of padding (zeros; everything available), as a longer batch has them."""
    import dataclasses

    def more(x, value=0):
        tail = torch.full((x.shape[0], steps, *x.shape[2:]), value, dtype=x.dtype)
        return torch.cat([x, tail], 1)

    names = ("obs", "state", "actions", "reward", "terminated", "truncated", "mask")
    extra = {"log_prob": more(batch.log_prob)} if batch.log_prob is not None else {}
    return dataclasses.replace(batch, **{n: more(getattr(batch, n)) for n in names}, avail=more(batch.avail, True), **extra)
