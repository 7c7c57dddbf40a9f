"""Chapter 00, start here: joint actions, the axes of a batch, masks, greedy play, seeds."""

from __future__ import annotations

from unittest import mock

import torch

import marlcourse as mc
from marlcourse.course.exercises import exercise, expect, mine_or_reference, require
from marlcourse.course.quiz import Question, Quiz
from marlcourse.course.start import start_team
from marlcourse.exploration import masked

__all__ = ["QUIZ", "mine_or_reference"]


def _tell(got, mistakes):
    """Say which known mistake gave this answer; mistakes: [(what it returns, message, hint)]."""
    if isinstance(got, (float, int)):
        got = torch.tensor(float(got))
    for wrong, message, hint in mistakes:
        same = isinstance(got, torch.Tensor) and got.shape == wrong.shape and torch.allclose(got.double(), wrong.double())
        require(not same, message, hint=hint)


# ------------------------------------------------------------------------------------------------ 0.1


def joint_actions(n_agents, n_actions):
    """-> every joint action [A^N,N] long, counting upwards, the last agent fastest"""
    return torch.cartesian_prod(*[torch.arange(n_actions)] * n_agents)


@exercise(
    "0.1",
    title="all joint actions of a team",
    reference=joint_actions,
    hints=[
        "Two agents with two actions each: (0, 0), (0, 1), (1, 0), (1, 1). It is a lock: what are its wheels, its digits?",
        "Each agent is one wheel, and its digits are its actions: N wheels with A digits each, not A wheels with N.",
        "`wheels = [torch.arange(n_actions) for agent in range(n_agents)]`",
    ],
    difficulty=1,
    importance=4,
    minutes=5,
    agree=lambda joint_actions, generator: joint_actions(*(int(k) for k in torch.randint(2, 5, (2,), generator=generator))),
)
def check_joint_actions(joint_actions):
    got, right = joint_actions(2, 2), torch.cartesian_prod(*[torch.arange(2)] * 2)
    hint = "count like a lock: 00, 01, 10, 11. The last column must change fastest"
    _tell(
        got,
        [
            (right.flip(-1), "joint_actions(2, 2) holds all joint actions, but its first column changes fastest", hint),
            (right.flip(0), "joint_actions(2, 2) holds all joint actions, but counts downwards", hint),
            (right + 1, "joint_actions(2, 2) counts actions from 1", "in code actions count from 0: `torch.arange(n_actions)`"),
        ],
    )
    expect(
        got,
        torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]),
        call="joint_actions(2, 2)",
        hint="one row per joint action, one column per agent",
    )
    rows = joint_actions(3, 2)
    require(
        tuple(getattr(rows, "shape", ())) == (8, 3),
        f"joint_actions(n_agents=3, n_actions=2) has shape {tuple(getattr(rows, 'shape', ()))}, expected (8, 3)",
        hint="2 * 2 * 2 combinations of three agents; each agent adds a factor A, so that there are A^N, not N^A and not N * A",
    )
    expect(
        joint_actions(2, 3),
        torch.tensor([[a, b] for a in range(3) for b in range(3)]),
        call="joint_actions(2, 3)",
        hint="count upwards, the last agent fastest",
    )


# ------------------------------------------------------------------------------------------------ 0.2


def what_it_saw(obs, agent, t):
    """obs [B,T+1,N,O] -> what agent number `agent` saw before its action at step t, in every row: [B,O]"""
    return obs[:, t, agent]


@exercise(
    "0.2",
    title="read a tensor's axes",
    reference=what_it_saw,
    hints=[
        "Say the axes aloud: rows, steps, agents, features. Which two of them do you pick from, and which stay?",
        "A whole axis is `:`. The entry at t of `obs` is what the agents saw *before* action t.",
        "`obs[:, t, agent]`",
    ],
    difficulty=1,
    importance=5,
    minutes=4,
    agree=lambda what_it_saw, generator: what_it_saw(torch.randn(4, 6, 3, 5, generator=generator), 2, 3),
)
def check_what_it_saw(what_it_saw):
    obs = torch.arange(2 * 4 * 3 * 5.0).view(2, 4, 3, 5)
    rows, steps, agents, features = range(2), range(3), range(3), range(5)
    call = "what_it_saw(obs, agent=0, t=0)"
    got = what_it_saw(obs, 0, 0)
    kept = isinstance(got, torch.Tensor) and tuple(got.shape) in {(2, 3, 5), (2, 1, 5)}
    require(
        not kept,
        f"{call} returned shape {tuple(getattr(got, 'shape', ()))}, expected (2, 5): the axis of the agents is still there",
        hint="pick one agent by its number, and its axis is gone",
    )
    twice = "agents count from 0 in code: `agent` is the number to index with, do not subtract 1"
    reduced = "pick one agent, do not reduce: a mean over agents is what nobody saw"
    _tell(
        got,
        [
            (obs[:, 1, 0], f"{call}: you returned what was seen after the action", "`obs` at t is the sight *before* action t"),
            (obs[:, 0, -1], f"{call} returned what the last agent saw", twice),
            (obs[:, 0].mean(1), f"{call} returned the mean over the agents", reduced),
        ],
    )
    for agent in agents:
        for t in steps:
            expected = torch.stack([torch.stack([obs[b, t, agent, k] for k in features]) for b in rows])
            expect(
                what_it_saw(obs, agent, t),
                expected,
                call=f"what_it_saw(obs, agent={agent}, t={t}), obs [B,T+1,N,O] = (2, 4, 3, 5),",
                hint="the order is rows, steps, agents, features: keep all rows and all features",
            )


# ------------------------------------------------------------------------------------------------ 0.3


def mean_reward(reward, mask):
    """reward [B,T], mask [B,T] -> mean reward of a real step: one number"""
    return (reward * mask).sum() / mask.sum()


@exercise(
    "0.3",
    title="forget the padding",
    reference=mean_reward,
    hints=[
        "How many real steps are there? `mask` holds a 1 for each of them and a 0 for padding.",
        "Reward times mask keeps what was really earned. Divide its sum by the number of *real* steps.",
        "`(reward * mask).sum() / mask.sum()`",
    ],
    difficulty=2,
    importance=5,
    minutes=6,
    agree=lambda mean_reward, generator: mean_reward(
        torch.randn(4, 5, generator=generator),
        (torch.arange(5) < torch.randint(1, 6, (4, 1), generator=generator)).float(),
    ),
)
def check_mean_reward(mean_reward):
    reward, mask = torch.tensor([[2.0, 4.0, 9.0], [6.0, 9.0, 9.0]]), torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    call = "mean_reward([[2, 4, 9], [6, 9, 9]], mask=[[1, 1, 0], [1, 0, 0]])"
    got, kept = mean_reward(reward, mask), reward * mask
    count, rows = "divide by the number of real steps, `mask.sum()`", "add up all real steps first, then divide once"
    _tell(
        got,
        [
            (reward.mean(), f"{call}: padding still counts, in the sum and in the divisor", "the mask belongs in both"),
            (kept.mean(), f"{call}: the sum is right, but padding still counts in the divisor", count),
            (reward.sum() / mask.sum(), f"{call}: the divisor is right, but padding still counts in the sum", "reward * mask"),
            (kept.sum() / len(reward), f"{call}: you divided by the number of rows, not of real steps", count),
            ((kept.sum(1) / mask.sum(1)).mean(), f"{call}: a mean of row means lets the short row weigh too much", rows),
        ],
    )
    expect(got, 4.0, call=call, hint="three real steps earned 2, 4 and 6; the 9s are padding")
    reward, mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [5.0, 0.0, 0.0, 0.0]]), torch.tensor([[1.0] * 4, [1.0] + [0.0] * 3])
    expect(
        mean_reward(reward, mask),
        1.8,
        call="mean_reward([[1, 1, 1, 1], [5, 0, 0, 0]], mask=[[1, 1, 1, 1], [1, 0, 0, 0]])",
        hint="each real step counts once: nine in five steps. A mean of row means would count the short row four times as much",
    )
    reward = torch.tensor([[0.0, 3.0]])
    expect(mean_reward(reward, torch.ones(1, 2)), 1.5, call="mean_reward([[0, 3]], mask=[[1, 1]])",
           hint="a real step that earns 0 is still a step")  # fmt: skip


# ------------------------------------------------------------------------------------------------ 0.4


def greedy(q, avail):
    """q [...,N,A], avail [...,N,A] bool -> each agent's best action among those it may play: [...,N] long"""
    return masked(q, avail).argmax(-1)


def _random_choice(greedy, generator):
    avail = torch.rand(4, 3, 5, generator=generator) < 0.5
    avail[..., 0] |= ~avail.any(-1)
    return greedy(torch.randn(4, 3, 5, generator=generator) - 2, avail)


@exercise(
    "0.4",
    title="the greedy joint action",
    reference=greedy,
    hints=[
        "An action that may not be played must lose against every other one, whatever its value.",
        "Multiplying by the mask makes its value 0, and 0 beats every negative number. Put something hopeless there.",
        "`q.masked_fill(~avail, -1e9)`, then `.argmax(-1)`: each agent for itself.",
    ],
    difficulty=2,
    importance=5,
    minutes=6,
    agree=_random_choice,
)
def check_greedy(greedy):
    q = torch.tensor([[1.0, 5.0, 3.0], [-4.0, -2.0, -9.0]])
    before, free = q.clone(), torch.ones(2, 3, dtype=torch.bool)
    blocked = torch.tensor([[True, False, True], [True, False, True]])
    last_blocked = torch.tensor([[True, True, False]] * 2)
    _tell(
        greedy(q.clone(), last_blocked),
        [
            (
                masked(q, ~last_blocked).argmax(-1),
                "greedy([[1, 5, 3], [-4, -2, -9]], action 2 not available) chose only what may not be played: "
                "you masked the available actions",
                "`avail` is True where an action may be played; the hopeless value belongs where it is False: `~avail`",
            )
        ],
    )
    _tell(
        greedy(q.clone(), free),
        [
            (
                (q + 1e9).argmax(-1),
                "greedy([[1, 5, 3], [-4, -2, -9]], everything available) lost the small differences between values: 5 + 1e9 "
                "and 3 + 1e9 are the same float32 number",
                "replace the values of unavailable actions (`masked_fill`) instead of adding to the others",
            )
        ],
    )
    expect(
        greedy(q, free),
        torch.tensor([1, 1]),
        call="greedy([[1, 5, 3], [-4, -2, -9]], everything available)",
        hint="one action per agent: the argmax runs over the actions, the last axis",
    )
    expect(
        greedy(q, blocked),
        torch.tensor([2, 0]),
        call="greedy([[1, 5, 3], [-4, -2, -9]], action 1 not available)",
        hint="the second agent (number 1 in code) must choose -4 over -9: an unavailable action may not win with a 0, "
        "nor be chosen at all",
    )
    expect(
        greedy(
            torch.tensor([[-1000.0, 5.0, -2000.0], [7.0, -3000.0, -1001.0]]),
            torch.tensor([[True, False, True], [False, True, True]]),
        ),
        torch.tensor([0, 2]),
        call="greedy([[-1000, 5, -2000], [7, -3000, -1001]], 5 and 7 not available)",
        hint="a value may be very low: what you put in place of an unavailable one must be lower than any, -1e9 or -inf",
    )
    require(torch.equal(q, before), "greedy changed the q it was given", hint="`masked_fill`, without the underscore, copies")
    q, avail = torch.zeros(4, 5, 2, 3), torch.zeros(4, 5, 2, 3, dtype=torch.bool)
    avail[..., 0, 2] = avail[..., 1, 1] = True
    expect(
        greedy(q, avail),
        torch.tensor([2, 1]).expand(4, 5, 2),
        call="greedy(q, avail), q [B,T,N,A] = (4, 5, 2, 3), with one action left for each agent,",
        hint="leading axes stay: [...,N,A] -> [...,N]",
    )


# ------------------------------------------------------------------------------------------------ 0.5


def train(seed, steps):
    """A team trained from scratch; `seed` alone decides everything -> (team, run)"""
    env, team = start_team(seed)
    run = mc.Trainer(env, team, seed=seed).fit(steps, progress=False)
    return team, run


def _curve(train, seed):
    """-> (team, run, its losses, the worlds it trained in)"""
    worlds, fit = [], mc.Trainer.fit

    def noted(trainer, *args, **kwargs):
        worlds.append(trainer.env)
        return fit(trainer, *args, **kwargs)

    with mock.patch.object(mc.Trainer, "fit", noted):
        result = train(seed, 256)
    require(
        isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], mc.Run),
        "train(seed, steps) must return the pair (team, run)",
        hint="run is what `fit` returns",
    )
    team, run = result
    require(
        run.history[-1]["env_steps"] == 256,
        f"train(seed, 256) stopped at {run.history[-1]['env_steps']} environment steps",
        hint="pass `steps` to `fit`",
    )
    return team, run, [row["main_loss"] for row in run.history if "main_loss" in row], worlds


@exercise(
    "0.5",
    title="one seed for everything",
    reference=train,
    hints=[
        "Two things draw random numbers: the fresh networks, and the trainer (worlds, actions, batches). Who is told the seed?",
        "`mc.QMIX(..., seed=...)` fixes the first weights; `mc.Trainer(..., seed=...)` everything after them.",
        '`team = mc.QMIX(env.spec, SETTINGS, seed=seed, device="cpu")`, then `mc.Trainer(env, team, seed=seed).fit(steps)`.',
    ],
    difficulty=2,
    importance=4,
    minutes=8,
    agree=lambda train, generator: _curve(train, int(torch.randint(9, (1,), generator=generator)))[2][:2],
)
def check_train(train):
    team, run, curve, worlds = _curve(train, 3)
    team_again, _, again, worlds_again = _curve(train, 3)
    fresh = "make a fresh world and a fresh team in every call; a trained one would go on from where it is"
    require(team is not team_again, "train(3, ...), called twice, trained the same team further", hint=fresh)
    require(again == curve, "train(3, ...) gave two different curves when called twice", hint=fresh)
    shared = any(one is other for one in worlds for other in worlds_again)
    require(not shared, "train, called twice, played in one and the same world", hint="call `mc.make` inside `train`")
    team_4, run_4, _, _ = _curve(train, 4)
    require(team.seed != team_4.seed, f"train(3, ...) and train(4, ...) both built a team with seed {team.seed}",
            hint="QMIX needs `seed=seed`")  # fmt: skip
    require(run.seed != run_4.seed, f"train(3, ...) and train(4, ...) both trained with seed {run.seed}",
            hint="the Trainer needs `seed=seed`")  # fmt: skip
    env, same = start_team(team.seed)  # any seeds will do that follow `seed`
    expected = [
        r["main_loss"] for r in mc.Trainer(env, same, seed=run.seed).fit(256, progress=False).history if "main_loss" in r
    ]
    expect(curve, expected, call="the losses of train(3, 256)", hint="32 worlds, SETTINGS as given: change the seed alone")


# ------------------------------------------------------------------------------------------------ quiz

QUIZ = Quiz(
    "0",
    [
        Question(
            "0.q1",
            "A batch has `obs` of shape (64, 26, 5, 80). How many agents are there, and how many steps can a row hold?",
            {
                "a": ("26 agents, 5 steps", "no: the order is rows, steps, agents, features"),
                "b": ("5 agents, 26 steps", "almost: `obs` holds one entry more than there are steps, the last sight"),
                "c": ("5 agents, 25 steps", "yes: [B,T+1,N,O] = (64, 25 + 1, 5, 80)"),
                "d": ("64 agents, 25 steps", "no: the first axis is rows, each a piece of one episode"),
            },
            answer="c",
        ),
        Question(
            "0.q2",
            "A colleague trains one team, once, and it plays the two-step game perfectly. What does that show?",
            {
                "a": ("that it has learned", "no: look at the untrained bar. Many fresh networks are perfect too, by luck"),
                "b": ("that the code runs", "yes, and not more: learning needs several seeds, and the null model beside"),
                "c": ("that the method is good", "no: for that you also need another method, and equal tuning"),
            },
            answer="b",
        ),
        Question(
            "0.q3",
            "Which of these may a team trained by CTDE use while it *plays*?",
            {
                "a": ("the state", "no: only in training, where the mixer reads it"),
                "b": ("each agent's own observations", "yes: decentralised execution"),
                "c": ("the other agents' utilities", "no: they meet in the mixer, which is gone when the team plays"),
                "d": ("the shared reward", "no: it teaches in training; nobody needs it to act"),
            },
            answer="b",
        ),
        Question(
            "0.q4",
            "Same code, same seed, same processor, but the second curve differs. What do you suspect first?",
            {
                "a": ("chance: reinforcement learning is noisy", "no: between seeds. With one seed every draw is the same"),
                "b": (
                    "a random draw that the seed does not reach",
                    "yes: an unseeded network, or a world that an earlier run has played in",
                ),
                "c": ("too few steps", "no: both runs had the same number"),
            },
            answer="b",
        ),
    ],
)
