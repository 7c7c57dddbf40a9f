"""MNMPG: which parameters each step moves, what is scored, the three readings of the meta-gradient, and every ablation."""

import copy
import dataclasses
import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

import marlcourse as mc
from marlcourse.course.meta_study import (
    ascent,
    known_game,
    literal_meta_loss,
    meta_pairs,
    released_meta_loss,
    signal_to_noise,
)
from marlcourse.exploration import constant
from marlcourse.nets.hierarchy import VARIANCE_FLOOR, GaussianEncoder, HierarchicalMixer
from marlcourse.nets.mixers import MonotonicMixer
from marlcourse.rollout import Context
from marlcourse.seeds import derive_seed
from marlcourse.targets import masked_mean, td_lambda

_spec = importlib.util.spec_from_file_location("worlds_for_tests", Path(__file__).with_name("worlds_for_tests.py"))
helpers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helpers)

SPEC = helpers.OddWorld().spec
SMALL = {"hidden": 16, "epsilon": constant(0.5), "batch_size": 8, "replay_episodes": 64, "meta_interval": 1}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def build(seed=0, **changes):
    """A small MNMPG whose target networks differ from the online ones."""
    parts = {k: changes.pop(k) for k in ("agent", "mixer") if k in changes}
    algorithm = mc.MNMPG(SPEC, mc.MNMPG.Config(**{**SMALL, **changes}), seed=seed, device="cpu", **parts)
    g = generator(seed)
    with torch.no_grad():
        for name, p in algorithm.named_parameters():
            if name.startswith("target_"):
                p += 0.3 * torch.randn(p.shape, generator=g)
    return algorithm


def case(worlds=12, **changes):
    """(algorithm, batch with both a stored z and fresh noise)."""
    algorithm = build(**changes)
    batch = helpers.played(algorithm, worlds)[1]
    return algorithm, algorithm.with_noise(algorithm.with_z(batch, generator(1)), generator(2))


def context(worlds=8, **changes):
    algorithm = build(**changes)
    return algorithm, Context(helpers.OddWorld(worlds), algorithm, 0)


def weights(algorithm):
    return {k: v.clone() for k, v in algorithm.state_dict().items()}


def moved(algorithm, before):
    """Names of the parameters that are no longer bit for bit what they were."""
    return {k for k, v in algorithm.state_dict().items() if not torch.equal(v, before[k])}


def names(algorithm, *prefixes):
    return {k for k in algorithm.state_dict() if k.startswith(prefixes)}


THETA, PHI, ZETA = "mixer.encoder.", "agent.", ("mixer.decoder.", "mixer.mixer.")


# ---- facts 6.4: what each step moves ----


def test_1_the_meta_step_moves_theta_and_nothing_else():
    algorithm, ctx = context(meta_lr=1e-2)
    batch = algorithm.with_z(ctx.collect(), ctx.generator)
    before = weights(algorithm)
    ctx.step("meta", algorithm.meta_loss(batch, torch.tensor(0.7))[0])
    assert moved(algorithm, before) == names(algorithm, THETA)


def test_exercise_updates_move_phi_and_zeta_and_leave_theta():
    algorithm, ctx = context()
    batch = algorithm.with_z(ctx.collect(), ctx.generator)
    before = weights(algorithm)
    for _ in range(3):
        ctx.step("main", algorithm.exercise_loss, batch)
    assert moved(algorithm, before) == names(algorithm, PHI, *ZETA)


def test_2_no_improvement_is_no_step_and_the_opposite_improvement_the_opposite_step():
    steps = {}
    for r in (0.0, 0.7, -0.7):
        algorithm, ctx = context(meta_lr=1e-2)
        batch = algorithm.with_z(ctx.collect(), ctx.generator)
        before = torch.cat([p.detach().flatten().clone() for p in algorithm.mixer.encoder.parameters()])
        ctx.step("meta", algorithm.meta_loss(batch, torch.tensor(r))[0])
        steps[r] = torch.cat([p.detach().flatten() for p in algorithm.mixer.encoder.parameters()]) - before
    assert (steps[0.0] == 0).all()
    assert steps[0.7].abs().max() > 1e-3
    torch.testing.assert_close(steps[-0.7], -steps[0.7], rtol=1e-4, atol=1e-7)


def test_a_good_z_becomes_more_probable():
    algorithm, ctx = context(meta_lr=1e-3)
    batch = algorithm.with_z(ctx.collect(), ctx.generator)
    before = algorithm.score(batch).mean()
    ctx.step("meta", algorithm.meta_loss(batch, torch.tensor(1.0))[0])
    assert algorithm.score(batch).mean() > before
    direction = algorithm.meta_gradient(batch, torch.tensor(2.0))
    torch.testing.assert_close(direction, 2 * ascent(-algorithm.score(batch).mean(), algorithm.mixer.encoder))


def plain_schedule(ctx, algorithm):
    """QMIX_large, written out: Algorithm 1 without its meta step, with one optimiser for all networks."""
    c = algorithm.config

    def copy_when_due():
        if ctx.updates_done % c.target_every == 0:
            algorithm.target_agent.load_state_dict(algorithm.agent.state_dict())
            algorithm.target_mixer.load_state_dict(algorithm.mixer.state_dict())

    def update(loss, batch):
        ctx.step("main", loss, batch)
        copy_when_due()

    d0 = ctx.collect()
    mean, std = algorithm.mixer.encoder(d0.states[:, :-1])
    z = (mean + std * torch.randn(mean.shape, generator=ctx.generator)).detach()
    for _ in range(c.exercise_updates):
        update(lambda batch: algorithm.td_loss(batch, z), d0)
    d1 = ctx.collect()
    ctx.updates_done += 1  # where the meta step was
    copy_when_due()
    ctx.buffer.add(d0)
    ctx.buffer.add(d1)
    for _ in range(c.exercise_updates):
        update(algorithm.loss, algorithm.with_noise(ctx.buffer.sample(c.batch_size, ctx.generator), ctx.generator))
    ctx.buffer.add(ctx.collect())
    batch = ctx.buffer.sample(c.batch_size, ctx.generator)
    update(algorithm.loss, algorithm.with_noise(batch, ctx.generator))


def test_3_without_a_meta_learning_rate_it_is_qmix_large_bit_for_bit():
    zero, zero_ctx = context(meta_lr=0.0, target_every=7)
    large, large_ctx = context(meta_lr=0.0, target_every=7)
    full, full_ctx = context(meta_lr=1e-3, target_every=7)
    large_ctx.optimizers.pop("meta")
    for _ in range(4):
        zero.iterate(zero_ctx)
        full.iterate(full_ctx)
        plain_schedule(large_ctx, large)
    assert not moved(zero, large.state_dict())
    assert moved(full, large.state_dict())
    assert torch.equal(zero_ctx.generator.get_state(), large_ctx.generator.get_state())


@pytest.mark.parametrize("reaches", [True, False])
def test_4_td_reaches_theta_unless_it_is_blocked(reaches):
    algorithm, batch = case(td_reaches_encoder=reaches)
    found = helpers.gradients(algorithm.loss(batch)[0], algorithm)
    for name, g in found.items():
        reached = g is not None and bool(g.abs().sum() > 0)
        assert reached is (reaches or not name.startswith(THETA)), name
    ordinary, ctx = context(td_reaches_encoder=reaches, meta_lr=0.0, batch_size=4)
    before = weights(ordinary)
    ordinary.iterate(ctx)
    assert (names(ordinary, THETA) <= moved(ordinary, before)) is reaches


def test_4_the_exercise_loss_never_reaches_theta():
    algorithm, batch = case()
    found = helpers.gradients(algorithm.exercise_loss(batch)[0], algorithm)
    assert all((g is None) is name.startswith(THETA) for name, g in found.items())


@pytest.mark.parametrize("mix_state", [True, False])
def test_5_without_s_the_mixer_sees_the_state_through_z_alone(mix_state):
    algorithm = build(mix_state=mix_state)
    q, z, s, other = torch.randn(50, 3), torch.randn(50, 3), torch.randn(50, 4), torch.randn(50, 4)
    assert torch.equal(algorithm.mixer(q, s, z), algorithm.mixer(q, other, z)) is not mix_state
    assert not torch.equal(algorithm.mixer(q, s), algorithm.mixer(q, other)), "p(z | s) still depends on s"
    assert not torch.equal(algorithm.mixer(q, s, z), algorithm.mixer(q, s, z + 1))


@pytest.mark.parametrize("mix_state", [True, False])
def test_6_the_mixer_is_monotone_for_any_hierarchy(mix_state):
    algorithm = build(mix_state=mix_state)
    with torch.no_grad():
        for p in algorithm.mixer.decoder.parameters():
            p.normal_(0, 3, generator=generator())
    q = torch.randn(500, 3, requires_grad=True)
    q_tot = algorithm.mixer(q, 3 * torch.randn(500, 4), 10 * torch.randn(500, 3))
    slope = torch.autograd.grad(q_tot.sum(), q)[0]
    assert (slope >= 0).all() and (slope > 0).any()


DRAWS = 10_000


def toy():
    """(algorithm in double precision, one episode 10,000 times, R(z) per row, the true gradient of E[R] / T).

    R is a known function of the whole hierarchy of an episode, with E[R] in closed form: R = sum_t w_t . z_t + 0.3 |z_t|^2.
    """
    algorithm = build().double()
    row = helpers.played(build())[1]
    row = row[row.length.argmax().view(1)]
    row = dataclasses.replace(row, state=row.state.double(), mask=row.mask.double(), reward=row.reward.double())
    row = dataclasses.replace(row, state=row.state / row.state.abs().amax(1, keepdim=True).clamp(min=1))
    w = torch.randn(row.reward.shape[1], 3, generator=generator(3), dtype=torch.double)

    def expected():
        mean, std = algorithm.mixer.encoder(row.states[:, :-1])
        return (w * mean + 0.3 * (mean**2 + std**2)).sum() / row.reward.shape[1]

    differences, h = [], 1e-5
    with torch.no_grad():
        for p in algorithm.mixer.encoder.parameters():
            for i in range(p.numel()):
                values = []
                for sign in (1, -1):
                    p.view(-1)[i] += sign * h
                    values.append(expected())
                    p.view(-1)[i] -= sign * h
                differences.append((values[0] - values[1]) / (2 * h))
    batch = row[torch.zeros(DRAWS, dtype=torch.long)]
    return algorithm, batch, lambda z: (w * z + 0.3 * z**2).sum((1, 2)), torch.stack(differences)


def test_7_with_the_stored_z_the_estimate_is_the_gradient_and_with_a_redrawn_one_it_is_noise():
    algorithm, batch, reward, truth = toy()
    drawn = algorithm.with_z(batch, generator(4))
    again = algorithm.with_z(batch, generator(5))
    r = reward(drawn.extras["z"])
    groups = torch.arange(DRAWS).view(100, 100)
    stored, redrawn = (torch.stack([algorithm.meta_gradient(b[g], r[g]) for g in groups]) for b in (drawn, again))

    def along(estimates):  # in the direction of the true gradient: (mean, standard error)
        x = estimates @ (truth / truth.norm())
        return float(x.mean()), float(x.std() / len(x) ** 0.5)

    (mean, error), (other, other_error) = along(stored), along(redrawn)
    assert abs(mean - truth.norm()) < 3 * error and mean > 5 * error
    assert abs(other) < 3 * other_error
    z = (stored.mean(0) - truth) / (stored.std(0) / 10).clamp(min=1e-12)
    assert z.abs().max() < 4.5 and torch.cosine_similarity(stored.mean(0), truth, 0) > 0.95
    assert abs(torch.cosine_similarity(redrawn.mean(0), truth, 0)) < 0.5


def test_8_execution_needs_phi_alone():
    algorithm = build(epsilon=constant(0.0))
    _, batch = helpers.played(algorithm, 20)
    alone = copy.deepcopy(algorithm)
    del alone.mixer, alone.target_mixer, alone.target_agent
    assert torch.equal(helpers.played(alone, 20)[1].actions, batch.actions)


# ---- what is scored is what was used ----


def test_one_z_serves_all_exercise_updates_and_the_score(monkeypatch):
    algorithm, ctx = context()
    used, scored = [], []
    exercise, score = algorithm.exercise_loss, algorithm.score
    monkeypatch.setattr(algorithm, "exercise_loss", lambda b: (used.append(b.extras["z"]), exercise(b))[1])
    monkeypatch.setattr(algorithm, "score", lambda b: (scored.append(b.extras["z"]), score(b))[1])
    algorithm.iterate(ctx)
    assert len(used) == algorithm.config.exercise_updates == 4 and len(scored) == 1
    assert all(torch.equal(z, scored[0]) for z in used)


def test_z_is_drawn_from_the_state_and_reaches_the_exercised_team():
    """The only road from theta to R1: another z, another team after the exercise."""
    teams = []
    for shift in (0.0, 1.0):
        algorithm, ctx = context()
        d0 = algorithm.with_z(ctx.collect(), ctx.generator)
        mean, std = algorithm.mixer.encoder(d0.states[:, :-1])
        standard = ((d0.extras["z"] - mean) / std)[d0.mask > 0]
        assert standard.mean().abs() < 0.3 and 0.8 < standard.std() < 1.2 and not d0.extras["z"].requires_grad
        d0.extras["z"] += shift
        ctx.step("main", algorithm.exercise_loss, d0)
        teams.append(weights(algorithm))
    assert any(not torch.equal(teams[0][k], teams[1][k]) for k in teams[0] if k.startswith(PHI))


def test_the_literal_reading_reaches_the_agents_and_is_exactly_zero_for_theta():
    algorithm, batch = case()
    loss = literal_meta_loss(algorithm, batch, torch.tensor(3.0))
    assert ascent(loss, algorithm.agent).abs().sum() > 0
    assert (ascent(loss, algorithm.mixer.encoder) == 0).all()
    assert (ascent(loss, algorithm.mixer) == 0).all()


def test_the_literal_reading_written_out():
    algorithm, batch = case(4)
    q, total = algorithm.utilities(algorithm.agent, batch), 0.0
    for b in range(4):
        n = int(batch.length[b])
        log_pi = sum(q[b, t, i].log_softmax(-1)[batch.actions[b, t, i]] for t in range(n) for i in range(3))
        total += log_pi / n
    torch.testing.assert_close(literal_meta_loss(algorithm, batch, torch.tensor(2.0)), -2 * total / 4)


def test_the_released_reading_scores_another_z_than_was_used():
    algorithm, batch = case()
    loss = released_meta_loss(algorithm, batch, torch.tensor(1.0), generator(7))
    assert loss != algorithm.meta_loss(batch, torch.tensor(1.0))[0]
    torch.testing.assert_close(loss, algorithm.meta_loss(algorithm.with_z(batch, generator(7)), torch.tensor(1.0))[0])


def test_score_and_meta_loss_written_out():
    algorithm, batch = case(5)
    r = torch.randn(5)
    total = 0.0
    for b in range(5):
        n = int(batch.length[b])
        mean, std = algorithm.mixer.encoder(batch.state[b, :n])
        log_p = torch.distributions.Normal(mean, std).log_prob(batch.extras["z"][b, :n]).sum(-1).mean()
        torch.testing.assert_close(algorithm.score(batch)[b], log_p)
        total += r[b] * log_p
    torch.testing.assert_close(algorithm.meta_loss(batch, r)[0], -total / 5)


# ---- returns ----


@pytest.mark.parametrize("pair", [True, False])
@pytest.mark.parametrize("per_step", [True, False])
def test_improvement_is_one_number_or_one_per_episode_and_may_be_per_step(pair, per_step):
    algorithm, d0 = case(pair_episodes=pair, return_per_step=per_step)
    d1 = helpers.played(algorithm, seed=1)[1]
    garbage = dataclasses.replace(d0, reward=torch.where(d0.mask > 0, d0.reward, 1e6))
    want = []
    for one, two in zip(range(12), range(12)):
        n0, n1 = int(d0.length[one]), int(d1.length[two])
        r0, r1 = d0.reward[one, :n0].sum(), d1.reward[two, :n1].sum()
        want.append(r1 / n1 - r0 / n0 if per_step else r1 - r0)
    want = torch.stack(want)
    assert d0.length.max() != d0.length.min()
    torch.testing.assert_close(algorithm.improvement(garbage, d1), want if pair else want.mean())


def test_pairing_episodes_has_the_same_mean_and_more_noise():
    """All z of D0 act on the one team that plays D1: every episode of it carries the same signal and noise of its own."""
    algorithm, batch, reward, _ = toy()
    usual = reward(algorithm.with_z(batch, generator(6)).extras["z"]).mean()
    drawn, size = algorithm.with_z(batch, generator(4)), 16
    estimates = {"paired": [], "mean": []}
    for g in torch.arange(300 * size).view(300, size):
        one = drawn[g]
        signal = reward(one.extras["z"]).mean() - usual  # R1 - R0
        r = signal + 3 * torch.randn(size, generator=generator(int(g[0])), dtype=torch.double)
        estimates["paired"].append(algorithm.meta_gradient(one, r))
        estimates["mean"].append(algorithm.meta_gradient(one, r.mean()))
    paired, mean = (torch.stack(estimates[k]) for k in ("paired", "mean"))
    difference = (paired - mean).mean(0) / ((paired - mean).std(0) / 300**0.5).clamp(min=1e-12)
    assert difference.abs().max() < 4.5, "the same mean"
    assert paired.var(0).sum() > 4 * mean.var(0).sum()


# ---- losses ----


@pytest.mark.parametrize("loss", ["loss", "exercise_loss"])
@pytest.mark.parametrize("lam", [0.0, 0.6])
def test_td_loss_written_out(loss, lam):
    algorithm, batch = case(lam=lam)
    mean, std = algorithm.mixer.encoder(batch.state[:, :-1])
    z = batch.extras["z"] if loss == "exercise_loss" else mean + std * batch.extras["noise"]
    q, q_target = algorithm.utilities(algorithm.agent, batch), algorithm.utilities(algorithm.target_agent, batch)
    after = q_target[:, 1:].gather(-1, q[:, 1:].argmax(-1, keepdim=True)).squeeze(-1)
    target_mean = algorithm.target_mixer.encoder(batch.state[:, 1:])[0]
    assert not torch.allclose(target_mean, algorithm.mixer.encoder(batch.state[:, 1:])[0], atol=1e-2)
    y = td_lambda(
        batch.reward,
        batch.terminated,
        algorithm.target_mixer(after, batch.state[:, 1:], target_mean),
        batch.mask,
        0.99,
        lam,
    ).detach()
    chosen = q[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
    e = algorithm.mixer.decoder(z)
    q_tot = algorithm.mixer.mixer(chosen, torch.cat([batch.state[:, :-1], e], -1))
    torch.testing.assert_close(getattr(algorithm, loss)(batch)[0], masked_mean((q_tot - y) ** 2, batch.mask))


LOSSES = {
    "loss": lambda a, b: a.loss(b)[0],
    "exercise": lambda a, b: a.exercise_loss(b)[0],
    "meta": lambda a, b: a.meta_loss(b, torch.tensor(0.5))[0],
    "literal": lambda a, b: literal_meta_loss(a, b, torch.tensor(0.5)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_stands_in_padding_changes_no_bit(name):
    algorithm, batch = case(lam=0.6)
    other = helpers.scrambled_padding(batch)
    pad = (batch.mask == 0).unsqueeze(-1)
    other.extras = {k: torch.where(pad, torch.full_like(v, 7.0), v) for k, v in batch.extras.items()}
    a, b = LOSSES[name](algorithm, batch), LOSSES[name](algorithm, other)
    assert torch.equal(a, b) and (batch.mask == 0).any()
    one, two = helpers.gradients(a, algorithm), helpers.gradients(b, algorithm)
    for key in one:
        assert (one[key] is None and two[key] is None) or torch.equal(one[key], two[key]), key


@pytest.mark.parametrize("name", ["loss", "exercise_loss"])
@pytest.mark.parametrize("rows", [1, 3])
def test_chunks_carry_their_own_hierarchy(name, rows):
    found = []
    for chunk in (None, rows):
        algorithm, ctx = context(chunk_rows=chunk, grad_clip=None)
        batch = algorithm.with_noise(algorithm.with_z(ctx.collect(), generator(1)), generator(2))
        ctx.step("main", getattr(algorithm, name), batch)
        found.append({n: p.grad for n, p in algorithm.named_parameters() if p.requires_grad and p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for key, g in found[0].items():
        torch.testing.assert_close(found[1][key], g, msg=key, rtol=0, atol=1e-5 * float(g.abs().max()) + 1e-9)


# ---- the schedule, and every option ----


def counted(algorithm, ctx, monkeypatch):
    """The optimiser steps and collects of one iterate, in order: a letter each."""
    letters, step, collect = [], ctx.step, ctx.collect

    def stepping(name, loss, batch=None):
        if batch is None:
            letters.append("M")
        else:
            letters.append("x" if loss.__name__ == "exercise_loss" else "u")
        return step(name, loss, batch)

    monkeypatch.setattr(ctx, "step", stepping)
    monkeypatch.setattr(ctx, "collect", lambda episodes=None: (letters.append(f"C{episodes or ''}"), collect(episodes))[1])
    algorithm.iterate(ctx)
    return " ".join(letters)


def test_the_schedule_is_algorithm_1(monkeypatch):
    algorithm, ctx = context(exercise_updates=3, updates_per_collect=2)
    assert counted(algorithm, ctx, monkeypatch) == "C x x x C M u u u C u u"
    assert ctx.buffer.added == 24 and not ctx.buffer.rows.extras, "D0 and D1 are kept whole, without their z"


def test_exercise_updates_and_meta_episodes(monkeypatch):
    algorithm, ctx = context(exercise_updates=1, meta_episodes=16)
    assert counted(algorithm, ctx, monkeypatch) == "C16 x C16 M u C u"
    assert ctx.buffer.added == 40


def test_ordinary_updates_wait_until_the_replay_holds_a_batch(monkeypatch):
    algorithm, ctx = context(worlds=2, batch_size=6)
    assert counted(algorithm, ctx, monkeypatch) == "C x x x x C M C u"


@pytest.mark.parametrize("interval", [500, 1000, 2000])
def test_the_meta_interval_is_counted_from_the_end_of_the_meta_round(interval, monkeypatch):
    algorithm, ctx = context(worlds=100, meta_interval=interval, batch_size=64, episodes_per_collect=None)
    lengths, collect = [], ctx.collect
    monkeypatch.setattr(ctx, "collect", lambda episodes=None: (b := collect(episodes), lengths.append(int(b.length.sum())))[0])
    algorithm.iterate(ctx)
    ordinary = lengths[2:]
    assert interval <= sum(ordinary) < interval + ordinary[-1]
    assert ctx.env_steps == sum(lengths)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_the_size_of_the_hierarchy(k):
    algorithm, ctx = context(z_dim=k)
    assert algorithm.with_z(ctx.collect(), ctx.generator).extras["z"].shape[-1] == k
    assert algorithm.mixer.decoder[0].in_features == k
    algorithm.iterate(ctx)


def test_encoder_hidden_embed_and_hypernet_layers_set_the_networks():
    mixer = build(encoder_hidden=5, embed=8, hypernet_layers=1).mixer
    assert mixer.encoder.net[0].out_features == 5 and mixer.mixer.embed == 8 and isinstance(mixer.mixer.w1, nn.Linear)


def test_every_option_is_tested():
    here = {f.name for f in dataclasses.fields(mc.MNMPG.Config)} - {f.name for f in dataclasses.fields(mc.QMIX.Config)}
    assert here == {
        "z_dim", "encoder_hidden", "meta_lr", "meta_interval", "meta_episodes", "exercise_updates", "td_reaches_encoder",
        "mix_state", "pair_episodes", "return_per_step",
    }, "an option was added: test its other value above"  # fmt: skip


@pytest.mark.parametrize("option", [{"pair_episodes": True}, {"return_per_step": True}, {"meta_lr": 1e-2}])
def test_options_of_the_meta_step_change_theta(option):
    teams = []
    for changes in ({}, option):
        algorithm, ctx = context(td_reaches_encoder=False, **changes)
        algorithm.iterate(ctx)
        teams.append(algorithm)
    changed = moved(teams[0], teams[1].state_dict())
    assert names(teams[0], THETA) & changed


def test_targets_are_copied_every_so_many_optimiser_steps_meta_steps_included():
    """With a copy due at the fifth step, which is the first meta step, the exercised networks are copied there."""
    algorithm, ctx = context(target_every=5, exercise_updates=4, batch_size=64)  # no ordinary update before 64 episodes
    algorithm.iterate(ctx)
    assert ctx.updates_done == 5
    for name in ("agent", "mixer"):
        online, target = getattr(algorithm, name).state_dict(), getattr(algorithm, f"target_{name}").state_dict()
        assert all(torch.equal(online[k], target[k]) for k in online), name


def test_ordinary_updates_draw_z_anew():
    algorithm, ctx = context()
    ctx.buffer.add(ctx.collect())
    one, two = algorithm.batches(ctx, 2)
    assert one.extras["noise"].shape == (*one.reward.shape, 3)
    steps = min(one.reward.shape[1], two.reward.shape[1])
    assert not torch.equal(one.extras["noise"][:, :steps], two.extras["noise"][:, :steps])


def test_metrics_have_the_same_names_in_every_round():
    algorithm, ctx = context(batch_size=64)
    first = algorithm.iterate(ctx).keys()
    for _ in range(2):
        last = algorithm.iterate(ctx).keys()
    assert ctx.buffer.added >= 64 and first == last >= {"improvement", "log_p", "main_loss", "meta_grad_norm", "q_tot"}


def test_no_part_of_the_meta_round_waits_for_a_card(monkeypatch):
    """On PyTorch's "meta" device, which has shapes but no numbers, looking at a value fails at once (see test_sync_free)."""
    _, batch = case()
    card = torch.device("meta")
    monkeypatch.setattr(mc.core, "pick_device", lambda device=None: card)
    algorithm, batch = mc.MNMPG(SPEC, mc.MNMPG.Config(**SMALL)), batch.to(card)
    drawn = algorithm.with_noise(algorithm.with_z(batch, generator()), generator())
    assert algorithm.improvement(batch, batch).device == drawn.extras["z"].device == card
    for loss in LOSSES.values():
        loss(algorithm, drawn).backward()
    assert all(p.grad is not None for p in algorithm.mixer.parameters())
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(algorithm.improvement(batch, batch) > 0)


# ---- networks ----


def test_encoder_and_its_floor():
    encoder = GaussianEncoder(4, 3, 16)
    s, z = torch.randn(20, 4), torch.randn(20, 3)
    mean, std = encoder(s)
    want = torch.distributions.Normal(mean, std).log_prob(z).sum(-1)
    torch.testing.assert_close(encoder.log_prob(s, z), want)
    with torch.no_grad():
        encoder.net[-1].bias[3:] = -100
    torch.testing.assert_close(encoder(s)[1], torch.full((20, 3), VARIANCE_FLOOR**0.5))


def test_without_a_z_the_mixer_takes_the_mean_and_no_row_sees_another():
    mixer = HierarchicalMixer(3, 4)
    q, s = torch.randn(20, 3), torch.randn(20, 4)
    assert torch.equal(mixer(q, s), mixer(q, s, mixer.encoder(s)[0]))
    torch.testing.assert_close(mixer(q, s)[:1], mixer(q[:1], s[:1]))  # a BatchNorm would fail here
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in mixer.modules())


def test_a_mixer_without_an_encoder_is_refused_in_one_sentence_and_a_subclass_is_taken():
    with pytest.raises(ValueError, match="must be a HierarchicalMixer or a subclass, not MonotonicMixer"):
        build(mixer=MonotonicMixer(3, 4))

    class Mine(HierarchicalMixer):
        pass

    algorithm, ctx = context(mixer=lambda: Mine(3, 4))
    algorithm.iterate(ctx)
    assert isinstance(algorithm.target_mixer, Mine)


@pytest.mark.parametrize("preset", ["paper", "release", "two-step"])
def test_presets_name_their_sources(preset):
    config, sources = mc.MNMPG.Config.preset(preset), mc.MNMPG.Config.sources(preset)
    assert config.z_dim == 3 and config.meta_lr == 5e-5 and "qyz55/MNMPG" in sources["meta_lr"]
    if preset == "release":
        assert config.meta_interval == 1000 and config.meta_episodes == 32 and config.pair_episodes
    else:
        assert config.meta_interval == 500


# ---- runs ----


def trainer(run_dir=None, **changes):
    env = mc.make("two-step", num_envs=4, device="cpu")
    settings = {"hidden": 8, "batch_size": 8, "replay_episodes": 30, "target_every": 5, "meta_interval": 20, **changes}
    algorithm = mc.MNMPG(env.spec, mc.MNMPG.Config(**settings), device="cpu")
    return mc.Trainer(env, algorithm, seed=3, run_dir=run_dir, eval_every=60, eval_episodes=4)


def plain(value):
    """Nested tensors as lists, so that == compares bits."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def everything(t):
    c = t.context
    return plain(
        {
            "weights": t.algorithm.state_dict(),
            "optimisers": {k: o.state_dict() for k, o in c.optimizers.items()},
            "generators": [c.generator.get_state(), c.collector.generator.get_state()],
            "counters": [t.env_steps, c.updates_done, c.collector.resets, t.count, t.next_eval],
            "replay": [vars(c.buffer.rows), c.buffer.added],
            "history": [{k: repr(v) for k, v in row.items() if k != "wall_time"} for row in t.run.history],
        }
    )


def test_going_on_equals_never_having_stopped(tmp_path):
    whole = trainer()
    whole.fit(240, progress=False)
    trainer(tmp_path).fit(110, progress=False)
    again = mc.Trainer.resume(tmp_path, mc.make("two-step", num_envs=4, device="cpu"))
    assert 0 < again.env_steps < 240
    again.fit(240, progress=False)
    assert everything(again) == everything(whole)
    assert again.context.buffer.added > again.context.buffer.capacity and "improvement" in again.run.history[-1]


def test_a_meta_loss_that_is_not_finite_stops_the_run_before_theta_is_touched(monkeypatch):
    t = trainer()
    before = weights(t.algorithm)
    monkeypatch.setattr(t.algorithm, "improvement", lambda d0, d1: torch.tensor(float("nan")))
    with pytest.raises(FloatingPointError, match="the meta loss became nan"):
        t.fit(100, progress=False)
    assert not names(t.algorithm, THETA) & moved(t.algorithm, before)


# ---- measuring the meta-gradient ----


def test_meta_pairs_are_repeatable_and_leave_the_trainer_as_it_was():
    t = trainer()
    t.fit(60, progress=False)
    before = everything(t)
    one, two = meta_pairs(t, 3, seed=1), meta_pairs(t, 4, seed=1)
    assert everything(t) == before
    size = sum(p.numel() for p in t.algorithm.mixer.encoder.parameters())
    assert one.stored.shape == one.redrawn.shape == one.literal.shape == (3, size) and one.improvement.shape == (3,)
    for f in dataclasses.fields(one):
        assert torch.equal(getattr(one, f.name), getattr(two, f.name)[:3])
    assert len(set(two.improvement.tolist())) > 1 and (one.literal == 0).all()
    assert not torch.equal(one.stored, one.redrawn)


def test_a_pair_is_what_iterate_does_until_its_meta_step(monkeypatch):
    """With the trainer's networks, optimiser and clock: epsilon has fallen, and RMSprop knows its gradients."""
    t = trainer(epsilon=mc.Schedule(1.0, 0.0, 100))
    t.fit(60, progress=False)
    exercised, loss = [], mc.MNMPG.exercise_loss
    monkeypatch.setattr(mc.MNMPG, "exercise_loss", lambda self, b: (exercised.append(self), loss(self, b))[1])
    (pair,) = meta_pairs(t, 1, seed=0).stored
    assert len(exercised) == t.algorithm.config.exercise_updates
    team, seed = copy.deepcopy(t.algorithm), derive_seed(0, "pair", 0)
    ctx = Context(t.env.fresh(num_envs=4, seed=seed), team, seed)
    ctx.env_steps = t.env_steps
    ctx.optimizers["main"].load_state_dict(copy.deepcopy(t.context.optimizers["main"].state_dict()))
    measured, seen, meta_loss = exercised[-1], [], team.meta_loss

    def watched(batch, r):
        seen.append(ascent(meta_loss(batch, r)[0], team.mixer.encoder))
        assert not moved(team, measured.state_dict()), "exercised alike"
        return meta_loss(batch, r)

    monkeypatch.setattr(team, "meta_loss", watched)
    team.iterate(ctx)
    assert torch.equal(seen[0], pair) and pair.abs().sum() > 0


def test_meta_pairs_refuse_another_algorithm_and_no_pairs():
    env = mc.make("two-step", num_envs=4, device="cpu")
    with pytest.raises(TypeError, match="measures a marlcourse.MNMPG team, not a QMIX"):
        meta_pairs(mc.Trainer(env, mc.QMIX(env.spec, device="cpu")), 3)
    with pytest.raises(ValueError, match="pairs must be at least 1"):
        meta_pairs(trainer(), 0)


def test_signal_to_noise_finds_a_known_signal_and_none_in_noise():
    g = generator()
    noise = torch.randn(400, 50, generator=g)
    signal = torch.zeros(50)
    signal[0] = 2.0
    found, none = signal_to_noise(noise + signal), signal_to_noise(noise)
    assert found.ratio == pytest.approx(2 / 50**0.5, rel=0.1) and found.standard_errors > 10
    assert found.pairs_needed == pytest.approx(50 / 4, rel=0.25)
    assert abs(none.standard_errors) < 3 and none.ratio < 0.03
    zero = signal_to_noise(torch.zeros(5, 4))
    assert zero.ratio == 0 and zero.pairs_needed == float("inf") and zero.standard_errors == 0
    with pytest.raises(ValueError, match="at least 3 gradients, not 2"):
        signal_to_noise(noise[:2])


def test_noise_alone_is_called_noise_about_as_often_as_it_should():
    far = [abs(signal_to_noise(torch.randn(40, 30, generator=generator(i))).standard_errors) > 2 for i in range(200)]
    assert sum(far) < 25


@pytest.mark.parametrize("seed", range(3))
def test_where_the_return_is_known_the_stored_reading_learns_and_the_redrawn_one_wanders(seed):
    stored = known_game(lambda used, redraw: used, rounds=100, seed=seed)
    redrawn = known_game(lambda used, redraw: redraw(), rounds=100, seed=seed)
    assert stored.shape == (101,) and stored[0] == redrawn[0] < -3 and stored.max() < 0
    assert stored[-1] > 0.2 * stored[0]
    assert redrawn[-1] < 0.7 * redrawn[0]
    assert torch.equal(stored[:11], known_game(lambda used, redraw: used, rounds=10, seed=seed))
    assert stored[5] != known_game(lambda used, redraw: used, rounds=5, lr=0.02, seed=seed)[5]


# ---- learning ----


@pytest.mark.learning
@pytest.mark.parametrize("seed", range(3))
def test_two_step_game_on_uniform_data(seed):
    """As QMIX: the 8 behind state 2. (On uniform data R1 - R0 is noise, so this is the TD half of the algorithm.)"""
    env = mc.make("two-step", num_envs=32, device="cpu")
    algorithm = mc.MNMPG(env.spec, mc.MNMPG.Config.preset("two-step"), seed=seed, device="cpu")
    run = mc.Trainer(env, algorithm, seed=seed, eval_every=12_000).fit(12_000, progress=False)
    assert run.history[-1]["return_mean"] == 8.0
