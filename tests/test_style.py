"""ruff's lint over everything, notebooks included, and its format over the Python files."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def ruff(*words, folder=ROOT):
    return subprocess.run([sys.executable, "-m", "ruff", *words, "--no-cache"], cwd=folder, capture_output=True, text=True)


def test_the_lint_is_clean():
    done = ruff("check", "marlcourse", "tests", "benchmarks", "solutions", "chapters", "course.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_python_files_are_formatted():
    done = ruff("format", "--check", "marlcourse", "tests", "benchmarks", "course.py")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command, text", [("check", "import os\n"), ("format", "x = { 1:2 }\n")])
def test_an_untidy_file_is_found(tmp_path, command, text):
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "untidy.py").write_text(text)
    done = ruff(command, *(["--check"] if command == "format" else []), ".", folder=tmp_path)
    assert done.returncode == 1 and "untidy.py" in done.stdout + done.stderr
