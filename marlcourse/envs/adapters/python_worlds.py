"""Games written in plain Python as one :class:`~marlcourse.core.VecEnv`: side by side in this process, or in workers.

What an adapter has to bring is :class:`PythonWorld`, ONE game with NumPy arrays. This file does the rest: seeds,
standing still, time limits, tensors, saving, worker processes.

Seeds: world w plays its k-th episode since ``reset(seed)`` from ``derive_seed(seed, "world", w, k)`` and from nothing
else, so an episode does not depend on what was played before, nor on the number of workers.
Saving: such a game cannot be asked for its inner state. ``state_dict`` holds the seed and the actions of the running
episode, and ``load_state_dict`` plays these again: exact at any step, in tensors and plain numbers alone.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...config import whole
from ...core import Discrete, EnvSpec, Observation, Step
from ...device import pick_device
from ...seeds import derive_seed
from ..base import check_actions

COUNTERS = ("episodes", "episode_seed", "clock", "running")


class Seen(NamedTuple):
    """What one world shows: obs [N,O]; state [S] (None: the observations); avail [N,A] bool (None: all)."""

    obs: np.ndarray
    state: np.ndarray | None = None
    avail: np.ndarray | None = None


class Played(NamedTuple):
    """What one step of one world brings; ``info`` holds plain numbers."""

    seen: Seen
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, float]


class PythonWorld:
    """One game. An adapter sets ``spec`` (of this one game) and defines these methods."""

    spec: EnvSpec

    def reset(self, seed: int) -> Seen:
        """Begin an episode that depends on ``seed`` (0 <= seed < 2**31) and on nothing else."""
        raise NotImplementedError

    def step(self, actions: np.ndarray) -> Played:
        """Play a joint action: [N] int64, or [N,D] float32."""
        raise NotImplementedError

    def picture(self) -> np.ndarray:
        """HxWx3 uint8."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what the game holds."""


class Host:
    """Some of an environment's worlds, by index. Every method takes and returns dicts {index: ...}."""

    def __init__(self, make_world: Callable[[], PythonWorld], indices: list[int]):
        self.worlds = {i: make_world() for i in indices}

    def reset(self, seeds: dict[int, int]) -> dict[int, Seen]:
        return {i: self.worlds[i].reset(seed) for i, seed in seeds.items()}

    def step(self, actions: dict[int, np.ndarray]) -> dict[int, Played]:
        return {i: self.worlds[i].step(a) for i, a in actions.items()}

    def replay(self, episodes: dict[int, tuple[int, np.ndarray]]) -> dict[int, Seen]:
        """Play episodes again from their seed and the actions [t,N,...] so far; what they show now."""
        seen = {}
        for i, (seed, actions) in episodes.items():
            seen[i] = self.worlds[i].reset(seed)
            for a in actions:
                seen[i] = self.worlds[i].step(a).seen
        return seen

    def picture(self, which: dict[int, None]) -> dict[int, np.ndarray]:
        return {i: self.worlds[i].picture() for i in which}

    def close(self) -> None:
        for world in self.worlds.values():
            world.close()


def _serve(connection, make_world: bytes, indices: list[int]) -> None:
    """The life of a worker process: answer (ticket, method, argument) until the line closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stop button is for the process that trains
    host, problem = None, ""
    try:
        host = Host(pickle.loads(make_world), indices)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    while True:
        try:
            ticket, method, argument = connection.recv()
        except (EOFError, OSError):
            break
        try:
            answer = (ticket, problem, None) if host is None else (ticket, "", getattr(host, method)(argument))
        except Exception as error:
            answer = (ticket, f"{type(error).__name__}: {error}", None)
        try:
            connection.send(answer)
        except OSError:
            break
    if host is not None:
        host.close()


class Worker:
    """A Host in a process of its own. ``ask`` sends a question, ``answer`` waits for what came back."""

    def __init__(self, make_world: bytes, indices: list[int], name: str):
        context = multiprocessing.get_context("spawn")  # the one way that exists on every system
        self.indices, self.name, self.ticket, self.answered = indices, name, 0, False
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make_world, indices), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, method: str, argument: Any) -> None:
        self.ticket += 1
        try:
            self.connection.send((self.ticket, method, argument))
        except OSError:
            raise self._dead() from None

    def answer(self) -> Any:
        while True:
            try:
                while not self.connection.poll(0.5):
                    if not self.process.is_alive() and not self.connection.poll(0):
                        raise self._dead()
                ticket, problem, value = self.connection.recv()
            except (EOFError, OSError):
                raise self._dead() from None
            self.answered = True
            if ticket == self.ticket:  # older ones are left over from a call that was interrupted
                break
        if problem:
            raise RuntimeError(f"World {self._which()} of {self.name} failed in its worker process with {problem}")
        return value

    def _which(self) -> str:
        first, last = self.indices[0], self.indices[-1]
        return f"{first}" if first == last else f"{first} to {last}"

    def _dead(self) -> RuntimeError:
        self.process.join(1)
        hint = (
            "make the environment anew, with fewer workers where memory is short"
            if self.answered
            else 'in a script, put the code that makes it under `if __name__ == "__main__":`, or use workers=0'
        )
        code = self.process.exitcode
        return RuntimeError(f"The worker process of world {self._which()} of {self.name} has died (exit code {code}): {hint}.")

    def close(self) -> None:
        self.connection.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(5)


def _close(hosts: list[Host | Worker]) -> None:
    while hosts:
        hosts.pop().close()


class PythonVecEnv:
    """``num_envs`` Python worlds behind the VecEnv contract; subclasses only say how one world is made.

    make_world  zero-argument function that makes one :class:`PythonWorld`; with workers it must be picklable
    workers     0: all worlds in this process; k: in k processes, which costs seconds to start and pays off where a step
                takes a millisecond or more. The results are the same bit for bit.
    """

    spec: EnvSpec

    def __init__(
        self, make_world: Callable[[], PythonWorld], num_envs: int = 1, device="auto", seed: int = 0, workers: int = 0
    ):
        self.num_envs, self.device = whole("num_envs", num_envs, 1), pick_device(device)
        if whole("workers", workers) < 0:
            raise ValueError(f"workers must be 0 (all worlds in this process) or more, not {workers}.")
        self.workers = min(int(workers), self.num_envs)
        shares = np.array_split(np.arange(self.num_envs), max(self.workers, 1))
        self.hosts: list[Host | Worker] = []
        self._closer = weakref.finalize(self, _close, self.hosts)
        if self.workers == 0:
            self.hosts.append(Host(make_world, list(range(self.num_envs))))
            self.spec = self.hosts[0].worlds[0].spec
        else:
            probe = make_world()
            self.spec = probe.spec
            probe.close()
            try:
                recipe = pickle.dumps(make_world)
            except Exception:
                raise ValueError(
                    "Workers need a world that other processes can make too: give a module's name or a function "
                    "of a module (not a lambda or one of a notebook), or use workers=0."
                ) from None
            self.hosts += [Worker(recipe, share.tolist(), self.spec.name) for share in shares]
        self._host_of = [h for h, share in enumerate(shares) for _ in share]

        s, b = self.spec, self.num_envs
        discrete = isinstance(s.actions, Discrete)
        self.seed = int(seed)
        self.episodes = np.zeros(b, np.int64)  # episodes that each world began since the last seed
        self.episode_seed = np.full(b, -1, np.int64)  # what its present episode was begun with; -1: none yet
        self.clock, self.running = np.zeros(b, np.int64), np.zeros(b, bool)
        shape = (b, s.episode_limit, s.n_agents) if discrete else (b, s.episode_limit, s.n_agents, s.actions.dim)
        self.played = np.zeros(shape, np.int64 if discrete else np.float32)  # the actions of the present episodes
        self.obs = np.zeros((b, s.n_agents, s.obs_dim), np.float32)
        self.state = None if s.state_is_obs else np.zeros((b, s.state_dim), np.float32)
        self.avail = np.ones((b, s.n_agents, s.actions.n), bool) if discrete else None

    # ------------------------------------------------------------------ the contract

    def reset(self, seed: int | None = None, where: Tensor | None = None) -> Observation:
        """Begin episodes, in all worlds or where ``where`` [B] bool holds; a seed starts the count of episodes anew."""
        if where is not None and (where.dtype != torch.bool or tuple(where.shape) != (self.num_envs,)):
            got = f"{str(where.dtype)[6:]} {list(where.shape)}"
            raise ValueError(f"reset(where=...) expects a bool tensor of shape [{self.num_envs}], got {got}.")
        if seed is not None:
            self.seed = int(seed)
            self.episodes[:] = 0
        chosen = np.arange(self.num_envs) if where is None else where.cpu().numpy().nonzero()[0]
        seeds = {i: derive_seed(self.seed, "world", i, int(self.episodes[i])) % 2**31 for i in chosen.tolist()}
        for i, seen in self._ask("reset", seeds).items():
            self._show(i, seen)
            self.episode_seed[i] = seeds[i]
            self.episodes[i] += 1
        self.clock[chosen], self.running[chosen] = 0, True
        return self._observation()

    def step(self, actions: Tensor) -> Step:
        """Play one joint action per world; finished worlds stand still with reward 0."""
        if (self.episode_seed < 0).all():
            raise RuntimeError("Call reset() before step().")
        running = torch.from_numpy(self.running)
        avail = None if self.avail is None else torch.from_numpy(self.avail)
        joint = check_actions(self.spec, actions, running, avail)[0].numpy()
        now = self.running.nonzero()[0]
        answers = self._ask("step", {i: joint[i] for i in now.tolist()})
        self.played[now, self.clock[now]] = joint[now]
        self.clock[now] += 1

        b = self.num_envs
        reward, terminated, truncated = np.zeros(b, np.float32), np.zeros(b, bool), np.zeros(b, bool)
        info: dict[str, np.ndarray] = {}
        for i, step in answers.items():
            self._show(i, step.seen)
            reward[i], terminated[i] = step.reward, step.terminated
            truncated[i] = not step.terminated and (step.truncated or self.clock[i] >= self.spec.episode_limit)
            for name, value in step.info.items():
                info.setdefault(name, np.zeros(b, bool if isinstance(value, bool) else np.float32))[i] = value
        self.running &= ~(terminated | truncated)
        ends = map(self._tensor, (reward, terminated, truncated))
        return Step(self._observation(), *ends, {name: self._tensor(x) for name, x in info.items()})

    def fresh(self, num_envs: int | None = None, seed: int = 0) -> PythonVecEnv:
        """An independent copy with the same options. It plays in this process: it is for evaluation and watching."""
        raise NotImplementedError

    def frame(self, index: int = 0) -> np.ndarray:
        """The game's own picture of one world, HxWx3 uint8."""
        if self.episode_seed[index] < 0:
            raise RuntimeError("Call reset() before frame().")
        picture = self._ask("picture", {range(self.num_envs)[index]: None})
        return np.ascontiguousarray(next(iter(picture.values()))[..., :3], np.uint8)

    def state_dict(self) -> dict:
        """The seed, and for each world its present episode's seed and actions: tensors and plain numbers."""
        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in COUNTERS}
        return {"seed": self.seed, **arrays, "played": torch.from_numpy(self.played[:, : self.clock.max()].copy())}

    def load_state_dict(self, state: dict) -> None:
        """Go on exactly where :meth:`state_dict` was taken, by playing the present episodes again up to there."""
        if len(state["running"]) != self.num_envs:
            saved = len(state["running"])
            raise ValueError(f"The saved state holds {saved} worlds, this environment has {self.num_envs}.")
        self.seed = int(state["seed"])
        for name in COUNTERS:
            getattr(self, name)[:] = state[name].numpy()
        self.played[:, : state["played"].shape[1]] = state["played"].numpy()
        begun = (self.episode_seed >= 0).nonzero()[0].tolist()
        episodes = {i: (int(self.episode_seed[i]), self.played[i, : self.clock[i]]) for i in begun}
        for i, seen in self._ask("replay", episodes).items():
            self._show(i, seen)

    def close(self) -> None:
        """Close the games and end the workers; a second call does nothing."""
        self._closer()

    # ------------------------------------------------------------------ inside

    def _ask(self, method: str, arguments: dict[int, Any]) -> dict[int, Any]:
        """Call a method of the hosts with {world: argument}; workers work at the same time."""
        if not self.hosts:
            raise RuntimeError(f"This {self.spec.name} is closed: make a new one.")
        parts: dict[int, dict[int, Any]] = {}
        for i, argument in arguments.items():
            parts.setdefault(self._host_of[i], {})[i] = argument
        if self.workers == 0:
            return getattr(self.hosts[0], method)(arguments)
        try:
            for h, part in parts.items():
                self.hosts[h].ask(method, part)
            return {i: value for h in parts for i, value in self.hosts[h].answer().items()}
        except RuntimeError:
            self.close()  # nobody is left waiting for a worker that will not answer
            raise

    def _show(self, i: int, seen: Seen) -> None:
        self.obs[i] = seen.obs
        if self.state is not None:
            self.state[i] = seen.state
        if self.avail is not None:
            self.avail[i] = True if seen.avail is None else seen.avail

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, device=self.device)

    def _observation(self) -> Observation:
        obs = self._tensor(self.obs)
        state = obs.flatten(1) if self.state is None else self._tensor(self.state)
        return Observation(obs, state, None if self.avail is None else self._tensor(self.avail))
