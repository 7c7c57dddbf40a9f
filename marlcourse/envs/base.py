"""What all batched worlds share: seeding, resets of some worlds, standing still when finished, checked actions.

A world is a dict of tensors with leading B (``self.state``) and three functions that write a new dict and never loop
over worlds: ``_start`` (after a reset), ``_advance`` (after a joint action) and ``_observe``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..config import whole
from ..core import Discrete, EnvSpec, Observation, Step, where
from ..device import keep_freed_memory, pick_device


def check_actions(spec: EnvSpec, actions: Tensor, running: Tensor, avail: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A joint action fit to be played in every world, and on a GPU a flag [] bool: was something unavailable replaced?

    Raises ValueError for a wrong shape or type and, on the CPU, for an unavailable action in a running world. Where
    nothing can be raised (a GPU is not waited for; a finished world ignores its actions) a number outside 0..A-1
    becomes the nearest one inside, so that no table is read beyond its end.
    """
    discrete, b = isinstance(spec.actions, Discrete), len(running)
    want = (b, spec.n_agents) if discrete else (b, spec.n_agents, spec.actions.dim)
    if not isinstance(actions, Tensor) or tuple(actions.shape) != want:
        got = f"shape {list(actions.shape)}" if isinstance(actions, Tensor) else f"a {type(actions).__name__}"
        raise ValueError(f"{spec.name} expects actions as a tensor of shape {list(want)}, got {got}.")
    actions = actions.to(running.device)
    if discrete:
        if actions.is_floating_point() or actions.is_complex() or actions.dtype == torch.bool:
            raise ValueError(f"{spec.name} expects whole-number actions (dtype long), got {actions.dtype}.")
        asked = actions
        actions = asked.long().clamp(0, spec.actions.n - 1)
        bad = asked != actions
        if avail is not None:
            bad = bad | ~avail.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        problem = "is not available: choose only where Observation.avail is True"
    else:
        asked = actions
        finite = torch.isfinite(asked)
        actions = torch.where(finite, asked, torch.zeros_like(asked)).float()
        bad = ~finite.all(-1)
        problem = "is not finite: look for a division by zero or a diverged network"
    bad = bad & running.unsqueeze(-1)
    if running.device.type != "cpu":
        return actions, bad.any()
    if bad.any():
        world, agent = bad.nonzero()[0].tolist()
        raise ValueError(
            f"Agent {agent} in world {world} of {spec.name} played {asked[world, agent].tolist()}, which {problem}."
        )
    return actions, None


class World:
    """Base of the library's own worlds; it satisfies :class:`marlcourse.core.VecEnv`.

    Subclasses set ``self.spec`` before calling ``super().__init__`` with all their options (so that ``fresh`` can copy
    them) and define:

    * ``_draw_start() -> {name: [B,...]}`` and ``_draw_step()``: ALL randomness of the world, drawn from
      ``self.generator`` for every world at once; a parity test overrides them to inject another implementation's draws;
    * ``_start(draws) -> state``: first state of every world;
    * ``_advance(state, actions, draws) -> (state, reward [B], terminated [B] bool, info)``;
    * ``_observe(state) -> Observation``; ``frame(index)``.
    """

    spec: EnvSpec

    def __init__(self, num_envs: int = 1, device="auto", seed: int = 0, **options):
        self.num_envs, self.device, self.options = whole("num_envs", num_envs, 1), pick_device(device), options
        self.generator = torch.Generator(self.device).manual_seed(whole("seed", seed))
        if self.device.type == "cpu":
            keep_freed_memory()  # thousands of worlds make megabytes of new observations at every step
        self.running = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self.clock = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self.illegal = torch.zeros((), dtype=torch.bool, device=self.device)
        self.state: dict[str, Tensor] | None = None
        self.latest: Observation | None = None  # what the last step showed, as long as it is true

    def _draw_start(self) -> dict[str, Tensor]:
        return {}

    def _draw_step(self) -> dict[str, Tensor]:
        return {}

    def _start(self, draws: dict[str, Tensor]) -> dict[str, Tensor]:
        raise NotImplementedError

    def _advance(self, state, actions: Tensor, draws) -> tuple[dict[str, Tensor], Tensor, Tensor, dict[str, Tensor]]:
        raise NotImplementedError

    def _observe(self, state: dict[str, Tensor]) -> Observation:
        raise NotImplementedError

    def reset(self, seed: int | None = None, where: Tensor | None = None) -> Observation:
        """Begin episodes, in all worlds or where ``where`` [B] bool holds; a seed restarts the generator."""
        if seed is not None:
            if not isinstance(seed, int):
                raise TypeError(f"reset(seed=...) takes a whole number, not {seed!r}.")
            self.generator.manual_seed(seed)
        if where is not None and (where.dtype != torch.bool or where.shape != self.running.shape):
            raise ValueError(
                f"reset(where=...) takes a bool tensor of shape [{self.num_envs}], one entry per world, "
                f"not {where.dtype} of shape {list(where.shape)}."
            )
        if where is not None and self.state is not None and self.device.type == "cpu" and not where.any():
            # Nobody begins: nothing is drawn, and the last step's observation stands (a GPU would have to be asked, and waits).
            return self._observe(self.state) if self.latest is None else self.latest
        draws = self._draw_start()
        where = torch.ones_like(self.running) if where is None else where
        self.clock = torch.where(where, 0, self.clock)
        self.running = self.running | where
        if self._takes_any_rows and self.latest is not None and self.device.type == "cpu":
            self._restart(where.nonzero().squeeze(-1), draws)
        else:
            start = self._start(draws)
            self.state = start if self.state is None else _choose(where, start, self.state)
            self.latest = self._observe(self.state)
        return self.latest

    def _restart(self, rows: Tensor, draws: dict[str, Tensor]) -> None:
        """Begin episodes in the worlds ``rows`` [R] only; what the others show is copied from the last step."""
        start = self._start({k: v[rows] for k, v in draws.items()})
        self.state = {k: v.index_copy(0, rows, start[k]) for k, v in self.state.items()}
        (obs, state, avail), new = self.latest, self._observe(start)
        obs = obs.index_copy(0, rows, new.obs)
        state = obs.flatten(1) if self.spec.state_is_obs else state.index_copy(0, rows, new.state)
        self.latest = Observation(obs, state, None if avail is None else avail.index_copy(0, rows, new.avail))

    def step(self, actions: Tensor) -> Step:
        """Play one joint action per world; finished worlds stand still with reward 0."""
        if self.state is None:
            raise RuntimeError("Call reset() before step().")
        actions = self._checked(actions)
        new, reward, terminated, info = self._advance(self.state, actions, self._draw_step())
        if not (self.device.type == "cpu" and self.running.all()):  # else all play (a GPU would have to be asked, and waits)
            new = _choose(self.running, new, self.state)
            reward = torch.where(self.running, reward, 0.0)
            info = {k: torch.where(self.running, v, torch.zeros_like(v)) for k, v in info.items()}
        self.state = new
        self.clock = self.clock + self.running
        terminated = terminated & self.running
        truncated = (self.clock >= self.spec.episode_limit) & self.running & ~terminated
        self.running = self.running & ~(terminated | truncated)
        self.latest = self._observe(self.state)
        return Step(self.latest, reward, terminated, truncated, info)

    def _checked(self, actions: Tensor) -> Tensor:
        """The joint action, refused at once on the CPU, marked by a flag on a GPU, where it cannot be played."""
        avail = self._observe(self.state).avail if self._masks_actions else None
        actions, bad = check_actions(self.spec, actions, self.running, avail)
        if bad is not None:
            self.illegal = self.illegal | bad
        return actions

    _masks_actions = False  # True in a world whose ``avail`` is not all True
    _takes_any_rows = False  # True in a world whose ``_start`` and ``_observe`` take draws and states of any number of worlds

    def raise_if_illegal(self) -> None:
        """Read the flag that unavailable actions set on a GPU (it waits; ``collect`` calls it at its end)."""
        if bool(self.illegal):
            self.illegal = torch.zeros_like(self.illegal)
            raise ValueError(
                f"An unavailable action was played in {self.spec.name}: choose only where Observation.avail is True."
            )

    def fresh(self, num_envs: int | None = None, seed: int = 0) -> World:
        """An independent copy with the same options."""
        num_envs = self.num_envs if num_envs is None else num_envs
        return type(self)(num_envs=num_envs, device=self.device, seed=seed, **self.options)

    def frame(self, index: int = 0) -> np.ndarray:
        """A picture of one world, HxWx3 uint8."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        """Everything that (with the same options) fixes what follows: plain tensors."""
        return {
            "generator": self.generator.get_state(),
            "running": self.running,
            "clock": self.clock,
            "state": None if self.state is None else dict(self.state),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on exactly where :meth:`state_dict` was taken (same number of worlds)."""
        if len(state["running"]) != self.num_envs:
            raise ValueError(f"The saved state holds {len(state['running'])} worlds, this environment has {self.num_envs}.")
        self.generator.set_state(state["generator"].cpu())
        self.running, self.clock = state["running"].to(self.device), state["clock"].to(self.device)
        self.state = None if state["state"] is None else {k: v.to(self.device) for k, v in state["state"].items()}
        self.latest = None

    def close(self) -> None:
        """Nothing to release."""


_choose = where  # ``reset`` has an argument of that name
