"""PettingZoo's parallel API (Terry et al. 2021) in both directions.

:class:`FromPettingZoo`  a PettingZoo game as B worlds of this library: ``make("pettingzoo:<module>")``.
:class:`ToPettingZoo`    one world of this library as a PettingZoo game.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch

try:
    from gymnasium import spaces
    from pettingzoo import ParallelEnv
except ImportError:
    raise ModuleNotFoundError(
        'The package pettingzoo is not installed: run `pip install "pettingzoo>=1.24.3" "gymnasium>=0.28"`.', name="pettingzoo"
    ) from None

from ...core import Box, Discrete, EnvSpec, VecEnv
from .python_worlds import Played, PythonVecEnv, PythonWorld, Seen

LIMITS = ("max_cycles", "max_steps", "max_episode_steps", "_max_episode_steps", "episode_limit")  # usual attributes


def _make_game(source: Any, options: dict) -> Any:
    """Call ``parallel_env`` of a module, by name or itself, or a function that returns a ParallelEnv."""
    if isinstance(source, str):
        try:
            source = importlib.import_module(source)
        except ModuleNotFoundError as error:
            package = source.split(".")[0]
            if package in ("atari", "butterfly", "classic", "mpe", "sisl"):  # families, not packages of these names
                why = f"write its full name, such as pettingzoo.{source}; the mpe family is now a package, mpe2"
            elif error.name is not None and source.startswith(error.name):
                why = f"install its package first (`pip install {package}`) or correct its name"
            else:
                why = f"it needs {error.name}: run `pip install {error.name}`"
            raise ModuleNotFoundError(f"The PettingZoo module {source!r} cannot be imported: {why}.", name=error.name) from None
        except ImportError as error:
            raise ImportError(f"The PettingZoo module {source!r} cannot be imported: {error}") from None
    if isinstance(source, ModuleType):
        if not hasattr(source, "parallel_env"):
            raise ValueError(
                f"The module {source.__name__} has no parallel_env(): name one that has, such as mpe2.simple_spread_v3."
            )
        source = source.parallel_env
    if not callable(source):
        raise ValueError(
            f"Give a module's name, a module, or a function that returns a ParallelEnv, not a {type(source).__name__}."
        )
    if "render_mode" in options:
        return source(**options)
    try:
        return source(render_mode="rgb_array", **options)  # without it there are no pictures
    except TypeError as error:
        if "render_mode" not in str(error):
            raise
        return source(**options)


class _Actions:
    """All agents' actions as one Discrete or one Box, and back again."""

    def __init__(self, name: str, agents: list[str], game: Any):
        own = [game.action_space(a) for a in agents]
        if all(isinstance(space, spaces.Discrete) for space in own):
            self.first = [int(space.start) for space in own]
            self.sizes = np.array([int(space.n) for space in own])
            self.spec: Discrete | Box = Discrete(int(self.sizes.max()))
            self.exist = np.arange(self.spec.n) < self.sizes[:, None]  # [N,A]: actions that an agent has at all
        elif all(isinstance(space, spaces.Box) for space in own):
            self.own = own
            low = np.concatenate([space.low.ravel() for space in own])
            high = np.concatenate([space.high.ravel() for space in own])
            if not (np.isfinite(low).all() and np.isfinite(high).all()):
                raise ValueError(
                    f"{name} has actions without bounds: wrap it so that each action has a least and a greatest value."
                )
            self.as_they_are = len(set(low.tolist())) == 1 and len(set(high.tolist())) == 1
            bounds = (float(low[0]), float(high[0])) if self.as_they_are else (-1.0, 1.0)
            self.spec = Box(max(int(np.prod(space.shape)) for space in own), *bounds)
        else:
            kinds = ", ".join(sorted({type(space).__name__ for space in own}))
            raise ValueError(f"{name} has actions of kind {kinds}: only all Discrete or all Box can be played.")

    def of(self, i: int, action: np.ndarray) -> Any:
        """What agent ``i`` of the game understands; a continuous action is clipped to its bounds, or scaled from [-1, 1]."""
        if isinstance(self.spec, Discrete):
            return int(action) + self.first[i]
        space = self.own[i]
        action = action[: int(np.prod(space.shape))].reshape(space.shape)
        if not self.as_they_are:
            action = space.low + (np.clip(action, -1, 1) + 1) / 2 * (space.high - space.low)
        return np.clip(action, space.low, space.high).astype(space.dtype)


class PettingZooWorld(PythonWorld):
    """One PettingZoo game. Agents that are out see zeros, and their one available action, 0, is not passed on."""

    def __init__(self, source: Any, team_reward: str, episode_limit: int | None, options: dict):
        self.game = _make_game(source, options)
        name = f"pettingzoo:{source if isinstance(source, str) else type(self.game).__name__}"
        if not all(
            hasattr(self.game, method) for method in ("reset", "step", "possible_agents", "action_space", "observation_space")
        ):
            raise ValueError(
                f"{name} is not a PettingZoo ParallelEnv with a list possible_agents: only fixed teams can be learned."
            )
        if team_reward not in ("sum", "mean"):
            raise ValueError(f"team_reward must be 'sum' or 'mean' (over all agents), not {team_reward!r}.")
        self.agents = list(self.game.possible_agents)
        self.mean = team_reward == "mean"
        unwrapped = getattr(self.game, "unwrapped", self.game)
        found = (getattr(where, attribute, None) for attribute in LIMITS for where in (self.game, unwrapped))
        limit = episode_limit or next((int(x) for x in found if isinstance(x, (int, np.integer)) and x > 0), None)
        if limit is None:
            raise ValueError(f"{name} does not tell its time limit: give it, such as episode_limit=100.")
        self.actions = _Actions(name, self.agents, self.game)
        self.spaces = []
        for agent in self.agents:
            space = self.game.observation_space(agent)
            if isinstance(space, spaces.Dict) and "observation" in space.spaces:
                space = space["observation"]
            self.spaces.append(space)
        obs_dim = max(int(spaces.flatdim(space)) for space in self.spaces)
        n = len(self.agents)
        state = self._state_after_reset()
        state_dim = n * obs_dim if state is None else state.size
        self.state_is_obs = state is None
        self.spec = EnvSpec(name, n, obs_dim, state_dim, limit, self.actions.spec, self.state_is_obs)

    def _state_after_reset(self) -> np.ndarray | None:
        """The game's global state [S], or None where it has none."""
        self.game.reset(seed=0)
        try:
            return np.asarray(self.game.state(), np.float32).ravel() if callable(getattr(self.game, "state", None)) else None
        except (AttributeError, NotImplementedError):  # what PettingZoo's base classes answer
            return None

    def reset(self, seed: int) -> Seen:
        obs, infos = self.game.reset(seed=seed)
        return self._seen(obs, infos)

    def step(self, actions: np.ndarray) -> Played:
        live = list(self.game.agents)
        joint = {a: self.actions.of(i, actions[i]) for i, a in enumerate(self.agents) if a in live}
        obs, rewards, terminations, truncations, infos = self.game.step(joint)
        reward = float(sum(float(rewards.get(a, 0.0)) for a in self.agents))
        over = not self.game.agents or all(terminations.get(a) or truncations.get(a) for a in live)
        ended = over and all(terminations.get(a, False) for a in live)
        return Played(self._seen(obs, infos), reward / len(self.agents) if self.mean else reward, ended, over and not ended, {})

    def _seen(self, obs: dict, infos: dict) -> Seen:
        """All agents' rows. On the ending step nobody lives, and each mask is the one the game shows: a target may use it."""
        s = self.spec
        rows = np.zeros((s.n_agents, s.obs_dim), np.float32)
        discrete = isinstance(s.actions, Discrete)
        avail = np.zeros((s.n_agents, s.actions.n), bool) if discrete else None
        for i, agent in enumerate(self.agents):
            seen = obs.get(agent)
            if seen is None:
                continue  # out
            mask = infos.get(agent, {}).get("action_mask")
            if isinstance(seen, dict) and "observation" in seen:
                seen, mask = seen["observation"], seen.get("action_mask", mask)
            flat = spaces.flatten(self.spaces[i], seen)  # a Discrete observation becomes one-hot
            rows[i, : len(flat)] = flat
            if discrete and (agent in self.game.agents or not self.game.agents):
                avail[i] = self.actions.exist[i]
                if mask is not None:
                    avail[i, : len(mask)] &= np.asarray(mask, bool)
        if discrete:
            avail[~avail.any(-1), 0] = True
        state = None if self.state_is_obs else np.asarray(self.game.state(), np.float32).ravel()
        return Seen(rows, state, avail)

    def picture(self) -> np.ndarray:
        picture = self.game.render()
        if not isinstance(picture, np.ndarray):
            raise ValueError(f"{self.spec.name} draws no pictures: its render() gives {type(picture).__name__}.")
        return picture

    def close(self) -> None:
        self.game.close()


class FromPettingZoo(PythonVecEnv):
    """``num_envs`` copies of a PettingZoo game (parallel API); it satisfies :class:`marlcourse.core.VecEnv`.

    =============  =======================================================================================
    source         a module's name ("mpe2.simple_spread_v3"), a module, or a function returning a ParallelEnv
    team_reward    "sum" (default) or "mean" of the agents' rewards, over all possible agents
    episode_limit  the time limit, where the game does not tell it, or a shorter one
    workers        processes that play the worlds; 0: this one
    options        arguments of the game, such as ``N=3``
    =============  =======================================================================================

    Agents are ordered as in ``possible_agents``. obs [B,N,O] float32: flattened, zeros after the end of a shorter one
    and for an agent that is out (gone while others play on). state: the game's ``state()``, else the concatenated
    observations. avail: the mask in ``obs["action_mask"]`` or ``infos[agent]["action_mask"]``, else all of the agent's
    actions; an agent that is out, or whose mask is empty, has action 0 only. Box actions: the game's own bounds where all
    are equal, else [-1, 1], scaled to each bound. Terminated: all agents of the last step were terminated; truncated: the
    last ones ran out of time.
    """

    def __init__(
        self,
        source: str | ModuleType | Callable[..., Any],
        num_envs: int = 1,
        device="auto",
        seed: int = 0,
        workers: int = 0,
        team_reward: str = "sum",
        episode_limit: int | None = None,
        **options: Any,
    ):
        if isinstance(source, ModuleType):
            source = source.__name__  # a module cannot be sent to another process, its name can
        self.recipe = {"source": source, "team_reward": team_reward, "episode_limit": episode_limit, "options": options}
        super().__init__(functools.partial(PettingZooWorld, **self.recipe), num_envs, device, seed, workers)

    def fresh(self, num_envs: int | None = None, seed: int = 0) -> FromPettingZoo:
        """An independent copy in this process."""
        r = self.recipe
        return type(self)(
            r["source"],
            num_envs or self.num_envs,
            self.device,
            seed,
            team_reward=r["team_reward"],
            episode_limit=r["episode_limit"],
            **r["options"],
        )


class ToPettingZoo(ParallelEnv):
    """One world of this library as a PettingZoo ParallelEnv; agents are called agent_0, agent_1, ...

    Discrete actions: obs[agent] = {"observation": [O] float32, "action_mask": [A] int8}. Continuous actions: obs[agent] is
    the observation itself. Every agent receives the team's reward. ``env`` must have num_envs=1 and then belongs to the
    game: ``close`` closes it.
    """

    def __init__(self, env: VecEnv):
        if env.num_envs != 1:
            raise ValueError(f"PettingZoo plays one world at a time: make it with num_envs=1, not {env.num_envs}.")
        self.env, s = env, env.spec
        self.metadata = {"name": f"marlcourse/{s.name}", "render_modes": ["rgb_array"], "is_parallelizable": True}
        self.render_mode = "rgb_array"
        self.max_cycles = s.episode_limit
        self.possible_agents = [f"agent_{i}" for i in range(s.n_agents)]
        self.agents: list[str] = []
        self.state_space = spaces.Box(-np.inf, np.inf, (s.state_dim,), np.float32)
        self.observation_spaces, self.action_spaces = {}, {}
        for agent in self.possible_agents:
            seen = spaces.Box(-np.inf, np.inf, (s.obs_dim,), np.float32)
            if isinstance(s.actions, Discrete):
                mask = spaces.Box(0, 1, (s.actions.n,), np.int8)
                self.observation_spaces[agent] = spaces.Dict({"observation": seen, "action_mask": mask})
                self.action_spaces[agent] = spaces.Discrete(s.actions.n)
            else:
                self.observation_spaces[agent] = seen
                self.action_spaces[agent] = spaces.Box(s.actions.low, s.actions.high, (s.actions.dim,), np.float32)

    def observation_space(self, agent: str):
        return self.observation_spaces[agent]

    def action_space(self, agent: str):
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict | None = None):
        """(obs, infos) of a new episode; ``options`` are not used."""
        self.last = self.env.reset(seed=seed)
        self.agents = list(self.possible_agents)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]):
        """(obs, rewards, terminations, truncations, infos), each a dict by agent; all agents end together."""
        if not self.agents:
            raise RuntimeError("The episode is over: call reset() before step().")
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise ValueError(f"{self.env.spec.name} needs an action of every agent; {missing[0]} has none.")
        joint = torch.as_tensor(np.stack([actions[agent] for agent in self.agents]), device=self.env.device)[None]
        step = self.env.step(joint)
        self.last, agents = step.observation, self.agents
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        info = {name: x[0].item() for name, x in step.info.items()}
        if terminated or truncated:
            self.agents = []
        return (
            self._observations(),
            dict.fromkeys(agents, float(step.reward[0])),
            dict.fromkeys(agents, terminated),
            dict.fromkeys(agents, truncated),
            {agent: dict(info) for agent in agents},
        )

    def _observations(self) -> dict[str, Any]:
        obs = self.last.obs[0].cpu().numpy().copy()
        if self.last.avail is None:
            return dict(zip(self.possible_agents, obs))
        masks = self.last.avail[0].cpu().numpy().astype(np.int8)
        return {a: {"observation": o, "action_mask": m} for a, o, m in zip(self.possible_agents, obs, masks)}

    def state(self) -> np.ndarray:
        """The global state [S] float32."""
        return self.last.state[0].cpu().numpy().copy()

    def render(self) -> np.ndarray:
        """HxWx3 uint8."""
        return self.env.frame(0)

    def close(self) -> None:
        self.env.close()


def parallel_env(world: str = "two-step", render_mode: str | None = "rgb_array", **options: Any) -> ToPettingZoo:
    """A world of this library by name, as PettingZoo's modules offer theirs: ``parallel_env(world="matrix/qtran")``."""
    from .. import make

    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode must be 'rgb_array', not {render_mode!r}: for an animation use marlcourse.watch.")
    return ToPettingZoo(make(world, num_envs=1, device="cpu", **options))
