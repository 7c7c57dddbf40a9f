"""Networks: the input layer, memory, mixers, and what seeds and parts promise."""

import dataclasses
import importlib.util
import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import marlcourse as mc
from marlcourse.core import Discrete, EnvSpec
from marlcourse.nets.agents import GRU, GRUSequence, InputLayer, RecurrentAgent, previous_actions
from marlcourse.nets.critics import FreeMixer
from marlcourse.nets.mixers import MonotonicMixer
from marlcourse.nets.simple_mixer import SumMixer
from marlcourse.nets.small import FeedForwardAgent

_spec = importlib.util.spec_from_file_location("worlds_for_tests", Path(__file__).with_name("worlds_for_tests.py"))
helpers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helpers)

SPEC = EnvSpec("small", 3, 5, 6, 10, Discrete(4))
ALGORITHMS = [mc.IQL, mc.VDN, mc.QMIX, mc.QMIXSimple, mc.QMIXGRE, mc.OWQMIX, mc.CWQMIX, mc.QTRAN, mc.COMA, mc.LICA]


def inputs(b=2, t=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    obs = torch.randn(b, t, 3, 5, generator=g)
    last = torch.randint(0, 4, (b, t, 3), generator=g)
    last[:, 0] = -1
    return obs, last


# ---- the input layer ----


@pytest.mark.parametrize("last_action, agent_id", list(itertools.product([True, False], repeat=2)))
def test_input_layer_is_the_explicit_concatenation(last_action, agent_id):
    layer = InputLayer(SPEC, 16, last_action, agent_id)
    obs, last = inputs()
    parts = [obs]
    if last_action:
        one_hot = F.one_hot(last.clamp(min=0), 4).float()
        one_hot[:, 0] = 0  # at the first step there is no last action
        parts.append(one_hot)
    if agent_id:
        parts.append(torch.eye(3).expand(2, 7, 3, 3))
    plain = layer.linear(torch.cat(parts, -1))
    fast = layer(obs, last)
    torch.testing.assert_close(fast, plain)
    weight = torch.randn_like(plain)
    for a, b in zip(
        torch.autograd.grad((fast * weight).sum(), list(layer.parameters())),
        torch.autograd.grad((plain * weight).sum(), list(layer.parameters())),
    ):
        torch.testing.assert_close(a, b)


def test_previous_actions_are_one_step_late():
    actions = torch.arange(6).view(1, 3, 2)
    first = torch.full((1, 2), -1)
    assert previous_actions(actions, first)[0].tolist() == [[-1, -1], [0, 1], [2, 3], [4, 5]]


# ---- memory ----


@pytest.mark.parametrize("network", [RecurrentAgent, FeedForwardAgent])
def test_a_sequence_pass_equals_acting_step_by_step(network):
    torch.manual_seed(0)
    agent, (obs, last) = network(SPEC, 16, last_action=True), inputs()
    start = hidden = torch.randn(2, 3, 16) if network is RecurrentAgent else agent.initial_hidden(2, 3)
    whole, end = agent(obs, last, start)
    steps = []
    for t in range(obs.shape[1]):
        q, hidden = agent(obs[:, t : t + 1], last[:, t : t + 1], hidden)
        steps.append(q)
    torch.testing.assert_close(torch.cat(steps, 1), whole)
    torch.testing.assert_close(hidden, end)


def test_a_recurrent_agent_remembers_and_a_feed_forward_one_does_not():
    obs, last = inputs()
    other = obs.clone()
    other[:, 0] += 1
    for network, remembers in ((RecurrentAgent, True), (FeedForwardAgent, False)):
        agent = network(SPEC, 16)
        start = agent.initial_hidden(2, 3)
        assert torch.equal(agent(obs, last, start)[0][:, 1:], agent(other, last, start)[0][:, 1:]) is not remembers


def test_agents_and_episodes_do_not_mix():
    """Changing one agent's observation in one episode changes that agent's outputs there and nothing else."""
    agent, (obs, last) = RecurrentAgent(SPEC, 16), inputs()
    other = obs.clone()
    other[1, 2, 0] += 1
    start = agent.initial_hidden(2, 3)
    moved = (agent(obs, last, start)[0] != agent(other, last, start)[0]).any(-1)
    want = torch.zeros(2, 7, 3, dtype=torch.bool)
    want[1, 2:, 0] = True
    assert torch.equal(moved, want)


def test_the_id_tells_agents_apart():
    obs, last = torch.ones(1, 1, 3, 5), torch.full((1, 1, 3), -1)
    for agent_id in (True, False):
        torch.manual_seed(0)
        agent = RecurrentAgent(SPEC, 16, agent_id=agent_id)
        q = agent(obs, last, agent.initial_hidden(1, 3))[0][0, 0]
        apart = float((q[0] - q[1]).abs().max())
        assert apart > 1e-3 if agent_id else apart < 1e-6, "equal rows of one product may differ in the last bit"


# ---- the GRU that is written out ----


def through(gru, x, start, weight):
    """Outputs, last hidden state and all gradients of a weighted sum of both."""
    x, start = x.clone().requires_grad_(), start.clone().requires_grad_()
    out, last = gru(x, start)
    loss = (out * weight).sum() + 3 * (last * weight[:1]).sum()
    return [out, last, *torch.autograd.grad(loss, [x, start, *gru.parameters()])]


def written_out(monkeypatch):
    """Counts the calls of GRUSequence: 'as nn.GRU' must not be nn.GRU itself."""
    calls, inner = [], GRUSequence.apply
    monkeypatch.setattr(GRUSequence, "apply", lambda *tensors: calls.append(1) or inner(*tensors))
    return calls


@pytest.mark.parametrize(
    "steps, rows, inputs_, width", [(1, 1, 1, 1), (1, 4, 3, 5), (7, 3, 4, 6), (130, 2, 6, 3), (20, 70, 16, 16)]
)
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_written_out_gru_is_nn_gru(steps, rows, inputs_, width, scale, monkeypatch):
    """Outputs, hidden state and every gradient, also where the gates saturate."""
    torch.manual_seed(steps)
    plain, own = nn.GRU(inputs_, width).double(), GRU(inputs_, width).double()
    own.load_state_dict(plain.state_dict())
    x, start, weight = (torch.randn(*s).double() for s in ((steps, rows, inputs_), (1, rows, width), (steps, rows, width)))
    calls = written_out(monkeypatch)
    for got, want in zip(through(own, scale * x, start, weight), through(plain, scale * x, start, weight), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)
    assert len(calls) == 1


def test_the_written_out_gru_is_nn_gru_in_single_precision():
    torch.manual_seed(0)
    plain, own = nn.GRU(64, 64), GRU(64, 64)
    own.load_state_dict(plain.state_dict())
    x, start, weight = torch.randn(101, 64, 64), torch.randn(1, 64, 64), torch.randn(101, 64, 64)
    for got, want in zip(through(own, x, start, weight), through(plain, x, start, weight), strict=True):
        assert (got - want).abs().max() <= 2e-6 * want.abs().max()


def test_the_adjoint_is_the_derivative():
    torch.manual_seed(0)
    shapes = [(4, 2, 3), (2, 2), (6, 3), (6, 2), (6,), (6,)]
    assert torch.autograd.gradcheck(GRUSequence.apply, [torch.randn(*s).double().requires_grad_() for s in shapes])


def test_one_part_of_the_output_is_enough_for_a_gradient():
    """The last state alone, or the first step alone: what else comes back is zero or absent."""
    torch.manual_seed(0)
    plain, own = nn.GRU(3, 4).double(), GRU(3, 4).double()
    own.load_state_dict(plain.state_dict())
    x, start = torch.randn(5, 2, 3).double().requires_grad_(), torch.randn(1, 2, 4).double().requires_grad_()
    for part in (lambda out, last: last.sum(), lambda out, last: out[0].sum(), lambda out, last: out.transpose(0, 1).sum()):
        got, want = (torch.autograd.grad(part(*gru(x, start)), [x, start, *gru.parameters()]) for gru in (own, plain))
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b)


def test_a_second_backward_pass_gives_the_same_and_disturbs_nothing():
    torch.manual_seed(0)
    gru, x = GRU(3, 4), torch.randn(5, 2, 3).requires_grad_()
    out, _ = gru(x, torch.zeros(1, 2, 4))
    kept = out.detach().clone()
    first, second = (torch.autograd.grad(out.sum(), [x, *gru.parameters()], retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second)) and torch.equal(out, kept)
    with pytest.raises(RuntimeError, match="one derivative on a CPU.* nn.GRU"):
        torch.autograd.grad(torch.autograd.grad(out.sum(), x, create_graph=True)[0].sum(), x)


def test_without_a_graph_the_outputs_are_the_same_bits():
    torch.manual_seed(0)
    gru, x, start = GRU(8, 8), torch.randn(9, 5, 8), torch.randn(1, 5, 8)
    with_graph, x0 = gru(x, start), x.clone()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            got = gru(x, start)
        assert all(torch.equal(a, b) and not a.requires_grad for a, b in zip(got, with_graph))
    assert torch.equal(x, x0)


def test_a_recurrent_agents_states_are_those_of_nn_gru():
    """The same names and shapes, in both directions: teams saved with either load into the other."""
    plain, own = nn.GRU(5, 7), GRU(5, 7)
    assert [(n, p.shape) for n, p in own.state_dict().items()] == [(n, p.shape) for n, p in plain.state_dict().items()]
    plain.load_state_dict(own.state_dict())
    assert type(RecurrentAgent(SPEC, 16).gru) is GRU


@pytest.mark.parametrize(
    "options, x, start",
    [
        ({"num_layers": 2}, (4, 2, 3), (2, 2, 5)),
        ({"bidirectional": True}, (4, 2, 3), (2, 2, 5)),
        ({"batch_first": True}, (2, 4, 3), (1, 2, 5)),
        ({"batch_first": True}, (2, 2, 3), (1, 2, 5)),
        ({"bias": False}, (4, 2, 3), (1, 2, 5)),
        ({}, (4, 3), (1, 5)),  # no batch
        ({}, (4, 2, 3), None),  # no start
    ],
)
def test_the_unusual_goes_to_nn_gru(options, x, start, monkeypatch):
    plain, own, calls = nn.GRU(3, 5, **options), GRU(3, 5, **options), written_out(monkeypatch)
    own.load_state_dict(plain.state_dict())
    x, start = torch.randn(*x), None if start is None else torch.randn(*start)
    for got, want in zip(own(x, start), plain(x, start), strict=True):
        assert torch.equal(got, want)
    assert not calls


@pytest.mark.parametrize(
    "x, start", [((4, 2, 9), (1, 2, 5)), ((4, 2, 3), (1, 3, 5)), ((4, 2, 3), (1, 2, 4)), ((0, 2, 3), (1, 2, 5))]
)
def test_a_wrong_shape_is_refused_as_nn_gru_refuses_it(x, start):
    messages = []
    for gru in (nn.GRU(3, 5), GRU(3, 5)):
        with pytest.raises((RuntimeError, ValueError)) as problem:
            gru(torch.randn(*x), torch.randn(*start))
        messages.append(str(problem.value))
    assert messages[0] == messages[1]


def test_torch_func_gets_nn_gru(monkeypatch):
    """A transform differentiates nn.GRU; vmap has no rule for it, and says so."""
    gru, calls = GRU(3, 4), written_out(monkeypatch)
    x, start = torch.randn(5, 2, 3), torch.zeros(1, 2, 4)
    got = torch.func.grad(lambda x: gru(x, start)[0].square().sum())(x)
    assert not calls
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(got, torch.autograd.grad(gru(leaf, start)[0].square().sum(), leaf)[0])
    assert len(calls) == 1
    with pytest.raises(RuntimeError, match="aten::gru"):
        torch.vmap(lambda x: gru(x, start)[0])(torch.stack([x, x]))
    assert len(calls) == 1


def test_mixed_precision_gets_nn_gru(monkeypatch):
    agent, (obs, last), calls = RecurrentAgent(SPEC, 16), inputs(), written_out(monkeypatch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        q, _ = agent(obs, last, agent.initial_hidden(2, 3))
    assert not calls
    torch.testing.assert_close(q.float(), agent(obs, last, agent.initial_hidden(2, 3))[0], atol=0.05, rtol=0.05)


# ---- mixers ----


def mixer_and_inputs(layers=2, agents=3, rows=64, seed=0, scale=1.0):
    torch.manual_seed(seed)
    return MonotonicMixer(agents, 6, layers=layers), torch.randn(rows, agents) * scale, torch.randn(rows, 6) * scale


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_monotonic_mixer_never_punishes_a_utility(layers, scale):
    mixer, q, state = mixer_and_inputs(layers, rows=512, scale=scale)
    (slope,) = torch.autograd.grad(mixer(q.requires_grad_(), state).sum(), q)
    assert (slope >= 0).all() and (slope > 0).any()


@pytest.mark.parametrize("layers", [1, 2])
def test_igm_by_enumeration(layers):
    """The argmax of Q_tot over all joint actions is every agent's own argmax."""
    mixer, _, state = mixer_and_inputs(layers, rows=40)
    q = torch.randn(40, 3, 4)
    joint = torch.cartesian_prod(*[torch.arange(4)] * 3)  # [64,3]
    chosen = q[:, torch.arange(3), joint]  # [40,64,3]
    table = mixer(chosen, state.unsqueeze(1).expand(-1, 64, -1))
    greedy = mixer(q.max(-1).values, state)
    torch.testing.assert_close(table.max(1).values, greedy)
    assert torch.equal(joint[table.argmax(1)], q.argmax(-1))


@pytest.mark.parametrize("layers", [1, 2])
def test_at_one_state_the_mixer_is_convex_and_supermodular(layers):
    mixer, q, state = mixer_and_inputs(layers, rows=400, scale=2.0)
    mixer, q, state = mixer.double(), q.double(), state.double()
    other = torch.randn_like(q) * 2
    middle = mixer((q + other) / 2, state)
    assert (middle <= (mixer(q, state) + mixer(other, state)) / 2 + 1e-9).all()
    up = torch.rand_like(q) * 2
    first, second = up * torch.tensor([1.0, 0, 0]), up * torch.tensor([0, 1.0, 0])
    mixed = mixer(q + first + second, state) - mixer(q + first, state) - mixer(q + second, state) + mixer(q, state)
    assert (mixed >= -1e-9).all() and (mixed > 1e-3).any()


def test_both_biases_keep_their_sign():
    mixer, _, state = mixer_and_inputs(rows=256)
    for bias in (mixer.b1(state), mixer.v(state)):
        assert (bias < 0).any() and (bias > 0).any()


def test_the_mixer_is_its_formula():
    mixer, q, state = mixer_and_inputs()
    w1, w2 = mixer.w1(state).abs().view(64, 3, 32), mixer.w2(state).abs().view(64, 32, 1)
    hidden = F.elu(torch.bmm(q.unsqueeze(1), w1) + mixer.b1(state).unsqueeze(1))
    want = (torch.bmm(hidden, w2) + mixer.v(state).unsqueeze(1)).flatten()
    torch.testing.assert_close(mixer(q, state), want)
    torch.testing.assert_close(mixer(q.view(8, 8, 3), state.view(8, 8, 6)).flatten(), want)  # leading axes pass through


def test_hypernet_layers_are_one_or_two():
    one, two = MonotonicMixer(3, 6, layers=1), MonotonicMixer(3, 6, layers=2)
    assert isinstance(one.w1, nn.Linear) and isinstance(one.w2, nn.Linear)
    for net in (two.w1, two.w2):
        assert [type(m) for m in net] == [nn.Linear, nn.ReLU, nn.Linear] and net[0].out_features == 64
    built = [mc.QMIX(SPEC, mc.QMIX.Config(hypernet_layers=n, embed=8), device="cpu").mixer for n in (1, 2)]
    assert isinstance(built[0].w1, nn.Linear) and isinstance(built[1].w1, nn.Sequential)
    assert built[0].w1.out_features == 3 * 8 and built[1].v[0].out_features == 8


def test_vdn_is_a_plain_sum_in_any_order():
    q, state = torch.randn(10, 3), torch.randn(10, 6)
    total = SumMixer()(q.requires_grad_(), state)
    assert torch.equal(torch.autograd.grad(total.sum(), q)[0], torch.ones(10, 3))
    torch.testing.assert_close(SumMixer()(q[:, [2, 0, 1]], state), total)
    assert not list(SumMixer().parameters())


def fit_table(mixer, table, steps=1500, seed=0):
    """Least squares of mixer(Q_1(a_1), Q_2(a_2)) to a payoff table, every entry weighted equally."""
    torch.manual_seed(seed)
    table = torch.tensor(table, dtype=torch.float32)
    n = len(table)
    q = nn.Parameter(torch.randn(2, n) * 0.1)
    optimizer = torch.optim.Adam([q, *mixer.parameters()], 0.02)
    state = torch.ones(n, n, 1)
    for _ in range(steps):
        utilities = torch.stack([q[0].unsqueeze(1).expand(n, n), q[1].unsqueeze(0).expand(n, n)], -1)
        loss = (mixer(utilities, state) - table).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item(), mixer(utilities, state).detach()


@pytest.mark.parametrize("kind", ["sum", "monotonic"])
def test_neither_vdn_nor_qmix_represents_or(kind):
    """OR is monotone but not supermodular: at one state the best either can do is the additive fit, SSE .25."""
    torch.manual_seed(0)
    mixer = SumMixer() if kind == "sum" else MonotonicMixer(2, 1, embed=8)
    sse, _ = fit_table(mixer, [[0, 1], [1, 1]])
    assert sse == pytest.approx(0.25, abs=2e-3)


def test_vdn_on_the_qtran_game_is_the_least_squares_fit():
    sse, fitted = fit_table(SumMixer(), [[8, -12, -12], [-12, 0, 0], [-12, 0, 0]])
    want = torch.tensor([[-6.22, -4.89, -4.89], [-4.89, -3.56, -3.56], [-4.89, -3.56, -3.56]])
    torch.testing.assert_close(fitted, want, atol=0.02, rtol=0)
    assert sse == pytest.approx(455.11, abs=0.05)


def test_the_free_mixer_is_not_monotone():
    torch.manual_seed(0)
    mixer, q, state = FreeMixer(3, 6, 32), torch.randn(256, 3, requires_grad=True), torch.randn(256, 6)
    (slope,) = torch.autograd.grad(mixer(q, state).sum(), q)
    assert (slope < 0).any() and (slope > 0).any()
    sse, _ = fit_table(FreeMixer(2, 1, 32), [[0, 1], [1, 0]], steps=400)
    assert sse < 0.01


# ---- seeds and parts ----


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_weights_depend_on_the_seed_alone(kind):
    torch.manual_seed(1)
    a = kind(SPEC, seed=5, device="cpu")
    torch.manual_seed(2)
    torch.rand(10)
    before = torch.get_rng_state()
    b = kind(SPEC, seed=5, device="cpu")
    assert torch.equal(torch.get_rng_state(), before), "building must not disturb the global generator"
    assert same(a, b) and not same(a, kind(SPEC, seed=6, device="cpu"))


class Halves(nn.Module):
    """A reader's mixer with parameters of its own, drawn when it is made."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3))

    def forward(self, q, state):
        return (q * self.weight).sum(-1)


def test_replacing_the_mixer_leaves_the_agent_bit_equal():
    plain, own = mc.QMIX(SPEC, seed=3, device="cpu"), mc.QMIX(SPEC, seed=3, device="cpu", mixer=Halves)
    assert same(plain.agent, own.agent) and same(plain.target_agent, own.target_agent)
    assert isinstance(own.mixer, Halves) and isinstance(own.target_mixer, Halves)
    assert own.target_mixer is not own.mixer and not own.target_mixer.weight.requires_grad
    assert same(mc.QMIX(SPEC, seed=3, device="cpu", mixer=Halves), own), "a factory draws from the algorithm's seed"


def test_targets_start_as_copies_and_are_not_trained():
    for kind in (mc.QMIX, mc.CWQMIX, mc.QTRAN, mc.COMA, mc.LICA):
        algorithm = kind(SPEC, device="cpu")
        trained = {id(p) for o in algorithm.optimizers().values() for g in o.param_groups for p in g["params"]}
        for name, module in algorithm.named_children():
            if name.startswith("target_"):
                assert same(module, getattr(algorithm, name.removeprefix("target_")))
                assert not any(p.requires_grad or id(p) in trained for p in module.parameters())
            else:
                assert all(id(p) in trained for p in module.parameters()), name


@pytest.mark.parametrize("part", [3, "monotonic", lambda: 3])
def test_a_part_of_the_wrong_kind_is_one_sentence(part):
    with pytest.raises(TypeError, match="The part 'mixer' must be a torch.nn.Module or a function that returns one"):
        mc.QMIX(SPEC, device="cpu", mixer=part)


def test_a_class_that_needs_arguments_is_one_sentence():
    with pytest.raises(TypeError, match="The part 'mixer' must be .*without arguments.*'n_agents'"):
        mc.QMIX(SPEC, device="cpu", mixer=MonotonicMixer)


def test_an_unknown_part_is_named():
    with pytest.raises(TypeError, match="QMIX has no part named critic"):
        mc.QMIX(SPEC, device="cpu", critic=SumMixer)
    with pytest.raises(TypeError, match="IQL has no part named mixer"):
        mc.IQL(SPEC, device="cpu", mixer=SumMixer)


class WrongShape(nn.Module):
    def forward(self, q, state):
        return q.sum(-1, keepdim=True)  # [...,1] broadcasts against [...]: a wrong loss without an error


@pytest.mark.parametrize("kind", [mc.VDN, mc.QMIX, mc.OWQMIX])
def test_a_mixer_of_the_wrong_shape_is_refused_when_it_is_plugged_in(kind):
    with pytest.raises(ValueError, match=r"The part 'mixer' must return shape \[2, 3\], not \[2, 3, 1\]"):
        kind(SPEC, device="cpu", mixer=WrongShape)


def test_a_config_of_another_algorithm_is_one_sentence():
    with pytest.raises(TypeError, match="config must be a QTRAN.Config, not QMIXConfig"):
        mc.QTRAN(SPEC, mc.QMIX.Config(), device="cpu")


# ---- presets ----


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_every_number_of_a_preset_has_a_source(kind):
    fields = {f.name for f in dataclasses.fields(kind.Config)}
    assert kind.Config.presets
    for name, settings in kind.Config.presets.items():
        config = kind.Config.preset(name)
        assert set(settings) <= fields
        for setting, (value, source) in settings.items():
            assert isinstance(source, str) and len(source.strip()) > 10, (name, setting)
            assert getattr(config, setting) == value
        assert kind.Config.sources(name).keys() == settings.keys()
        kind(SPEC, config, device="cpu")  # and it builds


def test_changes_replace_single_values():
    config = mc.QMIX.Config.preset("pymarl2", lr=0.125)
    assert config.lr == 0.125 and config.lam == 0.6


def test_published_settings():
    """The table of the fact sheet, row by row."""
    rmsprop, adam = torch.optim.RMSprop, torch.optim.Adam
    for kind, preset, want in [
        (mc.QMIX, "pymarl", (rmsprop, 5e-4, 50_000, 32, 0.0, 64, True)),
        (mc.VDN, "pymarl", (rmsprop, 5e-4, 50_000, 32, 0.0, 64, True)),
        (mc.QMIX, "pymarl2", (adam, 1e-3, 100_000, 128, 0.6, 64, True)),
        (mc.VDN, "pymarl2", (adam, 1e-3, 100_000, 128, 0.6, 64, True)),
        (mc.CWQMIX, "pymarl2", (adam, 1e-3, 100_000, 128, 0.6, 64, True)),
        (mc.CWQMIX, "wqmix", (rmsprop, 5e-4, 50_000, 32, 0.0, 64, True)),
        (mc.IQL, "epymarl", (adam, 3e-4, 200_000, 32, 0.0, 128, True)),
        (mc.QMIX, "epymarl", (adam, 5e-4, 50_000, 32, 0.0, 64, False)),
    ]:
        c = kind.Config.preset(preset)
        assert (c.optimizer, c.lr, c.epsilon.steps, c.batch_size, c.lam, c.hidden, c.recurrent) == want, (kind, preset)
        assert (c.gamma, c.grad_clip, c.double_q, c.target_every) == (0.99, 10.0, True, 200)
        assert (c.epsilon.start, c.epsilon.end) == (1.0, 0.05)
    assert mc.QMIX.Config.preset("epymarl").last_action is False


@pytest.mark.parametrize("method", ["preset", "sources"])
def test_an_unknown_preset_lists_the_close_matches(method):
    with pytest.raises(ValueError, match="Unknown preset 'pymar': did you mean .*'pymarl'.*Known: .*two-step"):
        getattr(mc.QMIX.Config, method)("pymar")


def test_rmsprop_has_pymarls_settings_and_other_optimizers_their_own():
    group = mc.QMIX(SPEC, device="cpu").optimizers()["main"].param_groups[0]
    assert (group["lr"], group["alpha"], group["eps"], group["momentum"]) == (5e-4, 0.99, 1e-5, 0)
    adam = mc.QMIX(SPEC, mc.QMIX.Config(optimizer=torch.optim.Adam, lr=0.1), device="cpu").optimizers()["main"]
    assert isinstance(adam, torch.optim.Adam) and adam.param_groups[0]["lr"] == 0.1
