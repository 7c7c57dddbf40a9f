"""``traffic-junction-4`` and ``-10``: the game as described, what differs in ma-gym's version of it, scores, pictures.

That ``faithful=True`` IS ma-gym's game is proved step by step in test_traffic_junction_parity.py.
"""

import itertools

import numpy as np
import pytest
import torch

from marlcourse import check_env, make
from marlcourse.envs.traffic_junction import BRAKE, GAS, TrafficJunction, look_first
from marlcourse.envs.traffic_map import CELLS, GATES, LONGEST, WAIT, way

cpu = dict(device="cpu")


def at(gate, route, k):
    """The place of a car that passed k cells of its way."""
    return (gate * 3 + route) * LONGEST + k


CELL = {at(gate, route, k): c for gate in range(4) for route in range(3) for k, c in enumerate(way(gate, route))}
ENDS = {at(gate, route, len(way(gate, route)) - 1) for gate in range(4) for route in range(3)}


def cell(place):
    return CELL.get(place)


def ended(place):
    return place in ENDS


def on_road(place):
    return place != WAIT and not ended(place)


def put(env, *cars):
    """Place the first cars of world 0; the others have arrived."""
    env.reset(seed=0)
    places = [*cars, *[at(0, 0, 13)] * (env.spec.n_agents - len(cars))]
    env.state = {**env.state, "place": torch.tensor([places])}
    return env


def play(env, policy, seed=0):
    """Whole episodes: returns [B], collisions [B], truncated [B]."""
    generator = torch.Generator().manual_seed(seed)
    env.reset(seed=seed)
    returns, collisions, truncated = 0, 0, 0
    for _ in range(env.spec.episode_limit):
        step = env.step(policy(env, generator))
        returns, collisions = returns + step.reward, collisions + step.info["collisions"]
        truncated = truncated + step.truncated.long()
    return returns, collisions, truncated


def always(action):
    return lambda env, generator: torch.full((env.num_envs, env.spec.n_agents), action)


def at_random(env, generator):
    return torch.randint(2, (env.num_envs, env.spec.n_agents), generator=generator)


def hand_rule(env, generator):
    return look_first(env)


# ---------------------------------------------------------------------- the contract


@pytest.mark.parametrize("faithful,state,n", [*itertools.product([False, True], ["concatenated", "compact"], [1, 4, 10])])
def test_every_combination_of_options_keeps_the_contract(faithful, state, n):
    env = TrafficJunction(2, "cpu", n_cars=n, faithful=faithful, state=state, episode_limit=17, arrive_prob=0.4)
    check_env(env)
    assert env.spec.episode_limit == 17 and env.spec.obs_dim == 9 * (n + 5)
    assert env.spec.state_is_obs == (state == "concatenated")
    assert env.spec.state_dim == (13 * n if state == "compact" else 9 * n * (n + 5))


@pytest.mark.parametrize("n", [4, 10])
def test_the_names(n):
    env = make(f"traffic-junction-{n}", num_envs=2, **cpu)
    assert (env.spec.name, env.spec.n_agents, env.spec.n_actions, env.spec.episode_limit) == (
        f"traffic-junction-{n}",
        n,
        2,
        100,
    )
    assert not env.faithful and make(f"traffic-junction-{n}", faithful=True, **cpu).fresh().faithful


@pytest.mark.parametrize(
    "options,kind,sentence",
    [
        ({"n_cars": 11}, ValueError, "n_cars must be at most 10, as in ma-gym, not 11"),
        ({"n_cars": 0}, ValueError, "n_cars must be at least 1, not 0"),
        ({"state": "short"}, ValueError, "state must be 'concatenated' or 'compact', not 'short'"),
        ({"faithful": "yes"}, TypeError, "faithful must be True or False, not 'yes'"),
        ({"arrive_prob": 1.5}, ValueError, "arrive_prob must be a probability from 0 to 1, not 1.5"),
        ({"arrive_prob": float("nan")}, ValueError, "arrive_prob must be a probability from 0 to 1, not nan"),
        ({"episode_limit": 0}, ValueError, "episode_limit must be at least 1, not 0"),
        ({"grid": 7}, TypeError, "has no option 'grid'"),
    ],
)
def test_bad_options_are_answered_in_one_sentence(options, kind, sentence):
    with pytest.raises(kind, match=sentence):
        make("traffic-junction-10", **cpu, **options)


class Injected(TrafficJunction):
    """Draws from lists."""

    starts, steps = (), ()

    def _draw_start(self):
        return self.starts.pop(0)

    def _draw_step(self):
        return self.steps.pop(0)


@pytest.mark.parametrize("faithful", [False, True])
def test_a_row_of_a_batch_is_the_world_alone(faithful):
    b, t = 5, 40
    source = TrafficJunction(b, "cpu", 3, faithful=faithful)
    start, steps = source._draw_start(), [source._draw_step() for _ in range(t)]
    actions = torch.randint(2, (t, b, 10), generator=torch.Generator().manual_seed(0)) * torch.randint(2, (t, b, 10))

    def run(rows):
        env = Injected(len(rows), "cpu", faithful=faithful)
        env.starts = [{k: v[rows] for k, v in start.items()}]
        env.steps = [{k: v[rows] for k, v in draws.items()} for draws in steps]
        record = [env.reset()]
        for joint in actions:
            step = env.step(joint[rows])
            record.append((*step[:4], *step.info.values()))
        return record

    together = run(list(range(b)))
    for row in range(b):
        for mine, whole in zip(run([row]), together, strict=True):
            flat = lambda x: [*x[0], *x[1:]] if isinstance(x[0], tuple) else [*x]
            assert all(torch.equal(a[0], c[row]) for a, c in zip(flat(mine), flat(whole), strict=True))


# ---------------------------------------------------------------------- the roads


def test_the_ways_keep_to_the_right_and_end_at_an_edge():
    ends = {}
    for gate, route in itertools.product(range(4), range(3)):
        cells = way(gate, route)
        ends[gate, route] = cells[-1]
        assert cells[0] == GATES[gate][0] and len(cells) == {0: 14, 1: 13, 2: 15}[route]
        assert set(cells) <= set(CELLS) and len(set(cells)) == len(cells)
        steps = {(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(cells)}
        assert all(abs(dr) + abs(dc) == 1 for dr, dc in steps) and len(steps) == (1 if route == 0 else 2)
        for (r, c), (down, right) in [(a, (b[0] - a[0], b[1] - a[1])) for a, b in itertools.pairwise(cells)]:
            assert (r if right else c) == {(0, 1): 7, (0, -1): 6, (1, 0): 6, (-1, 0): 7}[down, right]  # on the right side
    # From the west (gate 0): straight on is east, right is south, left is north.
    assert [ends[0, route] for route in range(3)] == [(7, 13), (13, 6), (0, 7)]
    assert len(set(ends.values())) == 4


# ---------------------------------------------------------------------- the game as described (default)


def test_the_described_game_against_a_plain_reading_of_it():
    """Many random steps against a few lines of plain Python that move, count and look, car by car."""
    b, n = 12, 10
    env = TrafficJunction(b, "cpu", 5)
    o = env.reset()
    generator, met = torch.Generator().manual_seed(0), 0
    for t in range(90):
        gas = torch.rand(b, n, generator=generator) < 0.3 + 0.7 * torch.arange(b).unsqueeze(-1) / b
        before, ages, running = env.state["place"].tolist(), env.state["age"].tolist(), env.running.tolist()
        step = env.step(torch.where(gas, GAS, BRAKE))
        after, o = env.state["place"].tolist(), step.observation
        for i in range(b):
            if not running[i]:
                continue
            moved = [p + (on_road(p) and bool(g)) for p, g in zip(before[i], gas[i], strict=True)]
            pairs = sum(on_road(p) and on_road(q) and cell(p) == cell(q) for p, q in itertools.combinations(moved, 2))
            met += pairs
            age = [a + on_road(p) for a, p in zip(ages[i], before[i], strict=True)]
            cost = sum(a for a, p in zip(age, before[i], strict=True) if on_road(p))
            assert step.info["collisions"][i] == pairs
            assert step.reward[i].item() == np.float32(-(1000 * pairs + cost) / 100)
            assert env.state["age"][i].tolist() == age
            taken = {cell(p) for p in moved if on_road(p)}
            entered = [car for car in range(n) if moved[car] == WAIT != after[i][car]]
            assert entered == list(range(n - moved.count(WAIT), n - moved.count(WAIT) + len(entered)))
            gates = [cell(after[i][car]) for car in entered]
            assert len(set(gates)) == len(gates) and not set(gates) & taken and set(gates) <= {g for g, _ in GATES}
            assert all(m == a for car, (m, a) in enumerate(zip(moved, after[i], strict=True)) if car not in entered)
            assert step.terminated[i] == all(ended(p) for p in after[i])
            if t % 6 == 0:
                assert np.array_equal(o.obs[i].numpy(), plain_view(after[i]))
        env.reset(where=step.terminated | step.truncated)
    assert met > 100


def plain_view(places):
    """What each car sees in the described game, written down cell by cell."""
    n = len(places)
    obs = np.zeros((n, 9, n + 5), np.float32)
    for me, p in enumerate(places):
        if not on_road(p):
            continue
        for k, (dr, dc) in enumerate(itertools.product((-1, 0, 1), repeat=2)):
            r, c = cell(p)[0] + dr, cell(p)[1] + dc
            for other, q in enumerate(places):
                if on_road(q) and cell(q) == (r, c):
                    obs[me, k, [other, n + 2 + q // LONGEST % 3]] = 1
                    obs[me, k, n : n + 2] = r / 13, c / 13
    return obs.reshape(n, -1)


def test_as_described_a_collision_changes_nothing_and_in_ma_gym_it_cancels_the_move():
    cross = (at(0, 0, 6), at(1, 0, 5))  # car 1 stands at (7,6) and goes east, car 2 at (8,7) and goes north: both to (7,7)
    for faithful in (False, True):
        env = put(TrafficJunction(1, "cpu", n_cars=4, faithful=faithful, arrive_prob=0.0), *cross)
        step = env.step(torch.zeros(1, 4, dtype=torch.long))
        assert step.info["collisions"].tolist() == [1] and step.reward.item() == np.float32(-10.02)
        assert env.state["place"][0, :2].tolist() == [cross[0] + 1, cross[1] + (not faithful)]
        assert env.state["collided"][0].tolist() == [not faithful, True, False, False]
        seen = step.observation.obs[0, 0].reshape(9, 9)[4]
        assert seen.tolist() == [1, 0 if faithful else 1, 0, 0, np.float32(7 / 13), np.float32(7 / 13), 1, 0, 0]


def test_as_described_a_queue_moves_as_one_and_in_ma_gym_the_order_of_numbers_decides():
    ahead, behind = at(0, 0, 4), at(0, 0, 3)
    for first, second in ((ahead, behind), (behind, ahead)):
        described = put(TrafficJunction(1, "cpu", n_cars=4, arrive_prob=0.0), first, second)
        assert described.step(torch.zeros(1, 4, dtype=torch.long)).info["collisions"].item() == 0
        assert described.state["place"][0, :2].tolist() == [first + 1, second + 1]
        faithful = put(TrafficJunction(1, "cpu", n_cars=4, faithful=True, arrive_prob=0.0), first, second)
        assert faithful.step(torch.zeros(1, 4, dtype=torch.long)).info["collisions"].item() == (first == behind)


def test_three_cars_on_one_cell_are_three_pairs():
    env = put(TrafficJunction(1, "cpu", n_cars=4, arrive_prob=0.0), at(0, 0, 4), at(0, 1, 4), at(0, 2, 4))
    step = env.step(torch.ones(1, 4, dtype=torch.long))
    assert step.info["collisions"].item() == 3 and step.reward.item() == np.float32(-30.03)
    assert step.observation.obs[0, 0].reshape(9, 9)[4, [0, 1, 2, 3, 6, 7, 8]].tolist() == [1, 1, 1, 0, 1, 1, 1]


def test_arrivals_as_described_come_from_each_free_gate_with_its_probability():
    b, p = 4000, 0.3
    env = TrafficJunction(b, "cpu", arrive_prob=p)
    env.reset(seed=1)
    close = lambda share, expected, count: abs(share - expected) < 4 * (expected * (1 - expected) / count) ** 0.5
    gates = env.state["place"] // LONGEST // 3
    for gate in range(4):
        assert close(((gates == gate).any(1)).float().mean(), p, b)  # before the first step already
    both = ((gates == 0).any(1) & (gates == 1).any(1)).float().mean()
    assert close(both, p * p, b)  # independently
    first = gates[:, 0][gates[:, 0] < 4]
    route = (env.state["place"][:, 0] // LONGEST % 3)[gates[:, 0] < 4]
    assert all(close((first == gate).float().mean(), 1 / 4, len(first)) for gate in range(4))
    assert all(close((route == r).float().mean(), 1 / 3, len(route)) for r in range(3))
    env.step(torch.ones(b, 10, dtype=torch.long))  # everybody brakes: taken gates stay taken
    gates = env.state["place"] // LONGEST // 3
    assert all(close(((gates == gate).any(1)).float().mean(), 1 - (1 - p) ** 2, b) for gate in range(4))
    assert ((gates == 0).sum(1) <= 1).all()


def test_arrivals_in_ma_gym_are_four_at_once_and_then_one_at_a_time():
    b = 4000
    env = TrafficJunction(b, "cpu", faithful=True, arrive_prob=0.3)
    env.reset(seed=1)
    entered = lambda: (env.state["place"] != WAIT).sum(1)
    assert (entered() == 4).all() and (env.state["place"][:, :4] % LONGEST == 0).all()
    env.step(torch.ones(b, 10, dtype=torch.long))
    assert (entered() == 4).all()  # all gates are taken
    env.step(torch.zeros(b, 10, dtype=torch.long))
    assert set(entered().tolist()) == {4, 5} and abs((entered() == 5).float().mean() - 0.3) < 0.03
    gate = (env.state["place"][:, 4] // LONGEST // 3)[entered() == 5]
    assert torch.bincount(gate, minlength=4).min() > 0.2 * len(gate)


def test_nobody_comes_where_arrivals_are_impossible():
    env = TrafficJunction(2, "cpu", arrive_prob=0.0, episode_limit=5)
    assert not env.reset().obs.any()
    for t in range(5):
        step = env.step(torch.zeros(2, 10, dtype=torch.long))
        assert not step.reward.any() and step.truncated.all() == (t == 4) and not step.terminated.any()
    sure = TrafficJunction(2, "cpu", arrive_prob=1.0)
    sure.reset()
    assert (sure.state["place"] != WAIT).sum(1).tolist() == [4, 4]


def test_who_is_not_on_the_road_sees_nothing_as_described_and_ma_gyms_leftovers_in_faithful():
    ended_car, waiting_car = at(0, 0, 13), WAIT
    neighbour = at(0, 0, 12)  # one cell before the edge at (7, 13)
    obs = {}
    for faithful in (False, True):
        env = put(TrafficJunction(1, "cpu", n_cars=4, faithful=faithful), neighbour, ended_car, waiting_car, waiting_car)
        obs[faithful] = env._observe(env.state).obs[0].reshape(4, 9, 9)
    assert obs[False][0, 4, 0] == 1 and not obs[False][1:].any()
    assert obs[True][1, 3].tolist() == [1, 0, 0, 0, np.float32(7 / 13), np.float32(12 / 13), 1, 0, 0]
    assert obs[True][2, 4].tolist() == obs[True][3, 4].tolist() == [0, 0, 0, 1, 0, 0, 0, 1, 0]


def test_an_episode_is_won_when_all_arrive_and_nobody_ever_collided():
    last = [at(gate, 0, 12) for gate in range(4)]
    env = put(TrafficJunction(1, "cpu", n_cars=4), *last)
    step = env.step(torch.zeros(1, 4, dtype=torch.long))
    assert step.terminated.item() and step.info["won"].item() and step.info["arrived"].item() == 4
    env = put(TrafficJunction(1, "cpu", n_cars=4), *last[:3], last[0])
    assert env.step(torch.ones(1, 4, dtype=torch.long)).info["collisions"].item() == 1
    step = env.step(torch.zeros(1, 4, dtype=torch.long))
    assert step.terminated.item() and not step.info["won"].item()
    late = put(TrafficJunction(1, "cpu", n_cars=4, episode_limit=1), *last)
    step = late.step(torch.zeros(1, 4, dtype=torch.long))
    assert step.terminated.item() and not step.truncated.item()  # an end, though it falls on the limit


@pytest.mark.parametrize("faithful,state", [(False, "compact"), (True, "concatenated")])
def test_reset_of_some_worlds_leaves_the_others(faithful, state):
    env = TrafficJunction(3, "cpu", faithful=faithful, state=state)
    env.reset(seed=0)
    for _ in range(6):
        o = env.step(torch.zeros(3, 10, dtype=torch.long)).observation
    before = {k: v.clone() for k, v in env.state.items()}
    new = env.reset(where=torch.tensor([False, True, False]))
    for k, v in env.state.items():
        assert torch.equal(v[[0, 2]], before[k][[0, 2]]), k
    assert torch.equal(new.obs[[0, 2]], o.obs[[0, 2]]) and not torch.equal(new.obs[1], o.obs[1])
    assert all(torch.equal(mine, whole) for mine, whole in zip(new, env._observe(env.state), strict=True))
    assert env.state["age"][1].sum() == 0 and env.clock.tolist() == [6, 0, 6] and env.state["score"][1] == 0


def test_the_compact_state_entry_by_entry():
    env = put(
        TrafficJunction(1, "cpu", n_cars=4, state="compact", arrive_prob=0.0), at(2, 1, 3), at(1, 0, 13), at(0, 2, 14), WAIT
    )
    env.state = {**env.state, "age": torch.tensor([[0, 17, 14, 0]])}  # an arrived car's age is no part of the true state
    env.step(torch.ones(1, 4, dtype=torch.long))
    state = env.step(torch.ones(1, 4, dtype=torch.long)).observation.state.reshape(4, 13)
    r, c = way(2, 1)[3]
    assert state[0].tolist() == pytest.approx([0, 1, 0, 0, 0, 1, 0, 0, 1, 0, r / 13, c / 13, 0.02])
    assert state[1].tolist() == state[2].tolist() == [0, 0, 1] + [0] * 10 and state[3].tolist() == [1] + [0] * 12


# ---------------------------------------------------------------------- scores

# ma-gym 0.0.14, TrafficJunction10-v0, 500 games of each rule: mean and its standard error
MEASURED = {"gas": (-2119.3, 172.8), "random": (-862.2, 55.8), "hand rule": (-93.3, 7.8)}
# an earlier measurement: mean, and how many games it was
EARLIER = {"gas": (-3073, 50), "random": (-971, 100), "hand rule": (-73.8, 100)}
RULES = {"gas": always(GAS), "random": at_random, "hand rule": hand_rule}


@pytest.mark.parametrize("name", RULES)
def test_faithful_scores_are_ma_gyms(name):
    returns, collisions, _ = play(TrafficJunction(600, "cpu", faithful=True), RULES[name], seed=1)
    error, (mean, their_error) = returns.std() / 600**0.5, MEASURED[name]
    assert abs(returns.mean() - mean) < 3 * (error**2 + their_error**2) ** 0.5
    mean, games = EARLIER[name]
    assert abs(returns.mean() - mean) < 3 * returns.std() * (1 / 600 + 1 / games) ** 0.5
    assert (collisions.sum() == 0) == (name == "hand rule")


@pytest.mark.parametrize("n", [4, 10])
def test_who_always_brakes_scores_minus_202(n):
    returns, collisions, truncated = play(TrafficJunction(20, "cpu", n_cars=n, faithful=True), always(BRAKE))
    assert returns.tolist() == pytest.approx([-202] * 20, abs=1e-3) and not collisions.any() and truncated.all()
    returns, collisions, truncated = play(TrafficJunction(200, "cpu", n_cars=n), always(BRAKE))  # the gates fill one by one
    assert -202.01 < returns.min() < returns.max() < -150 and not collisions.any() and truncated.all()


def test_in_the_described_game_the_hand_rule_never_collides_and_beats_the_others():
    mean = {}
    for name, rule in {**RULES, "brake": always(BRAKE)}.items():
        returns, collisions, truncated = play(TrafficJunction(300, "cpu"), rule)
        mean[name] = returns.mean().item()
        assert (collisions.sum() == 0) == (name in ("hand rule", "brake"))
        if name == "gas":
            assert not truncated.any()  # a collision does not stop anybody
    assert mean["hand rule"] > mean["gas"] > mean["brake"] > mean["random"]


# ---------------------------------------------------------------------- pictures


def test_pictures():
    env = TrafficJunction(2, "cpu", n_cars=4)
    with pytest.raises(RuntimeError, match=r"Call reset\(\) before frame\(\)"):
        env.frame()
    env = put(TrafficJunction(1, "cpu", n_cars=4, arrive_prob=0.0), at(0, 0, 6), at(1, 2, 5), at(2, 0, 13), WAIT)
    pictures = [env.frame()]
    env.step(torch.ones(1, 4, dtype=torch.long))
    pictures.append(env.frame())
    env.step(torch.zeros(1, 4, dtype=torch.long))
    pictures.append(env.frame())
    assert {p.shape for p in pictures} == {(420, 570, 3)} and len({p.tobytes() for p in pictures}) == 3
    yellow = lambda p: (
        (p[..., 0] > 245) & (abs(p[..., 1].astype(int) - 214) < 8) & (abs(p[..., 2].astype(int) - 90) < 12)
    ).sum()
    assert yellow(pictures[1]) == 0 and yellow(pictures[2]) > 100  # the collision is marked
    blinking = put(env.fresh(), at(0, 1, 3)).frame()
    straight = put(env.fresh(), at(0, 0, 3)).frame()
    turned = put(env.fresh(), at(0, 1, 9)).frame()
    amber = lambda p: ((p[..., 0] > 240) & (abs(p[..., 1].astype(int) - 179) < 8) & (p[..., 2] < 20)).sum()
    assert amber(blinking) > 10 and amber(straight) == amber(turned) == 0
