"""The course's small machines: checks that teach, progress, scale, quizzes, claim cards, data sets, the ledger."""

# ruff: noqa: NPY002 (the global generator is what a check must leave alone)

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from marlcourse.course import by_scale, claims, data, exercises, home, ledger, quiz, scale
from marlcourse.course.exercises import ExerciseIncomplete, exercise, expect, mine_or_reference, mutate, require

exercises.load_all()  # before a test puts another registry in its place: a module registers itself only once

ROOT = Path(__file__).resolve().parents[1]


def team_value(q):
    return q.sum(-1)


@pytest.fixture
def check(monkeypatch, tmp_path):
    """A registered exercise, removed afterwards; its progress goes to a folder of its own."""
    monkeypatch.setattr(exercises, "REGISTRY", {})
    monkeypatch.setenv("MARLCOURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.delenv("MARLCOURSE_STRICT", raising=False)

    @exercise("90.1", title="the team's value", reference=team_value, hints=["the last axis"], agree=draw)
    def check_team_value(answer):
        q = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
        expect(answer(q), torch.tensor([3.0, 8.0]), call="team_value(q)", hint="the sum over agents")

    return check_team_value


def mine(q):
    return torch.einsum("...n->...", q)


def draw(answer, generator):
    return answer(torch.randn(4, 3, generator=generator))


def message(got, expected, **options):
    with pytest.raises(ExerciseIncomplete) as error:
        expect(got, expected, call="f(x)", **options)
    return str(error.value)


# ------------------------------------------------------------------------------------------------ expect


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (3, 3.0),
        (torch.tensor(3), 3.0),
        (np.float32(3), torch.tensor(3.0)),
        (3, torch.tensor(3.0)),
        (torch.ones(2, dtype=torch.float64), torch.ones(2)),
        (torch.ones(2, dtype=torch.long), torch.ones(2)),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2)),
        (torch.tensor([1.00001, float("nan"), float("inf")]), torch.tensor([1.0, float("nan"), float("inf")])),
        (np.array([1, 2]), np.array([1, 2])),
        ([1.0, torch.ones(2)], (1, torch.ones(2))),
        ({"a": 1, "b": (2, None)}, {"a": 1.0, "b": (2, None)}),
        ("left", "left"),
        (None, None),
        (True, True),
        (torch.tensor(True), True),
        (torch.zeros(0, 3), torch.zeros(0, 3)),
        (torch.ones(2, requires_grad=True), torch.ones(2)),
    ],
)
def test_expect_accepts_what_is_the_same(got, expected):
    expect(got, expected, call="f(x)")


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        (2, 3, ["f(x) returned 2, expected 3"]),
        (None, 3, ["returned None, expected 3", "return"]),
        (2, None, ["returned 2, expected None"]),
        ([1.0], torch.ones(1), ["expected tensor([1])", "a torch tensor"]),
        (np.ones(2), torch.ones(2), ["a numpy array, expected a torch tensor"]),
        (torch.ones(3, 1), torch.ones(3), ["shape (3, 1), expected shape (3,)", "keepdim"]),
        (torch.ones(2, 3), torch.ones(3, 2), ["shape (2, 3), expected shape (3, 2)", "opposite order"]),
        (torch.ones(2, 4, 3), torch.ones(2, 3, 4), ["right axes in another order"]),
        (torch.ones(5, 3), torch.ones(5), ["an axis is left over"]),
        (torch.tensor(5.0), torch.ones(5), ["expected shape (5,)", "reduction went over too many"]),
        (torch.ones(2), torch.ones(2, dtype=torch.long), ["floats", "expected integers"]),
        (torch.ones(2), torch.ones(2, dtype=torch.bool), ["floats", "expected true/false values"]),
        (1, True, ["a number (1), expected true or false (True)"]),
        (True, 1, ["true or false (True), expected a number (1)"]),
        (np.ones(2), None, ["array([1, 1]), expected None"]),
        (torch.ones(2), "left", ["tensor([1, 1]), expected 'left'"]),
        (torch.float64, torch.float32, ["torch.float64, expected torch.float32"]),
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, 2.0]), ["tensor([1, nan])", "logarithm of 0"]),
        (torch.zeros(3, 4), torch.ones(3, 4), ["0 at [0, 0], expected 1", "12 of 12 entries"]),
        ((1, 2), (1, 3), ["f(x)[1] returned 2, expected 3"]),
        (1, (1, 2), ["expected (1, 2)", "return a, b"]),
        ((1,), (1, 2), ["1 value, expected 2 values"]),
        ({"a": 1}, {"b": 1}, ["keys ['a'], expected ['b']"]),
        ({"a": [1]}, {"a": [2]}, ["f(x)['a'][0] returned 1, expected 2"]),
        ("left", "right", ["returned 'left', expected 'right'"]),
        (object(), 1, ["a object, expected 1"]),
    ],
)
def test_expect_says_what_is_wrong(got, expected, words):
    said = message(got, expected)
    for word in words:
        assert word in said
    assert len(said.splitlines()) == 2


def test_expect_adds_the_hint_of_the_check_and_has_one_tolerance():
    assert message(torch.ones(3, 1), torch.ones(3), hint="sum over agents").endswith("unsqueeze?; sum over agents")
    assert message(1, 2, hint="sum over agents").endswith("hint: sum over agents")
    expect(1 + 0.5 * exercises.RTOL, 1.0, call="f(x)")
    message(1 + 20 * exercises.RTOL, 1.0)
    expect(1.05, 1.0, call="f(x)", rtol=0.1)
    message(0.001, 0.0)
    expect(0.001, 0.0, call="f(x)", atol=0.01)


def test_require():
    require(True, "fine")
    with pytest.raises(ExerciseIncomplete, match="the target carries a gradient\nhint: detach"):
        require(False, "the target carries a gradient", "detach")


# ------------------------------------------------------------------------------------------------ the exercise


def test_a_pass_is_printed_and_recorded_once(check, capsys):
    check(mine)
    check(mine)
    assert capsys.readouterr().out == "Exercise 90.1 - passed\n" * 2
    assert list(json.loads(exercises.progress_file().read_text())["passed"]) == ["90.1"]


def test_an_error_renders_as_two_lines(check):
    with pytest.raises(ExerciseIncomplete) as error:
        check(lambda q: q.mean(-1))
    lines = error.value._render_traceback_()
    assert lines == [
        "Exercise 90.1 - team_value(q) returned tensor([1.5, 4]), expected tensor([3, 8])",
        "hint: the sum over agents",
    ]


def test_not_implemented(check):
    def hole(q):
        raise NotImplementedError

    with pytest.raises(ExerciseIncomplete, match="Exercise 90.1 - not implemented yet") as error:
        check(hole)
    assert error.value.kind == "missing"


def test_an_operation_that_torch_lacks_is_no_hole(check):
    """Forgotten parentheses: `a | b > c` is `(a | b) > c`, for which torch raises NotImplementedError."""

    def forgot(q):
        return (q > 0) | q > 1

    with pytest.raises(ExerciseIncomplete, match="parentheses") as error:
        check(forgot)
    assert error.value.kind == "crash" and "return (q > 0) | q > 1" in error.value.message

    class NoForward(torch.nn.Module):
        """A module without `forward`: torch itself raises NotImplementedError."""

    with pytest.raises(ExerciseIncomplete) as error:
        check(NoForward())
    assert error.value.kind == "crash" and "forward" in error.value.message


def test_an_exception_in_the_answer_names_the_readers_own_line(check):
    def helper(q):
        return q.summ(-1)

    def wrong(q):
        return helper(q)

    with pytest.raises(ExerciseIncomplete) as error:
        check(wrong)
    assert error.value.kind == "crash"
    assert "AttributeError" in error.value.message and "return q.summ(-1)" in error.value.message
    assert len(str(error.value).splitlines()) == 2


def test_one_minus_a_bool_gets_a_hint_of_its_own(check):
    with pytest.raises(ExerciseIncomplete, match=r"RuntimeError(.|\n)*hint: True and False cannot be subtracted: `~x`"):
        check(lambda q: 1 - (q > 0))


def test_a_method_of_a_class_is_the_readers_own_code_too(check):
    class Wrong:
        def __new__(cls, q):
            return q @ torch.ones(7)

    with pytest.raises(ExerciseIncomplete, match=r"RuntimeError.*return q @ torch.ones\(7\)"):
        check(Wrong)


def test_a_wrong_signature_and_a_value_in_place_of_the_function(check):
    with pytest.raises(ExerciseIncomplete, match="could not be used as the check uses it: TypeError"):
        check(lambda: 3)
    with pytest.raises(ExerciseIncomplete, match="takes your function or class itself, got tensor"):
        check(torch.ones(2))
    with pytest.raises(ExerciseIncomplete, match="got None"):
        check(None)


def test_a_check_is_deterministic_and_leaves_random_generators_alone(check):
    def noisy(q):
        seen.append((torch.rand(()).item(), np.random.rand(), random.random()))
        return q.sum(-1)

    seen = []
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    without = torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    check.verify(noisy)
    check.verify(noisy)
    after = torch.rand(3), np.random.rand(3), random.random()
    assert seen[0] == seen[1]
    assert torch.equal(without[0], after[0]) and (without[1] == after[1]).all() and without[2] == after[2]


def test_mine_or_reference(check, capsys, monkeypatch):
    def wrong(q):
        return q.mean(-1)

    assert mine_or_reference("90.1", mine, check) is mine
    assert mine_or_reference("90.1", wrong, check) is team_value
    assert "not solved yet" in capsys.readouterr().out
    assert not exercises.progress_file().exists()
    with pytest.raises(ValueError, match="belongs to exercise 90.1, not 90.2"):
        mine_or_reference("90.2", mine, check)
    monkeypatch.setenv("MARLCOURSE_STRICT", "1")
    assert mine_or_reference("90.1", mine, check) is mine
    with pytest.raises(ExerciseIncomplete):
        mine_or_reference("90.1", wrong, check)


def test_the_reference_left_by_the_net_is_no_pass(check, capsys):
    """A reader whose own cell failed runs the check again: the name still holds the course's answer."""
    answer = mine_or_reference("90.1", lambda q: q.mean(-1), check)
    with pytest.raises(ExerciseIncomplete, match="was given the course's own answer, not yours"):
        check(answer)
    assert not exercises.progress_file().exists()
    assert mine_or_reference("90.1", answer, check) is team_value
    assert "still going on with the course's own answer" in capsys.readouterr().out


def test_the_solution_must_agree_with_the_reference(check):
    check.same(mine)
    with pytest.raises(ExerciseIncomplete, match="draw 0"):
        check.same(lambda q: q.sum(-1).abs())


def test_an_id_belongs_to_one_check(check):
    with pytest.raises(ValueError, match=r"90\.1 is registered already, by .*check_team_value"):

        @exercise("90.1", title="another", reference=team_value)
        def check_other(answer):
            pass

    with pytest.raises(ValueError, match="difficulty is 6"):
        exercise("90.2", title="x", reference=team_value, difficulty=6)


def test_mutate():
    wrong = mutate(team_value, "sum", "prod")
    assert wrong(torch.tensor([2.0, 3.0])) == 6 and team_value(torch.tensor([2.0, 3.0])) == 5
    with pytest.raises(ValueError, match="'mean' does not occur in the source of team_value"):
        mutate(team_value, "mean", "sum")


# ------------------------------------------------------------------------------------------------ progress


def test_a_damaged_progress_file_is_kept_aside(check, capsys):
    file = exercises.progress_file()
    for number, content in enumerate(["{half", "[]", '{"passed": {"90.1": 3}}']):
        file.write_text(content)
        check(mine)
        aside = file.with_name(f"progress.json.damaged{number + 1 if number else ''}")
        assert aside.read_text() == content
        assert "it was kept as" in capsys.readouterr().out
    assert "90.1" in exercises.progress().passed


def test_progress_that_cannot_be_written_does_not_stop_the_lesson(check, capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MARLCOURSE_PROGRESS", str(tmp_path / "file" / "progress.json"))
    check(mine)
    assert "Progress was not saved" in capsys.readouterr().out


def test_progress_shows_what_is_open(check, monkeypatch):
    monkeypatch.setattr(exercises, "load_all", lambda: dict(exercises.REGISTRY))
    assert "Chapter 90: 0 of 1 passed" in repr(exercises.progress())
    assert "[ ] 90.1  the team's value" in repr(exercises.progress())
    check(mine)
    assert "[x] 90.1" in repr(exercises.progress())


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    exercises.write_atomic(file, b"old")
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        exercises.write_atomic(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("MARLCOURSE_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("MARLCOURSE_PROGRESS", raising=False)
    assert exercises.progress_file() == tmp_path / "progress.json"
    monkeypatch.delenv("MARLCOURSE_HOME")
    assert home().name == "marlcourse" and home().is_absolute()


# ------------------------------------------------------------------------------------------------ scale


def test_scale(monkeypatch):
    monkeypatch.delenv("MARLCOURSE_SCALE", raising=False)
    assert scale() == "demo" and by_scale(ci=1, demo=2, full=3) == 2
    monkeypatch.setenv("MARLCOURSE_SCALE", "ci")
    assert scale() == "ci" and by_scale(ci=1, demo=2) == 1
    monkeypatch.setenv("MARLCOURSE_SCALE", "full")
    assert by_scale(ci=1, demo=2, full=3) == 3 and by_scale(ci=1, demo=2) == 2 and by_scale(ci=1, demo=2, full=None) is None
    monkeypatch.setenv("MARLCOURSE_SCALE", "huge")
    with pytest.raises(ValueError, match="MARLCOURSE_SCALE is 'huge'; set it to ci, demo, full"):
        scale()


def test_importing_the_course_stays_light():
    probe = (
        "import sys\n"
        "from marlcourse.course import exercises, quiz, claims, data, ledger, authoring\n"
        "print([m for m in ('pandas', 'matplotlib', 'nbformat', 'nbclient', 'ipywidgets') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", probe], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------------ quiz


@pytest.fixture
def question(monkeypatch):
    monkeypatch.setattr(quiz, "QUESTIONS", {})
    options = {"a": ("the first", "that is the batch"), "b": ("the last", "N stands last")}
    return quiz.Question("90.q1", "Which axis?", options, answer="b")


def test_quiz_replies(question, capsys):
    quiz.quiz("90.q1", answer="a")
    quiz.quiz("90.q1", answer=" B ")
    quiz.quiz("90.q1")
    assert capsys.readouterr().out.splitlines() == [
        "Question 90.q1: a is not the answer: that is the batch",
        "Question 90.q1: b is right: N stands last",
        "Question 90.q1: choose one of a, b.",
    ]
    with pytest.raises(KeyError) as error:
        quiz.quiz("91.q7")
    assert str(error.value) == "No question '91.q7'; known here: 90.q1."


def test_quiz_markdown_folds_every_explanation(question):
    text = quiz.Quiz("90", [question]).markdown()
    assert text.count("<details>") == text.count("</details>") == 2
    outside = "".join(part.split("</details>")[-1] for part in text.split("<details>"))
    assert "the last" in outside and "N stands last" not in outside and "Right" not in outside
    assert "\n\n*Right:* N stands last\n\n</details>" in text  # blank lines: Markdown inside HTML is rendered


def test_a_question_explains_every_option(question):
    with pytest.raises(ValueError, match="option a has no explanation"):
        quiz.Question("90.q2", "?", {"a": ("x", " "), "b": ("y", "z")}, answer="b")
    with pytest.raises(ValueError, match="the answer 'c' is not among a"):
        quiz.Question("90.q2", "?", {"a": ("x", "y")}, answer="c")


# ------------------------------------------------------------------------------------------------ claims


def claim(**changes):
    fields = dict(id="90.A", hypothesis="A < B", metric="return", margin="0", budget="9", tuning="none", seeds=5)
    return claims.ClaimCard(**{**fields, **changes})


def test_a_claim_card_shows_itself_and_is_complete():
    assert "A &lt; B" in claim()._repr_html_() and "Hypothesis  A < B" in repr(claim())
    assert "declared before the run" in repr(claim()) and "declared before the run" in claim()._repr_html_()
    late = claim(when="written for committed runs")
    assert "90.A, written for committed runs" in repr(late) and "before the run" not in repr(late) + late._repr_html_()
    with pytest.raises(ValueError, match="Claim 90.A: margin is empty"):
        claim(margin=" ")


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (True, "confirmed"),
        (False, "refuted"),
        (np.bool_(True), "confirmed"),
        (torch.tensor(False), "refuted"),
        ("no difference", "no difference shown"),
    ],
)
def test_a_verdict_prints_one_fixed_line(result, word, capsys, monkeypatch):
    monkeypatch.setenv("MARLCOURSE_STRICT", "1")
    claim().verdict(result, expected=word.removesuffix(" shown"))
    assert capsys.readouterr().out == f"Claim 90.A: {word}. (A < B)\n"


def test_a_changed_verdict_stops_strict_runs_and_speaks_to_a_reader(capsys, monkeypatch):
    monkeypatch.delenv("MARLCOURSE_STRICT", raising=False)
    claim().verdict(False, expected="confirmed")
    said = capsys.readouterr().out
    assert said.startswith("Claim 90.A: refuted.") and "own runs say: confirmed" in said
    monkeypatch.setenv("MARLCOURSE_STRICT", "1")
    with pytest.raises(claims.ClaimChanged, match="the text says confirmed, the evidence says refuted"):
        claim().verdict(False, expected="confirmed")
    for nonsense in ("perhaps", None, 0.7):
        with pytest.raises(ValueError, match="A verdict is True, False or one of"):
            claim().verdict(nonsense, expected="confirmed")


def test_judge():
    assert claims.judge(0.2, 0.5) == "confirmed"
    assert claims.judge(-0.1, 0.5) == "no difference"
    assert claims.judge(0.2, 0.5, margin=0.3) == "no difference"
    assert claims.judge(0.1, 0.2, margin=0.3) == "refuted"
    with pytest.raises(ValueError, match="upside down"):
        claims.judge(1, 0)
    with pytest.raises(ValueError, match="not a number"):
        claims.judge(float("nan"), 0)


# ------------------------------------------------------------------------------------------------ data sets


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MARLCOURSE_DATASETS", str(tmp_path))
    return tmp_path


def test_data_sets_come_back_with_their_provenance(folder):
    import pandas as pd

    frame = pd.DataFrame({"step": [0, 1], "return": [0.1, 1 / 3]})
    path = data.save_dataset("curve.csv", frame, command="python benchmarks/curve.py", seeds=range(3))
    assert path == folder / "curve.csv"
    pd.testing.assert_frame_equal(data.load_dataset("curve"), frame)
    note = data.provenance("curve")
    assert note["command"] == "python benchmarks/curve.py" and note["seeds"] == [0, 1, 2]
    assert note["machine"]["cores"] >= 1 and note["versions"]["torch"] and len(note["sha256"]) == 64
    data.save_dataset("table.json", {"a": [1, 2]}, command="c", seeds="none")
    assert data.load_dataset("table.json") == {"a": [1, 2]}
    data.save_dataset("arrays.npz", {"x": np.arange(3)}, command="c", seeds=0)
    assert (data.load_dataset("arrays")["x"] == np.arange(3)).all()
    data.save_dataset("team.pt", b"weights", command="c", seeds=[1])
    assert data.load_dataset("team") == folder / "team.pt"
    assert data.verify(folder) == []
    assert {"curve.csv", "table.json", "arrays.npz", "team.pt"} <= set(data.datasets())
    with pytest.raises(ValueError, match="cannot write a list as x.csv"):
        data.save_dataset("x.csv", [1], command="c", seeds=0)


def test_unknown_and_ambiguous_names(folder):
    data.save_dataset("curve.json", {}, command="c", seeds=0)
    data.save_dataset("curve.npz", {}, command="c", seeds=0)
    with pytest.raises(FileNotFoundError, match="No data set 'cruve'; close: curve"):
        data.load_dataset("cruve")
    with pytest.raises(FileNotFoundError, match="names several data sets: curve.json, curve.npz"):
        data.load_dataset("curve")
    assert data.load_dataset("curve.json") == {}


def test_a_changed_or_undocumented_file_is_noticed(folder):
    data.save_dataset("table.json", {"a": 1}, command="c", seeds=0)
    (folder / "table.json").write_bytes(b'{\r\n "a": 1\r\n}\r\n')  # a checkout on Windows
    assert data.verify(folder) == [] and data.load_dataset("table") == {"a": 1}
    (folder / "table.json").write_text('{"a": 2}')
    with pytest.raises(ValueError, match="table.json is not the file its sidecar describes"):
        data.load_dataset("table")
    (folder / "lonely.csv").write_text("a\n1\n")
    assert [problem.split()[0] for problem in data.verify(folder)] == ["lonely.csv", "table.json"]
    with pytest.raises(FileNotFoundError, match="has no sidecar"):
        data.provenance("lonely")


def test_a_sidecar_says_everything(folder):
    data.save_dataset("table.json", {"a": 1}, command="", seeds=[])
    assert data.verify(folder) == ["table.json.json lacks command, seeds."]


def test_every_committed_data_set_has_its_provenance():
    assert data.verify(ROOT / "datasets") == []


# ------------------------------------------------------------------------------------------------ ledger

HEAD = ",".join(ledger.COLUMNS)
GOOD = "QMIX 8,Rashid 2018,Table 1,8,two-step,5,return,8,7.5,8,reproduced,cmd,02"
GONE = "MMM2,Rashid 2018,Table 5,0.7,,,,,,,not runnable without the game,needs the game,13"


def write_ledger(folder, *rows, head=HEAD):
    file = folder / "reproductions.csv"
    file.write_text("\n".join([head, *rows]) + "\n")
    return file


def test_ledger_reads_and_filters(folder):
    write_ledger(folder, GOOD, GONE)
    rows = ledger.load()
    assert [row.verdict for row in rows] == ["reproduced", "not runnable without the game"]
    assert rows[0].ours == 8 and rows[0].seeds == 5 and rows[1].ours is None
    assert len(ledger.load(chapter=2)) == 1 and len(ledger.load(chapter="02")) == 1
    assert list(ledger.table().columns) == list(ledger.COLUMNS) and len(ledger.table()) == 2
    assert ledger.summary(rows) == "1 reproduced, 1 not runnable without the game"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (GOOD.replace("reproduced", "proved"), "row 3, column verdict: 'proved' is none of reproduced, partly"),
        (GOOD.replace("7.5", "much"), "row 3, column low: 'much' is not a number"),
        (GOOD.replace("7.5", "nan"), "row 3, column low: 'nan' is not finite"),
        (GOOD.replace(",8,7.5", ",8,9"), "row 3, column low: the interval"),
        (GOOD.replace(",5,", ",five,"), "row 3, column seeds: 'five'"),
        (GOOD.replace(",5,", ",,"), "row 3, column seeds: empty"),
        (GOOD.replace(",5,", ",exact,"), "row 3, column low: an exact figure has no interval"),
        (GOOD.replace("cmd", ""), "row 3, column command: empty"),
        (GOOD + ",more", "row 3: 14 cells, expected 13"),
    ],
)
def test_a_mistake_in_the_ledger_is_named(folder, row, words):
    with pytest.raises(ValueError) as error:
        ledger.load(write_ledger(folder, GOOD, row))
    assert words in str(error.value)


def test_an_exact_figure_has_neither_seeds_nor_an_interval(folder):
    exact = "rule,Zhao 2022,Section 5.1,,counted,exact,share,0.00035,,,not reproduced,cmd,03"
    file = write_ledger(folder, exact)
    (row,) = ledger.load(file)
    assert row.seeds is None and row.low == row.ours == row.high == 0.00035
    texts = [text.get_text() for text in ledger.plot(path=file).axes[0].texts]
    assert any("0.00035, counted exactly" in text for text in texts) and not any("seed" in text for text in texts)


def test_a_ledger_needs_its_head(folder):
    with pytest.raises(ValueError, match="the first line must be claim,paper"):
        ledger.load(write_ledger(folder, GOOD, head="claim,paper"))


def test_the_committed_ledger_is_valid_and_draws():
    file = ROOT / "datasets" / "reproductions.csv"
    ledger.load(file)
    assert ledger.plot(path=file).axes


def test_the_ledger_draws_every_row(folder):
    figure = ledger.plot(path=write_ledger(folder, GOOD, GONE))
    texts = [text.get_text() for text in figure.axes[0].texts]
    for words in ("QMIX 8", "8  [7.5, 8]  5 seeds", "published 0.7", "Reproduction ledger"):
        assert any(words in text for text in texts), words
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert ledger.VERDICTS["reproduced"][0] in colours
