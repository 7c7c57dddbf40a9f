"""Exercises: a check that teaches, and a way to go on without having solved it.

A chapter's module `marlcourse/course/checks/chNN.py` registers its exercises:

    @exercise("2.1", title="VDN", reference=vdn_reference, hints=["Which axis holds the agents?"])
    def check_vdn(vdn):
        expect(vdn(torch.tensor([1.0, 2.0])), 3.0, call="vdn(tensor([1, 2]))", hint="the sum over agents")

A notebook calls `ex.check_vdn(vdn)`, then `vdn = ex.mine_or_reference("2.1", vdn, ex.check_vdn)`.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import inspect
import json
import linecache
import os
import pkgutil
import random
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import home, strict

__all__ = [
    "Exercise",
    "ExerciseIncomplete",
    "exercise",
    "expect",
    "meant",
    "mine_or_reference",
    "mutate",
    "progress",
    "require",
    "require_gradients",
]

RTOL, ATOL = 1e-4, 1e-5  # the one tolerance: wide enough for float32 and another order of summation
REGISTRY: dict[str, Exercise] = {}


class ExerciseIncomplete(Exception):
    """An answer that is missing, wrong, or stops with an error. A notebook shows its two lines and no stack.

    kind: "missing" (NotImplementedError), "crash" (any other exception inside the answer) or "wrong".
    """

    def __init__(self, message: str, hint: str = "", *, kind: str = "wrong", exercise_id: str = ""):
        super().__init__(message, hint)
        self.message, self.hint, self.kind, self.exercise_id = message, hint, kind, exercise_id

    def __str__(self) -> str:
        first = f"Exercise {self.exercise_id} - {self.message}" if self.exercise_id else self.message
        hint = self.hint or "the card above the exercise holds hints in layers; or go on, and come back later"
        return f"{first}\nhint: {hint}"

    def _render_traceback_(self) -> list[str]:  # IPython shows this in place of a stack
        return str(self).splitlines()


# ------------------------------------------------------------------------------------------------ what a check says


def require(condition, message: str, hint: str = "") -> None:
    """Reject the answer with `message` unless `condition` holds; for what is not a comparison with a value."""
    if not condition:
        raise ExerciseIncomplete(message, hint)


def require_gradients(out, given: Mapping, call: str, hint: str) -> None:
    """Reject the answer unless the tensor `out` that `call` gave has a gradient other than 0 for each of the tensors `given`,
    {name: leaf}. For answers with the right value whose way back is cut."""
    import torch

    slopes = (
        torch.autograd.grad(out.sum(), list(given.values()), allow_unused=True) if out.requires_grad else [None] * len(given)
    )
    for name, slope in zip(given, slopes):
        reached = slope is not None and bool(slope.any())
        require(reached, f"{call} has the right value, but no gradient reaches {name}", hint)


def meant(got, known: Sequence[tuple], otherwise: str) -> str:
    """The hint of the known wrong answer [(tensor or number, hint), ...] that the tensor `got` is, else `otherwise`."""
    import torch

    for wrong, hint in known:
        wrong = torch.as_tensor(wrong)
        if isinstance(got, torch.Tensor) and got.shape == wrong.shape and torch.allclose(got.float(), wrong, atol=1e-3):
            return hint
    return otherwise


def expect(got, expected, *, call: str, hint: str = "", rtol: float = RTOL, atol: float = ATOL) -> None:
    """Reject the answer unless `got` equals `expected`; `call` is the text of the call that gave it.

    Compares numbers, tensors, arrays, strings, None, and tuples, lists and dicts of them. A wrong type, shape or kind
    of dtype, None and NaN get a message and a hint of their own; `hint` follows.
    """
    found = difference(got, expected, rtol=rtol, atol=atol)
    if found is not None:
        place, what, own_hint = found
        hints = "; ".join(filter(None, [own_hint, hint]))
        raise ExerciseIncomplete(f"{call}{place} returned {what}", hints)


def difference(got, expected, *, rtol: float = RTOL, atol: float = ATOL) -> tuple[str, str, str] | None:
    """None where the two agree, else (place inside the value, "..., expected ...", hint for this kind of mistake)."""
    if got is None and expected is not None:
        return "", f"None, expected {describe(expected)}", "does every path through your code end with `return`?"
    if isinstance(expected, Mapping):
        return _mapping_difference(got, expected, rtol, atol)
    if isinstance(expected, (tuple, list)):
        return _sequence_difference(got, expected, rtol, atol)
    want = _array(expected)
    if want is None:
        same = isinstance(got, type(expected)) and bool(got == expected)
        return None if same else ("", f"{describe(got)}, expected {describe(expected)}", "")
    have = _array(got)
    if have is None:
        return "", f"{describe(got)}, expected {describe(expected)}", f"return {_kind(expected)}"
    if want.ndim and _kind(got) != _kind(expected):
        return "", f"{_kind(got)}, expected {_kind(expected)}", f"return {_kind(expected)}, as the input is"
    return _array_difference(got, have, expected, want, rtol, atol)


def _mapping_difference(got, expected, rtol, atol):
    if not isinstance(got, Mapping):
        return "", f"{describe(got)}, expected {describe(expected)}", "return a dictionary"
    if set(got) != set(expected):
        return "", f"a dictionary with the keys {sorted(map(str, got))}, expected {sorted(map(str, expected))}", ""
    for key, value in expected.items():
        if found := difference(got[key], value, rtol=rtol, atol=atol):
            return f"[{key!r}]{found[0]}", *found[1:]
    return None


def _sequence_difference(got, expected, rtol, atol):
    if not isinstance(got, (tuple, list)):
        return "", f"{describe(got)}, expected {describe(expected)}", f"return {len(expected)} values: `return a, b`"
    if len(got) != len(expected):
        return "", f"{_count(len(got))}, expected {_count(len(expected))}: {describe(expected)}", ""
    for i, (have, want) in enumerate(zip(got, expected)):
        if found := difference(have, want, rtol=rtol, atol=atol):
            return f"[{i}]{found[0]}", *found[1:]
    return None


def _array_difference(got, have, expected, want, rtol, atol):
    import numpy as np

    if have.shape != want.shape:
        return "", f"shape {have.shape}, expected shape {want.shape}", _shape_hint(have.shape, want.shape)
    if not _kinds_agree(have, want):
        have_name, want_name = _kind_of_entries(have), _kind_of_entries(want)
        return "", f"{have_name} ({describe(got)}), expected {want_name} ({describe(expected)})", f"return {want_name}"
    if have.dtype.kind not in "biufc":
        return None if (have == want).all() else ("", f"{describe(got)}, expected {describe(expected)}", "")
    have, want = (x.astype(complex if x.dtype.kind == "c" else float) for x in (have, want))
    wrong = ~np.isclose(have, want, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return None
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    nan = np.isnan(have) & ~np.isnan(want)
    hint = "a division by zero, the logarithm of 0, or inf - inf?" if nan.any() else ""
    if want.size <= 8:
        return "", f"{describe(got)}, expected {describe(expected)}", hint
    what = f"{_number(have[first])} at {list(first)}, expected {_number(want[first])}"
    return "", f"{what} ({int(wrong.sum())} of {want.size} entries differ)", hint


def _shape_hint(have: tuple, want: tuple) -> str:
    if [n for n in have if n != 1] == [n for n in want if n != 1]:
        return "the axes of size 1 differ: keepdim, squeeze or unsqueeze?"
    if have == want[::-1]:
        return "the axes are in the opposite order"
    if sorted(have) == sorted(want):
        return "the right axes in another order"
    if len(have) > len(want) and all(n in have for n in want):
        return "an axis is left over: reduce over it"
    if len(have) < len(want) and all(n in want for n in have):
        return "an axis is missing: a reduction went over too many"
    return "print the shapes of the inputs, and name each axis"


def _kinds_agree(have, want) -> bool:
    """Bools match bools; integers pass for floats (and back, for a single number); nothing else mixes."""
    have, want = have.dtype.kind.replace("u", "i"), want.dtype.kind.replace("u", "i")
    return have == want or (have == "i" and want in "fc") or (have == "f" and want == "c")


def _kind_of_entries(array) -> str:
    if array.ndim == 0:
        return "true or false" if array.dtype.kind == "b" else "a number"
    names = {"b": "true/false values", "i": "integers", "u": "integers", "f": "floats", "c": "complex numbers"}
    return names.get(array.dtype.kind, "objects")


def _array(value):
    """`value` as a NumPy array, or None where it is neither a tensor, an array nor a number."""
    import numpy as np

    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, (bool, int, float, complex, np.ndarray, np.generic)):
        array = np.asarray(value)
        return array.astype(float) if array.ndim == 0 and array.dtype.kind in "iu" else array
    return None


def _kind(value) -> str:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return "a torch tensor"
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 0):
        return "a numpy array"
    return "a number" if isinstance(value, (int, float, complex)) else f"a {type(value).__name__}"


def _count(n: int) -> str:
    return "1 value" if n == 1 else f"{n} values"


def _number(x) -> str:
    return f"{x:.4g}" if not isinstance(x, bool) else str(x)


def describe(value) -> str:
    """A short text for a value: small tensors in full, large ones by their shape."""
    array = None if isinstance(value, (bool, str)) or value is None else _array(value)
    if array is None:
        if isinstance(value, (tuple, list)) and len(value) <= 4:
            return ("({})" if isinstance(value, tuple) else "[{}]").format(", ".join(map(describe, value)))
        text = repr(value)
        return text if len(text) <= 80 and " object at 0x" not in text else f"a {type(value).__name__}"
    if array.ndim == 0:
        return str(array.item()) if array.dtype.kind == "b" else _number(array.item())
    if array.size > 8:
        return f"{_kind(value)} of shape {array.shape}"

    def entries(x):
        if x.ndim:
            return "[" + ", ".join(map(entries, x)) + "]"
        return _number(x.item()) if x.dtype.kind in "iufc" else str(x.item())

    return f"{'tensor' if 'tensor' in _kind(value) else 'array'}({entries(array)})"


# ------------------------------------------------------------------------------------------------ the exercise itself


@dataclass(frozen=True, eq=False)
class Exercise:
    """A registered exercise. Calling it checks an answer (a function or a class), prints and records the pass."""

    id: str
    title: str
    reference: Callable
    function: Callable
    hints: tuple[str, ...] = ()
    difficulty: int = 2
    importance: int = 3
    minutes: int = 10
    points: int = 1
    agree: Callable | None = None

    @property
    def name(self) -> str:
        """Name of the check, as the notebook calls it."""
        return self.function.__name__

    def __call__(self, answer) -> None:
        if answer is self.reference:  # left there by mine_or_reference: not a pass
            message = f"{self.name} was given the course's own answer, not yours"
            raise ExerciseIncomplete(message, "run the cell with your answer again, then this one", exercise_id=self.id)
        self.verify(answer)
        print(f"Exercise {self.id} - passed")
        _record(self)

    def verify(self, answer) -> None:
        """Raise ExerciseIncomplete unless `answer` passes. Prints and records nothing."""
        if not callable(answer):
            message = f"{self.name} takes your function or class itself, got {describe(answer)}"
            raise ExerciseIncomplete(message, "pass its name, without calling it", exercise_id=self.id)
        try:
            with _own_randomness():
                self.function(answer)
        except ExerciseIncomplete as error:
            error.exercise_id = self.id
            raise error.with_traceback(None) from None
        except Exception as error:
            if isinstance(error, NotImplementedError) and _is_a_hole(error):
                raise ExerciseIncomplete("not implemented yet", kind="missing", exercise_id=self.id) from None
            message, hint = _explain(error, answer, self.function)
            raise ExerciseIncomplete(message, hint, kind="crash", exercise_id=self.id) from error

    def same(self, answer, draws: int = 20) -> None:
        """Raise ExerciseIncomplete unless `answer` and the reference agree on `draws` random inputs from `agree`."""
        import torch

        for seed in range(draws):
            with _own_randomness():
                got = self.agree(answer, torch.Generator().manual_seed(seed))
            with _own_randomness():
                expected = self.agree(self.reference, torch.Generator().manual_seed(seed))
            try:
                expect(got, expected, call=f"draw {seed}: the answer")
            except ExerciseIncomplete as error:
                error.exercise_id = self.id
                raise


def exercise(
    id: str,
    *,
    title: str,
    reference: Callable,
    hints: Sequence[str] = (),
    difficulty: int = 2,
    importance: int = 3,
    minutes: int = 10,
    points: int = 1,
    agree: Callable | None = None,
) -> Callable[[Callable], Exercise]:
    """Register the decorated check `check(answer)` as exercise `id` ("chapter.number").

    reference: the right answer, the library's own function where there is one.
    agree(answer, generator): what `answer` makes of random input drawn from a torch.Generator; a test holds the
    notebook's solution against the reference with it. difficulty and importance run from 1 to 5.
    Raises ValueError when the id is taken by another module or a rating is out of range.
    """
    for name, rating in (("difficulty", difficulty), ("importance", importance)):
        if rating not in range(1, 6):
            raise ValueError(f"Exercise {id}: {name} is {rating!r}; give a whole number from 1 to 5.")

    def register(function: Callable) -> Exercise:
        old = REGISTRY.get(id)
        if old is not None and (old.function.__module__, old.name) != (function.__module__, function.__name__):
            where = f"{old.function.__module__}.{old.name}"
            raise ValueError(f"Exercise {id} is registered already, by {where}; give this one another number.")
        made = Exercise(id, title, reference, function, tuple(hints), difficulty, importance, minutes, points, agree)
        REGISTRY[id] = made
        return made

    return register


def load_all() -> dict[str, Exercise]:
    """Import the check modules of all chapters; the registry, in the order of the course."""
    from . import checks

    for module in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"{checks.__name__}.{module.name}")
    return dict(sorted(REGISTRY.items(), key=lambda item: _order(item[0])))


def _order(id: str) -> tuple:
    return tuple((int(part) if part.isdigit() else 0, part) for part in id.split("."))


def mine_or_reference(id: str, mine, check: Exercise):
    """`mine` if it passes `check`, else the reference, saying which. In strict mode a failing answer raises."""
    if check.id != id:
        raise ValueError(f"{check.name} belongs to exercise {check.id}, not {id}; correct the number in this cell.")
    if mine is check.reference and not strict():
        print(f"Exercise {id}: still going on with the course's own answer.")
        return mine
    try:
        check.verify(mine)
    except ExerciseIncomplete:
        if strict():
            raise
        print(f"Exercise {id}: not solved yet; going on with the course's own answer.")
        return check.reference
    print(f"Exercise {id}: going on with your answer.")
    return mine


def _is_a_hole(error: NotImplementedError) -> bool:
    """Raised by a line `raise NotImplementedError` outside torch, not by a tensor operation that torch does not have."""
    frame, number = list(traceback.walk_tb(error.__traceback__))[-1]
    file = frame.f_code.co_filename
    torch = sys.modules.get("torch")
    if torch is not None and Path(file).is_relative_to(Path(torch.__file__).parent):
        return False
    line = linecache.getline(file, number)
    return "raise NotImplementedError" in line if line else not error.args


def _explain(error: Exception, answer, check: Callable) -> tuple[str, str]:
    """One line for an exception that left the answer, with the reader's own line; and a hint."""
    name = getattr(answer, "__name__", type(answer).__name__)
    said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".rstrip(": ")
    own = _files(answer)
    frames = traceback.walk_tb(error.__traceback__)
    mine = [(f.f_code.co_filename, n) for f, n in frames if f.f_code.co_filename in own and f.f_code is not check.__code__]
    if not mine:
        hint = "compare its arguments and its value with the card"
        return f"{name} could not be used as the check uses it: {said}", hint
    file, number = mine[-1]
    line = linecache.getline(file, number).strip()
    hint = "print the shapes and types just above that line"
    if isinstance(error, NameError):
        hint = "is that name spelt as where it was made, and has that cell been run?"
    elif isinstance(error, KeyError):
        hint = "which keys are there? Print `list(...)` of it just above that line"
    elif isinstance(error, TypeError) and "argument" in said:
        hint = "compare that call with the card: which arguments does it take, and in which order?"
    elif "used as indices" in said:  # a mask of floats in brackets
        hint = "numbers with a point cannot choose entries: `mask.bool()` does in brackets; or multiply by the mask"
    elif "Subtraction" in said and "bool tensor" in said:  # 1 - terminated
        hint = "True and False cannot be subtracted: `~x` turns them round, `x.float()` makes them 1 and 0"
    elif "bitwise_" in said:
        hint = "`&` and `|` bind more tightly than `<`, `>` and `==`: put parentheses around each comparison"
    return f"{said}, in line {number} of your cell: {line}", hint


def _files(answer) -> set[str]:
    """The files (a notebook cell is one) in which the answer's code stands."""
    answer = inspect.unwrap(getattr(answer, "func", answer))
    owner = answer if isinstance(answer, type) else type(answer)
    members = [answer] if inspect.isroutine(answer) else list(vars(owner).values())
    members = [inspect.unwrap(getattr(m, "__func__", getattr(m, "fget", None) or m)) for m in members]
    return {m.__code__.co_filename for m in members if hasattr(m, "__code__")}


@contextlib.contextmanager
def _own_randomness(seed: int = 0):
    """Seed the global generators (Python, NumPy, torch on CPU), then put them back: no check changes a later figure."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    saved = random.getstate(), numpy and numpy.random.get_state(), torch and torch.get_rng_state()
    random.seed(seed)
    if numpy:
        numpy.random.seed(seed)
    if torch:
        torch.random.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(saved[0])
        if numpy:
            numpy.random.set_state(saved[1])
        if torch:
            torch.set_rng_state(saved[2])


def mutate(function, old: str, new: str):
    """A wrong answer for the tests: `function` (or class) with `old` replaced by `new` in its source.

    Raises ValueError when `old` does not occur, so that a mutant never silently equals the original.
    """
    source = textwrap.dedent(inspect.getsource(function))
    if old not in source:
        raise ValueError(f"mutate: {old!r} does not occur in the source of {function.__name__}.")
    source = source.replace(old, new)
    file = f"<mutant of {function.__name__}: {new}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    namespace = dict(getattr(function, "__globals__", None) or vars(sys.modules[function.__module__]))
    exec(compile(source, file, "exec"), namespace)
    return namespace[function.__name__]


# ------------------------------------------------------------------------------------------------ progress


class Progress:
    """What a reader has passed, shown one line an exercise. `.passed` is {id: date}, `.exercises` the registry."""

    def __init__(self, passed: dict[str, str], exercises: dict[str, Exercise], file: Path):
        self.passed, self.exercises, self.file = passed, exercises, file

    def __repr__(self) -> str:
        lines, chapters = [], {}
        for id, one in self.exercises.items():
            chapters.setdefault(id.split(".")[0], []).append(one)
        for chapter, items in chapters.items():
            done = sum(one.id in self.passed for one in items)
            lines.append(f"Chapter {chapter.zfill(2)}: {done} of {len(items)} passed")
            for one in items:
                day = f"  ({self.passed[one.id]})" if one.id in self.passed else ""
                lines.append(f"  [{'x' if day else ' '}] {one.id}  {one.title}{day}")
        return "\n".join(lines) or "No exercises yet."


def progress() -> Progress:
    """The exercises passed so far, chapter by chapter; kept in `progress_file()`."""
    return Progress(_read_progress(), load_all(), progress_file())


def progress_file() -> Path:
    """$MARLCOURSE_PROGRESS, else progress.json in the reader's folder (`marlcourse.course.home()`)."""
    chosen = os.environ.get("MARLCOURSE_PROGRESS")
    return Path(chosen) if chosen else home() / "progress.json"


def _read_progress() -> dict[str, str]:
    """{exercise id: day passed}. A file that cannot be understood is renamed, never overwritten."""
    file = progress_file()
    try:
        passed = json.loads(file.read_text(encoding="utf-8"))["passed"]
        if all(isinstance(k, str) and isinstance(v, str) for k, v in passed.items()):
            return passed
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    aside = _free_name(file.with_name(file.name + ".damaged"))
    os.replace(file, aside)
    print(f"The progress file could not be read; it was kept as {aside}, and a new one begins.")
    return {}


def _free_name(file: Path) -> Path:
    names = [file, *(file.with_name(f"{file.name}{n}") for n in range(2, 1000))]
    return next((name for name in names if not name.exists()), file)


def _record(one: Exercise) -> None:
    """Note a pass. A folder that cannot be written costs the note, not the lesson."""
    file = progress_file()
    try:
        passed = _read_progress()
        if one.id not in passed:
            passed[one.id] = datetime.date.today().isoformat()
            write_atomic(file, json.dumps({"version": 1, "passed": passed}, indent=1).encode())
    except OSError as error:
        print(f"(Progress was not saved: {error.strerror}; set MARLCOURSE_HOME to a folder that can be written.)")


def write_atomic(file: Path, content: bytes) -> None:
    """Write all of `content` or nothing: to a temporary file in the same folder, then renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
