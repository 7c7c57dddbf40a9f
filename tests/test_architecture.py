"""The arrows between the library's modules, and what `import marlcourse` may load."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
LAZY = ("matplotlib", "ipywidgets", "IPython", "pandas", "scipy", "gym", "gymnasium", "pettingzoo", "torch._dynamo")


def lint_imports(folder):
    """import-linter over the package in `folder`, by the contracts of the pyproject.toml beside it."""
    env = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", LINT], cwd=folder, env=env, capture_output=True, text=True)


def test_imports_run_downwards():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    "module, line, contract",
    [
        ("algorithms/vdn.py", "from ..envs import make", "Algorithms know no world"),
        ("envs/base.py", "from ..rollout import evaluate", "Imports run downwards"),
        ("core.py", "def late():\n    import pandas", "The numerical part needs torch and numpy only"),
        ("somewhere.py", "", "Imports run downwards"),  # a module without a place in the layers
    ],
)
def test_a_wrong_arrow_is_found(tmp_path, module, line, contract):
    ignored = shutil.ignore_patterns("__pycache__", "_datasets")
    shutil.copytree(ROOT / "marlcourse", tmp_path / "marlcourse", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with open(tmp_path / "marlcourse" / module, "a", encoding="utf-8") as file:
        file.write("\n" + line + "\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0 and contract in done.stdout + done.stderr, done.stdout + done.stderr


def loaded_by(code):
    """The modules that a new Python holds after running `code`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = code + "\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    ["import marlcourse", "import marlcourse as mc; mc.QMIX, mc.COMA, mc.Trainer, mc.load_team; mc.make('two-step')"],
)
def test_importing_the_library_loads_nothing_heavy(code):
    by_torch_itself = loaded_by("import torch")
    extra = loaded_by(code) - by_torch_itself
    assert not [name for name in LAZY if name in extra]
