"""fit: one clock, evaluations that disturb nothing, the stop button, the NaN guard, and runs that repeat bit for bit."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

import marlcourse as mc

ROOT = Path(__file__).resolve().parents[1]


def small(kind="QMIX", seed=0, **changes):
    """(world, algorithm) of the two-step game: 4 worlds, a replay that is overwritten soon."""
    env = mc.make("two-step", num_envs=4, device="cpu")
    kind = getattr(mc, kind)
    settings = {"replay_episodes": 20, "batch_size": 8, "hidden": 8} if issubclass(kind, mc.QMIX) else {"hidden": 8}
    return env, kind(env.spec, replace(kind.Config(), **{**settings, **changes}), seed=seed, device="cpu")


def history(run):
    """Without what the clock on the wall says; NaN is equal to NaN."""
    return [{k: repr(v) for k, v in row.items() if k != "wall_time"} for row in run.history]


def weights(algorithm):
    return {k: v.clone() for k, v in algorithm.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("kind", ["QMIX", "COMA"])
def test_the_same_seed_twice_is_the_same_run_bit_for_bit(kind):
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(results))  # the global generator plays no part
        env, algorithm = small(kind, seed=seed)
        run = mc.Trainer(env, algorithm, seed=seed, eval_every=100, eval_episodes=8).fit(200)
        results.append((history(run), weights(algorithm)))
    assert results[0][0] == results[1][0] and same(results[0][1], results[1][1])
    assert results[0][0] != results[2][0] and not same(results[0][1], results[2][1])


@pytest.mark.parametrize("kind", ["QMIX", "COMA"])
def test_evaluations_and_checkpoints_do_not_change_the_run(kind, tmp_path):
    results = []
    often = {"run_dir": tmp_path, "checkpoint_every": 8, "eval_episodes": 8}
    settings = ({"eval_every": 64}, {"eval_every": 8, "eval_episodes": 3}, often)
    for options in settings:
        env, algorithm = small(kind)
        run = mc.Trainer(env, algorithm, seed=0, **options).fit(160)
        results.append((weights(algorithm), env.state_dict()["generator"], len(run.history)))
    assert same(results[0][0], results[1][0]) and same(results[0][0], results[2][0])
    assert torch.equal(results[0][1], results[1][1])
    assert len({n for _, _, n in results}) > 1  # the settings did something


def test_steps_is_the_total_clock():
    env, algorithm = small()
    trainer = mc.Trainer(env, algorithm, eval_every=40, eval_episodes=4)
    run = trainer.fit(100)
    assert trainer.env_steps == 104  # whole rounds of 4 worlds x 2 steps
    assert [row["env_steps"] for row in run.history] == [0, 40, 80, 104]
    updates = trainer.context.updates_done
    assert trainer.fit(100) is run and trainer.env_steps == 104 and trainer.context.updates_done == updates
    assert len(run.history) == 4
    trainer.fit(200)
    assert trainer.env_steps == 200 and [row["env_steps"] for row in run.history][4:] == [120, 160, 200]


def test_padding_never_moves_the_clock():
    """Episodes of unequal length: the clock is the sum of the masks, not rows times the longest row."""
    env, algorithm = small()
    step = env.step

    def often_over(actions):  # half of the worlds end after one step
        out = step(actions)
        stop = env.running & (torch.arange(4) < 2)
        env.running = env.running & ~stop
        return out._replace(terminated=out.terminated | stop)

    env.step = often_over
    trainer = mc.Trainer(env, algorithm, eval_episodes=4)
    trainer.fit(60)
    rows = trainer.context.buffer
    assert trainer.env_steps == 60 == 6 * rows.added // 4
    assert sorted(set(rows.rows.length.tolist())) == [1, 2]


def test_the_record_says_what_was_run(tmp_path):
    env, algorithm = small(lr=0.003)
    run = mc.Trainer(env, algorithm, seed=7, run_dir=tmp_path, eval_episodes=4).fit(40)
    assert (run.env, run.algorithm, run.seed, run.device) == ("two-step", "QMIX", 7, "cpu")
    assert run.config["lr"] == 0.003 and run.config["optimizer"] == "RMSprop" and run.config["epsilon"]["end"] == 0.05
    assert run.versions["torch"] == torch.__version__ and run.wall_time > 0 and not run.interrupted
    assert list(run.frame()["env_steps"]) == [row["env_steps"] for row in run.history]
    assert history(mc.Run.load(tmp_path / "run.json")) == history(run)


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    env, algorithm = small()
    mc.Trainer(env, algorithm, run_dir=tmp_path, eval_episodes=4).fit(8)
    with pytest.raises(ValueError, match=r"already holds a run: go on with marlcourse.Trainer.resume\(.*\), or choose another"):
        mc.Trainer(env, algorithm, run_dir=tmp_path)


def test_a_team_that_was_trained_before_starts_a_new_clock():
    env, algorithm = small()
    mc.Trainer(env, algorithm, eval_episodes=4).fit(80)
    assert algorithm.env_steps == 80
    algorithm.eval()  # as load_team gives it: a card's fused GRU has no backward pass in that mode
    mc.Trainer(env, algorithm)
    assert algorithm.env_steps == 0 and algorithm.training


def test_callbacks_see_every_round():
    seen = []

    class Watch(mc.Callback):
        def on_start(self, trainer):
            seen.append("start")

        def on_iterate(self, trainer, metrics):
            seen.append(trainer.env_steps)

        def on_evaluation(self, trainer, row):
            seen.append(("evaluation", row["env_steps"]))

        def on_end(self, trainer):
            seen.append("end")

    env, algorithm = small()
    mc.Trainer(env, algorithm, eval_every=16, eval_episodes=4, callbacks=[Watch()]).fit(24)
    assert seen == ["start", ("evaluation", 0), 8, 16, ("evaluation", 16), 24, ("evaluation", 24), "end"]


def test_metrics_are_means_over_rounds_since_the_last_evaluation():
    values = iter(range(100))

    class Counts(mc.QMIX):
        def iterate(self, ctx):
            ctx.collect()
            return {"number": torch.tensor(float(next(values)))}

    env, _ = small()
    run = mc.Trainer(env, Counts(env.spec, device="cpu"), eval_every=24, eval_episodes=4).fit(56)
    assert [row.get("number") for row in run.history] == [None, 1.0, 4.0, 6.0]


# ---- what would waste a long run is refused before it --------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, options, sentence",
    [
        ({"replay_episodes": 4, "batch_size": 8}, {}, "replay_episodes=4 can never fill batch_size=8"),
        ({"episodes_per_collect": 6}, {}, "episodes=6 must be a multiple of num_envs=4"),
        ({}, {"eval_every": 0}, "eval_every must be at least 1, not 0"),
        ({}, {"checkpoint_every": -1}, "checkpoint_every must be at least 1"),
        ({}, {"eval_episodes": 0}, "eval_episodes must be at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_the_trainer(settings, options, sentence):
    env, algorithm = small(**settings)
    with pytest.raises(ValueError, match=sentence):
        mc.Trainer(env, algorithm, **options)


def test_a_world_of_another_shape_is_refused():
    _, algorithm = small()
    with pytest.raises(ValueError, match="built for .*two-step.* but the world is .*junction.*: build it with env.spec"):
        mc.Trainer(mc.make("junction", device="cpu"), algorithm)


def test_settings_that_no_file_could_hold_are_refused_before_work(tmp_path):
    @dataclass(frozen=True)
    class Odd(mc.QMIX.Config):
        activation: object = torch.nn.ReLU()

    class MyQMIX(mc.QMIX):
        Config = Odd

    env, _ = small()
    mc.Trainer(env, MyQMIX(env.spec, device="cpu"))  # in memory it is nobody's business
    with pytest.raises(TypeError, match="A config may hold numbers, strings, schedules and torch.optim classes, not ReLU"):
        mc.Trainer(env, MyQMIX(env.spec, device="cpu"), run_dir=tmp_path)


def test_no_steps_is_refused():
    env, algorithm = small()
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        mc.Trainer(env, algorithm).fit(0)


# ---- NaN -----------------------------------------------------------------------------------------------------------


def poisoned(kind, term, bad, from_update):
    """An algorithm whose loss, or the slope of whose loss, is not finite from some update on."""

    class Poisoned(kind):
        calls = 0

        def poison(self, loss, parameter):
            self.calls += 1
            if self.calls < from_update:
                return loss
            if bad == "gradient":  # the root has an infinite slope at 0, where its value is fine
                return loss + (parameter.flatten()[0] * 0).sqrt()
            return loss * bad

        def loss(self, batch):
            loss, metrics = super().loss(batch)
            return self.poison(loss, self.mixer.v[0].weight), metrics

    class PoisonedActor(kind):
        calls = 0
        poison = Poisoned.poison

        def actor_loss(self, batch):
            loss, metrics = super().actor_loss(batch)
            return self.poison(loss, self.actor.head.weight), metrics

    return Poisoned if term == "main" else PoisonedActor


@pytest.mark.parametrize("bad", [math.nan, math.inf, "gradient"])
@pytest.mark.parametrize("kind, term", [("QMIX", "main"), ("COMA", "actor")])
def test_a_loss_that_is_not_finite_stops_the_run(kind, term, bad, tmp_path):
    env, model = small(kind)
    algorithm = poisoned(type(model), term, bad, from_update=6)(env.spec, model.config, device="cpu")
    trainer = mc.Trainer(env, algorithm, run_dir=tmp_path, checkpoint_every=8, eval_every=64, eval_episodes=4)
    what = f"{term} gradient" if bad == "gradient" else f"{term} loss"
    with pytest.raises(FloatingPointError) as problem:
        trainer.fit(1000)
    words = str(problem.value)
    steps = trainer.env_steps
    assert f"at {steps:,} environment steps, update {trainer.context.updates_done}: the {what} became" in words
    assert f"last good checkpoint is {tmp_path} at {steps - 8:,} steps" in words
    assert problem.value.__suppress_context__ and words.count("\n") == 0
    assert all(torch.isfinite(v).all() for v in algorithm.state_dict().values())
    team = type(algorithm)(env.spec, algorithm.config, device="cpu")
    assert mc.Trainer.resume(tmp_path, small(kind)[0], team).env_steps == steps - 8


def test_without_a_folder_the_guard_says_how_to_have_a_checkpoint():
    env, model = small()
    algorithm = poisoned(mc.QMIX, "main", math.nan, 1)(env.spec, model.config, device="cpu")
    with pytest.raises(FloatingPointError, match="no checkpoint was taken .give the Trainer a run_dir"):
        mc.Trainer(env, algorithm, eval_episodes=4).fit(100)


def test_a_floating_point_error_of_the_readers_own_passes_through():
    class Own(mc.QMIX):
        def iterate(self, ctx):
            raise FloatingPointError("divide by zero in your reward")

    env, _ = small()
    with pytest.raises(FloatingPointError, match="^divide by zero in your reward$"):
        mc.Trainer(env, Own(env.spec, device="cpu"), eval_episodes=4).fit(10)


# ---- the stop button -----------------------------------------------------------------------------------------------


class Interrupt(mc.Callback):
    def __init__(self, at, times=1):
        self.at, self.times = at, times

    def on_iterate(self, trainer, metrics):
        if trainer.env_steps == self.at:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def test_the_stop_button_returns_the_run_so_far_and_it_can_go_on(tmp_path):
    env, algorithm = small()
    whole = mc.Trainer(env, algorithm, eval_every=64, eval_episodes=4)
    expected = whole.fit(320)

    before = signal.getsignal(signal.SIGINT)
    env, algorithm = small()
    trainer = mc.Trainer(env, algorithm, run_dir=tmp_path, eval_every=64, eval_episodes=4, callbacks=[Interrupt(104)])
    run = trainer.fit(320)
    assert run.interrupted and run.history[-1]["env_steps"] == 104
    assert signal.getsignal(signal.SIGINT) is before
    again = mc.Trainer.resume(tmp_path, small()[0])
    assert again.env_steps == 104
    resumed = again.fit(320)
    assert not resumed.interrupted and history(resumed) == history(expected)  # as if never stopped
    assert same(weights(again.algorithm), weights(whole.algorithm))


def test_a_second_press_stops_at_once_and_leaves_the_last_checkpoint(tmp_path):
    env, algorithm = small()
    options = {"run_dir": tmp_path, "checkpoint_every": 40, "eval_episodes": 4}
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        mc.Trainer(env, algorithm, callbacks=[Interrupt(64, times=2)], **options).fit(320)
    assert signal.getsignal(signal.SIGINT) is before
    assert mc.Trainer.resume(tmp_path, small()[0]).env_steps == 40


FIT = """
import marlcourse as mc, sys
env = mc.make("two-step", num_envs=4, device="cpu")
algo = mc.QMIX(env.spec, mc.QMIX.Config(replay_episodes=20, batch_size=8, hidden=8), device="cpu")
class Say(mc.Callback):
    def on_iterate(self, trainer, metrics):
        if trainer.env_steps == 80:
            print("running", flush=True)
run = mc.Trainer(env, algo, run_dir=sys.argv[1], eval_episodes=4, callbacks=[Say()]).fit(10**7)
print("returned", run.interrupted, run.history[-1]["env_steps"], flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="an interrupt cannot be sent to one process there")
def test_an_interrupt_from_outside_returns_the_run(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", FIT, tmp_path], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "running\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        words = process.stdout.readline().split()
        assert process.wait(60) == 0
    assert words[:2] == ["returned", "True"]
    assert mc.Trainer.resume(tmp_path, small()[0]).env_steps == int(words[2]) >= 80


def test_a_large_replay_says_how_much_memory_it_will_take(capsys):
    """Bytes by hand: 101 observations of 2 agents x 100 floats and 5 flags, 100 steps of 2 actions, 10 bytes of ends."""
    from marlcourse.core import Discrete, EnvSpec
    from marlcourse.trainer import refuse_if_too_large, replay_bytes

    spec = EnvSpec("wide", 2, 100, 200, 100, Discrete(5), state_is_obs=True)
    by_hand = 2000 * (101 * (2 * 100 * 4 + 2 * 5) + 100 * (2 * 8 + 10))
    assert replay_bytes(spec, 2000) == by_hand
    refuse_if_too_large(spec, 2000, torch.device("cpu"))
    assert f"2,000 episodes of wide, {by_hand / 2**30:.2f} GiB on cpu" in capsys.readouterr().err
    refuse_if_too_large(spec, 20, torch.device("cpu"))
    assert capsys.readouterr().err == ""


def in_a_new_process(code, **variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run([sys.executable, "-c", code], env={**clean, **variables}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it concerns glibc")
def test_a_readers_own_malloc_settings_are_left_alone():
    start, ask = "import ctypes, sys\nfrom marlcourse.device import keep_freed_memory as keep\n", "print(keep())"
    assert in_a_new_process(start + ask, MALLOC_ARENA_MAX="2") == ["False"]
    assert in_a_new_process(start + ask, GLIBC_TUNABLES="glibc.malloc.check=0") == ["False"]
    assert in_a_new_process(start + "ctypes.CDLL = lambda name: object()\n" + ask) == ["False"]  # another C library
    assert in_a_new_process(start + "sys.platform = 'darwin'\n" + ask) == ["False"]


def test_a_fit_on_the_cpu_keeps_freed_memory(monkeypatch):
    import marlcourse.trainer

    calls = []
    monkeypatch.setattr(marlcourse.trainer, "keep_freed_memory", lambda: calls.append(1))
    env, algorithm = small()
    mc.Trainer(env, algorithm).fit(40, progress=False)
    assert len(calls) == 1
