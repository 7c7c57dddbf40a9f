"""TrafficJunction (Sukhbaatar et al. 2016, CommNet) as in ma-gym 0.0.14 (Koul 2019) and the GRE paper (section 5.1).

Two two-lane roads cross on a 14 x 14 grid. Each agent is one car for the whole episode: it waits beside the map, enters
at one of four gates with a random route (straight on, right, left; known when it enters), and is taken off the map at
the edge. Actions: 0 gas (one cell along the route), 1 brake. A waiting or arrived car's action has no effect.

Team reward = sum over the cars on the road of -0.01 x (steps since that car entered), and -10 per collision. (ma-gym pays
per car; the team receives the sum, as in EPyMARL's wrapper.) Terminated when all cars have arrived; a time limit truncates.

=================  =============================================  ====================================================
                   default: the game as described                 faithful=True: what ma-gym 0.0.14 does
=================  =============================================  ====================================================
arrivals each      at each free gate with ``arrive_prob``         one car in all with ``arrive_prob``, at a random free
step                                                              gate
first cars         such arrivals, drawn once before step 1        min(4, N) cars, each at a gate of its own
moves              all at once                                    in the order of the cars' numbers: a later car sees an
                                                                  earlier one's new cell
collision          each pair of cars that share a cell after      each car whose next cell is occupied at its turn; it
                   the moves; everybody moves all the same        does not move, so it may collide again
waiting car sees   nothing (zeros)                                car N on the cell (0, 0), with the route "right"
arrived car sees   nothing (zeros)                                the 3 x 3 cells around its destination
=================  =============================================  ====================================================

What the descriptions leave open, decided here: a gate takes a new car only when nobody stands on it (ma-gym does so);
cars enter in the order of their numbers, and no car enters twice ("10 vehicles in total"); which gates they use when fewer
cars wait than gates are free is random; a car that reaches the edge is off the map at once. One thing of ma-gym is not
reproduced: there a waiting car shows the route of the LAST episode, and here no episode depends on the one before.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..config import shown, whole
from ..core import Discrete, EnvSpec, Observation
from .base import World
from .traffic_drawing import Car, draw_traffic
from .traffic_map import GATES, LONGEST, TURN_AFTER, UNSEEN, WAIT, tables, way

GAS, BRAKE = 0, 1


class TrafficJunction(World):
    """N cars at a crossing; obs [B,N,9 * (N+5)].

    Each car sees the 3 x 3 cells around it, row by row. A cell holds N + 5 numbers: the number of the car on it (one-hot
    N), row / 13, column / 13, its route (one-hot 3: straight on, right, left); zeros if nobody is there. Where several
    cars stand on one cell (never with ``faithful``) all their numbers and routes are 1.

    ==============  =============================================================================================
    n_cars          N, 1 to 10
    faithful        reproduce ma-gym 0.0.14 exactly (see the top of this file)
    state           "concatenated" (default): all observations, as in EPyMARL's wrapper. "compact": the true state, 13
                    numbers per car: waiting, on the road, arrived (one-hot 3), gate (one-hot 4), route (one-hot 3),
                    row / 13, column / 13, age / 100; all but the first three are 0 off the road
    arrive_prob     probability of an arrival: see the top of this file (ma-gym: 0.5)
    episode_limit   steps until an episode is truncated (ma-gym: 100)
    ==============  =============================================================================================

    info: ``collisions`` [B] in this step; ``arrived`` [B] cars so far; ``won`` [B] bool: all have arrived, and none ever
    collided. Raises ValueError or TypeError in one sentence for an option that cannot work.
    """

    def __init__(
        self,
        num_envs: int = 1,
        device="auto",
        seed: int = 0,
        n_cars: int = 10,
        faithful: bool = False,
        state: str = "concatenated",
        arrive_prob: float = 0.5,
        episode_limit: int = 100,
    ):
        n = whole("n_cars", n_cars, 1)
        if n > 10:
            raise ValueError(f"n_cars must be at most 10, as in ma-gym, not {n}.")
        if state not in ("concatenated", "compact"):
            raise ValueError(f"state must be 'concatenated' or 'compact', not {shown(state)}.")
        if not isinstance(faithful, bool):
            raise TypeError(f"faithful must be True or False, not {shown(faithful)}.")
        if isinstance(arrive_prob, bool) or not isinstance(arrive_prob, (int, float)) or not 0 <= arrive_prob <= 1:
            raise ValueError(f"arrive_prob must be a probability from 0 to 1, not {shown(arrive_prob)}.")
        self.faithful, self.arrive_prob, self.compact = faithful, float(arrive_prob), state == "compact"
        limit, obs_dim = whole("episode_limit", episode_limit, 1), 9 * (n + 5)
        state_dim = 13 * n if self.compact else n * obs_dim
        name = f"traffic-junction-{n}"
        self.spec = EnvSpec(name, n, obs_dim, state_dim, limit, Discrete(2), state_is_obs=not self.compact)
        options = dict(n_cars=n, faithful=faithful, state=state, arrive_prob=arrive_prob, episode_limit=limit)
        super().__init__(num_envs, device, seed, **options)
        self.table = {k: v.to(self.device) for k, v in tables(n, faithful).items()}
        self.car = torch.arange(n, device=self.device)
        self.car_rows = (WAIT + 1) * self.car
        entrances = slice(0, WAIT, 3 * LONGEST)
        self.gate_bits, self.gate_cells = self.table["bit"][entrances], self.table["cell"][entrances]
        self.numbers = torch.arange(self.num_envs * n, dtype=torch.int32, device=self.device).view(-1, n)  # of all worlds' cars

    _takes_any_rows = True

    def _look_up(self, name: str, place: Tensor) -> Tensor:
        """Rows of a table by place [B,N]."""
        table = self.table[name]
        return table.index_select(0, place.flatten()).view(*place.shape, *table.shape[1:])

    def _draw_start(self) -> dict[str, Tensor]:
        """gate [B,4] in [0,1): gates with small numbers come first; route [B,N] of each car, in 0..2."""
        b, n, g = self.num_envs, self.spec.n_agents, self.generator
        return {
            "gate": torch.rand(b, 4, generator=g, device=self.device),
            "route": torch.randint(3, (b, n), generator=g, device=self.device),
        }

    def _draw_step(self) -> dict[str, Tensor]:
        """gate [B,4] as at the start; faithful: also arrive [B] in [0,1), an arrival where it is below ``arrive_prob``."""
        u = torch.rand(self.num_envs, 5 if self.faithful else 4, generator=self.generator, device=self.device)
        return {"gate": u[:, :4], "arrive": u[:, 4]} if self.faithful else {"gate": u}

    def _start(self, draws):
        b, n = draws["route"].shape
        state = {
            "place": torch.full((b, n), WAIT, device=self.device),
            "age": torch.zeros(b, n, dtype=torch.long, device=self.device),
            "route": draws["route"],
            "collided": torch.zeros(b, n, dtype=torch.bool, device=self.device),  # in the last step
            "crashes": torch.zeros(b, dtype=torch.long, device=self.device),  # so far
            "score": torch.zeros(b, device=self.device),  # return so far, for the picture
        }
        if self.faithful:
            order, count = draws["gate"].argsort(-1), torch.full((b,), 4, device=self.device)
        else:
            order, count = self._arrivals(torch.ones(b, 4, dtype=torch.bool, device=self.device), draws)
        return {**state, "place": self._enter(state, order, count)}

    def _arrivals(self, free: Tensor, draws) -> tuple[Tensor, Tensor]:
        """Gates [B,4] in the order in which they take a car, and how many of them do [B]; free [B,4] bool."""
        u = draws["gate"]
        if self.faithful:
            count = free.any(-1) & (draws["arrive"] < self.arrive_prob)
        else:  # u < p opens a gate, and among the open ones u is still uniform: it also says who comes first
            free = free & (u < self.arrive_prob)
            count = free.sum(-1)
        return torch.where(free, u, 2.0).argsort(-1), count

    def _enter(self, state, order: Tensor, count: Tensor) -> Tensor:
        """Places [B,N] after the next ``count`` [B] cars entered, the k-th one through gate ``order[:, k]``."""
        waiting = state["place"] == WAIT  # always the last numbers
        turn = self.car - (~waiting).sum(-1, keepdim=True)
        enters = waiting & (turn < count.unsqueeze(-1))
        gate = (order * (3 * LONGEST)).gather(-1, turn.clamp(0, 3))  # its first place
        return torch.where(enters, torch.add(gate, state["route"], alpha=LONGEST), state["place"])

    def _advance(self, state, actions, draws):
        on_road = self._look_up("on_road", state["place"])
        gas = torch.where(actions == GAS, on_road, 0)
        place = state["place"] + gas
        if self.faithful:
            here, there = self._look_up("bit", state["place"]), self._look_up("bit", place)
            collided, taken = self._one_by_one(here, there, gas)
            place = torch.where(collided, state["place"], place)
            collisions = collided.sum(-1)
            free = (taken.unsqueeze(-1) & self.gate_bits) == 0
        else:
            cell = self._look_up("cell", place)
            cars = torch.zeros(self.num_envs, UNSEEN + 1, dtype=torch.long, device=self.device)
            cars.scatter_add_(1, cell, torch.ones_like(cell))
            cars[:, UNSEEN] = 1  # there nobody collides
            others = cars.gather(1, cell) - 1
            collided, collisions = others > 0, others.sum(-1) // 2
            free = cars.index_select(1, self.gate_cells) == 0
        age = state["age"] + on_road
        reward = (1000 * collisions + (age * on_road).sum(-1)) / -100  # whole hundredths: exact
        crashes = state["crashes"] + collisions
        new = {**state, "place": place, "age": age, "collided": collided, "crashes": crashes, "score": state["score"] + reward}
        new["place"] = self._enter(new, *self._arrivals(free, draws))
        arrived = self._look_up("arrived", place).sum(-1)
        over = arrived == self.spec.n_agents
        return new, reward, over, {"collisions": collisions, "arrived": arrived, "won": over & (crashes == 0)}

    def _one_by_one(self, here: Tensor, there: Tensor, gas: Tensor) -> tuple[Tensor, Tensor]:
        """Who collides [B,N], and the bits of the cells taken afterwards [B], when cars move in the order of their numbers.

        A loop over N, because a car's move depends on all earlier ones. The 52 cells of the roads are the bits of one
        integer per world, so that a car's turn is four operations on [B].
        """
        taken, hits = here.sum(-1), []
        for want, swap in zip((there * gas).unbind(-1), (here ^ there).unbind(-1), strict=True):
            hit = (taken & want) != 0
            taken = torch.where(hit, taken, taken ^ swap)
            hits.append(hit)
        return torch.stack(hits, -1), taken

    def _observe(self, state):
        place = state["place"]
        b, n = place.shape
        place_of_car = place + self.car_rows
        cell = self._look_up("cell", place_of_car)
        if self.faithful:  # no two cars on a cell
            rows, car = self.table["row"], place_of_car.int()
        else:
            rows = self.table["row"].index_select(0, pad(place_of_car.flatten(), (0, 1), value=len(self.table["row"]) - 1))
            car = self.numbers[:b]
        who = torch.full((b, UNSEEN + 1), len(rows) - 1, dtype=torch.int32, device=self.device)  # the row of each cell
        who.scatter_(1, cell, car)
        if not self.faithful:  # of several cars on a cell one is in ``who``; in its row all of them write
            ones = (who.gather(1, cell) * (n + 5)).unsqueeze(-1) + self._look_up("ones", place_of_car)
            rows.view(-1).index_fill_(0, ones.flatten(), 1.0)
        seen = who.gather(1, self._look_up("view", place).flatten(1))
        obs = rows.index_select(0, seen.flatten()).view(b, n, -1)
        if self.compact:
            true = self._look_up("true", place)
            age = state["age"].unsqueeze(-1) * true[..., 1:2] / 100  # 0 off the road
            whole_state = torch.cat([true, age], -1).flatten(1)
        else:
            whole_state = obs.flatten(1)
        return Observation(obs, whole_state, torch.ones(b, n, 2, dtype=torch.bool, device=self.device))

    def frame(self, index: int = 0) -> np.ndarray:
        """The map from above: cars with their numbers and blinkers, collisions, who waits, who arrived, clock and score."""
        if self.state is None:
            raise RuntimeError("Call reset() before frame().")
        state = {k: v[index].tolist() for k, v in self.state.items()}
        cars, waiting, arrived = [], [], []
        for car, (place, collided) in enumerate(zip(state["place"], state["collided"], strict=True)):
            gate, route, k = place // LONGEST // 3, place // LONGEST % 3, place % LONGEST
            if place == WAIT:
                waiting.append(car)
            elif k == len(cells := way(gate, route)) - 1:
                arrived.append(car)
            else:
                heading = (cells[k][0] - cells[k - 1][0], cells[k][1] - cells[k - 1][1]) if k else GATES[gate][1]
                blinker = {1: 1, 2: -1}.get(route, 0) if k < TURN_AFTER.get(route, 0) else 0
                cars.append(Car(car, cells[k], heading, blinker, collided))
        clock, limit = int(self.clock[index]), self.spec.episode_limit
        return draw_traffic(cars, waiting, arrived, clock, limit, state["score"], state["crashes"])


def look_first(world: TrafficJunction) -> Tensor:
    """Actions [B,N] of a hand rule that knows everything: go only if the next cell is free, else brake.

    Free means that no car stands on it, and that no car with a smaller number is about to enter it. Nobody ever collides,
    but four cars that turn left can block each other until the time runs out.
    """
    bit, place, gas = world.table["bit"], world.state["place"], []
    cells, next_cells = bit[place].unbind(-1), bit[(place + 1).clamp(max=WAIT)].unbind(-1)
    taken = functools.reduce(torch.bitwise_or, cells)
    for here, ahead in zip(cells, next_cells, strict=True):
        go = (here != 0) & ((taken & ahead) == 0)
        taken = taken | torch.where(go, ahead, 0)
        gas.append(go)
    return torch.where(torch.stack(gas, -1), GAS, BRAKE)
