"""two-rooms: what can be earned with and without memory, exactly; and QMIX learns to remember."""

import itertools

import numpy as np
import pytest
import torch

import marlcourse as mc
from marlcourse import check_env, make
from marlcourse.envs.two_rooms import WALK
from marlcourse.exploration import constant

cpu = dict(device="cpu")


def every_lamp(doors=3, corridor=4):
    """One world for each pair of colours, freshly reset."""
    lamps = torch.tensor(list(itertools.product(range(doors), repeat=2)))
    env = make("two-rooms", num_envs=len(lamps), doors=doors, corridor=corridor, **cpu)
    env._draw_start = lambda: {"lamp": lamps}
    return env, lamps, env.reset(seed=0)


def walk(env):
    """To room two; all observations on the way, that of room two last."""
    seen = []
    for _ in range(env.places - 1):
        step = env.step(torch.full((env.num_envs, 2), WALK))
        assert not step.reward.any() and not (step.terminated | step.truncated).any() and not step.info["won"].any()
        seen.append(step.observation)
    return seen


@pytest.mark.parametrize("doors, corridor", [(2, 1), (3, 4), (6, 2)])
def test_who_remembers_earns_one(doors, corridor):
    env, lamps, first = every_lamp(doors, corridor)
    remembered = first.obs[..., :doors].argmax(-1)
    assert torch.equal(remembered, lamps) and env.places == corridor + 2
    walk(env)
    step = env.step(1 + remembered)
    assert step.reward.tolist() == [1.0] * doors**2 and step.info["won"].all()
    assert step.terminated.all() and not step.truncated.any()


@pytest.mark.parametrize("doors, corridor", [(2, 1), (3, 4)])
def test_no_team_without_memory_earns_more_than_stated(doors, corridor):
    """All deterministic teams that see the present observation and the last action; a mixture is an average of these."""
    env, lamps, first = every_lamp(doors, corridor)
    last = torch.full((env.num_envs, 2), -1)
    choices, returns = [], []
    for o in [first, *walk(env)]:
        for agent in range(2):
            groups = {}
            for seen, before, avail in zip(o.obs[:, agent], last[:, agent], o.avail[:, agent]):
                groups[tuple(seen.tolist()), int(before)] = avail.nonzero().flatten().tolist()
            choices.append(list(groups.values()))
        last = torch.full_like(last, WALK)
    *early, one, two = choices
    assert all(actions == [WALK] for groups in early for actions in groups)  # nothing to decide, nothing to pass on
    assert one == two == [list(range(1, doors + 1))]  # one observation in room two, whatever the lamp was
    for joint in itertools.product(one[0], two[0]):
        env.reset(seed=0)
        walk(env)
        returns.append(env.step(torch.tensor(joint).expand(env.num_envs, 2)).reward.mean().item())
    assert max(returns) == pytest.approx(env.best_without_memory) == pytest.approx(1 / doors**2)
    assert min(returns) == pytest.approx(max(returns))  # and no such team earns less


def test_what_is_seen_and_what_the_state_says():
    env, lamps, first = every_lamp()
    place = torch.eye(6)
    for t, o in enumerate([first, *walk(env)]):
        lamp = torch.eye(3)[lamps] * (t == 0)
        assert torch.equal(o.obs, torch.cat([lamp, place[t].expand(9, 2, 6)], -1))
        assert torch.equal(o.state, torch.cat([torch.eye(3)[lamps].flatten(1), place[t].expand(9, 6)], -1))
        assert o.avail[0].tolist() == [[t < 5, t == 5, t == 5, t == 5]] * 2
    right = lamps + 1
    wrong = torch.where(torch.tensor([True, False]), right, right % 3 + 1)
    assert not env.step(wrong).reward.any()  # one right door is not enough
    with pytest.raises(ValueError, match="Agent 0 in world 0 of two-rooms played 1, which is not available"):
        env.reset()
        env.step(right)


def test_lamps_are_fair_and_independent():
    env = make("two-rooms", num_envs=9000, **cpu)
    env.reset(seed=0)
    pair = env.state["lamp"][:, 0] * 3 + env.state["lamp"][:, 1]
    assert (torch.bincount(pair, minlength=9) - 1000).abs().max() < 120


@pytest.mark.parametrize("options", [{}, {"doors": 2, "corridor": 1}, {"doors": 6, "corridor": 9}])
def test_the_contract_is_kept_with_every_option(options):
    env = make("two-rooms", num_envs=3, **cpu, **options)
    check_env(env)
    assert env.fresh().spec == env.spec


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"doors": 1}, "doors must be from 2 to 6, not 1"),
        ({"doors": 7}, "doors must be from 2 to 6, not 7"),
        ({"corridor": 0}, "corridor must be at least 1, not 0"),
    ],
)
def test_bad_options_are_answered_in_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make("two-rooms", **cpu, **options)


def test_pictures_tell_apart_what_differs():
    env, lamps, _ = every_lamp()
    pictures = [env.frame(1), env.frame(2)]
    walk(env)
    pictures.append(env.frame(1))
    env.step(torch.ones(9, 2, dtype=torch.long))
    pictures += [env.frame(0), env.frame(1)]  # both right; one wrong
    assert len({p.shape for p in pictures}) == 1 and pictures[0].dtype == np.uint8
    assert len({p.tobytes() for p in pictures}) == 5
    assert len({p[:40].tobytes() for p in pictures}) == 4  # the title: step 0, step 5, both right, one wrong
    with pytest.raises(RuntimeError, match=r"Call reset\(\) before frame\(\)"):
        env.fresh().frame()


# ---------------------------------------------------------------------- learning


def trained(seed, recurrent, steps):
    """The exact expected return of a greedy team after so many environment steps of QMIX."""
    settings = dict(optimizer=torch.optim.Adam, lr=5e-3, hidden=32, embed=16, batch_size=64, replay_episodes=2500)
    settings |= dict(updates_per_collect=8, target_every=50, epsilon=constant(1.0))
    env = make("two-rooms", num_envs=32, **cpu)
    config = mc.QMIX.Config.preset("pymarl", recurrent=recurrent, **settings)
    team = mc.QMIX(env.spec, config, seed=seed, **cpu)
    mc.Trainer(env, team, seed=seed, eval_every=steps).fit(steps, progress=False)
    test, _, _ = every_lamp()
    return mc.Collector(test, team).collect(explore=False).reward.sum(1).mean().item()


@pytest.mark.learning
def test_qmix_learns_to_remember_and_a_team_without_memory_does_not():
    assert [trained(seed, recurrent=True, steps=14_000) for seed in range(3)] == [1.0] * 3
    without = [trained(seed, recurrent=False, steps=6_000) for seed in range(3)]
    assert without == pytest.approx([1 / 9] * 3)  # exactly the best, and the worst, that it can do
