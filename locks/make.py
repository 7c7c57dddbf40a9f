"""Write locks/requirements.txt: every version the course was tested with, for Python 3.10-3.13 and all systems.

Usage: `python locks/make.py` with uv on the PATH. Versions already in the lock stay unless `--upgrade` is given.

torch's own CUDA packages are left out: the CUDA build of torch brings the right ones by itself, and its CPU build
needs none, so a line for them here would make a machine without a card download gigabytes.
"""

import re
import subprocess
import sys
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
BROUGHT_BY_TORCH = re.compile(r"(nvidia-|cuda-|triton\b)")
HEADER = """\
# Written by `python locks/make.py` from requirements.in: change that file, not this one.
# One line per package and Python minor (the markers choose). torch brings its own CUDA packages where it needs them.
"""


def main(arguments):
    target = LOCKS / "requirements.txt"
    command = ["uv", "pip", "compile", "--universal", "--python-version", "3.10", "--no-annotate", "--no-header"]
    subprocess.run([*command, *arguments, "-o", str(target), str(LOCKS / "requirements.in")], check=True)
    lines = [line for line in target.read_text().splitlines() if not line.startswith("#")]
    kept = [line for line in lines if not BROUGHT_BY_TORCH.match(line)]
    target.write_text(HEADER + "\n".join(kept) + "\n")
    print(f"{target}: {len(kept)} lines, {len(lines) - len(kept)} CUDA lines left to torch")


if __name__ == "__main__":
    main(sys.argv[1:])
