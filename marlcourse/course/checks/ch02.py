"""Chapter 02, matrix games: who generated the data, VDN on paper, a monotone mixer, WQMIX's weights, QTRAN's conditions."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F

from marlcourse.algorithms.wqmix import CWQMIX, OWQMIX
from marlcourse.course.exercises import exercise, expect, meant, mine_or_reference, require
from marlcourse.course.matrix_study import behaviour, vdn_fit
from marlcourse.course.quiz import Question, Quiz

__all__ = ["QUIZ", "mine_or_reference"]

CLIMBING = torch.tensor([[11.0, -30, 0], [-30, 7, 0], [0, 6, 5]])


# ------------------------------------------------------------------------------------------------ 2.1


def play(greedy, n_actions, epsilon):
    """greedy (u1, u2), two ints -> how often each joint action occurs [A,A]"""
    return behaviour(torch.tensor([list(greedy)]), n_actions, epsilon).view(n_actions, n_actions)


@exercise(
    "2.1",
    title="who generated the data: epsilon-greedy play",
    reference=play,
    hints=[
        "One agent first: with probability 1 - epsilon its greedy action, else *any* of the A actions, the greedy one too.",
        "The agents explore independently: the probability of a joint action is a product of two numbers.",
        "`own = torch.full((n_actions,), epsilon / n_actions); own[u] += 1 - epsilon` for each agent, then "
        "`torch.outer(own1, own2)`.",
    ],
    difficulty=1,
    importance=5,
    minutes=8,
    agree=lambda play, g: play(tuple(torch.randint(0, 4, (2,), generator=g).tolist()), 4, float(torch.rand((), generator=g))),
)
def check_play(play):
    got, added = play((0, 0), 2, 0.0), "the agents' probabilities are multiplied, not added: both must draw their action"
    known = [(torch.tensor([[2.0, 1.0], [1.0, 0.0]]), added), (torch.tensor([[1.0, 0.5], [0.5, 0.0]]), added)]
    expect(
        got,
        torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
        call="play((0, 0), 2, 0.0)",
        hint=meant(got, known, "without exploration only the greedy joint action occurs"),
    )
    got = play((0, 1), 2, 0.2)
    known = [
        (torch.tensor([[0.05, 0.85], [0.05, 0.05]]), "two coins, not one: each agent decides by itself whether to explore"),
        (
            torch.tensor([[0.16, 0.64], [0.04, 0.16]]),
            "epsilon/(A-1) leaves the greedy action out of exploring: here any of the A actions may be drawn, epsilon/A each",
        ),
        (
            torch.tensor([[0.08, 0.64], [0.01, 0.08]]),
            "the probabilities do not sum to 1: exploring may draw the greedy action too, which then has 0.8 + 0.1",
        ),
        (
            torch.tensor([[0.09, 0.01], [0.81, 0.09]]),
            "this is the transposed table: agent 1 chooses the row, agent 2 the column",
        ),
    ]
    general = "each agent, on its own: 0.8 + 0.1 for its greedy action, 0.1 for the other; then the product of the two"
    expect(
        got,
        torch.tensor([[0.09, 0.81], [0.01, 0.09]]),
        call="play((0, 1), 2, 0.2)",
        hint=meant(got, known, general),
    )
    expect(
        play((2, 0), 3, 1.0),
        torch.full((3, 3), 1 / 9),
        call="play((2, 0), 3, 1.0)",
        hint="at epsilon 1 nothing is left of the greedy choice: uniform data",
    )


# ------------------------------------------------------------------------------------------------ 2.2


@exercise(
    "2.2",
    title="VDN by least squares",
    reference=vdn_fit,
    hints=[
        "First with equal weights: mean of row u1, plus mean of column u2, minus the mean of the whole table. Why the minus?",
        "With weights, every mean is an expectation: the row's under q, the column's under p, the table's under both.",
        "`rows = table @ q` and `columns = p @ table`; the whole mean is `p @ rows`. Broadcast with `rows.unsqueeze(-1)`.",
    ],
    difficulty=2,
    importance=5,
    minutes=12,
    points=2,
    agree=lambda vdn_fit, g: vdn_fit(
        torch.randn(3, 3, generator=g),
        torch.softmax(torch.randn(3, generator=g), 0),
        torch.softmax(torch.randn(3, generator=g), 0),
    ),
)
def check_vdn_fit(vdn_fit):
    half = torch.tensor([0.5, 0.5])
    table = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    got = vdn_fit(table.clone(), half, half)
    known = [
        (table.T, "this is the transposed table: E[r | u1] belongs to the rows, one number a row, `.unsqueeze(-1)`"),
        (torch.tensor([[-3.0, -1.0], [1.0, 3.0]]), "these are sums, not means: divide, or weigh with p and q"),
        (table + 2.5, "row mean plus column mean counts the overall mean twice: take it off once"),
    ]
    expect(
        got,
        table,
        call="vdn_fit([[1, 2], [3, 4]], p=[.5, .5], q=[.5, .5])",
        hint="this table is additive, it must come back as it is; " + meant(got, known, "row mean + column mean - mean"),
    )
    third = torch.full((3,), 1 / 3)
    expect(
        vdn_fit(CLIMBING, third, third),
        torch.tensor([[-9.2222, -8.5556, -1.2222], [-10.5556, -9.8889, -2.5556], [0.7778, 1.4444, 8.7778]]),
        call="vdn_fit(climbing, uniform, uniform)",
        hint="rows belong to agent 1, columns to agent 2",
    )
    p, q = torch.tensor([0.1, 0.9]), torch.tensor([0.6, 0.4])
    table = torch.tensor([[0.0, 1.0], [1.0, 8.0]])
    got, sums = vdn_fit(table.clone(), p, q), torch.tensor([[0.4 + 0.9, 0.4 + 7.3], [3.8 + 0.9, 3.8 + 7.3]])
    overall = "rows and columns are right; the overall mean must be weighted by both: p @ table @ q"
    known = [(sums - mean, overall) for mean in (2.5, 2.1, 4.1)]  # of the cells, of the row means, of the column means
    general = "a row's mean weighs the columns by q, the partner's habits; a column's mean weighs the rows by p"
    expect(
        got,
        sums - 3.46,
        call="vdn_fit([[0, 1], [1, 8]], p=[.1, .9], q=[.6, .4])",
        hint=meant(got, known, general),
    )


# ------------------------------------------------------------------------------------------------ 2.3


def mix(q, w1, b1, w2, v):
    """q [...,N], w1 [N,E], b1 [E], w2 [E], v [] -> q_tot [...]"""
    return F.elu(q @ w1.abs() + b1) @ w2.abs() + v


def mixed(q, w1, b1, w2, v):
    """The reference; under a name of its own, since the checks call the answer `mix`."""
    return mix(q, w1, b1, w2, v)


def slips(q, w1, b1, w2, v):
    """[(what a known slip gives, its hint), ...] for one input of :func:`mix`"""
    soft, sign = F.softplus, "it multiplies a utility on its way, and a negative one would turn its sign"
    return [
        (F.elu(q @ soft(w1) + b1) @ soft(w2) + v, "take |w|, not softplus(w): the formula of QMIX has absolute values"),
        (mix(q, w1, b1, w2, v.abs()), "v is a bias: it multiplies no utility and may be negative, take it as it is"),
        (mix(q, w1, b1.abs(), w2, v), "b1 is a bias: it multiplies no utility and may be negative, take it as it is"),
        (mix(q, w1, b1.abs(), w2, v.abs()), "b1 and v are biases: they multiply no utility and may be negative"),
        (F.elu(q @ w1.abs() + b1).sum(-1) + v, "w2 has no effect: weigh the hidden units with |w2| before you add them"),
        (F.elu(q @ w1 + b1) @ w2 + v, f"take |w1| and |w2|: {sign}"),
        (F.elu(q @ w1.abs() + b1) @ w2 + v, f"take |w2| too: {sign}"),
        (F.elu(q @ w1 + b1) @ w2.abs() + v, f"take |w1| too: {sign}"),
        (torch.relu(q @ w1.abs() + b1) @ w2.abs() + v, "F.elu, not relu: below the bend a utility still counts, a little"),
        (mix(q, w1, b1, w2, 0 * v), "v is missing: add it at the end, as it is"),
    ]


def random_weights(g, n=2, e=4):
    return tuple(torch.randn(shape, generator=g) for shape in ((n, e), (e,), (e,), ()))


@exercise(
    "2.3",
    title="a monotone mixer",
    reference=mix,
    hints=[
        "What must hold for Q_tot to rise, or stay, whenever one utility rises? Which numbers multiply a utility on its way?",
        "A bias multiplies nothing. It may have any sign: an absolute value there would only take freedom away.",
        "`F.elu(q @ w1.abs() + b1)` is the hidden layer; then `@ w2.abs()`, plus `v`.",
    ],
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
    agree=lambda mix, g: mix(torch.randn(5, 2, generator=g), *random_weights(g)),
)
def check_mix(mix):
    eye, zero, one = torch.eye(2), torch.zeros(2), torch.ones(2)
    q = torch.tensor([1.0, 2.0])

    def probe(call, general, *weights):
        """One call with exact numbers; the hint names a slip where the answer shows it."""
        got = mix(q, *weights)
        expect(got, mixed(q, *weights), call=call, hint=meant(got, slips(q, *weights), general))

    probe(
        "mix([1, 2], w1=eye, b1=0, w2=1, v=0)",
        "for positive inputs ELU is the identity: 1 + 2",
        *(eye, zero, one, torch.tensor(0.0)),
    )
    probe(
        "mix([1, 2], w1=-eye, b1=0, w2=[-1, -2], v=0.5)",
        "two of the four must not be negative, the weights: no step from a utility to Q_tot may turn its sign",
        *(-eye, zero, torch.tensor([-1.0, -2.0]), torch.tensor(0.5)),
    )
    probe(
        "mix([1, 2], w1=eye, b1=[-3, 0], w2=1, v=-1)",
        "biases keep their sign, and F.elu(-2) = exp(-2) - 1: a utility below the bend still counts, a little",
        *(eye, torch.tensor([-3.0, 0.0]), one, torch.tensor(-1.0)),
    )
    g = torch.Generator().manual_seed(0)
    weights = random_weights(g)
    q = torch.randn(6, 2, generator=g).requires_grad_()
    out = mix(q, *weights)
    expect(
        out, F.elu(q @ weights[0].abs() + weights[1]) @ weights[2].abs() + weights[3], call="mix(q, ...), q of shape (6, 2),"
    )
    (slope,) = torch.autograd.grad(out.sum(), q)
    require(bool((slope > 0).all()), "dQ_tot/dQ_i is not positive everywhere.", hint="no path from a utility may have a sign")


# ------------------------------------------------------------------------------------------------ 2.4


def wqmix_weights(q_tot, y, is_greedy, central_greedy, alpha):
    """q_tot, y, central_greedy [B], is_greedy [B] bool -> (ow [B], cw [B])"""
    rule = SimpleNamespace(config=SimpleNamespace(alpha=alpha))
    return tuple(kind.weight(rule, q_tot, y, is_greedy, central_greedy) for kind in (OWQMIX, CWQMIX))


def random_rows(g):
    q_tot, y, coin, central = torch.randn(4, 12, generator=g)
    return q_tot, y, coin > 0, central, 0.1


@exercise(
    "2.4",
    title="the weights of OW-QMIX and CW-QMIX",
    reference=wqmix_weights,
    hints=[
        "Each rule answers: is this joint action worth a full weight? Yes: 1. No: alpha. `torch.where(condition, 1.0, alpha)`.",
        "Optimistic: the target y lies above what the mixer says. Central: the row plays the "
        "greedy joint action, *or* its target "
        "beats what the central critic says of the greedy joint action.",
        "`q_tot < y` for OW; `is_greedy | (y > central_greedy)` for CW. Strict comparisons.",
    ],
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
    agree=lambda wqmix_weights, g: torch.stack(list(wqmix_weights(*random_rows(g)))),
)
def check_wqmix_weights(wqmix_weights):
    q_tot = torch.tensor([2.0, -5.0, 0.0, 7.0])
    y = torch.tensor([8.0, -12.0, 0.0, 3.0])
    is_greedy = torch.tensor([False, False, True, False])
    answer = wqmix_weights(q_tot, y, is_greedy, torch.zeros(4), 0.1)
    require(
        isinstance(answer, (tuple, list)) and len(answer) == 2,
        f"wqmix_weights(...) returned {type(answer).__name__}, expected two tensors: (ow, cw).",
        hint="return ow, cw",
    )
    call = "wqmix_weights(q_tot=[2, -5, 0, 7], y=[8, -12, 0, 3], is_greedy=[F, F, T, F], central_greedy=0, alpha=.1)"
    swapped = [(torch.tensor([1.0, 0.1, 1.0, 1.0]), "these are CW's weights: are OW and CW swapped? Return ow, cw")]
    expect(
        answer[0],
        torch.tensor([1.0, 0.1, 0.1, 0.1]),
        call=call + "[0], OW",
        hint=meant(answer[0], swapped, "full weight where the mixer says too little: q_tot < y"),
    )
    expect(
        answer[1],
        torch.tensor([1.0, 0.1, 1.0, 1.0]),
        call=call + "[1], CW",
        hint="full weight for the greedy joint action, and for every row whose target beats the greedy joint action's value",
    )
    q_tot = torch.tensor([1.0, 8.0, 7.0, 5.0, 9.0, 2.0, -4.0])
    y = torch.tensor([3.0, 6.0, 4.0, 5.0, 2.0, 6.0, -2.0])
    is_greedy, central_greedy = torch.arange(7) == 4, torch.tensor([5.0, 5, 5, 5, 5, 5, -3])
    answer = wqmix_weights(q_tot, y, is_greedy, central_greedy, 0.3)
    call = (
        "wqmix_weights(q_tot=[1, 8, 7, 5, 9, 2, -4], y=[3, 6, 4, 5, 2, 6, -2], is_greedy: row 4 alone, "
        "central_greedy=[5, 5, 5, 5, 5, 5, -3], alpha=.3)"
    )
    expect(
        answer[0],
        torch.tensor([1.0, 0.3, 0.3, 0.3, 0.3, 1.0, 1.0]),
        call=call + "[0], OW",
        hint="OW looks at q_tot < y alone, strictly; the small weight is the argument alpha",
    )
    expect(
        answer[1],
        torch.tensor([0.3, 1.0, 0.3, 0.3, 1.0, 1.0, 1.0]),
        call=call + "[1], CW",
        hint="it is y that must beat central_greedy (not q_tot, and not 0), strictly; the small weight is the argument alpha",
    )


# ------------------------------------------------------------------------------------------------ 2.5


def qtran_conditions(best, joint_best, chosen, joint, v):
    """all [B] -> (opt, nopt): the mean squared violations of QTRAN's two conditions, two numbers"""
    opt = (best - joint_best.detach() + v) ** 2
    nopt = (chosen - joint.detach() + v).clamp(max=0) ** 2
    return opt.mean(), nopt.mean()


@exercise(
    "2.5",
    title="QTRAN's two conditions",
    reference=qtran_conditions,
    hints=[
        "At the greedy joint action the sum of utilities plus V must *equal* the joint critic; "
        "elsewhere it must not lie *below* it.",
        "The joint critic is the judge here, not the pupil: which two arguments must not receive a gradient?",
        "`(best - joint_best.detach() + v) ** 2`, and `(chosen - joint.detach() + v).clamp(max=0) "
        "** 2`: only what is negative counts.",
    ],
    difficulty=3,
    importance=4,
    minutes=12,
    points=2,
    agree=lambda f, g: torch.stack(list(f(*(torch.randn(8, generator=g) for _ in range(5))))),
)
def check_qtran_conditions(qtran_conditions):
    best, joint_best = torch.tensor([5.0, 5.0]), torch.tensor([8.0, 8.0])
    chosen, joint = (torch.tensor(x).requires_grad_() for x in ([5.0, -20.0], [0.0, -12.0]))
    v = torch.tensor([1.0, 1.0]).requires_grad_()
    answer = qtran_conditions(best, joint_best, chosen, joint, v)
    require(
        isinstance(answer, (tuple, list)) and len(answer) == 2,
        f"qtran_conditions(...) returned {type(answer).__name__}, expected two numbers: (opt, nopt).",
        hint="return opt, nopt",
    )
    expect(
        answer[0],
        4.0,
        call="qtran_conditions(best=[5, 5], joint_best=[8, 8], ..., v=[1, 1])[0], opt",
        hint="5 - 8 + 1 = -2 in both rows: equality is asked, so both signs count, and V belongs to the residual",
    )
    expect(
        answer[1],
        24.5,
        call="qtran_conditions(..., chosen=[5, -20], joint=[0, -12], v=[1, 1])[1], nopt",
        hint="residuals 5 - 0 + 1 = 6 (allowed: the sum may lie above) and -20 + 12 + 1 = -7 (punished): mean of 0 and 49",
    )
    slopes = (None, None)
    if answer[1].requires_grad:
        slopes = torch.autograd.grad(answer[1], [joint, v], allow_unused=True)
    require(
        slopes[0] is None or not bool(slopes[0].any()),
        "nopt sends a gradient into the joint critic.",
        hint="Q_jt is learned from rewards alone: detach it in both conditions",
    )
    require(
        slopes[1] is not None and bool(slopes[1].any()),
        "nopt sends no gradient into V.",
        hint="detach the joint critic only: the utilities and V are what these conditions teach",
    )
    with_critic, with_best = torch.tensor([8.0, 8.0]).requires_grad_(), best.clone().requires_grad_()
    opt, nopt = qtran_conditions(with_best, with_critic, chosen, joint, v)
    for name, value, inputs in (("opt", opt, {"best": with_best, "v": v}), ("nopt", nopt, {"chosen": chosen})):
        for pupil, tensor in inputs.items():
            slope = None
            if value.requires_grad:
                (slope,) = torch.autograd.grad(value, [tensor], retain_graph=True, allow_unused=True)
            require(
                slope is not None and bool(slope.any()),
                f"{name} sends no gradient into {pupil}.",
                hint="detach the joint critic only: the utilities and V are what these conditions teach",
            )
    (slope,) = torch.autograd.grad(opt, [with_critic], allow_unused=True)
    require(
        slope is None or not bool(slope.any()),
        "opt sends a gradient into the joint critic.",
        hint="Q_jt is learned from rewards alone: detach it in both conditions",
    )


# ------------------------------------------------------------------------------------------------ 2.6


def repaired_weights(y, greedy, online, target, alpha):
    """y, online, target [A,A], greedy (u1, u2) -> CW-QMIX's weights [A,A]"""
    is_greedy = torch.zeros_like(y, dtype=torch.bool)
    is_greedy[tuple(greedy)] = True
    rule = SimpleNamespace(config=SimpleNamespace(alpha=alpha))
    return CWQMIX.weight(rule, None, y, is_greedy, online[tuple(greedy)])


def random_tables(g):
    greedy = tuple(torch.randint(0, 3, (2,), generator=g).tolist())
    y, online, target = torch.randn(3, 3, 3, generator=g)
    return y, greedy, online, target, 0.1


@exercise(
    "2.6",
    title="find the released bug",
    reference=repaired_weights,
    hints=[
        "Print the weights for the table of the text. Which joint actions beat the greedy one, and "
        "which of them got the weight 1?",
        "The paper compares y with what the central critic *now* says of the greedy joint action. "
        "Which copy of it do the released weights ask?",
        "The target copy is there to make y stable. After a change of the greedy action, or before "
        "its first update, it has no idea: use "
        "`online[greedy]`.",
    ],
    difficulty=2,
    importance=3,
    minutes=8,
    agree=lambda repaired_weights, g: repaired_weights(*random_tables(g)),
)
def check_repaired_weights(repaired_weights):
    y = torch.tensor([[1.0, 8, 3], [6, 2, 7], [4, 9, 5]])  # greedy: the 2 in the middle
    online = torch.tensor([[0.0, 8, 0], [0, 5, 0], [0, 0, 0]])
    target = torch.tensor([[0.0, 0, 0], [0, 3, 0], [0, 0, 7]])
    got = repaired_weights(y.clone(), (1, 1), online.clone(), target.clone(), 0.1)

    def weights(better, greedy_gets=1.0):
        w = torch.where(better, 1.0, 0.1)
        w[1, 1] = greedy_gets
        return w

    asked = "the rule asks for one number, online[greedy], what the critic says now of what the team would play; "
    known = [
        (weights(y > 5, 0.1), "the greedy joint action itself always gets 1, whatever its y"),
        (weights(y > 3), "this is the released rule: the target copy, which is refreshed only now and then; ask online"),
        (weights(y > 7), asked + "you compare with target.max(), the stale copy's largest entry"),
        (weights(y > 8), asked + "you compare with online.max(), the critic's largest entry"),
        (weights(y > online), asked + "you compare each y with the critic's own entry for it, online"),
        (weights(y > target), asked + "you compare each y with the stale copy's own entry for it, target"),
        (weights(y > 2), asked + "you compare with the reward y[greedy], which a team does not know beforehand"),
        (weights(y >= 5), "strictly larger: y > online[greedy]"),
    ]
    expect(
        got,
        weights(y > 5),
        call=f"repaired_weights(y={y.int().tolist()}, greedy=(1, 1), online={online.int().tolist()}, "
        f"target={target.int().tolist()}, alpha=.1)",
        hint=meant(got, known, asked + "here 5"),
    )
    y = torch.tensor([[-12.0, -32, -32], [-32, -20, -20], [-32, -20, -20]])  # QTRAN's game, every payoff less 20
    expect(
        repaired_weights(y.clone(), (1, 1), y.clone(), torch.zeros(3, 3), 0.1),
        torch.tensor([[1.0, 0.1, 0.1], [0.1, 1.0, 0.1], [0.1, 0.1, 0.1]]),
        call="repaired_weights(y, greedy=(1, 1), online=y, target=0, alpha=.1), y = QTRAN's game less 20",
        hint="-12 beats the greedy joint action's -20: it deserves the weight 1. An untrained target "
        "says 0, which nothing here beats",
    )
    online = torch.tensor([[0.0, 9.0], [4.0, 4.0]])
    expect(
        repaired_weights(torch.tensor([[1.0, 3.0], [2.0, 5.0]]), (1, 0), online, online.flip(0), 0.5),
        torch.tensor([[0.5, 0.5], [1.0, 1.0]]),
        call="repaired_weights(y=[[1, 3], [2, 5]], greedy=(1, 0), online=[[0, 9], [4, 4]], target=..., alpha=.5)",
        hint="the small weight is the argument alpha; greedy is any joint action (u1, u2), here (1, 0)",
    )


# ------------------------------------------------------------------------------------------------ quiz

QUIZ = Quiz(
    "2",
    [
        Question(
            "2.q1",
            "Which payoff tables can VDN fit without error?",
            {
                "a": (
                    "the monotone ones",
                    "those are closer to QMIX's; a product of two rising positive functions is monotone and no sum",
                ),
                "b": ("the additive ones", "a sum of one term for each agent is exactly f1(u1) + f2(u2)"),
                "c": (
                    "all of them, with enough data",
                    "more data give the same least-squares table: it is a limit of the form, not of the data",
                ),
            },
            answer="b",
        ),
        Question(
            "2.q2",
            "In QTRAN's game, uniform data teach independent learners to avoid action 0. Why?",
            {
                "a": (
                    "a partner who plays at random spoils it: its average payoff is the lowest",
                    "relative over-generalisation: the average over the partner's actions hides the 8",
                ),
                "b": ("they never see the 8", "they see it in one joint action of nine, and average it with two that pay -12"),
                "c": ("the learning rate is too large", "the exact expectation has the same order"),
            },
            answer="a",
        ),
        Question(
            "2.q3",
            "QMIX fits the OR table with an error, and OR is monotone. What does that show?",
            {
                "a": (
                    "that it was not trained for long enough",
                    "the error is .25 to .26 on every seed, the best additive fit's is .25",
                ),
                "b": ("that its agents cannot tell the actions apart", "they play an optimum of it"),
                "c": (
                    "that at one state its mixer makes convex, supermodular tables only",
                    "ELU is convex and the weights are not negative; OR's mixed difference is -1",
                ),
            },
            answer="c",
        ),
        Question(
            "2.q4",
            "Method A fits the payoff table with a smaller squared error than method B. Which of them chooses better?",
            {
                "a": ("A", "QMIX has a smaller error than OW-QMIX on QTRAN's game, and plays 0 where OW-QMIX plays 8"),
                "b": ("one cannot say", "the choice needs one cell to lie above the others, the error counts all cells alike"),
                "c": ("B", "not in general either: CW-QMIX has a smaller error than QMIX and plays the optimum"),
            },
            answer="b",
        ),
        Question(
            "2.q5",
            "VDN plays 7 in the two-step game on uniform data, and 8 when epsilon falls to .05. What changed?",
            {
                "a": ("its function class", "it is additive both times"),
                "b": (
                    "the weights of its regression: the joint action that it cannot fit hardly occurs any more",
                    "the error stays where no data are: 8 - 6 (epsilon/2)^2 rises above 7",
                ),
                "c": ("it explores more", "it explores less"),
            },
            answer="b",
        ),
    ],
)
