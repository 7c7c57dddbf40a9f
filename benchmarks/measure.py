"""How these benchmarks measure and what they write down: alternating runs, medians, memory over a base, the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def alternate(
    candidates: dict[str, Callable[[], object]],
    runs: int = 9,
    warmup: int = 2,
    synchronise: Callable | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each candidate, one after the other in every round, so that a busy machine hurts all of them alike.
    ``clock=time.process_time`` counts the processor's work instead of the wait: for one thread on a shared machine."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_ in range(warmup + runs):
        for name, run in candidates.items():
            synchronise() if synchronise else None
            start = clock()
            run()
            synchronise() if synchronise else None
            if round_ >= warmup:
                seconds[name].append(clock() - start)
    return seconds


def summary(seconds: list[float], digits: int = 3) -> dict[str, float]:
    """Median, quickest and slowest, in milliseconds."""
    values = {"median_ms": statistics.median(seconds), "min_ms": min(seconds), "max_ms": max(seconds)}
    return {k: round(1000 * v, digits) for k, v in values.items()} | {"runs": len(seconds)}


def speedup(seconds: dict[str, list[float]], ours: str, other: str) -> dict[str, float]:
    """How many times quicker ``ours`` is: ratio of medians, of quickest runs, and the median ratio of neighbouring runs."""
    pairs = [b / a for a, b in zip(seconds[ours], seconds[other])]
    return {
        "of_medians": round(statistics.median(seconds[other]) / statistics.median(seconds[ours]), 3),
        "of_minima": round(min(seconds[other]) / min(seconds[ours]), 3),
        "median_of_pairs": round(statistics.median(pairs), 3),
    }


def reset_peak() -> int:
    """Forget the peak so far (Linux) and return the resident bytes now: the base that a peak is counted from."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak then counts from the highest point so far
        return peak()
    return _status("VmRSS")


def peak() -> int:
    """Highest resident bytes since :func:`reset_peak`."""
    if sys.platform == "linux":
        return _status("VmHWM")
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def taken_away() -> float:
    """Seconds, summed over the cores, that a virtual machine's host has given to others since the start; 0 where unknown."""
    try:
        return int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")  # "cpu" user nice ... steal
    except (OSError, IndexError, ValueError):
        return 0.0


def machine() -> dict[str, object]:
    """What a reader needs in order to compare a figure with his own."""
    gpu = None
    if torch.cuda.is_available():
        gpu = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "load_1_5_15_min": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "date": date.today().isoformat(),
    }


def command() -> str:
    """The command that made a result, without the path to the interpreter."""
    script = Path(sys.argv[0])
    name = f"benchmarks/{script.name}" if script.parent.resolve() == Path(__file__).parent.resolve() else script.name
    return " ".join(["python", name, *sys.argv[1:]])


def write(name: str, result: dict, where: Path | None = None) -> Path:
    """Write ``result`` with the machine and the command as ``<results>/<name>.json`` and say where."""
    path = (where or RESULTS) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"command": command(), "machine": machine(), **result}, indent=1) + "\n")
    print(f"written: {path.name} in {path.parent.name}/", file=sys.stderr)
    return path
