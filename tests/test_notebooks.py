"""Every notebook: lint, freshness, the solution strict under nbval, the chapter as a student meets it.

Run one chapter with `-k 02_matrix_games`; several at once with `-n 2 --dist loadfile`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from marlcourse.course import authoring as au
from marlcourse.course.exercises import REGISTRY, load_all

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
HOMES = (ROOT, FIXTURES)  # the fixture tests the machinery itself while there are few chapters
SOLUTIONS = [path for home in HOMES for path in au.sources(home)]
SANITIZER = ROOT / "tests" / "nbval_sanitize.cfg"
CELL_SECONDS = 120

each_solution = pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda path: path.stem)


def chapter_of(solution):
    return solution.parents[1] / "chapters" / solution.name


def environment(folder, strict):
    """Variables of a notebook run: ci scale, the reader's progress elsewhere, nothing of the outer pytest."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_CORE", "MARLCOURSE"))}
    env.update(MARLCOURSE_SCALE="ci", MARLCOURSE_PROGRESS=str(folder / "progress.json"), OMP_NUM_THREADS="1")
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**env, "MARLCOURSE_STRICT": "1"} if strict else env


def nbval(path, folder, mode, strict):
    """Run one notebook under nbval in a pytest of its own, with none of this project's settings."""
    (folder / "empty.ini").write_text("[pytest]\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        str(folder / "empty.ini"),
        "--rootdir",
        str(folder),
        "--noconftest",
    ]
    command += ["-p", "no:cacheprovider", "-q", "--tb=short", mode, "--nbval-sanitize-with", str(SANITIZER)]
    command += ["--nbval-cell-timeout", str(CELL_SECONDS), "--nbval-current-env", str(path)]
    return subprocess.run(command, env=environment(folder, strict), cwd=folder, capture_output=True, text=True, timeout=900)


# ------------------------------------------------------------------------------------------------ without a kernel


@each_solution
def test_lint(solution):
    assert au.lint(solution, "solutions") == []
    assert au.lint(chapter_of(solution), "chapters") == []


@pytest.mark.parametrize("home", HOMES, ids=("course", "fixtures"))
def test_chapters_are_what_their_solutions_generate(home):
    assert au.stale(home) == [], "run `marlcourse author build`"


@pytest.mark.parametrize("home", HOMES, ids=("course", "fixtures"))
def test_no_script_lies_beside_notebooks(home):
    assert [path.name for folder in ("solutions", "chapters") for path in (home / folder).glob("*.py")] == []


@each_solution
def test_notebook_and_check_module_agree(solution):
    """The notebook's own solution equals the reference on random input; cards, points and quiz are the module's."""
    load_all()
    answers = au.answers(au.read(solution))
    assert au.registry_problems(solution) == []
    for id, answer in answers.items():
        REGISTRY[id].verify(answer)
        REGISTRY[id].same(answer)


# ------------------------------------------------------------------------------------------------ with a kernel


@pytest.mark.notebook
@each_solution
def test_solution_strict(solution, tmp_path):
    """Every cell runs without error at ci scale and prints what is committed."""
    done = nbval(solution, tmp_path, "--nbval", strict=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.notebook
@each_solution
def test_chapter_as_a_student_meets_it(solution, tmp_path):
    """Run All on the untouched chapter: errors exactly at the checks, each a friendly one."""
    chapter = chapter_of(solution)
    notebook = au.read(chapter)
    env = environment(tmp_path, strict=False)
    unset = {name: "" for name in os.environ if name.startswith("MARLCOURSE") and name not in env}
    ran, _ = au.execute(notebook, chapter.parent, env={**unset, **env}, timeout=CELL_SECONDS, allow_errors=True)
    errors = {}
    for number, cell in enumerate(ran["cells"]):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                errors[number] = output
    checks = [number for number, _, _, _ in au.checks_in(notebook)]
    assert {number: error["ename"] for number, error in errors.items()} == dict.fromkeys(checks, "ExerciseIncomplete")
    for error in errors.values():
        assert "not implemented yet" in error["evalue"] and len(error["traceback"]) == 2


@pytest.mark.notebook
@pytest.mark.everything
@each_solution
def test_chapter_lax(solution, tmp_path):
    """The chapter under nbval's own rules, in a copy without outputs: it refuses outputs of cells without counts."""
    notebook = au.read(chapter_of(solution))
    for cell in notebook["cells"]:
        cell.update({"outputs": []} if cell["cell_type"] == "code" else {})
    copy = tmp_path / solution.name
    copy.write_bytes(au.dumps(notebook))
    done = nbval(copy, tmp_path, "--nbval-lax", strict=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


# ------------------------------------------------------------------------------------------------ can these tests fail?


def changed(tmp_path, change):
    """The fixture solution after `change(notebook)`, in a folder of its own."""
    notebook = au.read(FIXTURES / "solutions" / "90_fixture.ipynb")
    change(notebook)
    path = tmp_path / "90_fixture.ipynb"
    path.write_bytes(au.dumps(notebook))
    return path


def with_text(old, new):
    def change(notebook):
        (cell,) = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and old in cell["source"]]
        cell["source"] = cell["source"].replace(old, new)

    return change


@pytest.mark.notebook
def test_the_strict_run_notices_whatever_is_wrong(tmp_path):
    def spoil(notebook):
        with_text("secret = q.sum(SHARED_AXIS)", "secret = q.mean(SHARED_AXIS)")(notebook)
        with_text("error < 1e-5", "error > 1e9")(notebook)
        with_text('quiz("90.q1", answer="b")', 'quiz("90.q1", answer="a")')(notebook)

    done = nbval(changed(tmp_path, spoil), tmp_path, "--nbval", strict=True)
    assert done.returncode == 1
    for words in ("returned 1.5, expected 3", "the evidence says refuted", "a is not the answer", "4 failed"):
        assert words in done.stdout, done.stdout[-6000:]


def test_the_agreement_test_notices_a_wrong_solution(tmp_path):
    path = changed(tmp_path, with_text("secret = q.sum(SHARED_AXIS)", "secret = q.sum(SHARED_AXIS).abs()"))
    answer = au.answers(au.read(path))["90.1"]
    REGISTRY["90.1"].verify(answer)
    with pytest.raises(Exception, match="draw 0"):
        REGISTRY["90.1"].same(answer)


def test_an_exercise_that_needs_more_than_definitions_says_so(tmp_path):
    def untag(notebook):
        (cell,) = [cell for cell in notebook["cells"] if cell["source"] == "SHARED_AXIS = -1"]
        cell["metadata"]["tags"] = []

    answer = au.answers(au.read(changed(tmp_path, untag)))["90.1"]
    with pytest.raises(Exception, match="name 'SHARED_AXIS' is not defined"):
        REGISTRY["90.1"].verify(answer)
