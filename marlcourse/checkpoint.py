"""Checkpoints: tensors and plain Python only, so that loading one can never run code.

A checkpoint is a folder: ``checkpoint.pt`` (replaced whole, never half-written), ``run.json`` (the record, for people) and
``replay/`` with shards of the buffer, each written once. A team for others is a single file (:func:`save_team`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
import warnings
from pathlib import Path
from typing import Any

import torch

from .core import Algorithm, Box, Config, Discrete, EnvSpec, EpisodeBatch, Observation, map_tensors, suggest
from .device import pick_device
from .exploration import Schedule
from .rollout import EpisodeBuffer
from .trainer import Run, Trainer, write_atomically

FORMAT = "marlcourse-1"


# ---- plain forms -------------------------------------------------------------------------------------------------


def _pack(value: Any) -> Any:
    """A config value as plain Python; schedules and optimiser classes are named."""
    if isinstance(value, Schedule):
        return {"schedule": [value.start, value.end, value.steps]}
    if isinstance(value, type) and issubclass(value, torch.optim.Optimizer):
        return {"optimizer": value.__name__}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_pack(v) for v in value]
    raise TypeError(f"A config may hold numbers, strings, schedules and torch.optim classes, not {type(value).__name__}.")


def refuse_unstorable(algorithm: Algorithm) -> None:
    """Raise TypeError, before work starts, where :func:`save_team` could not write the settings."""
    _pack_algorithm(algorithm)


def _unpack(value: Any) -> Any:
    if isinstance(value, dict) and "schedule" in value:
        return Schedule(*value["schedule"])
    if isinstance(value, dict) and "optimizer" in value:
        kind = getattr(torch.optim, value["optimizer"], None)
        if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
            raise ValueError(f"unknown optimiser {value['optimizer']!r}")
        return kind
    return tuple(_unpack(v) for v in value) if isinstance(value, list) else value


def _pack_spec(spec: EnvSpec) -> dict[str, Any]:
    return {**dataclasses.asdict(spec), "actions": [type(spec.actions).__name__, *dataclasses.astuple(spec.actions)]}


def _unpack_spec(plain: dict[str, Any]) -> EnvSpec:
    kind, *numbers = plain["actions"]
    return EnvSpec(**{**plain, "actions": {"Discrete": Discrete, "Box": Box}[kind](*numbers)})


def _pack_algorithm(algorithm: Algorithm) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "algorithm": type(algorithm).__name__,
        "module": type(algorithm).__module__,
        "config": {f.name: _pack(getattr(algorithm.config, f.name)) for f in dataclasses.fields(algorithm.config)},
        "spec": _pack_spec(algorithm.spec),
        "seed": algorithm.seed,
        "own_parts": list(algorithm.own_parts),
        "env_steps": algorithm.env_steps,
        "weights": {k: v.detach().cpu() for k, v in algorithm.state_dict().items()},
    }


def _build_algorithm(saved: dict[str, Any], where: Path, parts: dict[str, Any], device) -> Algorithm:
    """The algorithm a checkpoint speaks of: only classes of marlcourse.algorithms are ever looked up."""
    missing = [name for name in saved["own_parts"] if name not in parts]
    if missing:
        raise ValueError(
            f"{where} holds your own part {' and '.join(map(repr, missing))}, whose code is not in the file: pass it again, "
            f"as in load_team(path, {missing[0]}=Your{missing[0].title()}) or Trainer.resume(path, env, algorithm=...)."
        )
    from . import _MODULE_OF

    name, module = saved["algorithm"], saved["module"]
    if _MODULE_OF.get(name, "").split(".")[0] != "algorithms" or module != f"{__package__}.{_MODULE_OF[name]}":
        known = [n for n, m in _MODULE_OF.items() if m.startswith("algorithms")]
        raise ValueError(
            f"{where} was written by {name!r}, which is not an algorithm of this version of marlcourse: if the "
            f"class is your own, use Trainer.resume(path, env, algorithm={name}(env.spec)). {suggest(name, known)}"
        )
    kind = getattr(importlib.import_module(module), name)
    config: Config = kind.Config(**{k: _unpack(v) for k, v in saved["config"].items()})
    return kind(_unpack_spec(saved["spec"]), config, seed=saved["seed"], device=device, **parts)


def _load_weights(algorithm: Algorithm, saved: dict[str, Any], where: Path) -> None:
    try:
        algorithm.load_state_dict(saved["weights"])
    except RuntimeError as problem:
        reason = str(problem).splitlines()[1].strip() if "\n" in str(problem) else str(problem)
        raise ValueError(f"The weights in {where} do not fit the algorithm: {reason}") from None
    algorithm.env_steps = saved["env_steps"]


# ---- files -------------------------------------------------------------------------------------------------------


def _write(path: Path, value: Any) -> None:
    data = io.BytesIO()
    torch.save(value, data)
    write_atomically(path, data.getvalue())


def _read(path: Path, must_have: str) -> dict[str, Any]:
    """Load with ``weights_only=True``; any failure becomes one sentence."""
    if not path.exists():
        raise ValueError(
            f"There is no checkpoint at {path}: give a run folder of marlcourse.Trainer or a file of marlcourse.save_team."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what PyTorch thinks of a foreign pickle is part of our one sentence
            value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        raise ValueError(
            f"{path} is not a marlcourse checkpoint, or it is damaged (cut off while copying?): nothing in it was run. "
            "Use another copy or an earlier checkpoint."
        ) from None
    if not isinstance(value, dict) or value.get("format") != FORMAT or must_have not in value:
        raise ValueError(f"{path} is a PyTorch file, but not a marlcourse checkpoint of format {FORMAT!r}.")
    return value


@contextlib.contextmanager
def _describing(path: Path, what: str):
    """A checkpoint whose contents do not hang together is refused in one sentence; ValueErrors are sentences already."""
    try:
        yield
    except (TypeError, KeyError, AttributeError, IndexError, RuntimeError) as problem:
        reason = f"{type(problem).__name__} at {problem}" if isinstance(problem, KeyError) else str(problem).splitlines()[0]
        raise ValueError(
            f"{path} does not describe {what} that this version of marlcourse can go on with: {reason.rstrip('.')}; "
            "use the version that wrote it (run.json names it), or train anew."
        ) from None


def save_team(algorithm: Algorithm, path: str | Path) -> None:
    """Write the networks, their settings and the world's spec as one file for :func:`load_team`."""
    _write(Path(path), _pack_algorithm(algorithm))


def load_team(path: str | Path, device="auto", **parts: Any) -> Algorithm:
    """A team that acts without trainer or world, from a team file or a run folder.

    ``parts``: the reader's own networks it was trained with. Raises ValueError, in one sentence, for a file that is
    missing, damaged, foreign, or not ours; such a file cannot run code.
    """
    path = Path(path)
    path = path / "checkpoint.pt" if path.is_dir() else path
    saved = _read(path, "weights")
    device = pick_device(device)
    with _describing(path, "a team"):
        algorithm = _build_algorithm(saved, path, parts, device)
        _load_weights(algorithm, saved, path)
    return algorithm.eval()


# ---- whole runs --------------------------------------------------------------------------------------------------


def held_rows(buffer: EpisodeBuffer, first: int, last: int) -> EpisodeBatch:
    """The rows numbered first..last-1 since the beginning of the run (they must still be held)."""
    return buffer.rows[torch.arange(first, last) % buffer.capacity]


def _rows_to_plain(batch: EpisodeBatch) -> dict[str, Any]:
    return {f.name: map_tensors(lambda t: t.cpu(), getattr(batch, f.name)) for f in dataclasses.fields(batch)}


def _save_replay(trainer: Trainer, folder: Path) -> list[list[int]]:
    """Write the rows added since the last checkpoint here as a new shard; return [first, last) of all shards in use."""
    buffer = trainer.context.buffer
    if buffer is None or buffer.rows is None:
        return []
    oldest = max(0, buffer.added - buffer.capacity)
    shards = [s for s in getattr(trainer, "_shards", {}).get(folder, []) if s[1] > oldest]
    first = max(oldest, shards[-1][1] if shards else 0)
    if buffer.added > first:
        _write(
            folder / "replay" / f"{first}-{buffer.added}.pt",
            {"format": FORMAT, "rows": _rows_to_plain(held_rows(buffer, first, buffer.added))},
        )
        shards = [*shards, [first, buffer.added]]
    trainer._shards = {**getattr(trainer, "_shards", {}), folder: shards}
    return shards


def save_checkpoint(trainer: Trainer, folder: Path) -> None:
    """Write everything that fixes how the run goes on. Order: new shard, then checkpoint.pt, then old shards go."""
    context, collector = trainer.context, trainer.context.collector
    shards = _save_replay(trainer, folder)
    live = None
    if collector.live is not None:
        observation, carry = collector.live
        live = {"observation": list(observation), "carry": carry}
    _write(
        folder / "checkpoint.pt",
        {
            **_pack_algorithm(trainer.algorithm),
            "optimizers": {name: o.state_dict() for name, o in context.optimizers.items()},
            "generators": {"actions": collector.generator.get_state(), "updates": context.generator.get_state()},
            "resets": collector.resets,
            "live": live,
            "env": trainer.env.state_dict(),
            "replay": {"added": 0 if context.buffer is None else context.buffer.added, "shards": shards},
            "env_device": str(trainer.env.device),
            "clock": context.env_steps,
            "updates_done": context.updates_done,
            "trainer": {
                k: getattr(trainer, k)
                for k in (
                    "seed",
                    "checkpoint_every",
                    "eval_every",
                    "eval_episodes",
                    "next_eval",
                    "next_checkpoint",
                    "count",
                )
            },
            "buffer_device": str(trainer.buffer_device),
            "sums": dict(trainer.sums),
            "run": dataclasses.asdict(trainer.run),
        },
    )
    trainer.run.save(folder / "run.json")
    in_use = {f"{a}-{b}.pt" for a, b in shards}
    for old in (folder / "replay").glob("*"):  # also what a crash left half-written
        if old.name not in in_use:
            os.remove(old)


def load_checkpoint(cls: type[Trainer], folder: Path, env, algorithm: Algorithm | None, callbacks) -> Trainer:
    """See :meth:`Trainer.resume`."""
    path = folder / "checkpoint.pt"
    saved = _read(path, "clock")
    with _describing(path, "a run"):
        _refuse_other_setting(saved, folder, env, algorithm)
        if algorithm is None:
            algorithm = _build_algorithm(saved, path, {}, saved["run"]["device"])
        _load_weights(algorithm, saved, path)
        trainer = cls.__new__(cls)
        trainer.run_dir = folder
        _restore(trainer, saved, env, algorithm, callbacks)
    return trainer


def _refuse_other_setting(saved: dict[str, Any], folder: Path, env, algorithm: Algorithm | None) -> None:
    """The world and the algorithm that a run goes on with must be those it was begun with."""
    spec = _unpack_spec(saved["spec"])
    if env.spec != spec:
        raise ValueError(f"{folder} holds a run in {spec}, but the world given is {env.spec}: make it with the same options.")
    devices = [("world", env.device, saved["env_device"])]
    if algorithm is not None:
        devices.append(("algorithm", algorithm.device, saved["run"]["device"]))
        if type(algorithm).__name__ != saved["algorithm"]:
            given = type(algorithm).__name__
            raise ValueError(f"{folder} holds a run of {saved['algorithm']}, but the algorithm given is {given}.")
        given = _pack_algorithm(algorithm)["config"]
        other = [k for k in {**given, **saved["config"]} if given.get(k) != saved["config"].get(k)]
        if other:
            k = other[0]
            raise ValueError(
                f"{folder} holds a run with {k}={saved['config'].get(k)!r}, but the algorithm given has {given.get(k)!r}: "
                "build it with the settings of the run, or begin a new run in another run_dir."
            )
    for what, now, before in devices:
        if now.type != torch.device(before).type:
            raise ValueError(
                f"{folder} holds a run whose {what} was on {before}, but the {what} given is on {now}, where other "
                "random numbers would be drawn: use the same kind of device, or take the team alone with marlcourse.load_team."
            )


def _restore(trainer: Trainer, saved: dict[str, Any], env, algorithm: Algorithm, callbacks) -> None:
    options, device = dict(saved["trainer"]), algorithm.device
    settings = [options.pop(k) for k in ("seed", "checkpoint_every", "eval_every", "eval_episodes")]
    trainer._set_up(env, algorithm, settings[0], saved["buffer_device"], *settings[1:], callbacks)
    for name in ("next_eval", "next_checkpoint", "count"):
        setattr(trainer, name, options[name])
    trainer.sums = {k: v.to(device) for k, v in saved["sums"].items()}
    trainer.run, trainer.last_checkpoint = Run(**saved["run"]), saved["clock"]

    context = trainer.context
    context.env_steps, context.updates_done = saved["clock"], saved["updates_done"]
    for name, state in saved["optimizers"].items():
        context.optimizers[name].load_state_dict(state)
    context.generator.set_state(saved["generators"]["updates"])
    context.collector.generator.set_state(saved["generators"]["actions"])
    context.collector.resets = saved["resets"]
    env.load_state_dict(saved["env"])
    if saved["live"] is not None:
        observation = Observation(*(map_tensors(lambda t: t.to(device), o) for o in saved["live"]["observation"]))
        context.collector.live = observation, map_tensors(lambda t: t.to(device), saved["live"]["carry"])
    replay = saved["replay"]
    if replay["shards"]:
        context.buffer.added = replay["shards"][0][0]
        for first, last in replay["shards"]:
            shard = trainer.run_dir / "replay" / f"{first}-{last}.pt"
            context.buffer.add(EpisodeBatch(**_read(shard, "rows")["rows"]))
        trainer._shards = {trainer.run_dir: [list(s) for s in replay["shards"]]}
