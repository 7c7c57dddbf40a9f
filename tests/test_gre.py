"""QMIX-GRE: the entropy term, whom it moves, lambda = 0, the released slope, and that it learns."""

import dataclasses
import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import marlcourse as mc
from marlcourse.credit import monotonic_slope
from marlcourse.exploration import constant
from marlcourse.nets.mixers import MonotonicMixer
from marlcourse.nets.simple_mixer import SumMixer
from marlcourse.rollout import Context

_spec = importlib.util.spec_from_file_location("worlds_for_tests", Path(__file__).with_name("worlds_for_tests.py"))
helpers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helpers)

SPEC = helpers.OddWorld().spec
SMALL = {"hidden": 16, "epsilon": constant(1.0)}


def build(kind=mc.QMIXGRE, spec=SPEC, mixer=None, **changes):
    parts = {} if mixer is None else {"mixer": mixer}
    return kind(spec, kind.Config(**{**SMALL, **changes}), device="cpu", **parts)


def case(**changes):
    team = build(**changes)
    return team, helpers.played(team)[1]


def mixer_inputs(team, batch):
    """What QMIX's loss gives its mixer, written out: utilities of the actions taken [B,T,N] and states [B,T,S]."""
    q = team.utilities(team.agent, batch)[:, :-1]
    return q.gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1), batch.state[:, :-1]


def entropy_written_out(team, batch, as_released=False):
    """Mean of H over real steps, step by step from the formula of the mixer."""
    q, state = mixer_inputs(team, batch)
    total = count = 0.0
    for b in range(len(batch)):
        for t in range(int(batch.length[b])):
            w1, w2 = team.mixer.w1(state[b, t]).abs().view(3, -1), team.mixer.w2(state[b, t]).abs()
            x = q[b, t].detach() @ w1 + team.mixer.b1(state[b, t])
            below = x.clamp(max=0)
            slope = torch.where(x > 0, 1.0, ((below.exp() - 1) if as_released else below).exp())
            p = (w1 * slope * w2).sum(-1)
            p = p / p.sum()
            total, count = total - (p * p.log()).sum() / math.log(3), count + 1
    return total / count


# ---- the loss ----


@pytest.mark.parametrize("as_released", [False, True])
def test_the_loss_is_qmixs_and_the_entropy(as_released):
    team, batch = case(entropy_weight=0.7, as_released=as_released)
    qmix = build(mc.QMIX)
    qmix.load_state_dict(team.state_dict())
    loss, metrics = team.loss(batch)
    td, qmix_metrics = qmix.loss(batch)
    entropy = entropy_written_out(team, batch, as_released)
    assert torch.equal(metrics["td_loss"], td) and all(torch.equal(metrics[k], v) for k, v in qmix_metrics.items())
    torch.testing.assert_close(metrics["entropy"], entropy)
    torch.testing.assert_close(loss, td + 0.7 * entropy)
    got, want = helpers.gradients(metrics["entropy"], team), helpers.gradients(entropy, team)
    for name, g in want.items():
        assert (g is None) == (got[name] is None)
        if g is not None:
            torch.testing.assert_close(got[name], g, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("as_released", [False, True])
def test_the_entropy_moves_the_mixer_alone_and_not_its_v(as_released):
    """The raw gradient of the regulariser; clipping, later, counts everything together."""
    team, batch = case(as_released=as_released)
    for name, g in helpers.gradients(team.loss(batch)[1]["entropy"], team).items():
        reached = g is not None and bool(g.abs().sum() > 0)
        assert reached is name.startswith(("mixer.w1", "mixer.w2", "mixer.b1")), name


def test_padded_steps_do_not_count():
    team, batch = case(entropy_weight=1.0)
    entropy = team.loss(batch)[1]["entropy"]
    assert torch.equal(team.loss(helpers.scrambled_padding(batch))[1]["entropy"], entropy)
    torch.testing.assert_close(team.loss(helpers.longer(batch, 4))[1]["entropy"], entropy)
    rows = sum(team.loss(batch[i : i + 1])[1]["entropy"] * batch.length[i] for i in range(len(batch)))
    torch.testing.assert_close(entropy, rows / batch.length.sum())


def test_the_agents_run_once_and_no_hook_stays():
    team, batch = case()
    passes = {"agent": 0, "target_agent": 0, "mixer": 0}
    for name in passes:
        team.get_submodule(name).register_forward_hook(lambda *_, name=name: passes.update({name: passes[name] + 1}))
    team.loss(batch)
    assert passes == {"agent": 1, "target_agent": 1, "mixer": 2}
    assert not team.mixer._forward_pre_hooks and not team.target_mixer._forward_pre_hooks


def test_the_loss_pushes_the_entropy_down():
    """On one batch, without the TD loss, the mixer learns to give one agent more than the others."""
    team, batch = case(entropy_weight=1.0)
    optimizer = torch.optim.Adam(team.mixer.parameters(), 1e-2)
    before = team.loss(batch)[1]["entropy"].item()
    for _ in range(40):
        loss, metrics = team.loss(batch)
        optimizer.zero_grad()
        (loss - metrics["td_loss"]).backward()
        optimizer.step()
    assert before > 0.95 and team.loss(batch)[1]["entropy"] < 0.7


# ---- lambda = 0 ----


def trained(kind, updates, world="two-step", **changes):
    env = mc.make(world, num_envs=4, device="cpu")
    settings = {"batch_size": 8, "replay_episodes": 40, "target_every": 20, **changes}
    team = kind(env.spec, kind.Config(**settings), seed=4, device="cpu")
    trainer = mc.Trainer(env, team, seed=4, eval_every=200)
    while trainer.context.updates_done < updates:
        trainer.fit(trainer.env_steps + 8, progress=False)
    return trainer


def test_without_the_entropy_it_is_qmix_bit_for_bit():
    """50 updates by the trainer: the same weights, targets, optimiser, replay and evaluations."""
    qmix, gre = trained(mc.QMIX, 50), trained(mc.QMIXGRE, 50, entropy_weight=0.0)
    assert qmix.context.updates_done == gre.context.updates_done >= 50
    one, two = qmix.algorithm.state_dict(), gre.algorithm.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    for a, b in zip(*(t.context.optimizers["main"].state.values() for t in (qmix, gre))):
        assert all(torch.equal(a[k], b[k]) for k in a if isinstance(a[k], torch.Tensor))
    assert torch.equal(qmix.context.buffer.rows.actions, gre.context.buffer.rows.actions)
    rows = [[{k: v for k, v in row.items() if k != "wall_time"} for row in t.run.history] for t in (qmix, gre)]
    assert rows[0] == rows[1]


def test_with_the_entropy_it_is_another_run():
    qmix, gre = trained(mc.QMIX, 5), trained(mc.QMIXGRE, 5, entropy_weight=1e-3)
    one, two = qmix.algorithm.mixer.state_dict(), gre.algorithm.mixer.state_dict()
    assert not any(torch.equal(one[k], two[k]) for k in one if k.startswith("w1"))
    assert "entropy" in gre.run.history[-1] and "td_loss" in gre.run.history[-1]


# ---- other mixers, other teams ----


class Own(nn.Module):
    """A reader's mixer: weights that depend on the state, and a curve."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Linear(4, 3)

    def forward(self, q, state):
        return (self.weight(state).exp() * q.tanh()).sum(-1)


def test_autograd_finds_the_slope_of_a_readers_mixer():
    team, batch = case(mixer=Own, entropy_weight=0.5)
    loss, metrics = team.loss(batch)
    q, state = mixer_inputs(team, batch)
    g = team.mixer.weight(state).exp() * (1 - q.detach().tanh() ** 2)
    want = mc.normalised_entropy(g)[batch.mask > 0].mean()
    torch.testing.assert_close(metrics["entropy"], want)
    got = helpers.gradients(metrics["entropy"], team)
    torch.testing.assert_close(got["mixer.weight.weight"], torch.autograd.grad(want, team.mixer.weight.weight)[0])
    assert all(g is None for name, g in got.items() if name.startswith("agent."))
    assert torch.isfinite(loss)


def test_a_sum_has_nothing_to_regularise():
    team, batch = case(mixer=SumMixer, entropy_weight=0.5)
    loss, metrics = team.loss(batch)
    assert metrics["entropy"] == 1.0
    one, two = helpers.gradients(loss, team), helpers.gradients(metrics["td_loss"], team)
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_team_of_one_learns_as_in_qmix():
    spec = helpers.OddWorld(agents=1).spec
    for as_released in (False, True):
        team = build(spec=spec, entropy_weight=0.5, as_released=as_released)
        _, batch = helpers.played(team, agents=1)
        loss, metrics = team.loss(batch)
        assert metrics["entropy"] == 0 and torch.equal(loss, metrics["td_loss"])
        grads = helpers.gradients(loss, team)
        assert all(torch.isfinite(g).all() for g in grads.values() if g is not None)


# ---- as released ----


def test_the_released_slope_gives_another_gradient():
    true, batch = case(entropy_weight=1.0)
    released = build(entropy_weight=1.0, as_released=True)
    released.load_state_dict(true.state_dict())
    q, state = mixer_inputs(true, batch)
    far, near = true.loss(batch)[1]["entropy"], released.loss(batch)[1]["entropy"]
    assert not torch.allclose(far, near, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        near, mc.normalised_entropy(monotonic_slope(true.mixer, q, state, as_released=True))[batch.mask > 0].mean()
    )
    one, two = helpers.gradients(far, true)["mixer.b1.weight"], helpers.gradients(near, released)["mixer.b1.weight"]
    assert (one - two).norm() > 0.1 * one.norm()


@pytest.mark.parametrize("mixer", [Own, SumMixer])
def test_the_released_slope_of_another_mixer_is_refused(mixer):
    with pytest.raises(ValueError, match=f"a formula for MonotonicMixer, not for {mixer.__name__}: leave it False"):
        build(mixer=mixer, as_released=True)
    build(mixer=lambda: MonotonicMixer(3, 4, embed=8), as_released=True)  # another size is the same formula


# ---- the rest of the house ----


def test_the_published_lambdas():
    for preset, weight, source in (
        ("gre", 1e-3, "qmix_GRE.yaml"),
        ("gre-5e-4", 5e-4, "Figure 8"),
        ("gre-3s5z", 1e-4, "README"),
    ):
        config = mc.QMIXGRE.Config.preset(preset)
        assert config.entropy_weight == weight and source in mc.QMIXGRE.Config.sources(preset)["entropy_weight"]
        qmix = dataclasses.asdict(mc.QMIX.Config.preset("pymarl"))
        assert {**dataclasses.asdict(config)} == {**qmix, "entropy_weight": weight, "as_released": False}
    assert mc.QMIXGRE.Config().entropy_weight == 1e-3
    with pytest.raises(ValueError, match="entropy_weight must be at least 0"):
        mc.QMIXGRE.Config(entropy_weight=-1.0)


def test_qmixs_presets_of_other_depth_and_map():
    one, deep = mc.QMIX.Config.preset("one-layer"), mc.QMIX.Config.preset("pymarl")
    assert one == dataclasses.replace(deep, hypernet_layers=1)
    hard, usual = mc.QMIX.Config.preset("pymarl2-6h_vs_8z"), mc.QMIX.Config.preset("pymarl2")
    assert (hard.lam, hard.epsilon.steps) == (0.3, 500_000) and (usual.lam, usual.epsilon.steps) == (0.6, 100_000)
    assert "one-layer" not in mc.IQL.Config.presets


def test_a_team_is_saved_and_loaded(tmp_path):
    for team in (build(entropy_weight=0.25, as_released=True), build(mc.QMIXSimple)):
        mc.save_team(team, tmp_path / "team.pt")
        loaded = mc.load_team(tmp_path / "team.pt", device="cpu")
        assert type(loaded) is type(team) and loaded.config == team.config
        assert all(torch.equal(a, b) for a, b in zip(team.state_dict().values(), loaded.state_dict().values()))


@pytest.mark.parametrize("as_released", [False, True])
def test_members_of_an_ensemble_step_as_alone(as_released):
    env = mc.make("two-step", num_envs=8, device="cpu")
    config = mc.QMIXGRE.Config.preset("two-step", entropy_weight=0.5, as_released=as_released, grad_clip=None)
    members = mc.Ensemble(lambda seed: mc.QMIXGRE(env.spec, config, seed=seed, device="cpu"), range(2))
    alone = mc.QMIXGRE(env.spec, config, seed=1, device="cpu")
    batch = mc.Collector(env, alone, 0).collect()
    losses, metrics = members.step("main", "loss", batch)
    ctx = Context(env, alone, 0)
    logged = ctx.step("main", alone.loss, batch)
    torch.testing.assert_close(losses[1], logged["main_loss"])
    torch.testing.assert_close(metrics["entropy"][1], logged["entropy"])
    for a, b in zip(alone.state_dict().values(), members.member(1).state_dict().values()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.learning
@pytest.mark.parametrize("seed", range(3))
def test_gre_finds_the_8_of_the_two_step_game(seed):
    env = mc.make("two-step", num_envs=32, device="cpu")
    team = mc.QMIXGRE(env.spec, mc.QMIXGRE.Config.preset("two-step"), seed=seed, device="cpu")
    run = mc.Trainer(env, team, seed=seed, eval_every=10_000).fit(10_000, progress=False)
    assert run.history[-1]["return_mean"] == 8.0
