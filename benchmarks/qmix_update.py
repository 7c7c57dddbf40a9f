"""One QMIX update (loss, backward, clip, optimiser step) against the plain loop, in time and in memory.

    python benchmarks/qmix_update.py              # both sizes, 2 threads, 9 alternating runs
    python benchmarks/qmix_update.py --threads 1

First it asserts that both compute the same loss and the same gradients from the same weights. Times are medians of
alternating runs in one process; memory is the peak over what is held after the nets and the batch are built, each
candidate in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from measure import alternate, peak, reset_peak, speedup, summary, write
from plain_loop import PlainQMIX
from sizes import SIZES, Size

from marlcourse.algorithms.qmix import QMIX
from marlcourse.rollout import Context

CHUNKS = {"3m-like": (8,), "MMM2-like": (16, 8, 4)}  # rows per chunk that are measured beside the whole batch


class Still:
    """A world that is never played: an update needs the Context around it, not the playing."""

    def __init__(self, size: Size, device: torch.device | str = "cpu"):
        self.spec, self.num_envs, self.device = size.spec, 1, torch.device(device)


def library(size: Size, chunk_rows: int | None = None, device: str = "cpu", seed: int = 0) -> tuple[QMIX, Callable[[], object]]:
    """A QMIX with PyMARL's settings, and one update of it on a full batch."""
    config = QMIX.Config.preset("pymarl", chunk_rows=chunk_rows, replay_episodes=size.rows, target_every=10**9)
    algorithm = QMIX(size.spec, config, seed=seed, device=device)
    context, batch = Context(Still(size, device), algorithm, seed), size.batch(device=device)
    return algorithm, lambda: context.step("main", algorithm.loss, batch)


def plain(size: Size, device: str = "cpu", seed: int = 0) -> tuple[PlainQMIX, Callable[[], object]]:
    """The plain loop from the same weights, and one update of it on the same batch."""
    algorithm, _ = library(size, device=device, seed=seed)
    loop, batch = PlainQMIX(algorithm), size.batch(device=device)
    last = loop.one_hot_last(batch)
    return loop, lambda: loop.update(batch, last)


def candidate(size: Size, name: str, device: str = "cpu") -> Callable[[], object]:
    """One update by name: "plain", "marlcourse" or "marlcourse, chunks of K"."""
    if name == "plain":
        return plain(size, device)[1]
    return library(size, int(name.split()[-1]) if "chunks" in name else None, device)[1]


def assert_same(size: Size, device: str = "cpu", rtol: float = 2e-4) -> dict[str, float]:
    """Both sides: one loss, and gradients that differ by at most ``rtol`` of their largest entry, tensor by tensor.
    The targets get weights of their own, so that an error in the target pass cannot hide."""
    algorithm, _ = library(size, device=device)
    other, _ = library(size, device=device, seed=1)
    algorithm.target_agent.load_state_dict(other.agent.state_dict())
    algorithm.target_mixer.load_state_dict(other.mixer.state_dict())
    loop, swapped = PlainQMIX(algorithm), PlainQMIX(other)
    loop.target_agent, loop.target_mixer = swapped.agent, swapped.mixer

    batch = size.batch(device=device)
    ours, _ = algorithm.loss(batch)
    ours.backward()
    theirs = loop.loss(batch, loop.one_hot_last(batch))
    theirs.backward()
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=0.0)
    worst = 0.0
    pairs = zip([*algorithm.agent.parameters(), *algorithm.mixer.parameters()], loop.parameters)
    for a, b in pairs:
        worst = max(worst, float((a.grad - b.grad).abs().max() / b.grad.abs().max()))
    assert worst < rtol, f"gradients differ by {worst:.1e} of the largest entry"
    return {"loss": float(theirs.detach()), "loss_difference": abs(float((ours - theirs).detach())), "worst_gradient": worst}


def memory(size: Size, name: str) -> None:
    """Print the peak over the base in MB of three updates (run in a process of its own)."""
    update = candidate(size, name)
    base = reset_peak()
    for _ in range(3):
        update()
    print(json.dumps({"mb_over_base": round((peak() - base) / 1e6, 1), "base_mb": round(base / 1e6, 1)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: for one thread")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--name", help="name of the result file (default: qmix_update_<threads>t_<clock>)")
    parser.add_argument("--memory-of", nargs=2, metavar=("SIZE", "CANDIDATE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        return memory(SIZES[arguments.memory_of[0]], arguments.memory_of[1])

    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    results = {}
    for size in (SIZES[name] for name in arguments.sizes):
        same = assert_same(size)
        worst = same["worst_gradient"]
        print(f"{size.name}: same loss ({same['loss']:.4f}), gradients within {worst:.1e} of their largest entry")
        names = ["marlcourse", "plain", *(f"marlcourse, chunks of {k}" for k in CHUNKS[size.name])]
        seconds = alternate({name: candidate(size, name) for name in names}, arguments.runs, clock=clock)
        rows = {}
        for name in names:
            own = [sys.executable, __file__, "--threads", str(arguments.threads), "--memory-of", size.name, name]
            used = json.loads(subprocess.run(own, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            rows[name] = {**summary(seconds[name]), **used}
            if name != "plain":
                rows[name]["times_as_fast_as_plain"] = speedup(seconds, name, "plain")
            ratio = rows[name].get("times_as_fast_as_plain", {}).get("of_medians", 1.0)
            print(f"  {name:28s} {rows[name]['median_ms']:8.1f} ms  {ratio:5.2f}x  {used['mb_over_base']:7.1f} MB over base")
        results[size.name] = {"size": vars(size), "same": same, "candidates": rows}
    name = arguments.name or f"qmix_update_{arguments.threads}t_{arguments.clock}"
    write(name, {"clock": arguments.clock, "update": results})


if __name__ == "__main__":
    main()
