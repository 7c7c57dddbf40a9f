"""What a mixer credits to whom: slopes, their entropy, the credit that rescaling cannot move, and the meter of all three."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import marlcourse as mc
from marlcourse.credit import credit, inputs_of, monotonic_slope
from marlcourse.meters import measure_credit, pooled_percentiles
from marlcourse.nets.critics import FreeMixer
from marlcourse.nets.mixers import MonotonicMixer
from marlcourse.nets.simple_mixer import SumMixer

_spec = importlib.util.spec_from_file_location("worlds_for_tests", Path(__file__).with_name("worlds_for_tests.py"))
helpers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helpers)


class Own(nn.Module):
    """A reader's mixer: neither monotone nor linear, and the last utility does not enter."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

    def forward(self, q, state):
        return (self.weight * q[..., :3]).sin().sum(-1) * state[..., 0].exp() + state.sum(-1)


def case(layers=2, agents=3, rows=256, seed=0, scale=1.0):
    torch.manual_seed(seed)
    mixer = MonotonicMixer(agents, 6, layers=layers)
    return mixer, torch.randn(rows, agents) * scale, torch.randn(rows, 6) * scale


def hidden_input(mixer, q, state):
    """x of the mixer's hidden layer, written out: [rows, embed]."""
    w1 = mixer.w1(state).abs().view(len(q), q.shape[-1], -1)
    return torch.einsum("rn,rne->re", q, w1) + mixer.b1(state)


# ---- slopes ----


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_the_slope_by_hand_is_autograds_on_both_sides_of_the_elu(layers, scale):
    mixer, q, state = case(layers, scale=scale)
    x = hidden_input(mixer, q, state)
    assert 0.1 < (x < 0).float().mean() < 0.9
    torch.testing.assert_close(monotonic_slope(mixer, q, state), credit(mixer, q, state), rtol=1e-5, atol=1e-6)
    one_by_one = zip(q.clone().requires_grad_().unbind(), state)
    by_row = torch.stack([torch.autograd.grad(mixer(one, s), one)[0] for one, s in one_by_one])
    torch.testing.assert_close(credit(mixer, q, state), by_row)
    stacked = credit(mixer, q.view(16, 16, 3), state.view(16, 16, 6))
    torch.testing.assert_close(stacked.view(-1, 3), by_row)  # leading axes pass through


def test_the_slope_is_the_rise_of_q_tot():
    """Finite differences, for any mixer, in double precision."""
    for mixer in (Own(), MonotonicMixer(4, 6), FreeMixer(4, 6, 16)):
        mixer = mixer.double()
        q, state = torch.randn(20, 4).double(), torch.randn(20, 6).double()
        step = 1e-6 * torch.eye(4).double()
        rise = torch.stack([(mixer(q + s, state) - mixer(q - s, state)) / 2e-6 for s in step], -1)
        torch.testing.assert_close(credit(mixer, q, state), rise.detach(), rtol=1e-5, atol=1e-6)


def test_a_utility_that_the_mixer_ignores_has_no_credit():
    g = credit(Own(), torch.randn(10, 4), torch.randn(10, 6))
    assert (g[:, 3] == 0).all() and (g[:, :3] != 0).all()

    class StateOnly(nn.Module):
        def forward(self, q, state):
            return state.sum(-1).requires_grad_()

    assert (credit(StateOnly(), torch.randn(10, 4), torch.randn(10, 6)) == 0).all()


def test_the_slope_is_learned_from_through_the_mixer_alone():
    mixer, q, state = case()
    q.requires_grad_()
    for g in (credit(mixer, q, state, create_graph=True), monotonic_slope(mixer, q, state)):
        into_q, *into_mixer = torch.autograd.grad(
            g.square().sum(), [q, *mixer.w1.parameters(), *mixer.w2.parameters(), *mixer.b1.parameters()], allow_unused=True
        )
        assert into_q is None and all(grad.abs().sum() > 0 for grad in into_mixer)
    with torch.no_grad():
        assert not credit(mixer, q, state).requires_grad  # measured inside no_grad as well
    assert not credit(mixer, q, state).requires_grad and q.grad is None


def test_the_released_slope_takes_the_exponential_twice():
    mixer, q, state = case(scale=2.0)
    w1, w2 = mixer.w1(state).abs().view(len(q), 3, 32), mixer.w2(state).abs()
    x = hidden_input(mixer, q, state)
    slope = torch.where(x > 0, 1.0, torch.where(x > 0, 0.0, x.clamp(max=0).exp() - 1).exp())  # exp(ELU(x))
    want = torch.einsum("rne,re->rn", w1, slope * w2)
    released = monotonic_slope(mixer, q, state, as_released=True)
    torch.testing.assert_close(released, want)
    true = credit(mixer, q, state)
    assert (released >= true - 1e-6).all() and ((released - true).mean() / true.mean()) > 0.05
    far = torch.full((256, 3), -1e4)  # every x far below 0: the true slope is 0, the released one tends to W1 w2 / e
    assert credit(mixer, far, state).max() < 1e-6
    at_end = torch.einsum("rne,re->rn", w1, w2) * math.exp(-1)
    torch.testing.assert_close(monotonic_slope(mixer, far, state, as_released=True), at_end)
    up = torch.full((256, 3), 1e4)
    assert torch.equal(monotonic_slope(mixer, up, state, as_released=True), monotonic_slope(mixer, up, state))


def test_the_slope_by_hand_is_for_one_mixer():
    class Squared(MonotonicMixer):
        def forward(self, q, state):
            return super().forward(q, state) ** 2

    for mixer in (SumMixer(), Squared(3, 6)):
        with pytest.raises(TypeError, match=f"knows MonotonicMixer alone, not {type(mixer).__name__}: use credit"):
            monotonic_slope(mixer, torch.randn(2, 3), torch.randn(2, 6))


# ---- entropy and variation ----


def test_entropy_by_hand():
    assert mc.normalised_entropy(torch.tensor([3.0, 1.0])).item() == pytest.approx(0.811278, abs=1e-5)
    g = torch.rand(50, 7)
    p = g / g.sum(-1, keepdim=True)
    torch.testing.assert_close(mc.normalised_entropy(g), -(p * p.log()).sum(-1) / math.log(7))
    assert mc.normalised_entropy(g.view(5, 10, 7)).shape == (5, 10)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 10, 27, 49])
def test_entropy_is_1_for_equal_credit_and_0_for_one_alone(n):
    assert mc.normalised_entropy(torch.ones(n)).item() == 1.0, "exactly: VDN's"
    assert mc.normalised_entropy(torch.full((n,), 0.37)).item() == pytest.approx(1.0, abs=1e-6)
    assert mc.normalised_entropy(torch.eye(n)).abs().max() < 1e-5
    assert mc.normalised_entropy(torch.zeros(n)).item() == pytest.approx(1.0), "nothing for anybody is equal"
    g = torch.rand(200, n)
    assert (mc.normalised_entropy(g) >= 0).all() and (mc.normalised_entropy(g) <= 1).all()


def test_entropy_does_not_see_scale_order_or_sign():
    g = torch.rand(100, 5) + 0.1
    for same in (g * 1e3, g * 1e-2, g[:, [3, 1, 4, 0, 2]], g * torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0])):
        torch.testing.assert_close(mc.normalised_entropy(same), mc.normalised_entropy(g), rtol=1e-5, atol=1e-5)


def test_a_team_of_one_has_no_entropy():
    assert torch.equal(mc.normalised_entropy(torch.rand(4, 6, 1)), torch.zeros(4, 6))


def test_the_entropys_own_slope_is_finite_everywhere():
    for g in (torch.eye(4), torch.zeros(4), torch.ones(4), torch.tensor([1e-30, 1.0, 1e20, 3.0])):
        g = g.requires_grad_()
        (slope,) = torch.autograd.grad(mc.normalised_entropy(g).sum(), g)
        assert torch.isfinite(slope).all()


def test_variation_by_hand_and_beside_the_entropy():
    assert mc.coefficient_of_variation(torch.tensor([3.0, 1.0])) == 0.5
    assert mc.coefficient_of_variation(torch.ones(5)) == 0 == mc.coefficient_of_variation(torch.zeros(5))
    torch.manual_seed(0)
    for n in (2, 5, 27):  # H is about 1 - CV^2 / (2 log n)
        g = 1 + 0.05 * torch.randn(500, n)
        near = 1 - mc.coefficient_of_variation(g) ** 2 / (2 * math.log(n))
        torch.testing.assert_close(mc.normalised_entropy(g), near, rtol=0, atol=2e-4)
        assert (1 - near).max() > 5e-4


@pytest.mark.parametrize("n, cv", [(2, 0.17), (5, 0.25), (10, 0.30), (27, 0.36)])
def test_an_entropy_of_98_hundredths_is_no_equality(n, cv):
    spread = torch.linspace(-1, 1, n)
    assert mc.normalised_entropy(1 + cv * spread / spread.std(correction=0)).item() == pytest.approx(0.98, abs=4e-3)


@pytest.mark.parametrize(
    "n, want",
    [
        (2, (0.961, 0.986, 0.995, 0.999, 1.0)),
        (5, (0.982, 0.990, 0.994, 0.996, 0.999)),
        (10, (0.988, 0.992, 0.994, 0.996, 0.998)),
    ],
)
def test_an_untrained_mixer_already_gives_nearly_equal_credit(n, want):
    """The null model of the paper's Table 2: 20 mixers as they are born, 256 random states and utilities each."""
    entropies = []
    for seed in range(20):
        torch.manual_seed(seed)
        mixer = MonotonicMixer(n, 30)
        entropies.append(mc.normalised_entropy(credit(mixer, torch.randn(256, n), torch.randn(256, 30))))
    got = torch.quantile(torch.cat(entropies), torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]))
    torch.testing.assert_close(got, torch.tensor(want), rtol=0, atol=0.008)


# ---- the invariant credit ----


def table_case(layers=2, rows=40, seed=0):
    """(mixer, q [rows,3,4], state, avail with a choice for most agents and none for some)."""
    mixer, _, state = case(layers, rows=rows, seed=seed)
    q = torch.randn(rows, 3, 4)
    avail = torch.rand(rows, 3, 4) < 0.6
    avail[..., 1] |= ~avail.any(-1)
    assert (avail.sum(-1) == 1).any() and (avail.sum(-1) == 4).any()
    return mixer, q.masked_fill(~avail, -1e9), state, avail


@pytest.mark.parametrize("greedy", [True, False])
def test_invariant_credit_written_out(greedy):
    mixer, q, state, avail = table_case()
    actions = torch.multinomial(avail.flatten(0, 1).float(), 1).view(40, 3)
    got = mc.invariant_credit(mixer, q, state, None if greedy else actions, avail)
    for b in range(40):
        u = q[b].argmax(-1) if greedy else actions[b]
        team = mixer(q[b, torch.arange(3), u], state[b])
        for i in range(3):
            losses = []
            for a in range(4):
                if avail[b, i, a] and a != u[i]:
                    other = u.clone()
                    other[i] = a
                    losses.append((team - mixer(q[b, torch.arange(3), other], state[b])).item())
            assert got[b, i].item() == pytest.approx(sum(losses) / max(1, len(losses)), abs=1e-5)


def test_leaving_the_greedy_action_never_pays_in_a_monotonic_mixer():
    mixer, q, state, avail = table_case(rows=300)
    c = mc.invariant_credit(mixer, q, state, avail=avail)
    assert (c >= -1e-6).all() and (c > 0.01).any()
    assert (c[avail.sum(-1) == 1] == 0).all(), "no choice, no credit"
    shape = mc.invariant_credit(mixer, q.view(20, 15, 3, 4), state.view(20, 15, 6), avail=avail.view(20, 15, 3, 4)).shape
    assert shape == (20, 15, 3)


def test_in_a_sum_it_is_each_agents_own_gap():
    q = torch.tensor([[[5.0, 1.0, 3.0], [0.0, 0.0, 6.0]]])
    torch.testing.assert_close(mc.invariant_credit(SumMixer(), q, torch.zeros(1, 2)), torch.tensor([[3.0, 6.0]]))


@pytest.mark.parametrize("factor", [0.1, 4.0, 100.0])
def test_rescaling_moves_the_entropy_at_will_and_nothing_else(factor):
    """Multiply Q_1 by c and divide its weights in the mixer by c: no Q_tot and no greedy action changes, H does."""
    mixer, q, state, avail = table_case(rows=300)
    chosen = torch.randn(300, 3)
    before = [mc.invariant_credit(mixer, q, state, avail=avail), mixer(chosen, state), q.argmax(-1)]
    entropy = mc.normalised_entropy(credit(mixer, chosen, state))
    c = torch.tensor([factor, 1.0, 1.0])
    with torch.no_grad():
        mixer.w1[-1].weight.view(3, -1)[0] /= factor  # the rows that write agent 1's weights
        mixer.w1[-1].bias.view(3, -1)[0] /= factor
    q, chosen = q * c.unsqueeze(-1), chosen * c
    after = [mc.invariant_credit(mixer, q, state, avail=avail), mixer(chosen, state), q.argmax(-1)]
    for b, a in zip(before, after):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    moved = mc.normalised_entropy(credit(mixer, chosen, state))
    assert (moved - entropy).abs().mean() > 0.1
    torch.testing.assert_close(mc.invariant_credit(mixer, q * 1.0, state, avail=avail), after[0])


def test_inputs_of_a_module_are_what_it_was_called_with():
    mixer, q, state = case()
    with inputs_of(mixer) as seen:
        out = mixer(q, state)
        mixer(q[:2], state[:2])
    mixer(q, state)
    assert len(seen) == 2 and seen[0][0] is q and seen[0][1] is state and len(seen[1][0]) == 2
    assert torch.equal(out, mixer(q, state)) and not mixer._forward_pre_hooks


# ---- the meter ----


def small(kind=mc.QMIX, world="two-step", **parts):
    """(world, algorithm): settings under which a run of 400 steps updates often."""
    env = mc.make(world, num_envs=4, device="cpu")
    presets = kind.Config.preset("two-step", batch_size=8, replay_episodes=40, hidden=8)
    return env, kind(env.spec, presets, device="cpu", **parts)


METERED = ("entropy_p", "entropy_mean", "entropy_quantiles", "cv_mean", "invariant_")


def without(run, meter):
    """The history without wall time, and with or without the meter's columns."""
    return [{k: v for k, v in r.items() if k != "wall_time" and (meter or not k.startswith(METERED))} for r in run.history]


class Drawing(nn.Module):
    """A part that draws from the global generator in every forward."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, q, state):
        return (q * self.weight).sum(-1) + 0.1 * torch.rand(q.shape[:-1])


@pytest.mark.parametrize("kind", [mc.QMIX, mc.VDN, mc.QMIXSimple, mc.QMIXGRE, mc.CWQMIX, "drawing"])
def test_the_meter_disturbs_nothing(kind):
    results = []
    for callbacks in ([], [mc.CreditMeter(quantiles=5)]):
        torch.manual_seed(0)
        env, team = small(mc.QMIX, mixer=Drawing) if kind == "drawing" else small(kind)
        trainer = mc.Trainer(env, team, seed=3, eval_every=50, callbacks=callbacks)
        run = trainer.fit(250, progress=False)
        results.append((without(run, False), team.state_dict(), torch.get_rng_state(), trainer.context.generator.get_state()))
        assert len(run.history) > 4 and all(("entropy_p50" in row) is bool(callbacks) for row in run.history)
    (rows, weights, *states), (rows_metered, weights_metered, *states_metered) = results
    assert rows == rows_metered
    assert all(torch.equal(weights[k], weights_metered[k]) for k in weights)
    assert all(torch.equal(a, b) for a, b in zip(states, states_metered))


@pytest.mark.parametrize("kind", [mc.VDN, mc.QMIXSimple])
def test_equal_credit_is_metered_as_such(kind):
    env, team = small(kind)
    row = mc.Trainer(env, team, callbacks=[mc.CreditMeter()]).fit(200, progress=False).history[-1]
    for name in ("entropy_p5", "entropy_p25", "entropy_p50", "entropy_p75", "entropy_p95", "entropy_mean"):
        assert row[name] == 1.0 if kind is mc.VDN else row[name] == pytest.approx(1.0, abs=1e-6)
    assert row["cv_mean"] == pytest.approx(0.0, abs=1e-6) and row["invariant_credit"] > 0 and row["invariant_cv"] > 0


def odd(seed=0):
    team = mc.QMIX(helpers.OddWorld().spec, mc.QMIX.Config(hidden=16), seed=seed, device="cpu")
    return team, helpers.played(team)[1]


def test_what_is_measured_written_out_step_by_step():
    team, batch = odd()
    row = measure_credit(team, batch, quantiles=3)
    q = team.utilities(team.agent, batch).detach()
    entropies, variations, gaps, gap_variations = [], [], [], []
    for b in range(len(batch)):
        for t in range(int(batch.length[b])):
            s, avail = batch.state[b, t], batch.avail[b, t]
            g = monotonic_slope(team.mixer, q[b, t, torch.arange(3), batch.actions[b, t]], s).detach()
            entropies.append(mc.normalised_entropy(g).item())
            variations.append((g.std(correction=0) / g.mean()).item())
            c = mc.invariant_credit(team.mixer, q[b, t], s, avail=avail)
            gaps.append(c.mean().item())
            gap_variations.append(mc.coefficient_of_variation(c).item())
    entropies = torch.tensor(sorted(entropies))
    for k in (5, 25, 50, 75, 95):
        assert row[f"entropy_p{k}"] == pytest.approx(torch.quantile(entropies, k / 100).item(), abs=1e-5)
    assert row["entropy_mean"] == pytest.approx(entropies.mean().item(), abs=1e-5)
    assert row["entropy_quantiles"] == pytest.approx(torch.quantile(entropies, torch.tensor([0, 0.5, 1])).tolist(), abs=1e-5)
    for name, values in (("cv_mean", variations), ("invariant_credit", gaps), ("invariant_cv", gap_variations)):
        assert row[name] == pytest.approx(sum(values) / len(values), abs=1e-4)
    assert "entropy_quantiles" not in measure_credit(team, batch)


def test_padding_is_not_measured():
    team, batch = odd()
    assert measure_credit(team, helpers.scrambled_padding(batch)) == measure_credit(team, batch)


def test_long_batches_ask_for_the_invariant_credit_at_512_steps():
    team, _ = odd()
    _, batch = helpers.played(team, 400)
    assert batch.mask.sum() > 1000
    calls = []
    team.mixer.register_forward_pre_hook(lambda _, args: calls.append(args[0].shape[0]))
    few, all_steps = measure_credit(team, batch), int(batch.mask.sum())
    assert calls[0] == all_steps and set(calls[1:]) == {512}
    pieces = [measure_credit(team, batch[i : i + 100]) for i in range(0, 400, 100)]
    assert few["invariant_credit"] == pytest.approx(sum(p["invariant_credit"] for p in pieces) / 4, rel=0.1)


def test_rows_of_the_replay_and_how_many():
    env, team = small()
    trainer = mc.Trainer(env, team, eval_every=100)
    env.reset(seed=5)
    before = repr(env.state_dict())
    assert len(mc.CreditMeter().batch(trainer)) == 4, "before anything is stored: an episode per world"
    assert repr(env.state_dict()) == before, "in a copy"
    trainer.fit(200, progress=False)
    assert len(mc.CreditMeter().batch(trainer)) == 32 and len(mc.CreditMeter(rows=3).batch(trainer)) == 3
    one, two = mc.CreditMeter(rows=3).batch(trainer), mc.CreditMeter(rows=3).batch(trainer)
    assert torch.equal(one.obs, two.obs), "the draw depends on the run's seed and clock alone"
    for settings, words in (({"rows": 0}, "rows must be at least 1"), ({"quantiles": 1}, "quantiles=1 would keep")):
        with pytest.raises(ValueError, match=words):
            mc.CreditMeter(**settings)


def test_a_metered_run_goes_on_as_if_it_had_never_stopped(tmp_path):
    def start(folder):
        env, team = small(mc.QMIXGRE)
        meter = [mc.CreditMeter(quantiles=5)]
        return mc.Trainer(env, team, seed=1, eval_every=60, checkpoint_every=30, run_dir=folder, callbacks=meter)

    whole = start(tmp_path / "whole").fit(240, progress=False)
    start(tmp_path / "parts").fit(120, progress=False)
    again = mc.Trainer.resume(tmp_path / "parts", small()[0], callbacks=[mc.CreditMeter(quantiles=5)])
    run = again.fit(240, progress=False)
    assert without(run, True) == without(whole, True) and "entropy_p5" in run.history[-1]
    saved = mc.Run.load(tmp_path / "parts" / "run.json")
    assert saved.history == json.loads(json.dumps(run.history)) and "cv_mean" in saved.frame()


def test_percentiles_of_a_whole_training_pool_the_evaluations():
    runs = []
    for seed in range(2):
        env, team = small()
        meter = [mc.CreditMeter(quantiles=101)]
        runs.append(mc.Trainer(env, team, seed=seed, eval_every=50, callbacks=meter).fit(200, progress=False))
    pooled = pooled_percentiles(runs)
    every = torch.tensor([row["entropy_quantiles"] for run in runs for row in run.history[1:]]).flatten()
    assert list(pooled) == [5, 25, 50, 75, 95]
    for k, v in pooled.items():
        assert v == pytest.approx(torch.quantile(every, k / 100).item(), abs=1e-5)
    assert min(every) <= pooled[5] <= pooled[95] <= 1 and pooled_percentiles(runs[0], [50])[50] != pooled[50]
    env, team = small()
    bare = mc.Trainer(env, team, callbacks=[mc.CreditMeter()]).fit(50, progress=False)
    with pytest.raises(ValueError, match=r"kept no quantiles: train with callbacks=\[CreditMeter\(quantiles=101\)\]"):
        pooled_percentiles(bare)


@pytest.mark.parametrize("kind", [mc.IQL, mc.QTRAN, mc.COMA])
def test_an_algorithm_without_a_mixer_is_refused_before_work(kind):
    env = mc.make("two-step", num_envs=4, device="cpu")
    team = kind(env.spec, device="cpu")
    trainer = mc.Trainer(env, team, callbacks=[mc.CreditMeter()])
    with pytest.raises(TypeError, match=f"asks the mixer, and {kind.__name__} has none: use it with VDN, QMIX"):
        trainer.fit(100, progress=False)
    assert trainer.env_steps == 0 and not trainer.run.history
