"""The games of ma-gym 0.0.14 (Koul 2019) as ``ma-gym/<id>``: Lumberjacks, TrafficJunction, Switch, Checkers and others.

What the adapter decides, where ma-gym leaves it open (as EPyMARL's wrapper does):

* observations are padded with zeros to the longest; the state is the concatenation of all observations;
* all actions are always available; the team's reward is the sum over agents;
* an episode is terminated when all agents are done before the time limit, and truncated at the time limit.

What ma-gym's own code does that a reader should know:

* Every episode depends on its seed alone: the game object is put back to one snapshot before each reset, because ma-gym
  carries things over (Lumberjacks' first reset is not shuffled; TrafficJunction keeps routes of the last episode).
* TrafficJunction draws from Python's global ``random``. Here each world has a ``random.Random`` of its own.
* Lumberjacks: the last row and column cannot be entered, so practically every episode lasts until the time limit.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import importlib.util
import logging
import random
import sys
import warnings

import numpy as np

from ...core import Discrete, EnvSpec, suggest
from .gym_standin import old_gym
from .python_worlds import Played, PythonVecEnv, PythonWorld, Seen

PLAIN = (bool, int, float, str, type(None), list, tuple, dict, np.ndarray)


@functools.cache
def _registry() -> dict[str, tuple[str, dict]]:
    """{id: (module:class, arguments)} of ma-gym's own games. Raises ModuleNotFoundError with the fix."""
    if importlib.util.find_spec("ma_gym") is None:
        raise ModuleNotFoundError("The package ma-gym is not installed: run `marlcourse install ma-gym`.", name="ma_gym")
    with old_gym(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its docstrings hold invalid escapes
        ma_gym = importlib.import_module("ma_gym")
    registry = ma_gym.register.__globals__["registry"]  # of whichever gym ma-gym was imported with
    own = (s for s in registry.all() if str(s.entry_point).startswith("ma_gym.envs.") and "openai" not in s.entry_point)
    return {spec.id: (spec.entry_point, dict(spec._kwargs)) for spec in own}


def games() -> list[str]:
    """The ids that ma-gym registers."""
    return sorted(_registry())


class MaGymWorld(PythonWorld):
    """One game of ma-gym. ``episode_limit`` cuts from outside and leaves the game's own ``max_steps`` as it is."""

    def __init__(self, id: str, episode_limit: int | None = None, **options):
        known = _registry()
        if id not in known:
            raise ValueError(f"Unknown ma-gym game {id!r}: {suggest(id, known)}")
        entry_point, arguments = known[id]
        module_name, class_name = entry_point.split(":")
        with old_gym(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            game_class = getattr(importlib.import_module(module_name), class_name)
        self.module = sys.modules[game_class.__module__]
        logging.getLogger(self.module.__name__).setLevel(logging.ERROR)  # Lumberjacks warns at every reset, wrongly
        self.random = random.Random(0)
        try:
            with self._own_random():
                self.game = game_class(**{**arguments, **options})
        except (TypeError, AssertionError) as error:
            raise ValueError(f"{id} does not take these options: {error}.") from None
        own_limit = getattr(self.game, "_max_steps", None)
        limit = min((x for x in (own_limit, episode_limit) if x), default=None)
        if limit is None:
            raise ValueError(f"{id} has no time limit of its own: give one, such as episode_limit=500.")
        n, spaces = self.game.n_agents, self.game.observation_space
        obs_dim = max(int(np.prod(space.shape)) for space in spaces)
        self.sizes = [space.n for space in self.game.action_space]
        self.spec = EnvSpec(f"ma-gym/{id}", n, obs_dim, n * obs_dim, limit, Discrete(max(self.sizes)), state_is_obs=True)
        self.avail = np.arange(max(self.sizes)) < np.array(self.sizes)[:, None]
        self.own_limit, self.clock = own_limit, 0
        with self._own_random():
            self.game.seed(0)
            self.game.reset()
        self.snapshot = {name: copy.deepcopy(value) for name, value in vars(self.game).items() if type(value) in PLAIN}

    @contextlib.contextmanager
    def _own_random(self):
        """Put this world's generator where the game's module keeps Python's global one."""
        if getattr(self.module, "random", None) is None:
            yield
            return
        theirs, self.module.random = self.module.random, self.random
        try:
            yield
        finally:
            self.module.random = theirs

    def reset(self, seed: int) -> Seen:
        vars(self.game).update(copy.deepcopy(self.snapshot))
        self.random.seed(seed)
        self.clock = 0
        with self._own_random():
            self.game.seed(seed)
            return self._seen(self.game.reset())

    def step(self, actions: np.ndarray) -> Played:
        with self._own_random():
            obs, rewards, dones, info = self.game.step(actions.tolist())
        self.clock += 1
        over = all(dones)
        in_time = self.own_limit is None or self.clock < self.own_limit
        numbers = {k: float(v) for k, v in info.items() if isinstance(v, (int, float, np.integer, np.floating))}
        return Played(self._seen(obs), float(np.sum(rewards)), over and in_time, over and not in_time, numbers)

    def _seen(self, obs: list) -> Seen:
        if len({len(o) for o in obs}) == 1 and len(obs[0]) == self.spec.obs_dim:
            return Seen(np.array(obs, np.float32), avail=self.avail)
        padded = np.zeros((self.spec.n_agents, self.spec.obs_dim), np.float32)
        for row, o in zip(padded, obs):
            row[: len(o)] = o
        return Seen(padded, avail=self.avail)

    def picture(self) -> np.ndarray:
        return self.game.render(mode="rgb_array")

    def close(self) -> None:
        with contextlib.suppress(Exception):  # some games close a window that was never opened
            self.game.close()


class MaGym(PythonVecEnv):
    """``num_envs`` copies of a ma-gym game; it satisfies :class:`marlcourse.core.VecEnv`.

    =============  =======================================================================================
    id             a name of ma-gym, such as "Lumberjacks-v0" (v0: each agent its own view; v1: all views)
    workers        processes that play the worlds; 0: this one
    episode_limit  cut episodes here from outside, as EPyMARL's ``time_limit`` does (its template says 25)
    options        arguments of the game's class, such as ``max_steps=50`` or ``n_agents=3``
    =============  =======================================================================================

    obs [B,N,O] float32 padded to the longest; state [B,N*O] = the observations; info: plain numbers that the game
    reports, such as ``step_collisions`` [B]. Raises ModuleNotFoundError without ma-gym, ValueError for an unknown id.
    """

    def __init__(
        self,
        id: str,
        num_envs: int = 1,
        device="auto",
        seed: int = 0,
        workers: int = 0,
        episode_limit: int | None = None,
        **options,
    ):
        self.recipe = {"id": id, "episode_limit": episode_limit, **options}
        super().__init__(functools.partial(MaGymWorld, **self.recipe), num_envs, device, seed, workers)

    def fresh(self, num_envs: int | None = None, seed: int = 0) -> MaGym:
        """An independent copy in this process."""
        return type(self)(num_envs=num_envs or self.num_envs, device=self.device, seed=seed, **self.recipe)
