"""Settings of algorithms: frozen dataclasses whose published values carry their source, and answers to misspelt names."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, ClassVar


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
        """{setting: where the published number stands} of a preset."""
        return {k: source for k, (_, source) in cls.presets[name].items()}


def suggest(name: str, known) -> str:
    """The close matches of a misspelt name, and the whole list where it is short."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return hint + ("Known: " + ", ".join(known) + "." if len(known) <= 40 else f"{len(known)} names are known.")
