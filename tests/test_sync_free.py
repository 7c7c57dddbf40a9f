"""No wait for the GPU inside a step, checked without one.

Tensors on PyTorch's "meta" device have a shape but no numbers, so ``.item()``, ``bool(tensor)``, ``nonzero``, boolean
indexing and copies to the host fail at once: exactly what would make the host wait for a card. And like a card, the meta
device is not "cpu", so that the library takes the ways that it takes on a GPU.
"""

import pytest
import torch

import marlcourse as mc
from marlcourse.envs import base
from marlcourse.rollout import Collector, Context

CARD = torch.device("meta")
WORLDS = ("two-step", "matrix/qtran", "junction")
DISCRETE = ("IQL", "VDN", "QMIX", "QMIXSimple", "QMIXGRE", "MNMPG", "OWQMIX", "CWQMIX", "QTRAN", "COMA", "LICA")


class HostGenerator(torch.Generator):
    """PyTorch has no generator for the meta device."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls, "cpu")


@pytest.fixture
def card(monkeypatch):
    """Every new world and algorithm stands on the pretended card."""
    monkeypatch.setattr(torch, "Generator", HostGenerator)
    for module in (base, mc.core):
        monkeypatch.setattr(module, "pick_device", lambda device=None: CARD)


def in_world(name, kind, **settings):
    env = mc.make(name, num_envs=4)
    kind = getattr(mc, kind)
    algorithm = kind(env.spec, kind.Config(**settings))
    assert env.device == CARD == algorithm.device
    return env, algorithm


def a_batch(env, steps=None):
    """What collect would give: its end may wait for the card (to know the lengths), and is not what is tested here."""
    s, r, t = env.spec, 6, steps or env.spec.episode_limit
    return mc.EpisodeBatch(
        obs=torch.rand(r, t + 1, s.n_agents, s.obs_dim, device=CARD),
        state=torch.rand(r, t + 1, s.state_dim, device=CARD),
        avail=torch.ones(r, t + 1, s.n_agents, s.n_actions, dtype=torch.bool, device=CARD),
        actions=torch.zeros(r, t, s.n_agents, dtype=torch.long, device=CARD),
        reward=torch.rand(r, t, device=CARD),
        terminated=torch.zeros(r, t, dtype=torch.bool, device=CARD),
        truncated=torch.zeros(r, t, dtype=torch.bool, device=CARD),
        mask=torch.ones(r, t, device=CARD),
        length=torch.full((r,), t),
    )


def losses(algorithm):
    """{optimiser: loss of a batch}."""
    names = algorithm.optimizers()
    found = {n: algorithm.loss if n == "main" else getattr(algorithm, f"{n}_loss") for n in names}
    if isinstance(algorithm, mc.MNMPG):
        drawn = torch.Generator()
        found["main"] = lambda batch: algorithm.loss(algorithm.with_noise(batch, drawn))
        found["meta"] = lambda batch: algorithm.meta_loss(
            with_z := algorithm.with_z(batch, drawn), algorithm.improvement(with_z, batch)
        )
    return found


def test_the_pretended_card_notices_a_wait(card):
    x = torch.rand(3, device=CARD)
    waits = [lambda: bool(x.sum() > 0), lambda: x[0].item(), lambda: float(x.max()), lambda: x.tolist(), lambda: x.cpu()]
    waits += [lambda: x.nonzero(), lambda: x[x > 0], lambda: torch.masked_select(x, x > 0)]
    for wait in waits:
        with pytest.raises((RuntimeError, NotImplementedError)):
            wait()


@pytest.mark.parametrize("explore", [True, False])
@pytest.mark.parametrize("kind", DISCRETE)
def test_acting_never_waits(card, kind, explore):
    for name in WORLDS:
        env, algorithm = in_world(name, kind)
        observation, carry = env.reset(seed=0), algorithm.initial_carry(4)
        for _ in range(2):
            action = algorithm.act(observation, carry, explore, torch.Generator())
            carry = action.carry
        assert action.actions.device == CARD and action.actions.shape == (4, env.spec.n_agents)


@pytest.mark.parametrize("name", [*WORLDS, "product-game", "lumberjacks", "traffic-junction-4", "two-rooms"])
def test_worlds_never_wait(card, name):
    env = mc.make(name, num_envs=4)
    env.reset(seed=0)
    n, kind = env.spec.n_agents, {"dtype": torch.long, "device": CARD}
    actions = torch.zeros(4, n, **kind) if name != "product-game" else torch.zeros(4, n, 1, device=CARD)
    for _ in range(2):
        step = env.step(actions)
        env.reset(where=step.terminated | step.truncated)
    assert step.reward.device == CARD and env.illegal.device == CARD


@pytest.mark.parametrize("kind, rows", [*((kind, None) for kind in DISCRETE), ("QMIX", 4), ("COMA", 4)])
def test_updates_never_wait(card, kind, rows):
    """Losses, gradients, clipping, the NaN flag; optimisers are PyTorch's own affair."""
    for name in WORLDS:
        env, algorithm = in_world(name, kind, **({"chunk_rows": rows} if rows else {}))
        context = Context(env, algorithm, seed=0)
        for optimizer, loss in losses(algorithm).items():
            metrics = context.step(optimizer, loss, a_batch(env))
            algorithm.after_update(context)
        assert all(value.device == CARD for value in metrics.values())
        assert set(context.not_finite) == {f"{o} {what}" for o in context.optimizers for what in ("loss", "gradient")}


@pytest.mark.parametrize("ask", [{"episodes": 4}, {"episodes": 8}, {"steps": 3}])
@pytest.mark.parametrize("name", WORLDS)
def test_collecting_waits_at_its_end_only(card, name, ask, monkeypatch):
    env, algorithm = in_world(name, "QMIX")
    play = Collector(env, algorithm)
    recorded = []
    monkeypatch.setattr(play, "_cut", lambda before, *rest, **more: recorded.append(len(before)))
    monkeypatch.setattr(env, "raise_if_illegal", lambda: recorded.append("illegal actions looked at"))
    play.collect(**ask)
    steps = ask.get("steps") or ask["episodes"] // 4 * env.spec.episode_limit
    assert recorded == ["illegal actions looked at", steps]


def test_sampling_and_moving_a_batch_never_waits(card):
    """Row numbers are drawn and lengths are kept on the host; a buffer on the card is read by one gather per field."""
    env, _ = in_world("two-step", "QMIX")
    whole = a_batch(env)
    whole.length = torch.tensor([2, 1, 2, 2, 1, 1])
    assert whole[torch.tensor([1, 4])].obs.shape[:2] == (2, 2)
    assert [piece.reward.shape for piece in whole.split(4)] == [(4, 2), (2, 1)]
    assert whole.to(CARD).length.device.type == "cpu"
