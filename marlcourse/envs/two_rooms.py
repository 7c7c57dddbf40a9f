"""Two rooms: a recall task that a team without memory cannot play well, however good its mixer is.

Two agents stand in room one, each under a lamp of its own: one of ``doors`` colours, each equally likely, independent of
the other's. The lamps go out after the first step. The agents walk down a corridor, where nothing is to be decided, and
in room two each opens one door. The team earns 1 if both doors have the colours of their lamps, else 0.

The state names both colours at every step, so a mixer always knows them; an agent sees its lamp in the first observation
only, and all later ones are the same for every colour. What can be earned, exactly:

* the optimum is 1: remember, then open that door;
* without memory 1 / doors^2 at best: in room two an agent's choice cannot depend on its lamp, so each is right with
  probability 1 / doors, whatever it does and whatever the two agree on. (A memoryless agent may see its last action, too:
  only "walk" is allowed before room two, so neither that action nor the place can carry the colour.) Random play earns
  the same.

A task of marlcourse, after the T-maze (Bakker 2001), made cooperative and as short as possible.
"""

from __future__ import annotations

import numpy as np
import torch

from ..config import whole
from ..core import Discrete, EnvSpec, Observation
from .base import World
from .drawing import BLUE, GREEN, GRID, INK, ORANGE, PAPER, RED, canvas, write

WALK = 0  # action 1 + d opens door d
COLOURS = ((200, 60, 50), (232, 184, 48), (44, 140, 60), (120, 80, 160), (90, 170, 200), (150, 105, 70))


class TwoRooms(World):
    """``doors``: colours of lamps and doors, 2 to 6; ``corridor``: steps between the rooms, at least 1.

    Places: 0 room one, 1..corridor, corridor + 1 room two; an episode has corridor + 2 steps. Actions: 0 walk (the only
    one available before room two), 1..doors open that door (the only ones there). obs [B, 2, doors + corridor + 2]: the
    lamp's colour one-hot (zeros once it is out), the place one-hot. state [B, 2 doors + corridor + 2]: the colours of
    both lamps, lit or not, and the place. info: ``won`` [B], both doors were right. Raises ValueError for a bad option.
    """

    _masks_actions = True

    def __init__(self, num_envs: int = 1, device="auto", seed: int = 0, doors: int = 3, corridor: int = 4):
        if not 2 <= whole("doors", doors) <= len(COLOURS):
            raise ValueError(f"doors must be from 2 to {len(COLOURS)}, not {doors}.")
        places = whole("corridor", corridor, 1) + 2
        self.spec = EnvSpec("two-rooms", 2, doors + places, 2 * doors + places, places, Discrete(1 + doors))
        self.doors, self.places = doors, places
        super().__init__(num_envs, device, seed, doors=doors, corridor=corridor)
        self.colour = torch.eye(doors, device=self.device)
        self.place = torch.eye(places, device=self.device)
        self.avail = torch.zeros(places, 2, 1 + doors, dtype=torch.bool, device=self.device)
        self.avail[:-1, :, WALK] = True
        self.avail[-1, :, 1:] = True

    @property
    def best_without_memory(self) -> float:
        """The largest expected return of a team whose agents see the present only; the optimum is 1."""
        return 1 / self.doors**2

    def _draw_start(self):
        """``lamp`` [B,2]: the colours, 0..doors-1."""
        return {"lamp": torch.randint(self.doors, (self.num_envs, 2), generator=self.generator, device=self.device)}

    def _start(self, draws):
        lamp = draws["lamp"]
        return {"lamp": lamp, "place": torch.zeros_like(lamp[:, 0]), "opened": torch.full_like(lamp, -1)}

    def _advance(self, state, actions, draws):
        over = state["place"] == self.places - 1
        won = over & (actions - 1 == state["lamp"]).all(1)
        new = {"lamp": state["lamp"], "place": (state["place"] + 1).clamp(max=self.places - 1)}
        new["opened"] = torch.where(over.unsqueeze(1), actions - 1, -1)
        return new, won.float(), over, {"won": won}

    def _observe(self, state):
        lamps, place = self.colour[state["lamp"]], self.place[state["place"]]
        lit = (state["place"] == 0).view(-1, 1, 1)
        obs = torch.cat([lamps * lit, place.unsqueeze(1).expand(-1, 2, -1)], 2)
        return Observation(obs, torch.cat([lamps.flatten(1), place], 1), self.avail[state["place"]])

    def frame(self, index: int = 0) -> np.ndarray:
        """Both rooms from above, each agent in its lane; a lamp that is out still shows the viewer its colour as a ring."""
        if self.state is None:
            raise RuntimeError("Call reset() before frame().")
        lamp, place, opened = (self.state[k][index].tolist() for k in ("lamp", "place", "opened"))
        return draw_rooms(lamp, place, opened, self.doors, self.places)


def draw_rooms(lamp: list[int], place: int, opened: list[int], doors: int, places: int) -> np.ndarray:
    """``lamp``, ``opened``: a colour for each agent (opened -1: not yet); ``place`` 0..places-1."""
    room, cell, door, top = 112, 62, 40, 52
    lane = doors * door + 16
    start, end = 12 + room, 12 + room + (places - 2) * cell  # of the corridor
    image, pen = canvas(end + room + 70, top + 2 * lane + 16)
    over = opened[0] >= 0
    right = [a == b for a, b in zip(lamp, opened)]
    text = "both doors are right: 1" if all(right) else "a wrong door: 0" if over else f"step {place} of {places}"
    write(pen, (12, 20), text, 16, (GREEN if all(right) else RED) if over else INK, "lm")
    write(pen, (12 + room / 2, top - 10), "room one", 13)
    write(pen, ((start + end) / 2, top - 10), "corridor", 13)
    write(pen, (end + room / 2, top - 10), "room two", 13)
    for i, colour in enumerate((BLUE, ORANGE)):
        y0, y1 = top + i * (lane + 6), top + i * (lane + 6) + lane
        middle = (y0 + y1) / 2
        floor = (236, 232, 222)
        pen.rectangle([start - 2, middle - 26, end + 2, middle + 26], fill=floor)
        for x in (12, end):
            pen.rectangle([x, y0, x + room, y1], fill=floor, outline=GRID, width=3)
        for x in (start, end):
            pen.rectangle([x - 4, middle - 24, x + 4, middle + 24], fill=floor)
        for x in range(start, end + 1, cell):
            pen.line([x, middle - 24, x, middle + 24], fill=GRID)
        lit, shade = place == 0, COLOURS[lamp[i]]
        x, y = 12 + room / 2, y0 + 24
        if lit:
            glow = tuple(int(f + (c - f) * 0.35) for f, c in zip(floor, shade))
            pen.polygon([(x, y), (x - 46, y1 - 4), (x + 46, y1 - 4)], fill=glow)
        pen.ellipse([x - 15, y - 15, x + 15, y + 15], fill=shade if lit else PAPER, outline=shade, width=3)
        write(pen, (x, y), str(lamp[i] + 1), 15, (255, 255, 255) if lit else GRID)
        for d in range(doors):
            yd, open_ = y0 + 8 + d * door, opened[i] == d
            box = [end + room - 6, yd + 3, end + room + (34 if open_ else 10), yd + door - 3]
            pen.rectangle(box, fill=COLOURS[d], outline=INK if open_ else COLOURS[d], width=2)
            write(pen, (end + room - 18, yd + door / 2), str(d + 1), 14)
            if open_:
                write(pen, (end + room + 52, yd + door / 2), "yes" if right[i] else "no", 15, GREEN if right[i] else RED)
        x = 12 + room / 2 if place == 0 else start + (place - 0.5) * cell if place < places - 1 else end + room * 0.35
        y = (y0 + 8 + (opened[i] + 0.5) * door) if over else y1 - 32 if place == 0 else middle
        x += room * 0.22 * over
        pen.ellipse([x - 17, y - 17, x + 17, y + 17], fill=colour, outline=(255, 255, 255), width=3)
        write(pen, (x, y), str(i + 1), 17, (255, 255, 255))
    return np.asarray(image)
