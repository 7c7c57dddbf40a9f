"""Checkpoints: a run that was killed goes on as if nothing had happened, and no file can hurt.

Runs are compared bit for bit: weights, optimisers, generators, replay, worlds, and the history without wall times.
"""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

import marlcourse as mc
from marlcourse import checkpoint
from marlcourse.core import Algorithm, Config
from marlcourse.exploration import epsilon_greedy
from marlcourse.nets.agents import RecurrentAgent, previous_actions
from marlcourse.nets.simple_mixer import SumMixer
from marlcourse.targets import masked_mean

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class WalkerConfig(Config):
    lr: float = 0.01
    optimizer: type = torch.optim.Adam


class Walker(Algorithm):
    """Q-learning on pieces of episodes: 3 steps a round, which go on from ``carry0`` in the middle of episodes."""

    Config = WalkerConfig

    def build(self):
        self.agent = self.part("agent", lambda: RecurrentAgent(self.spec, 8))

    def initial_carry(self, batch_size):
        last = torch.full((batch_size, self.spec.n_agents), -1)
        return {"hidden": self.agent.initial_hidden(batch_size, self.spec.n_agents), "last_action": last}

    def act(self, observation, carry, explore, generator):
        q, hidden = self.agent(observation.obs.unsqueeze(1), carry["last_action"].unsqueeze(1), carry["hidden"])
        actions = epsilon_greedy(q.squeeze(1), observation.avail, 0.3 if explore else 0.0, generator)
        return mc.Action(actions, {"hidden": hidden, "last_action": actions})

    def loss(self, batch):
        q, _ = self.agent(batch.obs, previous_actions(batch.actions, batch.carry0["last_action"]), batch.carry0["hidden"])
        chosen = q[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1).sum(-1)
        return masked_mean((chosen - batch.reward) ** 2, batch.mask), {}

    def optimizers(self):
        return {"main": self.make_optimizer(self.agent)}

    def iterate(self, ctx):
        return ctx.step("main", self.loss, ctx.collect(steps=3))


def begin(kind):
    """(world, algorithm); small replays, so that old rows get overwritten."""
    env = mc.make("two-step", num_envs=4, device="cpu")
    replay = {"replay_episodes": 30, "batch_size": 8, "hidden": 8, "target_every": 5}
    if kind == "walker":
        return env, Walker(env.spec, device="cpu")
    if kind == "coma":
        return env, mc.COMA(env.spec, mc.COMA.Config(hidden=8, critic_hidden=8, target_every=5), device="cpu")
    return env, mc.QMIX(env.spec, mc.QMIX.Config(recurrent=kind == "qmix", **replay), device="cpu")


def trainer(kind, run_dir=None, **options):
    env, algorithm = begin(kind)
    return mc.Trainer(env, algorithm, seed=3, run_dir=run_dir, **{"eval_every": 56, "eval_episodes": 4, **options})


def resumed(kind, run_dir):
    env, algorithm = begin(kind)
    return mc.Trainer.resume(run_dir, env, algorithm if kind == "walker" else None)


def everything(t):
    """All that fixes how a run goes on, and what it has recorded, as plain nested values."""
    c = t.context
    rows = None if c.buffer is None or c.buffer.rows is None else vars(c.buffer.rows)
    return {
        "weights": t.algorithm.state_dict(),
        "optimisers": {k: o.state_dict() for k, o in c.optimizers.items()},
        "generators": [c.generator.get_state(), c.collector.generator.get_state()],
        "world": t.env.state_dict(),
        "live": c.collector.live,
        "counters": [t.env_steps, t.algorithm.env_steps, c.updates_done, c.collector.resets, t.count, t.next_eval],
        "replay": (rows, c.buffer and c.buffer.added),
        "sums": t.sums,
        "history": [{k: repr(v) for k, v in row.items() if k != "wall_time"} for row in t.run.history],
    }


def assert_equal(a, b, at="run"):
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), at
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), at
        for key in a:
            assert_equal(a[key], b[key], f"{at}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), at
        for i, (x, y) in enumerate(zip(a, b)):
            assert_equal(x, y, f"{at}[{i}]")
    else:
        assert a == b, f"{at}: {a} != {b}"


KINDS = ["qmix", "feedforward", "coma", "walker"]


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_equals_never_having_stopped(kind, tmp_path):
    whole = trainer(kind)
    whole.fit(176)
    parts = trainer(kind, tmp_path, checkpoint_every=24)
    parts.fit(68)  # ends within an evaluation interval, and for the walker within episodes
    middle = resumed(kind, tmp_path)
    if kind == "walker":
        assert middle.context.collector.live is not None
    middle.fit(128)
    again = resumed(kind, tmp_path)
    again.fit(176)
    assert_equal(everything(again), everything(whole))
    if kind == "qmix":
        assert again.context.buffer.added == 88 > 2 * again.context.buffer.capacity  # rows were overwritten


def test_resuming_restores_everything_at_once(tmp_path):
    t = trainer("qmix", tmp_path, checkpoint_every=8)
    t.fit(104)
    t.run.history.pop()  # the closing evaluation belongs to the fit, not to the checkpoint
    saved = everything(resumed("qmix", tmp_path))
    now = everything(t)
    for key in ("sums", "counters"):  # likewise
        saved.pop(key), now.pop(key)
    assert_equal(saved, now)


# ---- kill -9 ---------------------------------------------------------------------------------------------------------

FITTERS = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[1])
import torch._dynamo  # what the first optimiser would load, once for all children
from test_checkpoint import resumed, trainer

for line in sys.stdin:  # `kind folder`: a child begins or goes on with that run, and never ends by itself
    kind, folder = line.split(maxsplit=1)
    folder = pathlib.Path(folder.strip())
    child = os.fork()
    if child == 0:
        t = resumed(kind, folder) if (folder / "checkpoint.pt").exists() else trainer(kind, folder, checkpoint_every=8)
        print("fitting", os.getpid(), flush=True)
        t.fit(10**7)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


@pytest.fixture(scope="module")
def fitters():
    """A process that forks one fitting process after the other, so that PyTorch is loaded once. It never trains itself."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MARLCOURSE_PROGRESS": "0"}
    command = [sys.executable, "-c", FITTERS, str(Path(__file__).parent)]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.mark.learning  # not for what it learns: it takes its time
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("kind", KINDS)
def test_kill_minus_nine_at_random_moments_changes_nothing(kind, fitters, tmp_path):
    """Three kills in a row, each at a random moment of a fit that saves itself after every round; then compare."""
    chance, kills = random.Random(kind), []
    while len(kills) < 3:
        fitters.stdin.write(f"{kind} {tmp_path}\n")
        fitters.stdin.flush()
        word, pid = fitters.stdout.readline().split()
        assert word == "fitting"
        time.sleep(chance.uniform(0.02, 0.5))
        os.kill(int(pid), signal.SIGKILL)
        assert fitters.stdout.readline() == "dead\n"
        if (tmp_path / "checkpoint.pt").exists():
            kills.append(resumed(kind, tmp_path).env_steps)
    assert kills == sorted(kills) and kills[-1] > 0
    steps = kills[-1] + 48
    survivor = resumed(kind, tmp_path)
    survivor.fit(steps)
    whole = trainer(kind)
    whole.fit(steps)
    assert_equal(everything(survivor), everything(whole))


# ---- files -----------------------------------------------------------------------------------------------------------


def shards(folder):
    return sorted(tuple(map(int, p.stem.split("-"))) for p in (folder / "replay").iterdir())


def test_replay_rows_are_written_once_and_old_shards_go(tmp_path):
    written, original = [], checkpoint._write

    def counting(path, value):
        written.append(path.name)
        original(path, value)

    t = trainer("qmix", tmp_path, checkpoint_every=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_write", counting)
        t.fit(240)
    replay = [name for name in written if name != "checkpoint.pt"]
    assert len(set(replay)) == len(replay)
    ranges = [tuple(map(int, name.removesuffix(".pt").split("-"))) for name in replay]
    assert [first for first, _ in ranges] == [0, *[last for _, last in ranges[:-1]]] and ranges[-1][1] == 120  # each row once
    kept = shards(tmp_path)
    assert kept == [r for r in ranges if r[1] > 120 - 30]  # those that still hold a row of the replay, no others
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "replay", "run.json"]


def test_what_a_crash_left_in_the_replay_folder_is_tidied_up(tmp_path):
    t = trainer("qmix", tmp_path, checkpoint_every=16)
    t.fit(64)
    (tmp_path / "replay" / "1000-1010.pt").write_bytes(b"a shard whose checkpoint was never written")
    (tmp_path / "replay" / "990-999.pt.tmp").write_bytes(b"half")
    again = resumed("qmix", tmp_path)
    again.fit(96)
    assert not list(tmp_path.glob("**/*.tmp")) and shards(tmp_path)[-1] == (40, 48)
    assert_equal(everything(resumed("qmix", tmp_path))["replay"], everything(again)["replay"])


def test_a_copy_saved_elsewhere_is_whole(tmp_path):
    t = trainer("qmix", tmp_path / "run", checkpoint_every=16)
    t.fit(240)
    t.save(tmp_path / "copy")
    assert shards(tmp_path / "copy") == [(90, 120)]
    copy = resumed("qmix", tmp_path / "copy")
    assert_equal(everything(copy), everything(t))
    copy.fit(280), t.fit(280)
    assert_equal(everything(copy)["weights"], everything(t)["weights"])
    assert shards(tmp_path / "run")[-1][1] == 140 == shards(tmp_path / "copy")[-1][1]


@pytest.mark.parametrize("fails", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_checkpoint(fails, tmp_path, monkeypatch):
    t = trainer("qmix", tmp_path, checkpoint_every=1000)
    t.fit(80)
    good = (tmp_path / "checkpoint.pt").read_bytes()
    real = getattr(os, fails)

    def full(*args):
        if (tmp_path / "checkpoint.pt.tmp").exists():
            raise OSError(28, "No space left on device")
        return real(*args)

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="could not be written to .* .No space left .*; the one at 80 steps is intact") as problem:
        t.fit(120)
    assert problem.value.__suppress_context__
    assert (tmp_path / "checkpoint.pt").read_bytes() == good
    assert not list(tmp_path.glob("**/*.tmp"))  # the full disk was not made fuller
    assert resumed("qmix", tmp_path).env_steps == 80
    monkeypatch.undo()
    t.fit(200)  # the same trainer goes on once there is room
    assert resumed("qmix", tmp_path).env_steps == 200
    whole = trainer("qmix")
    whole.fit(200)
    assert_equal(everything(t)["weights"], everything(whole)["weights"])


def test_damage_is_seen_in_every_file_of_a_run(tmp_path):
    trainer("qmix", tmp_path).fit(80)
    shard = next((tmp_path / "replay").iterdir())
    for path in (shard, tmp_path / "checkpoint.pt"):
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ValueError, match=f"{path.name} is not a marlcourse checkpoint, or it is damaged"):
            resumed("qmix", tmp_path)
        path.unlink()
        with pytest.raises(ValueError, match=f"There is no checkpoint at .*{path.name}"):
            resumed("qmix", tmp_path)


# ---- teams -----------------------------------------------------------------------------------------------------------


class MyMixer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.rand(1))

    def forward(self, q, state):
        return self.scale * q.sum(-1)


def team_file(tmp_path, kind=None, **parts):
    env, _ = begin("qmix")
    algorithm = (kind or mc.QMIX)(env.spec, mc.QMIX.Config(hidden=8), seed=5, device="cpu", **parts)
    mc.save_team(algorithm, tmp_path / "team.pt")
    return tmp_path / "team.pt", algorithm


def test_a_team_acts_without_trainer_or_world(tmp_path):
    path, team = team_file(tmp_path)
    loaded = mc.load_team(path, device="cpu")
    assert type(loaded) is mc.QMIX and loaded.config == team.config and loaded.spec == team.spec and not loaded.training
    observation = begin("qmix")[0].reset(seed=0)
    actions = [t.act(observation, t.initial_carry(4), False, torch.Generator()).actions for t in (team, loaded)]
    assert torch.equal(*actions)
    trainer("coma", tmp_path / "run").fit(8)
    assert type(mc.load_team(tmp_path / "run", device="cpu")) is mc.COMA  # a run folder serves as well


def test_a_part_of_your_own_is_passed_again(tmp_path):
    path, team = team_file(tmp_path, mixer=MyMixer)
    with pytest.raises(ValueError, match="holds your own part 'mixer', whose code is not in the file: pass it") as problem:
        mc.load_team(path)
    one_sentence(problem)
    loaded = mc.load_team(path, mixer=MyMixer, device="cpu")
    assert torch.equal(loaded.mixer.scale, team.mixer.scale)
    with pytest.raises(ValueError, match="QMIX has no part named mixxer"):
        mc.load_team(path, mixer=MyMixer, mixxer=MyMixer)
    with pytest.raises(ValueError, match="weights in .* do not fit the algorithm: .*mixer"):
        mc.load_team(path, mixer=SumMixer)


def test_a_run_with_a_part_of_your_own_goes_on_with_it(tmp_path):
    env, _ = begin("qmix")
    settings = mc.QMIX.Config(hidden=8, replay_episodes=20, batch_size=8)
    mc.Trainer(env, mc.QMIX(env.spec, settings, device="cpu", mixer=MyMixer), run_dir=tmp_path, eval_episodes=4).fit(40)
    with pytest.raises(ValueError, match=r"own part 'mixer'.* or Trainer.resume\(path, env, algorithm=...\)"):
        mc.Trainer.resume(tmp_path, env)
    again = mc.Trainer.resume(tmp_path, env, mc.QMIX(env.spec, settings, device="cpu", mixer=MyMixer))
    assert again.env_steps == 40


def one_sentence(problem, most=330):
    """No chain of tracebacks, no line breaks, not an essay."""
    error, words = problem.value, str(problem.value)
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__), "a chain of tracebacks"
    assert "\n" not in words and len(words) < most, words


class Payload:
    """Unpickled without care, it touches a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def bad_files(tmp_path, good):
    data = good.read_bytes()
    touched = tmp_path / "touched"
    value = torch.load(good, weights_only=True)

    def torch_file(name, content):
        torch.save(content, tmp_path / name)

    for name, content in {
        "cut": data[: len(data) // 2],
        "cut-at-the-end": data[:-1],
        "empty": b"",
        "random": random.Random(0).randbytes(4000),
        "text": b"<html>404: not found</html>",
        "pickle": pickle.dumps(Payload(touched)),
    }.items():
        (tmp_path / name).write_bytes(content)
    torch_file("malicious", {**value, "weights": Payload(touched)})
    torch_file("foreign-weights", {"state_dict": {"w": torch.zeros(3)}})
    torch_file("foreign-list", [1, 2, 3])
    torch_file("foreign-format", {**value, "format": "marlcourse-99"})
    torch_file("whole-module", torch.nn.Linear(2, 2))
    return touched


DAMAGED = "is not a marlcourse checkpoint, or it is damaged .* nothing in it was run. Use another copy or an earlier checkpoint"
FOREIGN = "is a PyTorch file, but not a marlcourse checkpoint of format 'marlcourse-1'"


@pytest.mark.parametrize(
    "name, sentence",
    [(n, DAMAGED) for n in ("cut", "cut-at-the-end", "empty", "random", "text", "pickle", "malicious", "whole-module")]
    + [(n, FOREIGN) for n in ("foreign-weights", "foreign-list", "foreign-format")],
)
def test_bad_files_are_refused_in_one_sentence_and_run_nothing(name, sentence, tmp_path):
    touched = bad_files(tmp_path, team_file(tmp_path)[0])
    with pytest.raises(ValueError, match=sentence) as problem:
        mc.load_team(tmp_path / name)
    one_sentence(problem)
    (tmp_path / "run").mkdir()
    (tmp_path / name).rename(tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(ValueError, match=sentence):
        mc.Trainer.resume(tmp_path / "run", begin("qmix")[0])
    assert not touched.exists()


def test_the_payload_would_have_run(tmp_path):
    """Otherwise the test above could not fail."""
    touched = bad_files(tmp_path, team_file(tmp_path)[0])
    torch.load(tmp_path / "malicious", weights_only=False)["weights"].close()
    assert touched.exists()


def changed(path, **changes):
    saved = torch.load(path, weights_only=True)
    torch.save({**saved, **{k: v(saved[k]) if callable(v) else v for k, v in changes.items()}}, path)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"algorithm": "QMIXX"}, "was written by 'QMIXX', which is not an algorithm of this version .* did you mean 'QMIX'"),
        ({"algorithm": "Trainer"}, "was written by 'Trainer', which is not an algorithm"),
        ({"module": "os"}, "which is not an algorithm of this version"),
        ({"config": lambda c: {**c, "momentum": 0.9}}, "does not describe a team .*unexpected keyword argument 'momentum'"),
        ({"config": lambda c: {**c, "hidden": 9}}, "The weights in .* do not fit the algorithm: size mismatch"),
        ({"config": lambda c: {**c, "optimizer": {"optimizer": "lr_scheduler"}}}, "unknown optimiser 'lr_scheduler'"),
        ({"spec": lambda s: {**s, "actions": ["Tuple", 3]}}, "does not describe a team"),
        ({"spec": {}}, "does not describe a team"),
        ({"weights": 3}, "does not describe a team"),
        ({"weights": lambda w: dict(list(w.items())[1:])}, "do not fit the algorithm: Missing key"),
        ({"own_parts": None}, "does not describe a team"),
    ],
)
def test_contents_that_do_not_hang_together_are_refused(changes, sentence, tmp_path):
    path, _ = team_file(tmp_path)
    changed(path, **changes)
    with pytest.raises(ValueError, match=sentence) as problem:
        mc.load_team(path)
    one_sentence(problem, most=700)


def test_there_is_nothing_at_that_path(tmp_path):
    with pytest.raises(ValueError, match="There is no checkpoint at .*nowhere.pt: give a run folder .* or a .*file") as problem:
        mc.load_team(tmp_path / "nowhere.pt")
    one_sentence(problem)
    with pytest.raises(ValueError, match="There is no checkpoint at"):
        mc.load_team(tmp_path)


@pytest.mark.parametrize(
    "other, sentence",
    [
        (lambda env: (mc.make("junction", num_envs=4, device="cpu"), None), "holds a run in .*two-step.* make it with"),
        (lambda env: (mc.make("two-step", num_envs=3, device="cpu"), None), "holds 4 worlds, this environment has 3"),
        (lambda env: (env, mc.VDN(env.spec, device="cpu")), "holds a run of QMIX, but the algorithm given is VDN"),
        (
            lambda env: (env, mc.QMIX(env.spec, replace(begin("qmix")[1].config, lr=0.5), device="cpu")),
            "holds a run with lr=0.0005, but the algorithm given has 0.5: build it with the settings of the run",
        ),
    ],
)
def test_a_run_goes_on_only_as_it_began(other, sentence, tmp_path):
    trainer("qmix", tmp_path).fit(16)
    with pytest.raises(ValueError, match=sentence) as problem:
        mc.Trainer.resume(tmp_path, *other(begin("qmix")[0]))
    one_sentence(problem, most=700)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"optimizers": {}}, None),  # nothing to restore: the run goes on with a new optimiser
        ({"optimizers": {"other": {}}}, "KeyError at 'other'"),
        ({"generators": {"actions": torch.zeros(3), "updates": torch.zeros(3)}}, "does not describe a run"),
        ({"trainer": {}}, "KeyError at 'seed'"),
        ({"run": {"device": "cpu"}}, "does not describe a run"),
        ({"env_device": "cuda:0"}, "whose world was on cuda:0, but the world given is on cpu, .* marlcourse.load_team"),
    ],
)
def test_a_run_whose_contents_do_not_hang_together_is_refused(changes, sentence, tmp_path):
    trainer("qmix", tmp_path).fit(16)
    changed(tmp_path / "checkpoint.pt", **changes)
    if sentence is None:
        assert resumed("qmix", tmp_path).env_steps == 16
        return
    with pytest.raises(ValueError, match=sentence) as problem:
        resumed("qmix", tmp_path)
    one_sentence(problem, most=500)


@pytest.mark.skipif(sys.platform == "win32", reason="no folder is read-only there")
def test_a_folder_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    t = trainer("qmix", tmp_path / "run")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="could not be written to .*run .Permission denied.; there is none yet: make room"):
        t.fit(16)


def test_signals_are_only_caught_while_fitting():
    before = signal.getsignal(signal.SIGINT)
    trainer("coma").fit(8)
    assert signal.getsignal(signal.SIGINT) is before
