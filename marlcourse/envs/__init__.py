"""Worlds by name."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from ..core import VecEnv, suggest

# name -> (module, class or factory, fixed options)
WORLDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "junction": ("junction", "Junction", {}),
    "two-step": ("matrix", "TwoStep", {}),
    "product-game": ("product", "ProductGame", {}),
    "lumberjacks": ("lumberjacks", "Lumberjacks", {}),
    "two-rooms": ("two_rooms", "TwoRooms", {}),
    "traffic-junction-4": ("traffic_junction", "TrafficJunction", {"n_cars": 4}),
    "traffic-junction-10": ("traffic_junction", "TrafficJunction", {"n_cars": 10}),
}


def env_names() -> list[str]:
    """All names that :func:`make` knows without options; families of adapters are listed with their pattern."""
    from .matrix import GAMES

    return sorted([*WORLDS, *(f"matrix/{game}" for game in GAMES)]) + ["ma-gym/<id>", "pettingzoo:<module>"]


def make(name: str, num_envs: int = 1, device: str = "auto", seed: int = 0, **options: Any) -> VecEnv:
    """Make ``num_envs`` copies of a world at once. Raises ValueError, naming the close matches, for an unknown name,
    and TypeError for an option that this world does not have."""
    if not isinstance(name, str):
        raise TypeError(f"A world is made by its name, such as 'two-step' (see marlcourse.env_names()), not by {name!r}.")
    if name.startswith("matrix/"):
        from .matrix import MatrixGame

        return MatrixGame(name.removeprefix("matrix/"), num_envs=num_envs, device=device, seed=seed, **options)
    if name.startswith("ma-gym/"):
        from .adapters.magym import MaGym

        return MaGym(name.removeprefix("ma-gym/"), num_envs=num_envs, device=device, seed=seed, **options)
    if name.startswith("pettingzoo:"):
        from .adapters.pettingzoo import FromPettingZoo

        return FromPettingZoo(name.removeprefix("pettingzoo:"), num_envs=num_envs, device=device, seed=seed, **options)
    if name not in WORLDS:
        raise ValueError(f"Unknown world {name!r}: {suggest(name, env_names())}")
    module, attribute, fixed = WORLDS[name]
    world = getattr(importlib.import_module(f".{module}", __name__), attribute)
    known = [*inspect.signature(world).parameters]
    for unknown in sorted(set(options) - set(known)):
        raise TypeError(f"The world {name!r} has no option {unknown!r}: {suggest(unknown, known)}")
    return world(num_envs=num_envs, device=device, seed=seed, **{**fixed, **options})
