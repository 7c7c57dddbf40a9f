"""Notebooks: `solutions/` is the source, `chapters/` is generated. `marlcourse author build | check | new | run`.

docs/authoring.md is the guide. The rules, in short: a hole between `### BEGIN SOLUTION` and `### END SOLUTION` becomes
`raise NotImplementedError`; hidden tests, execution counts and widget state go; outputs stay, except those that belong
to a reader (exercise, check, net and progress cells); the badges and the set-up cell come from SLUG and TAG below.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import json
import os
import re
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from . import SCALES
from .exercises import Exercise, write_atomic

SLUG = "marlcourse/marlcourse"  # the repository on GitHub: the one place that names it
TAG = "v0.1.0"  # the release that notebooks link to and install

MAX_BYTES = 1_000_000
MAX_LINES, MAX_HOLE = 20, 12
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HIDE, SHOW = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
NBVAL = ("NBVAL_IGNORE_OUTPUT", "NBVAL_CHECK_OUTPUT", "NBVAL_SKIP", "NBVAL_RAISES_EXCEPTION")
PERSONAL = {"exercise", "check", "net", "progress"}  # cells whose outputs are the reader's own: a chapter has none
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


# ------------------------------------------------------------------------------------------------ cells


def md(text: str, tags: Sequence[str] = ()) -> dict:
    """A Markdown cell."""
    return _cell("markdown", text, tags)


def code(src: str, tags: Sequence[str] = ()) -> dict:
    """A code cell."""
    return _cell("code", src, tags)


def exercise(id: str, src: str) -> dict:
    """An exercise cell: `src` is the full solution, with the two marker lines around what the reader writes."""
    return _cell("code", src, ["exercise"], nbgrader=_nbgrader(f"ex-{id}", solution=True, grade=False, locked=False))


def check(id: str, src: str, points: int = 1) -> dict:
    """A check cell: one call such as `ex.check_vdn(vdn)`, and hidden tests between their markers if you wish."""
    return _cell(
        "code",
        src,
        ["check"],
        nbgrader=_nbgrader(f"check-{id}", solution=False, grade=True, locked=True, points=points),
    )


def card(one: Exercise, text: str) -> dict:
    """The card above an exercise: ratings, minutes, the task, and hints that unfold one inside the other."""
    foot = "Stuck for longer than that? Run on: the cell after the check goes on with the course's own answer."
    parts = [_ratings(one), textwrap.dedent(text).strip(), _hints(one), foot]
    return md("\n\n".join(part for part in parts if part), ["card"])


def _ratings(one: Exercise) -> str:
    return (
        f"### Exercise {one.id} - {one.title}\n\n"
        f"> Difficulty {one.difficulty}/5 · Importance {one.importance}/5 · about {one.minutes} minutes · "
        "ratings compare the exercises of this course with one another"
    )


def _hints(one: Exercise) -> str:
    """The hints, each folded inside the one before it."""
    folded = ""
    for number, hint in reversed(list(enumerate(one.hints, start=1))):
        inner = f"\n\n{folded}" if folded else ""
        folded = f"<details><summary>Hint {number}</summary>\n\n{hint}{inner}\n\n</details>"
    return folded


def block(one: Exercise, text: str, src: str, answer: str, module: str = "ex") -> list[dict]:
    """Card, exercise, check and net for a registered exercise whose answer is the function or class `answer`."""
    return [
        card(one, text),
        exercise(one.id, src),
        check(one.id, f"{module}.{one.name}({answer})", one.points),
        code(f'{answer} = {module}.mine_or_reference("{one.id}", {answer}, {module}.{one.name})', ["net"]),
    ]


def fold(summary: str, text: str) -> dict:
    """A Markdown cell that unfolds: the answer to a prediction, a longer derivation."""
    return md(f"<details><summary>{summary}</summary>\n\n{textwrap.dedent(text).strip()}\n\n</details>")


def quiz(one) -> dict:
    """A Quiz or Question as a Markdown cell, with an explanation folded under each option."""
    cell = md(one.markdown(), ["quiz"])
    cell["metadata"]["marlcourse"] = {"quiz": one.id}
    return cell


def badges(name: str, kind: str = "solutions") -> dict:
    """The links at the top of a notebook; `kind` is "solutions" or "chapters"."""
    colab = "https://colab.research.google.com/github"
    picture = "https://colab.research.google.com/assets/colab-badge.svg"

    def link(folder):
        return f"{colab}/{SLUG}/blob/{TAG}/{folder}/{name}.ipynb"

    if kind == "chapters":
        here = f"You are reading the chapter; its [solutions](../solutions/{name}.ipynb) stand beside it. "
        here += (
            "It arrives with the outputs of one run; *Edit > Clear Outputs of All Cells* hides them, so that you can predict."
        )
    else:
        here = f"You are reading the **solutions**; the chapter to work in is [here](../chapters/{name}.ipynb)."
    return md(
        f"[![Open the chapter in Colab]({picture})]({link('chapters')}) "
        f"[Solutions in Colab]({link('solutions')}) · [GitHub](https://github.com/{SLUG})\n\n{here}",
        ["badges"],
    )


def setup() -> dict:
    """The first code cell: imports the course, installs it on Colab, and says what to do anywhere else."""
    return code(
        f"""
        # @title Set-up: run this first {{ display-mode: "form" }}
        import os
        import subprocess
        import sys

        SCALE = "demo"  # @param ["ci", "demo", "full"]
        LIBRARY = "git+https://github.com/{SLUG}@{TAG}"


        class WrongEnvironment(ImportError):
            def _render_traceback_(self):
                return [str(self)]


        try:
            if "google.colab" in sys.modules:  # elsewhere the form field does nothing
                os.environ["MARLCOURSE_SCALE"] = SCALE
                if subprocess.call([sys.executable, "-m", "pip", "show", "-q", "marlcourse"]):
                    print("Installing the course; up to a minute.", flush=True)
                    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "--no-deps", LIBRARY])
            print("Loading the course; some seconds.", flush=True)
            import marlcourse as mc

            mc.report()
        except ImportError as missing:
            raise WrongEnvironment(
                f"This kernel ({{sys.executable}}) cannot load the course ({{missing}}): start the notebook with "
                "`python3 course.py lab` in the course's folder, or choose its kernel, `Python (marlcourse)`."
            ) from None
        """,
        ["setup", "nbval-ignore-output"],
    )


def head(
    name: str,
    title: str,
    *,
    question: str,
    time: str,
    prerequisites: str,
    gpu: str,
    minutes: Mapping[str, str],
    objectives=(),
) -> list[dict]:
    """Title, question, badges, table, objectives, set-up cell. minutes: {"ci": ..., "demo": ..., "full": ...}."""
    table = (
        "| time | prerequisites | GPU? | minutes to run: ci / demo / full | version |\n|---|---|---|---|---|\n"
        f"| {time} | {prerequisites} | {gpu} | {' / '.join(str(minutes[s]) for s in SCALES)} | {TAG} |"
    )
    goals = "\n".join(f"* {goal}" for goal in objectives)
    after = f"\n\nAfter this chapter you can\n\n{goals}" if goals else ""
    return [
        md(f"# {name[:2]} · {title}\n\n**{question}**"),
        badges(name),
        md(table + after),
        setup(),
    ]


def tail(name: str, *, summary: str, library: str, reading: str, next_question: str) -> list[dict]:
    """Summary, in the library, further reading, the question that remains; and the progress cell."""
    parts = {"Summary": summary, "In the library": library, "Further reading": reading, "Still open": next_question}
    text = "\n\n".join(f"## {heading}\n\n{textwrap.dedent(part).strip()}" for heading, part in parts.items())
    return [md(text), code("mc.progress()", ["progress", "nbval-ignore-output"])]


def _cell(kind: str, text: str, tags: Sequence[str] = (), **metadata) -> dict:
    cell = {"cell_type": kind, "metadata": {"tags": list(tags), **metadata} if tags else dict(metadata)}
    cell["source"] = textwrap.dedent(text).strip("\n")
    if kind == "code":
        cell.update(execution_count=None, outputs=[])
    return cell


def _nbgrader(grade_id: str, **fields) -> dict:
    return {"schema_version": 3, "task": False, "grade_id": grade_id.replace(".", "-"), **fields}


def tags(cell) -> list[str]:
    """The tags of a cell."""
    return cell["metadata"].get("tags", [])


# ------------------------------------------------------------------------------------------------ files


def write(path: str | os.PathLike, cells: Iterable[dict]) -> Path:
    """Write a solution notebook from cells. Outputs of an earlier version stay up to the first changed code cell."""
    path = Path(path)
    notebook = {"cells": list(cells), "metadata": _metadata(), "nbformat": 4, "nbformat_minor": 5}
    if path.exists():
        _keep_outputs(read(path)["cells"], notebook["cells"])
    write_atomic(path, dumps(notebook))
    return path


def read(path: str | os.PathLike) -> dict:
    """A notebook as plain dictionaries, sources as one string. ValueError in one sentence when it is not one."""
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        cells = notebook["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{Path(path).name} is not a notebook of format 4 ({type(error).__name__}); restore it from git."
        ) from None
    for cell in cells:
        cell["source"] = "".join(cell["source"])
        cell.setdefault("metadata", {})
    return notebook


def dumps(notebook: dict) -> bytes:
    """The one fixed JSON form: sorted keys, sources as lines, an id for each cell that depends on its content only."""
    seen: dict[str, int] = {}
    cells = []
    for cell in notebook["cells"]:
        cell = dict(cell, source=cell["source"].splitlines(keepends=True))
        if cell["cell_type"] == "code":
            cell["outputs"] = [_tidy(output) for output in cell["outputs"]]
        id = cell.get("id") or _id(cell)
        seen[id] = seen.get(id, 0) + 1
        cells.append(dict(cell, id=id if seen[id] == 1 else f"{id}-{seen[id]}"))
    notebook = dict(notebook, cells=cells, nbformat=4, nbformat_minor=5)
    return (json.dumps(notebook, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def _id(cell) -> str:
    grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id")
    source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    return grade_id or f"{cell['cell_type']}-{hashlib.sha1(source.encode()).hexdigest()[:10]}"


def _tidy(output: dict) -> dict:
    output = dict(output)
    if "text" in output:
        output["text"] = "".join(output["text"]).splitlines(keepends=True)
    if "execution_count" in output:
        output.setdefault("metadata", {})
    return output


def _metadata(**extra) -> dict:
    return {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        **extra,
    }


def _keep_outputs(old: list[dict], new: list[dict]) -> None:
    pairs = zip(*([cell for cell in cells if cell["cell_type"] == "code"] for cells in (old, new)))
    for before, after in pairs:
        if before["source"] != after["source"]:
            return
        after.update(outputs=before["outputs"], execution_count=before["execution_count"])


# ------------------------------------------------------------------------------------------------ solution -> chapter


def refresh(notebook: dict, name: str, kind: str) -> dict:
    """The notebook with its generated cells (badges, set-up) made anew, and its metadata in the fixed form."""
    cells = []
    for cell in notebook["cells"]:
        if "badges" in tags(cell):
            cell = dict(cell, source=badges(name, kind)["source"])
        elif "setup" in tags(cell):
            cell = dict(cell, source=setup()["source"], metadata=setup()["metadata"])
        cells.append(cell)
    extra = {"marlcourse": {"generated_from": f"solutions/{name}.ipynb"}} if kind == "chapters" else {}
    return dict(notebook, cells=cells, metadata=_metadata(**extra))


def student(notebook: dict, name: str) -> dict:
    """The chapter for a solution notebook. Raises ValueError, naming the cell, when the markers do not pair."""
    cells = []
    for number, cell in enumerate(refresh(notebook, name, "chapters")["cells"]):
        cell = dict(cell, metadata=json.loads(json.dumps(cell["metadata"])))
        for transient in ("execution", "collapsed", "scrolled", "ExecuteTime"):
            cell["metadata"].pop(transient, None)
        if cell["cell_type"] == "code":
            try:
                cell["source"] = _cut(
                    _cut(cell["source"], HIDE, SHOW, ""), BEGIN, END, "# YOUR CODE HERE\nraise NotImplementedError"
                )
            except ValueError as error:
                raise ValueError(f"{name}, cell {number}: {error}") from None
            hidden = PERSONAL & set(tags(cell))
            kept = [] if hidden else [dict(o, execution_count=None) if "execution_count" in o else o for o in cell["outputs"]]
            cell.update(execution_count=None, outputs=kept)
            if "check" in tags(cell):
                cell["metadata"]["tags"] = [*tags(cell), "raises-exception"]
        cells.append(cell)
    return dict(refresh(notebook, name, "chapters"), cells=cells)


def _cut(source: str, begin: str, end: str, stub: str) -> str:
    """`source` with each part from the line `begin` to the line `end` replaced by `stub`, indented as `begin` is."""
    kept, inside = [], None
    for line in source.splitlines():
        mark = line.strip()
        if mark == begin:
            if inside is not None:
                raise ValueError(f"{begin} stands twice without {end}.")
            inside = line[: len(line) - len(line.lstrip())]
            kept += [inside + text for text in stub.splitlines()]
        elif mark == end:
            if inside is None:
                raise ValueError(f"{end} stands without {begin}.")
            inside = None
        elif begin in line or end in line:
            raise ValueError(f"the marker must stand alone on its line: {mark!r}.")
        elif inside is None:
            kept.append(line)
    if inside is not None:
        raise ValueError(f"{begin} has no {end}.")
    return "\n".join(kept).rstrip() if stub == "" else "\n".join(kept)


# ------------------------------------------------------------------------------------------------ lint


def lint(path: str | os.PathLike, kind: str) -> list[str]:
    """What is wrong with a notebook, one sentence each. kind: "solutions" or "chapters"."""
    path = Path(path)
    try:
        notebook = read(path)
    except ValueError as error:
        return [str(error)]
    found = []
    if path.stat().st_size > MAX_BYTES:
        found.append(
            f"{path.stat().st_size / 1e6:.1f} MB; the limit is {MAX_BYTES / 1e6:.0f} MB: smaller figures, fewer frames."
        )
    if "widgets" in notebook["metadata"]:
        found.append("metadata.widgets holds widget state; `marlcourse author run` saves without it.")
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        found.append("the kernelspec is not python3; `marlcourse author build` writes it.")
    for needed in ("badges", "setup"):
        if sum(needed in tags(cell) for cell in notebook["cells"]) != 1:
            found.append(f"there must be exactly one cell with the tag {needed} (authoring.{needed}).")
    found += _lint_order(notebook["cells"], kind) + _lint_exercises(notebook["cells"])
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            found += [f"cell {number}: {text}" for text in _lint_cell(cell, kind)]
    return found


def _lint_order(cells, kind) -> list[str]:
    ran = [cell for cell in cells if cell["cell_type"] == "code" and cell["source"].strip()]
    counts = [cell["execution_count"] for cell in ran]
    if kind == "chapters":
        return ["a chapter keeps no execution counts; rebuild it."] if any(counts) else []
    if counts != list(range(1, len(ran) + 1)):
        return ["the cells were not run once each from top to bottom; use `marlcourse author run`."]
    return []


def _lint_exercises(cells) -> list[str]:
    found, grade_ids = [], [c["metadata"]["nbgrader"]["grade_id"] for c in cells if "nbgrader" in c["metadata"]]
    found += [
        f"the grade id {id} stands {grade_ids.count(id)} times." for id in sorted(set(grade_ids)) if grade_ids.count(id) > 1
    ]
    roles = [({"card", "exercise", "check", "net"} & set(tags(cell)) or {""}).pop() for cell in cells]
    for i, cell in enumerate(cells):
        if roles[i] != "exercise":
            continue
        id = cell["metadata"].get("nbgrader", {}).get("grade_id", "?")
        if roles[i - 1 : i + 3] != ["card", "exercise", "check", "net"]:
            found.append(f"{id}: card, exercise, check and net must follow one another.")
        elif cells[i + 1]["metadata"].get("nbgrader", {}).get("grade_id") != id.replace("ex-", "check-"):
            found.append(f"{id}: the check below it has another grade id.")
    for role in ("check", "net", "card"):
        if roles.count(role) != roles.count("exercise"):
            found.append(f"{roles.count(role)} cells are tagged {role} and {roles.count('exercise')} exercise.")
    return found


def _lint_cell(cell, kind) -> list[str]:
    source, marks, found = cell["source"], tags(cell), []
    lines = [line for line in source.splitlines() if line.strip()]
    shown = _without_hidden(source)
    if len(shown) > MAX_LINES and "setup" not in marks:
        found.append(f"{len(shown)} lines; the limit is {MAX_LINES}: one idea a cell.")
    if any(mark in source for mark in (BEGIN, END, HIDE, SHOW)):
        if kind == "chapters":
            found.append("a marker line is left in a chapter; rebuild it.")
        elif BEGIN in source and "exercise" not in marks:
            found.append("a solution stands outside a cell tagged exercise.")
    if "exercise" in marks and kind == "solutions":
        found += _lint_hole(source)
    if PERSONAL & set(marks) and kind == "chapters" and cell["outputs"]:
        found.append("exercise, check, net and progress cells of a chapter keep no outputs; rebuild it.")
    for line in lines:
        if any(word in line for word in NBVAL) and line.strip() not in [f"# {word}" for word in NBVAL]:
            found.append(f"nbval ignores this marker; it must stand alone on its line: {line.strip()!r}.")
    if ("nbval-skip" in marks or "# NBVAL_SKIP" in source) and "# skipped because" not in source:
        found.append("a skipped cell says why in a line `# skipped because ...`.")
    if "clear_output" in source and not _ignored(cell):
        found.append("clear_output in a compared cell: update a display handle, or tag it nbval-ignore-output.")
    if lines and lines[-1].rstrip().endswith(";") and not _ignored(cell):
        found.append("nbval does not honour a last `;`: assign the value, or tag the cell nbval-ignore-output.")
    if ".verdict(" in source and "ClaimCard(" in source:
        found.append("a claim is declared before its run: ClaimCard and verdict in different cells.")
    for output in cell["outputs"]:
        found += _lint_output(output, marks)
    return found


def _ignored(cell) -> bool:
    return bool({"nbval-ignore-output", "nbval-skip"} & set(tags(cell))) or "# NBVAL_IGNORE_OUTPUT" in cell["source"]


def _without_hidden(source: str) -> list[str]:
    try:
        source = _cut(source, HIDE, SHOW, "")
    except ValueError:
        pass  # student() reports it
    return [line for line in source.splitlines() if line.strip() and line.strip() not in (BEGIN, END)]


def _lint_hole(source: str) -> list[str]:
    found, depth, inside, lines = [], None, False, source.splitlines()
    if BEGIN not in source:
        return ["an exercise without a hole: put the marker lines around what the reader writes."]
    hole = 0
    for line in lines:
        if line.strip() == BEGIN:
            depth, inside, hole = len(line) - len(line.lstrip()), True, 0
            if depth == 0:
                found.append("a hole at top level would stop Run All: put it inside a function.")
        elif line.strip() == END:
            inside = False
            if hole > MAX_HOLE:
                found.append(f"the hole has {hole} lines; the limit is {MAX_HOLE}.")
        elif inside and line.strip() and not line.strip().startswith("#"):
            hole += 1
    return found


# An absolute path with two parts or more, on any system; not part of a URL, an HTML tag or base64 data.
_PATH = re.compile(r"(?<![\w/.:<+=~>\-\\])/(?:[A-Za-z_.][\w.-]*/)+[\w.-]+|\b[A-Za-z]:\\\\?\w")


def _lint_output(output, marks) -> list[str]:
    found = []
    if output["output_type"] == "error":
        found.append(f"it ended in {output['ename']}: {output['evalue'][:80]}")
    data = output.get("data", {})
    if WIDGET_VIEW in data:
        found.append("an output is a view of a widget that will not exist; `marlcourse author run` drops it.")
    texts = [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    for text in map("".join, texts):
        text = re.sub(r"base64,[A-Za-z0-9+/=\\\s]+", "", text)
        if match := _PATH.search(text):
            found.append(f"an output shows a path of the author's computer: {match.group(0)[:60]}")
    return found


def registry_problems(path: str | os.PathLike) -> list[str]:
    """Where a notebook and the check module of its chapter disagree: exercises, cards, points, quiz."""
    from .exercises import REGISTRY
    from .quiz import QUESTIONS, QUIZZES

    path = Path(path)
    module = f"{__package__}.checks.ch{path.stem[:2]}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
    cells, found = read(path)["cells"], []
    here = {id: number for number, id, _, _ in checks_in({"cells": cells})}
    chapter = path.stem[:2].lstrip("0") or "0"
    missing = [id for id in REGISTRY if id.split(".")[0] == chapter and id not in here]
    found += [f"exercise {id} of the check module has no check cell." for id in missing]
    for id, number in here.items():
        one = REGISTRY.get(id)
        if one is None:
            found.append(f"cell {number}: exercise {id} is not registered in the check module.")
            continue
        above = cells[number - 2]["source"]
        if _ratings(one) not in above or _hints(one) not in above:
            found.append(f"cell {number - 2}: the card is not that of exercise {id}; make it with authoring.card.")
        if cells[number]["metadata"]["nbgrader"]["points"] != one.points:
            found.append(f"cell {number}: the points differ from the {one.points} of exercise {id}.")
    for number, cell in enumerate(cells):
        id = cell["metadata"].get("marlcourse", {}).get("quiz")
        source = QUIZZES.get(id) or QUESTIONS.get(id)
        if id and (source is None or source.markdown() != cell["source"]):
            found.append(f"cell {number}: the quiz is not the one of the check module; make it with authoring.quiz.")
    return found


# ------------------------------------------------------------------------------------------------ running


def run(path: str | os.PathLike, scale: str = "demo", *, timeout: int | None = None, progress=None) -> dict:
    """Execute a solution from the top in this Python's kernel and save its outputs in place.

    Widget state and views are dropped, carriage returns resolved, pictures reduced to 256 colours. Runs strict, and keeps
    the author's own progress file out of it.
    Returns {"seconds", "bytes", "slowest": [(seconds, cell number, first line)], "largest": [...]}.
    Raises nbclient's CellExecutionError, with nothing saved, when a cell fails.
    """
    path = Path(path)
    if scale not in SCALES:
        raise ValueError(f"The scale is {scale!r}; choose one of {', '.join(SCALES)}.")
    notebook = refresh(read(path), path.stem, "solutions")
    with tempfile.TemporaryDirectory() as folder:
        env = {
            "MARLCOURSE_SCALE": scale,
            "MARLCOURSE_STRICT": "1",
            "MARLCOURSE_PROGRESS": os.path.join(folder, "progress.json"),
        }
        started = time.perf_counter()
        executed, seconds = execute(notebook, path.parent, env=env, timeout=timeout, progress=progress)
        total = time.perf_counter() - started
    content = dumps(_strip(executed))
    write_atomic(path, content)
    return {"seconds": total, "bytes": len(content), **_report(executed, seconds)}


def execute(notebook: dict, folder, *, env=None, timeout=None, allow_errors=False, progress=None) -> tuple[dict, dict]:
    """(the executed notebook, {cell number: seconds}), run inside `folder` by a kernel of this Python and this library."""
    import nbformat
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class ThisPython(KernelSpecManager):
        def get_kernel_spec(self, kernel_name):
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python 3", language="python", env={})

    begun: dict[int, float] = {}
    seconds: dict[int, float] = {}

    def start(cell, cell_index):
        begun[cell_index] = time.perf_counter()
        if progress:
            progress(cell_index, len(notebook["cells"]))

    def done(cell, cell_index, execute_reply=None):
        seconds[cell_index] = time.perf_counter() - begun.get(cell_index, time.perf_counter())

    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=ThisPython())
    client = NotebookClient(
        nbformat.reads(dumps(notebook).decode(), as_version=4),
        km=manager,
        timeout=timeout,
        allow_errors=allow_errors,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
        on_cell_execute=start,
        on_cell_executed=done,
        on_cell_error=done,
    )
    env = {**os.environ, **(env or {})}
    library = str(Path(__file__).resolve().parents[2])
    env["PYTHONPATH"] = os.pathsep.join([library, *filter(None, [env.get("PYTHONPATH")])])
    client.execute(env=env)
    plain = json.loads(nbformat.writes(client.nb))
    for cell in plain["cells"]:
        cell["source"] = "".join(cell["source"])
    return plain, seconds


def _strip(notebook: dict) -> dict:
    """Without widget state and views; each printed line as it stood after its last carriage return."""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        outputs = []
        for output in cell["outputs"]:
            if WIDGET_VIEW in output.get("data", {}):
                continue
            if "image/png" in output.get("data", {}):
                output = dict(output, data=dict(output["data"], **{"image/png": _palette(output["data"]["image/png"])}))
            if "text" in output:
                text = "".join(output["text"]).replace("\r\n", "\n")
                lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
                output = dict(output, text="\n".join(lines))
            outputs.append(output)
        cell["outputs"] = outputs
    return dict(notebook, metadata=_metadata())


def _palette(png: str | list[str]) -> str:
    """The same picture (base64) with 256 colours, about a third of the bytes; as it was where that would lose something.

    Left alone: animations (GIF bytes under the name of a PNG), transparent pictures, and what would not get smaller.
    """
    import base64
    import io

    from PIL import Image

    png = "".join(png)
    raw = base64.b64decode(png)
    if not raw.startswith(b"\x89PNG"):
        return png
    picture = Image.open(io.BytesIO(raw))
    if "A" in picture.getbands() and picture.getchannel("A").getextrema()[0] < 255:
        return png
    small = io.BytesIO()
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode() + "\n" if len(small.getvalue()) < len(raw) else png


def _report(notebook: dict, seconds: dict[int, float]) -> dict:
    def first(number):
        return (notebook["cells"][number]["source"].splitlines() or [""])[0][:60]

    sizes = [(len(json.dumps(cell.get("outputs", []))), n, first(n)) for n, cell in enumerate(notebook["cells"])]
    return {
        "slowest": sorted(((s, n, first(n)) for n, s in seconds.items()), reverse=True)[:3],
        "largest": sorted(sizes, reverse=True)[:3],
    }


# ------------------------------------------------------------------------------------------------ for the tests


def checks_in(notebook: dict) -> list[tuple[int, str, str, ast.expr]]:
    """[(cell number, exercise id, name of the check, expression of the answer)] for each check cell."""
    found = []
    for number, cell in enumerate(notebook["cells"]):
        if "check" in tags(cell):
            nodes = ast.walk(ast.parse(cell["source"]))
            call = next(node for node in nodes if isinstance(node, ast.Call) and node.args)
            name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id
            id = cell["metadata"]["nbgrader"]["grade_id"].removeprefix("check-").replace("-", ".")
            found.append((number, id, name, call.args[0]))
    return found


def answers(notebook: dict) -> dict[str, object]:
    """{exercise id: the notebook's own solution}, without running the notebook.

    Executes, in order, the imports, functions and classes of every cell, cells tagged `definitions`, and the exercise
    cells in full. Raises ValueError, naming the cell, when an exercise needs more than that.
    """
    import linecache

    namespace: dict = {"__name__": "__main__"}
    solved = {number - 1: (id, answer) for number, id, _, answer in checks_in(notebook)}
    found = {}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code" or "setup" in tags(cell) or "check" in tags(cell):
            continue
        source = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in cell["source"].splitlines())
        tree = ast.parse(source)
        if not {"definitions", "exercise"} & set(tags(cell)):
            kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
            tree.body = [node for node in tree.body if isinstance(node, kinds)]
        file = f"<cell {number}>"
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
        try:
            exec(compile(tree, file, "exec"), namespace)
            if number in solved:
                id, answer = solved[number]
                found[id] = eval(compile(ast.Expression(answer), file, "eval"), namespace)
        except NameError as error:
            raise ValueError(f"cell {number}: {error}; tag the cell that makes it `definitions`.") from None
    return found


# ------------------------------------------------------------------------------------------------ commands


def repository() -> Path:
    """The folder that holds solutions/: the working folder or one above it, else the one of this package."""
    here = Path.cwd()
    candidates = [here, *here.parents, Path(__file__).resolve().parents[2]]
    for folder in candidates:
        if (folder / "solutions").is_dir() and (folder / "marlcourse").is_dir():
            return folder
    return Path(__file__).resolve().parents[2]


def sources(root: Path, chosen: Sequence[str] = ()) -> list[Path]:
    """The solution notebooks, or those whose number or name is chosen. Raises ValueError for one that is not there."""
    every = sorted((root / "solutions").glob("*.ipynb"))
    if not chosen:
        return every
    found = []
    for want in chosen:
        stem = Path(want).name.removesuffix(".ipynb")
        stem = stem.zfill(2) if stem.isdigit() else stem
        matches = [path for path in every if path.stem == stem or path.stem.startswith(f"{stem}_")]
        if not matches:
            raise ValueError(f"No solution notebook {want!r}; there are: {', '.join(p.stem for p in every) or 'none'}.")
        found += matches
    return found


def build(root: Path, chosen: Sequence[str] = ()) -> list[Path]:
    """Regenerate chapters/, and the generated cells of solutions/. Returns the files that changed."""
    changed = []
    for path, content in _generated(root, chosen):
        if not path.exists() or path.read_bytes() != content:
            write_atomic(path, content)
            changed.append(path)
    return changed


def stale(root: Path, chosen: Sequence[str] = ()) -> list[str]:
    """Names of the notebooks that `build` would change, and chapters without a source."""
    names = []
    for path, content in _generated(root, chosen):
        if not path.exists() or path.read_bytes().replace(b"\r\n", b"\n") != content:
            names.append(f"{path.parent.name}/{path.name}")
    if not chosen:
        known = {path.stem for path in sources(root)}
        names += [f"chapters/{p.name}" for p in sorted((root / "chapters").glob("*.ipynb")) if p.stem not in known]
    return names


def _generated(root: Path, chosen) -> Iterable[tuple[Path, bytes]]:
    for path in sources(root, chosen):
        notebook = read(path)
        yield path, dumps(refresh(notebook, path.stem, "solutions"))
        yield root / "chapters" / path.name, dumps(student(notebook, path.stem))


def problems(root: Path, chosen: Sequence[str] = ()) -> list[str]:
    """Every lint finding, with the notebook it concerns."""
    found = []
    for path in sources(root, chosen):
        found += [f"solutions/{path.name}: {text}" for text in lint(path, "solutions") or registry_problems(path)]
        chapter = root / "chapters" / path.name
        if chapter.exists():
            found += [f"chapters/{path.name}: {text}" for text in lint(chapter, "chapters")]
    for folder in ("solutions", "chapters"):
        scripts = sorted((root / folder).glob("*.py"))
        found += [f"{folder}/{path.name}: no .py file may lie beside notebooks." for path in scripts]
    return found


def new(root: Path, number: str, name: str) -> list[Path]:
    """A template chapter with one working exercise: notebook, check module, mutants. Never overwrites a file."""
    number = number.zfill(2)
    if not re.fullmatch(r"\d\d", number) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"Give a number and a lower-case name, as in `new 05 mnmpg`, not {number!r} {name!r}.")
    files = {
        root / "marlcourse" / "course" / "checks" / f"ch{number}.py": _CHECKS.format(n=int(number), number=number),
        root / "tests" / "mutants" / f"ch{number}.py": _MUTANTS.format(n=int(number), number=number),
    }
    notebook = root / "solutions" / f"{number}_{name}.ipynb"
    for path in [notebook, *files]:
        if path.exists():
            raise ValueError(f"{path.parent.name}/{path.name} exists; choose another number or remove it.")
    for path, text in files.items():
        write_atomic(path, text.encode())
    write(notebook, _template(number, name))
    return [notebook, *files]


_CHECKS = '''"""Chapter {number}: exercises and quiz."""

from __future__ import annotations

import torch

from marlcourse.course.exercises import exercise, expect, mine_or_reference
from marlcourse.course.quiz import Question, Quiz, quiz

__all__ = ["QUIZ", "check_team_value", "mine_or_reference", "quiz"]


def team_value(q: torch.Tensor) -> torch.Tensor:
    """Utilities q [..., N] -> the team's value [...]."""
    return q.sum(-1)


@exercise(
    "{n}.1",
    title="the team's value",
    reference=team_value,
    difficulty=1,
    importance=3,
    minutes=5,
    hints=["Which axis holds the agents?", "`q.sum(-1)`"],
    agree=lambda team_value, generator: team_value(torch.randn(4, 3, generator=generator)),
)
def check_team_value(team_value):
    q = torch.tensor([[1.0, 2.0, 4.0], [0.0, -1.0, 1.0]])
    expect(team_value(q[0]), torch.tensor(7.0), call="team_value(tensor([1, 2, 4]))", hint="the sum over agents")
    expect(team_value(q), torch.tensor([7.0, 0.0]), call="team_value(q)", hint="sum over the last axis only")


QUIZ = Quiz(
    "{n}",
    [
        Question(
            "{n}.q1",
            "Which axis of `q [B, T, N]` holds the agents?",
            {{
                "a": ("the first", "no: that is the batch of parallel worlds"),
                "b": ("the last", "yes: N stands last, before features"),
            }},
            answer="b",
        )
    ],
)
'''

_MUTANTS = '''"""Wrong answers that the checks of chapter {number} must reject."""

from marlcourse.course.checks.ch{number} import team_value
from marlcourse.course.exercises import mutate

MUTANTS = {{
    "{n}.1": [
        mutate(team_value, "q.sum(-1)", "q.mean(-1)"),
        mutate(team_value, "q.sum(-1)", "q.max(-1).values"),
        mutate(team_value, "q.sum(-1)", "q[..., -1]"),
    ],
}}
'''


def _template(number: str, name: str) -> list[dict]:
    """Cells of a new chapter, in the order of the course's plan; runs as it stands."""
    from .quiz import Question, Quiz

    n = int(number)

    def check_team_value(team_value):  # stands for the one in the check module, which cannot be imported yet
        pass

    hints = ("Which axis holds the agents?", "`q.sum(-1)`")
    spec = Exercise(f"{n}.1", "the team's value", len, check_team_value, hints, difficulty=1, minutes=5)
    options = {
        "a": ("the first", "no: that is the batch of parallel worlds"),
        "b": ("the last", "yes: N stands last, before features"),
    }
    answer = f"""
        def team_value(q):
            \"\"\"Utilities q [..., N] -> the team's value [...].\"\"\"
            {BEGIN}
            return q.sum(-1)
            {END}
        """
    title = name.replace("_", " ").capitalize()
    return [
        *head(
            f"{number}_{name}",
            title,
            question="The question this chapter answers, in one sentence?",
            time="60 min",
            prerequisites=f"chapter {max(n - 1, 0):02}",
            gpu="no",
            minutes={"ci": "0.5", "demo": "5", "full": "-"},
            objectives=["name something that can be checked, with a verb"],
        ),
        code(
            f"""
            import torch

            from marlcourse.course import by_scale
            from marlcourse.course.checks import ch{number} as ex
            from marlcourse.course.claims import ClaimCard
            """
        ),
        md("## Why the previous answer fails\n\nThe smallest world that shows it."),
        md("## Theory\n\nEvery symbol in words, under the library's name; an example small enough to check by hand."),
        *block(spec, "Write `team_value(q)`: the sum of the agents' utilities.", answer, "team_value"),
        md("## Experiment\n\n**Predict:** what will happen, and why?"),
        code(
            f"""
            claim = ClaimCard(
                id="{n}.A",
                hypothesis="the value of equal utilities is their number times one of them",
                metric="largest absolute error",
                margin="1e-5",
                budget="random tables, as many as the scale allows",
                tuning="none",
                seeds=1,
            )
            claim
            """
        ),
        code(
            """
            draws = torch.rand(by_scale(ci=100, demo=1000), 1).expand(-1, 3)
            error = (team_value(draws) - 3 * draws[:, 0]).abs().max().item()
            print(f"{len(draws)} draws, largest error {error:.1e}")
            """,
            ["nbval-ignore-output"],
        ),
        code('claim.verdict(error < 1e-5, expected="confirmed")'),
        fold("What happened, and why", "The answer."),
        md("## What breaks it\n\nAn ablation. A slider calls a tested plot function, also called once statically."),
        quiz(Quiz(str(n), [Question(f"{n}.q1", "Which axis of `q [B, T, N]` holds the agents?", options, "b")])),
        *tail(
            f"{number}_{name}",
            summary="What was learnt, and the pitfalls.",
            library="`file.py`: name",
            reading="Papers.",
            next_question="What is unsolved, where the next chapter starts.",
        ),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """`marlcourse author ...`; returns the exit status."""
    parser = argparse.ArgumentParser(prog="marlcourse author", description="Write chapters: see docs/authoring.md.")
    parser.add_argument("--root", type=Path, default=None, help="the repository (default: the working folder's)")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("build", "regenerate chapters/ from solutions/"), ("check", "name stale chapters, lint")):
        commands.add_parser(name, help=text).add_argument("chapter", nargs="*", help="number or name; default: all")
    one = commands.add_parser("new", help="a template chapter")
    one.add_argument("number")
    one.add_argument("name")
    one = commands.add_parser("run", help="execute solutions and save their outputs")
    one.add_argument("chapter", nargs="+")
    one.add_argument("--scale", choices=SCALES, default="demo")
    one.add_argument("--timeout", type=int, default=None, help="seconds a cell may take (default: no limit)")
    options = parser.parse_args(argv)
    root = options.root or repository()
    try:
        return _COMMANDS[options.command](root, options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2


def _build(root, options) -> int:
    for path in build(root, options.chapter):
        print(f"wrote {path.parent.name}/{path.name}")
    return 0


def _check(root, options) -> int:
    old, found = stale(root, options.chapter), problems(root, options.chapter)
    for name in old:
        print(f"{name} is stale; run `marlcourse author build`.")
    for text in found:
        print(text)
    if not old and not found:
        print(f"{len(sources(root, options.chapter))} chapters are fresh and clean.")
    return 1 if old or found else 0


def _new(root, options) -> int:
    for path in new(root, options.number, options.name):
        print(f"wrote {path.relative_to(root).as_posix()}")
    print(f"Next: marlcourse author run {options.number}, then marlcourse author build {options.number}.")
    return 0


def _run(root, options) -> int:
    from nbclient.exceptions import CellExecutionError

    def show(number, total):
        print(f"\r{path.stem}: cell {number + 1} of {total}", end="", flush=True, file=sys.stderr)

    for path in sources(root, options.chapter):
        try:
            report = run(path, options.scale, timeout=options.timeout, progress=show)
        except CellExecutionError as error:
            print(f"\n{path.stem}: a cell failed, nothing was saved.\n{error}", file=sys.stderr)
            return 1
        print(file=sys.stderr)
        size = f"{report['bytes'] / 1000:.0f} kB (limit {MAX_BYTES // 1000})"
        print(f"{path.stem}: {report['seconds']:.1f} s at scale {options.scale}, {size}")
        for seconds, number, line in report["slowest"]:
            print(f"  {seconds:6.1f} s   cell {number}: {line}")
        for size, number, line in report["largest"]:
            print(f"  {size / 1000:6.1f} kB  cell {number}: {line}")
        build(root, [path.stem])
    return 0


_COMMANDS = {"build": _build, "check": _check, "new": _new, "run": _run}

if __name__ == "__main__":
    sys.exit(main())
