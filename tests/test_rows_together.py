"""The batches of one round are sampled together, so that a network at rest sees all of them in one pass."""

import gc
import weakref

import pytest
import torch

import marlcourse as mc
from marlcourse.rollout import Context


def context(kind=mc.QMIX, device="cpu", **options):
    """A learner with a replay full of episodes of different lengths."""
    env = mc.make("lumberjacks", num_envs=8, device=device, seed=0)
    options = {"batch_size": 8, "updates_per_collect": 4, "target_every": 3, **options}
    ctx = Context(env, kind(env.spec, kind.Config(**options), device=device), seed=0)
    for _ in range(3):
        ctx.buffer.add(ctx.collect())
    short = torch.arange(24) != 5  # all rows but one end sooner
    ctx.buffer.rows.length[:24][short] = 40
    ctx.buffer.rows.mask[:24, 40:][short] = 0
    return ctx


def alone(batch):
    """The same rows, of which nothing is known about any others."""
    rows = batch[:]
    assert rows.together is None
    return rows


def move(network, by=0.3):
    with torch.no_grad():
        for p in network.parameters():
            p.data.add_(by * torch.randn_like(p))  # by .data: no version counts it


def counted(ctx):
    """The rows of every pass of the target agent from now on."""
    passes = []
    ctx.algorithm.target_agent.register_forward_hook(lambda _, inputs, out: passes.append(len(inputs[0])))
    return passes


@pytest.mark.parametrize("kind", [mc.QMIX, mc.VDN, mc.IQL, mc.OWQMIX, mc.QTRAN])
@pytest.mark.parametrize("options", [{}, {"chunk_rows": 3}, {"double_q": False}])
def test_the_loss_is_that_of_each_batch_alone(kind, options):
    ctx = context(kind, **options)
    move(ctx.algorithm)
    for batch in ctx.updates():
        torch.testing.assert_close(ctx.algorithm.loss(batch)[0], ctx.algorithm.loss(alone(batch))[0])
        ctx.step("main", ctx.algorithm.loss, batch)
        ctx.algorithm.after_update(ctx)


def test_one_pass_for_the_round():
    ctx = context()
    passes = counted(ctx)
    for batch in ctx.updates():
        ctx.step("main", ctx.algorithm.loss, batch)
    assert passes == [4 * 8]


def test_the_pieces_are_those_of_draws_one_after_the_other():
    ctx, generator = context(), torch.Generator()
    generator.set_state(ctx.generator.get_state())
    for batch in ctx.updates():
        expected = ctx.buffer.sample(8, generator)
        assert torch.equal(batch.obs, expected.obs) and torch.equal(batch.length, expected.length)
        assert batch.reward.shape[1] == int(batch.length.max())


@pytest.mark.parametrize("change", ["target_every", "data", "buffer"])
def test_a_network_that_has_changed_is_asked_again(change):
    ctx = context(target_every=3 if change == "target_every" else 1000)
    target = ctx.algorithm.target_agent
    if change == "buffer":
        target.register_buffer("shift", torch.zeros(1))
        target.register_forward_hook(lambda net, _, out: (out[0] * torch.arange(1, 6) ** net.shift, out[1]))
    move(ctx.algorithm)
    passes = counted(ctx)
    for i, batch in enumerate(ctx.updates()):
        ctx.step("main", ctx.algorithm.loss, batch)
        if change == "target_every":
            ctx.algorithm.after_update(ctx)  # the third of four
        elif i == 2 and change == "data":
            move(target)
        elif i == 2:
            target.shift += 1
        before = len(passes)
        torch.testing.assert_close(ctx.algorithm.loss(batch)[0], ctx.algorithm.loss(alone(batch))[0])
        del passes[before + (i == 2) :]  # those of this comparison, but for the round's new pass
    assert passes == [32, 32]


def test_with_gradients_each_batch_is_seen_alone():
    ctx = context()
    agent, passes = ctx.algorithm.agent, []
    agent.register_forward_hook(lambda _, inputs, out: passes.append(len(inputs[0])))
    for batch in ctx.updates():
        q = batch.seen_by("online", agent, lambda rows: ctx.algorithm.utilities(agent, rows)[:, 1:])
        assert q.requires_grad and len(q) == 8
    assert passes == [8] * 4


def test_two_questions_have_two_answers():
    ctx = context()
    target = ctx.algorithm.target_agent
    with torch.no_grad():
        for batch in ctx.updates():
            now = batch.seen_by("now", target, lambda rows: ctx.algorithm.utilities(target, rows)[:, :-1])
            later = batch.seen_by("next", target, lambda rows: ctx.algorithm.utilities(target, rows)[:, 1:])
            torch.testing.assert_close(now[:, 1:], later[:, :-1])
            assert not torch.equal(now, later)


def test_a_network_without_numbers_may_be_asked():
    batch = next(context().updates())
    with torch.no_grad():
        assert torch.equal(batch.seen_by("sum", torch.nn.Identity(), lambda rows: rows.reward * 2), batch.reward * 2)


def test_who_does_not_ask_does_not_pay():
    ctx = context()
    passes = counted(ctx)
    for batch in ctx.updates():
        ctx.step("main", lambda rows: (ctx.algorithm.utilities(ctx.algorithm.agent, rows).mean(), {}), batch)
    assert not passes


@pytest.mark.parametrize("size, updates, sizes", [(8, 4, [32] * 4), (16, 20, [256] * 16 + [64] * 4), (24, 30, [240] * 30)])
def test_no_more_rows_together_than_pay(size, updates, sizes):
    ctx = context(batch_size=size, updates_per_collect=updates)
    assert [len(batch.together[0]) for batch in ctx.updates()] == sizes


def test_a_full_batch_of_a_large_team_is_alone():
    env = mc.make("traffic-junction-10", num_envs=32, device="cpu", seed=0)
    algorithm = mc.QMIX(env.spec, mc.QMIX.Config.preset("pymarl", batch_size=32, updates_per_collect=2))
    ctx = Context(env, algorithm, seed=0)
    ctx.buffer.add(ctx.collect())
    assert [batch.together for batch in ctx.updates()] == [None, None], "nothing is compared where nothing is shared"


def test_one_update_a_round_is_alone():
    assert [batch.together for batch in context(updates_per_collect=1).updates()] == [None]


def test_nothing_of_a_round_stays_in_memory():
    ctx = context()
    gc.disable()
    try:
        for batch in ctx.updates():
            ctx.step("main", ctx.algorithm.loss, batch)
        rows = weakref.ref(batch.together[0])
        del batch
        assert rows() is None
    finally:
        gc.enable()


@pytest.mark.gpu
def test_on_a_gpu_every_batch_is_sampled_alone():
    assert [batch.together for batch in context(device="cuda").updates()] == [None] * 4, "to compare numbers would wait"
