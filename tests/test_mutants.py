"""Every check accepts the reference and rejects at least three plausible wrong answers.

Mutants stand in tests/mutants/chNN.py: MUTANTS = {"2.1": [wrong, wrong, wrong]}, of the right shape and type.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

from marlcourse.course.exercises import REGISTRY, ExerciseIncomplete, load_all

HERE = Path(__file__).parent


def load(path):
    spec = importlib.util.spec_from_file_location(f"mutants_of_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.MUTANTS


MUTANTS = {}
for file in sorted([*(HERE / "mutants").glob("ch*.py"), HERE / "fixtures" / "ch91.py"]):
    MUTANTS.update(load(file))
EXERCISES = {**load_all(), "91.1": REGISTRY["91.1"]}


@pytest.mark.parametrize("id", EXERCISES)
def test_the_reference_passes(id):
    EXERCISES[id].verify(EXERCISES[id].reference)


@pytest.mark.parametrize("id", EXERCISES)
def test_there_are_three_mutants_and_a_way_to_compare(id):
    mutants = MUTANTS.get(id, [])
    assert len(mutants) >= 3, f"exercise {id} has {len(mutants)} mutants in tests/mutants; it needs 3"
    assert EXERCISES[id].agree is not None, f"exercise {id} has no `agree`: nothing holds its solution to the library"


@pytest.mark.parametrize("id", EXERCISES)
def test_every_mutant_is_run_and_rejected(id):
    one = EXERCISES[id]
    for number, mutant in enumerate(MUTANTS.get(id, []), start=1):
        error = rejection(one, mutant)
        name = f"mutant {number} of exercise {id}, {getattr(mutant, '__name__', mutant)},"
        assert error is not None, f"{name} passes the check"
        assert error.kind == "wrong", f"{name} is no wrong answer but a broken one: {error}"


@pytest.mark.parametrize("id", EXERCISES)
def test_a_message_has_two_lines(id):
    for mutant in MUTANTS.get(id, []):
        assert len(str(rejection(EXERCISES[id], mutant)).splitlines()) == 2


def test_every_mutant_belongs_to_an_exercise():
    assert set(MUTANTS) <= set(EXERCISES)


def rejection(one, answer):
    """What the check says against an answer, or None when it passes."""
    try:
        one.verify(answer)
    except ExerciseIncomplete as error:
        return error
    return None


def test_the_driver_notices_a_mutant_that_passes_and_one_that_crashes():
    one = EXERCISES["91.1"]
    assert rejection(one, one.reference) is None
    assert rejection(one, lambda q: q.nothing()).kind == "crash"
