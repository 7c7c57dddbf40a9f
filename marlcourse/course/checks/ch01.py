"""Chapter 01, the one-step traffic junction: exact gradients, scores, data, and two ways to give credit."""

from __future__ import annotations

import torch

from marlcourse.algorithms.coma import counterfactual_advantage
from marlcourse.course.exercises import difference, exercise, expect, mine_or_reference, require
from marlcourse.course.junction import JOINT_ACTIONS, expected_return, joint_probabilities, score_gradient
from marlcourse.course.quiz import Question, Quiz

__all__ = ["QUIZ", "mine_or_reference"]

REWARD = torch.tensor([0.0, 1.0, 1.0, 0.0])  # of the four joint actions, in the order of JOINT_ACTIONS


def random_p(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """Probabilities away from 0 and 1."""
    return 0.05 + 0.9 * torch.rand(*shape, generator=generator)


def refuse(got, faults, call: str) -> None:
    """Name the fault whose wrong answer this is. ``faults``: (wrong answer, what it is, hint) each."""
    for wrong, what, hint in faults:
        require(difference(got, wrong) is not None, f"{call}: {what}", hint)


def for_many(answer, p: torch.Tensor, *more):
    """The answer for a ``p`` with an axis in front. One that counts on a single policy gets a sentence, not an error's name."""
    name = getattr(answer, "__name__", "the answer")
    try:
        got = answer(p, *more)
    except (ValueError, IndexError, RuntimeError, TypeError) as error:
        call = f"{name}(p{', ...' if more else ''}), p of shape {tuple(p.shape)}, stops with {type(error).__name__}"
        require(False, call, AXES)
    return got


AXES = "p may carry axes in front (many policies at once): index with p[..., 0] and p[..., 1], and work on the last axis only"

# ------------------------------------------------------------------------------------------------ 1.1


def exact_gradient(p):
    """p [...,2], the probabilities of passing -> (dJ/dp1, dJ/dp2) [...,2]"""
    return 1 - 2 * p.flip(-1)


@exercise(
    "1.1",
    title="the exact gradient of the team's return",
    reference=exact_gradient,
    hints=[
        "Hold p2 still. J = p1 (1 - p2) + p2 (1 - p1) is then a straight line in p1: what is its slope?",
        "The slope for car 1 contains p2 only. Which tensor holds each car's *partner*?",
        "`p.flip(-1)` swaps the two cars.",
    ],
    difficulty=1,
    importance=5,
    minutes=5,
    agree=lambda exact_gradient, generator: exact_gradient(random_p(generator, 5, 2)),
)
def check_exact_gradient(exact_gradient):
    p, call = torch.tensor([0.9, 0.2]), "exact_gradient(tensor([0.9, 0.2]))"
    right, got = torch.tensor([0.6, -0.8]), exact_gradient(torch.tensor([0.9, 0.2]))
    faults = [
        (1 - 2 * p, "you used each car's own p", "car 1's slope contains car 2's probability only"),
        (p * (1 - p) * right, "this is dJ/dz, the slope of the logit, not dJ/dp", "differentiate J by p itself"),
        (-right, "the sign is turned round", "car 2 hardly passes here, so J rises with p1"),
        (1 - p.flip(-1), "one of the two terms of J is missing", "p1 stands in both terms of J: differentiate both"),
        (-p.flip(-1), "one of the two terms of J is missing", "p1 stands in both terms of J: differentiate both"),
    ]
    refuse(got, faults, call)
    expect(got, right, call=call, hint="hold the partner still: by how much does J change when the own p rises by 1?")
    saddle = torch.tensor([0.5, 0.5])
    expect(
        exact_gradient(saddle),
        torch.zeros(2),
        call="exact_gradient(tensor([0.5, 0.5]))",
        hint="against a partner who flips a coin, nothing that you do matters",
    )
    p = torch.tensor([[0.1, 0.7], [1.0, 0.0], [0.3, 0.3]])
    slope = torch.autograd.functional.jacobian(lambda p: expected_return(p).sum(), p)
    expect(for_many(exact_gradient, p), slope, call="exact_gradient(p), p of shape (3, 2),", hint=AXES)


# ------------------------------------------------------------------------------------------------ 1.2


@exercise(
    "1.2",
    title="on-policy weights",
    reference=joint_probabilities,
    hints=[
        "The cars choose independently: the probability of a joint action is a product of two numbers.",
        "A car that plays u contributes p if u = 1 and 1 - p if u = 0: `u * p + (1 - u) * (1 - p)`.",
        "`p.unsqueeze(-2)` has shape [...,1,2] and broadcasts against `JOINT_ACTIONS` [4,2]; then the product over the cars, "
        "`.prod(-1)`.",
    ],
    difficulty=2,
    importance=5,
    minutes=10,
    agree=lambda joint_probabilities, generator: joint_probabilities(random_p(generator, 6, 2)),
)
def check_joint_probabilities(joint_probabilities):
    p, right = torch.tensor([0.9, 0.2]), torch.tensor([0.08, 0.02, 0.72, 0.18])
    call, got = "joint_probabilities(tensor([0.9, 0.2]))", joint_probabilities(torch.tensor([0.9, 0.2]))
    order = "the rows of JOINT_ACTIONS are (0, 0), (0, 1), (1, 0), (1, 1): car 1 stands first, 0 waits, 1 passes"
    waits = "a car that waits contributes 1 - p"
    product = "the cars choose independently: multiply the two cars' own probabilities"
    own = torch.where(JOINT_ACTIONS == 1, p, 1 - p)  # [4,2]
    faults = [
        (right[[0, 2, 1, 3]], "the rows (0, 1) and (1, 0) are exchanged", order),
        (right.flip(-1), "waiting and passing are exchanged", order),
        (torch.full((4,), 0.18), "p stands in every row, also where a car waits", waits),
        ((JOINT_ACTIONS * p).prod(-1), "a car that waits contributes 0", waits),
        (torch.where(JOINT_ACTIONS == 1, p, torch.ones(2)).prod(-1), "a car that waits contributes 1", waits),
        (own.sum(-1), "the two probabilities are added", product),
        (own.mean(-1), "this is the mean of the two probabilities", product),
        (own[:, 0], "only car 1's probability is there", product),
        (own[:, 1], "only car 2's probability is there", product),
        (torch.full((4,), 0.25), "these are uniform weights", "on-policy: as often as the two policies play the row"),
        (own.log().sum(-1), "these are log-probabilities", "return the probabilities themselves"),
    ]
    refuse(got, faults, call)
    expect(got, right, call=call, hint=product + "; no other weighting")
    expect(
        joint_probabilities(torch.tensor([1.0, 0.0])),
        torch.tensor([0.0, 0.0, 1.0, 0.0]),
        call="joint_probabilities(tensor([1., 0.]))",
        hint="car 1 surely passes and car 2 surely waits: all the weight is on row 2 of JOINT_ACTIONS, (1, 0)",
    )
    p = torch.tensor([[0.5, 0.5], [0.25, 1.0], [0.0, 0.0]])
    expect(
        for_many(joint_probabilities, p),
        torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.0, 0.75, 0.0, 0.25], [1.0, 0.0, 0.0, 0.0]]),
        call="joint_probabilities(p), p of shape (3, 2),",
        hint="leading axes stay: [...,2] -> [...,4]; " + AXES,
    )


# ------------------------------------------------------------------------------------------------ 1.3


@exercise(
    "1.3",
    title="the score-function gradient",
    reference=score_gradient,
    hints=[
        "Three factors for each joint action and each car: weight, score, signal. Then one sum. Over which axis?",
        "The score of car i at joint action u is `JOINT_ACTIONS - p.unsqueeze(-2)`, shape [...,4,2].",
        "`weights.unsqueeze(-1)` gives the weights an axis for the cars; the sum runs over the four joint actions, axis -2.",
    ],
    difficulty=2,
    importance=5,
    minutes=10,
    agree=lambda score_gradient, generator: score_gradient(
        random_p(generator, 3, 2), torch.rand(3, 4, generator=generator), torch.randn(3, 4, 2, generator=generator)
    ),
)
def check_score_gradient(score_gradient):
    p = torch.tensor([0.9, 0.2])
    on_policy = joint_probabilities(p)
    reward = REWARD.unsqueeze(-1).expand(4, 2)
    call = "score_gradient(p, on-policy weights, reward) at p = (0.9, 0.2)"
    right, score, rows = p * (1 - p) * exact_gradient(p), JOINT_ACTIONS - p, on_policy.unsqueeze(-1)
    three = "three factors in every row: the weight given, the score, the signal"
    faults = [
        ((score * reward).sum(0), "the weights are ignored", three),
        ((score * reward).mean(0), "the weights are ignored: this is the mean over the rows", three),
        (right / 4, "a mean over the four rows", "the weights add up to 1 already: sum, not mean"),
        (exact_gradient(p), "this is the score of p, not of the logit", "fact 2: differentiate log pi by z, not by p"),
        (-right, "the sign is turned round", "the score is what the car did minus what it usually does"),
        ((rows * (1 - p) * reward).sum(0), "the waiting rows still use the score of passing", "in a waiting row u is 0"),
        (
            (rows * JOINT_ACTIONS * (1 - p) * reward).sum(0),
            "the waiting rows count nothing",
            "a car that waited has a score too: u is 0 there, not the score",
        ),
        ((rows * score).sum(0), "the signal is ignored", three),
        (
            (rows * (JOINT_ACTIONS - p.flip(-1)) * reward).sum(0),
            "the score holds the partner's p",
            "the score of car i is u_i - p_i: its own action minus its own probability",
        ),
        (
            (rows * (JOINT_ACTIONS.flip(-1) - p) * reward).sum(0),
            "the score holds the partner's action",
            "the score of car i is u_i - p_i: its own action minus its own probability",
        ),
    ]
    got = score_gradient(p, on_policy, reward)
    refuse(got, faults, call)
    expect(got, right, call=call, hint=three)
    only_wait = torch.tensor([1.0, 0.0, 0.0, 0.0])
    got, call = score_gradient(p, only_wait, torch.ones(4, 2)), "score_gradient(p, all weight on (wait, wait), signal 1)"
    again = (rows * score).sum(0)
    refuse(got, [(again, "the weights were computed again from p", "use the weights given: data can be anybody's")], call)
    expect(got, torch.tensor([-0.9, -0.2]), call=call, hint="a car that waited did less than it usually does")
    signal = torch.arange(24.0).view(3, 4, 2)
    p = torch.tensor([[0.5, 0.5], [0.2, 0.8], [0.6, 0.1]])
    weights = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.4, 0.3, 0.2, 0.1], [0.0, 0.0, 0.0, 2.0]])
    expected = torch.stack([(w.view(4, 1) * (JOINT_ACTIONS - q) * x).sum(0) for q, w, x in zip(p, weights, signal)])
    got = for_many(score_gradient, p, weights, signal)
    expect(got, expected, call="score_gradient(p, weights, signal) for 3 policies", hint=three + "; " + AXES)


# ------------------------------------------------------------------------------------------------ 1.4


def wrong_advantages(q, pi, actions):
    """(answer, its fault in words, a hint) of every known mistake; q, pi [N,2], actions [N]"""
    taken, other = (q.gather(-1, u.unsqueeze(-1)).squeeze(-1) for u in (actions, 1 - actions))
    chance, expected = pi.gather(-1, actions.unsqueeze(-1)).squeeze(-1), (pi * q).sum(-1)
    right = taken - expected
    own = "one number for each agent: sum over the own actions only (the last axis)"
    yield taken - q.mean(-1), "you weighed the own actions equally", "use pi: the agent's own policy says how likely each is"
    what = "you subtracted the other action's value"
    yield taken - other, what, "a baseline may not depend on the action taken; section 8 shows who did this"
    yield taken - q.max(-1).values, "you subtracted the best own action's value", "use what pi can *expect*, not the best"
    yield -right, "the sign is turned round", "the value of what happened, minus what could be expected"
    yield taken, "no baseline is subtracted", "subtract what the agent could expect from its own policy, sum of pi Q"
    yield expected, "this is the baseline alone", "subtract it from the value of the action taken"
    yield right.sum(-1), "you summed over the agents", own
    yield right.mean(-1), "you averaged over the agents", own
    yield taken - (pi * q).sum(), "the baseline is summed over the agents too", own
    yield taken - (pi * q).mean(-1), "the baseline is the mean of pi Q", "the probabilities add up to 1 already: sum, not mean"
    yield chance * right, "the advantage is weighed by pi once more", "the data weigh it later: leave pi out here"
    yield chance * taken - expected, "the value of the action taken is weighed by pi", "it happened: it counts in full"
    yield (
        taken - (pi.flip(-1) * q).sum(-1),
        "pi stands in the wrong order",
        "action 0 is to wait: pi[..., 0] belongs to q[..., 0]",
    )


@exercise(
    "1.4",
    title="the counterfactual advantage",
    reference=counterfactual_advantage,
    hints=[
        "Two numbers for each agent: the value of what it did, and what it could expect from its own policy. Subtract.",
        "The value of the action taken: `q.gather(-1, actions.unsqueeze(-1)).squeeze(-1)`.",
        "The baseline: `(pi * q).sum(-1)`. It must not depend on `actions`.",
    ],
    difficulty=2,
    importance=5,
    minutes=10,
    agree=lambda counterfactual_advantage, generator: counterfactual_advantage(
        torch.randn(4, 2, 3, generator=generator),
        torch.softmax(torch.randn(4, 2, 3, generator=generator), -1),
        torch.randint(3, (4, 2), generator=generator),
    ),
)
def check_counterfactual_advantage(counterfactual_advantage):
    pi = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    played = torch.tensor([1, 0])
    q = torch.tensor([[1.0, 3.0], [2.0, 0.5]])  # unlike the junction's, every known mistake shows another answer here
    call = "counterfactual_advantage(q, pi, actions) at q = [[1, 3], [2, .5]], pi = [[.1, .9], [.8, .2]], actions (1, 0)"
    refuse(counterfactual_advantage(q, pi, played), list(wrong_advantages(q, pi, played)), call)
    q = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    expect(
        counterfactual_advantage(q, pi, played),
        torch.tensor([0.1, 0.2]),
        call="counterfactual_advantage(q, pi, (pass, wait)) in the junction at p = (0.9, 0.2)",
        hint="Q of the action taken, minus the expectation of Q under the agent's *own policy*",
    )
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(5, 2, 3, generator=generator)
    pi = torch.softmax(torch.randn(5, 2, 3, generator=generator), -1)
    each = [counterfactual_advantage(q, pi, torch.full((5, 2), a)) for a in range(3)]
    require(
        all(isinstance(a, torch.Tensor) and a.shape == (5, 2) for a in each),
        f"for q of shape (5, 2, 3) the answer has shape {tuple(getattr(each[0], 'shape', ()))}, expected (5, 2)",
        "one number for each agent: the axis of actions goes",
    )
    mean = sum(pi[..., a] * each[a] for a in range(3))
    expect(
        mean,
        torch.zeros(5, 2),
        call="the mean of the advantage over the agent's own policy",
        hint="sum_u pi(u) A(u) = 0 for a true baseline: weigh Q by pi, over the agent's own actions",
    )


# ------------------------------------------------------------------------------------------------ 1.5


def lica_objective(critic, p):
    """critic(state, u [...,2,2]) -> [...], p [...,2] -> the critic's value of the probabilities themselves [...]"""
    u = torch.stack([1 - p, p], -1)
    return critic(None, u)


def true_critic(state, u):
    """A critic that knows the game, for any probabilities: u [...,2,2] -> [...]"""
    return u[..., 0, 1] * u[..., 1, 0] + u[..., 0, 0] * u[..., 1, 1]


@exercise(
    "1.5",
    title="LICA's objective",
    reference=lica_objective,
    hints=[
        "The critic wants u [...,2,2]: for each car the probability of waiting (action 0) and of passing (action 1).",
        "Passing has the probabilities p, waiting 1 - p: two tensors [...,2]. Which function joins them on a new, last axis?",
        "`torch.stack([1 - p, p], -1)` puts the two actions on the last axis. Nothing is sampled, rounded or detached.",
    ],
    difficulty=1,
    importance=4,
    minutes=5,
    agree=lambda lica_objective, generator: lica_objective(true_critic, random_p(generator, 4, 2)),
)
def check_lica_objective(lica_objective):
    p, asked = torch.tensor([[0.9, 0.2], [0.3, 0.6], [0.1, 0.8]], requires_grad=True), []

    def listening(state, u):
        asked.append(u)
        return true_critic(state, u) if u.shape[-2:] == (2, 2) else u.sum(-1)

    value, right = lica_objective(listening, p), torch.stack([1 - p, p], -1).detach()
    once = "ask once, at the probabilities: no mean over joint actions"
    require(len(asked) == 1, f"the critic was called {len(asked)} times, expected once", once)
    u = asked[0]
    axes = "the critic needs an action axis: u [...,2,2], cars on the axis before the last, (wait, pass) on the last"
    require(u.shape != p.shape, f"the critic got p itself, shape {tuple(u.shape)}", axes)
    require(u.dim() == 3, f"for p of shape (3, 2) the critic got u of shape {tuple(u.shape)}, expected (3, 2, 2)", once)
    call = "the u that the critic got"
    faults = [
        (right.flip(-1), "passing stands before waiting", "action 0 is to wait: (1 - p, p)"),
        (right.transpose(-1, -2), "cars and actions are exchanged", "cars on the axis before the last, actions on the last"),
        (right.round(), "the probabilities are rounded", "give the critic the probabilities themselves"),
    ]
    refuse(u.detach(), faults, call)
    expect(u.detach(), right, call=call, hint="for each car (1 - p, p), in the order of the actions")
    negated = [(-expected_return(p), "the sign is turned round", "this is the objective to ascend, not a loss: no minus")]
    refuse(value, negated, "lica_objective(critic, p)")
    expect(value, expected_return(p), call="lica_objective(critic, p)", hint="return what the critic says, [...]")
    require(value.requires_grad, "the value carries no gradient to p", "no detach, no rounding between p and the critic")
    (slope,) = torch.autograd.grad(value.sum(), p)
    expect(
        slope,
        exact_gradient(p.detach()),
        call="the gradient of lica_objective(a critic that knows the game, p) with respect to p",
        hint="the whole gradient must flow through the critic into p: detach neither 1 - p nor p",
    )


# ------------------------------------------------------------------------------------------------ 1.6


def repaired_loss(p, advantage):
    """p [2], advantage [4,2] -> the loss to descend"""
    log_taken = torch.where(JOINT_ACTIONS == 1, p.log(), (1 - p).log())
    weights = joint_probabilities(p).detach()
    return -(weights.unsqueeze(-1) * log_taken * advantage).sum()


repaired_reference = repaired_loss  # the check's argument has the function's own name


def wrong_slopes(p: torch.Tensor, advantage: torch.Tensor):
    """(gradient, its faults in words, a hint) of every wrong combination of log-probability, weights and sign."""
    data = "the weights are data: no gradient flows into them"
    taken = torch.where(JOINT_ACTIONS == 1, p.log(), (1 - p).log())
    own = joint_probabilities(p)
    always, score = "a car that waited needs the log-probability of waiting", "this is the derivative already, by the logit"
    logs = [
        (taken, "", ""),
        (p.log().expand(4, 2), "the waiting rows still use log p", always),
        (JOINT_ACTIONS - p, "you put the score u - p into the loss", f"{score}: a loss needs log pi, and autograd its slope"),
    ]
    weights = [
        (own.detach(), "", ""),
        (torch.full((4,), 0.25), "the rows are still weighted equally", "how often would the policy play this row?"),
        (torch.ones(4), "the rows are still weighted equally", "how often would the policy play this row?"),
        (own.detach() / 4, "a mean over the rows", "the weights add up to 1 already: sum, not mean"),
        (own.detach() / 8, "a mean over rows and cars", "the weights add up to 1 already: sum over both axes"),
        (own, "a gradient flows into the weights", data),
    ]
    for log, fault, log_hint in logs:
        for w, second, hint in weights:
            for sign, third in ((-1, ""), (1, "the sign is turned round")):
                faults = [text for text in (fault, second, third) if text]
                if faults:
                    loss = sign * (w.unsqueeze(-1) * log * advantage).sum()
                    (slope,) = torch.autograd.grad(loss, p, retain_graph=True)
                    yield slope, "; ".join(faults), log_hint or hint or "a loss is descended: it needs a minus"


def true_advantage(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Counterfactual advantage [4,2] of every joint action, for joint values q [4]."""
    table, rows = q.view(2, 2), []
    for u1, u2 in JOINT_ACTIONS.tolist():
        own = torch.stack([table[:, u2], table[u1]])  # [2,2]: each car's own two actions
        rows.append(counterfactual_advantage(own, torch.stack([1 - p, p], -1), torch.tensor([u1, u2])))
    return torch.stack(rows)


@exercise(
    "1.6",
    title="repair the released loss",
    reference=repaired_loss,
    hints=[
        "Compare with `score_gradient` of exercise 1.3: which of its three factors does the released loss get wrong? Two.",
        "For a car that waited, the log-probability is that of waiting: "
        "`torch.where(JOINT_ACTIONS == 1, p.log(), (1 - p).log())`.",
        "The rows need the weights that the policy itself would give them. They are data: no gradient flows into them "
        "(`.detach()`).",
    ],
    difficulty=3,
    importance=5,
    minutes=15,
    points=2,
    agree=lambda repaired_loss, generator: repaired_loss(random_p(generator, 2), torch.randn(4, 2, generator=generator)),
)
def check_repaired_loss(repaired_loss):
    waited = torch.zeros(4, 2)
    waited[0, 0] = 1.0  # only car 1 of (wait, wait) has an advantage
    p = torch.tensor([0.9, 0.2], requires_grad=True)
    loss = repaired_loss(p, waited)
    require(
        isinstance(loss, torch.Tensor) and loss.shape == (),
        f"repaired_loss returned shape {tuple(getattr(loss, 'shape', ()))} ({type(loss).__name__}), expected one number",
        "sum over joint actions and cars",
    )
    require(loss.requires_grad, "the loss carries no gradient to p", "the log-probabilities must not be detached")
    advantage = torch.tensor([[1.0, 2.0], [-0.3, 0.5], [0.5, -0.7], [2.0, 1.1]])
    (slope,) = torch.autograd.grad(repaired_loss(p, advantage), p)
    call = "the gradient of repaired_loss(p, advantage)"
    refuse(slope, list(wrong_slopes(p, advantage)), call)
    (right,) = torch.autograd.grad(repaired_reference(p, advantage), p)
    expect(slope, right, call=call, hint="compare with exercise 1.3, factor by factor")
    for point in ([0.9, 0.2], [0.3, 0.4], [0.5, 0.5]):
        p = torch.tensor(point, requires_grad=True)
        loss = repaired_loss(p, true_advantage(p.detach(), REWARD))
        (slope,) = torch.autograd.grad(loss, p)
        expect(
            -slope,
            exact_gradient(p.detach()),
            call=f"minus the gradient of the loss at p = {tuple(point)}, with the true advantages,",
            hint="with the true advantages it must be dJ/dp",
        )


# ------------------------------------------------------------------------------------------------ quiz

QUIZ = Quiz(
    "1",
    [
        Question(
            "1.q1",
            "Both cars pass with probability .5. Car 1 alone changes its p. What happens to J?",
            {
                "a": ("it rises if car 1 passes more often", "then waiting would have to lower it; but dJ/dp1 = 1 - 2 p2 = 0"),
                "b": ("nothing", "against a coin, passing and waiting are equally good: the saddle"),
                "c": (
                    "it falls, for (.5, .5) is the maximum",
                    "J is .5 there and 1 at the two optima; it is a saddle, not a top",
                ),
            },
            answer="b",
        ),
        Question(
            "1.q2",
            "One of these, subtracted from the reward, changes the mean of agent i's on-policy gradient. Which?",
            {
                "a": ("the number 7", "a number depends on no action: times a mean score of zero it adds nothing"),
                "b": (
                    "the reward agent i could expect, given what the others did",
                    "it depends on the others' actions only, and the mean score stays zero for each fixed choice of the others",
                ),
                "c": (
                    "the reward agent i would have had with its other action",
                    "it depends on the own action: the mean changes (in the junction it doubles: the flip of section 8)",
                ),
            },
            answer="c",
        ),
        Question(
            "1.q3",
            "COMA with perfect values, all four joint actions weighted equally. Why is its mean gradient zero at every policy?",
            {
                "a": (
                    "the counterfactual advantage has mean zero",
                    "under the agent's own policy it has, at every policy, and yet the on-policy gradient is not zero",
                ),
                "b": ("the critic is too small", "the values were perfect; no network was involved"),
                "c": (
                    "uniform data show a partner that passes half the time, and against it nothing matters",
                    "the data, not the policy, decide which partner the gradient sees: at p2 = .5, dJ/dp1 = 0",
                ),
            },
            answer="c",
        ),
        Question(
            "1.q4",
            "LICA learns from the same uniform table on which COMA stands still. Why?",
            {
                "a": (
                    "its actors ask the critic at their own probabilities, so the partner's present policy enters there",
                    "the data only fit the critic; the policy's own probabilities enter through its input",
                ),
                "b": ("its critic is larger", "here both are 2 - 32 - 1 networks on the same rows"),
                "c": ("its entropy bonus keeps it exploring", "on the junction it is switched off: section 5 printed xi = 0"),
            },
            answer="a",
        ),
        Question(
            "1.q5",
            "A figure shows the mean P(pass) over those runs that ended in the optimum (pass, wait). What can it not show?",
            {
                "a": ("how quickly these runs decided", "this it does show"),
                "b": ("how often that optimum was reached", "failures were left out before the mean was taken"),
                "c": ("which car passed", "this is what the runs were chosen by"),
            },
            answer="b",
        ),
    ],
)
