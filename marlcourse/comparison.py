"""Several algorithms in one world over several seeds: cached on disk, resumable, equal budgets for all."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import json
import os
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .config import shown, whole
from .core import Algorithm, EnvSpec
from .envs import make
from .stopping import no_bars
from .trainer import Callback, Run, Trainer, plain, versions, write_atomically

Make = Callable[[EnvSpec, int], Algorithm]


@dataclasses.dataclass
class Comparison:
    """``runs`` {name: [Run, one per seed]}, all in the world ``env`` for ``steps`` environment steps."""

    env: str
    steps: int
    seeds: list[int]
    runs: dict[str, list[Run]]

    def frame(self):
        """Every evaluation of every run as one pandas DataFrame, with the columns ``algorithm`` and ``seed`` first."""
        import pandas

        rows = [
            {"algorithm": name, "seed": run.seed, **row}
            for name, runs in self.runs.items()
            for run in runs
            for row in run.history
        ]
        return pandas.DataFrame(rows)

    def summary(self, y: str = "return_mean") -> dict[str, dict[str, float]]:
        """{name: {"median", "q25", "q75"}} of the last evaluation over seeds."""
        last = {name: [run.history[-1][y] for run in runs] for name, runs in self.runs.items()}
        return {
            name: dict(zip(("q25", "median", "q75"), map(float, np.quantile(values, [0.25, 0.5, 0.75]))))
            for name, values in last.items()
        }

    def plot(self, y: str = "return_mean", ax=None, reference=None, title: str | None = None):
        """Median and interquartile range over seeds; see :func:`marlcourse.plot_runs`."""
        from .viz.curves import plot_runs

        return plot_runs(self.runs, y=y, ax=ax, reference=reference, title=title)

    def save(self, path: str | Path) -> None:
        """Write everything as JSON."""
        write_atomically(Path(path), json.dumps(dataclasses.asdict(self), indent=1).encode())

    @classmethod
    def load(cls, path: str | Path) -> Comparison:
        """Read a saved comparison."""
        saved = json.loads(Path(path).read_text())
        return cls(**{**saved, "runs": {name: [Run(**run) for run in runs] for name, runs in saved["runs"].items()}})


def compare(
    env_name: str,
    algorithms: Mapping[str, Make | type[Algorithm]],
    seeds: int | Iterable[int],
    steps: int,
    *,
    num_envs: int = 8,
    env_options: Mapping[str, Any] | None = None,
    eval_every: int | None = None,
    eval_episodes: int = 32,
    device: str = "auto",
    cache: str | Path | None = None,
    progress: bool = True,
) -> Comparison:
    """Train every algorithm with every seed for ``steps`` environment steps, and return the runs.

    ==============  ==================================================================================================
    algorithms      {name: make_algorithm(spec, seed)}, or {name: class} for a class with its default settings
    seeds           distinct numbers, or how many (5 means 0..4): of weights, exploration and worlds alike
    eval_every      environment steps between evaluations (default: a twentieth of ``steps``)
    cache           folder for finished and interrupted runs (default: :func:`cache_folder`)
    ==============  ==================================================================================================

    What was run before is read from the cache; an interrupted comparison goes on where it stopped when called again. A
    cached run counts only if everything that shapes it is the same: world, options, class and code of the algorithm and of
    your own parts, settings, first weights, seed, ``num_envs``, evaluations, device kind, versions (see :func:`fingerprint`
    for what is not seen). ``steps`` is left out where it is a multiple of ``eval_every``: then a longer run starts with
    exactly the shorter one, which is cut from it or goes on to it. A damaged entry is moved aside and run again.

    Raises ValueError for repeated seeds, and KeyboardInterrupt at the stop button, after the running fit has saved itself.
    """
    if not isinstance(seeds, Iterable) or isinstance(seeds, str):
        seeds = range(whole("seeds", seeds))
    seeds = [whole("each of the seeds", s) for s in seeds]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be one or more distinct numbers, not {seeds}: each seed counts as one independent run.")
    if not algorithms or not isinstance(algorithms, Mapping):
        raise ValueError('There is nothing to compare: give algorithms as {"QMIX": mc.QMIX, ...}.')
    steps = whole("steps", steps, 1)
    eval_every = max(1, steps // 20) if eval_every is None else whole("eval_every", eval_every, 1)
    root = Path(cache) if cache is not None else cache_folder() / "compare"
    runs: dict[str, list[Run]] = {name: [] for name in algorithms}

    with _bar(len(seeds) * len(algorithms) * steps, progress) as bar:
        for seed in seeds:  # seeds outside: what stands after an interruption is balanced
            for name, maker in algorithms.items():
                env = make(env_name, num_envs=num_envs, device=device, seed=seed, **(env_options or {}))
                try:
                    algorithm = _build(name, maker, env, seed)
                    key = fingerprint(env_name, env_options, env, algorithm, seed, steps, eval_every, eval_episodes)
                    bar.set_description(f"{name} on {env.spec.name}, seed {seed}")
                    done = sum(map(len, runs.values())) * steps
                    settings = {"eval_every": eval_every, "eval_episodes": eval_episodes}
                    settings["callbacks"] = [_Tell(bar, done, steps)]
                    run = _run(root / key[:2] / key, env, algorithm, seed, steps, settings)
                finally:
                    env.close()
                if run.interrupted:
                    raise KeyboardInterrupt(
                        f"compare stopped during {name}, seed {seed}: finished runs are kept, call it again to go on."
                    )
                runs[name].append(run)
                bar.update(done + steps - bar.n)
    return Comparison(env.spec.name, steps, seeds, runs)


def cache_folder() -> Path:
    """``$MARLCOURSE_CACHE``, or the platform's folder for what may be deleted at any time."""
    if os.environ.get("MARLCOURSE_CACHE"):
        return Path(os.environ["MARLCOURSE_CACHE"])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "marlcourse"


def _build(name: str, maker, env, seed: int) -> Algorithm:
    wanted = f"algorithms[{name!r}] must be an Algorithm class or a function (spec, seed) -> Algorithm"
    if isinstance(maker, type) and issubclass(maker, Algorithm):
        algorithm = maker(env.spec, seed=seed, device=env.device)
    elif not callable(maker) or isinstance(maker, Algorithm):
        raise TypeError(f"{wanted}, not {shown(maker)}.")
    else:
        try:
            inspect.signature(maker).bind(env.spec, seed)
        except TypeError as problem:
            raise TypeError(f"{wanted} ({problem}): every seed builds a team of its own.") from None
        algorithm = maker(env.spec, seed)
    if not isinstance(algorithm, Algorithm):
        raise TypeError(f"{wanted}.")
    return algorithm.to(env.device)


# ---- one run -------------------------------------------------------------------------------------------------------


def _run(folder: Path, env, algorithm: Algorithm, seed: int, steps: int, settings: dict[str, Any]) -> Run:
    with _claim(folder) as folder:
        try:
            finished = _finished(folder, steps)
            if finished is not None:
                return finished
            trainer = _resumed(folder, env, algorithm, settings)
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as problem:
            aside = next(p for p in (folder.with_name(f"{folder.name}.damaged-{i}") for i in range(10**6)) if not p.exists())
            os.replace(folder, aside)
            folder.mkdir()
            print(f"A cached run was damaged, is moved to {aside}, and runs again ({problem}).", file=sys.stderr)
            trainer = None
        trainer = trainer or Trainer(env, algorithm, seed=seed, run_dir=folder, **settings)
        run = trainer.fit(steps, progress=False)
        return run if run.interrupted else _finished(folder, steps)


def _finished(folder: Path, steps: int) -> Run | None:
    """The run cut at the first evaluation at or after ``steps``, or None where it has not come so far."""
    if not (folder / "run.json").exists():
        return None
    run = Run.load(folder / "run.json")
    end = next((i for i, row in enumerate(run.history) if row["env_steps"] >= steps), None)
    return None if end is None else dataclasses.replace(run, history=run.history[: end + 1], interrupted=False)


def _resumed(folder: Path, env, algorithm: Algorithm, settings: dict[str, Any]) -> Trainer | None:
    if not (folder / "checkpoint.pt").exists():
        return None
    return Trainer.resume(folder, env, algorithm, callbacks=settings["callbacks"])


@contextlib.contextmanager
def _claim(folder: Path) -> Iterator[Path]:
    """The folder for this process alone; while another process works in it, a temporary one (the work is then done twice)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder.with_name(folder.name + ".lock"), "a+b")
    except OSError as problem:
        raise OSError(
            f"The cache folder {folder.parent} cannot be written ({problem.strerror}): give compare(cache=...) "
            "or set MARLCOURSE_CACHE."
        ) from None
    with lock:
        if _locked(lock):
            yield folder
        else:
            with tempfile.TemporaryDirectory(prefix="marlcourse-") as private:
                yield Path(private)


def _locked(file) -> bool:
    """Take the operating system's lock on an open file; it goes when the process ends, however it ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class _Tell(Callback):
    """Moves the bar of the whole comparison on."""

    def __init__(self, bar, done: int, steps: int):
        self.bar, self.done, self.steps = bar, done, steps

    def on_iterate(self, trainer: Trainer, metrics) -> None:
        self.bar.update(self.done + min(trainer.env_steps, self.steps) - self.bar.n)


def _bar(total: int, progress: bool):
    from tqdm.auto import tqdm

    return tqdm(total=total, unit="step", delay=1, mininterval=0.5, disable=not progress or no_bars(), leave=False)


# ---- what shapes a run ---------------------------------------------------------------------------------------------


def fingerprint(env_name, env_options, env, algorithm: Algorithm, seed, steps, eval_every, eval_episodes) -> str:
    """A hash of everything that shapes a run.

    Code counts as bytecode: of the algorithm's class, of every class of a module in it that is neither PyTorch's nor ours,
    of their bases, and of the functions of the same file that they call by name. What they read in other ways (global
    variables, files, other modules of yours) is not seen: clear the cache when you change such things.
    """
    weights = hashlib.sha256()
    for name, value in algorithm.state_dict().items():
        weights.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        weights.update(value.detach().cpu().contiguous().numpy().tobytes())
    classes = {type(algorithm), *(type(m) for m in algorithm.modules())}
    code = sorted(text for kind in classes for text in _code_of_class(kind))
    software = {**versions(), "python": ".".join(map(str, sys.version_info[:2]))}
    shape = {
        "env": [env_name, _stable(env_options or {}), repr(env.spec), env.num_envs, env.device.type],
        "algorithm": [f"{type(algorithm).__module__}.{type(algorithm).__qualname__}", _stable(plain(algorithm.config))],
        "weights": weights.hexdigest(),
        "code": code,
        "seed": seed,
        "steps": None if steps % eval_every == 0 else steps,
        "evaluations": [eval_every, eval_episodes],
        "versions": software,
    }
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:32]


def _stable(value: Any) -> Any:
    """Options as JSON, equal for equal values: tables may be lists, arrays or tensors."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return _stable(value.tolist())
    if isinstance(value, Mapping):
        return {str(k): _stable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_stable(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _code_of_class(kind: type) -> Iterator[str]:
    if not kind.__module__.startswith("torch."):
        yield f"{kind.__module__}.{kind.__qualname__}"
    for base in kind.__mro__:
        if base.__module__.split(".")[0] in ("torch", "builtins", "typing") or base is Algorithm:
            continue
        for name, member in vars(base).items():
            function = getattr(member, "__func__", member)
            function = member.fget if isinstance(member, property) else function
            if isinstance(function, types.FunctionType):
                yield f"{base.__module__}.{base.__qualname__}.{name}: {_code_of_function(function, set())}"


def _code_of_function(function: types.FunctionType, seen: set[str]) -> str:
    """Bytecode, constants and names, with the functions of the same file that it names."""
    seen.add(function.__qualname__)
    text = _code(function.__code__) + _stable_text(function.__defaults__) + _stable_text(function.__kwdefaults__)
    for name in _names(function.__code__):
        other = function.__globals__.get(name)
        if isinstance(other, types.FunctionType) and other.__module__ == function.__module__ and other.__qualname__ not in seen:
            text += _code_of_function(other, seen)
    return hashlib.sha256(text.encode()).hexdigest()


def _code(code: types.CodeType) -> str:
    constants = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars))


def _names(code: types.CodeType) -> list[str]:
    inner = [name for c in code.co_consts if isinstance(c, types.CodeType) for name in _names(c)]
    return sorted({*code.co_names, *inner})


def _stable_text(value: Any) -> str:
    return json.dumps(_stable(value), sort_keys=True)
