"""Chapter 02 at full scale: six methods, six payoff tables, three kinds of data; and the two sweeps.

    python benchmarks/matrix_study.py [--seeds 16] [--steps 1000] [--only grid sweeps two-step]

Writes datasets/matrix_grid.csv (one row for each method, table, kind of data and seed), datasets/matrix_sweeps.csv (CW-QMIX
and OW-QMIX over alpha, QTRAN over lambda_nopt, on QTRAN's game with uniform data), and datasets/matrix_two_step.csv (the
two-step game with the ordinary Trainer: uniform data, and epsilon annealed to .05).
"""

from __future__ import annotations

import argparse
import os
import time

import pandas as pd
import torch

import marlcourse as mc
from marlcourse.course.data import save_dataset
from marlcourse.course.matrix_study import GRID, METHODS, fit_table, fit_tables, kinds_of_data

ALPHAS = (0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
LAMBDAS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
SWEEPS = {"CW-QMIX": ("alpha", ALPHAS), "OW-QMIX": ("alpha", ALPHAS), "QTRAN": ("lambda_nopt", LAMBDAS)}
QTRAN_STEPS = 2  # times as many updates: its preset's step size is smaller


def updates(method: str, steps: int) -> int:
    return steps * QTRAN_STEPS if method == "QTRAN" else steps


def rows_of(fit, **what) -> list[dict]:
    """One dictionary per seed."""
    per_seed = zip(fit.greedy.tolist(), fit.payoff.tolist(), fit.sse.tolist())
    best = float(fit.true.max())
    return [
        {**what, "seed": seed, "action 1": u[0], "action 2": u[1], "payoff": r, "optimal": int(r >= best), "sse": round(e, 3)}
        for seed, (u, r, e) in enumerate(per_seed)
    ]


def grid(seeds: int, steps: int) -> pd.DataFrame:
    table = []
    for method in METHODS:
        n = updates(method, steps)
        for names in GRID:
            fits = fit_tables(method, {name: name for name in names}, kinds_of_data(n), range(seeds), n)
            for (name, how), fit in fits.items():
                table += rows_of(fit, method=method, table=name, data=how, updates=n)
            print(method, {key: fit.optimal for key, fit in fits.items()}, flush=True)
    return pd.DataFrame(table)


def sweeps(seeds: int, steps: int) -> pd.DataFrame:
    table = []
    for method, (option, values) in SWEEPS.items():
        for value in values:
            n = updates(method, steps)
            fit = fit_table(method, "qtran", seeds=range(seeds), steps=n, **{option: value})
            table += rows_of(fit, method=method, option=option, value=value, updates=n)
            print(method, option, value, fit.optimal, flush=True)
    return pd.DataFrame(table)


def two_step(seeds: int, env_steps: int = 16_000) -> pd.DataFrame:
    """Greedy return of the ordinary Trainer over training, for both ways to explore."""
    table = []
    for how, changes in {"uniform": {}, "annealed": {"epsilon": mc.Schedule(1.0, 0.05, env_steps // 2)}}.items():
        for kind in (mc.VDN, mc.QMIX):
            for seed in range(seeds):
                env = mc.make("two-step", num_envs=32, device="cpu")
                algorithm = kind(env.spec, kind.Config.preset("two-step", **changes), seed=seed, device="cpu")
                run = mc.Trainer(env, algorithm, seed=seed, eval_every=1000).fit(env_steps)
                table += [
                    {
                        "method": kind.__name__,
                        "data": how,
                        "seed": seed,
                        "env_steps": row["env_steps"],
                        "return": row["return_mean"],
                    }
                    for row in run.history
                ]
            print(kind.__name__, how, table[-1]["return"], flush=True)
    return pd.DataFrame(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1000, help="updates (QTRAN: twice as many)")
    parser.add_argument("--only", nargs="+", choices=["grid", "sweeps", "two-step"], default=["grid", "sweeps", "two-step"])
    parser.add_argument("--folder", default=None, help="where to write (default: datasets/)")
    options = parser.parse_args()
    os.environ["MARLCOURSE_PROGRESS"] = "0"
    torch.set_num_threads(1)
    for part in options.only:
        began = time.process_time()
        seeds = 5 if part == "two-step" else options.seeds
        frame = two_step(seeds) if part == "two-step" else {"grid": grid, "sweeps": sweeps}[part](seeds, options.steps)
        path = save_dataset(
            f"matrix_{part.replace('-', '_')}.csv",
            frame,
            command=f"python benchmarks/matrix_study.py --only {part} --seeds {options.seeds} --steps {options.steps}",
            seeds=range(seeds),
            notes=f"{time.process_time() - began:.0f} seconds of processor time on one thread",
            folder=options.folder,
        )
        print(f"written: {path}")


if __name__ == "__main__":
    main()
