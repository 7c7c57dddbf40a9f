"""Notebooks as files: cells, the generator, lint, the commands, the set-up cell. No kernel but in marked tests."""

import builtins
import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from marlcourse.course import authoring as au
from marlcourse.course import exercises, quiz

exercises.load_all()  # before a test puts another registry in its place: a module registers itself only once

ROOT = Path(__file__).resolve().parents[1]
FIXTURE = ROOT / "tests" / "fixtures" / "solutions" / "90_fixture.ipynb"

HOLE = """
def team_value(q):
    ### BEGIN SOLUTION
    total = q.sum(-1)
    return total
    ### END SOLUTION
"""


@pytest.fixture
def notebook():
    return au.read(FIXTURE)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository with the fixture as its only chapter, built; its exercise and quiz are the only ones registered."""
    for module, registry in ((exercises, "REGISTRY"), (quiz, "QUIZZES"), (quiz, "QUESTIONS")):
        monkeypatch.setattr(module, registry, {})
    shutil.copytree(FIXTURE.parent, tmp_path / "solutions")
    au.build(tmp_path)
    au.answers(au.read(tmp_path / "solutions" / FIXTURE.name))
    return tmp_path


def cell_of(notebook, tag):
    return next(cell for cell in notebook["cells"] if tag in au.tags(cell))


def findings(notebook, kind, tmp_path):
    path = tmp_path / "90_fixture.ipynb"
    path.write_bytes(au.dumps(notebook))
    return au.lint(path, kind)


# ------------------------------------------------------------------------------------------------ cells


def test_helpers_set_the_metadata_of_nbgrader():
    hole, check = au.exercise("2.1", HOLE), au.check("2.1", "ex.check_team_value(team_value)", points=2)
    assert hole["metadata"] == {
        "tags": ["exercise"],
        "nbgrader": {
            "schema_version": 3,
            "task": False,
            "grade_id": "ex-2-1",
            "solution": True,
            "grade": False,
            "locked": False,
        },
    }
    wanted = {"solution": False, "grade": True, "locked": True, "points": 2, "grade_id": "check-2-1"}
    assert wanted.items() <= check["metadata"]["nbgrader"].items()
    assert hole["source"].startswith("def team_value")


def test_a_written_notebook_is_valid_and_its_ids_are_stable(tmp_path):
    import nbformat

    cells = [au.md("one"), au.md("one"), au.code("1 + 1"), au.exercise("2.1", HOLE)]
    path = au.write(tmp_path / "02_a.ipynb", copy.deepcopy(cells))
    first = path.read_bytes()
    nbformat.validate(nbformat.reads(first.decode(), as_version=4))
    ids = [cell["id"] for cell in json.loads(first)["cells"]]
    assert len(set(ids)) == 4 and ids[3] == "ex-2-1" and ids[1] == f"{ids[0]}-2"
    au.write(path, copy.deepcopy(cells))
    assert path.read_bytes() == first


def test_writing_keeps_outputs_up_to_the_first_changed_code_cell(tmp_path):
    path = au.write(tmp_path / "02_a.ipynb", [au.code("a = 1"), au.md("text"), au.code("a"), au.code("a + 1")])
    ran = au.read(path)
    for count, cell in enumerate((ran["cells"][0], ran["cells"][2], ran["cells"][3]), start=1):
        cell.update(execution_count=count, outputs=[{"output_type": "stream", "name": "stdout", "text": f"{count}"}])
    path.write_bytes(au.dumps(ran))
    au.write(path, [au.code("a = 1"), au.md("other text"), au.code("a  # changed"), au.code("a + 1")])
    assert [cell.get("execution_count") for cell in au.read(path)["cells"]] == [1, None, None, None]


def test_a_card_folds_its_hints_into_one_another():
    one = exercises.Exercise("2.1", "title", len, len, ("first", "second"), minutes=7)
    text = au.card(one, "Write `f`.")["source"]
    assert text.index("first") < text.index("Hint 2") < text.index("second") < text.index("</details>")
    assert text.count("<details>") == text.count("</details>") == 2
    assert "### Exercise 2.1 - title" in text and "about 7 minutes" in text and "Write `f`." in text


def test_fold():
    assert au.fold("Why?", "\n    So.\n")["source"] == "<details><summary>Why?</summary>\n\nSo.\n\n</details>"


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    (tmp_path / "02_a.ipynb").write_text("<<<<<<< HEAD")
    with pytest.raises(ValueError, match="02_a.ipynb is not a notebook of format 4"):
        au.read(tmp_path / "02_a.ipynb")


# ------------------------------------------------------------------------------------------------ the generator


def test_a_chapter_has_holes_and_no_answers(notebook):
    chapter = au.student(notebook, "90_fixture")
    hole, check = cell_of(chapter, "exercise"), cell_of(chapter, "check")
    assert "    # YOUR CODE HERE\n    raise NotImplementedError" in hole["source"]
    text = au.dumps(chapter).decode()
    assert "SOLUTION" not in text and "HIDDEN" not in text and "secret" not in text
    assert "secret" in au.dumps(notebook).decode()
    for tag in ("exercise", "check", "net", "progress"):
        assert cell_of(chapter, tag)["outputs"] == []
    assert au.tags(check) == ["check", "raises-exception"]
    assert [cell["execution_count"] for cell in chapter["cells"] if cell["cell_type"] == "code"].count(None) > 5
    shown = [cell for cell in chapter["cells"] if cell.get("outputs")]
    assert any("image/png" in output.get("data", {}) for cell in shown for output in cell["outputs"])
    assert "solutions/90_fixture.ipynb" in cell_of(chapter, "badges")["source"]
    assert chapter["metadata"]["marlcourse"] == {"generated_from": "solutions/90_fixture.ipynb"}


def test_generating_changes_no_input(notebook):
    before = copy.deepcopy(notebook)
    au.student(notebook, "90_fixture")
    assert notebook == before


def test_the_hole_takes_the_indentation_of_its_marker():
    head, tail = "class A:\n    def f(self):\n        x = 1\n        ", "\n\nA()"
    source = f"{head}### BEGIN SOLUTION\n        return x\n        ### END SOLUTION{tail}"
    cells = [au.exercise("2.1", source)]
    made = au.student({"cells": cells, "metadata": {}}, "02_a")["cells"][0]["source"]
    assert made == f"{head}# YOUR CODE HERE\n        raise NotImplementedError{tail}"
    compile(made, "hole", "exec")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("### BEGIN SOLUTION\nx = 1", "### BEGIN SOLUTION has no ### END SOLUTION"),
        ("x = 1\n### END SOLUTION", "### END SOLUTION stands without ### BEGIN SOLUTION"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "stands twice"),
        ("x = 1  ### BEGIN SOLUTION", "must stand alone on its line"),
        ("### BEGIN HIDDEN TESTS\nx = 1", "### BEGIN HIDDEN TESTS has no"),
    ],
)
def test_markers_that_do_not_pair_are_named(source, words):
    with pytest.raises(ValueError, match=f"02_a, cell 0: .*{words}"):
        au.student({"cells": [au.code(source)], "metadata": {}}, "02_a")


def test_build_is_idempotent_and_check_names_what_is_stale(root, capsys):
    assert au.build(root) == []
    assert au.main(["--root", str(root), "check"]) == 0
    chapter = root / "chapters" / "90_fixture.ipynb"
    good = chapter.read_bytes()
    chapter.write_bytes(good.replace(b"\n", b"\r\n"))  # a checkout on Windows is not stale
    assert au.stale(root) == []
    chapter.write_bytes(good.replace(b"YOUR CODE HERE", b"MY CODE HERE"))
    (root / "chapters" / "91_orphan.ipynb").write_bytes(good)
    assert au.stale(root) == ["chapters/90_fixture.ipynb", "chapters/91_orphan.ipynb"]
    assert au.main(["--root", str(root), "check"]) == 1
    assert "chapters/90_fixture.ipynb is stale" in capsys.readouterr().out
    assert au.main(["--root", str(root), "build"]) == 0
    assert chapter.read_bytes() == good


def test_one_constant_moves_every_badge_and_set_up_cell(root, monkeypatch):
    monkeypatch.setattr(au, "TAG", "v9.9.9")
    assert au.stale(root) == ["solutions/90_fixture.ipynb", "chapters/90_fixture.ipynb"]
    au.build(root)
    for folder in ("solutions", "chapters"):
        text = (root / folder / "90_fixture.ipynb").read_text()
        assert text.count("/blob/v9.9.9/") == 2 and "marlcourse@v9.9.9" in text
    assert au.lint(root / "solutions" / "90_fixture.ipynb", "solutions") == []  # outputs and counts stayed


def test_names_of_chapters(root):
    assert [path.stem for path in au.sources(root, ["90"])] == ["90_fixture"]
    assert [path.stem for path in au.sources(root, ["chapters/90_fixture.ipynb"])] == ["90_fixture"]
    assert au.main(["--root", str(root), "build", "17"]) == 2
    with pytest.raises(ValueError, match="No solution notebook '17'; there are: 90_fixture"):
        au.sources(root, ["17"])


# ------------------------------------------------------------------------------------------------ lint


def test_the_fixture_is_clean_on_both_sides(notebook, tmp_path):
    assert findings(notebook, "solutions", tmp_path) == []
    assert findings(au.student(notebook, "90_fixture"), "chapters", tmp_path) == []


def set_source(tag, text):
    def change(notebook):
        cell_of(notebook, tag)["source"] = text

    return change


def add_output(output):
    def change(notebook):
        cell_of(notebook, "net")["outputs"].append(output)

    return change


def printed(text):
    return add_output({"output_type": "stream", "name": "stdout", "text": text})


def widget_state(notebook):
    notebook["metadata"]["widgets"] = {}


def other_kernel(notebook):
    notebook["metadata"]["kernelspec"]["name"] = "conda-env"


def not_run(notebook):
    cell_of(notebook, "net")["execution_count"] = None


def no_badges(notebook):
    cell_of(notebook, "badges")["metadata"]["tags"] = []


def no_net(notebook):
    cell_of(notebook, "net")["metadata"]["tags"] = []


def double_grade_id(notebook):
    cell_of(notebook, "check")["metadata"]["nbgrader"]["grade_id"] = "ex-90-1"


def skipped(notebook):
    cell_of(notebook, "net")["metadata"]["tags"].append("nbval-skip")


LONG = "\n".join(f"x{i} = {i}" for i in range(21))
DEEP = "def f():\n    ### BEGIN SOLUTION\n" + "    pass\n" * 13 + "    ### END SOLUTION"
WIDGET = {"output_type": "display_data", "metadata": {}, "data": {au.WIDGET_VIEW: {}, "text/plain": "x"}}
ERROR = {"output_type": "error", "ename": "KeyError", "evalue": "'a'", "traceback": []}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (widget_state, "metadata.widgets"),
        (other_kernel, "kernelspec is not python3"),
        (not_run, "not run once each from top to bottom"),
        (no_badges, "exactly one cell with the tag badges"),
        (no_net, "ex-90-1: card, exercise, check and net must follow"),
        (double_grade_id, "grade id ex-90-1 stands 2 times"),
        (skipped, "a skipped cell says why"),
        (set_source("net", LONG), "21 lines; the limit is 20"),
        (set_source("exercise", DEEP), "the hole has 13 lines; the limit is 12"),
        (set_source("exercise", "### BEGIN SOLUTION\nx = 1\n### END SOLUTION"), "a hole at top level"),
        (set_source("exercise", "x = 1"), "an exercise without a hole"),
        (set_source("net", "### BEGIN SOLUTION\nx = 1\n### END SOLUTION"), "outside a cell tagged exercise"),
        (set_source("net", "# NBVAL_IGNORE_OUTPUT because of time"), "must stand alone on its line"),
        (set_source("net", "from IPython.display import clear_output"), "clear_output in a compared cell"),
        (set_source("net", "ClaimCard(id='a').verdict(True)"), "declared before its run"),
        (printed("saved to /home/me/run.pt"), "path of the author's computer: /home/me/run.pt"),
        (printed(r"saved to C:\Users\me"), "path of the author's computer"),
        (add_output(ERROR), "it ended in KeyError: 'a'"),
        (add_output(WIDGET), "a view of a widget"),
        (printed("x" * 1_000_001), "the limit is 1 MB"),
    ],
)
def test_lint_finds(change, words, notebook, tmp_path):
    change(notebook)
    found = findings(notebook, "solutions", tmp_path)
    assert any(words in text for text in found), found


@pytest.mark.parametrize(
    "text",
    [
        "12 km/h and/or 3/4, dQ/dq_1, https://example.org/a/b.html, matrix/climbing, 5 / 7 / 9",
        "<table><tr><td>a</td></tr></table>",
        "chapters/02_matrix_games.ipynb",
    ],
)
def test_lint_lets_ordinary_text_pass(text, notebook, tmp_path):
    printed(text)(notebook)
    assert findings(notebook, "solutions", tmp_path) == []


def test_lint_of_a_chapter(notebook, tmp_path):
    found = " ".join(findings(notebook, "chapters", tmp_path))
    for words in ("keeps no execution counts", "a marker line is left", "progress cells of a chapter keep no outputs"):
        assert words in found


def test_no_script_may_lie_beside_notebooks(root):
    (root / "chapters" / "re.py").write_text("")
    assert au.problems(root) == ["chapters/re.py: no .py file may lie beside notebooks."]


def test_a_notebook_and_its_check_module_must_say_the_same(root):
    path = root / "solutions" / "90_fixture.ipynb"
    assert au.registry_problems(path) == []
    exercises.REGISTRY.clear(), quiz.QUIZZES.clear(), quiz.QUESTIONS.clear()
    assert "exercise 90.1 is not registered" in au.registry_problems(path)[0]
    assert "the quiz is not the one" in au.registry_problems(path)[1]
    au.answers(au.read(path))  # the fixture registers its own
    assert au.registry_problems(path) == []
    exercises.exercise("90.2", title="another", reference=len)(len)
    assert au.registry_problems(path) == ["exercise 90.2 of the check module has no check cell."]
    del exercises.REGISTRY["90.2"]
    one = exercises.REGISTRY.pop("90.1")
    exercises.exercise("90.1", title=one.title, reference=len, points=7, hints=["new"])(one.function)
    assert [text.split(":")[1][:12] for text in au.registry_problems(path)] == [" the card is", " the points "]


# ------------------------------------------------------------------------------------------------ the template


def test_new_makes_a_clean_chapter_and_overwrites_nothing(tmp_path, capsys):
    assert au.main(["--root", str(tmp_path), "new", "97", "mnmpg"]) == 0
    made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert made == ["marlcourse/course/checks/ch97.py", "solutions/97_mnmpg.ipynb", "tests/mutants/ch97.py"]
    assert au.lint(tmp_path / "solutions/97_mnmpg.ipynb", "solutions") == [
        "the cells were not run once each from top to bottom; use `marlcourse author run`."
    ]
    for name in made:
        if name.endswith(".py"):
            compile((tmp_path / name).read_text(), name, "exec")
    assert au.main(["--root", str(tmp_path), "new", "97", "mnmpg"]) == 2
    assert "exists; choose another number" in capsys.readouterr().err
    for number, name in (("5", "Bad Name"), ("555", "x"), ("x", "x")):
        assert au.main(["--root", str(tmp_path), "new", number, name]) == 2


@pytest.mark.notebook
def test_the_template_runs_as_it_stands(tmp_path):
    """A new chapter runs, builds and is clean, with its own check module, and its checks reject its mutants."""
    shutil.copytree(ROOT / "marlcourse", tmp_path / "marlcourse", ignore=shutil.ignore_patterns("__pycache__"))
    au.new(tmp_path, "98", "template")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "MARLCOURSE_SCALE": "ci"}
    command = [sys.executable, "-m", "marlcourse.course.authoring", "--root", str(tmp_path)]
    for arguments in (["run", "98", "--scale", "ci"], ["check", "98"]):
        done = subprocess.run([*command, *arguments], env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    probe = (
        "import runpy\n"
        "from marlcourse.course.checks.ch98 import check_team_value as check\n"
        "from marlcourse.course.exercises import ExerciseIncomplete\n"
        "check.verify(check.reference)\n"
        "for wrong in runpy.run_path('tests/mutants/ch98.py')['MUTANTS']['98.1']:\n"
        "    try: check.verify(wrong)\n"
        "    except ExerciseIncomplete as error: print(error.kind)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["wrong"] * 3, done.stderr


# ------------------------------------------------------------------------------------------------ the set-up cell


def test_set_up_without_the_library_says_what_to_do_in_one_sentence():
    done = subprocess.run([sys.executable, "-I", "-S", "-c", au.setup()["source"]], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert "cannot load the course (No module named 'marlcourse')" in last and "`python3 course.py lab`" in last
    assert last.count(". ") == 0


def test_set_up_with_the_library_but_without_pytorch_says_so():
    source = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n" + au.setup()["source"]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and "No module named 'torch'" in last and "`python3 course.py lab`" in last


@pytest.mark.notebook
def test_set_up_without_the_library_shows_no_stack_in_a_notebook(tmp_path):
    block = au.code("import sys\nsys.modules['marlcourse'] = None")
    ran, _ = au.execute({"cells": [block, au.setup()], "metadata": au._metadata()}, tmp_path, allow_errors=True)
    said, error = ran["cells"][1]["outputs"]
    assert "".join(said["text"]).startswith("Loading")
    assert error["ename"] == "WrongEnvironment"
    assert len(error["traceback"]) == 1 and "course.py lab" in error["traceback"][0]


def run_set_up(monkeypatch, installed, importable=True):
    """The set-up cell as on Colab, with pip and the import replaced; returns the pip commands."""
    commands = []
    fake = ModuleType("marlcourse")
    fake.report = lambda: commands.append("report")
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.setattr(subprocess, "call", lambda command: commands.append(command) or (0 if installed else 1))
    monkeypatch.setattr(subprocess, "check_call", lambda command: commands.append(command))
    monkeypatch.setenv("MARLCOURSE_SCALE", "ci")
    original = builtins.__import__

    def load(name, *rest):
        return fake if name == "marlcourse" else original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", load)
    exec(au.setup()["source"].replace('SCALE = "demo"', 'SCALE = "full"'), {})
    return commands


def test_set_up_on_colab_installs_the_tag_once_and_leaves_torch_alone(monkeypatch):
    commands = run_set_up(monkeypatch, installed=False)
    assert os.environ["MARLCOURSE_SCALE"] == "full"
    install = commands[1]
    assert install[:4] == [sys.executable, "-m", "pip", "install"] and "--no-deps" in install
    assert install[-1] == f"git+https://github.com/{au.SLUG}@{au.TAG}"
    assert commands[-1] == "report"


def test_set_up_on_colab_a_second_time_installs_nothing(monkeypatch):
    commands = run_set_up(monkeypatch, installed=True)
    assert not any("install" in command for command in commands)


def test_set_up_elsewhere_leaves_the_scale_alone(monkeypatch):
    monkeypatch.setenv("MARLCOURSE_SCALE", "ci")
    fake = ModuleType("marlcourse")
    fake.report = lambda: None
    monkeypatch.setitem(sys.modules, "marlcourse", fake)
    exec(au.setup()["source"], {})
    assert os.environ["MARLCOURSE_SCALE"] == "ci"


# ------------------------------------------------------------------------------------------------ running


@pytest.mark.notebook
def test_run_saves_tidy_outputs_and_a_failing_cell_saves_nothing(tmp_path, capsys):
    (tmp_path / "chapters").mkdir()
    path = tmp_path / "solutions" / "90_small.ipynb"
    path.parent.mkdir()
    bar = "import os\nprint('10%\\r100%')\nprint(os.environ['MARLCOURSE_SCALE'], os.environ['MARLCOURSE_STRICT'])"
    widget = "import ipywidgets, IPython.display as d\nd.display(ipywidgets.IntSlider())"
    au.write(path, [au.code(bar), au.code(widget)])
    report = au.run(path, "ci")
    ran = au.read(path)
    assert "".join(ran["cells"][0]["outputs"][0]["text"]) == "100%\nci 1\n"
    assert ran["cells"][1]["outputs"] == [] and "widgets" not in ran["metadata"]
    assert [cell["execution_count"] for cell in ran["cells"]] == [1, 2]
    assert report["bytes"] == path.stat().st_size and report["slowest"][0][0] < report["seconds"]
    au.write(path, [au.code(bar), au.code("1 / 0")])
    before = path.read_bytes()
    assert au.main(["--root", str(tmp_path), "run", "90", "--scale", "ci"]) == 1
    assert path.read_bytes() == before and "ZeroDivisionError" in capsys.readouterr().err
    with pytest.raises(ValueError, match="The scale is 'huge'; choose one of ci, demo, full"):
        au.run(path, "huge")


def encoded(picture, kind="PNG"):
    """Base64 of a saved Pillow picture, as a notebook's output holds it."""
    import base64
    import io

    file = io.BytesIO()
    picture.save(file, kind)
    return base64.b64encode(file.getvalue()).decode() + "\n"


def figure():
    """Smooth-edged lines in six colours on white [240,320,4] uint8, opaque: what a plot is made of."""
    import numpy as np
    from PIL import Image, ImageDraw

    big, rng = Image.new("RGBA", (1280, 960), "white"), np.random.default_rng(0)
    pen = ImageDraw.Draw(big)
    for k in range(60):
        pen.line(
            [*rng.integers(0, 960, 4)], fill=["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "black"][k % 6], width=8
        )
    return np.asarray(big.resize((320, 240), Image.Resampling.LANCZOS)).copy()


def test_pictures_are_stored_with_a_palette_and_look_the_same():
    import base64
    import io

    import numpy as np
    from PIL import Image

    pixels = figure()
    before = encoded(Image.fromarray(pixels))
    cell = {"cell_type": "code", "outputs": [{"output_type": "display_data", "data": {"image/png": before}}]}
    after = au._strip({"cells": [cell]})["cells"][0]["outputs"][0]["data"]["image/png"]
    assert len(after) < 0.7 * len(before)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(after))).convert("RGB")).astype(int)
    assert np.abs(shown - pixels[..., :3]).mean() < 3 and shown.shape == pixels[..., :3].shape


def test_pictures_that_a_palette_would_spoil_stay_as_they_are():
    from PIL import Image

    pixels = figure()
    pixels[:40, :, 3] = 0
    assert au._palette(encoded(Image.fromarray(pixels))) == encoded(Image.fromarray(pixels))
    frames = Image.fromarray(figure()[..., :3])
    assert au._palette(encoded(frames, "GIF")) == encoded(frames, "GIF")
    assert au._palette(encoded(Image.new("P", (1, 1)))) == encoded(Image.new("P", (1, 1)))
