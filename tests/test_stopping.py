"""A stop ends the work under way and all loops around it, and nothing that was done is lost."""

import signal
import threading

import pytest

import marlcourse as mc
from marlcourse.stopping import StopButton, no_bars, stoppable


def press():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def the_button_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def test_a_loop_that_is_not_stopped_runs_to_its_end(capsys):
    assert list(stoppable("abc", progress=False)) == ["a", "b", "c"]
    assert not capsys.readouterr().out


def test_the_stop_button_keeps_what_is_done(capsys):
    def work(k):
        if k == 3:
            press()
        return k * k

    assert [work(k) for k in stoppable(range(9), "squares")] == [0, 1, 4, 9]
    assert "squares: stopped after 4 of 9 steps; what was done so far is kept." in capsys.readouterr().out


def test_one_stop_ends_the_loops_around_as_well(capsys):
    seen = []
    for outer in stoppable("ab", "outer", progress=False):
        for inner in stoppable(range(2), "inner", progress=False):
            seen.append((outer, inner))
            if (outer, inner) == ("a", 1):
                press()  # in the last step of the inner one
    assert seen == [("a", 0), ("a", 1)]
    text = capsys.readouterr().out
    assert "outer: stopped after 1 of 2 steps" in text and "inner" not in text


class PressAt(mc.Callback):
    def on_iterate(self, trainer, metrics):
        if trainer.env_steps >= 64:
            press()


def test_a_stopped_training_ends_the_loop_of_trainings(capsys):
    runs = []
    for seed in stoppable(range(3), "teams", progress=False):
        env = mc.make("two-step", num_envs=8, device="cpu", seed=seed)
        team = mc.QMIX(env.spec, mc.QMIX.Config.preset("two-step"), seed=seed, device="cpu")
        runs.append(mc.Trainer(env, team, seed=seed, callbacks=[PressAt()]).fit(320, progress=False))
    assert [run.interrupted for run in runs] == [True] and runs[0].history[-1]["env_steps"] == 64
    assert "teams: stopped after 1 of 3 steps" in capsys.readouterr().out


def test_a_second_press_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt), StopButton():
        press()
        press()


def test_in_another_thread_only_the_program_can_press():
    seen = []

    def work():
        with StopButton() as stop:
            seen.append(stop.pressed)
        seen.extend(stoppable(range(2), progress=False))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, 0, 1]


def test_when_bars_are_unwanted(monkeypatch):
    monkeypatch.setenv("MARLCOURSE_SCALE", "demo")
    monkeypatch.delenv("MARLCOURSE_PROGRESS", raising=False)
    assert not no_bars()
    monkeypatch.setenv("MARLCOURSE_SCALE", "ci")
    assert no_bars()
    monkeypatch.setenv("MARLCOURSE_SCALE", "full")
    monkeypatch.setenv("MARLCOURSE_PROGRESS", "0")
    assert no_bars()
