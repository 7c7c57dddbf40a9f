"""Acting (forward and epsilon-greedy choice) against the plain loop's acting.

    python benchmarks/acting.py            # B = 64 worlds, both sizes, 1 thread and 2 threads

One call is one step of all worlds, as ``collect`` makes it: in inference mode, with the carry handed on. Each figure is the
median over rounds of the mean of a burst of calls, the two candidates taking turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from measure import alternate, speedup, summary, write
from plain_loop import PlainQMIX
from sizes import SIZES, Size

from marlcourse.algorithms.qmix import QMIX
from marlcourse.exploration import constant
from marlcourse.seeds import make_generator

EPSILON = 0.05
ROUNDS = 15


def actors(size: Size, worlds: int, device: str = "cpu") -> dict[str, Callable[[], object]]:
    """One step of acting of each candidate, from the same weights; memory flows from call to call."""
    config = QMIX.Config.preset("pymarl", epsilon=constant(EPSILON))
    algorithm = QMIX(size.spec, config, seed=0, device=device)
    loop, observation = PlainQMIX(algorithm), size.observation(worlds, device=device)
    generator = make_generator(device, 0)
    memory = {
        "carry": algorithm.initial_carry(worlds),
        "last": torch.zeros(worlds, size.n_agents, size.n_actions, device=device),
        "hidden": torch.zeros(worlds * size.n_agents, config.hidden, device=device),
    }

    @torch.inference_mode()
    def ours() -> torch.Tensor:
        action = algorithm.act(observation, memory["carry"], True, generator)
        memory["carry"] = action.carry
        return action.actions

    def plain() -> torch.Tensor:
        actions, memory["last"], memory["hidden"] = loop.act(
            observation.obs, memory["last"], observation.avail, memory["hidden"], EPSILON
        )
        return actions

    return {"marlcourse": ours, "plain": plain}


def assert_same(size: Size, worlds: int = 64, steps: int = 5) -> None:
    """Without exploration both choose the same actions, step after step."""
    algorithm = QMIX(size.spec, QMIX.Config.preset("pymarl"), seed=0, device="cpu")
    loop, generator = PlainQMIX(algorithm), make_generator("cpu", 0)
    carry = algorithm.initial_carry(worlds)
    last = torch.zeros(worlds, size.n_agents, size.n_actions)
    hidden = torch.zeros(worlds * size.n_agents, algorithm.config.hidden)
    for step in range(steps):
        observation = size.observation(worlds, seed=step)
        with torch.no_grad():
            ours = algorithm.act(observation, carry, False, generator)
        theirs, last, hidden = loop.act(observation.obs, last, observation.avail, hidden, 0.0)
        assert torch.equal(ours.actions, theirs), f"other actions at step {step}"
        carry = ours.carry


def burst(act: Callable[[], object], calls: int) -> Callable[[], None]:
    """``calls`` steps of acting, to be timed together."""

    def run() -> None:
        for _ in range(calls):
            act()

    return run


def measure(
    size: Size, worlds: int, calls: int, rounds=ROUNDS, device="cpu", synchronise=None, clock=time.perf_counter
) -> dict:
    """Median milliseconds per step, and how many times as fast as the plain loop."""
    bursts = {name: burst(act, calls) for name, act in actors(size, worlds, device).items()}
    seconds = alternate(bursts, rounds, synchronise=synchronise, clock=clock)
    seconds = {name: [s / calls for s in values] for name, values in seconds.items()}
    row = {name: summary(values, digits=5) | {"calls_per_run": calls} for name, values in seconds.items()}
    return row | {"times_as_fast_as_plain": speedup(seconds, "marlcourse", "plain")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, nargs="*", default=[64])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: for one thread on a shared machine")
    arguments = parser.parse_args()
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    results = {}
    for size in SIZES.values():
        assert_same(size)
        for worlds in arguments.worlds:
            for threads in arguments.threads:
                torch.set_num_threads(threads)
                row = measure(size, worlds, max(10, arguments.calls // (4 if size.obs_dim > 100 else 1)), clock=clock)
                results[f"{size.name}, {worlds} worlds, {threads} thread(s)"] = row
                ours, other = (1000 * row[name]["median_ms"] for name in ("marlcourse", "plain"))
                ratio = row["times_as_fast_as_plain"]["of_medians"]
                case = f"{size.name:10s} B={worlds:<5d} {threads} thread(s)"
                print(f"{case}: {ours:8.0f} us a step, plain {other:8.0f} us: {ratio:.2f}x")
    write(f"acting_{arguments.clock}", {"clock": arguments.clock, "acting": results})


if __name__ == "__main__":
    main()
