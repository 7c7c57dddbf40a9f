"""IQL, VDN, QMIX, weighted QMIX, QTRAN: their losses, targets, masks and options, on batches that the trainer collects."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

import marlcourse as mc
from marlcourse.core import EpisodeBatch
from marlcourse.exploration import Schedule, constant
from marlcourse.rollout import Context
from marlcourse.targets import masked_mean, td_lambda, td_target

_spec = importlib.util.spec_from_file_location("worlds_for_tests", Path(__file__).with_name("worlds_for_tests.py"))
helpers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helpers)

SPEC = helpers.OddWorld().spec
KINDS = [mc.IQL, mc.VDN, mc.QMIX, mc.QMIXSimple, mc.QMIXGRE, mc.OWQMIX, mc.CWQMIX, mc.QTRAN]
SMALL = {"hidden": 16, "epsilon": constant(1.0)}


def build(kind, seed=0, **changes):
    """A small algorithm whose target networks differ from the online ones, as they do between two copies."""
    parts = {k: changes.pop(k) for k in ("agent", "mixer") if k in changes}
    algorithm = kind(changes.pop("spec", SPEC), kind.Config(**{**SMALL, **changes}), seed=seed, device="cpu", **parts)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in algorithm.named_parameters():
            if name.startswith("target_"):
                p += 0.3 * torch.randn(p.shape, generator=generator)
    return algorithm


def case(kind, worlds=12, **changes):
    algorithm = build(kind, **changes)
    return algorithm, helpers.played(algorithm, worlds)[1]


def test_the_test_world_has_what_a_loss_can_get_wrong():
    _, batch = case(mc.QMIX)
    assert len(set(batch.length.tolist())) >= 4 and batch.mask.min() == 0
    assert batch.terminated.any() and batch.truncated.any()
    assert (batch.truncated.any(1) & (batch.length == 5)).any() and not batch.avail.all()
    assert (batch.avail.sum(-1) == 1).any()


# ---- masks ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lam", [0.0, 0.6])
@pytest.mark.parametrize("recurrent", [True, False])
def test_what_stands_in_padding_changes_no_bit(kind, lam, recurrent):
    algorithm, batch = case(kind, lam=lam, recurrent=recurrent)
    other = helpers.scrambled_padding(batch)
    assert not torch.equal(other.obs, batch.obs) and not torch.equal(other.reward, batch.reward)
    (a, metrics_a), (b, metrics_b) = algorithm.loss(batch), algorithm.loss(other)
    assert torch.equal(a, b)
    assert all(torch.equal(metrics_a[k], metrics_b[k]) for k in metrics_a)
    one, two = helpers.gradients(a, algorithm), helpers.gradients(b, algorithm)
    assert any(g is not None and g.abs().sum() > 0 for g in one.values())
    for name in one:
        assert (one[name] is None and two[name] is None) or torch.equal(one[name], two[name]), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_more_padding_gives_the_same_loss_and_gradient(kind, lam):
    """Truncated rows included: a recursion that starts at the end of the batch would read a padded value."""
    algorithm, batch = case(kind, lam=lam)
    (a, _), (b, _) = algorithm.loss(batch), algorithm.loss(helpers.longer(batch, 4))
    torch.testing.assert_close(a, b)
    one, two = helpers.gradients(a, algorithm), helpers.gradients(b, algorithm)
    for name, g in one.items():
        if g is not None:
            torch.testing.assert_close(g, two[name], msg=name, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_mean_over_real_steps_of_all_rows(kind):
    """Each row alone, weighted by its length: nothing of one row reaches another."""
    algorithm, batch = case(kind, lam=0.6)
    whole, _ = algorithm.loss(batch)
    rows = sum(algorithm.loss(batch[i : i + 1])[0] * batch.length[i] for i in range(len(batch)))
    torch.testing.assert_close(whole, rows / batch.length.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_rows_weigh_the_mean_and_change_no_target(kind):
    """A mask of 2 in a row is that row twice."""
    algorithm, batch = case(kind, worlds=4, lam=0.6)
    weighted = dataclasses.replace(batch, mask=batch.mask * torch.tensor([2.0, 1, 1, 1]).unsqueeze(1))
    twice = batch[torch.tensor([0, 0, 1, 2, 3])]
    torch.testing.assert_close(algorithm.loss(weighted)[0], algorithm.loss(twice)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_and_exploring_play_stay_available(kind):
    algorithm = build(kind)
    world = helpers.OddWorld(64)
    observation, carry = world.reset(seed=0), algorithm.initial_carry(64)
    for explore in (False, True):
        actions = algorithm.act(observation, carry, explore, torch.Generator().manual_seed(0)).actions
        assert observation.avail.gather(-1, actions.unsqueeze(-1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_unavailable_actions_never_enter_a_target(kind):
    """Making an unavailable action's value enormous, in every network, changes no loss."""
    algorithm, batch = case(kind, lam=0.6)
    closed = torch.zeros_like(batch.avail)
    closed[..., 0] = True
    avail = batch.avail & ~closed
    avail = avail | (~avail.any(-1, keepdim=True) & (torch.arange(4) == 1))
    batch = dataclasses.replace(batch, avail=avail, actions=batch.actions.clamp(min=1))
    before = algorithm.loss(batch)[0]
    with torch.no_grad():
        for name, p in algorithm.named_parameters():
            if name.endswith("agent.head.bias"):
                p[0] = 1e4
    assert torch.equal(algorithm.loss(batch)[0], before)


# ---- acting and learning see the same network ----


@pytest.mark.parametrize("recurrent, last_action", [(True, True), (True, False), (False, True), (False, False)])
def test_values_in_the_loss_are_those_seen_when_acting(recurrent, last_action):
    algorithm = build(mc.QMIX, recurrent=recurrent, last_action=last_action, epsilon=constant(0.0))
    _, batch = helpers.played(algorithm)
    q = algorithm.utilities(algorithm.agent, batch)[:, :-1]
    assert torch.equal(q.argmax(-1)[batch.mask > 0], batch.actions[batch.mask > 0])


def test_a_row_that_goes_on_from_a_carry_gives_the_whole_episodes_values():
    algorithm, batch = case(mc.QMIX)
    row = batch[batch.length.argmax().view(1)]
    q = algorithm.utilities(algorithm.agent, row)
    hidden = algorithm.initial_carry(1)["hidden"]
    last = torch.cat([torch.full((1, 1, 3), -1), row.actions[:, :1]], 1)
    _, hidden = algorithm.agent(row.obs[:, :2], last, hidden)
    names = ("obs", "state", "avail", "actions", "reward", "terminated", "truncated", "mask")
    rest = dataclasses.replace(
        row,
        **{k: getattr(row, k)[:, 2:] for k in names},
        length=row.length - 2,
        carry0={"hidden": hidden, "last_action": row.actions[:, 1]},
    )
    torch.testing.assert_close(algorithm.utilities(algorithm.agent, rest), q[:, 2:])


# ---- the losses, written out ----


def parts(algorithm, batch):
    """Masked utilities of agent and target agent, and the online ones at the actions taken."""
    q, q_target = algorithm.utilities(algorithm.agent, batch), algorithm.utilities(algorithm.target_agent, batch)
    return q, q_target, q[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("double_q", [True, False])
@pytest.mark.parametrize("lam", [0.0, 0.6])
def test_qmix_loss_written_out(double_q, lam):
    algorithm, batch = case(mc.QMIX, double_q=double_q, lam=lam)
    q, q_target, chosen = parts(algorithm, batch)
    total = count = 0.0
    for b in range(len(batch)):
        n = int(batch.length[b])
        values = []
        for t in range(n):  # Qbar_tot of the next observation
            best = (q if double_q else q_target)[b, t + 1].argmax(-1)
            values.append(algorithm.target_mixer(q_target[b, t + 1][torch.arange(3), best], batch.state[b, t + 1]))
        y = [torch.tensor(0.0)] * n
        for t in reversed(range(n)):
            last = t == n - 1
            after = values[t] if last else (1 - lam) * values[t] + lam * y[t + 1]
            y[t] = batch.reward[b, t] + 0.99 * (0.0 if batch.terminated[b, t] else after)
            error = algorithm.mixer(chosen[b, t], batch.state[b, t]) - y[t]
            total, count = total + error**2, count + 1
    torch.testing.assert_close(algorithm.loss(batch)[0], total / count)


def test_the_target_of_a_terminal_step_is_the_reward_and_of_a_truncated_one_it_is_not():
    """With every target value at +1000, an end still teaches the reward; a time limit bootstraps."""
    algorithm, batch = case(mc.VDN)
    with torch.no_grad():
        algorithm.target_agent.head.bias += 1000
        algorithm.agent.head.weight.zero_()
        algorithm.agent.head.bias.zero_()  # Q_tot = 0 everywhere: the loss is the mean of y^2
    last = batch.length - 1
    rows = torch.arange(len(batch))
    ended = batch.terminated[rows, last]
    assert ended.any() and not ended.all()
    for b in rows.tolist():
        only = torch.zeros_like(batch.mask)
        only[b, last[b]] = 1
        one = dataclasses.replace(batch, mask=only)
        y = algorithm.loss(one)[1]["target"]
        if ended[b]:
            assert y == batch.reward[b, last[b]]
        else:
            assert y > 2000


def test_iql_loss_written_out():
    algorithm, batch = case(mc.IQL, lam=0.6)
    q, q_target, chosen = parts(algorithm, batch)
    best = q[:, 1:].argmax(-1, keepdim=True)
    after = q_target[:, 1:].gather(-1, best).squeeze(-1)
    errors = []
    for i in range(3):
        y = td_lambda(batch.reward, batch.terminated, after[..., i], batch.mask, 0.99, 0.6)
        errors.append(((chosen[..., i] - y) ** 2)[batch.mask > 0])
    torch.testing.assert_close(algorithm.loss(batch)[0], torch.cat(errors).mean())


def test_vdn_is_not_the_sum_of_independent_errors():
    vdn, batch = case(mc.VDN)
    iql = build(mc.IQL)
    iql.load_state_dict(vdn.state_dict())
    assert not torch.isclose(vdn.loss(batch)[0], iql.loss(batch)[0], rtol=1e-2)
    q, q_target, chosen = parts(vdn, batch)
    after = q_target[:, 1:].gather(-1, q[:, 1:].argmax(-1, keepdim=True)).squeeze(-1).sum(-1)
    y = td_target(batch.reward, batch.terminated, after, 0.99)
    torch.testing.assert_close(vdn.loss(batch)[0], masked_mean((chosen.sum(-1) - y) ** 2, batch.mask))


@pytest.mark.parametrize("lam", [0.0, 0.6])
def test_alone_iql_and_vdn_are_one_algorithm_bit_for_bit(lam):
    spec = helpers.OddWorld(agents=1).spec
    vdn, iql = build(mc.VDN, spec=spec, lam=lam), build(mc.IQL, spec=spec, lam=lam)
    _, batch = helpers.played(vdn, agents=1)
    a, b = vdn.loss(batch)[0], iql.loss(batch)[0]
    assert torch.equal(a, b)
    one, two = helpers.gradients(a, vdn), helpers.gradients(b, iql)
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_with_target_equal_online_double_q_is_the_plain_max():
    single, batch = case(mc.VDN, double_q=False)
    single.target_agent.load_state_dict(single.agent.state_dict())
    double = build(mc.VDN, double_q=True)
    double.load_state_dict(single.state_dict())
    assert torch.equal(single.loss(batch)[0], double.loss(batch)[0])
    after = single.utilities(single.agent, batch)[:, 1:].max(-1).values.sum(-1)
    _, _, chosen = parts(single, batch)
    y = td_target(batch.reward, batch.terminated, after.detach(), 0.99)
    torch.testing.assert_close(single.loss(batch)[0], masked_mean((chosen.sum(-1) - y) ** 2, batch.mask))


def test_states_are_taken_at_the_right_time():
    """The online mixer reads s_t, the target mixer s_{t+1}."""

    class StateMixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, q, state):
            return 0.0 * q.sum(-1) + self.scale * state[..., 0]  # state 0 is the step number

    algorithm, batch = case(mc.QMIX, mixer=StateMixer)
    with torch.no_grad():
        algorithm.mixer.scale.fill_(1.0)
        algorithm.target_mixer.scale.fill_(1.0)
    t = torch.arange(batch.reward.shape[1]).float().expand_as(batch.reward)
    y = batch.reward + 0.99 * (~batch.terminated) * (t + 1)
    torch.testing.assert_close(algorithm.loss(batch)[0], masked_mean((t - y) ** 2, batch.mask))


# ---- weighted QMIX ----


class Fixed(nn.Module):
    """A central mixer that answers a fixed function of the utilities."""

    def __init__(self, offset=0.0):
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(float(offset)))

    def forward(self, q, state):
        return q.sum(-1) + self.offset


@pytest.mark.parametrize("kind", [mc.OWQMIX, mc.CWQMIX])
def test_weighted_qmix_written_out(kind):
    algorithm, batch = case(kind, alpha=0.3, central_loss=0.5, lam=0.6)
    batch = dataclasses.replace(batch, reward=batch.reward - 2.0)  # so that both weights occur
    q, _, chosen = parts(algorithm, batch)
    greedy, actions = q.argmax(-1, keepdim=True), batch.actions.unsqueeze(-1)
    central = algorithm.utilities(algorithm.central_agent, batch)
    target = algorithm.utilities(algorithm.target_central_agent, batch)
    now, later = batch.state[:, :-1], batch.state[:, 1:]
    after = algorithm.target_central_mixer(target[:, 1:].gather(-1, greedy[:, 1:]).squeeze(-1), later)
    y = td_lambda(batch.reward, batch.terminated, after, batch.mask, 0.99, 0.6).detach()
    q_tot, q_hat = algorithm.mixer(chosen, now), algorithm.central_mixer(central[:, :-1].gather(-1, actions).squeeze(-1), now)
    ubar = algorithm.central_mixer(central[:, :-1].gather(-1, greedy[:, :-1]).squeeze(-1), now)
    if kind is mc.OWQMIX:
        full = q_tot < y
    else:
        full = (batch.actions == greedy[:, :-1].squeeze(-1)).all(-1) | (y > ubar)
    w = torch.where(full, 1.0, 0.3)
    assert 0.05 < full[batch.mask > 0].float().mean() < 0.95
    loss, metrics = algorithm.loss(batch)
    want = masked_mean(w * (q_tot - y) ** 2, batch.mask) + 0.5 * masked_mean((q_hat - y) ** 2, batch.mask)
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(metrics["weight"], masked_mean(w, batch.mask))


@pytest.mark.parametrize("kind", [mc.OWQMIX, mc.CWQMIX])
def test_a_readers_own_agent_needs_no_central_agent_of_its_kind(kind):
    """The central agents keep a memory of their own size."""
    algorithm, batch = case(kind, agent=lambda: helpers.Memoryless(3, 4))
    assert torch.isfinite(algorithm.loss(batch)[0])


@pytest.mark.parametrize("kind", [mc.OWQMIX, mc.CWQMIX])
def test_weights_are_one_or_alpha_and_carry_no_gradient(kind):
    algorithm = build(kind, alpha=0.25)
    q_tot = torch.randn(50, requires_grad=True)
    w = algorithm.weight(q_tot, torch.randn(50), torch.rand(50) < 0.5, torch.randn(50))
    assert set(w.tolist()) == {0.25, 1.0} and not w.requires_grad


def test_ow_favours_underestimates_and_cw_the_greedy_action_and_surprises():
    low, high = torch.tensor([0.0]), torch.tensor([1.0])
    no, yes = torch.tensor([False]), torch.tensor([True])
    ow, cw = build(mc.OWQMIX), build(mc.CWQMIX)
    assert ow.weight(low, high, no, low) == 1 and ow.weight(high, low, yes, low) == pytest.approx(0.1)
    assert cw.weight(high, low, yes, high) == 1, "the greedy joint action always has weight 1"
    assert cw.weight(high, high, no, low) == 1, "and so has one whose target is above Qhat*(ubar)"
    assert cw.weight(low, low, no, high) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", [mc.OWQMIX, mc.CWQMIX])
def test_alpha_1_is_a_plain_loss_with_the_central_target(kind):
    algorithm, batch = case(kind, alpha=1.0)
    q, _, chosen = parts(algorithm, batch)
    target = algorithm.utilities(algorithm.target_central_agent, batch)[:, 1:]
    after = target.gather(-1, q[:, 1:].argmax(-1, keepdim=True)).squeeze(-1)
    y = td_target(batch.reward, batch.terminated, algorithm.target_central_mixer(after, batch.state[:, 1:]), 0.99).detach()
    plain = masked_mean((algorithm.mixer(chosen, batch.state[:, :-1]) - y) ** 2, batch.mask)
    torch.testing.assert_close(algorithm.loss(batch)[1]["weighted_loss"], plain)


@pytest.mark.parametrize("kind", [mc.OWQMIX, mc.CWQMIX])
def test_each_loss_trains_its_own_networks(kind):
    algorithm, batch = case(kind)
    _, metrics = algorithm.loss(batch)
    for term, trained in (("weighted_loss", ("agent.", "mixer.")), ("central_loss", ("central_",))):
        for name, g in helpers.gradients(metrics[term], algorithm).items():
            assert (g is not None and bool(g.abs().sum() > 0)) is name.startswith(trained), (term, name)


@pytest.mark.parametrize("kind", [mc.OWQMIX, mc.CWQMIX])
def test_weighted_qmix_stays_monotone_and_its_central_critic_need_not(kind):
    algorithm = build(kind)
    q, state = torch.randn(200, 3, requires_grad=True), torch.randn(200, 4)
    assert (torch.autograd.grad(algorithm.mixer(q, state).sum(), q)[0] >= 0).all()
    assert (torch.autograd.grad(algorithm.central_mixer(q, state).sum(), q)[0] < 0).any()


def test_central_hidden_sets_the_width():
    assert build(mc.OWQMIX, central_hidden=24).central_mixer.net[0].out_features == 24
    assert mc.OWQMIX(SPEC, device="cpu").central_mixer.net[0].out_features == 256


# ---- QTRAN ----


@pytest.mark.parametrize("lam", [0.0, 0.6])
def test_qtran_written_out(lam):
    algorithm, batch = case(mc.QTRAN, lambda_opt=0.7, lambda_nopt=0.2, lam=lam)
    with torch.no_grad():
        algorithm.value.net[-1].bias.fill_(0.4)
    features, q = algorithm.encode(algorithm.agent, batch)
    target_features, _ = algorithm.encode(algorithm.target_agent, batch)
    now, later, ubar = batch.state[:, :-1], batch.state[:, 1:], q.argmax(-1)
    q_jt = algorithm.joint_critic(now, features[:, :-1], batch.actions)
    q_jt_ubar = algorithm.joint_critic(now, features[:, :-1], ubar[:, :-1])
    after = algorithm.target_joint_critic(later, target_features[:, 1:], ubar[:, 1:])
    y = td_lambda(batch.reward, batch.terminated, after, batch.mask, 0.99, lam)
    chosen = q[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1).sum(-1)
    best, v = q[:, :-1].max(-1).values.sum(-1), algorithm.value(now)
    residual = chosen - q_jt + v
    assert (residual[batch.mask > 0] < 0).any() and (residual[batch.mask > 0] > 0).any()
    want = masked_mean((q_jt - y) ** 2, batch.mask)
    want = want + 0.7 * masked_mean((best - q_jt_ubar + v) ** 2, batch.mask)
    want = want + 0.2 * masked_mean(torch.where(residual < 0, residual, 0.0) ** 2, batch.mask)
    torch.testing.assert_close(algorithm.loss(batch)[0], want)


def test_the_two_conditions_give_the_joint_critic_no_gradient():
    algorithm, batch = case(mc.QTRAN)
    _, metrics = algorithm.loss(batch)
    for term in ("opt_loss", "nopt_loss"):
        reached = {n for n, g in helpers.gradients(metrics[term], algorithm).items() if g is not None and g.abs().sum() > 0}
        assert any(n.startswith("agent.") for n in reached) and any(n.startswith("value.") for n in reached)
        assert not any(n.startswith("joint_critic.") for n in reached), term
    td = {n for n, g in helpers.gradients(metrics["td_loss"], algorithm).items() if g is not None and g.abs().sum() > 0}
    assert any(n.startswith("joint_critic.") for n in td) and any(n.startswith("agent.gru") for n in td)
    assert not any(n.startswith(("value.", "agent.head")) for n in td)


@pytest.mark.parametrize("offset, penalised", [(1e3, False), (-1e3, True)])
def test_only_negative_residuals_are_penalised(offset, penalised):
    algorithm, batch = case(mc.QTRAN)
    with torch.no_grad():
        algorithm.value.net[-1].bias.fill_(offset)
    assert bool(algorithm.loss(batch)[1]["nopt_loss"] > 0) is penalised


def test_a_constant_shift_is_absorbed_by_v():
    """Q_jt + c and V + c give the same two conditions."""
    algorithm, batch = case(mc.QTRAN)
    before = algorithm.loss(batch)[1]
    with torch.no_grad():
        algorithm.value.net[-1].bias += 5
        algorithm.joint_critic.net[-1].bias += 5
    after = algorithm.loss(batch)[1]
    for term in ("opt_loss", "nopt_loss"):
        torch.testing.assert_close(after[term], before[term], rtol=1e-4, atol=1e-4)
        assert before[term] > 0


def test_at_zero_loss_individual_and_joint_choices_agree():
    """QTRAN's theorem by enumeration: where both conditions hold, ubar is a best joint action of Q_jt."""
    g = torch.Generator().manual_seed(0)
    checked = 0
    for _ in range(300):
        q = torch.randn(2, 3, generator=g)
        team, best = q[0].unsqueeze(1) + q[1], q.max(1).values.sum()
        v = torch.randn((), generator=g)
        q_jt = team + v - torch.rand(3, 3, generator=g)  # residual >= 0 everywhere
        i, j = q.argmax(1)
        q_jt[i, j] = best + v  # and = 0 at ubar
        assert (q_jt.argmax() // 3, q_jt.argmax() % 3) == (i, j)
        checked += 1
    assert checked == 300


def test_joint_hidden_sets_the_width():
    assert build(mc.QTRAN, joint_hidden=24).joint_critic.net[0].out_features == 24


# ---- options, schedule, targets ----


def other_values(kind):
    """One other value for every option, or the reason why it does not reach a loss."""
    values = {
        "gamma": 0.5, "lam": 0.6, "double_q": False, "hidden": 8, "recurrent": False, "last_action": False,
        "embed": 8, "hypernet_layers": 1, "alpha": 0.9, "central_hidden": 16, "central_loss": 0.1,
        "lambda_opt": 0.1, "lambda_nopt": 3.0, "joint_hidden": 16,
        "entropy_weight": 0.5,
    }  # fmt: skip
    unused = {
        mc.IQL: {"embed", "hypernet_layers"}, mc.VDN: {"embed", "hypernet_layers"},
        mc.OWQMIX: {"double_q"}, mc.CWQMIX: {"double_q"}, mc.QTRAN: {"embed", "hypernet_layers", "double_q"},
    }.get(kind, set())  # fmt: skip
    outside = {"lr", "optimizer", "grad_clip", "epsilon", "replay_episodes", "batch_size", "episodes_per_collect",
               "updates_per_collect", "target_every", "chunk_rows",
               "as_released"}  # fmt: skip  # the last: in test_gre.py
    names = {f.name for f in dataclasses.fields(kind.Config)}
    assert names <= set(values) | outside, "an option without a test"
    return {k: v for k, v in values.items() if k in names - unused}


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_the_loss_changes_it(kind):
    algorithm, batch = case(kind)
    before = algorithm.loss(batch)[0]
    for option, value in other_values(kind).items():
        assert getattr(algorithm.config, option) != value
        assert not torch.equal(build(kind, **{option: value}).loss(batch)[0], before), option


def context(kind, worlds=8, **changes):
    algorithm = kind(SPEC, kind.Config(**{**SMALL, "batch_size": 8, "replay_episodes": 64, **changes}), device="cpu")
    return algorithm, Context(helpers.OddWorld(worlds), algorithm, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_chunks_give_the_gradient_of_the_whole(kind, rows):
    gradients = []
    for chunk in (None, rows):
        algorithm, ctx = context(kind, chunk_rows=chunk, grad_clip=None, lam=0.6)
        ctx.step("main", algorithm.loss, ctx.collect())
        gradients.append({n: p.grad for n, p in algorithm.named_parameters() if p.requires_grad})
    for name, g in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], g, msg=name, rtol=0, atol=1e-5 * float(g.abs().max()))


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_the_gradient_is_clipped_over_all_networks_together_or_not_at_all(clip):
    algorithm, ctx = context(mc.QMIX, grad_clip=clip)
    ctx.step("main", algorithm.loss, ctx.collect())
    norm = torch.stack([p.grad.norm() for p in algorithm.parameters() if p.grad is not None]).norm()
    assert norm == pytest.approx(1e-3, rel=1e-2) if clip else norm > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_target_networks_are_copied_every_so_many_updates(kind):
    algorithm, ctx = context(kind, target_every=3, lr=1e-2)
    names = [n for n, _ in algorithm.named_children() if n.startswith("target_")]
    assert names

    def copied(name):
        online = getattr(algorithm, name.removeprefix("target_"))
        return all(torch.equal(a, b) for a, b in zip(getattr(algorithm, name).parameters(), online.parameters()))

    ctx.buffer.add(ctx.collect())
    for update in range(1, 7):
        (batch,) = ctx.updates()
        ctx.step("main", algorithm.loss, batch)
        algorithm.after_update(ctx)
        for name in names:
            if any(True for _ in getattr(algorithm, name).parameters()):
                assert copied(name) is (update % 3 == 0), (name, update)


def test_updates_per_collect_and_batch_size():
    algorithm, ctx = context(mc.VDN, worlds=4, batch_size=6, updates_per_collect=3)
    algorithm.iterate(ctx)
    assert ctx.updates_done == 0, "four rows are fewer than a batch of six"
    algorithm.iterate(ctx)
    assert ctx.updates_done == 3 and all(len(b) == 6 for b in ctx.updates())


def test_episodes_per_collect_and_replay_episodes():
    algorithm, ctx = context(mc.VDN, worlds=4, episodes_per_collect=12, replay_episodes=20)
    assert len(ctx.collect()) == 12
    for _ in range(3):
        algorithm.iterate(ctx)
    assert len(ctx.buffer) == 20


def test_epsilon_follows_the_clock_and_evaluation_is_greedy():
    algorithm = build(mc.QMIX, epsilon=Schedule(1.0, 0.0, 1000))
    world = helpers.OddWorld(500)
    observation, carry = world.reset(seed=0), algorithm.initial_carry(500)

    def moved(steps, explore):
        algorithm.env_steps = steps
        greedy = algorithm.act(observation, carry, False, torch.Generator().manual_seed(0)).actions
        actions = algorithm.act(observation, carry, explore, torch.Generator().manual_seed(0)).actions
        return float((actions != greedy).float().mean())

    assert moved(0, True) > moved(500, True) > moved(1000, True) == 0.0
    assert moved(500, True) == pytest.approx(moved(0, True) / 2, abs=0.04)
    assert moved(0, False) == 0.0


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.SGD])
def test_any_optimizer_class_steps(optimizer):
    algorithm, ctx = context(mc.QMIX, optimizer=optimizer, lr=1e-2)
    before = [p.clone() for p in algorithm.agent.parameters()]
    ctx.step("main", algorithm.loss, ctx.collect())
    assert isinstance(ctx.optimizers["main"], optimizer)
    assert all(not torch.equal(a, b) for a, b in zip(before, algorithm.agent.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_pure(kind):
    algorithm, batch = case(kind)
    before = {k: v.clone() for k, v in algorithm.state_dict().items()}
    kept = {f.name: getattr(batch, f.name) for f in dataclasses.fields(EpisodeBatch)}
    kept = {k: v.clone() for k, v in kept.items() if isinstance(v, torch.Tensor)}
    one, two = algorithm.loss(batch)[0], algorithm.loss(batch)[0]
    assert torch.equal(one, two)
    assert all(torch.equal(v, algorithm.state_dict()[k]) for k, v in before.items())
    assert all(torch.equal(v, getattr(batch, k)) for k, v in kept.items())
