"""How much of MNMPG's meta-gradient is signal? Chapter 05's committed measurement, on lumberjacks.

    python benchmarks/meta_signal.py                      # datasets/meta_signal.npz, about 13 minutes on one busy thread
    python benchmarks/meta_signal.py --stages 0 2000 --pairs 4 --name try.npz --folder .

One MNMPG team is trained with the settings of the study mnmpg-lumberjacks (benchmarks/grid_study.py). At each stage it
stands still, and copies of it play ``--pairs`` meta rounds with other seeds, each up to the meta step that is not taken.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import marlcourse as mc
from marlcourse.course.data import save_dataset
from marlcourse.course.meta_study import meta_pairs, signal_to_noise

WORLDS = 8
SETTINGS = {"updates_per_collect": 8, "batch_size": 32, "exercise_updates": 8}  # as benchmarks/grid_study.py


def measure(stages: list[int], pairs: int, seed: int, progress: bool = True) -> dict[str, np.ndarray]:
    """env_steps, epsilon, seconds [S]; improvement [S,n]; stored, redrawn, literal [S,n,P], in half precision."""
    env = mc.make("lumberjacks", num_envs=WORLDS, device="cpu", seed=seed)
    team = mc.MNMPG(env.spec, mc.MNMPG.Config.preset("paper", **SETTINGS), seed=seed, device="cpu")
    trainer = mc.Trainer(env, team, seed=seed, eval_every=10**9, eval_episodes=WORLDS)
    found: dict[str, list] = {}
    for stage in stages:
        if stage > trainer.env_steps:
            trainer.fit(stage, progress=False)
        began = time.perf_counter()
        got = meta_pairs(trainer, pairs, seed=stage)
        row = {name: getattr(got, name).numpy() for name in ("improvement", "stored", "redrawn", "literal")}
        row |= {"env_steps": trainer.env_steps, "epsilon": team.config.epsilon(trainer.env_steps)}
        row["seconds"] = time.perf_counter() - began
        for name, value in row.items():
            found.setdefault(name, []).append(value)
        if progress:
            snr = signal_to_noise(got.stored)
            print(f"{trainer.env_steps:7} steps, {pairs} pairs in {row['seconds']:.0f} s: {snr}", flush=True)
    half = ("stored", "redrawn", "literal")
    return {name: np.array(value, dtype=np.float16 if name in half else None) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 20_000, 60_000], help="environment steps")
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="meta_signal.npz")
    parser.add_argument("--folder")
    options = parser.parse_args()
    data = measure(options.stages, options.pairs, options.seed)
    stages = " ".join(map(str, options.stages))
    command = f"python benchmarks/meta_signal.py --stages {stages} --pairs {options.pairs} --seed {options.seed}"
    notes = f"{options.pairs} pairs (D0, D1) of {WORLDS} episodes, copies of one team, at each of {len(options.stages)} stages"
    print(save_dataset(options.name, data, command=command, seeds=[options.seed], notes=notes, folder=options.folder))


if __name__ == "__main__":
    main()
