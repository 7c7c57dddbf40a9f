"""What a reader must open to understand QMIX from acting to loss: counted by running it, not by listing it."""

import importlib.util
import sys
from pathlib import Path

import pytest

TRACER = Path(__file__).parents[1] / "benchmarks" / "tracer.py"


@pytest.fixture(scope="module")
def tracer():
    spec = importlib.util.spec_from_file_location("marlcourse_tracer", TRACER)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(tracer):
    return tracer.table()


def test_qmix_from_acting_to_loss_is_eight_files_and_900_lines(tracer, rows):
    counted = {name: lines for name, (lines, _) in rows.items()}
    assert len(counted) <= tracer.MOST_FILES, counted
    assert sum(counted.values()) <= tracer.MOST_LINES, counted


def test_the_whole_path_is_in_the_count(rows):
    """The count is no cheat: it saw acting, storing, sampling, the loss, the mixer, the step, the target's copy."""
    ran = {function for _, functions in rows.values() for function in functions}
    assert {"collect", "act", "epsilon_greedy", "add", "sample", "iterate", "loss", "utilities", "td_lambda", "step"} <= ran
    assert {"after_update", "encode"} <= ran and "forward" in rows["nets/mixers.py"][1]
    assert not any(name.startswith("envs/") for name in rows), "the world is left out"


def test_every_line_counts(tracer, tmp_path):
    """Blank lines, comments and docstrings are lines, and a file counts whole as soon as one function of it ran."""
    (tmp_path / "one.py").write_text('"""Doc."""\n\n# why\ndef f():\n    return 1\n\n\ndef never():\n    return 2\n')
    (tmp_path / "two.py").write_text("def g():\n    return 3\n")
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "world.py").write_text("def h():\n    return 4\n")
    space = {}
    for file in ("one.py", "two.py", "envs/world.py"):
        exec(compile((tmp_path / file).read_text(), str(tmp_path / file), "exec"), space)
    assert tracer.files_executed(lambda: (space["f"](), space["h"]()), tmp_path) == {"one.py": {"f"}}
    assert tracer.length(tmp_path / "one.py") == 9


def test_a_trace_that_was_there_before_is_put_back(tracer, tmp_path):
    before = sys.gettrace()
    with pytest.raises(ZeroDivisionError):
        tracer.files_executed(lambda: 1 / 0, tmp_path)
    assert sys.gettrace() is before
