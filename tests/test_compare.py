"""compare: every run once, kept on disk, extended and resumed, and never taken for another."""

import json
import signal
from dataclasses import replace

import pytest
import torch

import marlcourse as mc
from marlcourse.comparison import _claim, _stable, cache_folder, compare
from marlcourse.trainer import Trainer

BUDGET = {"num_envs": 4, "eval_every": 16, "eval_episodes": 4, "device": "cpu", "progress": False}


def tiny(kind=None, **settings):
    """make_algorithm for a QMIX that learns from its first rounds on."""
    kind = kind or mc.QMIX
    config = replace(kind.Config(), **{"hidden": 8, "replay_episodes": 16, "batch_size": 8, "recurrent": False, **settings})
    return lambda spec, seed: kind(spec, config, seed=seed, device="cpu")


@pytest.fixture
def fits(monkeypatch):
    """[(algorithm, seed, from, to)] of every fit that did something."""
    done, fit = [], Trainer.fit

    def watched(self, steps, progress=True):
        before = self.env_steps
        run = fit(self, steps, progress)
        if self.env_steps > before:
            done.append((self.run.algorithm, self.seed, before, self.env_steps))
        return run

    monkeypatch.setattr(Trainer, "fit", watched)
    return done


def go(cache, algorithms=None, seeds=2, steps=32, **options):
    algorithms = algorithms or {"QMIX": tiny(), "VDN": tiny(mc.VDN)}
    return compare("two-step", algorithms, seeds, steps, cache=cache, **{**BUDGET, **options})


def histories(comparison):
    return {
        name: [[{k: repr(v) for k, v in row.items() if k != "wall_time"} for row in run.history] for run in runs]
        for name, runs in comparison.runs.items()
    }


def test_every_seed_of_every_algorithm_runs_once(tmp_path, fits):
    first = go(tmp_path)
    assert sorted(fits) == [(name, seed, 0, 32) for name in ("QMIX", "VDN") for seed in (0, 1)]
    assert first.seeds == [0, 1] and first.steps == 32 and first.env == "two-step"
    assert [run.seed for run in first.runs["VDN"]] == [0, 1]
    assert [row["env_steps"] for row in first.runs["QMIX"][1].history] == [0, 16, 32]
    second = go(tmp_path)
    assert len(fits) == 4 and histories(second) == histories(first)
    third = go(tmp_path, seeds=[1, 2])  # seeds count one by one
    assert fits[4:] == [("QMIX", 2, 0, 32), ("VDN", 2, 0, 32)]
    assert histories(third)["QMIX"][0] == histories(first)["QMIX"][1]


def test_a_longer_comparison_goes_on_and_a_shorter_one_is_cut(tmp_path, fits):
    alone = go(tmp_path / "alone", {"QMIX": tiny()}, seeds=1, steps=64)
    del fits[:]
    short = go(tmp_path, {"QMIX": tiny()}, seeds=1, steps=32)
    long = go(tmp_path, {"QMIX": tiny()}, seeds=1, steps=64)
    assert [f[2:] for f in fits] == [(0, 32), (32, 64)]
    assert histories(long) == histories(alone)  # bit for bit what one go gives
    assert histories(go(tmp_path, {"QMIX": tiny()}, seeds=1, steps=32)) == histories(short)
    assert len(fits) == 2
    go(tmp_path, {"QMIX": tiny()}, seeds=1, steps=40)  # no multiple of eval_every: its last row is its own
    assert fits[2:] == [("QMIX", 0, 0, 40)]


class OwnMixer(torch.nn.Module):
    def forward(self, q, state):
        return q.sum(-1)


def with_mixer(mixer):
    return lambda spec, seed: mc.QMIX(spec, tiny()(spec, 0).config, seed=seed, device="cpu", mixer=mixer)


class Doubled(OwnMixer):
    def forward(self, q, state):
        return 2 * q.sum(-1)


class Renamed(OwnMixer):
    pass


def helper(q):
    return q.sum(-1)


class UsesHelper(torch.nn.Module):
    def forward(self, q, state):
        return helper(q)


class LossTimesTwo(mc.QMIX):
    def loss(self, batch):
        loss, metrics = super().loss(batch)
        return 2 * loss, metrics


class LossTimesThree(mc.QMIX):
    def loss(self, batch):
        loss, metrics = super().loss(batch)
        return 3 * loss, metrics


LossTimesThree.__qualname__ = "LossTimesTwo"  # as when a cell is edited and run again


def test_whatever_shapes_a_run_makes_it_another_one(tmp_path, monkeypatch):
    """One fingerprint for each way in which two runs can differ, all different; none for what does not matter."""
    seen = []
    nothing = mc.Run([], "", "", {}, 0, {}, "")
    monkeypatch.setattr("marlcourse.comparison._run", lambda folder, *rest: seen.append(folder.name) or nothing)

    def key(maker=None, env="two-step", seeds=(0,), steps=32, **options):
        compare(env, {"it": maker or tiny()}, seeds, steps, cache=tmp_path, **{**BUDGET, **options})
        return seen.pop()

    different = {
        "plain": key(),
        "seed": key(seeds=[1]),
        "setting": key(tiny(lr=0.1)),
        "schedule": key(tiny(epsilon=mc.Schedule(1.0, 0.1, 10))),
        "algorithm": key(tiny(mc.VDN)),
        "worlds": key(num_envs=8),
        "evaluations": key(eval_episodes=8),
        "cadence": key(eval_every=8),
        "odd steps": key(steps=40),
        "world": key(env="matrix/qtran"),
        "own part": key(with_mixer(OwnMixer)),
        "own part, other code": key(with_mixer(Doubled)),
        "own part, other class": key(with_mixer(Renamed)),
        "own loss": key(tiny(LossTimesTwo)),
        "own loss, edited": key(tiny(LossTimesThree)),
        "first weights": key(lambda spec, seed: tiny()(spec, seed + 100)),
        "helper": key(with_mixer(UsesHelper)),
    }
    monkeypatch.setitem(globals(), "helper", lambda q: q.mean(-1))
    different["helper, edited"] = key(with_mixer(UsesHelper))
    twins = [(a, b) for a in different for b in different if a < b and different[a] == different[b]]
    assert not twins
    assert key() == different["plain"] == key(steps=64) == key(progress=True)


def test_the_name_of_the_function_is_never_that_of_a_module():
    """A module marlcourse.compare would take the place of mc.compare once something imports it."""
    assert mc.Comparison and mc.compare is compare


def test_options_of_the_world_count(tmp_path):
    tables = ([[1, 0], [0, 1]], [[1, 0], [0, 2]])
    assert _stable({"game": torch.tensor(tables[0])}) == _stable({"game": tables[0]}) != _stable({"game": tables[1]})
    assert _stable({"reward": helper}) == _stable({"reward": helper})
    with pytest.raises(TypeError):
        compare("two-step", {"it": tiny()}, 1, 16, env_options={"colour": "red"}, cache=tmp_path, **BUDGET)


class Stop(mc.Callback):
    def __init__(self, at):
        self.at = at

    def on_iterate(self, trainer, metrics):
        if trainer.seed == 1 and trainer.run.algorithm == "QMIX" and trainer.env_steps == self.at:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_comparison_goes_on_where_it_stopped(tmp_path, fits, monkeypatch):
    expected = go(tmp_path / "undisturbed")
    del fits[:]
    call = Trainer._call

    def pressing(self, event, *args):
        call(self, event, *args)
        getattr(Stop(24), event)(self, *args)

    monkeypatch.setattr(Trainer, "_call", pressing)
    with pytest.raises(KeyboardInterrupt, match="compare stopped during QMIX, seed 1: finished runs are kept"):
        go(tmp_path / "stopped")
    assert fits[-1] == ("QMIX", 1, 0, 24)
    monkeypatch.setattr(Trainer, "_call", call)
    again = go(tmp_path / "stopped")
    assert fits[3:] == [("QMIX", 1, 24, 32), ("VDN", 1, 0, 32)]
    assert histories(again) == histories(expected)
    assert not any(run.interrupted for runs in again.runs.values() for run in runs)


@pytest.mark.parametrize("damage", ["run.json", "checkpoint.pt", "both"])
def test_a_damaged_entry_is_moved_aside_and_run_again(damage, tmp_path, fits, capsys):
    first = go(tmp_path, {"QMIX": tiny()}, seeds=1)
    (record,) = tmp_path.glob("*/*/run.json")
    for name in ("run.json", "checkpoint.pt"):
        if damage in (name, "both"):
            (record.parent / name).write_bytes(b"\x80broken")
    if damage == "checkpoint.pt":
        assert histories(go(tmp_path, {"QMIX": tiny()}, seeds=1)) == histories(first)  # the record alone answers this
    again = go(tmp_path, {"QMIX": tiny()}, seeds=1, steps=48 if damage == "checkpoint.pt" else 32)
    notice = capsys.readouterr().err
    assert notice.count("\n") == 1 and "A cached run was damaged, is moved to" in notice and "and runs again" in notice
    assert histories(again)["QMIX"][0][:3] == histories(first)["QMIX"][0]
    assert fits[-1][2] == 0 and len(list(tmp_path.glob("*/*.damaged-0"))) == 1


def test_two_processes_never_work_in_the_same_folder(tmp_path, fits):
    go(tmp_path, {"QMIX": tiny()}, seeds=1)
    (record,) = tmp_path.glob("*/*/run.json")
    before = record.read_bytes()
    with _claim(record.parent) as mine:
        assert mine == record.parent
        other = go(tmp_path, {"QMIX": tiny()}, seeds=1, steps=48)  # must not touch what the first one holds
    assert fits[-1][2:] == (0, 48) and record.read_bytes() == before
    assert other.runs["QMIX"][0].history[-1]["env_steps"] == 48


def test_a_comparison_can_be_read_again_and_summed_up(tmp_path):
    comparison = go(tmp_path / "cache", {"QMIX": tiny(), "VDN": mc.VDN}, seeds=[3, 4, 9])
    for name, value in zip(("QMIX", "VDN"), (1.0, 5.0)):
        for i, run in enumerate(comparison.runs[name]):
            run.history[-1]["return_mean"] = value * i
    assert comparison.summary()["VDN"] == {"q25": 2.5, "median": 5.0, "q75": 7.5}
    assert comparison.summary()["QMIX"]["median"] == 1.0
    frame = comparison.frame()
    assert list(frame.columns[:3]) == ["algorithm", "seed", "env_steps"] and len(frame) == 2 * 3 * 3
    assert set(frame["seed"]) == {3, 4, 9}
    comparison.save(tmp_path / "comparison.json")
    assert mc.Comparison.load(tmp_path / "comparison.json") == comparison
    json.loads((tmp_path / "comparison.json").read_text())


def test_a_comparison_is_drawn_by_the_curves_of_the_course(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    ax = go(tmp_path).plot(reference={"optimum": 8.0}, title="mine")
    assert {line.get_label() for line in ax.get_lines()} >= {"QMIX", "VDN"} and "mine" in ax.get_title("left")


def test_the_cache_stands_where_the_platform_keeps_such_things(monkeypatch, tmp_path):
    monkeypatch.setenv("MARLCOURSE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    go(None, {"QMIX": tiny()}, seeds=1, steps=16)
    assert list(tmp_path.glob("compare/*/*/run.json"))
    monkeypatch.delenv("MARLCOURSE_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "marlcourse"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder().parts[-3:] == ("Library", "Caches", "marlcourse")
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "w"))
    assert cache_folder() == tmp_path / "w" / "marlcourse"


@pytest.mark.parametrize(
    "arguments, error, sentence",
    [
        ({"seeds": [1, 1]}, ValueError, r"distinct numbers, not \[1, 1\]: each seed counts as one independent run"),
        ({"seeds": []}, ValueError, "one or more distinct numbers"),
        ({"steps": 0}, ValueError, "steps must be at least 1, not 0"),
        ({"algorithms": {}}, ValueError, "nothing to compare: give algorithms as"),
        ({"algorithms": {"QMIX": "qmix"}}, TypeError, r"algorithms\['QMIX'\] must be an Algorithm class or a function"),
        ({"algorithms": {"QMIX": lambda spec, seed: None}}, TypeError, "must be an Algorithm class or a function"),
        ({"env_name": "two-stepp"}, ValueError, "Unknown world 'two-stepp': did you mean 'two-step'"),
    ],
)
def test_bad_questions_are_answered_before_work(arguments, error, sentence, tmp_path):
    given = {"env_name": "two-step", "algorithms": {"QMIX": tiny()}, "seeds": 1, "steps": 16, **arguments}
    with pytest.raises(error, match=sentence):
        compare(**given, cache=tmp_path, **BUDGET)


def test_a_cache_that_cannot_be_written_says_which_option_helps(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match=r"cannot be written .* give compare\(cache=...\) or set MARLCOURSE_CACHE"):
        go(tmp_path / "file")
