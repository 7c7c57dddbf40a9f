"""The wall clock of one whole run: QMIX on lumberjacks, 200,000 environment steps, evaluation included, and where it goes.

    OMP_NUM_THREADS=2 python benchmarks/grid_run.py              # both variants of the world, about ten minutes
    OMP_NUM_THREADS=2 python benchmarks/grid_run.py --variants faithful --steps 40000

8 worlds, one update per episode (8 per collect), batches of 32 episodes, PyMARL's preset otherwise; 20 evaluations of 32
greedy episodes. In ma-gym's own variant (``faithful=True``) a tree stands out of reach in nearly every episode, which so lasts
its 100 steps: about 2,000 updates. In the game as described a trained team is done after about 32 steps, so that the same
200,000 steps hold some 5,000 episodes and as many updates.

The share spent outside tensor work comes from a short profiled stretch after the run: the time in which no operator of
PyTorch ran. The profiler slows operators more than Python, so the true share is somewhat larger. On a virtual machine
``core_seconds_taken_away`` says how long its host let the cores wait for others (steal time): more than a few, and the run
was not one on two idle cores. ``gflops_of_a_fixed_product`` (lowest, median, highest over the evaluations) is the rate of one
fixed product of matrices with the same threads: a machine that is shared changes its speed without showing it anywhere else.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from measure import taken_away, write
from torch.profiler import ProfilerActivity, profile

import marlcourse as mc

VARIANTS = {"as described": {}, "faithful": {"faithful": True}}
BAR = 150  # seconds, for 200,000 steps on two idle cores


class Clock:
    """Seconds spent inside some methods, counted where they are called."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}

    def watch(self, owner, method: str, name: str) -> None:
        """Replace ``owner.method`` by one that counts its time under ``name``."""
        inner = getattr(owner, method)

        def timed(*arguments, **named):
            start = time.perf_counter()
            try:
                return inner(*arguments, **named)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
                self.calls[name] = self.calls.get(name, 0) + 1

        setattr(owner, method, timed)


class Speed(mc.Callback):
    """How quick the machine is along the run: one fixed matrix product, its median rate at every evaluation."""

    def __init__(self):
        self.gflops: list[float] = []
        self.factors = torch.randn(192, 6464), torch.randn(6464, 64)

    def on_evaluation(self, trainer, row) -> None:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            torch.mm(*self.factors)
            seconds.append(time.perf_counter() - start)
        self.gflops.append(2e-9 * 192 * 6464 * 64 / statistics.median(seconds))


def outside_operators(trainer: mc.Trainer, steps: int = 2_000) -> float:
    """The share of a stretch of training in which no operator ran."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        start = time.perf_counter()
        trainer.fit(trainer.env_steps + steps, progress=False)
        wall = time.perf_counter() - start
    outermost = [e for e in record.events() if e.cpu_parent is None]
    return max(0.0, 1 - sum(e.time_range.elapsed_us() for e in outermost) / 1e6 / wall)


def measure(options: dict, steps: int, seed: int = 0) -> dict[str, object]:
    """One run: seconds in all and by part, updates, the last evaluation."""
    env = mc.make("lumberjacks", num_envs=8, device="cpu", seed=seed, **options)
    config = mc.QMIX.Config.preset("pymarl", updates_per_collect=8, batch_size=32)
    algorithm = mc.QMIX(env.spec, config, seed=seed)
    speed = Speed()
    trainer = mc.Trainer(env, algorithm, seed=seed, callbacks=[speed])
    clock = Clock()
    clock.watch(trainer.context.collector, "collect", "collecting")
    clock.watch(trainer.context.buffer, "add", "storing")
    clock.watch(trainer.context.buffer, "sample", "sampling")
    clock.watch(trainer.context, "step", "learning")
    clock.watch(trainer, "_evaluate", "evaluating")
    others = taken_away()
    run = trainer.fit(steps, progress=False)
    others = taken_away() - others
    split = {name: round(value, 1) for name, value in clock.seconds.items()}
    return {
        "seconds": round(run.wall_time, 1),
        "core_seconds_taken_away": round(others, 1),
        "gflops_of_a_fixed_product": [round(f(speed.gflops)) for f in (min, statistics.median, max)],
        "split": split | {"the rest": round(run.wall_time - sum(clock.seconds.values()), 1)},
        "env_steps": trainer.env_steps,
        "updates": trainer.context.updates_done,
        "ms_per_update": round(1000 * clock.seconds["learning"] / clock.calls["learning"], 1),
        "last_return": round(run.history[-1]["return_mean"], 1),
        "share_outside_operators": round(outside_operators(trainer), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = {}
    for name in arguments.variants:
        results[name] = row = measure(VARIANTS[name], arguments.steps)
        print(f"lumberjacks, {name}: " + ", ".join(f"{k} {v}" for k, v in row.items()))
    note = f"QMIX, 8 worlds, 8 updates per collect, batches of 32; bar for 200,000 steps: {BAR} s on two idle cores"
    write("grid_run", {"note": note, "runs": results})


if __name__ == "__main__":
    main()
