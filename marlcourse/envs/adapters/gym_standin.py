"""The small part of the old ``gym`` package that ma-gym 0.0.14 uses, with nothing but NumPy.

ma-gym asks for gym 0.19 or 0.20, whose own packaging no current pip accepts. :func:`old_gym` puts stand-in modules into
``sys.modules`` while ma-gym is being imported and takes them out again: afterwards ``import gym`` finds what it always
found, the reader's own gym or nothing. Seeds are spread as gym 0.20 spreads them, so games started from one seed are
the same games.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from importlib import metadata

import numpy as np


class Env:
    """gym.Env: what ma-gym's games inherit from."""

    metadata: dict = {"render.modes": []}
    spec = None
    action_space = None
    observation_space = None

    @property
    def unwrapped(self):
        return self


class Wrapper(Env):
    """gym.Wrapper, as far as ma-gym's unused single-agent wrapper needs a base class."""

    def __init__(self, env):
        self.env = env


class Space:
    """gym.spaces.Space: a shape, a dtype and a generator of its own."""

    def __init__(self, shape=None, dtype=None):
        self.shape, self.dtype = shape, None if dtype is None else np.dtype(dtype)
        self.np_random, _ = np_random()

    def seed(self, seed=None) -> list[int]:
        self.np_random, seed = np_random(seed)
        return [seed]


class Discrete(Space):
    """The numbers 0..n-1."""

    def __init__(self, n: int):
        self.n = int(n)
        super().__init__((), np.int64)

    def sample(self) -> int:
        return self.np_random.randint(self.n)

    def contains(self, x) -> bool:
        return 0 <= int(x) < self.n


class Box(Space):
    """Arrays between ``low`` and ``high``."""

    def __init__(self, low, high, shape=None, dtype=np.float32):
        shape = np.shape(low) if shape is None else tuple(shape)
        self.low, self.high = np.broadcast_to(low, shape).astype(dtype), np.broadcast_to(high, shape).astype(dtype)
        super().__init__(shape, dtype)

    def sample(self) -> np.ndarray:
        return self.np_random.uniform(self.low, self.high).astype(self.dtype)

    def contains(self, x) -> bool:
        x = np.asarray(x)
        return x.shape == self.shape and bool(np.all(x >= self.low) and np.all(x <= self.high))


def hash_seed(seed: int, max_bytes: int = 8) -> int:
    """A number that looks unrelated for neighbouring seeds: the first bytes of the SHA-512 of the seed's digits."""
    return int.from_bytes(hashlib.sha512(str(seed).encode()).digest()[:max_bytes], "little")


def np_random(seed: int | None = None) -> tuple[np.random.RandomState, int]:
    """NumPy's old generator (ma-gym calls its ``randint``), started from the hashed seed in 32-bit words."""
    seed = int.from_bytes(os.urandom(8), "little") if seed is None else int(seed) % 2**64
    hashed = hash_seed(seed)
    words = [hashed] if hashed < 2**32 else [hashed % 2**32, hashed // 2**32]
    return np.random.RandomState(words), seed  # the old generator on purpose


class EnvSpec:
    """One registered game: where its class is and with which arguments it is made."""

    def __init__(self, id: str, entry_point: str, kwargs: dict | None = None, **_):
        self.id, self.entry_point, self._kwargs = id, entry_point, dict(kwargs or {})


class EnvRegistry:
    """Games by name."""

    def __init__(self):
        self.env_specs: dict[str, EnvSpec] = {}

    def all(self):
        return self.env_specs.values()

    def register(self, id: str, **kwargs) -> None:
        self.env_specs[id] = EnvSpec(id, **kwargs)


registry = EnvRegistry()


def register(id: str, **kwargs) -> None:
    registry.register(id, **kwargs)


def _modules() -> dict[str, types.ModuleType]:
    """The modules by name, newly made."""
    contents = {
        "gym": {"Env": Env, "Wrapper": Wrapper, "__version__": "0.20.0"},
        "gym.spaces": {"Space": Space, "Discrete": Discrete, "Box": Box},
        "gym.spaces.space": {"Space": Space},
        "gym.utils": {},
        "gym.utils.seeding": {"np_random": np_random, "hash_seed": hash_seed},
        "gym.envs": {"registry": registry, "register": register},
        "gym.envs.registration": {"registry": registry, "register": register},
    }
    modules = {name: types.ModuleType(name, "Stand-in of marlcourse for old gym.") for name in contents}
    for name, names in contents.items():
        vars(modules[name]).update(names)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, modules[name])
            modules[parent].__path__ = []
    return modules


STANDIN = _modules()


def real_gym_is_suitable() -> bool:
    """True where a gym is installed that ma-gym 0.0.14 can be imported with: 0.19 to 0.21."""
    if importlib.util.find_spec("gym") is None:
        return False
    try:
        version = tuple(int(part) for part in metadata.version("gym").split(".")[:2])
    except (metadata.PackageNotFoundError, ValueError):
        return False
    return (0, 19) <= version < (0, 22)


@contextlib.contextmanager
def old_gym() -> Iterator[None]:
    """Within this block ``import gym`` gives an old gym: the installed one where it is suitable, else the stand-in.

    Afterwards ``sys.modules`` holds the reader's gym modules again, or none.
    """
    if real_gym_is_suitable():
        yield
        return
    is_gym = lambda name: name == "gym" or name.startswith("gym.")
    theirs = {name: module for name, module in sys.modules.items() if is_gym(name)}
    for name in theirs:
        del sys.modules[name]
    sys.modules.update(STANDIN)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if is_gym(name)]:
            del sys.modules[name]
        sys.modules.update(theirs)
