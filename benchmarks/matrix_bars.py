"""What the value-based methods choose in the two-step game and in QTRAN's 3x3 game, with five seeds.

    python benchmarks/matrix_bars.py [--only two-step annealed qtran "sweep CW-QMIX" "sweep QTRAN"]

Writes benchmarks/results/matrix_bars.json after every part:

* ``two-step``: preset "two-step", uniform data; the greedy return that each seed ends with (VDN 7, QMIX 8);
* ``annealed``: the same with epsilon from 1 to .05 over the first half of the run;
* ``qtran``: preset "matrix", uniform data, learned central critic; ``first`` is the choice before training;
* ``sweep ...``: CW-QMIX over alpha, QTRAN over lambda_nopt: the share of 8 seeds that choose 8, fitted to the exact uniform
  data (every joint action once) by the same losses for 1000 steps, all seeds at once.
"""

from __future__ import annotations

import argparse
import json
import os
import time

import torch
from measure import RESULTS, write

import marlcourse as mc
from marlcourse.course.matrix_study import fit_table

SEEDS = range(5)
WORLDS = 32
ALPHAS = (0.1, 0.5, 0.75, 0.9, 1.0)
LAMBDAS = (0.0, 0.001, 0.01, 0.1, 1.0)


def final_returns(game: str, kind: type, preset: str, steps: int, **changes) -> dict:
    """Greedy return before and after training, for every seed, and the median seconds of a run."""
    first, last, seconds = [], [], []
    for seed in SEEDS:
        began = time.perf_counter()
        env = mc.make(game, num_envs=WORLDS, device="cpu")
        algorithm = kind(env.spec, kind.Config.preset(preset, **changes), seed=seed, device="cpu")
        run = mc.Trainer(env, algorithm, seed=seed, eval_every=steps).fit(steps)
        seconds.append(time.perf_counter() - began)
        first.append(run.history[0]["return_mean"])
        last.append(run.history[-1]["return_mean"])
    result = {"env_steps": steps, "first": first, "last": last, "seconds": round(sorted(seconds)[len(seconds) // 2], 1)}
    print(game, kind.__name__, changes, result, flush=True)
    return result


def sweep(method: str, option: str, values) -> dict:
    """Share of 8 seeds that choose the optimum of QTRAN's game, for each value of one option."""
    out = {}
    for value in values:
        fit = fit_table(method, "qtran", seeds=range(8), steps=1000, **{option: value})
        payoffs = fit.payoff.tolist()
        out[str(value)] = {"chooses 8": fit.optimal, "payoffs": {str(p): payoffs.count(p) for p in sorted(set(payoffs))}}
        print(method, option, value, out[str(value)], flush=True)
    return out


def two_step(**changes) -> dict:
    return {k.__name__: final_returns("two-step", k, "two-step", 16_000, **changes) for k in (mc.VDN, mc.QMIX)}


PARTS = {
    "two-step": two_step,
    "annealed": lambda: two_step(epsilon=mc.Schedule(1.0, 0.05, 8_000)),
    "qtran": lambda: {
        k.__name__: final_returns("matrix/qtran", k, "matrix", 20_000)
        for k in (mc.CWQMIX, mc.QTRAN, mc.OWQMIX, mc.QMIX, mc.VDN, mc.IQL)
    },
    "sweep CW-QMIX": lambda: sweep("CW-QMIX", "alpha", ALPHAS),
    "sweep QTRAN": lambda: sweep("QTRAN", "lambda_nopt", LAMBDAS),
}


def main() -> None:
    """Run the parts asked for; parts measured before stay in the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    asked = parser.parse_args()
    os.environ["MARLCOURSE_PROGRESS"] = "0"
    torch.set_num_threads(1)
    path = RESULTS / "matrix_bars.json"
    parts = json.loads(path.read_text())["parts"] if path.exists() else {}
    for name in asked.only:
        parts[name] = PARTS[name]()
        write("matrix_bars", {"seeds": list(SEEDS), "worlds": WORLDS, "parts": parts})


if __name__ == "__main__":
    main()
