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


def algorithm_classes():
    """Every class of marlcourse.algorithms that is an Algorithm."""
    import importlib
    import inspect
    import pkgutil

    import marlcourse.algorithms as package
    from marlcourse.core import Algorithm

    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        for one in vars(module).values():
            if inspect.isclass(one) and issubclass(one, Algorithm) and one.__module__ == module.__name__:
                yield one


def test_an_algorithm_has_at_most_two_parents_and_a_schedule_that_fits_a_screen():
    """Rule 6: QMIX - OWQMIX - CWQMIX and ActorCritic - COMA - COMAReleased are as deep as it goes."""
    import inspect

    from marlcourse.core import Algorithm

    deepest = 0
    for one in algorithm_classes():
        parents = [p for p in one.__mro__[1:] if issubclass(p, Algorithm) and p is not Algorithm]
        assert len(parents) <= 2, f"{one.__name__} stands on {[p.__name__ for p in parents]}"
        deepest = max(deepest, len(parents))
        assert len(inspect.getsource(one.iterate).splitlines()) <= 40, one.__name__
    assert deepest == 2, "the walk saw no child of a child: it looks in the wrong place"


def test_no_method_is_written_twice():
    """Rule 7: two algorithms with the same method body share a parent or a function instead."""
    import ast
    import inspect
    import textwrap

    bodies: dict[str, str] = {}
    for one in algorithm_classes():
        for name, method in vars(one).items():
            if not inspect.isfunction(method):
                continue
            body = ast.parse(textwrap.dedent(inspect.getsource(method))).body[0].body
            if ast.get_docstring(ast.Module(body, [])) is not None:
                body = body[1:]
            text = "\n".join(ast.unparse(line) for line in body)
            if text.count("\n") < 2:
                continue
            where = f"{one.__name__}.{name}"
            assert text not in bodies, f"{where} repeats {bodies[text]}"
            bodies[text] = where
    assert len(bodies) > 30
