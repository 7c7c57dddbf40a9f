"""The course: notebooks, exercises, claims, data. Importing it loads neither torch nor pandas nor matplotlib."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["by_scale", "home", "scale", "strict"]

SCALES = ("ci", "demo", "full")
_SAME_AS_DEMO = object()


def scale() -> str:
    """How much to compute: "ci" (seconds), "demo" (minutes, the default) or "full" (the declared budget).

    Read from the environment variable MARLCOURSE_SCALE. Raises ValueError for any other word.
    """
    word = os.environ.get("MARLCOURSE_SCALE", "").strip() or "demo"
    if word not in SCALES:
        raise ValueError(f"MARLCOURSE_SCALE is {word!r}; set it to {', '.join(SCALES)}, or leave it unset for demo.")
    return word


def by_scale(*, ci, demo, full=_SAME_AS_DEMO):
    """The value for the present scale; `full` left out means the demo value."""
    return {"ci": ci, "demo": demo, "full": demo if full is _SAME_AS_DEMO else full}[scale()]


def strict() -> bool:
    """True when MARLCOURSE_STRICT=1 (CI, grading): no reference replaces an answer, a changed verdict is an error."""
    return os.environ.get("MARLCOURSE_STRICT", "").strip() not in ("", "0")


def home() -> Path:
    """The reader's own folder: $MARLCOURSE_HOME, else one in the platform's data folder. It need not exist yet."""
    if chosen := os.environ.get("MARLCOURSE_HOME"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "marlcourse"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "marlcourse"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "marlcourse"
