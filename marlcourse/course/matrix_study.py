"""The experiments of chapter 02: what does each method make of a payoff table, and which joint action does it then choose?

Many teams at once (:class:`marlcourse.ensemble.Ensemble`), with the library's own losses: seeds, tables and kinds of data
lie on one axis. Every joint action is one row of the batch; the table is a reward per row, and who generated the data is a
weight per row, which the ``mask`` carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..algorithms.iql import IQL
from ..algorithms.qmix import QMIX
from ..algorithms.qtran import QTRAN
from ..algorithms.vdn import VDN
from ..algorithms.wqmix import CWQMIX, OWQMIX
from ..config import suggest
from ..core import Algorithm, EpisodeBatch
from ..ensemble import Ensemble
from ..envs.matrix import MatrixGame
from ..exploration import Schedule, constant
from ..stopping import stoppable

METHODS: dict[str, type] = {"IQL": IQL, "VDN": VDN, "QMIX": QMIX, "OW-QMIX": OWQMIX, "CW-QMIX": CWQMIX, "QTRAN": QTRAN}
GRID = (("qtran", "climbing", "penalty-10"), ("xor", "or", "two-step-2b"))  # the chapter's tables: 3x3, 2x2


class FusedAdam(torch.optim.Adam):
    """The same Adam in one call for all tensors: small networks spend a quarter of a step in the loop over them.

    PyTorch before 2.4 has no such call for the CPU and takes the loop.
    """

    def __init__(self, params, **options):
        known = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 4)
        super().__init__(params, **{**options, "fused": known or None})


# ---- who generated the data ----


@dataclass(frozen=True)
class Data:
    """Epsilon-greedy play around the team's present choice; ``epsilon`` is read in update steps.

    ``replay``: train on the average of all data so far, as a buffer that never overflows; else on the newest alone.
    """

    epsilon: Schedule = constant(1.0)
    replay: bool = False


def kinds_of_data(steps: int) -> dict[str, Data]:
    """The three kinds that chapter 02 compares, for a run of ``steps`` updates."""
    return {
        "uniform": Data(constant(1.0)),
        "epsilon-greedy": Data(Schedule(1.0, 0.05, steps // 2), replay=True),
        "on-policy": Data(constant(0.1)),
    }


def behaviour(greedy: Tensor, n_actions: int, epsilon: float) -> Tensor:
    """Probability of each joint action [M,A*A] when each agent is epsilon-greedy around its own action, greedy [M,2]."""
    own = torch.full((len(greedy), 2, n_actions), epsilon / n_actions)
    own.scatter_add_(-1, greedy.unsqueeze(-1), torch.full((len(greedy), 2, 1), 1 - epsilon))
    return (own[:, 0].unsqueeze(-1) * own[:, 1].unsqueeze(-2)).flatten(1)


# ---- on paper: the best additive table ----


def additive_fit(table: Tensor, weights: Tensor | None = None) -> Tensor:
    """VDN's best: the additive table f1(u1) + f2(u2) that minimises the weighted sum of squares. [A,A] -> [A,A].

    ``weights`` [A,A] >= 0 (default: equal). Cells without weight are filled by the smallest solution.
    """
    table = torch.as_tensor(table, dtype=torch.float64)
    a, b = table.shape
    rows, columns = torch.eye(a, dtype=torch.float64), torch.eye(b, dtype=torch.float64)
    design = torch.cat([rows.repeat_interleave(b, 0), columns.repeat(a, 1)], 1)  # [A*A, 2A]: which f1, which f2
    root = torch.ones(a * b) if weights is None else torch.as_tensor(weights).flatten().sqrt()
    root = root.to(torch.float64).unsqueeze(-1)
    solution = torch.linalg.lstsq(design * root, table.reshape(-1, 1) * root, driver="gelsd").solution
    return (design @ solution).view(a, b).float()


def vdn_fit(table: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """:func:`additive_fit` in closed form, where agent 1 plays p [A] and agent 2, independently, q [A]. [A,A] -> [A,A].

    f(u1, u2) = E[r | u1] + E[r | u2] - E[r]: what each action is worth on average, minus what was counted twice.
    """
    rows, columns = table @ q, p @ table
    return rows.unsqueeze(-1) + columns - p @ rows


def action_values(table: Tensor, weights: Tensor) -> Tensor:
    """What each action of agent 1 is worth on average, given the data: E[r | u1], weights [...,A,A] -> [...,A].

    The target that an independent learner chases. Needs every action of agent 1 to have some weight.
    """
    return (weights * table).sum(-1) / weights.sum(-1)


# ---- many teams at once ----


def every_joint_action(game: MatrixGame) -> EpisodeBatch:
    """One row for each joint action of a two-agent game, played by the world itself; row a1 * A + a2."""
    a = game.spec.n_actions
    world = MatrixGame(game.options["game"], num_envs=a * a, device="cpu")
    before = world.reset(seed=0)
    actions = torch.cartesian_prod(torch.arange(a), torch.arange(a))
    step = world.step(actions)
    both = [torch.stack([x, y], 1) for x, y in zip(before, step.observation)]
    column = step.reward.unsqueeze(1)
    return EpisodeBatch(
        *both,
        actions.unsqueeze(1),
        column,
        step.terminated.unsqueeze(1),
        step.truncated.unsqueeze(1),
        mask=torch.ones_like(column),
        length=torch.ones(a * a, dtype=torch.long),
    )


@dataclass
class Fit:
    """What M seeds of one method ended with.

    ``true`` [A,A]: the payoffs. ``table`` [M,A,A]: the fitted joint values (IQL has none: the mean of its two utilities;
    QTRAN: the sum of its utilities plus V, which is what its greedy choice rests on). ``utilities`` [M,2,A].
    ``greedy`` [M,2]: each agent's own best action. ``weights`` [M,A,A]: the data of the last step. ``parameters``: the
    networks, {name: [M,...]}. ``updates``: how many were made, fewer than asked for where the run was stopped.
    """

    method: str
    true: Tensor
    table: Tensor
    utilities: Tensor
    greedy: Tensor
    weights: Tensor
    parameters: dict[str, Tensor]
    updates: int = 0

    def __len__(self) -> int:
        return len(self.table)

    @property
    def payoff(self) -> Tensor:
        """What each seed's greedy joint action really pays, [M]."""
        return self.true[self.greedy[:, 0], self.greedy[:, 1]]

    @property
    def optimal(self) -> float:
        """Share of seeds whose greedy joint action is a best one."""
        return float((self.payoff >= self.true.max()).float().mean())

    @property
    def count(self) -> str:
        """The same in words: "6 of 8" seeds."""
        return f"{int((self.payoff >= self.true.max()).sum())} of {len(self)}"

    @property
    def sse(self) -> Tensor:
        """Sum of squared differences between fitted and true table, [M]."""
        return (self.table - self.true).square().sum((1, 2))

    @property
    def middle(self) -> int:
        """The seed with the median error: the one to draw."""
        return int(self.sse.argsort()[(len(self) - 1) // 2])


def _utilities(algorithm: Algorithm, rows: EpisodeBatch) -> Tensor:
    """[2,A] of one member; written for vmap. One state: the first row tells all."""
    return algorithm.utilities(algorithm.agent, rows)[0, 0]


def _joint_table(algorithm: Algorithm, rows: EpisodeBatch) -> tuple[Tensor, Tensor]:
    """(table [A,A], utilities [2,A]) of one member; written for vmap."""
    q = _utilities(algorithm, rows)
    a, state = q.shape[-1], rows.states[0, 0]
    pairs = torch.stack([q[0].unsqueeze(-1).expand(a, a), q[1].unsqueeze(-2).expand(a, a)], -1)  # [A,A,2]
    if isinstance(algorithm, IQL):
        return pairs.mean(-1), q
    if isinstance(algorithm, QTRAN):
        return pairs.sum(-1) + algorithm.value(state), q
    return algorithm.mixer(pairs, state.expand(a, a, -1)), q


def fit_tables(
    method: str | type,
    tables: Mapping[str, Any],
    data: Mapping[str, Data],
    seeds: Sequence[int] = range(8),
    steps: int = 400,
    start: Fit | None = None,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
    progress: bool | Callable[[int], None] = False,
    **changes: Any,
) -> dict[tuple[str, str], Fit]:
    """Fit one method to every table under every kind of data, all seeds at once: {(table name, data name): Fit}.

    ``tables``: names of ``matrix/`` games or payoff tables of two agents, all with the same number of actions.
    ``start``: begin with the networks of another fit (those that both methods have) instead of fresh ones.
    ``watch(step, utilities [M,2,A], weights [M,A*A])`` is called before each update; ``progress``: True draws a bar, a
    function is told the number of updates done. ``changes`` go to the method's config (``alpha``, ``lambda_nopt``, ``lr``,
    ...). ``method``: a name of METHODS, or a class of your own. Target networks keep their first weights: in a game of one
    step no target needs them. The stop button (an interrupt) ends the run after the update under way: the fits so far are
    returned, and one line says how far they came.
    """
    if isinstance(method, str) and method not in METHODS:
        raise ValueError(f"Unknown method {method!r}: {suggest(method, METHODS)}")
    name, kind = (method, METHODS[method]) if isinstance(method, str) else (method.__name__, method)
    games = {key: MatrixGame(table, device="cpu") for key, table in tables.items()}
    for game in games.values():
        if game.spec.n_agents != 2:
            raise ValueError(f"fit_table draws tables of two agents, this one has {game.spec.n_agents}.")
    if len({game.spec.n_actions for game in games.values()}) > 1:
        raise ValueError("Tables that are fitted together need the same number of actions: fit the sizes one by one.")
    spec = next(iter(games.values())).spec
    a, groups = spec.n_actions, [(table, how) for table in games for how in data]
    config = kind.Config.preset("matrix", **{"optimizer": FusedAdam, **changes})
    own_seeds = [seed for _ in groups for seed in seeds]
    members = Ensemble(lambda seed: kind(spec, config, seed=seed, device="cpu"), own_seeds)
    if start is not None:
        _continue_from(members, start)
    rows = every_joint_action(next(iter(games.values())))
    payoff = torch.stack([games[table].payoff.flatten() for table, _ in groups]).repeat_interleave(len(seeds), 0)
    weights = torch.full((len(members), a * a), 1 / (a * a))
    learns = any(data[how].epsilon(step) < 1 for how in data for step in (0, steps)) or watch is not None
    made = 0
    for step in stoppable(range(steps), name, progress is True):
        if learns:
            with torch.no_grad():
                q = members.call(_utilities, rows)
            for k, (_, how) in enumerate(groups):
                mine = slice(k * len(seeds), (k + 1) * len(seeds))
                now = behaviour(q[mine].argmax(-1), a, data[how].epsilon(step))
                weights[mine] = (weights[mine] * step + now) / (step + 1) if data[how].replay else now
            if watch is not None:
                watch(step, q, weights.clone())
        own = {"mask": weights.unsqueeze(-1), "reward": payoff.unsqueeze(-1)}
        members.step("main", "loss", rows, per_member=own)
        made = step + 1
        if callable(progress):
            progress(made)
    with torch.no_grad():
        fitted, q = members.call(_joint_table, rows)
    state = {key: value.detach() for key, value in {**members.params, **members.buffers}.items()}
    result = {}
    for k, (table, how) in enumerate(groups):
        mine = slice(k * len(seeds), (k + 1) * len(seeds))
        choice, last = q[mine].argmax(-1), weights[mine].view(-1, a, a)
        parameters = {key: value[mine] for key, value in state.items()}
        result[table, how] = Fit(name, games[table].payoff.clone(), fitted[mine], q[mine], choice, last, parameters, made)
    return result


def fit_table(
    method: str | type,
    table: Any = "qtran",
    epsilon: float | Schedule = 1.0,
    seeds: Sequence[int] = range(8),
    steps: int = 400,
    replay: bool = False,
    **options: Any,
) -> Fit:
    """Fit one method to one payoff table (a name of ``matrix/`` or a table), ``len(seeds)`` seeds at once.

    ``epsilon``: data come from epsilon-greedy play around the method's current choice; 1 is uniform. A Schedule is read in
    update steps. ``replay``: train on the average of all data so far instead of the newest. Other options as in
    :func:`fit_tables`.
    """
    schedule = epsilon if isinstance(epsilon, Schedule) else constant(float(epsilon))
    (fit,) = fit_tables(method, {"": table}, {"": Data(schedule, replay)}, seeds, steps, **options).values()
    return fit


@torch.no_grad()
def _continue_from(members: Ensemble, start: Fit) -> None:
    """Copy the networks that both have, as they are, into every member."""
    for store in (members.params, members.buffers):
        for name, value in store.items():
            if name in start.parameters:
                if start.parameters[name].shape != value.shape:
                    raise ValueError(
                        f"start has {name} of shape {list(start.parameters[name].shape)}, this fit {list(value.shape)}: "
                        "use as many seeds and the same table size."
                    )
                value.copy_(start.parameters[name])


# ---- the two-step game, on paper ----


def two_step_vdn(epsilon: float) -> tuple[float, float]:
    """What exact VDN believes of 2A and 2B: the largest entry of its additive fit to epsilon-greedy data around (1, 1).

    2A always pays 7. In 2B, [[0, 1], [1, 8]], the fit at (1, 1) is 8 - 6 (epsilon / 2)^2: the weight of the joint action
    (0, 0), whose payoff an additive table cannot give together with the other three, is (epsilon / 2)^2.
    """
    own = torch.tensor([epsilon / 2, 1 - epsilon / 2])  # each agent: its greedy action is 1
    return 7.0, float(vdn_fit(torch.tensor([[0.0, 1.0], [1.0, 8.0]]), own, own).max())
