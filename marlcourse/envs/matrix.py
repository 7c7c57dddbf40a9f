"""One-step games with a common payoff table, and the two-step game of the QMIX paper.

The tables stand in the order [action of agent 1][action of agent 2]...; the whole team receives the entry.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..core import Discrete, EnvSpec, Observation, suggest
from .base import World
from .drawing import draw_table

# name: (table, source)
GAMES: dict[str, tuple[list, str]] = {
    "qtran": ([[8, -12, -12], [-12, 0, 0], [-12, 0, 0]], "Son et al. 2019 (QTRAN), table 1"),
    "climbing": ([[11, -30, 0], [-30, 7, 0], [0, 6, 5]], "Claus and Boutilier 1998; some papers transpose the 6"),
    "xor": ([[0, 1], [1, 0]], "the one-step junction of LICA (Zhou et al. 2020) as a table"),
    "or": ([[0, 1], [1, 1]], "monotone, but not supermodular"),
    "linear": ([[1, 4, 2], [0, 3, 1], [2, 5, 3]], "uoe-agents/matrix-games: additive"),
    "nonlinear": ([[0, 3, 1], [0, 0, 0], [0, 6, 2]], "uoe-agents/matrix-games: a product, monotone"),
    "trivial": ([[11, 8, 0], [8, 7, 0], [0, 0, 0]], "uoe-agents/matrix-games"),
    "stag-hunt": ([[8, 3], [3, 4]], "sum of the payoffs 4,4 / 0,3 / 3,0 / 2,2"),
    "asymmetric": ([[4, 0], [3, 2]], "marlcourse: VDN and QMIX play 3 on uniform data"),
    "two-step-2b": ([[0, 1], [1, 8]], "state 2B of the two-step game (Rashid et al. 2018)"),
    **{
        f"penalty-{k}": (
            [[-k, 0, 10], [0, 2, 0], [10, 0, -k]],
            "uoe-agents/matrix-games; others exchange the corners' order",
        )
        for k in (0, 10, 25, 50, 75, 100)
    },
}


def payoff_table(table) -> Tensor:
    """Any nested list, array or tensor of numbers as a payoff tensor [A,...,A] with one axis per agent, at least two.

    Raises ValueError, in one sentence with the fix, for anything else.
    """
    form = "give a list of rows of numbers, all of one length, such as [[8, -12], [-12, 0]]"
    try:
        table = table.detach().cpu().numpy() if isinstance(table, Tensor) else table
        payoff = torch.as_tensor(np.array(table, dtype=np.float64), dtype=torch.float32)
    except (TypeError, ValueError):
        raise ValueError(f"This is not a payoff table: {form}.") from None
    if payoff.dim() < 2 or payoff.numel() == 0 or min(payoff.shape) < 2:
        raise ValueError(
            f"A payoff table needs an axis per agent and at least two actions on each, got shape {list(payoff.shape)}: {form}."
        )
    if len(set(payoff.shape)) > 1:
        raise ValueError(
            f"All agents need the same number of actions, got a table of shape {list(payoff.shape)}: "
            "pad it with bad rows or columns."
        )
    if not torch.isfinite(payoff).all():
        raise ValueError("A payoff table must hold finite numbers: replace NaN and infinity.")
    return payoff


class MatrixGame(World):
    """One joint action, one payoff, the end. Agents see a constant 1; the state is that constant too.

    ``game``: a name of :data:`GAMES`, or a table of your own. N is the number of its axes.
    """

    def __init__(self, game="qtran", num_envs: int = 1, device="auto", seed: int = 0):
        if isinstance(game, str):
            if game not in GAMES:
                raise ValueError(
                    f"Unknown matrix game {game!r}: {suggest(game, GAMES)} Or give a table, such as [[8, -12], [-12, 0]]."
                )
            table, title = GAMES[game][0], f"matrix/{game}"
        else:
            table, title = game, "matrix/yours"
        payoff = payoff_table(table)
        n = payoff.dim()
        self.spec = EnvSpec(title, n, 1, 1, 1, Discrete(payoff.shape[0]))
        super().__init__(num_envs, device, seed, game=game)
        self.payoff = payoff.to(self.device)

    def fresh(self, num_envs: int | None = None, seed: int = 0) -> MatrixGame:
        """An independent copy with the same table."""
        return type(self)(self.options["game"], num_envs or self.num_envs, self.device, seed)

    def _start(self, draws):
        return {"played": torch.full((self.num_envs, self.spec.n_agents), -1, device=self.device)}

    def _advance(self, state, actions, draws):
        reward = self.payoff[tuple(actions.unbind(-1))]
        best = reward >= self.payoff.max()
        return {"played": actions}, reward, torch.ones_like(self.running), {"won": best}

    def _observe(self, state):
        b, n = self.num_envs, self.spec.n_agents
        one = torch.ones(b, n, 1, device=self.device)
        return Observation(one, one[:, 0], torch.ones(b, n, self.spec.n_actions, dtype=torch.bool, device=self.device))

    def frame(self, index: int = 0) -> np.ndarray:
        """The table, with the joint action played in a frame (of more agents: the others' joint actions in a row)."""
        table, others = self.payoff.flatten(1).cpu().numpy(), self.payoff.shape[1:]
        names = None if len(others) == 1 else [",".join(map(str, joint)) for joint in np.ndindex(*others)]
        played = [-1] if self.state is None else self.state["played"][index].tolist()
        chosen = None if played[0] < 0 else (played[0], int(np.ravel_multi_index(played[1:], others)))
        return draw_table(table, chosen, self.spec.name, names)


class TwoStep(World):
    """The two-step game (Rashid et al. 2018, section 5): agent 1 chooses the table that both then play.

    First step: state 1, reward 0; agent 1's action 0 leads to 2A (always 7), action 1 to 2B ([[0, 1], [1, 8]]);
    agent 2's action does not matter. State: one-hot of (1, 2A, 2B), which every agent observes.
    """

    def __init__(self, num_envs: int = 1, device="auto", seed: int = 0):
        self.spec = EnvSpec("two-step", 2, 3, 3, 2, Discrete(2))
        super().__init__(num_envs, device, seed)
        self.payoff = torch.tensor([[[0.0, 0], [0, 0]], [[7, 7], [7, 7]], [[0, 1], [1, 8]]], device=self.device)

    def _start(self, draws):
        return {
            "node": torch.zeros(self.num_envs, dtype=torch.long, device=self.device),
            "played": torch.full((self.num_envs, 2), -1, device=self.device),
        }

    def _advance(self, state, actions, draws):
        node = state["node"]
        reward = self.payoff[node, actions[:, 0], actions[:, 1]]
        ended = node > 0
        new = {"node": torch.where(ended, node, 1 + actions[:, 0]), "played": actions}
        return new, reward, ended, {"won": reward >= 8}

    def _observe(self, state):
        one_hot = torch.nn.functional.one_hot(state["node"], 3).float()
        avail = torch.ones(self.num_envs, 2, 2, dtype=torch.bool, device=self.device)
        return Observation(one_hot.unsqueeze(1).expand(-1, 2, -1), one_hot, avail)

    def frame(self, index: int = 0) -> np.ndarray:
        """The table of the current state, with the last joint action in a frame once the game has ended."""
        if self.state is None:
            raise RuntimeError("Call reset() before frame().")
        node, table = int(self.state["node"][index]), self.payoff[self.state["node"][index]].cpu().numpy()
        if node == 0:
            return draw_table(table, None, "state 1", entries=[["go to 2A"] * 2, ["go to 2B"] * 2])
        played, title = tuple(self.state["played"][index].tolist()), ["", "state 2A", "state 2B"][node]
        if bool(self.running[index]):  # nothing chosen here yet: say who opened the door
            return draw_table(table, None, f"agent 1 chose {played[0]}: {title}")
        return draw_table(table, played, title)
