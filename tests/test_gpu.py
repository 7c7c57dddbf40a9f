"""On a real card: every algorithm trains, agrees with the CPU, and never makes the host wait inside a step."""

import math

import pytest
import torch

import marlcourse as mc
from marlcourse.rollout import Collector, Context

pytestmark = pytest.mark.gpu

WORLDS = ("two-step", "matrix/qtran", "junction", "traffic-junction-4")
KINDS = ("IQL", "VDN", "QMIX", "QMIXSimple", "QMIXGRE", "MNMPG", "OWQMIX", "CWQMIX", "QTRAN", "COMA", "LICA")


def make(kind, world="two-step", device="cuda", num_envs=8, **settings):
    env = mc.make(world, num_envs=num_envs, device=device)
    kind = getattr(mc, kind)
    if issubclass(kind, mc.QMIX):
        settings = {"replay_episodes": 64, "batch_size": 16, **settings}
    return env, kind(env.spec, kind.Config(**settings), seed=0, device=device)


def losses(algorithm):
    """{optimiser: loss of a batch}."""
    names = algorithm.optimizers()
    found = {n: algorithm.loss if n == "main" else getattr(algorithm, f"{n}_loss") for n in names}
    if isinstance(algorithm, mc.MNMPG):  # its schedule adds noise, and an improvement; here the same on both devices

        def drawn():
            return torch.Generator().manual_seed(3)

        found["main"] = lambda batch: algorithm.loss(algorithm.with_noise(batch, drawn()))
        found["meta"] = lambda batch: algorithm.meta_loss(algorithm.with_z(batch, drawn()), batch.reward.mean() + 1)
    return found


@pytest.fixture
def no_waiting():
    """Inside, PyTorch raises where the host would wait for the card."""

    class NoWaiting:
        def __enter__(self):
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")

        def __exit__(self, *exc):
            torch.cuda.set_sync_debug_mode("default")

    yield NoWaiting()
    torch.cuda.set_sync_debug_mode("default")


def test_the_debug_mode_notices_a_wait(no_waiting):
    x = torch.rand(3, device="cuda")
    with no_waiting, pytest.raises(RuntimeError, match="synchroniz"):
        bool(x.sum() > 0)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_algorithm_trains_on_the_card(kind, world):
    env, algorithm = make(kind, world)
    before = {k: v.clone() for k, v in algorithm.state_dict().items()}
    run = mc.Trainer(env, algorithm, buffer_device="cuda", eval_every=100, eval_episodes=8).fit(200)
    assert run.device.startswith("cuda") and run.history[-1]["env_steps"] >= 200
    after = algorithm.state_dict()
    assert all(v.is_cuda and torch.isfinite(v).all() for v in after.values())
    assert any(not torch.equal(before[k], after[k]) for k in after)
    assert all(math.isfinite(v) for v in run.history[-1].values() if v is not None)


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_cpu_and_gpu_losses_and_gradients_agree(kind, recurrent):
    env, on_host = make(kind, device="cpu", recurrent=recurrent)
    batch = Collector(env, on_host, seed=1).collect(episodes=16)
    _, on_card = make(kind, recurrent=recurrent)
    on_card.load_state_dict(on_host.state_dict())
    for name, loss in losses(on_host).items():
        values = loss(batch)[0], losses(on_card)[name](batch.to(on_card.device))[0]
        assert values[1].is_cuda and torch.allclose(values[0], values[1].cpu(), rtol=1e-3, atol=1e-4)
        slopes = []
        for algorithm, value in zip((on_host, on_card), values):
            parameters = [p for g in algorithm.optimizers()[name].param_groups for p in g["params"]]
            slopes.append(torch.autograd.grad(value, parameters, allow_unused=True))
        for host, card in zip(*slopes):
            assert (host is None) == (card is None)
            assert host is None or torch.allclose(host, card.cpu(), rtol=1e-2, atol=1e-3)


def test_the_same_weights_come_from_the_same_seed_on_both():
    a, b = make("QMIX", device="cpu")[1].state_dict(), make("QMIX")[1].state_dict()
    assert all(torch.equal(a[k], b[k].cpu()) for k in a)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_wait_inside_acting_stepping_and_updating(kind, world, no_waiting):
    env, algorithm = make(kind, world)
    context = Context(env, algorithm, seed=0, buffer_device="cuda")
    batch = context.collect()
    steps = losses(algorithm)
    for name, loss in steps.items():
        context.step(name, loss, batch)  # the first step of an optimiser may set itself up
    play = context.collector
    observation, carry = env.reset(seed=0), algorithm.initial_carry(env.num_envs)
    with no_waiting:
        for explore in (True, False):
            action = algorithm.act(observation, carry, explore, play.generator)
            step = env.step(action.actions)
            observation = env.reset(where=step.terminated | step.truncated)
            carry = mc.core.where(step.terminated | step.truncated, algorithm.initial_carry(env.num_envs), action.carry)
        for name, loss in steps.items():
            context.step(name, loss, batch)
            algorithm.after_update(context)
    context.raise_if_not_finite()


@pytest.mark.parametrize("buffer_device", ["cpu", "cuda"])
def test_sampling_waits_for_nothing(buffer_device, no_waiting):
    env, algorithm = make("QMIX")
    context = Context(env, algorithm, seed=0, buffer_device=buffer_device)
    while len(context.buffer) < 32:
        context.buffer.add(context.collect())
    with no_waiting:
        for batch in context.updates():
            context.step("main", algorithm.loss, batch)
    assert batch.obs.is_cuda and context.buffer.rows.obs.device.type == buffer_device


@pytest.mark.parametrize("ask", [{"episodes": 8}, {"episodes": 24}, {"steps": 7}])
def test_collecting_waits_at_its_end_only(ask, no_waiting, monkeypatch):
    env, algorithm = make("QMIX")
    play = Collector(env, algorithm)
    play.collect(episodes=8)
    if "steps" in ask:
        play.collect(steps=3)  # goes on from a carry
    cut = play._cut

    def with_waiting(*args, **more):
        torch.cuda.set_sync_debug_mode("default")
        return cut(*args, **more)

    monkeypatch.setattr(play, "_cut", with_waiting)
    monkeypatch.setattr(env, "raise_if_illegal", lambda: None)  # the other look at the end
    with no_waiting:
        batch = play.collect(**ask)
    assert batch.obs.is_cuda and batch.length.device.type == "cpu"
    assert torch.equal(batch.length, batch.mask.sum(1).long().cpu())
    assert int(batch.length.sum()) == (56 if "steps" in ask else 2 * ask["episodes"])


def test_an_unavailable_action_is_told_when_collecting_ends():
    env, algorithm = make("QMIX")
    act = algorithm.act
    algorithm.act = lambda *a: act(*a)._replace(actions=torch.full((8, 2), 5, device="cuda"))
    with pytest.raises(ValueError, match="unavailable action was played in two-step"):
        Collector(env, algorithm).collect()
    algorithm.act = act
    Collector(env, algorithm).collect()  # the flag was read and is down again


@pytest.mark.parametrize("bad, what", [(math.nan, "main loss"), ("gradient", "main gradient")])
def test_a_loss_that_is_not_finite_is_told_when_the_round_ends(bad, what, tmp_path):
    class Poisoned(mc.QMIX):
        calls = 0

        def loss(self, batch):
            loss, metrics = super().loss(batch)
            self.calls += 1
            if self.calls == 5:
                loss = loss + (self.mixer.v[0].weight[0, 0] * 0).sqrt() if bad == "gradient" else loss * bad
            return loss, metrics

    env, model = make("QMIX")
    algorithm = Poisoned(env.spec, model.config, device="cuda")
    trainer = mc.Trainer(env, algorithm, run_dir=tmp_path, checkpoint_every=16, eval_every=64, eval_episodes=8)
    with pytest.raises(FloatingPointError, match=f"the {what} became nan; the last good checkpoint is") as problem:
        trainer.fit(2000)
    assert f"at {trainer.env_steps:,} environment steps" in str(problem.value)
    good = torch.load(tmp_path / "checkpoint.pt", weights_only=True, map_location="cpu")
    assert 0 < good["clock"] < trainer.env_steps and all(torch.isfinite(v).all() for v in good["weights"].values())


@pytest.mark.parametrize("kind", ["QMIX", "COMA"])
def test_a_checkpoint_of_the_card_loads_on_the_cpu_and_goes_on_on_the_card(kind, tmp_path):
    env, algorithm = make(kind)
    mc.Trainer(env, algorithm, buffer_device="cuda", run_dir=tmp_path, eval_every=64, eval_episodes=8).fit(128)
    team = mc.load_team(tmp_path, device="cpu")
    assert all(v.device.type == "cpu" and torch.equal(v, algorithm.state_dict()[k].cpu()) for k, v in team.state_dict().items())
    host = mc.make("two-step", num_envs=8, device="cpu")
    assert mc.evaluate(host, team, 8).length_mean == 2
    with pytest.raises(ValueError, match="whose world was on cuda.*use the same kind of device, or take the team"):
        mc.Trainer.resume(tmp_path, host)
    again = mc.Trainer.resume(tmp_path, make(kind)[0])
    assert again.algorithm.device.type == "cuda" and again.env_steps == 128
    assert again.fit(192).history[-1]["env_steps"] == 192


def test_collect_steps_resumes_on_the_card(tmp_path):
    """The worlds stand in the middle of episodes, observations and memory on the card."""
    env, algorithm = make("QMIX")
    trainer = mc.Trainer(env, algorithm, run_dir=tmp_path)
    trainer.context.collect(steps=3)
    trainer.save(tmp_path)
    again = mc.Trainer.resume(tmp_path, make("QMIX")[0])
    batches = [t.context.collect(steps=3) for t in (trainer, again)]
    assert torch.equal(batches[0].obs, batches[1].obs) and torch.equal(batches[0].actions, batches[1].actions)
    assert torch.equal(batches[0].carry0["hidden"], batches[1].carry0["hidden"])


def test_a_replay_larger_than_the_card_is_refused():
    env, algorithm = make("QMIX", replay_episodes=10**12)
    with pytest.raises(ValueError, match="GiB are free on cuda"):
        mc.Trainer(env, algorithm, buffer_device="cuda")


def test_a_card_that_does_not_exist():
    with pytest.raises(ValueError, match=r"device='cuda:99' does not exist: this machine has \d+ GPU"):
        mc.make("two-step", device="cuda:99")
