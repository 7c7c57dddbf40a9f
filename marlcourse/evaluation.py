"""How good is a team? Whole episodes in a copy of the world, which disturbs nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from .config import whole
from .core import Algorithm, VecEnv
from .rollout import observation_to
from .seeds import derive_seed, make_generator


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted team returns of whole episodes. ``win_rate`` is None in a world without victory."""

    return_mean: float
    return_std: float
    win_rate: float | None
    length_mean: float


@torch.no_grad()
def evaluate(env: VecEnv, algorithm: Algorithm, episodes: int = 32, seed: int = 0, explore: bool = False) -> Evaluation:
    """Play whole episodes in an independent copy of ``env``, the same number in every world; greedy unless ``explore``.

    The training worlds and every generator of the run stay untouched.
    """
    episodes, seed = whole("episodes", episodes, 1), whole("seed", seed)
    if replace(algorithm.spec, name="") != replace(env.spec, name=""):
        raise ValueError(f"The team was built for {algorithm.spec}, but the world is {env.spec}: their shapes must agree.")
    cap = max(env.num_envs, 32)
    n = max(d for d in range(1, min(episodes, cap) + 1) if episodes % d == 0)
    copy = env.fresh(num_envs=n, seed=derive_seed(seed, "evaluate"))
    generator = make_generator(algorithm.device, seed, "evaluate actions")
    returns, lengths, wins = [], [], []
    try:
        for i in range(episodes // n):
            observation = copy.reset(seed=derive_seed(seed, "evaluate", i))
            carry = algorithm.initial_carry(n)
            total, length = torch.zeros(n, device=copy.device), torch.zeros(n, device=copy.device)
            won, running = (
                torch.zeros(n, dtype=torch.bool, device=copy.device),
                torch.ones(n, dtype=torch.bool, device=copy.device),
            )
            knows_victory = False
            for _ in range(env.spec.episode_limit):
                action = algorithm.act(observation_to(observation, algorithm.device), carry, explore, generator)
                observation, reward, terminated, truncated, info = copy.step(action.actions.to(copy.device))
                carry = action.carry
                total, length = total + reward * running, length + running
                if "won" in info:
                    knows_victory, won = True, won | (info["won"].bool() & running)
                running = running & ~(terminated | truncated)
            returns.append(total), lengths.append(length)
            wins += [won.float()] if knows_victory else []
    finally:
        copy.close()
    total, length = torch.cat(returns), torch.cat(lengths)
    win_rate = float(torch.cat(wins).mean()) if wins else None
    return Evaluation(float(total.mean()), float(total.std(correction=0)), win_rate, float(length.mean()))
