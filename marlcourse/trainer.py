"""The trainer: a loop that knows nothing of the algorithm, and the record of what it did."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch

from .config import whole
from .core import Algorithm, Discrete, EnvSpec, VecEnv
from .device import keep_freed_memory, pick_device
from .evaluation import evaluate
from .rollout import Context
from .seeds import derive_seed
from .stopping import StopButton, no_bars


@dataclasses.dataclass
class Run:
    """What a fit returns: ``history`` has one row (a dict) per evaluation, the first before any training."""

    history: list[dict[str, Any]]
    env: str
    algorithm: str
    config: dict[str, Any]
    seed: int
    versions: dict[str, str]
    device: str
    wall_time: float = 0.0
    interrupted: bool = False

    def frame(self):
        """The history as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame(self.history)

    def plot(self, y: str = "return_mean", ax=None):
        """Draw one column of the history over environment steps."""
        from .viz.curves import plot_runs

        return plot_runs({self.algorithm: [self]}, y=y, ax=ax)

    def save(self, path: str | Path) -> None:
        """Write the record as JSON (whole or not at all)."""
        write_atomically(Path(path), json.dumps(dataclasses.asdict(self), indent=1).encode())

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read a saved record."""
        return cls(**json.loads(Path(path).read_text()))


class Callback:
    """Called by :meth:`Trainer.fit`; override what you need. ``trainer.run`` is the record so far."""

    def on_start(self, trainer: Trainer) -> None: ...
    def on_iterate(self, trainer: Trainer, metrics: dict[str, torch.Tensor]) -> None: ...
    def on_evaluation(self, trainer: Trainer, row: dict[str, Any]) -> None: ...
    def on_end(self, trainer: Trainer) -> None: ...


class Trainer:
    """Lets an algorithm iterate until the clock says enough; evaluates, checkpoints, can be stopped and resumed.

    ==================  ==========================================================================================
    run_dir             folder for checkpoints and ``run.json``; None keeps everything in memory
    eval_every          environment steps between evaluations (default: a twentieth of the first ``fit``); each plays
                        ``eval_episodes`` greedy episodes in a copy of the world, which disturbs nothing
    checkpoint_every    environment steps between checkpoints (default: at each evaluation)
    device              moves the algorithm there; None leaves it where it is
    buffer_device       where the replay lives
    ==================  ==========================================================================================

    Raises ValueError when ``run_dir`` already holds a run, when algorithm and world do not fit, or when the replay
    would not fit into memory.
    """

    def __init__(
        self,
        env: VecEnv,
        algorithm: Algorithm,
        *,
        seed: int = 0,
        device: str | torch.device | None = None,
        buffer_device: str | torch.device = "cpu",
        run_dir: str | Path | None = None,
        checkpoint_every: int | None = None,
        eval_every: int | None = None,
        eval_episodes: int = 32,
        callbacks=(),
    ):
        if not isinstance(algorithm, Algorithm) or not isinstance(getattr(env, "spec", None), EnvSpec):
            raise TypeError(
                "Trainer(env, algorithm) takes a world, such as marlcourse.make('two-step'), and an algorithm built for it, "
                f"not {type(env).__name__} and {algorithm if isinstance(algorithm, type) else type(algorithm).__name__}."
            )
        if algorithm.spec != env.spec:
            raise ValueError(
                f"The algorithm was built for {algorithm.spec}, but the world is {env.spec}: build it with env.spec."
            )
        if device is not None:
            algorithm.to(pick_device(device))
        counts = {"checkpoint_every": checkpoint_every, "eval_every": eval_every, "eval_episodes": eval_episodes}
        for name, value in counts.items():
            if value is not None:
                whole(name, value, 1)
        seed = whole("seed", seed)
        self.run_dir = None if run_dir is None else Path(run_dir)
        if self.run_dir is not None and (self.run_dir / "checkpoint.pt").exists():
            raise ValueError(
                f"{self.run_dir} already holds a run: go on with marlcourse.Trainer.resume({str(self.run_dir)!r}, env), "
                "or choose another run_dir."
            )
        if self.run_dir is not None:
            from .checkpoint import refuse_unstorable

            refuse_unstorable(algorithm)
        algorithm.env_steps = 0  # a new run's clock, also for a team that was trained before
        self._set_up(env, algorithm, seed, buffer_device, checkpoint_every, eval_every, eval_episodes, callbacks)

    def _set_up(self, env, algorithm, seed, buffer_device, checkpoint_every, eval_every, eval_episodes, callbacks) -> None:
        if not isinstance(callbacks, (list, tuple)) or any(isinstance(c, type) for c in callbacks):
            raise TypeError(f"callbacks must be a list of callbacks, such as [LivePlot('return')], not {callbacks!r}.")
        if type(algorithm).iterate is Algorithm.iterate:
            for name in ("replay_episodes", "batch_size"):
                if not hasattr(algorithm.config, name):
                    raise TypeError(
                        f"The default iterate learns from a replay: give {type(algorithm).__name__}.Config the settings "
                        "replay_episodes and batch_size, or write an iterate that uses ctx.collect() alone."
                    )
        self.env, self.algorithm, self.seed, self.callbacks = env, algorithm.train(), seed, tuple(callbacks)
        self.checkpoint_every, self.eval_every, self.eval_episodes = checkpoint_every, eval_every, eval_episodes
        self.buffer_device = pick_device(buffer_device)
        refuse_if_too_large(env.spec, getattr(algorithm.config, "replay_episodes", 0), self.buffer_device)
        self.context = Context(env, algorithm, seed, self.buffer_device)
        self.next_eval = self.next_checkpoint = 0
        self.sums: dict[str, torch.Tensor] = {}  # of metrics since the last evaluation
        self.count = 0
        self.last_checkpoint: int | None = None
        self.run = Run(
            [],
            env.spec.name,
            type(algorithm).__name__,
            plain(algorithm.config),
            seed,
            versions(),
            str(algorithm.device),
        )

    @property
    def env_steps(self) -> int:
        """Environment steps so far, summed over worlds."""
        return self.context.env_steps

    def fit(self, steps: int, progress: bool = True) -> Run:
        """Train until the clock reads ``steps`` environment steps in total, and return the run.

        Called again with the same number (after :meth:`resume`, say) it goes on to that number; one that is already
        reached returns at once. The stop button (an interrupt) ends the current round, leaves a checkpoint where there
        is a ``run_dir``, and returns the run so far; a second interrupt stops at once. The run ends with an evaluation;
        the last checkpoint is taken before it, so that going on later equals never having stopped.
        """
        steps = whole("steps", steps, 1)  # the total, not so many more
        if self.eval_every is None:
            self.eval_every = max(1, steps // 20)
        began = time.perf_counter() - self.run.wall_time
        self.run.interrupted = False
        if self.algorithm.device.type == "cpu":
            keep_freed_memory()
        self._call("on_start")
        with StopButton() as stop, _bar(steps, self, progress) as bar:
            while self.env_steps < steps and not stop.pressed:
                if self.env_steps >= self.next_eval:
                    self._evaluate(began)
                metrics = self._iterate()
                self._call("on_iterate", metrics)
                bar.update(min(self.env_steps, steps) - bar.n)
                if self.run_dir is not None and self.env_steps >= self.next_checkpoint:
                    self._checkpoint(began)
            self.run.interrupted = stop.pressed
        if self.run_dir is not None:
            self._checkpoint(began)
        if not self.run.history or self.run.history[-1]["env_steps"] < self.env_steps:
            self._evaluate(began)
        self.run.wall_time = time.perf_counter() - began
        if self.run_dir is not None:
            self.run.save(self.run_dir / "run.json")
        self._call("on_end")
        return self.run

    def _iterate(self) -> dict[str, torch.Tensor]:
        try:
            metrics = self.algorithm.iterate(self.context)
            self.context.raise_if_not_finite()
        except FloatingPointError as problem:
            if len(problem.args) != 2:  # not ours
                raise
            term, value = problem.args
            saved = f"the last good checkpoint is {self.run_dir} at {self.last_checkpoint or 0:,} steps"
            if self.last_checkpoint is None:
                saved = "no checkpoint was taken (give the Trainer a run_dir to have one)"
            raise FloatingPointError(
                f"Training stopped at {self.env_steps:,} environment steps, update {self.context.updates_done:,}: the "
                f"{term} became {value}; {saved}. Try a smaller learning rate, or look for a division by zero or a log of zero "
                "in that term."
            ) from None
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + torch.as_tensor(value).detach()
        self.count += bool(metrics)
        return metrics

    def _evaluate(self, began: float) -> None:
        seed = derive_seed(self.seed, "evaluation", self.env_steps)
        row: dict[str, Any] = {"env_steps": self.env_steps}
        row |= dataclasses.asdict(evaluate(self.env, self.algorithm, self.eval_episodes, seed))
        row |= {name: float(total) / self.count for name, total in self.sums.items()}
        row["wall_time"] = time.perf_counter() - began
        self.sums, self.count = {}, 0
        self.next_eval = (self.env_steps // self.eval_every + 1) * self.eval_every
        self.run.history.append(row)
        self.run.wall_time = row["wall_time"]
        self._call("on_evaluation", row)

    def _checkpoint(self, began: float) -> None:
        every = self.checkpoint_every or self.eval_every
        self.next_checkpoint = (self.env_steps // every + 1) * every
        self.run.wall_time = time.perf_counter() - began
        try:
            self.save(self.run_dir)
        except OSError as problem:
            last, reason = self.last_checkpoint, problem.strerror or problem
            kept = "there is none yet" if last is None else f"the one at {last:,} steps is intact"
            raise OSError(
                f"The checkpoint at {self.env_steps:,} steps could not be written to {self.run_dir} ({reason}); "
                f"{kept}: make room, then call fit again or Trainer.resume."
            ) from None

    def _call(self, event: str, *args: Any) -> None:
        for callback in self.callbacks:
            if hasattr(callback, event):
                getattr(callback, event)(self, *args)

    def save(self, path: str | Path) -> None:
        """Write a checkpoint folder from which :meth:`resume` goes on bit for bit (on the same CPU)."""
        from .checkpoint import save_checkpoint

        save_checkpoint(self, Path(path))
        if self.run_dir is not None and Path(path) == self.run_dir:
            self.last_checkpoint = self.env_steps

    @classmethod
    def resume(cls, path: str | Path, env: VecEnv, algorithm: Algorithm | None = None, callbacks=()) -> Trainer:
        """Go on from a checkpoint folder in a world made like the first one.

        ``algorithm`` is needed only when it holds a part of the reader's own: build it as before, its weights are loaded.
        Raises ValueError with the reason when the folder is no checkpoint, is damaged, or belongs to another world.
        """
        from .checkpoint import load_checkpoint

        return load_checkpoint(cls, Path(path), env, algorithm, callbacks)


def plain(value: Any) -> Any:
    """A config as dicts, lists, strings and numbers, for checkpoints and records."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, type):
        return value.__name__
    return list(map(plain, value)) if isinstance(value, (list, tuple)) else value


def versions() -> dict[str, str]:
    """Of Python, PyTorch and marlcourse."""
    from . import __version__

    return {"python": platform.python_version(), "torch": str(torch.__version__), "marlcourse": __version__}


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file in the same folder, then rename: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)  # a full disk is not made fuller
        raise


def replay_bytes(spec: EnvSpec, capacity: int) -> int:
    """Size of a full replay: observations, states, masks and actions of ``capacity`` whole episodes."""
    t, discrete = spec.episode_limit, isinstance(spec.actions, Discrete)
    state = 0 if spec.state_is_obs else 4 * spec.state_dim
    per_observation = 4 * spec.n_agents * spec.obs_dim + state + (spec.n_agents * spec.actions.n if discrete else 0)
    per_step = spec.n_agents * (8 if discrete else 4 * spec.actions.dim) + 10
    return capacity * ((t + 1) * per_observation + t * per_step)


def refuse_if_too_large(spec: EnvSpec, capacity: int, device: torch.device) -> None:
    """Refuse, with the arithmetic, a replay that does not fit into free memory; say how much a large one will take."""
    if not capacity:
        return
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    need, gib = replay_bytes(spec, capacity), 2**30
    if need > free:
        raise ValueError(
            f"A replay of {capacity:,} episodes x {spec.episode_limit} steps of {spec.name} needs {need / gib:.1f} GiB, but "
            f"{free / gib:.1f} GiB are free on {device}: keep at most {int(capacity * free / need * 0.8):,} episodes "
            "(the algorithm's replay_episodes setting)."
        )
    if need > 2**27:
        print(f"Replay: up to {capacity:,} episodes of {spec.name}, {need / gib:.2f} GiB on {device}.", file=sys.stderr)


def free_memory() -> float:
    """Bytes of main memory that a new object may take: what Linux calls available, else psutil's answer, else no limit."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass
    try:
        import psutil
    except ImportError:
        return float("inf")
    return float(psutil.virtual_memory().available)


def _bar(steps: int, trainer: Trainer, progress: bool):
    """A progress bar that appears when a fit lasts longer than a second; none at ci scale or with MARLCOURSE_PROGRESS=0."""
    from tqdm.auto import tqdm

    name = f"{trainer.run.algorithm} on {trainer.run.env}"
    return tqdm(
        total=steps,
        initial=min(trainer.env_steps, steps),
        desc=name,
        unit="step",
        delay=1,
        mininterval=0.5,
        disable=not progress or no_bars(),
        leave=False,
    )
