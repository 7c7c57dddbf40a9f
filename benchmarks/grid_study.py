"""The grid-world study behind chapters 03 to 06: several learners, several seeds, 200,000 environment steps each.

    python benchmarks/grid_study.py list
    python benchmarks/grid_study.py run lumberjacks --processes 2      # resumable: call it again to go on
    python benchmarks/grid_study.py run lumberjacks --learners VDN IQL --steps 100000
    python benchmarks/grid_study.py run evidence --seeds 0-19 --steps 40000
    python benchmarks/grid_study.py gather lumberjacks                 # datasets/grid_lumberjacks.csv from finished runs

A learner may have run for fewer steps than another of its study (budget.md says which): ``gather`` takes the longest
finished run of each learner and seed. Every run is PyMARL's preset with 8 worlds, 8 updates per collect (one per episode)
and batches of 32 episodes, on one thread; learners of one study differ in nothing but what their name says. An evaluation
(8 greedy episodes) and a reading of the credit meter are taken at about every 1,000 environment steps. Runs lie in
$MARLCOURSE_CACHE/grid_study; those that datasets/ already holds are not played again, and ``gather`` keeps their rows.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import marlcourse as mc
from marlcourse.comparison import cache_folder
from marlcourse.exploration import Schedule
from marlcourse.meters import pooled_percentiles

STEPS, WORLDS, EVERY, EPISODES = 200_000, 8, 1_000, 8
COMMON = {"updates_per_collect": 8, "batch_size": 32}
GRE_SEARCHED = (1e-3, 5e-4, 1e-4)  # Zhao et al. 2022, caption of Figure 8
JUNCTION = {  # what else was tried against the published settings at ma-gym's junction
    "QMIX far-sighted": {"lam": 0.9, "target_every": 20, "batch_size": 16, "epsilon": Schedule(1.0, 0.05, 20_000)},
    "QMIX recent": {
        "lam": 0.9,
        "gamma": 0.95,
        "target_every": 20,
        "batch_size": 16,
        "replay_episodes": 500,
        "epsilon": Schedule(1.0, 0.05, 20_000),
    },
}
MNMPG = {  # Shao et al. 2021, section 4.4, with one update per episode as everybody here: 8 exercise updates on 8 episodes
    "MNMPG": {},
    "QMIX_large": {"meta_lr": 0.0},
    "MNMPG no-grad": {"td_reaches_encoder": False},
    "MNMPG no-s": {"mix_state": False},
    "MNMPG K=1": {"z_dim": 1},
    "MNMPG K=10": {"z_dim": 10},
    "MNMPG interval=1000": {"meta_interval": 1000},
    "MNMPG interval=2000": {"meta_interval": 2000},
}

# study -> (world, its options, learners worth running, is the credit of the mixer logged?)
STUDIES: dict[str, tuple[str, dict[str, Any], tuple[str, ...], bool]] = {
    "lumberjacks": ("lumberjacks", {}, ("QMIX", "VDN", "IQL"), False),
    "credit-lumberjacks": (
        "lumberjacks",
        {"faithful": True},
        ("QMIX", "QMIX-simple", *(f"QMIX-GRE {w:g}" for w in GRE_SEARCHED)),
        True,
    ),
    "credit-junction": (
        "traffic-junction-10",
        {"faithful": True},
        ("QMIX", "QMIX-simple", *(f"QMIX-GRE {w:g}" for w in GRE_SEARCHED)),
        True,
    ),
    "junction": ("traffic-junction-10", {"faithful": True, "state": "compact"}, tuple(JUNCTION), False),
    "junction-described": ("traffic-junction-10", {"state": "compact"}, ("QMIX far-sighted",), False),
    "mnmpg-lumberjacks": ("lumberjacks", {}, tuple(MNMPG), False),  # QMIX itself: study lumberjacks, the same world
    "evidence": ("lumberjacks", {}, ("QMIX", "QMIX-simple", "QMIX-GRE 0.001"), False),  # short runs, many seeds
}


def learner(name: str, spec, seed: int):
    """An algorithm by its name in this study."""
    kind, _, weight = name.partition(" ")
    if name in JUNCTION:
        return mc.QMIX(spec, mc.QMIX.Config.preset("pymarl", **{**COMMON, **JUNCTION[name]}), seed=seed)
    if kind == "QMIX-GRE":
        return mc.QMIXGRE(spec, mc.QMIXGRE.Config.preset("pymarl", entropy_weight=float(weight), **COMMON), seed=seed)
    if name in MNMPG:
        return mc.MNMPG(spec, mc.MNMPG.Config.preset("paper", exercise_updates=8, **MNMPG[name], **COMMON), seed=seed)
    classes = {"QMIX": "QMIX", "VDN": "VDN", "IQL": "IQL", "QMIX-simple": "QMIXSimple"}
    one = getattr(mc, classes[kind])
    return one(spec, one.Config.preset("pymarl", **COMMON), seed=seed)


def folder(study: str, name: str, seed: int, steps: int) -> Path:
    return cache_folder() / "grid_study" / f"{study}-{steps}" / name.replace(" ", "-") / str(seed)


def play(study: str, name: str, seed: int, steps: int) -> None:
    """One run, from its checkpoint where there is one; ends with run.json and the team."""
    world, options, _, credit = STUDIES[study]
    place = folder(study, name, seed, steps)
    env = mc.make(world, num_envs=WORLDS, device="cpu", seed=seed, **options)
    callbacks = [mc.CreditMeter(quantiles=41)] if credit else []
    if (place / "checkpoint.pt").exists():
        trainer = mc.Trainer.resume(place, env, callbacks=callbacks)
    else:
        settings = {"run_dir": place, "eval_every": EVERY, "eval_episodes": EPISODES, "checkpoint_every": 50_000}
        trainer = mc.Trainer(env, learner(name, env.spec, seed), seed=seed, callbacks=callbacks, **settings)
    run = trainer.fit(steps, progress=False)
    if run.interrupted:
        sys.exit(130)
    mc.save_team(trainer.algorithm, place / "team.pt")
    run.save(place / "finished.json")
    for heavy in place.iterdir():  # the replay is not needed again
        if heavy.name not in ("finished.json", "team.pt"):
            shutil.rmtree(heavy) if heavy.is_dir() else heavy.unlink()


def committed(study: str, suffix: str = ""):
    """The table of datasets/ that an earlier ``gather`` made, or an empty one."""
    import pandas as pd

    from marlcourse.course.data import load_dataset

    try:
        return load_dataset(f"grid_{study.replace('-', '_')}{suffix}.csv")
    except FileNotFoundError:
        return pd.DataFrame(columns=["algorithm", "seed", "env_steps"])


def budgets(study: str) -> dict[tuple[str, int], int]:
    """{(learner, seed): its environment steps, in whole thousands} of the runs in datasets/."""
    last = committed(study).groupby(["algorithm", "seed"])["env_steps"].max()
    return {key: int(steps) // 1000 * 1000 for key, steps in last.items()}


def run(study: str, names: list[str], seeds: list[int], steps: int, processes: int) -> int:
    """All runs that are not finished, ``processes`` at a time; seeds outside, so that what stands is balanced."""
    have = budgets(study)
    todo = [
        (name, seed)
        for seed in seeds
        for name in names
        if not (folder(study, name, seed, steps) / "finished.json").exists() and have.get((name, seed), 0) < steps
    ]
    print(f"{study}: {len(todo)} runs to do, {len(names) * len(seeds) - len(todo)} done")
    running: dict[subprocess.Popen, tuple[str, int, float]] = {}
    failed, started = 0, time.perf_counter()
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        while todo or running:
            while todo and len(running) < processes:
                name, seed = todo.pop(0)
                words = [
                    sys.executable,
                    __file__,
                    "one",
                    study,
                    "--learners",
                    name,
                    "--seeds",
                    str(seed),
                    "--steps",
                    str(steps),
                ]
                running[subprocess.Popen(words, env=env)] = (name, seed, time.perf_counter())
            time.sleep(0.5)
            for process in [p for p in running if p.poll() is not None]:
                name, seed, began = running.pop(process)
                failed += process.returncode != 0
                word = "done" if process.returncode == 0 else f"stopped with {process.returncode}"
                now = time.perf_counter()
                print(
                    f"{now - started:7.0f} s  {name}, seed {seed}: {word} in {now - began:.0f} s, {len(todo)} wait", flush=True
                )
    except KeyboardInterrupt:
        for process in running:
            process.send_signal(2)
            process.wait()
        print("stopped; finished runs and checkpoints are kept: run the same line again to go on")
        return 130
    return int(failed > 0)


def longest(study: str, name: str) -> dict[int, tuple[int, Path]]:
    """{seed: (steps, record)} of the longest finished run of each seed, in the order of the seeds."""
    found: dict[int, tuple[int, Path]] = {}
    for file in (cache_folder() / "grid_study").glob(f"{study}-[0-9]*/{name.replace(' ', '-')}/*/finished.json"):
        seed, steps = int(file.parent.name), int(file.parents[2].name.rpartition("-")[2])
        if steps > found.get(seed, (0, file))[0]:
            found[seed] = (steps, file)
    return dict(sorted(found.items()))


def gather(study: str) -> None:
    """datasets/grid_<study>.csv: one row per evaluation of every finished run, here or gathered before."""
    import pandas as pd

    from marlcourse.course.data import save_dataset

    before, before_pooled, have = committed(study), committed(study, "_pooled"), budgets(study)
    tables, pooled, seconds = [], [], []
    for name in STUDIES[study][2]:
        new = {seed: one for seed, one in longest(study, name).items() if one[0] > have.get((name, seed), 0)}
        for seed in sorted({*new, *(s for n, s in have if n == name)}):
            if seed not in new:
                tables.append(before[(before["algorithm"] == name) & (before["seed"] == seed)])
                pooled.append(before_pooled[(before_pooled["algorithm"] == name) & (before_pooled["seed"] == seed)])
                continue
            have[name, seed], file = new[seed]
            one = mc.Run.load(file)
            table = one.frame().assign(algorithm=name, seed=seed)
            numbers = table.select_dtypes("float").columns
            table[numbers] = table[numbers].map(lambda x: float(f"{x:.5g}"))
            tables.append(table.drop(columns=["wall_time", "entropy_quantiles"], errors="ignore"))
            seconds.append(one.wall_time)
            if STUDIES[study][3]:  # percentiles of all steps that were logged in this run, as the paper's Tables 2 and 3
                of_run = {f"p{k:g}": [v] for k, v in pooled_percentiles([one]).items()}
                pooled.append(pd.DataFrame({"algorithm": name, "seed": seed, **of_run}))
    if not seconds:
        raise SystemExit(f"No finished run of {study} in {cache_folder()} that datasets/ lacks: run it first.")
    table = pd.concat(tables)
    first = ["algorithm", "seed", "env_steps"]
    table = table[first + [c for c in table.columns if c not in first]]
    by_budget: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for name in STUDIES[study][2]:
        for steps in sorted({n for (who, _), n in have.items() if who == name}):
            seeds = tuple(sorted(seed for (who, seed), n in have.items() if (who, n) == (name, steps)))
            by_budget.setdefault((steps, seeds), []).append(name)
    lines = [
        f"run {study} --learners {' '.join(shlex.quote(x) for x in names)} --seeds {min(seeds)}-{max(seeds)} --steps {steps}"
        for (steps, seeds), names in by_budget.items()
    ]
    command = " && ".join(f"python benchmarks/grid_study.py {line}" for line in [*lines, f"gather {study}"])
    told = "; ".join(f"{steps:,} environment steps: {', '.join(names)}" for (steps, _), names in by_budget.items())
    notes = f"{len(have)} runs; the {len(seconds)} gathered last: {min(seconds):.0f} to {max(seconds):.0f} s each on one thread"
    about = {"command": command, "seeds": sorted({seed for _, seed in have}), "notes": f"{notes}; {told}"}
    print(save_dataset(f"grid_{study.replace('-', '_')}.csv", table, **about))
    if STUDIES[study][3]:
        print(save_dataset(f"grid_{study.replace('-', '_')}_pooled.csv", pd.concat(pooled), **about))


def numbers(text: str) -> list[int]:
    """ "0-4" or "7"."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["list", "run", "one", "gather"])
    parser.add_argument("study", nargs="?", choices=list(STUDIES))
    parser.add_argument("--learners", nargs="+")
    parser.add_argument("--seeds", type=numbers, default=list(range(5)))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.what == "list" or options.study is None:
        for study, (world, chosen, names, _) in STUDIES.items():
            print(f"{study:20} {world} {chosen or ''}: {', '.join(names)}")
        return 0
    names = options.learners or list(STUDIES[options.study][2])
    if unknown := [name for name in names if name not in STUDIES[options.study][2]]:
        parser.error(f"{options.study} has no learner {', '.join(unknown)}; it has {', '.join(STUDIES[options.study][2])}")
    if options.what == "gather":
        gather(options.study)
        return 0
    if options.what == "one":
        play(options.study, names[0], options.seeds[0], options.steps)
        return 0
    return run(options.study, names, options.seeds, options.steps, options.processes)


if __name__ == "__main__":
    sys.exit(main())
