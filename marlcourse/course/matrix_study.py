"""The experiment of chapter 02: what does each method make of a payoff table, and which joint action does it then choose?

Many seeds at once (:class:`marlcourse.ensemble.Ensemble`), with the library's own losses. Every joint action is one row of
the batch; who generated the data is a weight per row, which the ``mask`` carries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

METHODS: dict[str, type] = {"IQL": IQL, "VDN": VDN, "QMIX": QMIX, "OW-QMIX": OWQMIX, "CW-QMIX": CWQMIX, "QTRAN": QTRAN}


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


def behaviour(greedy: Tensor, n_actions: int, epsilon: float) -> Tensor:
    """Probability of each joint action [M,A*A] when each agent is epsilon-greedy around its own action, greedy [M,2]."""
    own = torch.full((len(greedy), 2, n_actions), epsilon / n_actions)
    own.scatter_add_(-1, greedy.unsqueeze(-1), torch.full((len(greedy), 2, 1), 1 - epsilon))
    return (own[:, 0].unsqueeze(-1) * own[:, 1].unsqueeze(-2)).flatten(1)


@dataclass
class Fit:
    """What M seeds of one method ended with.

    ``table`` [M,A,A]: the fitted joint values (IQL has none: the mean of its two utilities; QTRAN: the sum of its
    utilities plus V, which is what its greedy choice rests on). ``utilities`` [M,2,A]. ``greedy`` [M,2]: each agent's own
    best action. ``payoff`` [M]: what that joint action really pays.
    """

    method: str
    true: Tensor
    table: Tensor
    utilities: Tensor
    greedy: Tensor

    @property
    def payoff(self) -> Tensor:
        return self.true[self.greedy[:, 0], self.greedy[:, 1]]

    @property
    def optimal(self) -> float:
        """Share of seeds whose greedy joint action is a best one."""
        return float((self.payoff >= self.true.max()).float().mean())

    @property
    def sse(self) -> Tensor:
        """Sum of squared differences between fitted and true table, [M]."""
        return (self.table - self.true).square().sum((1, 2))


def _joint_table(algorithm: Algorithm, rows: EpisodeBatch) -> tuple[Tensor, Tensor]:
    """(table [A,A], utilities [2,A]) of one member; written for vmap."""
    q = algorithm.utilities(algorithm.agent, rows)[0, 0]  # [N,A]
    a, state = q.shape[-1], rows.states[0, 0]
    pairs = torch.stack([q[0].unsqueeze(-1).expand(a, a), q[1].unsqueeze(-2).expand(a, a)], -1)  # [A,A,2]
    if isinstance(algorithm, IQL):
        return pairs.mean(-1), q
    if isinstance(algorithm, QTRAN):
        return pairs.sum(-1) + algorithm.value(state), q
    return algorithm.mixer(pairs, state.expand(a, a, -1)), q


def fit_table(
    method: str,
    table: Any = "qtran",
    epsilon: float | Schedule = 1.0,
    seeds: Sequence[int] = range(8),
    steps: int = 400,
    replay: bool = False,
    progress: Callable[[int], None] | None = None,
    **changes: Any,
) -> Fit:
    """Fit one method to a two-agent payoff table (a name of ``matrix/`` or a table), ``len(seeds)`` seeds at once.

    ``epsilon``: data come from epsilon-greedy play around the method's current choice; 1 is uniform. A Schedule is read in
    update steps. ``replay``: train on the average of all data so far instead of the newest. ``changes`` go to the
    method's config (``alpha``, ``lambda_nopt``, ``lr``, ...).
    """
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}: {suggest(method, METHODS)}")
    kind, game = METHODS[method], MatrixGame(table, device="cpu")
    if game.spec.n_agents != 2:
        raise ValueError(f"fit_table draws tables of two agents, this one has {game.spec.n_agents}.")
    config = kind.Config.preset("matrix", **changes)
    members = Ensemble(lambda seed: kind(game.spec, config, seed=seed, device="cpu"), seeds)
    rows, a = every_joint_action(game), game.spec.n_actions
    schedule = epsilon if isinstance(epsilon, Schedule) else constant(float(epsilon))
    weights = torch.full((len(members), a * a), 1 / (a * a))
    for step in range(steps):
        e = schedule(step)
        if e < 1:
            with torch.no_grad():
                _, q = members.call(_joint_table, rows)
            now = behaviour(q.argmax(-1), a, e)
            weights = (weights * step + now) / (step + 1) if replay else now
        members.step("main", "loss", rows, per_member={"mask": weights.unsqueeze(-1)})
        if progress is not None:
            progress(step + 1)
    with torch.no_grad():
        fitted, q = members.call(_joint_table, rows)
    return Fit(method, game.payoff.clone(), fitted, q, q.argmax(-1))
