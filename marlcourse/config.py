"""What a reader hands to an algorithm, and one sentence where it does not fit: settings whose published values carry
their source, names, and networks of their own."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import operator
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Settings of an algorithm. ``presets`` maps a name to {setting: (value, source)}.

    A value that cannot work raises TypeError or ValueError at once, in one sentence: see :func:`check_setting`.
    """

    presets: ClassVar[dict[str, dict[str, tuple[Any, str]]]] = {}

    def __post_init__(self):
        for f in dataclasses.fields(self):
            check_setting(f, getattr(self, f.name))

    @classmethod
    def preset(cls, name: str, **changes: Any):
        """Published settings by name; ``changes`` replace single values. Names that do not exist
        raise ValueError (a preset) or TypeError (a setting) with the close matches."""
        if name not in cls.presets:
            raise ValueError(f"Unknown preset {name!r}: {suggest(name, cls.presets)}")
        settings = [f.name for f in dataclasses.fields(cls)]
        for unknown in sorted(set(changes) - set(settings)):
            raise TypeError(f"{cls.__name__} has no setting {unknown!r}: {suggest(unknown, settings)}")
        return cls(**{**{k: v for k, (v, _) in cls.presets[name].items()}, **changes})

    @classmethod
    def sources(cls, name: str) -> dict[str, str]:
        """{setting: where the published number stands} of a preset. Raises ValueError as :meth:`preset` does."""
        cls.preset(name)
        return {k: source for k, (_, source) in cls.presets[name].items()}


def shown(value: Any) -> str:
    """A value as an error sentence names it: itself where that is short, else its type."""
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else type(value).__name__


def whole(name: str, value: Any, least: int | None = None) -> int:
    """``value`` as an int, NumPy's included. Raises TypeError for another type, ValueError below ``least``."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        fix = f": write {int(value)}" if isinstance(value, float) and value.is_integer() else ""
        raise TypeError(f"{name} must be a whole number, not {shown(value)}{fix}.")
    number = operator.index(value)
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}.")
    if abs(number) >= 2**63:
        raise ValueError(f"{name} must be below 2**63, not {number}.")
    return number


LIMITS = {"gamma": (0, 1), "lam": (0, 1), "epsilon": (0, 1), "hypernet_layers": (1, 2)}


def check_setting(setting: dataclasses.Field, value: Any) -> None:
    """Refuse a value that the setting's annotation and default rule out: a count that starts positive stays positive, a
    positive number never turns negative, and names in ``LIMITS`` keep to theirs. Other annotations are not judged."""
    name, default = setting.name, setting.default
    kind, *may_be_none = str(getattr(setting.type, "__name__", setting.type)).split(" | ")
    if value is None and may_be_none:
        return
    if kind == "int":
        whole(name, value, 1 if default is None or (isinstance(default, int) and default >= 1) else None)
    if kind == "bool" and not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {shown(value)}.")
    if kind == "type" and not (isinstance(value, type) and issubclass(value, torch.optim.Optimizer)):
        raise TypeError(f"{name} must be a class such as torch.optim.Adam, not {shown(value)}.")
    if kind == "Schedule" and not callable(value):
        raise TypeError(f"{name} must be a marlcourse.Schedule, not {shown(value)}: write Schedule(1.0, 0.05, 50_000), say.")
    numbers = [value] if kind in ("int", "float") else []
    if kind == "Schedule" and hasattr(value, "start"):
        numbers = [value.start, value.end]
    low, high = LIMITS.get(name, (0 if kind == "float" and (default is None or default >= 0) else -math.inf, math.inf))
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, Real):
            raise TypeError(f"{name} must be a number, not {shown(number)}.")
        if not (low <= number <= high and math.isfinite(number)):
            wanted = "finite" if low == -math.inf else f"at least {low}" if high == math.inf else f"between {low} and {high}"
            raise ValueError(f"{name} must be {wanted}, not {number}.")
    if name == "grad_clip" and value == 0:
        raise ValueError("grad_clip=0 would stop all learning: give a number above 0, or None for no clipping.")


def suggest(name: str, known) -> str:
    """The close matches of a misspelt name, and the whole list where it is short."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return hint + ("Known: " + ", ".join(known) + "." if len(known) <= 40 else f"{len(known)} names are known.")


def own_part(name: str, own: Any) -> nn.Module:
    """A reader's part as a module: it is one, or a function (or class) that returns one without arguments. Else TypeError."""
    wanted = f"The part {name!r} must be a torch.nn.Module or a function that returns one"
    if not isinstance(own, nn.Module):
        try:
            inspect.signature(own).bind()
        except (TypeError, ValueError) as problem:
            raise TypeError(f"{wanted} without arguments ({problem}): try {name}=lambda: YourModule(...).") from None
        own = own()
    if not isinstance(own, nn.Module):
        raise TypeError(f"{wanted}, not {type(own).__name__}.")
    return own


def check_agent(name: str, agent: nn.Module, spec) -> None:
    """Try an agent or actor as acting and learning will: ``initial_hidden(B, N)``, and ``forward(obs [B,T,N,O], last_action
    [B,T,N], hidden) -> (values [B,T,N,A], hidden)``. Raises ValueError in one sentence where it does not fit."""
    b, t, n = 2, 3, spec.n_agents
    contract = f"The part {name!r} must have initial_hidden(batch_size, n_agents) and forward(obs, last_action, hidden)"
    home = next(agent.parameters(), torch.empty(0)).device
    try:
        last = torch.full((b, t, n), -1, device=home)
        with torch.no_grad():
            out = agent(torch.zeros(b, t, n, spec.obs_dim, device=home), last, agent.initial_hidden(b, n))
    except Exception as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise ValueError(f"{contract}; trying it on zeros failed: {reason.rstrip('.')}.") from None
    values = out[0] if isinstance(out, tuple) and len(out) == 2 else None
    if not isinstance(values, Tensor) or values.shape != (b, t, n, spec.n_actions):
        got = f"values of shape {list(values.shape)}" if isinstance(values, Tensor) else type(out).__name__
        wanted = f"values of shape {[b, t, n, spec.n_actions]} and hidden for obs of shape {[b, t, n, spec.obs_dim]}"
        raise ValueError(f"{contract}, returning two things: {wanted}; it returned {got}.")


def check_part(name: str, module: nn.Module, shape: tuple[int, ...], *inputs: Tensor) -> None:
    """Try a part on zeros and refuse an output of another shape (inside a loss, broadcasting would hide the mistake), and
    one that nothing could learn through. Raises ValueError in one sentence, also where the part itself fails."""
    home = next(module.parameters(), inputs[0]).device
    given = ", ".join(str(list(x.shape)) for x in inputs)
    try:
        with torch.enable_grad():
            out = module(*(x.to(home).requires_grad_(x.is_floating_point()) for x in inputs))
    except Exception as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise ValueError(f"The part {name!r} fails when it is given tensors of shape {given}: {reason.rstrip('.')}.") from None
    if not isinstance(out, Tensor) or out.shape != shape:
        got = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(f"The part {name!r} must return shape {list(shape)}, not {got}, when it is given {given}.")
    if not out.requires_grad:
        raise ValueError(f"Nothing can learn through the part {name!r}: look for detach(), no_grad or NumPy in its forward.")
