"""Chapter 04's second null model: at the junction, does a trained QMIX team do better than cars that always do the same?

constant_plays, bar  always brake and always gas, in ma-gym's junction and in the game as described
what_a_step_costs    why braking is so attractive: the price of one wasted step beside that of one collision
habits               what a team does in front of a free cell, and in front of a taken one
committed, answer    the runs (benchmarks/grid_study.py: credit-junction, junction, junction-described), and what they say
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from ..core import Algorithm
from ..envs import make
from ..envs.traffic_junction import BRAKE, GAS, TrafficJunction, look_first
from ..seeds import make_generator
from .credit_study import FEWEST, Runs
from .data import load_dataset

SETTINGS = {  # what the runs are called -> what is told of them
    "QMIX": "published: PyMARL's settings, GRU, all observations as the state",
    "QMIX far-sighted": "GRU, TD(.9), targets renewed ten times as often, batches of 16, epsilon at .05 after 20,000 steps, "
    "compact state",
    "QMIX recent": "as far-sighted, with gamma .95 and a replay of the last 500 episodes alone",
}
WORLDS = {"junction": {"faithful": True}, "described": {}}  # ma-gym's junction; the game as described
FILES = {  # world -> file -> the settings that are read from it
    "junction": {"grid_credit_junction.csv": ("QMIX",), "grid_junction.csv": tuple(SETTINGS)[1:]},
    "described": {"grid_junction_described.csv": ("QMIX far-sighted",)},
}
MARGIN = 10.0  # above the bar by less is no lead: about a tenth of what the hand rule gains over always-brake
ENOUGH = (3, 5)  # settings and seeds of each before "it does not" is an answer


def cell_ahead(world: TrafficJunction) -> tuple[Tensor, Tensor]:
    """Of every car [B,N]: is it on the road and the next cell of its way free, on the road and that cell taken?"""
    bit, place = world.table["bit"], world.state["place"]
    here, ahead = bit[place], bit[(place + 1).clamp(max=len(bit) - 1)]
    taken = (here.sum(-1, keepdim=True) & ahead) != 0
    return (here != 0) & ~taken, (here != 0) & taken


def play(choose, worlds: int = 64, seed: int = 0, world: str = "junction") -> dict[str, float]:
    """One episode in each of so many junctions (``world``: a key of ``WORLDS``). ``choose(world, observation)`` -> actions
    [B,N].

    return_mean; gas_if_free, gas_if_taken (shares of the decisions before a free and a taken cell); crash_if_free,
    crash_if_taken (shares of those moves that collide; NaN where there was none).
    """
    env = make("traffic-junction-10", num_envs=worlds, device="cpu", seed=seed, state="compact", **WORLDS[world])
    observation, total, counts = env.reset(seed=seed), torch.zeros(worlds), torch.zeros(2, 3, dtype=torch.long)
    for _ in range(env.spec.episode_limit):
        ahead, actions = torch.stack(cell_ahead(env)), choose(env, observation)
        step = env.step(actions)
        gas = ahead & (actions == GAS)
        counts += torch.stack([ahead, gas, gas & env.state["collided"]], 1).sum((-2, -1))  # [2,3]: free, taken
        observation, total = step.observation, total + step.reward
    (free, go, hit), (taken, push, bump) = counts.tolist()
    share = lambda part, whole: part / whole if whole else float("nan")
    return {
        "return_mean": float(total.mean()),
        "gas_if_free": share(go, free),
        "crash_if_free": share(hit, go),
        "gas_if_taken": share(push, taken),
        "crash_if_taken": share(bump, push),
    }


def always(action: int):
    """``choose`` for :func:`play`: every car plays this action all the time."""
    return lambda world, observation: torch.full_like(world.state["place"], action)


@functools.cache
def constant_plays(world: str = "junction", worlds: int = 256) -> dict[str, float]:
    """The mean returns of plays that need no learning: always brake, always gas; and of the hand rule ``look_first``."""
    plays = {"always brake": always(BRAKE), "always gas": always(GAS), "hand rule": noisy_rule(0.0)}
    return {name: play(choose, worlds, world=world)["return_mean"] for name, choose in plays.items()}


def bar(world: str = "junction") -> float:
    """The return of the better constant play: always brake (-202) in ma-gym's junction, always gas as described."""
    plays = constant_plays(world)
    return max(plays["always brake"], plays["always gas"])


def noisy_rule(noise: float, seed: int = 0):
    """``choose`` for :func:`play`: the hand rule ``look_first``, each car's action a coin's with probability ``noise``."""
    generator = make_generator("cpu", seed, "noise")

    def choose(world, observation):
        rule = look_first(world)
        coin = torch.randint(2, rule.shape, generator=generator)
        return torch.where(torch.rand(rule.shape, generator=generator) < noise, coin, rule)

    return choose


def what_a_step_costs(noises=(0.0, 0.1, 0.5, 1.0), worlds: int = 64):
    """The hand rule with growing noise (1: random play): a DataFrame of :func:`play`'s figures, one row each."""
    import pandas as pd

    return pd.DataFrame([{"noise": noise, **play(noisy_rule(noise), worlds)} for noise in noises])


def habits(team: Algorithm, worlds: int = 64, seed: int = 0, world: str = "junction") -> dict[str, float]:
    """:func:`play` with a QMIX team that acts greedily (its agents see the same, whatever state its mixer was given)."""
    carry = [team.initial_carry(worlds)]
    generator = make_generator("cpu", seed, "unused")  # greedy play draws nothing

    def choose(world, observation):
        with torch.no_grad():
            action = team.act(observation, carry[0], False, generator)
        carry[0] = action.carry
        return action.actions

    return play(choose, worlds, seed, world)


def committed(world: str = "junction") -> Runs:
    """The runs of a world's settings, as far as they are in datasets/ (an empty table where none is)."""
    import pandas as pd

    tables = [pd.DataFrame(columns=["algorithm", "seed", "env_steps", "return_mean"])]
    for name, wanted in FILES[world].items():
        try:
            table = load_dataset(name)
        except FileNotFoundError:
            continue
        tables.append(table[table["algorithm"].isin(wanted)])
    return Runs(world, pd.concat([t for t in tables if len(t)] or tables), pd.DataFrame(columns=["algorithm", "seed"]))


def table(runs: Runs):
    """A DataFrame, a row per setting that has runs: seeds, steps, return at the end (median, worst and best seed), and
    ``lead``: how many seeds end above the better constant play by ``MARGIN`` or more."""
    import pandas as pd

    rows = []
    for name in filter(runs.has, SETTINGS):
        end = runs.returns(name)
        row = {"setting": name, "seeds": len(end), "steps": runs.steps(name), "median": np.median(end).round(1)}
        row |= {"worst": end.min().round(1), "best": end.max().round(1)}
        rows.append({**row, "lead": int((end > bar(runs.world) + MARGIN).sum())})
    return pd.DataFrame(rows, columns=["setting", "seeds", "steps", "median", "worst", "best", "lead"])


def answer(runs: Runs) -> dict | None:
    """Claim H: in some setting every seed ends above the better constant play, by ``MARGIN``. None without runs.

    answer: "confirmed" (a setting with five seeds or more has all of them above), "refuted" (three settings with five seeds
    or more, the published one among them, and none has all above) or "not decided", with ``why``.
    """
    found = table(runs)
    if not len(found):
        return None
    full = found[found["seeds"] >= ENOUGH[1]]
    if (full["lead"] == full["seeds"]).any():
        return {"answer": "confirmed", "why": ""}
    if len(full) >= ENOUGH[0] and "QMIX" in set(full["setting"]):
        return {"answer": "refuted", "why": ""}
    return {"answer": "not decided", "why": f"{len(full)} of {ENOUGH[0]} settings have {ENOUGH[1]} seeds so far"}


TOLD = {  # world -> (the claim, what was played, the study's command)
    "junction": (
        "QMIX already solves TrafficJunction10 with a high return: it beats cars that always brake",
        "traffic-junction-10, faithful to ma-gym 0.0.14",
        "python benchmarks/grid_study.py run credit-junction --learners QMIX; python benchmarks/grid_study.py run junction",
    ),
    "described": (
        "QMIX already solves TrafficJunction10 with a high return: in the game as the paper describes it, it beats cars that "
        "always do the same",
        "traffic-junction-10, the game as described",
        "python benchmarks/grid_study.py run junction-described",
    ),
}


def ledger_row(runs: Runs) -> list[dict]:
    """The row of the paper's remark that QMIX solves the grid worlds, for a junction.

    None before a setting has ``FEWEST`` seeds, and none while claim H is undecided and no setting has its five seeds; an
    undecided claim with five seeds of a setting is "partly", and the row says so.
    """
    found, verdict = table(runs), answer(runs)
    found = found[found["seeds"] >= FEWEST]
    undecided = verdict is not None and verdict["answer"] not in ("confirmed", "refuted")
    if not len(found) or (undecided and found["seeds"].max() < ENOUGH[1]):
        return []
    best = runs.returns(max(found["setting"], key=lambda name: np.median(runs.returns(name))))
    settings = "; ".join(f"{r.setting}: {r.seeds} seeds x {r.steps:,} steps, median {r.median:g}" for r in found.itertuples())
    low, high = (float(x) for x in (best.min(), best.max()))
    claim, played, command = TOLD[runs.world]
    metric = "claim 4.H not decided; " if undecided else "return, best setting: "  # what the figure has room for
    metric += f"median, range over seeds; better constant play {bar(runs.world):.0f}"
    return [
        {
            "claim": claim,
            "paper": "Zhao et al. 2022 (QMIX-GRE)",
            "where": "Section 5.3",
            "published": "",
            "ran": f"{played}, 8 worlds; greedy return over the last fifth. {settings}",
            "seeds": len(best),
            "metric": metric,
            "ours": f"{np.median(best):.4g}",
            "low": f"{low:.4g}",
            "high": f"{high:.4g}",
            "verdict": {"confirmed": "reproduced", "refuted": "not reproduced"}.get(verdict["answer"], "partly"),
            "command": command,
            "chapter": "04",
        }
    ]
