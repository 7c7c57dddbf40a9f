"""Where the time of one QMIX update goes: operator times of torch.profiler, summed into six kinds.

python benchmarks/profile_update.py            # both sizes, library and plain loop, 1 thread
"""

from __future__ import annotations

import argparse
import re

import torch
from measure import write
from qmix_update import candidate
from sizes import SIZES
from torch.profiler import ProfilerActivity, profile

# the first pattern that matches an operator's name says its kind; times are self times, so nothing counts twice
KINDS = {
    "optimiser, clipping": r"^(Optimizer|aten::_foreach|aten::linalg_vector_norm|aten::addcmul_|aten::addcdiv_|aten::sqrt)",
    "matrix products": r"^aten::(addmm|mm|bmm|baddbmm)_?$",
    "copies, joins, fills": r"^aten::(copy_|cat|stack|clone|contiguous|fill_|zero_|index_select|gather|scatter_add_|embedding)",
    "views and allocation": (
        r"^aten::(as_strided|view|t|transpose|narrow|slice|select|expand|unsqueeze|squeeze|reshape|split|unsafe_|chunk"
        r"|empty|empty_like|empty_strided|resize_|detach|unbind|permute|_unsafe_view|_reshape_alias|flatten)"
    ),
    "autograd, composite calls": r"(autograd::|Backward|aten::gru|aten::linear|aten::matmul|AccumulateGrad|ProfilerStep)",
    "element by element": r"^aten::",
}


def split(size, name: str, updates: int = 3) -> dict[str, float]:
    """{kind: percent of the operators' time} of ``updates`` updates, and the operators called per update."""
    update = candidate(size, name)
    update()
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for _ in range(updates):
            update()
    spent, calls = dict.fromkeys([*KINDS, "other"], 0.0), 0
    for event in record.key_averages():
        kind = next((k for k, pattern in KINDS.items() if re.search(pattern, event.key)), "other")
        spent[kind] += event.self_cpu_time_total
        calls += event.count
    total = sum(spent.values())
    return {kind: round(100 * t / total, 1) for kind, t in spent.items()} | {"operators_per_update": calls // updates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = {}
    for size in SIZES.values():
        for name in ("marlcourse", "plain"):
            results[f"{size.name}, {name}"] = row = split(size, name)
            print(f"{size.name}, {name}:", ", ".join(f"{k} {v}" for k, v in row.items()))
    write("profile_update", {"note": "percent of operator self time under torch.profiler", "split": results})


if __name__ == "__main__":
    main()
