"""Chapter 03, QMIX: a GRU by hand, the double-Q value, the masked loss, a mixer whose weights the state writes, IGM by
enumeration, and what ma-gym does at its border."""

from __future__ import annotations

import itertools
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor

from marlcourse.course.exercises import (
    ExerciseIncomplete,
    describe,
    exercise,
    expect,
    meant,
    mine_or_reference,
    require,
    require_gradients,
)
from marlcourse.course.quiz import Question, Quiz
from marlcourse.exploration import masked
from marlcourse.targets import masked_mean, td_target

__all__ = ["QUIZ", "mine_or_reference"]


def on_copies(call, answer, *inputs):
    """What `answer` makes of copies of these tensors (other inputs pass as they are); a copy must come back unchanged."""
    given = [x.clone() if isinstance(x, Tensor) else x for x in inputs]
    got = answer(*given)
    require(
        all(torch.equal(a, b) for a, b in zip(given, inputs) if isinstance(a, Tensor)),
        f"{call} has overwritten one of its inputs",
        "`x *= y`, `x[...] = y` and functions that end in `_` write into the caller's tensor, which is needed again: make a "
        "new one, as `x * y` or `x.masked_fill(...)` does",
    )
    return got


# ------------------------------------------------------------------------------------------------ 3.1


def gru_step(from_x, from_h, h):
    """from_x, from_h [...,3H] (parts r, z, n), h [...,H] -> the next memory [...,H]"""
    r_x, z_x, n_x = from_x.chunk(3, -1)
    r_h, z_h, n_h = from_h.chunk(3, -1)
    r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
    new = torch.tanh(n_x + r * n_h)
    return z * h + (1 - z) * new


def one_unit(r, z, n):
    return torch.tensor([float(r), float(z), float(n)])


@exercise(
    "3.1",
    title="one step of a GRU",
    reference=gru_step,
    hints=[
        "Three small decisions: may the old memory speak (r)? keep it (z)? and if not, what to write (new)?",
        "r and z are shares between 0 and 1: `torch.sigmoid` of the sum of both parts. What is written lies between -1 and 1: "
        "`torch.tanh`; the memory's part of it passes through r.",
        "`new = torch.tanh(n_x + r * n_h)`, and z is the share that is *kept*: `z * h + (1 - z) * new`.",
    ],
    difficulty=2,
    importance=4,
    minutes=12,
    points=2,
    agree=lambda gru_step, g: gru_step(*(torch.randn(2, 5, k, generator=g) for k in (12, 12, 4))),
)
def check_gru_step(gru_step):
    nothing, one = torch.zeros(3), torch.ones(1)
    call = "gru_step(from_x=[0, 0, 0], from_h=[0, 0, 0], h=[1])"
    got = on_copies(call, gru_step, nothing, nothing, one)
    half_r = torch.tensor([0.5])
    known = [
        (
            torch.zeros(1),
            "nothing of the old memory is left: is `z * h` in the sum, and is z a sigmoid? sigmoid(0) is 0.5, a gate half open",
        ),
        (torch.tensor([0.75]), "what is written is a tanh, between -1 and 1: tanh(0) is 0, while sigmoid(0) is 0.5"),
        (0.5 + 0.5 * torch.tanh(half_r), "r multiplies n_h, the memory's PART of what is written, not the memory h itself"),
    ]
    expect(
        got,
        torch.tensor([0.5]),
        call=call,
        hint=meant(got, known, "all gates stand half open: half of the memory 1 is kept, and tanh(0) = 0 is written"),
    )
    got = on_copies("gru_step(...)", gru_step, one_unit(0, 20, 3), nothing, -one)
    known = [
        (torch.tensor([0.9951]), "z is the share of the old memory that is KEPT; here the new value took its place"),
        (torch.tensor([-0.00247]), "r and z have changed places: z decides what is kept"),
    ]
    expect(
        got,
        torch.tensor([-1.0]),
        call="gru_step(from_x=[0, 20, 3], from_h=[0, 0, 0], h=[-1])",
        hint=meant(got, known, "z = sigmoid(20) is 1: everything is kept, nothing is written"),
    )
    got = on_copies("gru_step(...)", gru_step, one_unit(0, -20, 3), nothing, -one)
    expect(
        got,
        torch.tensor([0.99505]),
        call="gru_step(from_x=[0, -20, 3], from_h=[0, 0, 0], h=[-1])",
        hint=meant(
            got, [(torch.tensor([0.90515]), "r weighs the memory's part only: r * n_h, not n_x")], "z is 0: h' = tanh(n_x)"
        ),
    )
    got = on_copies("gru_step(...)", gru_step, one_unit(-20, -20, 0.5), one_unit(0, 0, 2), one)
    known = [
        (torch.tanh(torch.tensor([2.5])), "the memory's part of what is written passes through r first: r * n_h"),
        (torch.tensor([0.0]), "r closes on the memory's part only, not on what the input says"),
    ]
    expect(
        got,
        torch.tanh(torch.tensor([0.5])),
        call="gru_step(from_x=[-20, -20, 0.5], from_h=[0, 0, 2], h=[1])",
        hint=meant(got, known, "r = sigmoid(-20) is 0: the memory does not speak, tanh(0.5) is written"),
    )
    expect(
        gru_step(one_unit(0, 1, 0), one_unit(0, -21, 1), one.clone()),
        torch.tanh(torch.tensor([0.5])),
        call="gru_step(from_x=[0, 1, 0], from_h=[0, -21, 1], h=[1])",
        hint="each gate adds both parts before the sigmoid: z = sigmoid(1 - 21), r = sigmoid(0 + 0) = 0.5",
    )
    g = torch.Generator().manual_seed(0)
    x, h, w_x, w_h = (torch.randn(s, generator=g) for s in ((6, 3), (6, 4), (12, 3), (12, 4)))
    expect(
        gru_step(x @ w_x.T, h @ w_h.T, h.clone()),
        torch.gru_cell(x, h, w_x, w_h),
        call="gru_step on six random rows",
        hint="compare with torch.gru_cell: r, z, n in this order, each with its own part of from_x and from_h",
    )
    given = {"from_x": x @ w_x.T, "from_h": h @ w_h.T, "h": h.clone()}
    require_gradients(
        gru_step(*(t.requires_grad_() for t in given.values())),
        given,
        "gru_step(...)",
        "the agent learns what to remember through every step: no `.detach()`, `.item()`, `torch.no_grad()` or new tensor",
    )


# ------------------------------------------------------------------------------------------------ 3.2


def double_q(online, target, avail):
    """online, target [...,A] utilities, avail [...,A] bool -> the value [...] of the action that `online` chooses"""
    best = masked(online, avail).argmax(-1, keepdim=True)
    return target.gather(-1, best).squeeze(-1)


@exercise(
    "3.2",
    title="the double-Q value",
    reference=double_q,
    hints=[
        "Two networks, two questions: which action? and: what is it worth? Never ask the same network both.",
        "Choose among the *available* actions only: give the others a very low value before the argmax.",
        "`best = online.masked_fill(~avail, -1e10).argmax(-1, keepdim=True)`, then `target.gather(-1, best).squeeze(-1)`.",
    ],
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
    agree=lambda double_q, g: double_q(
        torch.randn(3, 2, 4, generator=g),
        torch.randn(3, 2, 4, generator=g),
        torch.rand(3, 2, 4, generator=g).argsort(-1) < 3,
    ),
)
def check_double_q(double_q):
    all_of = torch.ones(3, dtype=torch.bool)
    online, target = torch.tensor([3.0, 4.0, 0.5]), torch.tensor([2.0, 0.0, 5.0])
    call = "double_q(online=[3, 4, 0.5], target=[2, 0, 5], all available)"
    got = on_copies(call, double_q, online, target, all_of)
    known = [
        (torch.tensor(5.0), "this is the maximum of the target network: it chose AND judged"),
        (torch.tensor(4.0), "this is the online network's own value: the target network must judge"),
        (torch.tensor(0.5), "the two have changed places: here the target network chose and the online network judged"),
        (torch.tensor(1.0), "this is the NUMBER of the action that online chooses: look up what target says of it (gather)"),
        (torch.tensor(2.0), "is the mask the wrong way round? All are available, so none may be hidden: hide where `~avail`"),
    ]
    expect(
        got,
        torch.tensor(0.0),
        call=call,
        hint=meant(got, known, "online chooses action 1 (its 4 is the largest), target says that action is worth 0"),
    )
    call = "double_q(online=[3, 4, 0.5], target=[2, 0, 5], avail=[yes, no, yes])"
    got = on_copies(call, double_q, online, target, torch.tensor([True, False, True]))
    known = [
        (torch.tensor(0.0), "action 1 is not available here: mask the online values before the argmax"),
        (torch.tensor(-1e10), "the mask belongs on the ONLINE values, before the argmax: it decides what may be chosen"),
        (torch.tensor(5.0), "the target network chose here: of the available actions the ONLINE network prefers action 0"),
    ]
    expect(
        got,
        torch.tensor(2.0),
        call=call,
        hint=meant(got, known, "without action 1 the online network chooses action 0, which the target network values at 2"),
    )
    expect(
        double_q(torch.tensor([-7000.0, -3000.0]), torch.tensor([-2.0, -4.0]), torch.tensor([True, False])),
        torch.tensor(-2.0),
        call="double_q(online=[-7000, -3000], target=[-2, -4], avail=[yes, no])",
        hint="all values are far below 0: multiplying by avail makes 0, which would win, and so would -10 or -1000 as a mask. "
        "Use a number that no return reaches, -1e10",
    )
    team = double_q(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), torch.tensor([[[5.0, 6.0], [7.0, 8.0]]]), torch.ones(1, 2, 2) > 0)
    expect(
        team,
        torch.tensor([[6.0, 7.0]]),
        call="double_q for a team [1,2,2]",
        hint="one value for each agent: the last axis, and only it, goes",
    )


# ------------------------------------------------------------------------------------------------ 3.3


def td_loss(q_tot, next_q_tot, reward, terminated, mask, gamma):
    """all [B,T]; gamma a number -> the loss, a number"""
    y = td_target(reward, terminated, next_q_tot.detach(), gamma)
    return masked_mean((q_tot - y) ** 2, mask)


@exercise(
    "3.3",
    title="the masked loss",
    reference=td_loss,
    hints=[
        "First the target y of every step. After the step that *ended* the task nothing more can be earned.",
        "Then one mean over the steps that were played: padding counts neither above nor below the line.",
        "`y = reward + gamma * (1 - terminated.float()) * next_q_tot.detach()`, then `(mask * (q_tot - y) ** 2).sum() / "
        "mask.sum()`. The target is a fixed number: no gradient runs through it.",
    ],
    difficulty=2,
    importance=5,
    minutes=12,
    points=2,
    agree=lambda td_loss, g: td_loss(
        *(torch.randn(4, 5, generator=g) for _ in range(3)),
        torch.rand(4, 5, generator=g) < 0.3,
        (torch.arange(5) < torch.randint(1, 6, (4, 1), generator=g)).float(),
        0.9,
    ),
)
def check_td_loss(td_loss):
    ends = torch.tensor([[False, False, True], [True, False, False]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    reward = torch.tensor([[0.0, 0.0, 8.0], [2.0, 0.0, 0.0]])
    junk = torch.tensor([[4.0, 6.0, 50.0], [70.0, 90.0, 90.0]])
    q = torch.tensor([[6.0, 4.0, 7.0], [4.0, 60.0, 60.0]])
    call = "td_loss of two steps that go on: q_tot [6, 4], next [4, 6], rewards 0, gamma 0.5"
    got = on_copies(call, td_loss, q[:1, :2], junk[:1, :2], reward[:1, :2], ends[:1, :2], torch.ones(1, 2), 0.5)
    known = [
        (torch.tensor(2.5), "each error is SQUARED, and the mean is taken then: 4 * 4 = 16"),
        (torch.tensor(17.0), "the loss is a mean over steps, not a sum"),
        (torch.tensor(8.5 / 2), "the loss is the plain mean of the squares: no factor 1/2"),
        (torch.tensor((4.0 + 4) / 2), "the next value counts gamma times: 0.5 * 4 = 2"),
        (
            torch.tensor((36.0 + 16) / 2),
            "these steps go on: what follows counts, gamma times (is `terminated` the right way round?)",
        ),
        (torch.tensor((16.0 + 16) / 2), "nothing ended here: the last column is not yet an end, only `terminated` is"),
        (torch.tensor(2.5**2), "the error is squared step by step, before the mean"),
    ]
    expect(
        got,
        torch.tensor(8.5),
        call=call,
        hint=meant(got, known, "the targets are 0.5 * 4 = 2 and 0.5 * 6 = 3, the squared errors 16 and 1, their mean 8.5"),
    )
    got = td_loss(q[:1].clone(), junk[:1].clone(), reward[:1].clone(), ends[:1].clone(), mask[:1].clone(), 0.5)
    known = [
        (
            torch.tensor((16 + 1 + 26.0**2) / 3),
            "the last step ended the task: its target is the reward 8 alone, whatever follows",
        ),
        (torch.tensor(17 / 2), "the step that ends the task stays in the loss: it is the one that teaches the reward"),
        (
            torch.tensor((16 + 1 + 49) / 3),
            "the reward of the last step, 8, was deleted: an end cancels what FOLLOWS, so `1 - terminated` belongs to the next "
            "value alone",
        ),
    ]
    expect(
        got,
        torch.tensor((16 + 1 + 1) / 3),
        call="td_loss of three steps of which the last one ends the task with reward 8",
        hint=meant(got, known, "the targets are 2, 3 and 8, the squared errors 16, 1 and 1"),
    )
    got = td_loss(q.clone(), junk.clone(), reward.clone(), ends.clone(), mask.clone(), 0.5)
    known = [
        (torch.tensor(22 / 6), "padding is left out above the line but counted below it: divide by the number of REAL steps"),
        (torch.tensor((18 / 3 + 4) / 2), "each step counts once, not each episode: a short episode's step must not weigh more"),
        (torch.tensor((22 + (60 - 45.0) ** 2 * 2) / 6), "padding is in the mean: those steps were never played"),
    ]
    expect(
        got,
        torch.tensor(22 / 4),
        call="td_loss of two episodes, of 3 steps and of 1 step (the rest is padding)",
        hint=meant(got, known, "four steps were played; their squared errors are 16, 1, 1 and 4"),
    )
    cut = td_loss(torch.zeros(1, 1), torch.full((1, 1), 4.0), torch.ones(1, 1), torch.zeros(1, 1) > 0, torch.ones(1, 1), 0.5)
    known = [
        (torch.tensor(1.0), "a time limit is no end of the task: what would have followed counts, the target is 1 + 0.5 * 4")
    ]
    expect(
        cut,
        torch.tensor(9.0),
        call="td_loss of one step with q_tot 0, next 4, reward 1, that the time limit cut off (terminated False)",
        hint=meant(cut, known, "the target is 1 + 0.5 * 4 = 3, the squared error 9"),
    )
    value, following = torch.ones(1, 2).requires_grad_(), torch.ones(1, 2).requires_grad_()
    go_on = torch.zeros(1, 2, dtype=torch.bool)
    loss = td_loss(value, following, torch.zeros(1, 2), go_on, torch.ones(1, 2), 0.5)
    require(
        isinstance(loss, Tensor),
        f"td_loss(...) returned a {type(loss).__name__}, through which no gradient can flow",
        "return the tensor itself, without `float(...)` or `.item()`: training needs its gradient",
    )
    require(
        loss.requires_grad,
        "td_loss(...) carries no gradient to q_tot",
        "detach the target, not the prediction; no `torch.no_grad()` around the loss, and no new `torch.tensor(...)` of it",
    )
    loss.backward()
    require(
        following.grad is None or not following.grad.any(),
        "td_loss(...) sends a gradient into the next value",
        "the target is a fixed number for this update: `next_q_tot.detach()`",
    )


# ------------------------------------------------------------------------------------------------ 3.4


def mix(q, state, nets):
    """q [...,N], state [...,S], nets {"w1", "b1", "w2", "v"} of networks that read the state -> q_tot [...]"""
    n, e = q.shape[-1], nets["b1"](state).shape[-1]
    w1 = nets["w1"](state).abs().unflatten(-1, (n, e))
    hidden = F.elu((q.unsqueeze(-2) @ w1).squeeze(-2) + nets["b1"](state))
    return (hidden * nets["w2"](state).abs()).sum(-1) + nets["v"](state).squeeze(-1)


def some_nets(g, s=3, n=2, e=4):
    """Four linear hypernetworks with random weights and biases."""
    make = lambda out: (torch.randn(s, out, generator=g), torch.randn(out, generator=g))
    layers = {"w1": make(n * e), "b1": make(e), "w2": make(e), "v": make(1)}
    return {name: (lambda state, w=w, b=b: state @ w + b) for name, (w, b) in layers.items()}


def constant_nets(w1, b1, w2, v):
    """Hypernetworks that write the same numbers whatever the state."""
    write = lambda x: lambda state: torch.tensor(x, dtype=torch.float32).expand(*state.shape[:-1], len(x))
    return {"w1": write(w1), "b1": write(b1), "w2": write(w2), "v": write([v])}


@exercise(
    "3.4",
    title="a mixer whose weights the state writes",
    reference=mix,
    hints=[
        "The formula is chapter 02's; only the numbers come from somewhere else: `nets['w1'](state)` instead of `w1`.",
        "nets['w1'] writes N * E numbers in one row. As a matrix they are N rows (one for each agent) of E: `unflatten(-1, (N, "
        "E))`. Which of the four must not be negative?",
        "`x = (q.unsqueeze(-2) @ w1).squeeze(-2) + nets['b1'](state)` is [...,E]; then `(F.elu(x) * w2).sum(-1) + "
        "nets['v'](state).squeeze(-1)`, with `w1` and `w2` in absolute value.",
    ],
    difficulty=3,
    importance=5,
    minutes=15,
    points=3,
    agree=lambda mix, g: mix(torch.randn(5, 6, 2, generator=g), torch.randn(5, 6, 3, generator=g), some_nets(g)),
)
def check_mix(mix):
    q, state = torch.tensor([1.0, 3.0]), torch.zeros(1)
    plain = constant_nets([2.0, 1.0], [0.0], [1.0], 0.0)
    call = "mix(q=[1, 3]) where the state writes w1 = [2, 1], w2 = [1], no biases"
    got = on_copies(call, mix, q, state, plain)
    another = "this makes another number of a weight that is positive already: QMIX takes the absolute value, |2| = 2"
    known = [(weighed(rule, rule), another) for rule in (F.softplus, torch.exp, torch.square, torch.sigmoid)]
    known += [(weighed(rule, torch.abs), another) for rule in (F.softplus, torch.exp, torch.square, torch.sigmoid)]
    expect(
        got,
        torch.tensor(5.0),
        call=call,
        hint=meant(got, known, "2 * 1 + 1 * 3 = 5, a positive number passes ELU unchanged, times 1"),
    )
    got = mix(q.clone(), state, constant_nets([-2.0, 1.0], [0.0], [-1.0], 0.0))
    known = [
        (torch.tensor(1.0), "w1 = -2 must count as 2: the absolute value of each WEIGHT in w1, before it meets q"),
        (torch.tensor(-5.0), "w2 must not be negative either: an agent's better action would lower Q_tot"),
        (torch.tensor(-1.0), "neither weight may be negative: take the absolute value of w1 and of w2"),
        (torch.tensor(0.0), "a negative weight became 0: QMIX takes its absolute value, |-2| = 2 (no ReLU, no clamp)"),
    ]
    expect(
        got,
        torch.tensor(5.0),
        call="mix(q=[1, 3]) where the state writes w1 = [-2, 1], w2 = [-1]",
        hint=meant(got, known, "the signs of w1 and w2 are dropped: the same 5"),
    )
    got = mix(torch.tensor([1.0, -3.0]), state, constant_nets([2.0, 1.0], [-1.5], [1.0], -2.0))
    elu = lambda x: float(torch.tensor(x).exp()) - 1  # of a negative number
    known = [
        (torch.tensor(0.5 - 2), "a bias multiplies no utility: it keeps its sign (b1)"),
        (torch.tensor(elu(-2.5) + 2), "a bias multiplies no utility: it keeps its sign (v)"),
        (torch.tensor(0.5 + 2), "a bias multiplies no utility: both keep their signs"),
        (torch.tensor(elu(-1.0) - 1.5 - 2), "b1 was added after ELU: it belongs inside, ELU(-1 + b1)"),
        (torch.tensor(elu(-1.0) - 2), "b1 is missing: ELU is taken of 2 * 1 + 1 * (-3) + b1"),
        (torch.tensor(elu(-2.5)), "v is missing: `nets['v'](state)` is added at the end"),
        (torch.tensor(elu(-1.0)), "both b1 and v are missing"),
        (torch.tensor(-4.5), "where is ELU? below 0 it is exp(x) - 1"),
        (torch.tensor(-2.0), "ELU, not ReLU: below 0 it is exp(x) - 1, which still has a slope"),
    ]
    expect(
        got,
        torch.tensor(elu(-2.5) - 2),
        call="mix(q=[1, -3]) where the state writes w1 = [2, 1], b1 = [-1.5], w2 = [1], v = -2",
        hint=meant(got, known, "x = 2 - 3 - 1.5 = -2.5, ELU(-2.5) = exp(-2.5) - 1 = -0.918, and v = -2"),
    )
    two = constant_nets([1.0, 4.0, 0.0, 2.0, 0.0, 10.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], 0.0)
    got = mix(q, state, two)
    expect(
        got,
        torch.tensor(1 * (1.0 + 4 + 0) + 3 * (2 + 0 + 10)),
        call="mix(q=[1, 3]) where w1 writes [1, 4, 0, 2, 0, 10] (E = 3)",
        hint="the first E numbers are agent 1's row [1, 4, 0], the next E agent 2's [2, 0, 10]: unflatten(-1, (N, E))",
    )
    by_state = {k: (lambda s, f=f: f(s) * s) for k, f in plain.items()}
    expect(
        mix(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([[1.0], [2.0]]), by_state),
        torch.tensor([5.0, 20.0]),
        call="mix of two rows with different states",
        hint="each row has weights of its own, written from its own state",
    )
    g = torch.Generator().manual_seed(1)
    q, state, nets = torch.randn(4, 1, 2, generator=g), torch.randn(4, 1, 3, generator=g), some_nets(g)
    expect(
        mix(q, state, nets),
        reference_mix(q, state, nets),
        call="mix on a batch [4,1]",
        hint="`.squeeze()` without an axis drops EVERY axis of size 1, a batch axis too: say which one, `.squeeze(-1)`",
    )
    q, state, nets = torch.randn(4, 5, 2, generator=g), torch.randn(4, 5, 3, generator=g), some_nets(g)
    expect(
        mix(q, state, nets), reference_mix(q, state, nets), call="mix on a batch [4,5]", hint="leading axes stay as they are"
    )
    three = torch.randn(4, 5, 3, generator=g), state, some_nets(g, n=3)
    try:
        got = mix(*three)
    except RuntimeError as error:
        require(False, f"mix for three agents stopped: {error}", "two agents went well: N is `q.shape[-1]`, no fixed 2")
    expect(got, reference_mix(*three), call="mix for three agents", hint="N is `q.shape[-1]`, no fixed 2")
    writes = {name: constant.requires_grad_() for name, constant in zip(("w1", "b1", "w2", "v"), torch.ones(4, 4))}
    of = lambda name, size: lambda s: writes[name][:size].expand(*s.shape[:-1], size)
    total = mix(torch.ones(5, 2), state[0], {"w1": of("w1", 4), "b1": of("b1", 2), "w2": of("w2", 2), "v": of("v", 1)})
    hint = "the networks that write the weights are what the mixer learns: no `.detach()` and no `torch.no_grad()`"
    require_gradients(total, writes, "mix(...)", hint)
    total = mix(q.clone().requires_grad_(), state, nets)
    require(
        isinstance(total, Tensor) and total.requires_grad,
        "mix(...) carries no gradient to the utilities",
        "training and credit go through Q_tot: no `.item()`, `.detach()`, `torch.no_grad()` or new `torch.tensor(...)` of it",
    )


def weighed(rule1, rule2):
    """What the first example gives if the weights [2, 1] pass `rule1` and the weight 1 passes `rule2`."""
    w1, w2 = torch.tensor([2.0, 1.0]), torch.tensor(1.0)
    return (torch.tensor([1.0, 3.0]) * rule1(w1)).sum() * rule2(w2)


def reference_mix(q, state, nets):
    """The formula once more, entry by entry."""
    out = torch.empty(q.shape[:-1])
    for k in itertools.product(*map(range, out.shape)):
        w1, w2 = nets["w1"](state[k]).abs(), nets["w2"](state[k]).abs()
        e = len(w2)
        x = nets["b1"](state[k]) + sum(q[k][i] * w1[i * e : (i + 1) * e] for i in range(q.shape[-1]))
        out[k] = torch.where(x > 0, x, x.exp() - 1) @ w2 + nets["v"](state[k])[0]
    return out


# ------------------------------------------------------------------------------------------------ 3.5


def random_sum(weights):
    """A mixer that weighs the utilities, some of them negatively."""
    return lambda q: (q * weights).sum(-1)


START = "no Q_tot is above 0 here, so a search that starts from the value 0 finds nothing: start from `-float('inf')`"


def as_tuple(answer, q, mixer, call):
    """What `answer` says, where it is a tuple with one action for each agent; else the message that fits."""
    got, form = on_copies(call, answer, q, mixer), f"a tuple of {len(q)} ints"
    if isinstance(got, tuple) and not all(isinstance(u, Integral) for u in got):
        kind = next(type(u).__name__ for u in got if not isinstance(u, Integral))
        require(False, f"{call} returned a tuple with a {kind} in it, expected {form}", "plain ints: `.tolist()` or `int(...)`")
    if not isinstance(got, tuple):
        hint = f"return {form}, the action of each agent"
        if got is None:
            hint = START if bool((mixer(q.T) <= 0).all()) else "does every path through your code end with `return`?"
        elif isinstance(got, list):
            hint = f"{form}: this is a list, and the next cell compares it with `==`; wrap it in `tuple(...)`"
        elif isinstance(got, Tensor) and got.dim() == 1:
            hint = f"{form}: `tuple(joint_action.tolist())`"
        elif isinstance(got, float) or (isinstance(got, Tensor) and got.is_floating_point()):
            hint = "this is a value; wanted is the joint ACTION that has it (an argmax, not a max)"
        elif isinstance(got, int) or (isinstance(got, Tensor) and got.dim() == 0):
            hint = "this is the place of the best one in your list of joint actions; return the joint action that stands there"
        require(False, f"{call} returned {describe(got)}, expected {form}", hint)
    return got


def best_joint_action(q, mixer):
    """q [N,A], mixer: utilities [...,N] -> [...]; the joint action (a tuple of N ints) with the largest Q_tot of all A^N"""
    n, a = q.shape
    joint = torch.cartesian_prod(*[torch.arange(a)] * n).view(-1, n)  # [A^N,N]
    values = q.gather(1, joint.T).T  # [A^N,N]: the utilities of every joint action
    return tuple(joint[mixer(values).argmax()].tolist())


@exercise(
    "3.5",
    title="the best joint action by enumeration",
    reference=best_joint_action,
    hints=[
        "Do not use IGM: you are going to test it. Ask the mixer for the value of every joint action, all A^N of them.",
        "`itertools.product(range(A), repeat=N)` lists the joint actions; the utilities of one: `q[0, u[0]]`, `q[1, u[1]]` ...",
        "`max(joint actions, key=lambda u: float(mixer(q[range(N), u])))` is one way; any number of agents must do.",
    ],
    difficulty=2,
    importance=4,
    minutes=10,
    points=2,
    agree=lambda best, g: torch.tensor(best(torch.randn(3, 4, generator=g), random_sum(torch.randn(3, generator=g)))),
)
def check_best_joint_action(best_joint_action):
    q = torch.tensor([[1.0, 5.0, 2.0], [0.0, 3.0, 4.0]])
    call = "best_joint_action([[1, 5, 2], [0, 3, 4]], the sum)"
    got = as_tuple(best_joint_action, q, lambda q: q.sum(-1), call)
    hint = "5 + 4 = 9 is the largest of nine sums: action 1 of agent 1, action 2 of agent 2"
    if got == (2, 2):
        hint = "did the mixer get the NUMBERS of the actions, 2 + 2? It takes their utilities, `q[i, u[i]]`"
    expect(got, (1, 2), call=call, hint=hint)
    call = "best_joint_action([[1, 5, 2], [0, 3, 4]], Q_tot = Q_1 - Q_2)"
    got = as_tuple(best_joint_action, q, lambda q: q[..., 0] - q[..., 1], call)
    hint = {
        (1, 2): "this is each agent's own best action: it is the team's only if IGM holds, and that is what you will test",
        (1, 1): "was (1, 0) among the joint actions that you tried? Combinations leave it out: `itertools.product` has all A^N",
    }.get(got, "5 - 0 = 5 is the largest: agent 2's WORST action is best for the team")
    expect(got, (1, 0), call=call, hint=hint)
    square = lambda q: -((q[..., 0] - 2) ** 2) - (q[..., 1] - 3) ** 2
    call = "best_joint_action([[1, 5, 2], [0, 3, 4]], Q_tot = -(Q_1 - 2)^2 - (Q_2 - 3)^2)"
    got = as_tuple(best_joint_action, q, square, call)
    expect(
        got,
        (2, 1),
        call=call,
        hint=START if got == (0, 0) else "Q_tot is 0 at the utilities 2 and 3, and negative elsewhere",
    )
    call = "best_joint_action([[0, 3], [0, 3]], Q_tot = Q_1 - (Q_1 - Q_2)^2)"
    both = torch.tensor([[0.0, 3.0], [0.0, 3.0]])
    got = as_tuple(best_joint_action, both, lambda q: q[..., 0] - (q[..., 0] - q[..., 1]) ** 2, call)
    hint = "both must change at once: improving one agent at a time never gets there"
    if got in ((0, 1), (1, 0)):
        hint = (
            "did you try (0, 0) and (1, 1)? `itertools.permutations` leaves out equal actions: `itertools.product` has all A^N"
        )
    expect(got, (1, 1), call=call, hint=hint)
    three = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    call = "best_joint_action for three agents with two actions each"
    try:
        got = as_tuple(best_joint_action, three, lambda q: q[..., 0] * q[..., 1] - q[..., 2], call)
    except ExerciseIncomplete:
        raise
    except Exception as error:
        hint = "two agents went well. Any N must do: N is `len(q)`, so no `q[0]`, `q[1]` by name, no fixed number of loops"
        require(False, f"{call} stopped with {type(error).__name__}: {error}", hint)
    expect(
        got,
        (1, 0, 0),
        call=call,
        hint="eight joint actions; 1 * 2 - 0 = 2 is the largest",
    )


# ------------------------------------------------------------------------------------------------ 3.6


def ma_gym_move(row, column, action):
    """row, column 0..4, action 0..4 (stay, down, left, up, right) -> (row, column) after the step, as ma-gym plays it"""
    down, right = ((0, 0), (1, 0), (0, -1), (-1, 0), (0, 1))[action]
    return min(max(row + down, 0), 3), min(max(column + right, 0), 3)


@exercise(
    "3.6",
    title="find the released bug",
    reference=ma_gym_move,
    hints=[
        "Print the moves that start in row 4. Where do they end? And those that go down from row 3?",
        "Print the moves with action 0, 'stay'. Some of them end in another cell. The rule that stops a move down from row 3 "
        "moves these too: it is applied after every action, so 'stay' needs no case of its own.",
        "ma-gym limits the new row and column to 0..3 instead of 0..4, after every action, 'stay' too: "
        "`min(max(row + down, 0), 3)`.",
    ],
    difficulty=2,
    importance=3,
    minutes=15,
    points=2,
    agree=lambda move, g: torch.tensor(move(*torch.randint(0, 5, (3,), generator=g).tolist())),
)
def check_ma_gym_move(ma_gym_move):
    def at(*args):
        got, form = ma_gym_move(*args), "a tuple of two ints, (row, column)"
        if got is not None and not (isinstance(got, tuple) and len(got) == 2 and all(isinstance(x, Integral) for x in got)):
            hint = "the next cell compares with `==`, and a list is never equal to a tuple" if isinstance(got, list) else ""
            if isinstance(got, tuple) and len(got) == 2:
                hint = f"the tuple holds a {type(got[0]).__name__}: plain ints, by `int(...)` or `.item()`"
            require(False, f"ma_gym_move{args} returned {describe(got)}, expected {form}", hint or "`return row, column`")
        return got

    expect(at(1, 1, 1), (2, 1), call="ma_gym_move(1, 1, 1)", hint="action 1 is down: one row further")
    expect(at(1, 1, 4), (1, 2), call="ma_gym_move(1, 1, 4)", hint="action 4 is right: one column further")
    got = at(0, 2, 3)
    hint = "first the row, then the column" if got == (2, 0) else "up from the first row: into the border, it stays"
    expect(got, (0, 2), call="ma_gym_move(0, 2, 3)", hint=hint)
    expect(at(2, 0, 1), (3, 0), call="ma_gym_move(2, 0, 1)", hint="row 3 can be entered: see what the record says of this move")
    got = at(3, 1, 1)
    hint = "so it should be, and so it is not: find this move in the record" if got == (4, 1) else "look it up in the record"
    expect(got, (3, 1), call="ma_gym_move(3, 1, 1)", hint=hint)
    expect(at(1, 3, 4), (1, 3), call="ma_gym_move(1, 3, 4)", hint="the last column is like the last row")
    got = at(4, 2, 0)
    hint = "an agent that starts in the last row and 'stays' is dragged out of it" if got == (4, 2) else "look it up"
    expect(got, (3, 2), call="ma_gym_move(4, 2, 0)", hint=hint)
    expect(at(4, 4, 2), (3, 3), call="ma_gym_move(4, 4, 2)", hint="left from the last corner: both coordinates are limited")
    wrong = [
        (row, column, u)
        for row, column, u in itertools.product(range(5), repeat=3)
        if at(row, column, u) != ma_gym_move_true(row, column, u)
    ]
    require(
        not wrong,
        f"ma_gym_move{wrong[0] if wrong else ()} returned {at(*wrong[0]) if wrong else ()}, the record says "
        f"{ma_gym_move_true(*wrong[0]) if wrong else ()} ({len(wrong)} of 125 moves differ)",
        "one rule fits all 125 moves: what is the largest row and column that any move ends in?",
    )
    try:
        off_the_record = ma_gym_move(7, 7, 0)
    except Exception:
        off_the_record = None
    require(
        off_the_record is not None,
        "ma_gym_move knows the recorded moves and no others: asked about a cell outside the record, (7, 7), it has no answer",
        "this looks the move up; wanted is the one rule that makes all of them, from row, column and the table of directions",
    )


def ma_gym_move_true(row, column, action):
    """The same from the library's own table of moves (faithful=True)."""
    from marlcourse.envs.lumberjacks import MOVES

    return tuple(min(max(x + d, 0), 3) for x, d in zip((row, column), MOVES[action]))


# ------------------------------------------------------------------------------------------------ quiz

QUIZ = Quiz(
    "3",
    [
        Question(
            "3.q1",
            "Two-rooms with three doors. Agents without memory, and a mixer that reads both lamps at every step. "
            "What does the team earn at best?",
            {
                "a": ("1/9", "agents choose from their own utilities, the same for every lamp; the mixer stays at home"),
                "b": ("1/3", "that is one agent's chance to be right; both must be, independently of each other"),
                "c": ("1", "what the mixer reads shapes the learning; at play nobody asks it"),
            },
            answer="a",
        ),
        Question(
            "3.q2",
            "Online utilities (4, 1, 3), target utilities (0, 6, 2); action 0 is not available. What is the double-Q value?",
            {
                "a": ("0", "action 0 has the largest online value, but it is not available"),
                "b": ("2", "of actions 1 and 2 online prefers action 2, and target says that it is worth 2"),
                "c": ("3", "that is what the online network says of its own choice; the other one judges"),
                "d": ("6", "that is the target's own maximum: one network chooses and judges"),
            },
            answer="b",
        ),
        Question(
            "3.q3",
            "A team is cut off by the clock while two trees stand. What is the target of that last step?",
            {
                "a": ("the reward alone", "that is for a step that ENDED the task (terminated)"),
                "b": ("none: the step is masked", "it was played; the mask is 0 only where nothing was played"),
                "c": (
                    "the reward plus gamma times the next value",
                    "the next value of the true final observation: the task would have gone on",
                ),
            },
            answer="c",
        ),
        Question(
            "3.q4",
            "Somebody takes the absolute value of w1 and forgets that of w2. What can happen?",
            {
                "a": (
                    "the agents' own best is not the team's",
                    "where w2 is negative, a larger utility can lower Q_tot; both weights stand on the way",
                ),
                "b": ("nothing, w1 decides the order", "every utility passes w2 as well on its way to Q_tot"),
                "c": ("Q_tot can no longer be negative", "v has any sign, and so has a hidden unit times a negative w2"),
            },
            answer="a",
        ),
        Question(
            "3.q5",
            "A team trains on ma-gym's Lumberjacks, and every one of its episodes lasts 100 steps. What do you check first?",
            {
                "a": ("whether the learning rate is too small", "first ask whether ending early is possible at all"),
                "b": (
                    "whether every tree can be reached",
                    "the last row and column cannot be entered; almost no game can end",
                ),
                "c": (
                    "whether the mixer is too weak",
                    "a rule that sees everything, and has no mixer, does not end it either",
                ),
            },
            answer="b",
        ),
    ],
)
