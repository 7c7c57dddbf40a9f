"""What a reader hands to an algorithm, and one sentence where it does not fit: settings whose published values carry
their source, names, and networks of their own."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Settings of an algorithm. ``presets`` maps a name to {setting: (value, source)}."""

    presets: ClassVar[dict[str, dict[str, tuple[Any, str]]]] = {}

    @classmethod
    def preset(cls, name: str, **changes: Any):
        """Published settings by name; ``changes`` replace single values. Raises ValueError naming the close matches."""
        if name not in cls.presets:
            raise ValueError(f"Unknown preset {name!r}: {suggest(name, cls.presets)}")
        return cls(**{**{k: v for k, (v, _) in cls.presets[name].items()}, **changes})

    @classmethod
    def sources(cls, name: str) -> dict[str, str]:
        """{setting: where the published number stands} of a preset. Raises ValueError as :meth:`preset` does."""
        cls.preset(name)
        return {k: source for k, (_, source) in cls.presets[name].items()}


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
        except TypeError as problem:
            raise TypeError(f"{wanted} without arguments ({problem}): try {name}=lambda: YourModule(...).") from None
        own = own()
    if not isinstance(own, nn.Module):
        raise TypeError(f"{wanted}, not {type(own).__name__}.")
    return own


@torch.no_grad()
def check_part(name: str, module: nn.Module, shape: tuple[int, ...], *inputs: Tensor) -> None:
    """Try a part on zeros and refuse an output of another shape: inside a loss, broadcasting would hide the mistake."""
    home = next(module.parameters(), inputs[0]).device
    out = module(*(x.to(home) for x in inputs))
    if not isinstance(out, Tensor) or out.shape != shape:
        got = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        given = ", ".join(str(list(x.shape)) for x in inputs)
        raise ValueError(f"The part {name!r} must return shape {list(shape)}, not {got}, when it is given {given}.")
