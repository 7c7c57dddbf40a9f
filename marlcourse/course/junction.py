"""The experiment of chapter 01: thousands of starts of the one-step junction at once, with the library's own losses.

The four joint actions are the whole world, so a data distribution is four weights. They stand in the batch's ``mask``,
which every loss uses to weigh rows: equal weights are uniform data, the policy's own probabilities are exact on-policy
data, counts of drawn joint actions are samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..algorithms.coma import COMA
from ..algorithms.coma_released import COMAReleased
from ..algorithms.lica import LICA
from ..core import EpisodeBatch, suggest
from ..ensemble import Ensemble
from ..envs.junction import Junction
from ..nets.small import PassCounterfactualCritic, PassCritic, SigmoidAgent

JOINT_ACTIONS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])  # of car 1 and car 2; 0 waits, 1 passes
OUTCOMES = ("both wait", "only car 2 passes", "only car 1 passes", "both pass")


def every_joint_action() -> EpisodeBatch:
    """Four rows of one step: each joint action of the junction, played once by the world itself."""
    world = Junction(num_envs=4, device="cpu")
    before = world.reset(seed=0)
    step = world.step(JOINT_ACTIONS)
    both = [torch.stack([a, b], 1) for a, b in zip(before, step.observation)]
    column = step.reward.unsqueeze(1)
    return EpisodeBatch(
        *both, JOINT_ACTIONS.unsqueeze(1), column, step.terminated.unsqueeze(1), step.truncated.unsqueeze(1),
        mask=torch.ones_like(column), length=torch.ones(4, dtype=torch.long),
    )  # fmt: skip


def joint_probabilities(p: Tensor) -> Tensor:
    """P(pass) of each car [...,2] -> probability of each of the four joint actions [...,4]."""
    played = JOINT_ACTIONS.to(p.dtype)
    return (played * p.unsqueeze(-2) + (1 - played) * (1 - p.unsqueeze(-2))).prod(-1)


def expected_return(p: Tensor) -> Tensor:
    """J = p1 (1 - p2) + p2 (1 - p1): P(pass) [...,2] -> [...]."""
    return p[..., 0] * (1 - p[..., 1]) + p[..., 1] * (1 - p[..., 0])


@dataclass
class JunctionResult:
    """``p`` [steps+1,M,2]: each start's P(pass) before training and after every policy step; ``seeds``: of the M starts."""

    name: str
    p: Tensor
    seeds: Sequence[int] = ()

    def rounded(self, step: int = -1) -> Tensor:
        """Number [M] of each start's most probable joint action, 0..3 in the order of :data:`OUTCOMES`."""
        up = (self.p[step] > 0.5).long()
        return 2 * up[:, 0] + up[:, 1]

    def shares(self, step: int = -1) -> dict[str, float]:
        """Share of the starts in each of the four outcomes, policies rounded to their most probable action."""
        counts = torch.bincount(self.rounded(step), minlength=4)
        return dict(zip(OUTCOMES, (counts / counts.sum()).tolist()))

    def outcome(self, step: int = -1) -> dict[str, float]:
        """:meth:`shares`, and: share at an optimum, share with J > .9, mean J, mean entropy of a car's policy / ln 2."""
        p, shares = self.p[step], self.shares(step)
        entropy = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)) / math.log(2)
        return {
            **shares,
            "rounds to an optimum": shares["only car 2 passes"] + shares["only car 1 passes"],
            "J > .9": float((expected_return(p) > 0.9).float().mean()),
            "mean J": float(expected_return(p).mean()),
            "policy entropy": float(entropy.mean()),
        }

    def curve(self, metric: str) -> list[float]:
        """One figure of :meth:`outcome` at every policy step, 0 first."""
        return [self.outcome(step)[metric] for step in range(len(self.p))]


# name: (algorithm, critic, how the policy step's data are drawn)
LEARNERS: dict[str, tuple[type, type, str]] = {
    "LICA": (LICA, PassCritic, "every joint action"),
    "COMA (on-policy)": (COMA, PassCounterfactualCritic, "on-policy"),
    "COMA (on-policy, 16 samples)": (COMA, PassCounterfactualCritic, "samples"),
    "COMA (uniform data)": (COMA, PassCounterfactualCritic, "every joint action"),
    "COMA (as released)": (COMAReleased, PassCounterfactualCritic, "released"),
}


DATA = ("every joint action", "on-policy", "samples", "released")


def draw_weights(data: str | float | Tensor, p: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Weights of the four joint actions [M,4] for policies p [M,2].

    ``"every joint action"``: equal. ``"on-policy"``: the joint policy itself, the exact expectation. A number k in [0, 1],
    or one for each policy [M]: between the two, (1 - k) uniform + k on-policy. ``"samples"``: 16 joint actions drawn from
    the joint policy. ``"released"``: each joint action four times, one of the 16 rows dropped at random, as LICA's
    release does.
    """
    uniform = torch.full((len(p), 4), 0.25)
    if data == "every joint action":
        return uniform
    if data == "on-policy":
        return joint_probabilities(p)
    if data == "samples":
        drawn = torch.multinomial(joint_probabilities(p), 16, replacement=True, generator=generator)
        return torch.nn.functional.one_hot(drawn, 4).sum(1).to(p.dtype)
    if data == "released":
        dropped = torch.randint(4, (len(p),), generator=generator)
        return 4.0 - torch.nn.functional.one_hot(dropped, 4).to(p.dtype)
    if isinstance(data, str):
        raise ValueError(f"Unknown data {data!r}: {suggest(data, DATA)}")
    k = torch.as_tensor(data, dtype=p.dtype).reshape(-1, 1)
    return (1 - k) * uniform + k * joint_probabilities(p)


def _members(name: str, seeds: Sequence[int]) -> Ensemble:
    """One learner of :data:`LEARNERS`, once for each seed, with the settings of LICA's release."""
    kind, critic, _ = LEARNERS[name]
    world, config = Junction(device="cpu"), kind.Config.preset("junction")
    return Ensemble(lambda s: kind(world.spec, config, seed=s, device="cpu", actor=SigmoidAgent, critic=critic), seeds)


@dataclass
class FittedCritics:
    """``weights`` {name: [steps,M,...]}: the critics of M starts as each policy step meets them; ``row``: {seed: 0..M-1}."""

    weights: dict[str, Tensor]
    row: dict[int, int]


def fit_critics(starts: int | Sequence[int] = 1000, steps: int = 60, progress: bool = False) -> FittedCritics:
    """The critics of every learner that fits the four joint actions equally: they look at no policy, so train them once.

    All but the sampled learner meet the same critic (the same 2-32-1 network, seed, rows and rates; LICA's and COMA's losses
    are equal in a game of one step). Pass the result to :func:`junction_study` or :func:`data_sweep` as ``critics``.
    """
    seeds, rows = range(starts) if isinstance(starts, int) else starts, every_joint_action()
    members = _members("LICA", seeds)
    names = [name for name in members.params if name.startswith("critic.")]
    path = []
    for _ in tqdm(range(steps), desc="critics", unit="step", leave=False, disable=not progress):
        for _ in range(members.base.config.critic_updates):
            members.step("critic", "critic_loss", rows)
        path.append({name.removeprefix("critic."): members.params[name].detach().clone() for name in names})
    weights = {name: torch.stack([step[name] for step in path]) for name in path[0]} if path else {}
    return FittedCritics(weights, {seed: m for m, seed in enumerate(seeds)})


def junction_study(
    name: str,
    starts: int | Sequence[int] = 1000,
    steps: int = 60,
    data: str | float | Tensor | None = None,
    seed: int = 0,
    progress: bool = False,
    critics: FittedCritics | None = None,
) -> JunctionResult:
    """Train ``starts`` initialisations of one learner at once: ``steps`` policy steps, five critic steps before each.

    Settings and sizes are those of LICA's release (policy 1-32-1 at 1e-2, critic 2-32-1 at 2e-2, Adam). The critic is
    fitted to all four joint actions, or to the samples where the policy learns from samples. ``data`` replaces the
    learner's own data distribution (see :func:`draw_weights`). ``starts``: how many, or their seeds; equal seeds give equal
    policies and critics whatever the learner. ``seed`` is that of the data drawn. ``critics``: from :func:`fit_critics`, for
    these seeds and at least these steps; it saves training them again, and changes nothing else. A learner from samples
    trains its own all the same. Raises ValueError for an unknown learner, unknown data, or critics that do not cover the run.
    """
    if name not in LEARNERS:
        raise ValueError(f"Unknown learner {name!r}: {suggest(name, LEARNERS)}")
    data = LEARNERS[name][2] if data is None else data
    seeds, rows = list(range(starts) if isinstance(starts, int) else starts), every_joint_action()
    if critics and (steps > len(next(iter(critics.weights.values()), ())) or not critics.row.keys() >= set(seeds)):
        raise ValueError("critics does not cover this run: make it with fit_critics(starts, steps) for the same numbers.")
    sampled = isinstance(data, str) and data == "samples"
    places = torch.tensor([critics.row[s] for s in seeds]) if critics else None
    members = _members(name, seeds)
    generator = torch.Generator().manual_seed(seed)

    def pass_probability() -> Tensor:
        with torch.no_grad():
            return members.call("policies", rows[:1])[:, 0, 0, :, 1]  # one row is enough: a car sees its number only

    def critic_steps(step: int, weights: Tensor) -> None:
        if critics and not sampled:
            for short, weight in critics.weights.items():
                full = next(n for n in members.params if n.startswith("critic.") and n.endswith(short))
                members.params[full] = weight[step, places]
            return
        for _ in range(members.base.config.critic_updates):
            members.step("critic", "critic_loss", rows, per_member={"mask": weights} if sampled else {})

    path = [pass_probability()]
    for step in tqdm(range(steps), desc=name, unit="step", leave=False, disable=not progress):
        weights = draw_weights(data, path[-1], generator).unsqueeze(-1)  # [M,4,1]
        critic_steps(step, weights)
        members.step("actor", "actor_loss", rows, per_member={"mask": weights})
        path.append(pass_probability())
    return JunctionResult(name, torch.stack(path), seeds)


def data_sweep(
    mixes: Sequence[float], starts: int = 100, name: str = "COMA (on-policy)", **options
) -> dict[float, JunctionResult]:
    """The same ``starts`` initialisations under each mix of data, from 0 (uniform) to 1 (on-policy): {mix: result}.

    One run: each member of the ensemble has a mix of its own.
    """
    data = torch.tensor(mixes).repeat_interleave(starts)
    together = junction_study(name, list(range(starts)) * len(mixes), data=data, **options)
    parts = zip(mixes, together.p.split(starts, dim=1))
    return {k: JunctionResult(f"{name}, {k:.0%} on-policy", p, range(starts)) for k, p in parts}


def score_gradient(p: Tensor, weights: Tensor, signal: Tensor) -> Tensor:
    """Sum over joint actions u of weight(u) * d log pi_i(u_i) / d logit_i * signal_i(u): p [...,2] -> [...,2].

    weights [...,4]; signal [...,4,2]. The score of a car that passes with probability p = sigmoid(logit) is u - p.
    """
    score = JOINT_ACTIONS - p.unsqueeze(-2)  # [...,4,2]
    return (weights.unsqueeze(-1) * score * signal).sum(-2)


RULES = ("reward", "COMA", "as released")


def mean_update(p: Tensor, weights: Tensor, rule: str = "COMA") -> Tensor:
    """Mean direction [...,2] in which an actor's loss moves the two logits, for a critic that knows the true rewards.

    p [...,2]; weights [...,4] of the joint actions. ``rule``: "reward" (score times reward), "COMA" (score times
    counterfactual advantage) or "as released" (the score of PASSING times what flipping the own action would cost).
    """
    reward = torch.tensor([0.0, 1.0, 1.0, 0.0]).unsqueeze(-1).expand(4, 2)
    flipped = 1 - reward  # in this game, flipping one car's action turns 0 into 1 and 1 into 0
    if rule == "reward":
        return score_gradient(p, weights, reward)
    if rule == "COMA":
        own = torch.where(JOINT_ACTIONS == 1, p.unsqueeze(-2), 1 - p.unsqueeze(-2))  # probability of the own action
        return score_gradient(p, weights, reward - own * reward - (1 - own) * flipped)
    if rule == "as released":
        return (weights.unsqueeze(-1) * (1 - p).unsqueeze(-2) * (reward - flipped)).sum(-2)
    raise ValueError(f"Unknown rule {rule!r}: {suggest(rule, RULES)}")
