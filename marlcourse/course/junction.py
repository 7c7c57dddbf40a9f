"""The experiment of chapter 01: thousands of starts of the one-step junction at once, with the library's own losses.

The four joint actions are the whole world, so a data distribution is four weights. They stand in the batch's ``mask``,
which every loss uses to weigh rows: equal weights are uniform data, the policy's own probabilities are exact on-policy
data, counts of drawn joint actions are samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..algorithms.coma import COMA
from ..algorithms.coma_released import COMAReleased
from ..algorithms.lica import LICA
from ..core import EpisodeBatch
from ..ensemble import Ensemble
from ..envs.junction import Junction
from ..nets.small import PassCounterfactualCritic, PassCritic, SigmoidAgent

JOINT_ACTIONS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])  # wait wait, wait pass, pass wait, pass pass


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
    """``p`` [steps+1,M,2]: each start's P(pass) before training and after every policy step."""

    name: str
    p: Tensor

    def outcome(self, step: int = -1) -> dict[str, float]:
        """Shares of the four rounded outcomes, of J > .9, and the mean J."""
        p = self.p[step]
        up = p > 0.5
        return {
            "both wait": float((~up[:, 0] & ~up[:, 1]).float().mean()),
            "only car 2 passes": float((~up[:, 0] & up[:, 1]).float().mean()),
            "only car 1 passes": float((up[:, 0] & ~up[:, 1]).float().mean()),
            "both pass": float((up[:, 0] & up[:, 1]).float().mean()),
            "rounds to an optimum": float((up[:, 0] != up[:, 1]).float().mean()),
            "J > .9": float((expected_return(p) > 0.9).float().mean()),
            "mean J": float(expected_return(p).mean()),
        }


# name: (algorithm, critic, how the policy step's data are drawn)
LEARNERS: dict[str, tuple[type, type, str]] = {
    "LICA": (LICA, PassCritic, "every joint action"),
    "COMA (on-policy)": (COMA, PassCounterfactualCritic, "on-policy"),
    "COMA (on-policy, 16 samples)": (COMA, PassCounterfactualCritic, "samples"),
    "COMA (as released)": (COMAReleased, PassCounterfactualCritic, "released"),
}


def draw_weights(data: str | float, p: Tensor, generator: torch.Generator) -> Tensor:
    """Weights of the four joint actions [M,4] for policies p [M,2].

    ``"every joint action"``: equal. ``"on-policy"``: the joint policy itself, the exact expectation. A number k in [0, 1]:
    between the two, (1 - k) uniform + k on-policy. ``"samples"``: 16 joint actions drawn from the joint policy.
    ``"released"``: each joint action four times, one of the 16 rows dropped at random, as LICA's release does.
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
    return (1 - data) * uniform + data * joint_probabilities(p)


def junction_study(
    name: str,
    starts: int = 1000,
    steps: int = 60,
    data: str | float | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> JunctionResult:
    """Train ``starts`` initialisations of one learner at once: ``steps`` policy steps, five critic steps before each.

    Settings and sizes are those of LICA's release (policy 1-32-1 at 1e-2, critic 2-32-1 at 2e-2, Adam). The critic is
    fitted to all four joint actions, or to the samples where the policy learns from samples. ``data`` replaces the
    learner's own data distribution (see :func:`draw_weights`).
    """
    kind, critic, own_data = LEARNERS[name]
    data = own_data if data is None else data
    rows, world = every_joint_action(), Junction(device="cpu")
    config = kind.Config.preset("junction")
    members = Ensemble(
        lambda s: kind(world.spec, config, seed=s, device="cpu", actor=SigmoidAgent, critic=critic), range(seed, seed + starts)
    )
    generator = torch.Generator().manual_seed(seed)

    def pass_probability() -> Tensor:
        with torch.no_grad():
            return members.call("policies", rows)[:, 0, 0, :, 1]  # the same in every row: both cars always see the same

    path = [pass_probability()]
    for i in range(steps):
        weights = draw_weights(data, path[-1], generator).unsqueeze(-1)  # [M,4,1]
        critic_rows = {"mask": weights} if data == "samples" else {}
        for _ in range(config.critic_updates):
            members.step("critic", "critic_loss", rows, per_member=critic_rows)
        members.step("actor", "actor_loss", rows, per_member={"mask": weights})
        path.append(pass_probability())
        if progress is not None:
            progress(i + 1)
    return JunctionResult(name, torch.stack(path))
