"""Chapter 00's teams on the two-step game: one small file for `load_team`, and what ten seeds believed while they learned.

    python benchmarks/train_start_team.py                      # datasets/start_teams.npz, datasets/teams/two_step.pt
    python benchmarks/train_start_team.py --fresh-target       # datasets/start_fresh_target.npz: is the older copy to blame?
    python benchmarks/train_start_team.py --seeds 2 --steps 1000 --out FOLDER     # a quick trial elsewhere

Every team is QMIX with the preset "two-step" (all data uniform: epsilon 1); half of them with the published mixer, half
with a plain sum in its place. At each evaluation the whole mind of the team is written down: three situations, four joint
actions each. Arrays: ``env_steps`` [K]; for each mixer ``<mixer>_return`` [M,K] and ``<mixer>_q_tot`` [M,K,3,2,2];
``untrained_return`` [U], the greedy returns of QMIX's fresh networks with seeds 0..U-1. With ``--fresh-target`` the same
QMIX teams renew the target copy after every update (target_every=1): ``env_steps``, ``qmix_return`` and ``qmix_q_tot`` only.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch

import marlcourse as mc
from marlcourse.course.data import dataset_folders, save_dataset
from marlcourse.course.start import STEPS, PlainSum, TeamDiary, start_team


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="teams per mixer")
    parser.add_argument("--steps", type=int, default=STEPS, help="environment steps per team")
    parser.add_argument("--untrained", type=int, default=200, help="fresh teams")
    parser.add_argument("--fresh-target", action="store_true", help="only QMIX, its target copy renewed after every update")
    parser.add_argument("--out", default=None, help="folder (default: datasets/)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(arguments.out or dataset_folders()[0])
    (folder / "teams").mkdir(parents=True, exist_ok=True)

    arrays: dict[str, np.ndarray] = {}
    for mixer, parts in (("qmix", {}), ("sum", {"mixer": PlainSum})):
        if mixer == "sum" and arguments.fresh_target:
            continue
        diaries = []
        for seed in range(arguments.seeds):
            env, team = start_team(seed, **parts)
            if arguments.fresh_target:
                always = dataclasses.replace(team.config, target_every=1)
                team = mc.QMIX(env.spec, always, seed=seed, device="cpu")
            diary = TeamDiary()
            trainer = mc.Trainer(env, team, seed=seed, eval_every=arguments.steps // 40, callbacks=[diary])
            last = trainer.fit(arguments.steps).history[-1]
            print(f"{mixer} seed {seed}: return {last['return_mean']:g} after {last['env_steps']:,} steps", flush=True)
            diaries.append(diary)
            if (mixer, seed) == ("qmix", 0):
                shown = team
        arrays["env_steps"] = np.array(diaries[0].env_steps)
        arrays[f"{mixer}_return"] = np.array([d.returns for d in diaries], dtype=np.float32)
        arrays[f"{mixer}_q_tot"] = np.stack([np.stack(d.q_tot) for d in diaries]).astype(np.float32)
    command = f"python benchmarks/train_start_team.py --seeds {arguments.seeds} --steps {arguments.steps}"
    if arguments.fresh_target:
        note = "two-step game, QMIX with preset two-step but target_every=1"
        command += " --fresh-target"
        save_dataset("start_fresh_target.npz", arrays, command=command, seeds=range(arguments.seeds), notes=note, folder=folder)
        return
    fresh = [mc.evaluate(*start_team(seed), episodes=1).return_mean for seed in range(arguments.untrained)]
    arrays["untrained_return"] = np.array(fresh, dtype=np.float32)

    note = "two-step game, QMIX with preset two-step; sum: a plain sum in place of its mixer; untrained: fresh networks"
    save_dataset("start_teams.npz", arrays, command=command, seeds=range(arguments.seeds), notes=note, folder=folder)
    with tempfile.TemporaryDirectory() as scratch:
        mc.save_team(shown, Path(scratch) / "team.pt")
        data = (Path(scratch) / "team.pt").read_bytes()
    save_dataset("teams/two_step.pt", data, command=command, seeds=[0], notes="QMIX; open with load_team", folder=folder)


if __name__ == "__main__":
    main()
