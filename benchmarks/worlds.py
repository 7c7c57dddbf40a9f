"""Environment steps per second of the library's own worlds: random available actions, restarts counted in.

    python benchmarks/worlds.py                 # on the CPU, and on a GPU where PyTorch sees one
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from measure import write

from marlcourse.core import Discrete
from marlcourse.envs import make
from marlcourse.exploration import uniform_actions
from marlcourse.seeds import make_generator

WORLDS = ("junction", "matrix/qtran", "two-step")
NUMBERS = (1, 8, 64, 512, 4096)


def play(env, steps: int, generator: torch.Generator) -> float:
    """Seconds for ``steps`` steps in every world, each finished world restarted at once. Every one is a real step."""
    observation = env.reset(seed=0)
    _wait(env.device)
    start = time.perf_counter()
    for _ in range(steps):
        if isinstance(env.spec.actions, Discrete):
            actions = uniform_actions(observation.avail, generator)
        else:
            low, high = env.spec.actions.low, env.spec.actions.high
            shape = (env.num_envs, env.spec.n_agents, env.spec.actions.dim)
            actions = low + (high - low) * torch.rand(shape, generator=generator, device=env.device)
        observation, _, terminated, truncated, _ = env.step(actions)
        observation = env.reset(where=terminated | truncated)
    _wait(env.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rates(name: str, device: str, numbers=NUMBERS, runs: int = 5, seconds: float = 0.3) -> dict[str, dict[str, float]]:
    """{"B=64": {steps per second: median, min, max}}; a run is as many steps as take about ``seconds``."""
    result = {}
    for number in numbers:
        env, generator = make(name, num_envs=number, device=device, seed=0), make_generator(device, 0)
        play(env, 3, generator)
        steps = max(5, int(seconds / (play(env, 5, generator) / 5)))
        values = sorted(number * steps / play(env, steps, generator) for _ in range(runs))
        result[f"B={number}"] = {
            "env_steps_per_s": round(statistics.median(values)),
            "min": round(values[0]),
            "max": round(values[-1]),
            "steps_per_run": steps,
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS))
    parser.add_argument("--numbers", type=int, nargs="*", default=list(NUMBERS))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = {}
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        for name in arguments.worlds:
            results[f"{name} on {device}"] = row = rates(name, device, arguments.numbers)
            print(f"{name:14s} {device:5s}", *(f"{k}: {v['env_steps_per_s']:,}/s" for k, v in row.items()), sep="  ")
    write("worlds", {"note": "uniform random available actions, restarts counted in", "worlds": results})


if __name__ == "__main__":
    main()
