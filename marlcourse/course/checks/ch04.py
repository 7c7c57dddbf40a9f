"""Chapter 04, gradient entropy: its formula, credit by hand, the rescaling, the released slope, GRE's loss."""

from __future__ import annotations

import contextlib
import linecache
import math
import traceback

import torch
import torch.nn.functional as F
from torch import nn

from marlcourse.course.exercises import ExerciseIncomplete, exercise, expect, meant, mine_or_reference, require
from marlcourse.course.quiz import Question, Quiz
from marlcourse.credit import credit, normalised_entropy
from marlcourse.targets import masked_mean

__all__ = ["QUIZ", "mine_or_reference"]


@contextlib.contextmanager
def pointing(answer, *known):
    """Within it, an exception of the answer whose text holds the words of one of the known mistakes [(words, hint), ...]
    becomes a message with the reader's own line and that hint; any other goes on as it is."""
    try:
        yield
    except ExerciseIncomplete:
        raise
    except Exception as problem:
        hint = next((hint for words, hint in known if words in str(problem)), None)
        if hint is None:
            raise
        said = f"{type(problem).__name__}: {str(problem).splitlines()[0]}"
        code = getattr(answer, "__code__", None)
        lines = [number for frame, number in traceback.walk_tb(problem.__traceback__) if frame.f_code is code]
        if lines:
            said += f", in line {lines[-1]} of your cell: {linecache.getline(code.co_filename, lines[-1]).strip()}"
        raise ExerciseIncomplete(said, hint, kind="crash" if isinstance(problem, NameError) else "wrong") from problem


YES_OR_NO = (
    "Boolean value of Tensor",
    "`if` asks for one yes or no, and a tensor holds many: `torch.where(condition, a, b)` chooses entry by entry",
)
MISSING = ("is not defined", "this name comes from a cell above that has not run: run the cells above first, imports included")


# ------------------------------------------------------------------------------------------------ 4.1


@exercise(
    "4.1",
    title="the normalised entropy of a team's credit",
    reference=normalised_entropy,
    hints=[
        "First shares that sum to 1 over the agents: which axis is that, and how do you keep it for the division?",
        "log(0) is -inf, and 0 * -inf is NaN: add 1e-8 to every credit before you share out.",
        "`p = g + 1e-8`, `p = p / p.sum(-1, keepdim=True)`, then `-(p * p.log()).sum(-1) / math.log(g.shape[-1])`.",
    ],
    difficulty=1,
    importance=5,
    minutes=8,
    agree=lambda entropy, g: entropy(torch.rand(6, 3, generator=g)),
)
def check_entropy(entropy):
    got = entropy(torch.tensor([3.0, 1.0]))
    known = [
        (torch.tensor(0.562335), "this is the entropy in nats: divide by log N, its largest value, so that 1 means equal"),
        (torch.tensor(0.526988), "shares are credits divided by their sum; a softmax would see their differences"),
        (torch.tensor(-0.811278), "the sign: logarithms of shares are negative"),
    ]
    expect(got, 0.811278, call="entropy(tensor([3, 1]))", hint=meant(got, known, "shares 3/4 and 1/4; divide by log 2"))
    lost = "a sum over the agents drops their axis, and then the sizes do not fit: `keepdim=True` keeps it for the division"
    with pointing(entropy, ("size of tensor", lost), YES_OR_NO, MISSING):
        got = entropy(torch.ones(4, 5))
    known = [
        (torch.full((4,), math.log2(5)), "this is the entropy in bits: divide by log2 N, its largest value (N = 5 here)"),
        (torch.ones(4, 1), "one number too deep: keepdim is for the division alone, the sum over agents drops its axis"),
    ]
    everything = isinstance(got, torch.Tensor) and got.dim() == 0
    hint = "four states, five agents with equal credit: 1 for each state"
    hint = "sum over the agents only, the last axis: every state has its own entropy" if everything else hint
    expect(got, torch.ones(4), call="entropy(ones(4, 5))", hint=meant(got, known, hint))
    expect(
        entropy(torch.tensor([[1.0, 0.0, 0.0], [2.0, 2.0, 0.0]])),
        torch.tensor([0.0, 0.63093]),
        call="entropy(tensor([[1, 0, 0], [2, 2, 0]]))",
        hint="an agent without credit adds nothing (not NaN), and N = 3 here: divide by log 3",
    )
    expect(
        entropy(torch.tensor([30.0, 10.0])),
        0.811278,
        call="entropy(tensor([30, 10]))",
        hint="only shares count: ten times the credit for everybody changes nothing",
    )


# ------------------------------------------------------------------------------------------------ 4.2


def credit_by_hand(q, w1, b1, w2):
    """q [...,N], w1 [N,E] >= 0, b1 [E], w2 [E] >= 0 -> dQ_tot/dQ_i [...,N]"""
    x = q @ w1 + b1
    slope = torch.where(x > 0, 1.0, x.clamp(max=0).exp())
    return (slope * w2) @ w1.T


def random_mixer(g, n=3, e=4):
    return torch.rand(n, e, generator=g), torch.randn(e, generator=g), torch.rand(e, generator=g)


@exercise(
    "4.2",
    title="credit by hand",
    reference=credit_by_hand,
    hints=[
        "Chain rule, from the outside in: Q_tot reacts to hidden unit j by w2[j], the unit to its input x_j by ELU'(x_j), "
        "x_j to Q_i by w1[i, j]. Sum over j.",
        "ELU'(x) is 1 for x > 0 and exp(x) below.",
        "`x = q @ w1 + b1`, `slope = torch.where(x > 0, 1.0, x.exp())`, `return (slope * w2) @ w1.T`.",
    ],
    difficulty=2,
    importance=5,
    minutes=12,
    points=2,
    agree=lambda f, g: f(torch.randn(5, 3, generator=g), *random_mixer(g)),
)
def check_credit_by_hand(credit_by_hand):
    w1, b1, w2 = torch.tensor([[1.0, 0.0], [2.0, 1.0]]), torch.tensor([2.0, 0.5]), torch.tensor([1.0, 5.0])
    q = torch.tensor([1.0, -1.0])
    with torch.inference_mode():  # here autograd keeps no graph
        try:
            credit_by_hand(*(x.clone() for x in (q, w1, b1, w2)))
        except NameError:
            pass  # told below
        except RuntimeError as problem:
            require(
                not any(word in str(problem) for word in ("grad", "inference", "Inference")),
                "credit_by_hand asks autograd; this exercise is the chain rule by hand.",
                hint="g_i = sum over j of w1[i, j] * ELU'(x_j) * w2[j]: three factors, no backward pass",
            )
    back = "q [...,N] @ w1 [N,E] leads from agents to units, [...,E]; the way back to the agents is `@ w1.T`"
    mistakes = ("mat1 and mat2", back), ("inconsistent tensor size", back), ("size of tensor", back), YES_OR_NO, MISSING
    with pointing(credit_by_hand, *mistakes):
        got = credit_by_hand(q, w1, b1, w2)
    x = q @ w1 + b1  # [1, -.5]
    slope = torch.where(x > 0, 1.0, x.exp())
    known = [
        ((q @ w1).exp() * w2 @ w1.T, "b1 is missing: x = q @ w1 + b1"),
        (w2 @ w1.T, "every slope is taken as 1: unit 2 stands at x = -.5, where ELU' = exp(-.5)"),
        ((x > 0) * w2 @ w1.T, "below 0 ELU is not flat: its slope there is exp(x), not 0"),
        (x.exp() * w2 @ w1.T, "above 0 the slope is 1, not exp(x)"),
        (
            F.elu(x).clamp(max=0).exp() * w2 @ w1.T,
            "the slope is taken at h = ELU(x), the unit's output: it belongs to its input x",
        ),
        (F.elu(x) * w2 @ w1.T, "this is ELU itself; the credit needs its slope, 1 above 0 and exp(x) below"),
        (slope @ w1.T, "w2 is missing: how strongly does Q_tot react to unit 2?"),
        (slope * w2 @ w1.T * q, "not times q: the derivative of w1[i, j] * q[i] by q[i] is w1[i, j]"),
        (slope * w2 @ w1, "w1 has the agents in its rows: agent i sums over its own row, so `@ w1.T`"),
        ((slope * w2).sum().expand(2), "w1 is missing: each agent reaches the units by its own row of weights"),
    ]
    expect(
        got,
        slope * w2 @ w1.T,
        call="credit_by_hand(q=[1, -1], w1=[[1, 0], [2, 1]], b1=[2, .5], w2=[1, 5])",
        hint=meant(got, known, "x = [1, -.5], slopes [1, exp(-.5)]; agent 2: 2*1*1 + 1*exp(-.5)*5"),
    )
    g = torch.Generator().manual_seed(0)
    w1, b1, w2 = random_mixer(g)
    q = (3 * torch.randn(6, 3, generator=g)).requires_grad_()
    (truth,) = torch.autograd.grad((F.elu(q @ w1 + b1) @ w2).sum(), q)
    with pointing(credit_by_hand, *mistakes):
        got = credit_by_hand(q.detach(), w1, b1, w2)
    expect(
        got,
        truth,
        call="credit_by_hand(q, w1, b1, w2), q of shape (6, 3), w1 (3, 4),",
        hint="expected is what autograd says; any leading axes of q must stay, so multiply with `q @ w1` and `... @ w1.T`",
    )


# ------------------------------------------------------------------------------------------------ 4.3


def rescale(q, w1, g, share):
    """q [...,N], w1 [N,E], g [N] credit, share [N] wanted shares -> q and w1 rescaled: the same hidden layer"""
    factor = g / share
    return q * factor, w1 / factor.unsqueeze(-1)


def after(rescale, q, w1, b1, w2, share):
    """The hidden layer's input, and the shares of credit, after a rescaling."""
    g = credit_by_hand(q, w1, b1, w2)
    q, w1 = rescale(q, w1, g, share)
    new = credit_by_hand(q, w1, b1, w2)
    return torch.cat([q @ w1 + b1, new / new.sum()])


def random_rescaling(rescale, g):
    w1, b1, w2 = random_mixer(g)
    share = 0.1 + torch.rand(3, generator=g)
    return after(rescale, torch.randn(3, generator=g), w1, b1, w2, share / share.sum())


@exercise(
    "4.3",
    title="any entropy you like",
    reference=rescale,
    hints=[
        "If Q_i is multiplied by f_i, what must happen to row i of w1 so that q @ w1 stays as it is?",
        "Credit is dQ_tot/dQ_i. When Q_i is f_i times as large, the same change of Q_tot takes f_i times as much Q_i: the new "
        "credit is g_i / f_i. Which f_i makes it share_i?",
        "`factor = g / share`, then `q * factor` and `w1 / factor.unsqueeze(-1)`.",
    ],
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
    agree=random_rescaling,
)
def check_rescale(rescale):
    w1, b1, w2 = torch.tensor([[3.0, 0.0, 0.0], [1.0, 1.0, 0.0]]), torch.zeros(3), torch.tensor([1.0, 1.0, 7.0])
    q, share = torch.tensor([1.0, 2.0]), torch.tensor([0.25, 0.75])
    g = credit_by_hand(q, w1, b1, w2)  # [3, 2]
    given = [x.clone() for x in (q, w1, g, share)]
    rows = "row i of w1 [N,E] belongs to agent i, and the factors are [N]: `factor.unsqueeze(-1)`, [N,1], divides whole rows"
    with pointing(rescale, ("size of tensor", rows), YES_OR_NO, MISSING):
        answer = rescale(*given)
    require(
        isinstance(answer, (tuple, list)) and len(answer) == 2,
        f"rescale(...) returned {type(answer).__name__}, expected two tensors: (q, w1).",
        hint="return q, w1",
    )
    new_q, new_w1 = answer
    shapes = [tuple(getattr(x, "shape", ())) for x in answer]
    require(
        shapes == [(2,), (2, 3)],
        f"rescale(...) returned shapes {shapes[0]} and {shapes[1]}, expected (2,) for q, then (2, 3) for w1.",
        hint="q first, then w1" if shapes == [(2, 3), (2,)] else "there is one factor an agent: row i of w1 is divided by f_i",
    )
    require(
        all(torch.equal(a, b) for a, b in zip(given, (q, w1, g, share))),
        "rescale(...) changed the tensors that it was given.",
        hint="make new ones: q * factor, not q *= factor; the caller goes on using the old",
    )
    call = "rescale(q=[1, 2], w1=[[3, 0, 0], [1, 1, 0]], g=[3, 2], share=[.25, .75])"
    expect(
        new_q @ new_w1,
        q @ w1,
        call=call + ", then q @ w1",
        hint="the hidden layer must see what it saw before: multiply Q_i by f_i and divide row i of w1 by the same f_i",
    )
    require(
        bool((new_q / q > 0).all()),
        f"{call} multiplied a utility by a negative number.",
        hint="f_i must be > 0: a negative factor turns the order of an agent's actions round, and so its greedy action",
    )
    shares = credit_by_hand(new_q, new_w1, b1, w2)
    shares = shares / shares.sum()
    known = [
        (g, "the credit is as it was: which factors f_i move g_i / f_i to the wanted shares?"),
        (g * g / share, "the wrong way round: the new credit is g_i / f_i, not g_i * f_i"),
        (g * share, "f = 1 / share leaves g in it: the new credit is then g_i * share_i"),
        (g / share, "f = share divides by the share: the new credit is then g_i / share_i"),
        (torch.ones(2), "equal shares whatever was asked: f must depend on share as well"),
    ]
    known = [(wrong / wrong.sum(), said) for wrong, said in known]
    hint = meant(shares, known, "the new credit is g_i / f_i: choose f_i so that this is in proportion to share_i")
    expect(shares, share, call=call + ", then the shares of credit", hint=hint)
    got = after(rescale, q, w1, b1, w2, torch.tensor([0.9, 0.1]))
    expect(
        got,
        torch.tensor([5.0, 2.0, 0.0, 0.9, 0.1]),
        call="rescale(..., share=[.9, .1]): hidden layer, then shares,",
        hint="share is an argument; here agent 1 is to get nine tenths",
    )


# ------------------------------------------------------------------------------------------------ 4.4


def gre_loss(td_loss, mixer, q, state, mask, weight):
    """td_loss [], q [B,T,N], state [B,T,S], mask [B,T] -> TD loss + weight * mean entropy over real steps, []"""
    g = credit(mixer, q, state, create_graph=True)
    return td_loss + weight * masked_mean(normalised_entropy(g), mask)


class Toy(nn.Module):
    """A mixer with few numbers, for the check."""

    def __init__(self, generator=None):
        super().__init__()
        self.w1 = nn.Parameter(torch.rand(3, 4, generator=generator))
        self.w2 = nn.Parameter(torch.rand(4, generator=generator))

    def forward(self, q, state):
        return F.elu(q @ self.w1.abs() + state[..., :1]) @ self.w2.abs()


def toy_case(g):
    mask = torch.tensor([[1.0, 1, 1], [1, 0, 0]])
    q, state = torch.randn(2, 3, 3, generator=g), torch.randn(2, 3, 2, generator=g)
    q[mask == 0], state[mask == 0] = torch.tensor([40.0, -40.0, 5.0]), -50.0  # padding holds anything at all
    return Toy(g), q, state, mask


def loss_and_slope(gre_loss, g):
    mixer, q, state, mask = toy_case(g)
    loss = gre_loss(torch.tensor(2.0), mixer, q, state, mask, 0.5)
    (slope,) = torch.autograd.grad(loss, [mixer.w1])
    return torch.cat([loss.view(1), slope.flatten()]).detach()


@exercise(
    "4.4",
    title="the loss of QMIX-GRE",
    reference=gre_loss,
    hints=[
        "The term may teach the mixer alone. Where does the way from H to the agents begin, and how do you cut it?",
        "`leaf = q.detach().requires_grad_()` has the same numbers and no way back to the agents. Take the slopes there.",
        "`H = normalised_entropy(slopes(mixer, leaf, state))`, `[B,T]`; then "
        "`return td_loss + weight * (mask * H).sum() / mask.sum()`.",
    ],
    difficulty=3,
    importance=4,
    minutes=15,
    points=2,
    agree=loss_and_slope,
)
def check_gre_loss(gre_loss):
    mixer, q, state, mask = toy_case(torch.Generator().manual_seed(3))
    q.requires_grad_()
    td_loss = torch.tensor(2.0, requires_grad=True)  # stands for what the agents' and the mixer's parameters gave
    g = credit(mixer, q, state)
    entropy = normalised_entropy(g)
    mistakes = (
        (
            "name 'slopes' is not defined",
            "`slopes` is defined in the cell above the card: run it, then your cell, then this one",
        ),
        MISSING,
        ("used as indices", "mask holds the numbers 0 and 1, an index needs True or False: `mask > 0`; or weigh steps by mask"),
        ("require grad", "autograd does not follow a detached tensor: it starts anew with q.detach().requires_grad_()"),
        (
            "not have been used in the graph",
            "take the slopes by the tensor that went into the mixer: `slopes(mixer, leaf, state)`",
        ),
        YES_OR_NO,
    )
    with pointing(gre_loss, *mistakes):
        loss = gre_loss(td_loss, mixer, q, state, mask, 0.5)
    mean = float(masked_mean(entropy, mask))
    steps = mask.sum(-1, keepdim=True)
    by_episode = float(((entropy * mask).sum(-1, keepdim=True) / steps).mean())
    of_means = [float(normalised_entropy(x)) for x in (g[mask > 0].mean(0), g.mean((0, 1)))]
    want = 2.0 + 0.5 * mean
    hint = "the mean of H over the steps where mask is 1: divide by mask.sum()"
    for wrong, said in (
        (0.5 * mean, "td_loss is missing: the entropy is added to it, the agents still have to learn"),
        (mean, "td_loss and the weight are missing"),
        (2.0 + 0.5 * float(entropy.mean()), "padded steps are in the mean: weigh every step by mask, divide by mask.sum()"),
        (2.0 + 0.5 * float((entropy * mask).mean()), "padded steps are counted in the denominator: divide by mask.sum()"),
        (2.0 + 0.5 * float((entropy * mask).sum()), "this is the sum over real steps: divide by mask.sum()"),
        (2.0 - 0.5 * mean, "the loss is minimised, and entropy is to fall: its sign is +"),
        (2.0 + mean, "the weight is missing"),
        (0.5 * (2.0 + mean), "the weight belongs to the entropy alone"),
        (
            2.0 + 0.5 * by_episode,
            "this is a mean of the episodes' means, where short episodes weigh too much: one mean over steps",
        ),
        *(
            (2.0 + 0.5 * x, "this is the entropy of the mean credit: first the entropy of each step, then the mean")
            for x in of_means
        ),
    ):
        if isinstance(loss, torch.Tensor) and loss.numel() == 1 and abs(float(loss.detach()) - wrong) < 1e-4:
            hint = said
    expect(loss, want, call="gre_loss(td_loss=2, mixer, q, state, mask, weight=.5)", hint=hint)
    expect(
        gre_loss(td_loss, mixer, q, state, mask, 0.125),
        2.0 + 0.125 * mean,
        call="gre_loss(td_loss=2, mixer, q, state, mask, weight=.125)",
        hint="with weight .5 it was right: the weight is an argument, use it and no number of your own",
    )
    require(
        loss.requires_grad,
        "The loss has no gradient: it cannot teach the mixer.",
        hint="create_graph=True keeps the way from g back to the mixer's parameters; do not detach g",
    )
    to_td, to_mixer, to_agents = torch.autograd.grad(loss, [td_loss, mixer.w1, q], allow_unused=True)
    require(
        to_td is not None and abs(float(to_td) - 1) < 1e-5,
        "No gradient goes back through td_loss: such a team never learns.",
        hint="add td_loss as it is: no detach, no .item(), no float(...)",
    )
    require(
        to_mixer is not None and bool(to_mixer.any()),
        "The entropy sends no gradient into the mixer.",
        hint="`slopes` keeps the way from g back to the mixer's parameters (create_graph=True); do not detach g",
    )
    require(
        to_agents is None or not bool(to_agents.any()),
        "The entropy sends a gradient into the utilities, and so into the agents.",
        hint="take the slope at detached utilities: leaf = q.detach().requires_grad_()",
    )


# ------------------------------------------------------------------------------------------------ 4.5


def repaired_slope(h):
    """h = ELU(x), of any shape -> the slope of ELU at x"""
    return torch.where(h > 0, 1.0, h + 1.0)


@exercise(
    "4.5",
    title="find the released bug",
    reference=repaired_slope,
    hints=[
        "Try x = -1 by hand. What is h there, what is the slope of ELU at x, and what does released_slope make of h?",
        "Below 0, h = exp(x) - 1. Solve for exp(x), which is the slope.",
        "`torch.where(h > 0, 1.0, h + 1.0)`.",
    ],
    difficulty=2,
    importance=4,
    minutes=8,
    agree=lambda repaired_slope, g: repaired_slope(F.elu(3 * torch.randn(20, generator=g))),
)
def check_repaired_slope(repaired_slope):
    x = torch.tensor([2.0, 0.5, -1.0, -3.0, -9.0])
    with pointing(repaired_slope, YES_OR_NO, MISSING):
        got = repaired_slope(F.elu(x))
    known = [
        (F.elu(x).clamp(max=0).exp(), "this is what the release does: exp of an ELU that has been taken already"),
        ((x > 0).float(), "below 0 ELU is not flat: its slope is exp(x)"),
        (F.elu(x) + 1, "above 0 the slope of ELU is 1"),
        (F.elu(x).exp(), "this is exp(h): above 0 the slope is 1, and below 0 exp has been taken already"),
        (torch.where(x > 0, 1.0, F.elu(x)), "below 0 h is exp(x) - 1, one less than the slope"),
        (
            torch.where(x > 0, 1.0, F.elu(x).exp() - 1),
            "exp has been taken already: below 0, h = exp(x) - 1; solve it for exp(x)",
        ),
        (torch.where(x > 0, 1.0, 1 - F.elu(x)), "below 0 h is negative: 1 - h lies above 1, and ELU is nowhere steeper than 1"),
    ]
    expect(
        got,
        torch.where(x > 0, 1.0, x.exp()),
        call="repaired_slope(ELU([2, .5, -1, -3, -9]))",
        hint=meant(got, known, "the slope of ELU at x is 1 above 0 and exp(x) below; the function is handed h = exp(x) - 1"),
    )
    expect(
        repaired_slope(torch.tensor([[-1.0]])),
        torch.tensor([[0.0]]),
        call="repaired_slope(tensor([[-1.]]))",
        hint="h = -1 is x = -infinity: a dead unit passes on nothing",
    )


# ------------------------------------------------------------------------------------------------ quiz

QUIZ = Quiz(
    "4",
    [
        Question(
            "4.q1",
            "The entropy of QMIX's credit is near 1 during training. What follows from that number alone?",
            {
                "a": ("training made the credit equal", "a mixer that was never trained has entropies near 1 as well"),
                "b": (
                    "little: the null model must stand beside it",
                    "only the difference to the untrained mixer says anything about training",
                ),
                "c": (
                    "the agents all do the same",
                    "credit is a slope of the mixer: agents that do different things can have the same credit",
                ),
            },
            answer="b",
        ),
        Question(
            "4.q2",
            "Ten agents have a normalised entropy of .98. How far apart are their credits?",
            {
                "a": ("practically equal", "H is flat at the top: 1 - CV^2/(2 ln N) hides a large spread"),
                "b": ("at most 2 % apart", "2 % of entropy is not 2 % of credit"),
                "c": (
                    "their standard deviation is about .3 of their mean",
                    "CV = sqrt(2 ln 10 * .02) is about .30",
                ),
            },
            answer="c",
        ),
        Question(
            "4.q3",
            "Under QMIX-GRE the entropy falls from .99 to .90 and the return stays as it was. What is safe to say?",
            {
                "a": ("the agents now get the credit they deserve", "the entropy knows nothing of what an agent deserves"),
                "b": (
                    "the term was minimised; of better credit nothing is shown",
                    "an agent counted in another unit lowers the entropy as well, and changes nothing that the team does",
                ),
                "c": (
                    "the agents act less alike now",
                    "the same actions go with any entropy: section 5 makes it what one likes",
                ),
            },
            answer="b",
        ),
        Question(
            "4.q4",
            "Why are the utilities detached in QMIX-GRE's regulariser?",
            {
                "a": ("to save time", "it hardly costs any; the reason is who may be moved"),
                "b": (
                    "so that the entropy term itself moves only the mixer",
                    "else agents would change their values to look different, whatever the reward says",
                ),
                "c": (
                    "because ELU has no second derivative",
                    "it has one almost everywhere, and the mixer's gradient needs it",
                ),
            },
            answer="b",
        ),
        Question(
            "4.q5",
            "QMIX-simple gives all agents the same credit. Suppose it does as well as QMIX in a world. What does that show?",
            {
                "a": (
                    "in that world, at that budget, the freedom to tell agents apart was not needed",
                    "this is what a parity can show, and it needs a margin and enough seeds",
                ),
                "b": ("QMIX gives equal credit too", "no: two different mixers can train equally good teams"),
                "c": ("credit does not matter anywhere", "one world does not speak for others"),
            },
            answer="a",
        ),
    ],
)
