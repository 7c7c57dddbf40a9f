"""QMIX-simple: Eq. 9 of Zhao et al. 2022, equal credit by construction, and that it learns."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import marlcourse as mc
from marlcourse.core import Discrete, EnvSpec
from marlcourse.credit import credit
from marlcourse.nets.simple_mixer import SimpleMixer, SumMixer

SPEC = EnvSpec("small", 3, 5, 6, 10, Discrete(4))


def case(layers=2, rows=256, seed=0):
    torch.manual_seed(seed)
    return SimpleMixer(6, layers=layers), torch.randn(rows, 3) * 3, torch.randn(rows, 6) * 2


@pytest.mark.parametrize("layers", [1, 2])
def test_the_mixer_is_equation_9(layers):
    mixer, q, state = case(layers)
    w1, w2 = mixer.w1(state).abs().squeeze(-1), mixer.w2(state).abs().squeeze(-1)
    x = w1 * (q[:, 0] + q[:, 1] + q[:, 2]) + mixer.b1(state).squeeze(-1)
    assert (x < 0).any() and (x > 0).any()
    torch.testing.assert_close(mixer(q, state), w2 * F.elu(x) + mixer.b2(state).squeeze(-1))
    torch.testing.assert_close(mixer(q.view(16, 16, 3), state.view(16, 16, 6)).flatten(), mixer(q, state))


@pytest.mark.parametrize("layers", [1, 2])
def test_every_agent_gets_the_same_credit_and_it_is_not_negative(layers):
    mixer, q, state = case(layers)
    g = credit(mixer, q, state)
    assert (g >= 0).all() and (g.mean(-1) > 0).any()
    assert torch.equal(g, g[:, :1].expand(-1, 3))
    assert (mc.normalised_entropy(g) - 1).abs().max() < 1e-6


def test_it_forgets_who_is_who_and_reads_the_state():
    mixer, q, state = case()
    torch.testing.assert_close(mixer(q[:, [2, 0, 1]], state), mixer(q, state))
    assert not torch.allclose(mixer(q, state.roll(1, 0)), mixer(q, state))
    assert mixer(torch.randn(256, 7), state).shape == (256,), "any number of agents"


def test_with_unit_weights_and_a_large_bias_it_is_vdn():
    """w1 = w2 = 1, b1 large so that ELU is the identity, b2 = -b1."""
    mixer, q, state = case()
    with torch.no_grad():
        for p in mixer.parameters():
            p.zero_()
        mixer.w1[-1].bias.fill_(-1.0)  # its absolute value counts
        mixer.w2[-1].bias.fill_(1.0)
        mixer.b1.bias.fill_(64.0)
        mixer.b2[-1].bias.fill_(-64.0)
    torch.testing.assert_close(mixer(q, state), SumMixer()(q, state), atol=1e-4, rtol=0)


def test_weights_are_made_positive_and_biases_keep_their_sign():
    mixer, q, state = case(rows=512)
    for bias in (mixer.b1(state), mixer.b2(state)):
        assert (bias < 0).any() and (bias > 0).any()
    assert (mixer.w1(state) < 0).any() and (mixer.w2(state) < 0).any(), "what abs makes positive was of both signs"
    with torch.no_grad():
        more = mixer(q + torch.tensor([0.5, 0, 0]), state)
    assert (more >= mixer(q, state)).all()


def test_the_configs_options_reach_the_mixer():
    one = mc.QMIXSimple(SPEC, mc.QMIXSimple.Config(hypernet_layers=1, embed=8), device="cpu").mixer
    two = mc.QMIXSimple(SPEC, device="cpu").mixer
    assert isinstance(one.w1, nn.Linear) and isinstance(one.w2, nn.Linear) and one.b2[0].out_features == 8
    assert [type(m) for m in two.w1] == [nn.Linear, nn.ReLU, nn.Linear] and two.w1[0].out_features == 64
    assert two.b2[0].out_features == 32 and two.w2[-1].out_features == two.b1.out_features == 1


def test_its_published_settings_are_qmixs():
    simple, qmix = mc.QMIXSimple.Config.preset("gre"), mc.QMIX.Config.preset("pymarl")
    assert vars(simple) == vars(qmix)
    assert "GRE" in mc.QMIXSimple.Config.sources("gre")["hypernet_layers"]


@pytest.mark.learning
@pytest.mark.parametrize("seed", range(3))
def test_qmix_simple_finds_the_8_of_the_two_step_game(seed):
    """VDN takes the sure 7 (test_learning.py): one state-dependent number in front of the sum is enough for the 8."""
    env = mc.make("two-step", num_envs=32, device="cpu")
    algorithm = mc.QMIXSimple(env.spec, mc.QMIXSimple.Config.preset("two-step"), seed=seed, device="cpu")
    run = mc.Trainer(env, algorithm, seed=seed, eval_every=10_000).fit(10_000, progress=False)
    assert run.history[-1]["return_mean"] == 8.0
