"""What `import marlcourse` costs over `import torch`. The bar: 0.3 s, the public names loaded.

    python benchmarks/import_time.py

Each measurement is a Python of its own; torch and marlcourse take turns, and medians are compared.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from measure import alternate, summary, write

BAR = 0.3
CODE = {
    "torch": "import torch",
    "marlcourse": "import torch, marlcourse",
    "with names": "import torch, marlcourse as mc; mc.QMIX, mc.Trainer, mc.make, mc.evaluate, mc.load_team",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    starts = {name: lambda code=code: subprocess.run([sys.executable, "-c", code], check=True) for name, code in CODE.items()}
    seconds = alternate(starts, parser.parse_args().runs)
    extra = {}
    for name in list(CODE)[1:]:
        extra[name] = round(statistics.median(b - a for a, b in zip(seconds["torch"], seconds[name])), 3)
        print(f"{name}: {extra[name]:+.3f} s over `import torch` (bar {BAR} s)")
    times = {name: summary(values) for name, values in seconds.items()}
    write("import_time", {"bar_s": BAR, "over_torch_s": extra, "times": times, "met": max(extra.values()) <= BAR})


if __name__ == "__main__":
    main()
