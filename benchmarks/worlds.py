"""Environment steps per second of the library's own worlds: random available actions, restarts counted in.

    python benchmarks/worlds.py                 # on the CPU, and on a GPU where PyTorch sees one
    python benchmarks/worlds.py --worlds lumberjacks traffic-junction-10 --numbers 1024 --threads 1 --clock cpu

Restarts are of two kinds: worlds that began together end together (one costly step in an episode), and worlds whose starts
are spread over an episode, of which some restart at almost every step. The second is the harder measure.
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

WORLDS = ("junction", "matrix/qtran", "two-step", "two-rooms", "lumberjacks", "traffic-junction-10")
NUMBERS = (1, 8, 64, 512, 4096)


def play(env, steps: int, generator: torch.Generator, clock=time.perf_counter, spread: bool = False) -> float:
    """Seconds for ``steps`` steps in every world, each finished world restarted at once. Every one is a real step.
    ``spread``: first, unmeasured, one episode's length in which every step restarts an equal share of the worlds."""
    observation = env.reset(seed=0)
    if spread:
        share = torch.arange(env.num_envs, device=env.device) % env.spec.episode_limit
        for t in range(env.spec.episode_limit):
            observation = env.reset(where=_step(env, observation, generator) | (share == t))
    _wait(env.device)
    start = clock()
    for _ in range(steps):
        observation = env.reset(where=_step(env, observation, generator))
    _wait(env.device)
    return clock() - start


def _step(env, observation, generator: torch.Generator) -> torch.Tensor:
    """One step of random actions; [B] bool: who has finished. (The observation after it is that of ``reset``.)"""
    if isinstance(env.spec.actions, Discrete):
        actions = uniform_actions(observation.avail, generator)
    else:
        low, high = env.spec.actions.low, env.spec.actions.high
        shape = (env.num_envs, env.spec.n_agents, env.spec.actions.dim)
        actions = low + (high - low) * torch.rand(shape, generator=generator, device=env.device)
    _, _, terminated, truncated, _ = env.step(actions)
    return terminated | truncated


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rates(
    name: str, device: str, numbers=NUMBERS, runs: int = 5, seconds: float = 0.3, clock=time.perf_counter, spread: bool = False
) -> dict[str, dict[str, float]]:
    """{"B=64": {steps per second: median, min, max}}; a run is as many steps as take about ``seconds``, and at least a
    whole episode where worlds start together, so that the restarts are in it."""
    result = {}
    for number in numbers:
        env, generator = make(name, num_envs=number, device=device, seed=0), make_generator(device, 0)
        play(env, 3, generator)
        steps = max(5, int(seconds / (play(env, 5, generator) / 5)))
        if not spread:
            episodes = -(-steps // env.spec.episode_limit)
            steps = episodes * env.spec.episode_limit
        values = sorted(number * steps / play(env, steps, generator, clock, spread) for _ in range(runs))
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
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: the processor's work, for one thread")
    parser.add_argument("--name", default="worlds", help="of the file in results/")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    results = {}
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        for name in arguments.worlds:
            for spread in (False, True):
                kind = "starts spread" if spread else "starts together"
                row = rates(name, device, arguments.numbers, arguments.runs, clock=clock, spread=spread)
                results[f"{name} on {device}, {kind}"] = row
                print(
                    f"{name:20s} {device:5s} {kind:15s}",
                    *(f"{k}: {v['env_steps_per_s']:,}/s" for k, v in row.items()),
                    sep="  ",
                )
    note = f"uniform random available actions, restarts counted in; clock: {arguments.clock}"
    write(arguments.name, {"note": note, "worlds": results})


if __name__ == "__main__":
    main()
