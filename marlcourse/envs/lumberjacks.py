"""Lumberjacks (ma-gym, Koul 2019): a team that sees little must fell all trees, and strong trees need several at once.

The game. Each agent stands on a cell of a square grid and stays, or moves by one cell (0 stay, 1 down, 2 left, 3 up,
4 right; into the border: it stays). A tree has a strength, uniform in 1..N; it falls as soon as at least so many agents
stand on its cell. An episode ends when no tree is left (terminated), or after ``episode_limit`` steps (truncated).

Rewards are the sum over agents, as in EPyMARL: each agent pays 1 a step, and each agent on a tree that falls gets 10
(Zhou et al.'s and ma-gym's description). Two lumberjacks thus earn -2, +8 or +18 a step for one tree, by who fells it.

``faithful=True`` is ma-gym 0.0.14 as its code plays, number for number. Differences from the game above, all found by
running it:

* the last row and the last column cannot be entered, and an agent that starts there is moved out by any action, also by
  "stay": practically no episode ends before the time limit;
* a falling tree pays 10 to EVERY agent, wherever it stands: its documentation says that only those involved are paid;
* the first reset of a new world that was given no seed is not shuffled: agents first, trees next, in reading order.
  With a seed, as all training and evaluation here reset, every episode is shuffled;
* agents are numbered in reading order of their first cells (here: at random).

Each agent sees (O = 4 + 2 (2 view + 1)^2 = 22 numbers): its number / N, its row and its column / (size - 1), the steps so
far / episode_limit, then for each cell of the window around it, in reading order, agents there / N and strength of the
tree there / N; beyond the border 0.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..config import whole
from ..core import Discrete, EnvSpec, Observation
from .base import World
from .drawing import BLUE, ORANGE, RED, canvas, write

GRASS, BARK, WOOD = ((226, 236, 206), (218, 230, 196)), (120, 84, 58), (222, 190, 142)
COLOURS = (BLUE, ORANGE, RED, (120, 80, 160))
MOVES = ((0, 0), (1, 0), (0, -1), (-1, 0), (0, 1))  # stay, down, left, up, right as (rows, columns)


class Lumberjacks(World):
    """``num_envs`` games at once.

    =============  =====================================================================================================
    faithful       play as ma-gym 0.0.14's code does, including what its documentation does not say (above)
    state          "concatenated": all observations, as EPyMARL's wrapper; "compact": [B, 2 N + size^2 + 1], for each
                   agent row and column / (size - 1), for each cell the tree's strength / N, the steps so far / limit
    n_agents       N; ``size``: cells on a side; ``n_trees``; ``view``: how many cells an agent sees in each direction
    episode_limit  steps after which an episode is cut off
    =============  =====================================================================================================

    info: ``felled`` [B], trees that fell in this step; ``won`` [B], the last one did. Raises ValueError for a bad option.
    """

    def __init__(
        self,
        num_envs: int = 1,
        device="auto",
        seed: int = 0,
        faithful: bool = False,
        state: str = "concatenated",
        n_agents: int = 2,
        size: int = 5,
        n_trees: int = 12,
        view: int = 1,
        episode_limit: int = 100,
    ):
        if state not in ("concatenated", "compact"):
            raise ValueError(f"state must be 'concatenated' (all observations) or 'compact', not {state!r}.")
        n, size, view = whole("n_agents", n_agents, 1), whole("size", size, 2), whole("view", view, 1)
        if whole("n_trees", n_trees, 1) + n > size**2:
            raise ValueError(
                f"{n} agents and {n_trees} trees need a cell each of {size}x{size}: take a larger size or fewer trees."
            )
        obs_dim = 4 + 2 * (2 * view + 1) ** 2
        state_dim = n * obs_dim if state == "concatenated" else 2 * n + size**2 + 1
        limit = whole("episode_limit", episode_limit, 1)
        self.spec = EnvSpec("lumberjacks", n, obs_dim, state_dim, limit, Discrete(5), state_is_obs=state == "concatenated")
        options = dict(faithful=bool(faithful), state=state, n_agents=n, size=size, n_trees=n_trees, view=view)
        super().__init__(num_envs, device, seed, episode_limit=limit, **options)
        self.faithful, self.size, self.n_trees, self.view, self.shuffled = options["faithful"], size, n_trees, view, True
        self.beginning = None
        self.width, self.grid = size + 2 * view, slice(view, size + view)  # of the map with its border, the grid on it
        self._tables()

    def _tables(self) -> None:
        """Everything that depends on a few small numbers only is looked up: one table costs less than three operations.

        Cells are numbered on a map with a border of ``view`` cells on each side, so that no window leaves it. What a cell
        holds is one number: the tree, 0 none, 1..N standing, N+1..2N a stump of strength 1..N, plus ``per_agent`` for
        each agent there.

        ===============  ===============================================================================================
        inside           [size^2] the grid's cells on that map
        next             [cells * 5] where each action leads from each cell
        window           [(2 view + 1)^2] offsets to the cells around
        looks            [contents, 2] (agents / N, strength / N) of a cell with that content, as agents see it
        falls            [contents] bool: is there a tree that falls? ``after``: the tree, or stump, that is there then;
                         ``each``: 1 / k where it falls to k agents, else 0
        own              [N * cells * (limit + 1), 4] what an agent sees of itself and of the time
        ===============  ===============================================================================================
        """
        n, size, limit, view, width = self.spec.n_agents, self.size, self.spec.episode_limit, self.view, self.width
        self.cells, self.per_agent = width**2, 2 * n + 1
        cell = torch.arange(self.cells)
        row, column = cell // width, cell % width
        # ma-gym ends at size - 1 on the map with its border, where the grid's last row and column are size - 1 + view.
        last = size - 1 if self.faithful else size - 1 + view
        moves = torch.tensor(MOVES)
        lead = lambda x, i: (x.unsqueeze(1) + moves[:, i]).clamp(min=view).clamp(max=last)
        side = torch.arange(-view, view + 1)
        content = torch.arange(self.per_agent * (n + 1))
        agents, tree = content // self.per_agent, content % self.per_agent
        falls = (tree >= 1) & (tree <= n) & (agents >= tree)
        own = torch.stack(
            [
                (torch.arange(n) / n).view(n, 1, 1).expand(n, self.cells, limit + 1),
                ((row - view) / (size - 1)).view(1, -1, 1).expand(n, -1, limit + 1),
                ((column - view) / (size - 1)).view(1, -1, 1).expand(n, -1, limit + 1),
                (torch.arange(limit + 1) / limit).expand(n, self.cells, -1),
            ],
            -1,
        )
        tables = {
            "inside": cell[(row >= view) & (row < size + view) & (column >= view) & (column < size + view)],
            "next": (lead(row, 0) * width + lead(column, 1)).flatten(),
            "window": (side.unsqueeze(1) * width + side).flatten(),
            "looks": torch.stack([agents, torch.where(tree <= n, tree, 0)], -1) / n,
            "falls": falls,
            "each": torch.where(falls, 1 / agents, 0.0),
            "after": torch.where(falls, tree + n, tree).int(),
            "own": own.flatten(0, 2),
            "own_row": torch.arange(n) * self.cells,
            "avail": torch.ones(self.num_envs, n, 5, dtype=torch.bool),
            "agents_here": torch.full((self.num_envs, n), self.per_agent, dtype=torch.int32),
        }
        for name, table in tables.items():
            setattr(self, name, table.to(self.device))

    def reset(self, seed: int | None = None, where: Tensor | None = None) -> Observation:
        """Begin episodes, as :meth:`World.reset`."""
        self.shuffled = not self.faithful or seed is not None or self.state is not None
        self.beginning = where if self.device.type == "cpu" else None  # a card is not asked how many: it draws for all
        return super().reset(seed, where)

    def _draw_start(self) -> dict[str, Tensor]:
        """``order`` [B, size^2]: the grid's cells 0..size^2-1 in random order, of which the first N get an agent and the
        next ``n_trees`` a tree; ``strength`` [B, n_trees] in 1..N. On a CPU drawn only for the worlds that begin (zeros
        elsewhere), because this order costs as much as a whole step."""
        b, n, cells = self.num_envs, self.spec.n_agents, self.size**2
        rows = None if self.beginning is None else self.beginning.nonzero().squeeze(1)
        k = b if rows is None else len(rows)
        order = torch.rand(k, cells, generator=self.generator, device=self.device).argsort(1)
        strength = torch.randint(1, n + 1, (k, self.n_trees), generator=self.generator, device=self.device)
        if not self.shuffled:
            order = torch.arange(cells, device=self.device).expand(k, -1)
        if rows is not None:
            order = order.new_zeros(b, cells).index_copy_(0, rows, order)
            strength = strength.new_zeros(b, self.n_trees).index_copy_(0, rows, strength)
        return {"order": order, "strength": strength}

    def _start(self, draws):
        """agents [B,N]: their cells; trees [B,cells]: what grows there; left [B]: trees that still stand."""
        b, n = self.num_envs, self.spec.n_agents
        cells = self.inside.take(draws["order"][:, : n + self.n_trees])
        trees = torch.zeros(b, self.cells, dtype=torch.int32, device=self.device)
        trees.scatter_(1, cells[:, n:], draws["strength"].int())
        left = torch.full((b,), self.n_trees, dtype=torch.int32, device=self.device)
        agents = cells[:, :n].sort(1).values if self.faithful else cells[:, :n]
        return {"agents": agents, "trees": trees, "left": left}

    def _contents(self, agents: Tensor, trees: Tensor) -> Tensor:
        """[B,cells]: agents and trees in one number per cell."""
        return trees.scatter_add(1, agents, self.agents_here)

    def _advance(self, state, actions, draws):
        agents = self.next.take(state["agents"] * 5 + actions)
        here = self._contents(agents, state["trees"]).gather(1, agents).long()  # [B,N] what the cell of this agent holds
        trees = state["trees"].scatter(1, agents, self.after.take(here))
        felled = self.each.take(here).sum(1).round().int()  # k agents on one tree count 1/k each
        left = state["left"] - felled
        paid = felled * self.spec.n_agents if self.faithful else self.falls.take(here).sum(1)
        new = {"agents": agents, "trees": trees, "left": left}
        won = left == 0
        return new, 10.0 * paid - self.spec.n_agents, won, {"felled": felled, "won": won}

    def _observe(self, state):
        b, n, agents = self.num_envs, self.spec.n_agents, state["agents"]
        around = (agents.unsqueeze(2) + self.window).flatten(1)
        seen = self._contents(agents, state["trees"]).gather(1, around)
        own = torch.embedding(self.own, (agents + self.own_row) * (self.spec.episode_limit + 1) + self.clock.unsqueeze(1))
        obs = torch.cat([own, torch.embedding(self.looks, seen).view(b, n, -1)], 2)
        if self.spec.state_is_obs:
            return Observation(obs, obs.flatten(1), self.avail)
        trees = state["trees"].unflatten(1, (self.width, -1))[:, self.grid, self.grid].flatten(1)
        strength = torch.where(trees <= n, trees, 0) / n
        return Observation(obs, torch.cat([own[..., 1:3].flatten(1), strength, own[:, 0, 3:]], 1), self.avail)

    def frame(self, index: int = 0) -> np.ndarray:
        """The clearing seen from above: trees with the number of lumberjacks they need, stumps, lumberjacks by number."""
        if self.state is None:
            raise RuntimeError("Call reset() before frame().")
        cells = self.state["trees"][index].unflatten(0, (self.width, -1))[self.grid, self.grid].cpu().numpy()
        agents = [(x // self.width - self.view, x % self.width - self.view) for x in self.state["agents"][index].tolist()]
        text = f"step {int(self.clock[index])} of {self.spec.episode_limit},  trees left: {int(self.state['left'][index])}"
        return draw_clearing(cells, self.spec.n_agents, agents, text)


LEFT, TOP, CELL = 12, 44, 72  # pixels: where the cells of a picture begin, and how large one is


def draw_clearing(trees: np.ndarray, n: int, agents: list[tuple[int, int]], text: str, cell: int = CELL) -> np.ndarray:
    """``trees`` [rows, columns]: 1..n standing, n+1..2n stumps; ``agents``: (row, column) each."""
    rows, columns = trees.shape
    image, pen = canvas(columns * cell + 24, rows * cell + 56)
    write(pen, (12, 22), text, 16, anchor="lm")
    place = lambda row, column: (LEFT + (column + 0.5) * cell, TOP + (row + 0.5) * cell)
    for (row, column), tree in np.ndenumerate(trees):
        x, y = place(row, column)
        half = cell / 2
        pen.rectangle([x - half, y - half, x + half, y + half], fill=GRASS[(row + column) % 2])
        if 1 <= tree <= n:
            _tree(pen, x, y, cell, int(tree), n)
        elif tree > n:
            _stump(pen, x, y, cell)
    for i, (row, column) in enumerate(agents):
        x, y = place(row, column)
        if agents.count((row, column)) > 1 or 1 <= trees[row, column] <= n:  # not alone: each has a corner of its own
            x, y = x + cell * (-0.3, 0.3)[i % 2], y + cell * (0.3, -0.3)[i // 2 % 2]
        _lumberjack(pen, x, y, cell, i)
    return np.asarray(image)


def _tree(pen, x, y, cell, strength, n):
    """A fir; the stronger, the darker and the taller. The number says how many lumberjacks it needs."""
    share = strength / n
    green = tuple(int(a + (b - a) * share) for a, b in zip((126, 176, 92), (30, 92, 56)))
    pen.rectangle([x - cell * 0.05, y + cell * 0.2, x + cell * 0.05, y + cell * 0.4], fill=BARK)
    for k in range(3):
        top, wide = y - cell * (0.44 - 0.17 * k), cell * (0.17 + 0.06 * k)
        pen.polygon([(x, top), (x - wide, top + cell * 0.32), (x + wide, top + cell * 0.32)], fill=green)
    write(pen, (x, y + cell * 0.04), str(strength), int(cell * 0.26), (255, 255, 255))


def _stump(pen, x, y, cell):
    pen.rectangle([x - cell * 0.11, y + cell * 0.12, x + cell * 0.11, y + cell * 0.3], fill=BARK)
    pen.ellipse([x - cell * 0.11, y + cell * 0.06, x + cell * 0.11, y + cell * 0.18], fill=WOOD, outline=BARK, width=2)


def _lumberjack(pen, x, y, cell, number):
    r, colour = cell * 0.17, COLOURS[number % len(COLOURS)]
    pen.ellipse([x - r, y - r, x + r, y + r], fill=colour, outline=(255, 255, 255), width=3)
    write(pen, (x, y), str(number + 1), int(cell * 0.24), (255, 255, 255))
