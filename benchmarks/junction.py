"""Chapter 01 at full scale: 20,000 initialisations of every learner on the one-step junction, as in LICA's Figure 5.

    python benchmarks/junction.py [--starts 20000] [--chunk 2000]

Writes datasets/junction_full.csv: one row for each learner and policy step, with the shares of the four outcomes (policies
rounded to their most probable action), the share with J > .9, the mean J and policy entropy, and what the paper's figure
shows: mean and standard deviation of P(pass) over the runs that END in each optimum.
"""

from __future__ import annotations

import argparse
import time

import pandas as pd
import torch

from marlcourse.course.data import save_dataset
from marlcourse.course.junction import LEARNERS, OUTCOMES, JunctionResult, junction_study

EXTRA = {"COMA (as released, on-policy data)": ("COMA (as released)", "on-policy")}  # label: (learner, its data)


def rows(label: str, result: JunctionResult) -> list[dict]:
    """One dictionary per policy step."""
    ends, table = result.rounded(), []
    for step in range(len(result.p)):
        row = {"learner": label, "step": step, "starts": len(ends), **result.outcome(step)}
        for number in (1, 2):  # the two optima
            chosen = result.p[step][ends == number]
            for car in (0, 1):
                row[f"P{car + 1} mean, {OUTCOMES[number]}"] = float(chosen[:, car].mean())
                row[f"P{car + 1} std, {OUTCOMES[number]}"] = float(chosen[:, car].std())
        table.append(row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=20_000)
    parser.add_argument("--chunk", type=int, default=2000, help="initialisations trained at once")
    parser.add_argument("--folder", default=None, help="where to write (default: datasets/)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table, began = [], time.process_time()
    for label, (name, data) in {**{n: (n, None) for n in LEARNERS}, **EXTRA}.items():
        pieces = [
            junction_study(name, range(i, min(i + options.chunk, options.starts)), data=data, seed=i).p
            for i in range(0, options.starts, options.chunk)
        ]
        table += rows(label, JunctionResult(label, torch.cat(pieces, 1)))
        last = table[-1]
        print(f"{label}: rounds to an optimum {last['rounds to an optimum']:.4f}, mean J {last['mean J']:.4f}", flush=True)
    seconds = time.process_time() - began
    path = save_dataset(
        "junction_full.csv",
        pd.DataFrame(table).round(5),
        command=f"python benchmarks/junction.py --starts {options.starts} --chunk {options.chunk}",
        seeds=f"initialisations 0 to {options.starts - 1}; draws of data seeded by the first initialisation of each chunk",
        notes=f"{seconds:.0f} seconds of processor time on one thread",
        folder=options.folder,
    )
    print(f"written: {path} after {seconds:.0f} s of processor time")


if __name__ == "__main__":
    main()
