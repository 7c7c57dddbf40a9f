"""`marlcourse doctor`: does everything the course needs work here, and which command mends what does not?

Nothing heavy is imported at the top: the doctor must be able to speak where PyTorch is missing or broken.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from . import install

__all__ = ["Finding", "doctor", "environment_problem", "examine", "report"]

REPOSITORY = Path(__file__).resolve().parents[2]
NEEDED = ("numpy", "matplotlib", "pandas", "tqdm", "PIL", "ipywidgets")  # module names
PACKAGE_OF = {"PIL": "pillow"}
MARKS = {"ok": "ok      ", "optional": "optional", "broken": "BROKEN  "}


class Finding(NamedTuple):
    """One line of the report. state: "ok", "optional" (it works without) or "broken"; fix: a command or ""."""

    name: str
    state: str
    text: str
    fix: str = ""


def doctor(show: Callable[[str], None] = print) -> int:
    """Print every finding with the command that mends it. Returns 1 if something required is broken, else 0."""
    findings = examine()
    for name, state, text, fix in findings:
        show(f"{MARKS[state]}  {name:<12} {text}" + (f"\n{'':24}-> {fix}" if fix else ""))
    broken = [finding.name for finding in findings if finding.state == "broken"]
    show("Everything required works." if not broken else f"Broken: {', '.join(broken)}. The commands above mend it.")
    return 1 if broken else 0


def examine() -> list[Finding]:
    """All findings, in the order of the report."""
    checks = (
        python,
        environment,
        torch_build,
        device,
        memory,
        packages,
        notebooks,
        kernel,
        data,
        ma_gym,
        pettingzoo,
        smac,
    )
    return [check() for check in checks]


def report() -> None:
    """Three lines for the top of a notebook: versions, device, scale. A wrong environment is said at once."""
    import torch

    import marlcourse

    from . import scale

    print(f"marlcourse {marlcourse.__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}")
    print(f"device: {device().text}")
    print(f"scale: {scale()} (set MARLCOURSE_SCALE to ci, demo or full before the notebook starts)")
    author = os.environ.get("MARLCOURSE_STRICT") == "1"  # `author run` and the tests choose their Python themselves
    if not author and (problem := environment_problem()):
        print(problem)


def environment_problem() -> str | None:
    """Why this Python is not the one a checkout's `course.py` set up, or None where it is, or where there is none."""
    own = REPOSITORY / ".venv"
    if not (own / "marlcourse-complete").exists() or Path(sys.prefix).resolve() == own.resolve():
        return None
    return (
        f"This notebook runs on {sys.executable}, not on the course's own environment: choose the kernel "
        '"Python (marlcourse)", or start again with `python3 course.py lab`.'
    )


# ---------------------------------------------------------------------------------------------------------- the checks


def python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} ({sys.executable})")


def environment() -> Finding:
    """The course's own .venv, Colab, or something the reader made."""
    if Path(sys.prefix).resolve() == (REPOSITORY / ".venv").resolve():
        return Finding("environment", "ok", "the course's own .venv")
    if importlib.util.find_spec("google.colab") if importlib.util.find_spec("google") else False:
        return Finding("environment", "ok", "Google Colab")
    return Finding("environment", "optional", f"{sys.prefix}, not the course's own", "python3 course.py lab")


def torch_build() -> Finding:
    import_problem = why_not_importable("torch")
    if import_problem:
        return Finding("PyTorch", "broken", import_problem, pip_line("torch"))
    import torch

    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < (2, 2):
        return Finding("PyTorch", "broken", f"{torch.__version__} is too old: 2.2 or newer", pip_line("--upgrade torch"))
    return Finding("PyTorch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")


def device() -> Finding:
    """The device that `device="auto"` means, with its memory."""
    if why_not_importable("torch"):
        return Finding("device", "broken", "unknown without PyTorch")
    import torch

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        return Finding("device", "ok", f"cuda: {card.name}, {card.total_memory / 2**30:.0f} GiB")
    if shutil.which("nvidia-smi"):
        reason = "was built without CUDA" if torch.version.cuda is None else "does not reach it (is the driver too old?)"
        fix = "https://pytorch.org/get-started/locally shows the pip line for this card"
        return Finding("device", "optional", f"cpu: there is an NVIDIA card, but PyTorch {reason}", fix)
    return Finding("device", "ok", f"cpu: {os.cpu_count()} cores, no NVIDIA card (the course is made for that too)")


def memory() -> Finding:
    total, free = memory_bytes()
    if total is None:
        return Finding("memory", "ok", "unknown on this system")
    text = f"{free / 2**30:.1f} GiB free of {total / 2**30:.1f} GiB"
    if free < 2**30:
        return Finding("memory", "optional", f"{text}: little; PyTorch and a notebook take about 1 GiB", "close other programs")
    return Finding("memory", "ok", text)


def memory_bytes() -> tuple[int, int] | tuple[None, None]:
    """Total and available memory in bytes, or (None, None) where neither psutil nor the system tells."""
    try:
        import psutil

        return psutil.virtual_memory().total, psutil.virtual_memory().available
    except ImportError:
        pass
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows and macOS know no such names
        return None, None


def packages() -> Finding:
    problems = {name: problem for name in NEEDED if (problem := why_not_importable(name))}
    if not problems:
        return Finding("packages", "ok", ", ".join(PACKAGE_OF.get(name, name) for name in NEEDED))
    return Finding("packages", "broken", "; ".join(problems.values()), pip_line(*(PACKAGE_OF.get(n, n) for n in problems)))


def notebooks() -> Finding:
    version = install.metadata_of("jupyterlab")
    if version:
        return Finding("JupyterLab", "ok", version)
    if install.metadata_of("notebook"):
        return Finding("JupyterLab", "ok", f"not installed, but Jupyter Notebook {install.metadata_of('notebook')} is")
    return Finding("JupyterLab", "optional", "not installed: no notebooks here", "python3 course.py lab")


def kernel() -> Finding:
    """Would a notebook whose kernel is called `python3` run on this Python?"""
    if importlib.util.find_spec("ipykernel") is None:
        return Finding("kernel", "optional", "ipykernel is not installed: notebooks cannot run here", pip_line("ipykernel"))
    register = f"{sys.executable} -m ipykernel install --sys-prefix --name python3"
    file = Path(sys.prefix) / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    try:
        program = json.loads(file.read_text(encoding="utf-8"))["argv"][0]
    except (OSError, ValueError, LookupError):
        return Finding("kernel", "optional", "no kernel `python3` is registered for this Python", register)
    here = Path(sys.executable).absolute()
    if os.path.dirname(program) and Path(program).absolute().parent != here.parent:
        return Finding("kernel", "optional", f"the kernel `python3` starts another Python, {program}", register)
    return Finding("kernel", "ok", "`python3` is this Python")


def data() -> Finding:
    from .data import dataset_folders

    folders = dataset_folders()
    if folders:
        return Finding("datasets", "ok", str(folders[0]))
    return Finding("datasets", "broken", "the folder datasets/ is missing", "git checkout -- datasets")


def ma_gym() -> Finding:
    problem = install.ma_gym_problem()
    if problem:
        return Finding("ma-gym", "optional", f"{problem}: no worlds ma-gym/...", "marlcourse install ma-gym")
    return Finding("ma-gym", "ok", install.MA_GYM)


def pettingzoo() -> Finding:
    version = install.metadata_of("pettingzoo")
    if version:
        return Finding("PettingZoo", "ok", version)
    text = "not installed: no worlds pettingzoo:..."
    return Finding("PettingZoo", "optional", text, pip_line("pettingzoo gymnasium"))


def smac() -> Finding:
    """The StarCraft II worlds need the game and oxwhirl's `smac`; the registry has another project of that name."""
    game = Path(os.environ.get("SC2PATH") or Path.home() / "StarCraftII")
    if not (game / "Versions").is_dir():
        text = f"StarCraft II is not installed in {game}"
        return Finding("SMAC", "optional", text, "install the game there, or set SC2PATH (needed from chapter 13 on)")
    spec = importlib.util.find_spec("smac")
    found = [Path(folder) / "env" / "starcraft2" for folder in (spec.submodule_search_locations or [])] if spec else []
    if any(folder.is_dir() for folder in found):
        return Finding("SMAC", "ok", f"smac, and StarCraft II in {game}")
    text = "the package `smac` installed here is SMAC3, another project" if spec else "the package `smac` is not installed"
    return Finding("SMAC", "optional", text, pip_line('"protobuf<3.21" git+https://github.com/oxwhirl/smac.git'))


def why_not_importable(module: str) -> str | None:
    """Why `import module` fails, or None where it works."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        return f"{PACKAGE_OF.get(module, module)} cannot be imported ({error})"
    except Exception as error:  # a half-installed package can raise anything; the doctor goes on
        return f"{PACKAGE_OF.get(module, module)} is broken ({type(error).__name__}: {error})"
    return None


def pip_line(*packages: str) -> str:
    return f"{sys.executable} -m pip install {' '.join(packages)}"
