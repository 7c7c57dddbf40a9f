"""Does it learn? Short runs over several seeds, with margins. A loss that is wrong in sign or time fails here."""

import pytest
import torch

import marlcourse as mc
from marlcourse.course.junction import expected_return, junction_study
from marlcourse.nets.small import PassCounterfactualCritic, PassCritic, SigmoidAgent

pytestmark = pytest.mark.learning

SEEDS = range(3)


def trained(game, kind, preset, steps, seed, worlds=32, **changes):
    """(greedy return before, after, algorithm) of one Trainer run."""
    env = mc.make(game, num_envs=worlds, device="cpu")
    algorithm = kind(env.spec, kind.Config.preset(preset, **changes), seed=seed, device="cpu")
    run = mc.Trainer(env, algorithm, seed=seed, eval_every=steps).fit(steps)
    return run.history[0]["return_mean"], run.history[-1]["return_mean"], algorithm


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind, bar", [(mc.VDN, 7.0), (mc.QMIX, 8.0)])
def test_two_step_game_on_uniform_data(kind, bar, seed):
    """Rashid et al. 2018: VDN takes the sure 7, QMIX finds the 8."""
    _, after, _ = trained("two-step", kind, "two-step", 10_000, seed)
    assert after == bar


@pytest.mark.parametrize("kind, steps", [(mc.CWQMIX, 3_000), (mc.QTRAN, 12_000)])
def test_qtran_game_is_solved_by(kind, steps):
    """Son et al. 2019: the optimum 8 behind penalties of 12; learned central critic, alpha .1, lambda_nopt .1."""
    after = [trained("matrix/qtran", kind, "matrix", steps, seed)[1] for seed in SEEDS]
    assert after.count(8.0) >= 2, after


@pytest.mark.parametrize("kind", [mc.VDN, mc.QMIX])
def test_qtran_game_is_not_solved_by(kind):
    """On uniform data a monotone mixer ends in the block of zeros, even from a start that happens to play the 8."""
    runs = [trained("matrix/qtran", kind, "matrix", 6_000, seed)[:2] for seed in (0, 2)]
    assert runs[1][0] == 8.0 and all(after == 0.0 for _, after in runs), runs


STARTS = 200


@pytest.fixture(scope="module")
def untrained():
    """What rounding the random starts gives: the null against which every learner is judged."""
    return junction_study("LICA", starts=STARTS, steps=0).outcome()["rounds to an optimum"]


@pytest.mark.parametrize("name, bar", [("LICA", 0.9), ("COMA (on-policy)", 0.95), ("COMA (on-policy, 16 samples)", 0.9)])
def test_the_junction_is_learned_by(name, bar, untrained):
    """60 policy steps; a start has learned when its rounded policy lets exactly one car pass."""
    result = junction_study(name, starts=STARTS)
    out = result.outcome()
    assert out["rounds to an optimum"] >= bar and untrained < 0.4
    assert min(out["only car 1 passes"], out["only car 2 passes"]) > 0.35, "both optima are found"
    assert out["mean J"] > result.outcome(0)["mean J"] + 0.1


def test_the_junction_is_not_learned_by_coma_as_released(untrained):
    out = junction_study("COMA (as released)", starts=STARTS).outcome()
    assert out["rounds to an optimum"] <= 0.3
    assert out["rounds to an optimum"] <= untrained + 0.03 and out["J > .9"] == 0.0


@pytest.mark.parametrize("kind, critic", [(mc.COMA, PassCounterfactualCritic), (mc.LICA, PassCritic)])
def test_the_junction_by_the_trainer(kind, critic):
    """By sampling real episodes, 64 a round, with networks of the release's size: the expected return passes .9."""
    for seed in SEEDS:
        env = mc.make("junction", num_envs=64, device="cpu")
        algorithm = kind(env.spec, kind.Config.preset("junction"), seed=seed, device="cpu", actor=SigmoidAgent, critic=critic)
        run = mc.Trainer(env, algorithm, seed=seed, eval_every=10**6).fit(64 * 130)
        with torch.no_grad():
            p = algorithm.policies(mc.Collector(env, algorithm, seed).collect())[0, 0, :, 1]
        assert run.history[-1]["return_mean"] == 1.0 and expected_return(p) > 0.9, (seed, p)
