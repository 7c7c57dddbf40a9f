"""COMA, COMA as LICA's release trained it, and LICA: advantages, credit, entropy, masks and options."""

import dataclasses
import importlib.util
import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import marlcourse as mc
from marlcourse.algorithms.coma import counterfactual_advantage
from marlcourse.algorithms.coma_released import COMAReleased
from marlcourse.core import EpisodeBatch
from marlcourse.course.junction import JOINT_ACTIONS, every_joint_action, expected_return, joint_probabilities
from marlcourse.envs.junction import Junction
from marlcourse.exploration import Schedule, constant
from marlcourse.nets.critics import CounterfactualCritic, MixingCritic, MLPCritic
from marlcourse.nets.small import PassCounterfactualCritic, PassCritic, SigmoidAgent
from marlcourse.rollout import Context
from marlcourse.targets import masked_mean

_spec = importlib.util.spec_from_file_location("worlds_for_tests", Path(__file__).with_name("worlds_for_tests.py"))
helpers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helpers)

SPEC = helpers.OddWorld().spec
KINDS = [mc.COMA, mc.LICA]
LOSSES = [(mc.COMA, "critic_loss"), (mc.COMA, "actor_loss"), (mc.LICA, "critic_loss"), (mc.LICA, "actor_loss")]


def build(kind, seed=0, spec=SPEC, **changes):
    """A small algorithm; the target critic differs from the online one."""
    parts = {k: changes.pop(k) for k in ("actor", "critic") if k in changes}
    fields = {f.name for f in dataclasses.fields(kind.Config)}
    defaults = {
        k: v for k, v in {"hidden": 16, "critic_hidden": 16, "embed": 8, "epsilon": constant(0.1)}.items() if k in fields
    }
    algorithm = kind(spec, kind.Config(**{**defaults, **changes}), seed=seed, device="cpu", **parts)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in algorithm.target_critic.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
        if hasattr(algorithm.actor, "head"):
            algorithm.actor.head.weight *= 5  # policies far from uniform
    return algorithm


def case(kind, worlds=12, **changes):
    algorithm = build(kind, **changes)
    return algorithm, helpers.played(algorithm, worlds)[1]


# ---- masks and padding ----


@pytest.mark.parametrize("kind, loss", LOSSES)
@pytest.mark.parametrize("lam", [0.0, 0.8])
def test_what_stands_in_padding_changes_no_bit(kind, loss, lam):
    algorithm, batch = case(kind, lam=lam)
    assert batch.mask.min() == 0 and batch.truncated.any() and batch.terminated.any()
    a, b = getattr(algorithm, loss)(batch)[0], getattr(algorithm, loss)(helpers.scrambled_padding(batch))[0]
    assert torch.equal(a, b)
    one, two = helpers.gradients(a, algorithm), helpers.gradients(b, algorithm)
    assert any(g is not None and g.abs().sum() > 0 for g in one.values())
    for name in one:
        assert (one[name] is None and two[name] is None) or torch.equal(one[name], two[name]), name


@pytest.mark.parametrize("kind, loss", LOSSES)
@pytest.mark.parametrize("lam", [0.0, 0.8, 1.0])
def test_more_padding_gives_the_same_loss(kind, loss, lam):
    algorithm, batch = case(kind, lam=lam)
    torch.testing.assert_close(getattr(algorithm, loss)(batch)[0], getattr(algorithm, loss)(helpers.longer(batch, 4))[0])


@pytest.mark.parametrize("kind, loss", LOSSES[:3])
def test_the_loss_is_the_mean_over_real_steps_of_all_rows(kind, loss):
    algorithm, batch = case(kind)
    whole = getattr(algorithm, loss)(batch)[0]
    rows = sum(getattr(algorithm, loss)(batch[i : i + 1])[0] * batch.length[i] for i in range(len(batch)))
    torch.testing.assert_close(whole, rows / batch.length.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_unavailable_actions_have_probability_zero_and_rows_sum_to_one(kind):
    algorithm, batch = case(kind)
    pi = algorithm.policies(batch)
    assert (pi[~batch.avail] == 0).all()
    torch.testing.assert_close(pi.sum(-1), torch.ones(pi.shape[:-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_reaches_unavailable_actions_or_agents_without_a_choice(kind):
    changes = {"entropy": 0.1} if kind is mc.COMA else {"xi": 0.1}
    algorithm, batch = case(kind, actor=lambda: helpers.Memoryless(3, 4), **changes)
    avail = torch.zeros_like(batch.avail)
    avail[..., 0, 2] = True  # agent 0 has no choice
    avail[..., 1, :2] = True  # agent 1 has two
    avail[..., 2, 1:] = True  # agent 2 has three
    batch = dataclasses.replace(batch, avail=avail, actions=torch.tensor([2, 0, 3]).expand_as(batch.actions).clone())
    loss, metrics = algorithm.actor_loss(batch)
    assert torch.isfinite(loss) and all(torch.isfinite(v) for v in metrics.values())
    g = helpers.gradients(loss, algorithm.actor)["table"]
    assert torch.isfinite(g).all()
    torch.testing.assert_close(g[0], torch.zeros(4), atol=1e-9, rtol=0)
    assert (g[1, 2:] == 0).all() and g[2, 0] == 0
    assert (g[1, :2] != 0).all() and (g[2, 1:] != 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_team_without_any_choice_is_safe(kind):
    """Every agent has one action: entropy 0, no gradient, no division by zero."""
    changes = {"entropy": 0.1} if kind is mc.COMA else {"xi": 0.1}
    algorithm, batch = case(kind, actor=lambda: helpers.Memoryless(3, 4), **changes)
    batch = dataclasses.replace(batch, avail=F.one_hot(torch.ones_like(batch.avail[..., 0].long()), 4).bool())
    batch = dataclasses.replace(batch, actions=torch.ones_like(batch.actions))
    loss, metrics = algorithm.actor_loss(batch)
    assert metrics["entropy"] == 0.0 and torch.isfinite(loss)
    assert (helpers.gradients(loss, algorithm.actor)["table"] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_acting_samples_the_policy_of_the_loss(kind):
    """Same probabilities in acting (log_prob) and in the loss, and the greedy action is the most probable one."""
    algorithm, batch = case(kind)
    pi = algorithm.policies(batch)[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
    real = batch.mask > 0
    torch.testing.assert_close(pi.log()[real], batch.log_prob[real])
    world = helpers.OddWorld(32)
    observation, carry = world.reset(seed=3), algorithm.initial_carry(32)
    many = torch.stack([algorithm.act(observation, carry, True, torch.Generator().manual_seed(s)).actions for s in range(400)])
    greedy = algorithm.act(observation, carry, False, torch.Generator()).actions
    most = F.one_hot(many, 4).float().mean(0)
    assert (most.argmax(-1) == greedy).float().mean() > 0.85
    assert (most[~observation.avail] == 0).all()


# ---- COMA ----


def test_the_expected_advantage_is_zero():
    """sum_u pi_i(u) A_i(u) = 0."""
    q, pi = torch.randn(5, 3, 4), torch.softmax(torch.randn(5, 3, 4), -1)
    a = torch.stack([counterfactual_advantage(q, pi, torch.full((5, 3), u)) for u in range(4)], -1)
    torch.testing.assert_close((pi * a).sum(-1), torch.zeros(5, 3), atol=1e-6, rtol=0)
    assert a.abs().mean() > 0.1


def test_the_advantage_is_q_minus_v_for_a_team_of_one():
    q, pi = torch.randn(5, 1, 4), torch.softmax(torch.randn(5, 1, 4), -1)
    v = (q * pi).sum(-1)
    torch.testing.assert_close(counterfactual_advantage(q, pi, torch.full((5, 1), 2)), q[..., 2] - v)


def critic_inputs(seed=0):
    g = torch.Generator().manual_seed(seed)
    state, obs = torch.randn(2, 4, 4, generator=g), torch.randn(2, 4, 3, 3, generator=g)
    actions = torch.randint(0, 4, (2, 4, 3), generator=g)
    last = torch.cat([torch.full((2, 1, 3), -1), actions[:, :-1]], 1)
    return state, obs, actions, last


def test_the_critic_is_blind_to_the_agents_own_action_and_sees_the_others():
    critic, (state, obs, actions, last) = CounterfactualCritic(3, 4, 3, 4, 16), critic_inputs()
    base = critic(state, obs, actions, last)
    for i in range(3):
        other = actions.clone()
        other[..., i] = (other[..., i] + 1) % 4
        moved = (critic(state, obs, other, last) != base).any(-1)
        assert not moved[..., i].any(), "own action reached the baseline"
        assert moved[..., [j for j in range(3) if j != i]].all()


def test_the_critic_reads_state_observation_last_actions_and_id():
    critic, (state, obs, actions, last) = CounterfactualCritic(3, 4, 3, 4, 16), critic_inputs()
    base = critic(state, obs, actions, last)
    assert (critic(state + 1, obs, actions, last) != base).any(-1).all()
    other = obs.clone()
    other[:, :, 1] += 1
    moved = (critic(state, other, actions, last) != base).any(-1)
    assert moved[..., 1].all() and not moved[..., [0, 2]].any(), "each agent reads its own observation"
    assert (critic(state, obs, actions, (last + 2) % 4) != base).any(-1).all()
    same = critic(state, obs[:, :, :1].expand_as(obs), torch.zeros_like(actions), last)
    assert not torch.allclose(same[..., 0, :], same[..., 1, :])


def test_the_counterfactual_critic_is_its_explicit_concatenation():
    critic, (state, obs, actions, last) = CounterfactualCritic(3, 4, 3, 4, 16), critic_inputs()
    got = critic(state, obs, actions, last)
    for i in range(3):
        one_hot = F.one_hot(actions, 4).float()
        one_hot[..., i, :] = 0
        before = F.one_hot(last.clamp(min=0), 4).float() * (last >= 0).unsqueeze(-1)
        identity = F.one_hot(torch.full((2, 4), i), 3).float()
        x = torch.cat([state, obs[:, :, i], one_hot.flatten(2), before.flatten(2), identity], -1)
        torch.testing.assert_close(got[:, :, i], critic.net(x))


def test_the_baseline_changes_no_expected_gradient():
    """With exact Q, by enumeration: E[grad log pi_i A_i] = E[grad log pi_i Q] for every agent."""
    g = torch.Generator().manual_seed(0)
    payoff = torch.randn(3, 3, 3, generator=g)
    logits = torch.randn(3, 3, generator=g).requires_grad_()
    pi = torch.softmax(logits, -1)
    by_a = by_q = 0.0
    for joint in itertools.product(range(3), repeat=3):
        p = torch.stack([pi[i, a] for i, a in enumerate(joint)]).prod().detach()
        rows = [payoff[tuple(slice(None) if j == i else joint[j] for j in range(3))] for i in range(3)]
        q, actions = torch.stack(rows), torch.tensor(joint)
        advantage = counterfactual_advantage(q, pi, actions).detach()
        log_pi = torch.stack([pi[i, a].log() for i, a in enumerate(joint)])
        by_a = by_a + p * (log_pi * advantage).sum()
        by_q = by_q + p * (log_pi * payoff[joint]).sum()
    (grad_a,) = torch.autograd.grad(by_a, logits, retain_graph=True)
    (grad_q,) = torch.autograd.grad(by_q, logits, retain_graph=True)
    exact = torch.einsum("i,j,k,ijk", *pi, payoff)
    torch.testing.assert_close(grad_a, grad_q)
    torch.testing.assert_close(grad_a, torch.autograd.grad(exact, logits)[0])


def test_coma_actor_loss_written_out():
    algorithm, batch = case(mc.COMA, entropy=0.3)
    pi, q = algorithm.policies(batch)[:, :-1], algorithm.q_values(algorithm.critic, batch, batch.actions)
    total = entropy = count = 0.0
    for b, t, i in itertools.product(range(len(batch)), range(batch.mask.shape[1]), range(3)):
        if batch.mask[b, t] == 0:
            continue
        p, values, u = pi[b, t, i], q[b, t, i].detach(), batch.actions[b, t, i]
        total = total + p[u].log() * (values[u] - (p.detach() * values).sum())
        entropy, count = entropy - (p[p > 0] * p[p > 0].log()).sum(), count + 1
    want = -total / count - 0.3 * entropy / count
    loss = algorithm.actor_loss(batch)[0]
    torch.testing.assert_close(loss, want)
    one, two = helpers.gradients(loss, algorithm.actor), helpers.gradients(want, algorithm.actor)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)


def test_coma_critic_target_written_out():
    """TD(lambda) of the target critic at the next joint action; at a time limit, at the most probable one there."""
    algorithm, batch = case(mc.COMA, lam=0.7, gamma=0.9)
    target = algorithm.critic_target(batch)
    likely = algorithm.policies(batch).argmax(-1)
    for b in range(len(batch)):
        n = int(batch.length[b])
        actions = torch.cat([batch.actions[b, :n], likely[b, n].unsqueeze(0)]).unsqueeze(0)
        last = torch.cat([torch.full((1, 3), -1), batch.actions[b, :n]]).unsqueeze(0)
        q = algorithm.target_critic(batch.state[b : b + 1, : n + 1], batch.obs[b : b + 1, : n + 1], actions, last)[0]
        value = q.gather(-1, actions[0].unsqueeze(-1)).squeeze(-1)  # [n+1,N]
        y = torch.zeros(3)
        for t in reversed(range(n)):
            bootstrap = 0.0 if batch.terminated[b, t] else value[t + 1]
            y = batch.reward[b, t] + 0.9 * (bootstrap if t == n - 1 else 0.3 * bootstrap + 0.7 * y)
            torch.testing.assert_close(target[b, t], y.expand(3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_with_no_future_the_target_is_the_reward(kind):
    """gamma 0 takes a shortcut that must give what the recursion gives."""
    algorithm, batch = case(kind, gamma=0.0)
    almost = build(kind, gamma=1e-30)
    torch.testing.assert_close(algorithm.critic_loss(batch)[0], almost.critic_loss(batch)[0])


@pytest.mark.parametrize("kind", [*KINDS, COMAReleased])
def test_each_loss_trains_its_own_network(kind):
    if kind is COMAReleased:
        config = kind.Config.preset("junction")
        algorithm = kind(Junction().spec, config, device="cpu", actor=SigmoidAgent, critic=PassCounterfactualCritic)
        batch = dataclasses.replace(every_joint_action(), mask=torch.tensor([4.0, 3, 4, 4]).unsqueeze(-1))
    else:
        algorithm, batch = case(kind)
    for loss, mine in (("critic_loss", "critic."), ("actor_loss", "actor.")):
        optimizer = algorithm.optimizers()[loss.removesuffix("_loss")]
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert trained == {id(p) for n, p in algorithm.named_parameters() if n.startswith(mine)}
        found = helpers.gradients(getattr(algorithm, loss)(batch)[0], algorithm)
        reached = {n for n, g in found.items() if g is not None and g.abs().sum() > 0}
        assert any(n.startswith(mine) for n in reached)
        if not (kind is mc.LICA and loss == "actor_loss"):  # LICA's actor learns through the critic, whose step is another
            assert all(n.startswith(mine) for n in reached), (loss, reached)


def test_the_epsilon_floor_is_part_of_the_policy():
    """Rows sum to 1, no available action falls below epsilon / n, and the floor follows the clock."""
    algorithm = build(mc.COMA, epsilon=Schedule(0.5, 0.1, 100))
    avail = torch.tensor([[True, True, False, True], [False, True, False, False]])
    logits = torch.tensor([[50.0, 0, 0, 0], [0.0, 0, 50, 0]])
    torch.testing.assert_close(algorithm.policy(logits, avail)[0], torch.tensor([0.5 + 0.5 / 3, 0.5 / 3, 0, 0.5 / 3]))
    algorithm.env_steps = 100
    pi = algorithm.policy(logits, avail)
    torch.testing.assert_close(pi[0], torch.tensor([0.9 + 0.1 / 3, 0.1 / 3, 0, 0.1 / 3]))
    assert torch.equal(pi[1], torch.tensor([0.0, 1, 0, 0]))


# ---- the one-step junction: what the data distribution does ----


def junction_case(kind, seed, p=None):
    """(algorithm with an exact critic, the four joint actions). ``p``: P(pass) of both cars."""

    class Exact(nn.Module):
        """The true payoff of each own action, the other car's as played."""

        def __init__(self):
            super().__init__()
            self.zero = nn.Parameter(torch.zeros(()))

        def forward(self, state, obs, actions, last_action):
            other = actions.flip(-1)
            return torch.stack([other == 1, other == 0], -1).float() + self.zero

    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            start = torch.rand(2) if p is None else torch.tensor(p)
            self.z = nn.Parameter(torch.logit(start))

        def initial_hidden(self, batch_size, n_agents):
            return torch.zeros(batch_size, n_agents, 0)

        def forward(self, obs, last_action, hidden):
            z = self.z.expand(*obs.shape[:2], 2)
            return torch.stack([torch.zeros_like(z), z], -1), hidden

    config = kind.Config.preset("junction")
    return kind(Junction(device="cpu").spec, config, seed=seed, device="cpu", actor=Fixed, critic=Exact), every_joint_action()


@pytest.mark.parametrize("seed", range(5))
def test_on_policy_coma_follows_the_exact_gradient(seed):
    """Rows weighted by the joint policy: the gradient is d J / d z, and so dJ/dp_1 = 1 - 2 p_2."""
    algorithm, rows = junction_case(mc.COMA, seed)
    p = torch.sigmoid(algorithm.actor.z).detach()
    rows = dataclasses.replace(rows, mask=joint_probabilities(p).unsqueeze(-1))
    (got,) = torch.autograd.grad(-2 * algorithm.actor_loss(rows)[0], algorithm.actor.z)  # the loss is a mean over 2 agents
    torch.testing.assert_close(got / (p * (1 - p)), 1 - 2 * p.flip(0))
    z = algorithm.actor.z.detach().requires_grad_()
    torch.testing.assert_close(got, torch.autograd.grad(expected_return(torch.sigmoid(z)), z)[0])


@pytest.mark.parametrize("p", [(0.5, 0.5), (0.9, 0.2), (0.01, 0.99), (0.3, 0.35)])
def test_on_the_full_table_the_released_coma_has_no_gradient_at_any_policy(p):
    algorithm, rows = junction_case(COMAReleased, 0, p)
    (g,) = torch.autograd.grad(algorithm.actor_loss(rows)[0], algorithm.actor.z)
    torch.testing.assert_close(g, torch.zeros(2), atol=1e-7, rtol=0)


def test_one_dropped_row_gives_the_released_coma_a_push_that_knows_nothing_of_the_policy():
    """15 of 16 rows: the gradient of log P(pass) is +- 1/15 per row, whatever the team would gain."""
    algorithm, rows = junction_case(COMAReleased, 0, (0.9, 0.2))
    rows = dataclasses.replace(rows, mask=torch.tensor([4.0, 3, 4, 4]).unsqueeze(-1))  # wait-pass, an optimum, once less
    loss = algorithm.actor_loss(rows)[0]
    log_p = torch.sigmoid(algorithm.actor.z).log()
    torch.testing.assert_close(loss, (log_p[0] + log_p[1]) / 30)


def test_the_released_loss_uses_the_log_probability_of_passing_and_the_flipped_action():
    algorithm, rows = junction_case(COMAReleased, 0, (0.7, 0.4))
    log_pass = torch.tensor([0.7, 0.4]).log()
    total = 0.0
    for a, b in JOINT_ACTIONS.tolist():
        weight = 1.0 + a + 3 * b
        pays = lambda x, y: float(x != y)
        total = total + weight * (log_pass[0] * (pays(a, b) - pays(1 - a, b)) + log_pass[1] * (pays(a, b) - pays(a, 1 - b)))
    weights = torch.tensor([1.0, 4.0, 2.0, 5.0])
    got = algorithm.actor_loss(dataclasses.replace(rows, mask=weights.unsqueeze(-1)))[0]
    torch.testing.assert_close(got, -total / (2 * weights.sum()))


def test_the_small_networks_are_the_release_in_size_and_question():
    actor, critic = SigmoidAgent(), PassCounterfactualCritic()
    assert sum(p.numel() for p in actor.parameters()) == sum(p.numel() for p in PassCritic().parameters()) - 32 == 97
    logits, _ = actor(torch.tensor([0.0, 1.0]).view(1, 1, 2, 1), None, actor.initial_hidden(1, 2))
    torch.testing.assert_close(
        torch.softmax(logits, -1)[..., 1], torch.sigmoid(actor.net(torch.tensor([[0.0], [1.0]]))).view(1, 1, 2)
    )
    actions = JOINT_ACTIONS.unsqueeze(1)
    q = critic(None, None, actions, None)
    for row, (a, b) in enumerate(JOINT_ACTIONS.tolist()):
        for own in (0, 1):
            pair = lambda x, y: critic.joint(None, F.one_hot(torch.tensor([x, y]), 2).float())
            torch.testing.assert_close(q[row, 0, 0, own], pair(own, b))
            torch.testing.assert_close(q[row, 0, 1, own], pair(a, own))


# ---- LICA ----


def zero_critic():
    class Nothing(nn.Module):
        def __init__(self):
            super().__init__()
            self.zero = nn.Parameter(torch.zeros(()))

        def forward(self, state, u):
            return 0.0 * u.sum((-1, -2)) + self.zero

    return Nothing()


def entropy_case(table, xi=0.3):
    """LICA with a free table of logits [N,A] and a critic that says nothing: only the bonus has a gradient."""
    algorithm, batch = case(mc.LICA, actor=lambda: helpers.Memoryless(3, 4), critic=zero_critic, xi=xi)
    batch = dataclasses.replace(batch, avail=torch.ones_like(batch.avail))
    with torch.no_grad():
        algorithm.actor.table.copy_(table)
    return algorithm, batch


def test_the_entropy_gradient_in_closed_form():
    """dR/dlogit_k = -xi p_k (log p_k + H_i) / H, H the mean over agents (1/N of it is agent i's share)."""
    table = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    algorithm, batch = entropy_case(table)
    got = -helpers.gradients(algorithm.actor_loss(batch)[0], algorithm.actor)["table"]
    p = torch.softmax(table, -1)
    h = -(p * p.log()).sum(-1, keepdim=True)
    torch.testing.assert_close(got, -0.3 * p * (p.log() + h) / h.mean() / 3)


def test_the_entropy_gradient_with_respect_to_probabilities():
    """Equation 6: dR/dp_i = -xi (log p_i + 1) / H, for a team whose agents all play p."""
    p = torch.tensor([0.1, 0.2, 0.3, 0.4], requires_grad=True)
    h = -(p * p.log()).sum()
    (got,) = torch.autograd.grad(0.3 * h / h.detach(), p)
    torch.testing.assert_close(got, -0.3 * (p.log() + 1) / h)
    algorithm, batch = entropy_case(p.detach().log().expand(3, 4))
    through = p * (got - (p * got).sum())  # the softmax's Jacobian
    logits = -helpers.gradients(algorithm.actor_loss(batch)[0], algorithm.actor)["table"].sum(0)
    torch.testing.assert_close(logits, through.detach())


def test_half_the_entropy_doubles_the_push():
    """The bonus's gradient over that of plain entropy is xi / H."""

    def ratio(table):
        algorithm, batch = entropy_case(table)
        got = -helpers.gradients(algorithm.actor_loss(batch)[0], algorithm.actor)["table"]
        logits = table.clone().requires_grad_()
        p = torch.softmax(logits, -1)
        h = -(p * p.log()).sum(-1).mean()
        (plain,) = torch.autograd.grad(h, logits)
        return (got / plain).mean(), h.detach()

    table = torch.zeros(3, 4)
    table[:, 0] = 1.0
    one, h_one = ratio(table)
    low, high = 1.0, 20.0
    for _ in range(60):  # sharpen until the entropy is half
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(table * middle)[1] > h_one / 2 else (low, middle)
    two, h_two = ratio(table * low)
    assert h_two == pytest.approx(float(h_one) / 2, rel=1e-4)
    assert two == pytest.approx(2 * float(one), rel=1e-3)


def test_the_bonus_has_the_constant_value_xi_and_xi_0_has_none():
    table = torch.randn(3, 4)
    for xi in (0.3, 0.0):
        algorithm, batch = entropy_case(table, xi)
        assert algorithm.actor_loss(batch)[0].item() == pytest.approx(-xi, abs=1e-6)
    assert (helpers.gradients(algorithm.actor_loss(batch)[0], algorithm.actor)["table"] == 0).all()


def test_the_actor_step_moves_no_critic_and_the_critic_step_no_actor():
    algorithm = build(mc.LICA)
    ctx = Context(helpers.OddWorld(8), algorithm, 0)
    batch = ctx.collect()
    for name, moves, stays in (("actor", algorithm.actor, algorithm.critic), ("critic", algorithm.critic, algorithm.actor)):
        before = [[p.clone() for p in m.parameters()] for m in (moves, stays, algorithm.target_critic)]
        ctx.step(name, getattr(algorithm, f"{name}_loss"), batch)
        after = [list(m.parameters()) for m in (moves, stays, algorithm.target_critic)]
        changed = [any(not torch.equal(a, b) for a, b in zip(x, y)) for x, y in zip(before, after)]
        assert changed == [True, False, False]
        assert all(p.grad is None for p in algorithm.critic.parameters()) or name == "critic"


def test_credit_reaches_every_agent_through_its_own_probabilities():
    algorithm, batch = case(mc.LICA, actor=lambda: helpers.Memoryless(3, 4), xi=0.0)
    batch = dataclasses.replace(batch, avail=torch.ones_like(batch.avail))
    loss = algorithm.actor_loss(batch)[0]
    g = helpers.gradients(loss, algorithm.actor)["table"]
    assert (g.abs().sum(-1) > 0).all()
    pi = torch.softmax(algorithm.actor.table, -1).expand(*batch.actions.shape, 4).detach().requires_grad_()
    value = masked_mean(algorithm.critic(batch.state[:, :-1], pi), batch.mask)
    torch.testing.assert_close(loss, -value)
    p = pi[0, 0]
    through = torch.autograd.grad(value, pi)[0].sum((0, 1))
    torch.testing.assert_close(-g, p * (through - (p * through).sum(-1, keepdim=True)))


def test_the_credit_of_the_mixing_critic_depends_on_the_state():
    """Multiplicative: dQ/du differs between states where all hidden units are on. An MLP's first layer has one slope for u."""
    torch.manual_seed(0)
    mixing, u = MixingCritic(3, 4, 4, embed=8), torch.rand(2, 3, 4, requires_grad=True)
    with torch.no_grad():
        mixing.b1.bias += 100  # every ReLU open: any difference is the hypernetwork's
    state = torch.randn(2, 4)
    (slope,) = torch.autograd.grad(mixing(state, u).sum(), u)
    assert not torch.allclose(slope[0], slope[1], rtol=1e-2)
    assert (slope < 0).any() and (slope > 0).any(), "no sign constraint"
    mlp = MLPCritic(4 + 12, 8)
    with torch.no_grad():
        mlp.net[0].bias += 100
    (slope,) = torch.autograd.grad(mlp(state, u).sum(), u)
    torch.testing.assert_close(slope[0], slope[1])


def test_the_mixing_critic_is_its_formula():
    torch.manual_seed(0)
    critic, state, u = MixingCritic(3, 4, 4, embed=8, hidden=16), torch.randn(5, 4), torch.rand(5, 3, 4)
    w1 = critic.w1(state).view(5, 12, 8)
    h = torch.relu(torch.bmm(u.flatten(1).unsqueeze(1), w1).squeeze(1) + critic.b1(state))
    torch.testing.assert_close(critic(state, u), (h * critic.w2(state)).sum(-1) + critic.b2(state).squeeze(-1))
    assert critic.w1[0].out_features == 16 and critic.w1[2].out_features == 3 * 4 * 8
    assert [type(m) for m in critic.w2] == [nn.Linear, nn.ReLU, nn.Linear] and isinstance(critic.b1, nn.Linear)


def test_lica_critic_target_written_out():
    """TD(lambda) of the target critic at the one-hots played; at a time limit at the policies' probabilities there."""
    algorithm, batch = case(mc.LICA, lam=0.7, gamma=0.9)
    pi, total = algorithm.policies(batch), 0.0
    for b in range(len(batch)):
        n = int(batch.length[b])
        u = torch.cat([F.one_hot(batch.actions[b, :n], 4).float(), pi[b, n].unsqueeze(0)])
        value, q = algorithm.target_critic(batch.state[b, : n + 1], u), algorithm.critic(batch.state[b, :n], u[:n])
        y = 0.0
        for t in reversed(range(n)):
            bootstrap = 0.0 if batch.terminated[b, t] else value[t + 1]
            y = batch.reward[b, t] + 0.9 * (bootstrap if t == n - 1 else 0.3 * bootstrap + 0.7 * y)
            total = total + (q[t] - y) ** 2
    torch.testing.assert_close(algorithm.critic_loss(batch)[0], total / batch.mask.sum())


# ---- options ----


def every_option(kind):
    """One other value for each option that reaches a loss."""
    values = {"gamma": 0.5, "lam": 0.1, "hidden": 8, "recurrent": False, "last_action": False, "entropy": 0.7, "xi": 0.9,
              "critic_hidden": 8, "embed": 4, "epsilon": constant(0.5)}  # fmt: skip
    elsewhere = {
        "lr",
        "critic_lr",
        "optimizer",
        "grad_clip",
        "critic_updates",
        "episodes_per_collect",
        "target_every",
        "chunk_rows",
    }
    names = {f.name for f in dataclasses.fields(kind.Config)}
    assert names <= set(values) | elsewhere, "an option without a test"
    return {k: v for k, v in values.items() if k in names}


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_the_losses_changes_them(kind):
    algorithm, batch = case(kind)
    before = algorithm.loss(batch)[0]
    for option, value in every_option(kind).items():
        other = build(kind, **{option: value})
        assert getattr(algorithm.config, option) != value
        assert not torch.equal(other.loss(batch)[0], before), option


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_the_sum_of_both(kind):
    algorithm, batch = case(kind)
    torch.testing.assert_close(algorithm.loss(batch)[0], algorithm.critic_loss(batch)[0] + algorithm.actor_loss(batch)[0])


@pytest.mark.parametrize("loss", ["critic_loss", "actor_loss"])
@pytest.mark.parametrize("rows", [1, 3])
def test_chunks_give_the_gradient_of_the_whole(loss, rows):
    gradients = []
    for chunk in (None, rows):
        algorithm = build(mc.COMA, chunk_rows=chunk, grad_clip=None, entropy=0.1)
        ctx = Context(helpers.OddWorld(8), algorithm, 0)
        ctx.step(loss.removesuffix("_loss"), getattr(algorithm, loss), ctx.collect())
        gradients.append({n: p.grad for n, p in algorithm.named_parameters() if p.grad is not None})
    for name, g in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], g, msg=name, rtol=0, atol=1e-5 * float(g.abs().max()))


def test_lica_has_no_chunks_because_its_bonus_is_a_ratio_of_batch_means():
    assert "chunk_rows" not in {f.name for f in dataclasses.fields(mc.LICA.Config)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("critic_updates", [1, 4])
def test_a_round_is_so_many_critic_steps_and_one_actor_step_on_fresh_data(kind, critic_updates):
    algorithm = build(kind, critic_updates=critic_updates, episodes_per_collect=16)
    ctx = Context(helpers.OddWorld(8), algorithm, 0)
    asked = []
    step = ctx.step
    ctx.step = lambda name, loss, batch: (asked.append((name, len(batch))), step(name, loss, batch))[1]
    metrics = algorithm.iterate(ctx)
    assert asked == [("critic", 16)] * critic_updates + [("actor", 16)]
    assert ctx.buffer is None and {"critic_loss", "actor_loss"} <= metrics.keys()
    assert ctx.env_steps == algorithm.env_steps > 0


@pytest.mark.parametrize("kind, rounds", [(mc.COMA, 4), (mc.LICA, 2)])
def test_the_target_critic_is_copied_every_so_often(kind, rounds):
    """COMA counts rounds, LICA critic steps (two a round here)."""
    algorithm = build(kind, critic_updates=2, target_every=4, lr=1e-2, critic_lr=1e-2)
    ctx = Context(helpers.OddWorld(4), algorithm, 0)
    for done in range(1, 9):
        algorithm.iterate(ctx)
        pairs = zip(algorithm.critic.parameters(), algorithm.target_critic.parameters())
        assert all(torch.equal(a, b) for a, b in pairs) is (done % rounds == 0), done


@pytest.mark.parametrize("kind", KINDS)
def test_learning_rates_optimizer_and_clip(kind):
    algorithm = build(kind, lr=0.25, critic_lr=0.125, optimizer=torch.optim.SGD, grad_clip=1e-3)
    optimizers = algorithm.optimizers()
    assert {k: (type(o), o.param_groups[0]["lr"]) for k, o in optimizers.items()} == {
        "actor": (torch.optim.SGD, 0.25),
        "critic": (torch.optim.SGD, 0.125),
    }
    for clip in (1e-3, None):
        algorithm = build(kind, grad_clip=clip)
        ctx = Context(helpers.OddWorld(8), algorithm, 0)
        ctx.step("critic", algorithm.critic_loss, ctx.collect())
        norm = torch.stack([p.grad.norm() for p in algorithm.critic.parameters()]).norm()
        assert norm == pytest.approx(1e-3, rel=1e-2) if clip else norm > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_pure(kind):
    algorithm, batch = case(kind)
    before = {k: v.clone() for k, v in algorithm.state_dict().items()}
    kept = {f.name: getattr(batch, f.name) for f in dataclasses.fields(EpisodeBatch)}
    kept = {k: v.clone() for k, v in kept.items() if isinstance(v, torch.Tensor)}
    assert torch.equal(algorithm.loss(batch)[0], algorithm.loss(batch)[0])
    assert all(torch.equal(v, algorithm.state_dict()[k]) for k, v in before.items())
    assert all(torch.equal(v, getattr(batch, k)) for k, v in kept.items())


def test_published_settings():
    adam, rmsprop = torch.optim.Adam, torch.optim.RMSprop
    c = mc.COMA.Config.preset("pymarl")
    assert (c.optimizer, c.lr, c.critic_lr, c.lam, c.critic_hidden, c.gamma) == (rmsprop, 5e-4, 5e-4, 0.8, 128, 0.99)
    assert (c.epsilon.start, c.epsilon.end, c.epsilon.steps) == (0.5, 0.01, 100_000)
    c = mc.COMA.Config.preset("epymarl")
    assert (c.optimizer, c.lr, c.entropy, c.epsilon(0)) == (adam, 3e-4, 0.001, 0.0)
    c = mc.LICA.Config.preset("lica")
    assert (c.optimizer, c.lr, c.critic_lr, c.lam, c.xi, c.grad_clip, c.embed) == (adam, 2.5e-3, 5e-4, 0.8, 0.06, 10.0, 64)
    for kind in KINDS:
        c = kind.Config.preset("junction")
        assert (c.optimizer, c.lr, c.critic_lr, c.critic_updates, c.grad_clip) == (adam, 1e-2, 2e-2, 5, None)
    assert mc.LICA.Config.preset("junction").xi == 0.0, "the release has no entropy term there"
