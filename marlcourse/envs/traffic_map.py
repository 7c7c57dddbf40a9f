"""The roads of the traffic junction: gates, the twelve ways through it, and tables of what each place on a way means."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

SIZE = 14
GATES = (((7, 0), (0, 1)), ((13, 7), (-1, 0)), ((6, 13), (0, -1)), ((0, 6), (1, 0)))  # cell, heading (rows down, columns right)
ROUTES = ("straight on", "right", "left")
TURN_AFTER = {1: 7, 2: 8}  # a right turn leaves from the 7th cell of the way, a left turn from the 8th
CELLS = [(r, c) for r in range(SIZE) for c in range(SIZE) if r in (6, 7) or c in (6, 7)]  # the 52 cells of the roads
WAITING_CELL = len(CELLS)  # (0, 0), where ma-gym lets cars wait
NOWHERE, UNSEEN = WAITING_CELL + 1, WAITING_CELL + 2  # a cell that is always empty; one that nobody looks at
LONGEST = 16  # numbers kept for one way through the junction: (gate * 3 + route) * LONGEST + cells passed = a car's place
WAIT = len(GATES) * len(ROUTES) * LONGEST  # the place of a car that has not entered


def way(gate: int, route: int) -> list[tuple[int, int]]:
    """The 13 to 15 cells (row, column) from a gate to the edge."""
    (r, c), (dr, dc) = GATES[gate]
    cells = []
    while 0 <= r < SIZE and 0 <= c < SIZE:
        cells.append((r, c))
        if len(cells) == TURN_AFTER.get(route):
            dr, dc = (dc, -dr) if route == 1 else (-dc, dr)
        r, c = r + dr, c + dc
    return cells


@functools.cache
def tables(n: int, faithful: bool) -> dict[str, Tensor]:
    """What a car's place (0..192) means, so that a step only looks things up.

    =======  ==============  ==================================================================================
    on_road  [193]           1 while it is on the road, else 0
    bit      [193]           2 ** (number of its cell) while it is on the road, else 0: a set of cells is a sum
    arrived  [193] bool      at the end of its way
    view     [193, 9]        the 3 x 3 cells around it, row by row; NOWHERE for what it cannot see
    cell     [N * 193]       where others see car i (rows 193 i ...): the number of its cell, or UNSEEN
    row      [N * 193 + 1,   the N + 5 numbers of a cell with car i alone on it; the last row: with nobody
              N + 5]
    ones     [N * 193, 2]    which of them are 1: its own number, its route
    true     [193, 12]       its part of the compact state, without the age
    =======  ==============  ==================================================================================
    """
    t = {
        "on_road": torch.zeros(WAIT + 1, dtype=torch.long),
        "bit": torch.zeros(WAIT + 1, dtype=torch.long),
        "arrived": torch.zeros(WAIT + 1, dtype=torch.bool),
        "view": torch.full((WAIT + 1, 9), NOWHERE),
        "cell": torch.full((n, WAIT + 1), UNSEEN),
        "row": torch.zeros(n * (WAIT + 1) + 1, n + 5),
        "ones": torch.zeros(n, WAIT + 1, 2, dtype=torch.long),
        "true": torch.zeros(WAIT + 1, 12),
    }
    number = {cell: i for i, cell in enumerate(CELLS)} | {(0, 0): WAITING_CELL}
    places = [(gate, route, k, cell) for gate in range(4) for route in range(3) for k, cell in enumerate(way(gate, route))]
    for gate, route, k, (r, c) in [*places, (None, 1, 0, (0, 0))]:
        waits = gate is None
        i = WAIT if waits else (gate * 3 + route) * LONGEST + k
        arrived = not waits and k == len(way(gate, route)) - 1
        on_road = not waits and not arrived
        position = torch.tensor([r, c], dtype=torch.float64).div(SIZE - 1).float()
        t["on_road"][i] = on_road
        t["bit"][i] = 2 ** number[r, c] * on_road
        t["arrived"][i] = arrived
        t["true"][i, [waits, on_road, arrived].index(True)] = 1
        if on_road:
            t["true"][i, [3 + gate, 7 + route]] = 1
            t["true"][i, 10:] = position
        if on_road or faithful:
            around = [(r + dr, c + dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1)]
            t["view"][i] = torch.tensor([number.get(cell, NOWHERE) for cell in around])
        for car in range(n):
            ones = [car, n + 2 + route]
            t["ones"][car, i] = torch.tensor(ones)
            t["row"][car * (WAIT + 1) + i, ones] = 1
            t["row"][car * (WAIT + 1) + i, n : n + 2] = position
            if on_road or (faithful and waits and car == n - 1):
                t["cell"][car, i] = number[r, c]
    return {**t, "cell": t["cell"].flatten(), "ones": t["ones"].flatten(0, 1)}
