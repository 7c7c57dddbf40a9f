"""``check_env``: does a world keep the VecEnv contract? The first broken rule is named in one sentence."""

from __future__ import annotations

import random
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from ..core import Box, Discrete, EnvSpec, Observation, Step, VecEnv

METHODS = ("reset", "step", "fresh", "frame", "state_dict", "load_state_dict", "close")


def check_env(env: VecEnv, steps: int | None = None, seed: int = 0) -> None:
    """Drive a world with random available actions and raise ValueError naming the shape, dtype or rule it breaks.

    ``steps``: how many steps are played (default: two episodes at the time limit and a little more). Played are
    ``env`` itself, which is left freshly reset, and copies of it. A world of your own that passes works with every
    algorithm of the library. Returns None.
    """
    _Check(env, seed).run(steps)


class _Check:
    """The rules, in the order in which a broken one is easiest to mend."""

    def __init__(self, env: VecEnv, seed: int):
        self.env, self.seed = env, seed
        self.spec = getattr(env, "spec", None)
        self.name = getattr(self.spec, "name", type(env).__name__)
        self.generator = torch.Generator().manual_seed(seed)  # of the actions

    def fail(self, sentence: str) -> NoReturn:
        raise ValueError(f"{self.name}: {sentence}.")

    def run(self, steps: int | None) -> None:
        self.attributes()
        steps = 2 * self.spec.episode_limit + 3 if steps is None else steps
        before = _global_random()
        record = self.play(steps)
        if not _same(before, _global_random()):
            self.fail("it moves a global random generator (random, numpy.random or torch): draw from a generator of its own")
        self.replay(
            self.env,
            record,
            "the same seed and actions give other episodes the second time: something carries over, or draws elsewhere",
        )
        self.copies(record)
        self.saving()
        self.bad_actions()
        self.pictures()
        self.env.reset(seed=self.seed)

    # ------------------------------------------------------------------ what stands still

    def attributes(self) -> None:
        env, s = self.env, self.spec
        if not isinstance(s, EnvSpec):
            self.fail(f"spec must be an EnvSpec, not {type(s).__name__}")
        missing = [m for m in METHODS if not callable(getattr(env, m, None))]
        if missing:
            self.fail(f"the method {missing[0]}() is missing")
        if not isinstance(env.device, torch.device):
            self.fail(f"device must be a torch.device, not {type(env.device).__name__}")
        if not isinstance(env.num_envs, int) or env.num_envs < 1:
            self.fail(f"num_envs must be a whole number of at least 1, not {env.num_envs!r}")
        for name in ("n_agents", "obs_dim", "state_dim", "episode_limit"):
            value = getattr(s, name)
            if not isinstance(value, int) or value < 1:
                self.fail(f"spec.{name} must be a whole number of at least 1, not {value!r}")
        if not isinstance(s.actions, (Discrete, Box)):
            self.fail(f"spec.actions must be Discrete(n) or Box(dim, low, high), not {type(s.actions).__name__}")
        if s.state_is_obs and s.state_dim != s.n_agents * s.obs_dim:
            self.fail(f"with state_is_obs, state_dim must be n_agents * obs_dim = {s.n_agents * s.obs_dim}, not {s.state_dim}")

    # ------------------------------------------------------------------ shapes

    def tensor(self, what: str, x: Any, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        if not isinstance(x, Tensor):
            self.fail(f"{what} must be a tensor, not {type(x).__name__}")
        if tuple(x.shape) != shape:
            self.fail(f"{what} must have shape {list(shape)}, but has {list(x.shape)}")
        if x.dtype != dtype:
            self.fail(f"{what} must have dtype {str(dtype)[6:]}, but has {str(x.dtype)[6:]}")
        if x.device.type != self.env.device.type:
            self.fail(f"{what} must be on the world's device {self.env.device}, but is on {x.device}")
        if x.is_floating_point() and not bool(torch.isfinite(x).all()):
            self.fail(f"{what} must be finite, but holds NaN or infinity")

    def observation(self, o: Any, after: str) -> None:
        s, b = self.spec, self.env.num_envs
        if not isinstance(o, Observation):
            self.fail(f"{after} must give an Observation, not {type(o).__name__}")
        self.tensor(f"obs after {after}", o.obs, (b, s.n_agents, s.obs_dim), torch.float32)
        self.tensor(f"state after {after}", o.state, (b, s.state_dim), torch.float32)
        if s.state_is_obs and not torch.equal(o.state, o.obs.flatten(1)):
            self.fail(f"spec.state_is_obs is True, but the state after {after} is not the concatenated observations")
        if isinstance(s.actions, Box):
            if o.avail is not None:
                self.fail("avail must be None, because the actions are continuous")
            return
        if o.avail is None:
            self.fail(f"avail after {after} must be a tensor, not None: the actions are discrete")
        self.tensor(f"avail after {after}", o.avail, (b, s.n_agents, s.actions.n), torch.bool)
        empty = (~o.avail.any(-1)).nonzero()
        if len(empty):
            world, agent = empty[0].tolist()
            self.fail(
                f"avail after {after} has no True for agent {agent} in world {world}: "
                "something must stay available, also when it is over"
            )

    def step_result(self, step: Any) -> None:
        b = self.env.num_envs
        if not isinstance(step, Step):
            self.fail(f"step() must give a Step, not {type(step).__name__}")
        self.observation(step.observation, "step()")
        self.tensor("reward", step.reward, (b,), torch.float32)
        self.tensor("terminated", step.terminated, (b,), torch.bool)
        self.tensor("truncated", step.truncated, (b,), torch.bool)
        if bool((step.terminated & step.truncated).any()):
            self.fail(
                "terminated and truncated are both True in one world: "
                "an episode that ends by itself at the limit is terminated only"
            )
        if not isinstance(step.info, dict):
            self.fail(f"info must be a dict, not {type(step.info).__name__}")
        for name, x in step.info.items():
            if not isinstance(x, Tensor) or tuple(x.shape) != (b,):
                self.fail(f"info[{name!r}] must be a tensor of shape [{b}]")

    # ------------------------------------------------------------------ playing

    def actions(self, o: Observation) -> Tensor:
        """A random available joint action, drawn on the host so that it does not depend on the device."""
        s, b = self.spec, self.env.num_envs
        if isinstance(s.actions, Box):
            u = torch.rand(b, s.n_agents, s.actions.dim, generator=self.generator)
            return (s.actions.low + u * (s.actions.high - s.actions.low)).to(self.env.device)
        u = torch.rand(b, s.n_agents, s.actions.n, generator=self.generator)
        return torch.where(o.avail.cpu(), u, -1.0).argmax(-1).to(self.env.device)

    def play(self, steps: int) -> list[tuple[Any, ...]]:
        """Play, look at all that comes back, and write it down: ("reset", where, o) and ("step", actions, step)."""
        env, b = self.env, self.env.num_envs
        o = env.reset(seed=self.seed)
        self.observation(o, "reset()")
        record: list[tuple[Any, ...]] = [("reset", None, _copy(o))]
        running = torch.ones(b, dtype=torch.bool, device=env.device)
        clock = torch.zeros(b, dtype=torch.long, device=env.device)
        stood = 0  # steps since somebody finished: finished worlds are watched for two steps, then begun again
        for _ in range(steps):
            kept, kept_copy = o, _copy(o)
            actions = self.actions(o)
            given = actions.clone()
            step = env.step(actions)
            if not torch.equal(actions, given):
                self.fail("step() changes the tensor of actions that it was given")
            self.step_result(step)
            if not _same(kept, kept_copy):
                self.fail("an observation handed out earlier changed during step(): return new tensors, not views of a buffer")
            record.append(("step", given, _copy(step)))
            self.standing_still(running, kept_copy, step)
            o, done = step.observation, step.terminated | step.truncated
            clock = clock + running
            running = running & ~done
            late = running & (clock >= self.spec.episode_limit)
            if bool(late.any()):
                self.fail(
                    f"world {int(late.nonzero()[0])} goes on after step {self.spec.episode_limit}, spec.episode_limit: "
                    "truncated must be True there"
                )
            stood = stood + 1 if not bool(running.all()) else 0
            if stood > 2 or (stood and b == 1 and stood > 1):
                o = self.begin_again(~running, o)
                record.append(("reset", ~running, _copy(o)))
                clock, running, stood = torch.where(running, clock, 0), torch.ones_like(running), 0
        return record

    def standing_still(self, running: Tensor, before: Observation, step: Step) -> None:
        for world in (~running).nonzero().flatten().tolist():
            if float(step.reward[world]) != 0:
                self.fail(
                    f"world {world} has ended, yet step() gives it the reward {float(step.reward[world]):g}: "
                    "it must be 0 until reset"
                )
            for name in ("terminated", "truncated"):
                if bool(getattr(step, name)[world]):
                    self.fail(f"{name} is True for world {world} after its ending step: it must be True on that step only")
            if not _same(_row(before, world), _row(step.observation, world)):
                self.fail(
                    f"world {world} has ended, yet its observation changes: "
                    "it must stand still, and never restart by itself, until reset"
                )

    def begin_again(self, where: Tensor, before: Observation) -> Observation:
        before = _copy(before)
        o = self.env.reset(where=where)
        self.observation(o, "reset(where=...)")
        for world in (~where).nonzero().flatten().tolist():
            if not _same(_row(before, world), _row(o, world)):
                self.fail(f"reset(where=...) changed world {world}, which was not chosen")
        return o

    def replay(self, env: VecEnv, record: list[tuple[Any, ...]], problem: str) -> None:
        for kind, given, then in record:
            if kind == "step":
                now = env.step(given.clone())
            else:
                now = env.reset(seed=self.seed) if given is None else env.reset(where=given)
            if not _same(then, now):
                self.fail(problem)

    # ------------------------------------------------------------------ copies, saving, pictures, bad actions

    def copies(self, record: list[tuple[Any, ...]]) -> None:
        """A fresh copy is the same world, and the two do not disturb each other."""
        env, s = self.env, self.spec
        copy = env.fresh(seed=self.seed + 1)
        try:
            if copy is env:
                self.fail("fresh() must give an independent copy, not the world itself")
            if copy.spec != s or copy.num_envs != env.num_envs:
                self.fail("fresh() must give a world with the same spec, and with num_envs as asked for (default: the same)")
            self.replay(copy, record, "fresh() is another world: the same seed and actions give different episodes there")
            env.reset(seed=self.seed)
            half = max(1, len(record) // 2)
            for part in (record[1:half], record[half:]):
                copy.step(self.actions(copy.reset(seed=self.seed + 2)))
                self.replay(env, part, "playing in the copy that fresh() gave changes the original: they share something")
        finally:
            copy.close()
        small = env.fresh(num_envs=1 if env.num_envs > 1 else 2)
        try:
            if small.num_envs == env.num_envs or len(small.reset(seed=0).obs) != small.num_envs:
                self.fail("fresh(num_envs=...) must give a world with that many copies")
        finally:
            small.close()

    def saving(self) -> None:
        """state_dict, more steps, load_state_dict: the same steps again, in this world and in a copy."""
        env = self.env
        o = env.reset(seed=self.seed)
        for _ in range(min(3, self.spec.episode_limit - 1)):
            o = env.step(self.actions(o)).observation
        saved = env.state_dict()
        self.plain(saved, "state_dict()")
        record: list[tuple[Any, ...]] = []
        for _ in range(min(6, self.spec.episode_limit + 1)):
            actions = self.actions(o)
            step = env.step(actions)
            record.append(("step", actions, _copy(step)))
            o, done = step.observation, step.terminated | step.truncated
            if bool(done.any()):
                o = env.reset(where=done)
                record.append(("reset", done, _copy(o)))
        copy = env.fresh(seed=self.seed + 3)
        try:
            for world in (env, copy):
                world.load_state_dict(saved)
                which = "" if world is env else " in a fresh copy"
                self.replay(
                    world,
                    record,
                    f"after load_state_dict(state_dict()) the same actions give something else{which}: "
                    "the state is incomplete, or shared and overwritten",
                )
        finally:
            copy.close()

    def plain(self, x: Any, where: str) -> None:
        if isinstance(x, dict):
            for key, value in x.items():
                self.plain(key, where)
                self.plain(value, f"{where}[{key!r}]")
        elif isinstance(x, (list, tuple)):
            for value in x:
                self.plain(value, where)
        elif type(x) not in (Tensor, int, float, bool, str, bytes, type(None)):
            self.fail(f"{where} holds a {type(x).__name__}: checkpoints hold tensors, numbers, strings, lists and dicts only")

    def bad_actions(self) -> None:
        env, s = self.env, self.spec
        o = env.reset(seed=self.seed)
        try:
            env.step(torch.zeros(env.num_envs, s.n_agents + 1, dtype=torch.long, device=env.device))
        except ValueError:
            pass
        except Exception as error:
            self.fail(f"actions of the wrong shape raise {type(error).__name__} instead of a ValueError that names the shape")
        else:
            self.fail("actions of the wrong shape are accepted: raise a ValueError that names the shape")
        if env.device.type != "cpu" or o.avail is None or bool(o.avail.all()):
            return  # on a GPU unavailable actions set a flag, which is read when collect ends
        o = env.reset(seed=self.seed)
        try:
            env.step(torch.where(o.avail.all(-1), 0, o.avail.int().argmin(-1)))
        except ValueError:
            return
        self.fail("an unavailable action is accepted: raise a ValueError that names the agent")

    def pictures(self) -> None:
        self.env.reset(seed=self.seed)
        for index in {0, self.env.num_envs - 1}:
            picture = self.env.frame(index)
            if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                got = f"{picture.dtype} {list(picture.shape)}" if isinstance(picture, np.ndarray) else type(picture).__name__
                self.fail(f"frame() must give a NumPy array HxWx3 of uint8, but gives {got}")


def _copy(x: Any) -> Any:
    """A deep copy of tensors in tuples and dicts."""
    if isinstance(x, Tensor):
        return x.clone()
    if isinstance(x, dict):
        return {k: _copy(v) for k, v in x.items()}
    return type(x)(*map(_copy, x)) if isinstance(x, (Observation, Step)) else x


def _row(o: Observation, world: int) -> tuple[Tensor | None, ...]:
    return tuple(None if x is None else x[world] for x in o)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


def _global_random() -> tuple:
    return random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002  only looked at
