"""marlcourse: cooperative multi-agent reinforcement learning, one readable file per paper."""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_HOME = {
    "core": "EnvSpec Discrete Box Observation Step VecEnv EpisodeBatch Algorithm Action",
    "config": "Config",
    "exploration": "Schedule",
    "rollout": "Context Collector EpisodeBuffer",
    "evaluation": "Evaluation evaluate",
    "trainer": "Trainer Run Callback",
    "checkpoint": "load_team save_team",
    "device": "pick_device seed_everything",
    "envs": "make env_names",
    "envs.check": "check_env",
    "credit": "normalised_entropy coefficient_of_variation invariant_credit",
    "meters": "CreditMeter",
    "comparison": "compare Comparison",
    "ensemble": "Ensemble",
    "algorithms.iql": "IQL",
    "algorithms.vdn": "VDN",
    "algorithms.qmix": "QMIX",
    "algorithms.qmix_simple": "QMIXSimple",
    "algorithms.gre": "QMIXGRE",
    "algorithms.wqmix": "OWQMIX CWQMIX",
    "algorithms.qtran": "QTRAN",
    "algorithms.mnmpg": "MNMPG",
    "algorithms.coma": "COMA",
    "algorithms.lica": "LICA",
    "viz.board": "LivePlot",
    "viz.curves": "plot_runs plot_outcomes heat_tables payoff_surface",
    "viz.explore": "explore table_explorer",
    "viz.watch": "watch",
    "course.doctor": "report",
    "course.exercises": "progress",
    "course.data": "load_dataset",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    """Public names load their module at first use, so that ``import marlcourse`` costs little more than PyTorch."""
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'marlcourse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
