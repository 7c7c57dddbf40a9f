"""Chapter 03's own figures: IGM by enumeration, what ma-gym's Lumberjacks can reach, short runs of three learners.

    python benchmarks/qmix_checks.py                 # the first two, less than a minute
    python benchmarks/qmix_checks.py --only igm --cases 2000
    python benchmarks/qmix_checks.py --only quick --seeds 5    # about 9 minutes: datasets/lumberjacks_quick.csv

Prints one line for each figure, with a 95 % Wilson interval where it is a share.
"""

from __future__ import annotations

import argparse
from math import sqrt

import torch

import marlcourse as mc
from marlcourse.course.checks.ch03 import best_joint_action
from marlcourse.course.data import save_dataset
from marlcourse.course.lumberjacks_study import nothing_out_of_reach, short_team
from marlcourse.nets.mixers import MonotonicMixer


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % Wilson interval of a share."""
    p, d = hits / n, 1 + z * z / n
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / d), min(1.0, (middle + half) / d)


def igm(cases: int, n: int = 3, a: int = 4, s: int = 5) -> int:
    """In how many cases (fresh hypernetworks, a random state, random utilities) is the best of all a^n joint actions each
    agent's own best?"""
    hits = 0
    for seed in range(cases):
        torch.manual_seed(seed)
        mixer, state, q = MonotonicMixer(n, s), torch.randn(s), torch.randn(n, a)
        best = best_joint_action(q, lambda u: mixer(u, state.expand(len(u), -1)))  # noqa: B023
        hits += best == tuple(q.argmax(-1).tolist())
    return hits


def in_reach(games: int, seed: int = 0) -> tuple[int, float]:
    """Of so many starts of ma-gym's Lumberjacks: in how many do all trees grow where lumberjacks can go; mean trees there."""
    env = mc.make("lumberjacks", num_envs=games, device="cpu", faithful=True)
    env.reset(seed=seed)
    trees = env.state["trees"].unflatten(1, (env.width, -1))[:, env.grid, env.grid] > 0
    there = trees[:, :4, :4].sum((1, 2))
    return int((there == env.n_trees).sum()), float(there.float().mean())


def quick(seeds: int, steps: int) -> None:
    """QMIX, VDN and IQL with chapter 03's quick settings: datasets/lumberjacks_quick.csv. What was run is kept."""
    kinds = {
        kind.__name__: lambda spec, seed, kind=kind: short_team(kind, spec, steps, seed) for kind in (mc.QMIX, mc.VDN, mc.IQL)
    }
    result = mc.compare("lumberjacks", kinds, seeds, steps, eval_every=1500, eval_episodes=16, device="cpu", progress=False)
    frame = result.frame()[["algorithm", "seed", "env_steps", "return_mean", "length_mean"]].round(3)
    command = f"python benchmarks/qmix_checks.py --only quick --seeds {seeds} --steps {steps}"
    notes = f"{steps:,} environment steps a run; settings: course.lumberjacks_study.QUICK"
    print(save_dataset("lumberjacks_quick.csv", frame, command=command, seeds=range(seeds), notes=notes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["igm", "reach", "quick"])
    parser.add_argument("--cases", type=int, default=2000, help="random mixers")
    parser.add_argument("--games", type=int, default=400_000, help="starts of a game")
    parser.add_argument("--seeds", type=int, default=5, help="of the short runs")
    parser.add_argument("--steps", type=int, default=24_000, help="of the short runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.only in (None, "igm"):
        hits = igm(arguments.cases)
        low, high = wilson(hits, arguments.cases)
        print(f"IGM holds in {hits / arguments.cases:.4f} of {arguments.cases:,} cases (interval {low:.4f} to {high:.4f})")
    if arguments.only in (None, "reach"):
        hits, mean = in_reach(arguments.games)
        low, high = wilson(hits, arguments.games)
        print(f"all trees in reach: {hits / arguments.games:.6f} of {arguments.games:,} games ({low:.6f} to {high:.6f})")
        print(f"the same by counting: {nothing_out_of_reach():.6f}")
        print(f"trees in reach: {mean:.3f} of 12 on average")
    if arguments.only == "quick":
        quick(arguments.seeds, arguments.steps)


if __name__ == "__main__":
    main()
