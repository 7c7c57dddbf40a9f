"""Chapter 05, MNMPG: the log-density of a z, the score-function estimator, the released defect, the meta loss and round."""

from __future__ import annotations

import math
import random

import torch

from marlcourse.algorithms.mnmpg import MNMPG
from marlcourse.course.exercises import describe, exercise, expect, meant, mine_or_reference, require, require_gradients
from marlcourse.course.mnmpg_study import changed, gain, mean_and_error, parts, true_slope
from marlcourse.course.quiz import Question, Quiz
from marlcourse.envs import make
from marlcourse.nets.hierarchy import GaussianEncoder
from marlcourse.rollout import Context

__all__ = ["QUIZ", "mine_or_reference"]


def teach(got, expected, call, known, otherwise):
    """`expect`, but None and a known wrong answer [(tensor, hint), ...] get their own hint and no other one."""
    require(got is not None, f"{call} returned None.", hint="the last line of the function must be a `return`")
    if isinstance(got, torch.Tensor) and got.is_floating_point():
        got = got + 0.0  # no "-0" in a message
    if hint := meant(got, known, ""):
        require(False, f"{call} returned {describe(got)}, expected {describe(expected)}", hint=hint)
    expect(got, expected, call=call, hint=otherwise)


def times(n):
    return "once" if n == 1 else f"{n} times"


# ------------------------------------------------------------------------------------------------ 5.1


def log_p(z, mean, std):
    """z, mean, std [...,K] -> log N(z; mean, std^2), the K entries independent, [...]"""
    return (-0.5 * ((z - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


@exercise(
    "5.1",
    title="how probable was the z that was used?",
    reference=log_p,
    hints=[
        "One entry first. The logarithm of a quotient is a difference, and log exp(x) = x: three terms remain. The card's "
        "example shows them for std = 1; which of the three changes with std, and which two would for another z?",
        "The K entries are independent: their densities multiply, so their logarithms are added. Over which axis of "
        "[...,K], so that [...] is left?",
        "`(-0.5 * ((z - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)).sum(-1)`",
    ],
    difficulty=1,
    importance=5,
    minutes=8,
    agree=lambda f, g: f(
        torch.randn(4, 5, 3, generator=g), torch.randn(4, 5, 3, generator=g), torch.rand(4, 5, 3, generator=g) + 0.1
    ),
)
def check_log_p(log_p):
    one = torch.ones(1)
    got = log_p(1.0 * one, 0.0 * one, 1.0 * one)
    if isinstance(got, torch.Tensor) and got.shape == one.shape:
        two = log_p(torch.zeros(2), torch.zeros(2), torch.ones(2))
        require(
            not (isinstance(two, torch.Tensor) and two.shape == (2,)),
            "log_p gave one number for each entry of z; expected one for the whole z.",
            hint="the density of all K entries is a product, so the last axis of the logarithms is summed: .sum(-1)",
        )
    known = [
        (-0.5, "the constant is missing: - log(2 pi) / 2 for each entry. It has no part in d/d mean, but densities need it"),
        (-0.418939, "the sign of the exponent: a z far from the mean is *less* probable, - (z - mean)^2 / (2 std^2)"),
        (-1.918939, "the 1/2 in the exponent is missing: - (z - mean)^2 / (2 std^2)"),
        (0.418939, "the sign of the constant: dividing by sqrt(2 pi) subtracts its logarithm"),
        (-2.337877, "the square root is missing: log sqrt(2 pi) = log(2 pi) / 2"),
        (1.418939, "the sign: this is - log p"),
        (0.241971, "this is the density itself: its logarithm is asked"),
    ]
    otherwise = "-(1 - 0)^2 / 2 - log(1) - log(2 pi) / 2 = -.5 - .919; the last axis holds K entries: sum over it"
    teach(got, torch.tensor(-1.418939), "log_p(z=[1], mean=[0], std=[1])", known, otherwise)
    got = log_p(torch.tensor([2.0, 1.0]), torch.zeros(2), torch.tensor([2.0, 1.0]))
    known = [
        (-1.765512, "this is the mean over the entries: independent probabilities multiply, so their logarithms add"),
        (-2.837877, "- log(std) is missing: a wide density is a low one"),
        (-4.224171, "std is the standard deviation; it is squared in the exponent and not in the logarithm"),
        (-2.144729, "the sign of log(std): dividing by std subtracts its logarithm"),
        (-4.031024, "std is not squared in the exponent: - (z - mean)^2 / (2 std^2)"),
        (-5.031024, "std is missing in the exponent: - (z - mean)^2 / (2 std^2)"),
        (-2.612086, "the constant was taken once for the whole z: - log(2 pi) / 2 belongs to each of its entries"),
    ]
    otherwise = "first entry -(2/2)^2/2 - log 2 - .919, second -.5 - .919; then the sum"
    teach(got, torch.tensor(-3.531024), "log_p(z=[2, 1], mean=[0, 0], std=[2, 1])", known, otherwise)
    z = torch.arange(12.0).view(2, 2, 3) / 10
    truth = torch.distributions.Normal(torch.full((2, 2, 3), 0.3), torch.full((2, 2, 3), 0.5)).log_prob(z).sum(-1)
    expect(
        log_p(z, torch.full((2, 2, 3), 0.3), torch.full((2, 2, 3), 0.5)),
        truth,
        call="log_p(z, mean, std), all of shape (2, 2, 3),",
        hint="two episodes, two steps, K = 3: one number for each episode and step",
    )
    given = {name: torch.full((2, 3), x, requires_grad=True) for name, x in (("z", 0.7), ("mean", 0.2), ("std", 0.9))}
    hint = "later cells need it: no .detach(), .item() or torch.no_grad() in here; what must not learn is cut outside"
    require_gradients(log_p(*given.values()), given, "log_p", hint)


# ------------------------------------------------------------------------------------------------ 5.2


def slope_estimate(gain, z, mean, std):
    """gain [n], z [n,K] drawn from N(mean, std^2), mean, std [K] -> estimate of d E[gain] / d mean, [K]"""
    return (gain.unsqueeze(-1) * (z - mean) / std**2).mean(0)


def wavy(z):
    """A return that depends on z, with E in closed form: sum_k w_k z_k + .3 z_k^2."""
    w = torch.tensor([2.0, -1.0], dtype=z.dtype)
    return (w * z + 0.3 * z**2).sum(-1)


def wavy_expected(mean, std):
    w = torch.tensor([2.0, -1.0], dtype=mean.dtype)
    return (w * mean + 0.3 * (mean**2 + std**2)).sum()


def finite_difference(f, x, h=1e-4):
    """[f(x + h e_k) - f(x - h e_k)] / 2h for each entry k of x."""
    steps = h * torch.eye(len(x), dtype=x.dtype)
    return torch.stack([(f(x + e) - f(x - e)) / (2 * h) for e in steps])


def random_rounds(g):
    return (
        torch.randn(6, generator=g),
        torch.randn(6, 2, generator=g),
        torch.randn(2, generator=g),
        torch.rand(2, generator=g) + 0.2,
    )


@exercise(
    "5.2",
    title="the slope of an average that you can only sample",
    reference=slope_estimate,
    hints=[
        "In the four draws printed at the start of section 2: which line was averaged at the end? There std was 1 and the "
        "mean 0. What is d log p / d mean of *one* entry for any mean and std? "
        "(Only one of the three terms of log p holds the mean.)",
        "The score is [n,K], the gain [n]: one number for each draw, whatever K is. `unsqueeze` gives it the axis that is "
        "missing. Which of the two axes counts the draws, over which the mean goes?",
        "`(gain.unsqueeze(-1) * (z - mean) / std**2).mean(0)`",
    ],
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
    agree=lambda f, g: f(*random_rounds(g)),
)
def check_slope_estimate(slope_estimate):
    gain, z = torch.tensor([-12.0, -12.0, 2.0, 2.0]), torch.tensor([[-1.5], [-0.5], [0.5], [1.5]])
    got = slope_estimate(gain, z, torch.zeros(1), torch.ones(1))
    by_log_p = (gain * log_p(z, torch.zeros(1), torch.ones(1))).mean()
    no_slope = "this is the mean of gain times log p; its *slope* is asked, the score: d log p / d mean = (z - mean) / std^2"
    known = [
        (by_log_p.view(1), no_slope),
        (by_log_p, no_slope),
        (gain.unsqueeze(-1) * z, "these are the products of the single draws: take their mean, .mean(0)"),
        (torch.zeros(4), "gain [n] times score [n,K] made a table of n by n: give gain an axis, gain.unsqueeze(-1)"),
        (torch.tensor(7.0), "one number for each of the K entries (here K = 1): a mean over the draws only, axis 0"),
        (torch.tensor([28 / 3]), "divided by n - 1: an expectation is estimated by the plain mean, over n"),
        (torch.tensor([0.8660]), "the gains were divided by their spread: asked is the mean of gain times score, as they are"),
        (torch.tensor([1.0]), "the gains were divided by their spread: asked is the mean of gain times score, as they are"),
        (torch.tensor([28.0]), "this is the sum over the draws: an expectation is estimated by their mean"),
        (torch.tensor([-7.0]), "the sign: a draw above the mean asks for a larger mean, score (z - mean) / std^2"),
        (torch.tensor([-5.0]), "this is the mean gain; each gain belongs to the score of its own z"),
        (
            torch.tensor([0.0]),
            "this is the mean score, perhaps times a mean: each score meets the gain of its own draw first",
        ),
    ]
    call = "slope_estimate(gain=[-12, -12, 2, 2], z=[[-1.5], [-.5], [.5], [1.5]], mean=[0], std=[1])"
    if isinstance(got, float) and abs(got - 7) < 1e-3:
        got = torch.tensor(got)
    teach(
        got, torch.tensor([7.0]), call, known, "the four products are 18, 6, 1, 3; return one number for each of the K entries"
    )
    got = slope_estimate(gain, 1 + 2 * z.repeat(1, 2), torch.ones(2), torch.tensor([2.0, 2.0]))
    known = [
        (torch.full((2,), 14.0), "std is missing: the score is (z - mean) / std^2"),
        (torch.full((2,), 7.0), "the score divides by the *square* of std"),
        (torch.full((2,), 2.25), "the mean was not subtracted: the score is (z - mean) / std^2"),
        (torch.tensor(3.5), "one number for each of the K entries (here K = 2): a mean over the draws only, axis 0"),
    ]
    call = "slope_estimate(the same gains, z twice as far around mean=[1, 1], std=[2, 2])"
    teach(got, torch.full((2,), 3.5), call, known, "(z - mean) / std^2 = 2 * (...) / 4")
    got = slope_estimate(torch.tensor([1.0, 3.0]), torch.tensor([[0.0], [2.0]]), torch.zeros(1), torch.ones(1))
    centred = (
        "the mean gain was subtracted. That is a baseline, and a good idea (section 7); but taken from the same n draws it "
        "makes the estimate too small, by 1 - 1/n on average. Asked is the plain mean of gain times score"
    )
    call = "slope_estimate(gain=[1, 3], z=[[0], [2]], mean=[0], std=[1])"
    teach(got, torch.tensor([3.0]), call, [(torch.tensor([1.0]), centred)], "the products are 0 and 6: their mean")
    mean, std = torch.tensor([0.5, -1.0], dtype=torch.double), torch.tensor([0.7, 1.5], dtype=torch.double)
    z = mean + std * torch.randn(40_000, 2, generator=torch.Generator().manual_seed(5), dtype=torch.double)
    truth = finite_difference(lambda m: wavy_expected(m, std), mean)
    got = slope_estimate(wavy(z), z, mean, std)
    error = (wavy(z).unsqueeze(-1) * (z - mean) / std**2).std(0) / 200
    require(
        got.shape == truth.shape and bool(((got - truth).abs() < 4 * error).all()),
        f"40,000 draws give {[round(x, 2) for x in got.flatten().tolist()]}, finite differences of E[gain] "
        f"{[round(x, 2) for x in truth.tolist()]}: further apart than chance allows.",
        hint="does every draw meet its own gain, and each entry its own std?",
    )


# ------------------------------------------------------------------------------------------------ 5.3


def repaired_round(draw, practise, play, score, updates):
    """draw() -> z, practise(z): one update, play() -> return, score(z) -> d log p / dm; updates: how many -> estimate"""
    before = play()
    z = draw()
    for _ in range(updates):
        practise(z)
    return (play() - before) * score(z)


class Script:
    """A team whose return is 100 at first, and moves by a tenth of every z that it practised with; draws are 1, 2, 3, ..."""

    def __init__(self, first=1.0):
        self.next, self.total, self.drawn, self.practised, self.played = first, 100.0, [], [], 0

    def draw(self):
        z, self.next = self.next, self.next * 2 + 1
        self.drawn.append(z)
        return z

    def practise(self, z):
        self.practised.append(z)
        self.total += 0.1 * z

    def play(self):
        self.played += 1
        return self.total

    def score(self, z):
        return z - 0.5

    @property
    def tools(self):
        return self.draw, self.practise, self.play, self.score


class Shared:
    """The small game with its gain shared out over the updates, z ~ N(m, 1) and a return of 5 at first: one round of it."""

    def __init__(self, updates, m, stream):
        self.updates, self.m, self.stream, self.earns = updates, m, stream, 5.0
        self.gains = gain(torch.tensor([-1.0, 1.0])).tolist()
        self.tools = self.draw, self.practise, self.play, self.score

    def draw(self):
        return self.stream.gauss(self.m, 1.0)

    def practise(self, z):
        self.earns += self.gains[z > 0] / self.updates

    def play(self):
        return self.earns

    def score(self, z):
        return z - self.m


def judged(one_round, rounds=4_000, updates=3, m=0.5):
    """(mean, its standard error, true slope) of the estimates of so many rounds."""
    stream = random.Random(1)
    found = [float(one_round(*Shared(updates, m, stream).tools, updates)) for _ in range(rounds)]
    return *mean_and_error(torch.tensor(found)), true_slope(m)


def scripted(repaired_round, g):
    first, updates = float(torch.randn(1, generator=g)), int(torch.randint(1, 5, (1,), generator=g))
    return torch.tensor(float(repaired_round(*Script(first).tools, updates)))


@exercise(
    "5.3",
    title="find the released defect",
    reference=repaired_round,
    hints=[
        "Count the calls of draw in a round of three updates, and give every z a name. Which of them had a part in the gain? "
        "Which of them is scored?",
        "A score says: make *this* z more probable. A z that had no part in the gain has E[gain x score] = E[gain] x 0. So "
        "the z that deserves it must still be there when the team has played again: keep it in a variable.",
        "`z = draw()` once, before the loop; `practise(z)` in it; `score(z)` at the end.",
    ],
    difficulty=2,
    importance=5,
    minutes=8,
    agree=scripted,
)
def check_repaired_round(repaired_round):
    script = Script()
    got = repaired_round(*script.tools, 3)
    call = "repaired_round(draw, practise, play, score, updates=3)"
    require(got is not None, f"{call} returned None.", hint="return (R1 - R0) x score")
    number = isinstance(got, (int, float)) or isinstance(got, torch.Tensor) and got.numel() == 1
    require(number, f"{call} returned {describe(got)}, expected one number.", hint="one round, one estimate: (R1 - R0) x score")
    done = len(script.practised)
    how_many = "`updates` says how many: `for _ in range(updates)`"
    require(done == 3, f"practise was called {times(done)} where updates is 3.", hint=how_many)
    longer = Script()
    repaired_round(*longer.tools, 5)
    done = len(longer.practised)
    require(done == 5, f"practise was called {times(done)} where updates is 5.", hint=how_many)
    strange = [z for z in script.practised if z not in script.drawn]
    require(
        not strange,
        f"practise got {strange[:1]}, which draw never returned.",
        hint="practise with the z itself, no score of it",
    )
    mean, error, slope = judged(repaired_round)
    if abs(mean - slope) < 4 * error:
        return  # whatever was done: its mean is right
    change, used = script.total - 100, list(dict.fromkeys(script.practised))  # each z that was practised with, once
    score = sum(map(script.score, used))
    anew = [change * script.score(z) for z in script.drawn if z not in used]
    known = [
        *((x, "the z that is scored was drawn anew: it had no part in the practice, nor in the gain") for x in anew),
        (0.0, "R1 - R0 is 0: was R0 taken before the practice, and R1 after it?"),
        (-change * score, "the sign: R1, after the practice, less R0"),
        (change, "the score is missing: which z is to become more probable?"),
        *(
            (change * script.score(z), "several z were practised with, and one is scored: score all of them, or draw once")
            for z in used[: len(used) if len(used) > 1 else 0]
        ),
    ]
    if len(used) > 1:
        mean_score = "this is the mean of the scores; a product of densities has the *sum* of their scores"
        known.append((change * score / len(used), mean_score))
    if len(used) == 1:
        known.insert(0, (3 * change * score, "one z was drawn once: its score counts once, however often it was used"))
        known.append((change * score, "with one gain it is right: what happens to the sign of a loss?"))
    got = torch.as_tensor(got).detach().float().flatten()[0]
    require(
        False,
        f"4,000 rounds have the mean {mean:.2f} (standard error {error:.2f}); this game's true slope is {slope:.2f}.",
        hint=meant(got, known, "(R1 - R0) times the score of the z that was practised with"),
    )


# ------------------------------------------------------------------------------------------------ 5.4


def meta_loss(encoder, state, z, mask, improvement):
    """state [B,T,S], z [B,T,K], mask [B,T], improvement a number -> minus improvement times the mean score of an episode"""
    log_p = encoder.log_prob(state, z.detach())
    mean_log_p = (log_p * mask).sum(1) / mask.sum(1)
    return -improvement * mean_log_p.mean()


def meta_case(g, episodes=3):
    """(encoder, state, z with a way back to the encoder, mask): episodes of 1, 2 and 4 steps; padding holds anything."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(1000, (1,), generator=g)))
        encoder = GaussianEncoder(3, 2, hidden=5)
    mask = (torch.arange(4) < torch.tensor([[1], [2], [4]])).float()
    state = torch.randn(episodes, 4, 3, generator=g)
    state[mask == 0] = 7.0
    mean, std = encoder(state)
    return encoder, state, mean + std * torch.randn(episodes, 4, 2, generator=g), mask


def theta_gradient(loss, encoder):
    """The loss's gradient for all parameters of the encoder as one vector, 0 where there is none."""
    parameters = list(encoder.parameters())
    if not (isinstance(loss, torch.Tensor) and loss.requires_grad):
        return torch.zeros(sum(p.numel() for p in parameters))
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if x is None else x).flatten() for x, p in zip(found, parameters)])


def loss_and_gradient(meta_loss, g):
    encoder, state, z, mask = meta_case(g)
    loss = meta_loss(encoder, state, z, mask, 2.5)
    return torch.cat([loss.detach().view(1), theta_gradient(loss, encoder)])


@exercise(
    "5.4",
    title="the meta loss",
    reference=meta_loss,
    hints=[
        "An optimiser goes downhill: what must become small so that z becomes more probable after a gain, and less "
        "probable after a loss? Then the order of the two means: in the card's example the mean over all three real steps "
        "is another number than -2.",
        "`log_p * mask` is 0 on padded steps; their number must not be in the denominator either. And ask of z, as of each "
        "number in a loss: has it a road to theta, and should it? It was drawn, used, and is over.",
        "`log_p = encoder.log_prob(state, z.detach())`, `mean_log_p = (log_p * mask).sum(1) / mask.sum(1)`, "
        "`return -improvement * mean_log_p.mean()`",
    ],
    difficulty=3,
    importance=5,
    minutes=12,
    points=2,
    agree=loss_and_gradient,
)
def check_meta_loss(meta_loss):
    g = torch.Generator().manual_seed(1)
    encoder, state, z, mask = meta_case(g)
    log_p = encoder.log_prob(state, z.detach()).detach()
    score = ((log_p * mask).sum(1) / mask.sum(1)).mean()
    loss, again = (meta_loss(encoder, state, z, mask, torch.tensor(2.0)) for _ in range(2))
    call = "meta_loss(encoder, state, z, mask, improvement=2)"
    require(
        not isinstance(loss, (tuple, list, dict, str)),
        f"{call} returned {describe(loss)}, expected a tensor.",
        hint="the loss alone, one number with a gradient: the library's own losses return figures for the log beside it",
    )
    require(
        loss is None or isinstance(loss, torch.Tensor),
        f"{call} returned a plain number ({describe(loss)}), expected a tensor with a gradient.",
        hint=".item() and float() keep the value and cut the road from the loss to theta: return the tensor itself",
    )
    require(
        not isinstance(loss, torch.Tensor) or not isinstance(again, torch.Tensor) or torch.equal(loss, again),
        "Called twice with the same arguments, meta_loss gave two numbers: it draws a z of its own.",
        hint="score the z that was handed over: a new one had no part in the practice, and the mean of its gradient is 0",
    )
    each = (log_p * mask).sum(1) / mask.sum(1)  # [B]
    episodes, steps = (
        "the episodes are summed: their mean is asked",
        "the steps of an episode are summed: divide by mask.sum(1)",
    )
    known = [
        (2 * score, "the sign: optimisers go downhill, and after a gain log p must go up"),
        (
            -2 * (log_p * mask).sum() / mask.sum(),
            "long episodes weigh more here: the mean over steps is taken in each episode first",
        ),
        (-2 * log_p.mean(), "padded steps are in the mean: weigh by mask"),
        (-2 * (log_p * mask).mean(), "padded steps are in the denominator: divide by mask.sum(1)"),
        (-2 * (log_p * mask).sum(1).mean(), steps),
        (-2 * each.sum(), episodes),
        (-2 * (log_p * mask).sum(), "steps and episodes are summed: take the mean over each episode's steps, then over them"),
        (-2 * each, "one number for each episode: take their mean"),
        (-2 * ((log_p * mask).sum(0) / mask.sum(0)).mean(), "axis 0 holds the episodes: an episode's mean runs over axis 1"),
        (-2 * ((log_p.exp() * mask).sum(1) / mask.sum(1)).mean(), "this is p itself: the score is the gradient of log p"),
        (-2 * ((log_p * mask).sum(1) / mask.sum(1)).mean().exp(), "this is p itself: the score is the gradient of log p"),
        (-score, "improvement is missing, or its sign alone is there: it says how far to go, and in which direction"),
        (score, "improvement is missing, and the sign: optimisers go downhill"),
    ]
    teach(loss, -2 * score, call, known, "try the card's example: the means of the two episodes are -1 and -3, the loss is 4")
    require(loss.requires_grad, "The loss has no gradient: it cannot teach theta.", hint="detach z, not log p")
    truth = theta_gradient(-2.0 * ((encoder.log_prob(state, z.detach()) * mask).sum(1) / mask.sum(1)).mean(), encoder)
    got = theta_gradient(loss, encoder)
    require(
        torch.allclose(got, truth, atol=1e-5),
        "The value is right and the gradient for theta is not: it also runs through z.",
        hint="z = mean + std * noise remembers the encoder. Through it (z - mean) / std = noise is a constant: the mean gets "
        "no gradient at all. The z that was used is a number now: z.detach()",
    )
    nothing = theta_gradient(meta_loss(encoder, state, z, mask, torch.tensor(0.0)), encoder)
    require(
        bool((nothing == 0).all()), "R1 = R0 gives a gradient.", hint="no improvement, no step: the loss is a product with it"
    )
    expect(
        theta_gradient(meta_loss(encoder, state, z, mask, torch.tensor(-2.0)), encoder),
        -truth,
        call="the gradient of meta_loss(..., improvement=-2)",
        hint="what made things worse must become less probable by as much",
    )


# ------------------------------------------------------------------------------------------------ 5.5


def meta_round(team, ctx):
    """One meta round of Algorithm 1, up to the meta step -> R1 - R0"""
    d0 = team.with_z(ctx.collect(), ctx.generator)
    for _ in range(team.config.exercise_updates):
        ctx.step("main", team.exercise_loss, d0)
    d1 = ctx.collect()
    improvement = team.improvement(d0, d1)
    ctx.step("meta", team.meta_loss(d0, improvement)[0])
    return improvement


def small_team(seed=0, updates=3):
    """(an MNMPG team in the two-step game, its context)."""
    env = make("two-step", num_envs=4, device="cpu", seed=seed)
    config = MNMPG.Config(hidden=8, embed=4, replay_episodes=40, meta_lr=1e-2, exercise_updates=updates)
    team = MNMPG(env.spec, config, seed=seed, device="cpu")
    return team, Context(env, team, seed)


def after_round(meta_round, g):
    team, ctx = small_team(int(torch.randint(1000, (1,), generator=g)))
    r = meta_round(team, ctx)
    return torch.cat([torch.as_tensor(r).detach().view(1).float(), *parts(team).values()])


class Watched:
    """A context that notes what is done with it, and which z served. With ``returns`` (R0, R1) these are what D0 and D1
    have paid, whatever was played; without, every batch has a return of its own."""

    def __init__(self, team, ctx, returns=None):
        self.team, self.ctx, self.events, self.used, self.moved, self.batches = team, ctx, [], [], [], []
        self.returns, self.found, self.unit = returns, None, None
        self.generator, self.optimizers, self.buffer = ctx.generator, ctx.optimizers, ctx.buffer
        exercise, self.log_prob, encoder = team.exercise_loss, team.mixer.encoder.log_prob, team.mixer.encoder

        def exercise_loss(batch):
            self.z_of("exercise_loss", batch)
            self.used.append(("exercise", batch.extras["z"].clone()))
            return exercise(batch)

        def meta_loss(batch, improvement):
            self.z_of("meta_loss", batch)
            self.not_d1(batch.reward is self.batches[-1].reward)
            return meta(batch, improvement)

        def scored(state, z):  # also by a meta_loss of the reader's own
            if len(self.batches) > 1:
                d0, d1 = (batch.states[:, :-1] for batch in (self.batches[0], self.batches[-1]))
                self.not_d1(not torch.equal(d0, d1) and torch.equal(state, d1))
            self.used.append(("score", z.detach().clone()))
            return self.log_prob(state, z)

        meta, encoder.log_prob = team.meta_loss, scored
        team.exercise_loss, team.meta_loss = exercise_loss, meta_loss

    def not_d1(self, it_is):
        require(
            not (it_is and len(self.batches) > 1),
            "The meta loss was given D1.",
            hint="D1 was played after the practice: its steps had no part in it. Scored is the z of D0; D1 gives R1 alone",
        )

    @staticmethod
    def z_of(loss, batch):
        require(
            "z" in getattr(batch, "extras", {}),
            f"team.{loss} was given episodes without a z.",
            hint="draw it once, when D0 has been played: d0 = team.with_z(ctx.collect(), ctx.generator)",
        )

    @property
    def env_steps(self):
        return self.ctx.env_steps

    def collect(self, *args, **options):
        self.events.append("collect")
        batch = self.ctx.collect(*args, **options)
        if self.returns is None:
            batch.reward[:, 0] += 10.0 ** len(self.batches)  # every batch has a return of its own
        else:
            batch.reward[:] = 0.0
            batch.reward[:, 0] = self.returns[min(len(self.batches), 1)]
        self.batches.append(batch)
        return batch

    def updates(self):
        return self.ctx.updates()

    def step(self, name, *args):
        before = parts(self.team)
        self.events.append(name)
        require(
            not (args and isinstance(args[0], tuple)),
            f"ctx.step({name!r}, ...) was given a tuple.",
            hint="a loss of the team returns (loss, figures for the log): take the first, team.meta_loss(d0, improvement)[0]",
        )
        if name == "meta" and self.returns is not None:
            value = args[0](args[1])[0] if len(args) > 1 else args[0]
            self.found = theta_gradient(value, self.team.mixer.encoder)
            z = next(z for kind, z in self.used if kind == "exercise")
            d0, theta = self.batches[0], self.team.mixer.encoder
            log_p = self.log_prob(d0.states[:, :-1], z)
            self.unit = -theta_gradient(((log_p * d0.mask).sum(1) / d0.mask.sum(1)).mean(), theta)  # of a gain of 1
        handed = "a loss function and more than its batch" if len(args) > 2 else "a loss function and no batch"
        with_batch = "the episodes are missing: ctx.step('main', team.exercise_loss, d0)"
        called = "give step the loss itself: call it first, as in ctx.step('meta', team.meta_loss(d0, improvement)[0])"
        require(
            not (args and callable(args[0]) and len(args) != 2),
            f"ctx.step({name!r}, ...) was given {handed}.",
            hint=with_batch if name == "main" and len(args) == 1 else called,
        )
        logged = self.ctx.step(name, *args)
        self.moved.append((name, changed(before, parts(self.team))))
        return logged


@exercise(
    "5.5",
    title="one meta round",
    reference=meta_round,
    hints=[
        "The schedule above has five parts, and each of them needs one of the card's tools. Which two parts play? Whose z is "
        "drawn, and how often? (What did the released code do?)",
        "Follow one z: drawn for D0, kept in the batch that `with_z` returns, given to *each* practice update, and scored. "
        "D1 gives R1 and nothing else. The meta step comes last, since it needs R1 - R0.",
        '`d0 = team.with_z(ctx.collect(), ctx.generator)`; in a loop `ctx.step("main", team.exercise_loss, d0)`; '
        "`d1 = ctx.collect()`; `improvement = team.improvement(d0, d1)`; "
        '`ctx.step("meta", team.meta_loss(d0, improvement)[0])`; `return improvement`',
    ],
    difficulty=3,
    importance=4,
    minutes=15,
    points=2,
    agree=after_round,
)
def check_meta_round(meta_round):
    team, ctx = small_team()
    watched = Watched(team, ctx)
    got = meta_round(team, watched)
    events = " ".join(watched.events)
    wanted = "collect main main main collect meta"
    hint = (
        "D0, then steps of 'main', as many as team.config.exercise_updates says (here 3), then D1 by the team that has "
        "practised, then one step of 'meta'"
    )
    begin = "begin with the schedule above the exercise: which of the card's tools plays D0?"
    require(
        len(watched.events) > 0, "meta_round(team, ctx) did nothing with ctx: nobody played, nothing was learned.", hint=begin
    )
    require(events == wanted, f"meta_round did: {events or 'nothing'}; expected: {wanted}.", hint=hint)
    kinds = [kind for kind, _ in watched.used]
    require(
        kinds[:3] == ["exercise"] * 3 and "exercise" not in kinds[3:],
        f"exercise_loss was asked {times(kinds.count('exercise'))}; expected three times, before the meta loss.",
        hint="the practice update has a loss of its own, team.exercise_loss: it uses the z that the batch holds",
    )
    first = watched.used[0][1]
    require(
        all(z.shape == first.shape and torch.equal(z, first) for _, z in watched.used),
        "More than one z was used: a practice update or the score got another one.",
        hint="draw z once, when D0 has been played: the z that is scored must be the z that the practice used",
    )
    for name, what in watched.moved:
        want = ["theta"] if name == "meta" else ["phi", "zeta"]
        require(
            what == want, f"A step of {name!r} moved {what}; expected {want}.", hint="which loss belongs to which optimiser?"
        )
    require(got is not None, "meta_round(team, ctx) returned None.", hint="end with `return improvement`, R1 - R0")
    number = isinstance(got, (int, float)) or isinstance(got, torch.Tensor) and got.numel() == 1
    one = "end with `return improvement`, R1 - R0 alone"
    require(number, f"meta_round(team, ctx) returned {describe(got)}, expected one number.", hint=one)
    d0, d1 = (float((b.reward * b.mask).sum(1).mean()) for b in watched.batches)
    known = [(d0 - d1, "the sign: R1 comes from the team that has practised"), (d1, "R0 is missing"), (d0, "this is R0")]
    teach(torch.as_tensor(got), torch.tensor(d1 - d0), "meta_round(team, ctx)", known, "return team.improvement(d0, d1)")
    team, ctx = small_team(updates=2)
    fewer = Watched(team, ctx)
    meta_round(team, fewer)
    practised = fewer.events.count("main")
    require(
        practised == 2,
        f"A team with exercise_updates=2 took {practised} steps of 'main'.",
        hint="how many is a setting of the team: team.config.exercise_updates",
    )
    team, ctx = small_team()
    ctx.generator.manual_seed(1)  # the same team and the same D0, and other luck
    again = Watched(team, ctx)
    meta_round(team, again)
    require(
        not torch.equal(again.used[0][1], first),
        "With another state of ctx.generator the same z was drawn: its noise is the same in every round.",
        hint="team.with_z(d0, ctx.generator): a generator that is made anew from one seed repeats itself",
    )
    for r0, r1 in ((3.0, 5.0), (5.0, 2.0), (4.0, 4.0), (2.0, 2.5)):
        team, ctx = small_team()
        watched = Watched(team, ctx, returns=(r0, r1))
        meta_round(team, watched)
        weight = float((watched.found @ watched.unit) / (watched.unit @ watched.unit)) + 0.0
        require(
            torch.allclose(watched.found, weight * watched.unit, atol=1e-4),
            "The gradient of the meta step is no multiple of the score of the z that was used.",
            hint="log p of that z, its mean over the real steps of each episode, then over the episodes (exercise 5.4)",
        )
        known = [
            (abs(r1 - r0), "after a loss the z that was used must become *less* probable: R1 - R0 as it is"),
            (r0 - r1, "the sign: after a gain the z that was used must become *more* probable, by going downhill"),
            (r1, "R0 is missing in the meta loss"),
            (r0, "this is R0 alone"),
            (1.0, "R1 - R0 is missing in the meta loss: it says how far to go, and in which direction"),
        ]
        require(
            abs(weight - (r1 - r0)) < 1e-3,
            f"R0 = {r0:g} and R1 = {r1:g}: the meta loss weighs the score by {weight:.3g}, expected {r1 - r0:g}.",
            hint=meant(torch.tensor(weight), known, "team.meta_loss(d0, improvement), with the improvement R1 - R0 as it is"),
        )


# ------------------------------------------------------------------------------------------------ quiz

QUIZ = Quiz(
    "5",
    [
        Question(
            "5.q1",
            "On the first screen the credit with the smallest TD error led to a return of -12. Why is that possible?",
            {
                "a": ("the updates had not converged", "they had: what is left is the error of that credit's best fit"),
                "b": (
                    "the error is measured on D0 alone, and after learning the team plays a joint action that D0 does not hold",
                    "fit on old data and gain of the new team are two things",
                ),
                "c": (
                    "two agents learn worse than one",
                    "they fit D0 exactly; had (1, 1) paid 6, the same learning would have led to the best team of all",
                ),
            },
            answer="b",
        ),
        Question(
            "5.q2",
            "Why is the gradient of equation 5, as it is printed, exactly zero for theta?",
            {
                "a": ("the learning rate is too small", "the gradient is zero before any learning rate is applied"),
                "b": ("R1 - R0 is zero on average", "it may be anything: the factor beside it is zero"),
                "c": (
                    "the actions of D0 were chosen by the agents, which never see z",
                    "log pi(a) has no theta in it; the only way to R1 is through the practice updates",
                ),
            },
            answer="c",
        ),
        Question(
            "5.q3",
            "A z is drawn anew after R1 - R0 is known, and scored. What is the mean of that meta-gradient?",
            {
                "a": (
                    "zero: the new z knows nothing of R1 - R0, and a score has mean zero",
                    "E[R score] = E[R] E[score] = E[R] * 0 for independent factors",
                ),
                "b": ("the right one, with more noise", "more rounds then would help; they do not: the mean is zero"),
                "c": ("half of the right one", "nothing of the dependence between z and R is left"),
            },
            answer="a",
        ),
        Question(
            "5.q4",
            "The noise of a return doubles, and it is much larger than the signal. How many more meta rounds keep the estimate "
            "as sure as before?",
            {
                "a": ("twice as many", "the spread of a mean falls with the square root of their number"),
                "b": ("four times as many", "twice the spread, and a spread that falls as 1 / sqrt(rounds)"),
                "c": ("none: the mean does not change", "the mean does not; how far a single estimate strays does"),
            },
            answer="b",
        ),
        Question(
            "5.q5",
            "A learner with one more part than QMIX is better than QMIX. What must stand beside it before you thank that part?",
            {
                "a": ("QMIX with more seeds", "needed too; but the larger mixer alone might explain the gain"),
                "b": ("a longer run", "it would not separate the part from its parameters"),
                "c": (
                    "the same networks and schedule with the part switched off (QMIX_large)",
                    "then only the meta step differs",
                ),
            },
            answer="c",
        ),
    ],
)
