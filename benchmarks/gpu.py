"""CPU against GPU, in one run on one machine: the QMIX update, acting, and the worlds.

    python benchmarks/gpu.py [--seconds 240]

Needs nothing but PyTorch and this repository. Without a GPU it measures the CPU alone and says so. The result goes to
benchmarks/results/gpu.json (or --out) and to the screen, as JSON. What no longer fits into --seconds is left out and named.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # works without an installation

import acting  # noqa: E402
import qmix_update  # noqa: E402
import torch  # noqa: E402
import worlds  # noqa: E402
from measure import alternate, machine, summary, write  # noqa: E402
from sizes import SIZES  # noqa: E402


def synchronise() -> None:
    """Wait for the GPU, so that a clock read afterwards means something."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def update(size, devices: list[str], runs: int = 9) -> dict:
    """One update on each device: the library and the plain loop, all alternating; peak GPU memory over the base."""
    rounded = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # compared in full precision, timed as PyTorch comes
    same = {device: qmix_update.assert_same(size, device, rtol=2e-3 if device == "cuda" else 2e-4) for device in devices}
    torch.backends.cudnn.allow_tf32 = rounded
    candidates = {f"{n} on {d}": qmix_update.candidate(size, n, d) for d in devices for n in ("marlcourse", "plain")}
    row = {name: summary(s) for name, s in alternate(candidates, runs, synchronise=synchronise).items()}
    for name in row if "cuda" in devices else ():
        if name.endswith("cuda"):
            synchronise()
            base = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            candidates[name]()
            synchronise()
            row[name]["gpu_mb_over_base"] = round((torch.cuda.max_memory_allocated() - base) / 1e6, 1)
    row["same_numbers_as_plain"] = same
    if "cuda" in devices:
        median = {name: row[name]["median_ms"] for name in candidates}
        row["gpu_times_as_fast_as_cpu"] = round(median["marlcourse on cpu"] / median["marlcourse on cuda"], 2)
        row["times_as_fast_as_plain_on_gpu"] = round(median["plain on cuda"] / median["marlcourse on cuda"], 2)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: what PyTorch chooses)")
    parser.add_argument("--seconds", type=float, default=240.0, help="start no further part after so long")
    parser.add_argument("--out", type=Path, help="folder of the JSON file (default: benchmarks/results)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available()

    parts = {f"update, {size.name}": partial(update, size, devices) for size in SIZES.values()}
    for device in devices:
        for size in SIZES.values():
            for number in (64, 512, 4096):
                calls = 50 if number < 1000 else 5
                parts[f"acting, {size.name}, B={number}, {device}"] = partial(
                    acting.measure, size, number, calls, rounds=7, device=device, synchronise=synchronise
                )
        for name in worlds.WORLDS:
            parts[f"worlds, {name}, {device}"] = partial(worlds.rates, name, device, (1, 64, 4096, 65536), runs=3)

    start, result, left_out = time.perf_counter(), {}, []
    for name, measure in parts.items():
        if time.perf_counter() - start > arguments.seconds:
            left_out.append(name)
            continue
        try:
            result[name] = measure()
        except (AssertionError, RuntimeError) as error:  # one part that fails must not cost the others
            result[name] = {"failed": f"{type(error).__name__}: {error}"}
        print(f"{time.perf_counter() - start:6.1f} s  {name}", file=sys.stderr, flush=True)
    note = "CPU and GPU in one run" if "cuda" in devices else "no GPU here: CPU figures only"
    report = {"note": note, "left_out_for_lack_of_time": left_out, "parts": result}
    print(json.dumps({"machine": machine(), **report}, indent=1))
    write("gpu" if "cuda" in devices else "gpu_absent", report, arguments.out)
    return int(any("failed" in part for part in result.values()))


if __name__ == "__main__":
    sys.exit(main())
