"""An ensemble must be nothing but its members, trained one by one."""

import dataclasses

import pytest
import torch
from torch import nn

import marlcourse as mc
from marlcourse.algorithms.coma_released import COMAReleased
from marlcourse.course.junction import (
    JOINT_ACTIONS,
    draw_weights,
    every_joint_action,
    expected_return,
    joint_probabilities,
    junction_study,
)  # fmt: skip
from marlcourse.course.matrix_study import every_joint_action as every_entry
from marlcourse.envs.junction import Junction
from marlcourse.envs.matrix import MatrixGame
from marlcourse.nets.small import PassCounterfactualCritic, PassCritic, SigmoidAgent

SEEDS = [0, 5, 9]
GAME = MatrixGame("qtran", device="cpu")


def coma(seed, **changes):
    config = mc.COMA.Config.preset("junction", **changes)
    return mc.COMA(Junction().spec, config, seed=seed, device="cpu", actor=SigmoidAgent, critic=PassCounterfactualCritic)


def lica(seed, **changes):
    config = mc.LICA.Config.preset("junction", **changes)
    return mc.LICA(Junction().spec, config, seed=seed, device="cpu", actor=SigmoidAgent, critic=PassCritic)


def qmix(seed, **changes):
    return mc.QMIX(GAME.spec, mc.QMIX.Config.preset("matrix", **changes), seed=seed, device="cpu")


def cwqmix(seed, **changes):
    return mc.CWQMIX(GAME.spec, mc.CWQMIX.Config.preset("matrix", **changes), seed=seed, device="cpu")


def alone(algorithm, name, method, batch, steps):
    """The same steps by the ordinary optimiser."""
    optimizer = algorithm.optimizers()[name]
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss, _ = getattr(algorithm, method)(batch)
        loss.backward(inputs=[p for g in optimizer.param_groups for p in g["params"]])
        if algorithm.config.grad_clip:
            torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], algorithm.config.grad_clip)
        optimizer.step()
        losses.append(loss.detach())
    return losses


@pytest.mark.parametrize("make", [coma, lica, qmix, cwqmix])
def test_members_start_as_the_algorithms_of_their_seeds(make):
    ensemble = mc.Ensemble(make, SEEDS)
    assert len(ensemble) == 3 and ensemble.seeds == SEEDS
    for k, seed in enumerate(SEEDS):
        want, got = make(seed).state_dict(), ensemble.member(k).state_dict()
        assert want.keys() == got.keys() and all(torch.equal(want[n], got[n]) for n in want)


@pytest.mark.parametrize(
    "make, name, method, clip, optimizer",
    [
        (coma, "critic", "critic_loss", None, torch.optim.Adam),
        (coma, "actor", "actor_loss", 0.01, torch.optim.RMSprop),
        (lica, "actor", "actor_loss", None, torch.optim.Adam),
        (qmix, "main", "loss", None, torch.optim.Adam),
        (qmix, "main", "loss", 1.0, torch.optim.SGD),
        (cwqmix, "main", "loss", 10.0, torch.optim.Adam),
    ],
)
def test_a_step_of_the_ensemble_is_a_step_of_each_member(make, name, method, clip, optimizer):
    """Same losses, same clipping (of each member on its own), same optimiser, same weights."""

    def changed(seed):
        return make(seed, grad_clip=clip, optimizer=optimizer, lr=0.01)

    batch = every_joint_action() if make in (coma, lica) else every_entry(GAME)
    ensemble = mc.Ensemble(changed, SEEDS)
    together = [ensemble.step(name, method, batch)[0] for _ in range(5)]
    for k, seed in enumerate(SEEDS):
        algorithm = changed(seed)
        for i, loss in enumerate(alone(algorithm, name, method, batch, 5)):
            torch.testing.assert_close(together[i][k], loss, rtol=1e-4, atol=1e-5)
        got = ensemble.member(k).state_dict()
        for n, p in algorithm.state_dict().items():
            torch.testing.assert_close(got[n], p, rtol=1e-3, atol=2e-5, msg=n)


def test_each_member_may_weigh_the_rows_in_its_own_way():
    rows, weights = every_joint_action(), torch.rand(3, 4, 1)
    ensemble = mc.Ensemble(coma, SEEDS)
    losses, metrics = ensemble.call("actor_loss", rows, per_member={"mask": weights})
    for k, seed in enumerate(SEEDS):
        own = dataclasses.replace(rows, mask=weights[k])
        loss, logged = coma(seed).actor_loss(own)
        torch.testing.assert_close(losses[k], loss)
        torch.testing.assert_close(metrics["advantage"][k], logged["advantage"])


def test_a_step_moves_only_its_own_networks():
    ensemble = mc.Ensemble(coma, SEEDS)
    before = {n: p.detach().clone() for n, p in ensemble.params.items()}
    ensemble.step("actor", "actor_loss", every_joint_action())
    for n, p in ensemble.params.items():
        moved = [not torch.equal(a, b) for a, b in zip(p, before[n])]
        assert all(moved) if n.startswith("actor.") and "bias" in n else n.startswith("actor.") or not any(moved), n


def test_copy_fills_every_members_target():
    ensemble = mc.Ensemble(qmix, SEEDS)
    for _ in range(3):
        ensemble.step("main", "loss", every_entry(GAME))
    targets = [n for n in ensemble.params if n.startswith("target_mixer.")]
    assert targets and any(not torch.equal(ensemble.params[n], ensemble.params[n.removeprefix("target_")]) for n in targets)
    ensemble.copy("mixer", "target_mixer")
    ensemble.copy("agent", "target_agent")
    targets += [n for n in ensemble.params if n.startswith("target_agent.")]
    assert all(torch.equal(ensemble.params[n], ensemble.params[n.removeprefix("target_")]) for n in targets)


class Odd(nn.Module):
    """A mixer that draws its weights in a way of its own: no reset_parameters to call again."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.rand(2))

    def forward(self, q, state):
        return (q * self.w).sum(-1)


def test_parts_that_draw_in_their_own_way_start_as_their_seeds_say():
    def make(seed):
        return mc.QMIX(GAME.spec, mc.QMIX.Config.preset("matrix"), seed=seed, device="cpu", mixer=Odd)

    ensemble = mc.Ensemble(make, SEEDS)
    for k, seed in enumerate(SEEDS):
        assert all(
            torch.equal(a, b) for a, b in zip(ensemble.member(k).state_dict().values(), make(seed).state_dict().values())
        )


def test_a_function_reaches_every_member():
    ensemble = mc.Ensemble(qmix, SEEDS)
    rows = every_entry(GAME)
    q = ensemble.call(lambda algorithm, batch: algorithm.utilities(algorithm.agent, batch), rows)
    assert q.shape == (3, 9, 2, 2, 3)
    for k, seed in enumerate(SEEDS):
        algorithm = qmix(seed)
        torch.testing.assert_close(q[k], algorithm.utilities(algorithm.agent, rows))


# ---- the junction's data ----


def test_the_four_joint_actions_and_their_rewards():
    rows = every_joint_action()
    assert rows.actions[:, 0].tolist() == JOINT_ACTIONS.tolist()
    assert rows.reward[:, 0].tolist() == [0.0, 1.0, 1.0, 0.0] and rows.terminated.all()


def test_data_distributions():
    p = torch.tensor([[0.9, 0.2], [0.5, 0.5]])
    g = torch.Generator().manual_seed(0)
    torch.testing.assert_close(joint_probabilities(p)[0], torch.tensor([0.1 * 0.8, 0.1 * 0.2, 0.9 * 0.8, 0.9 * 0.2]))
    torch.testing.assert_close(draw_weights("on-policy", p, g), joint_probabilities(p))
    torch.testing.assert_close(draw_weights("every joint action", p, g), torch.full((2, 4), 0.25))
    torch.testing.assert_close(draw_weights(0.5, p, g), (joint_probabilities(p) + 0.25) / 2)
    torch.testing.assert_close((joint_probabilities(p) * torch.tensor([0.0, 1, 1, 0])).sum(-1), expected_return(p))
    samples = draw_weights("samples", p.repeat(2000, 1), g)
    assert (samples.sum(-1) == 16).all()
    torch.testing.assert_close(samples[::2].mean(0) / 16, joint_probabilities(p)[0], atol=0.01, rtol=0)
    released = draw_weights("released", p.repeat(2000, 1), g)
    assert (released.sum(-1) == 15).all() and (released.sort(-1).values == torch.tensor([3.0, 4, 4, 4])).all()
    torch.testing.assert_close(released.mean(0), torch.full((4,), 3.75), atol=0.05, rtol=0)


def test_a_junction_study_repeats_bit_for_bit_and_seeds_are_its_members():
    one = junction_study("COMA (on-policy, 16 samples)", starts=[4, 8], steps=3, seed=4)
    two = junction_study("COMA (on-policy, 16 samples)", starts=[4, 8], steps=3, seed=4)
    assert torch.equal(one.p, two.p) and one.p.shape == (4, 2, 2)
    with torch.no_grad():
        first = coma(4).policies(every_joint_action())[0, 0, :, 1]
    torch.testing.assert_close(one.p[0, 0], first)


def test_outcomes_are_shares_of_all_starts():
    out = junction_study("LICA", starts=40, steps=0).outcome()
    four = ["both wait", "only car 2 passes", "only car 1 passes", "both pass"]
    assert sum(out[k] for k in four) == pytest.approx(1)
    assert out["rounds to an optimum"] == pytest.approx(out[four[1]] + out[four[2]])


def test_the_released_learner_is_the_released_class():
    from marlcourse.course.junction import LEARNERS

    assert LEARNERS["COMA (as released)"][0] is COMAReleased and LEARNERS["COMA (as released)"][2] == "released"
    assert LEARNERS["COMA (on-policy)"][0] is mc.COMA and LEARNERS["LICA"][0] is mc.LICA
