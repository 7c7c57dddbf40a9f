"""MNMPG's meta-gradient in three readings, and how much of it is signal: measurements for a lesson.

All three push theta, the parameters of p_theta(z | s), by (R1 - R0) times a score. They differ in what is scored:

    stored    log p_theta(z | s) of the z that the exercise updates used     marlcourse.MNMPG
    redrawn   log p_theta(z'| s) of a z' drawn after R1 and R0 are known     the released code: mean zero
    literal   log pi(a | tau) of the actions, as equation 5 prints it        no theta in it: exactly zero
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..algorithms.mnmpg import MNMPG
from ..config import whole
from ..core import EpisodeBatch
from ..nets.hierarchy import GaussianEncoder
from ..rollout import Context
from ..seeds import derive_seed, make_generator


def literal_meta_loss(algorithm: MNMPG, batch: EpisodeBatch, improvement: Tensor) -> Tensor:
    """- (R1 - R0) mean_b 1/T_b sum_t sum_i log pi_i(a_it | tau_it): equation 5 of Shao et al. as it is printed.

    pi_i is a softmax of agent i's utilities, so that the expression has a gradient somewhere (the epsilon-greedy policy that
    acted has none): it reaches the agents. z never reaches an action, so it does not reach theta.
    """
    log_pi = torch.log_softmax(algorithm.utilities(algorithm.agent, batch)[:, :-1], -1)  # [B,T,N,A]
    taken = log_pi.gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1).sum(-1)  # [B,T]
    return -(improvement * (taken * batch.mask).sum(1) / batch.mask.sum(1)).mean()


def released_meta_loss(algorithm: MNMPG, batch: EpisodeBatch, improvement: Tensor, generator: torch.Generator) -> Tensor:
    """MNMPG's own meta loss at a z that is drawn now, whatever z the exercise updates used (as qyz55/MNMPG does)."""
    return algorithm.meta_loss(algorithm.with_z(batch, generator), improvement)[0]


def ascent(loss: Tensor, module: nn.Module) -> Tensor:
    """Minus the gradient of ``loss`` for all parameters of ``module``, as one vector [P]; zero where there is no dependence."""
    parameters = list(module.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return -torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, parameters)])


@dataclass(frozen=True)
class MetaPairs:
    """What n independent pairs (D0, D1) from one and the same team gave. improvement [n]; the gradients are [n,P]."""

    improvement: Tensor
    stored: Tensor
    redrawn: Tensor
    literal: Tensor


def meta_pairs(trainer, pairs: int, seed: int = 0) -> MetaPairs:
    """Play ``pairs`` meta rounds, each by a copy of the trainer's MNMPG team as it stands now (networks, optimisers, clock),
    in a fresh copy of its world, up to the meta step, which is not taken. The trainer stays as it is.

    Raises TypeError when the trainer's algorithm is not an MNMPG, ValueError for fewer than one pair.
    """
    if not isinstance(trainer.algorithm, MNMPG):
        raise TypeError(f"meta_pairs measures a marlcourse.MNMPG team, not a {type(trainer.algorithm).__name__}.")
    rounds = [_meta_round(trainer, derive_seed(seed, "pair", i)) for i in range(whole("pairs", pairs, 1))]
    return MetaPairs(*(torch.stack(column) for column in zip(*rounds)))


def _meta_round(trainer, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(improvement, stored, redrawn, literal) of one pair: MNMPG.iterate until its meta step."""
    team, env = copy.deepcopy(trainer.algorithm), trainer.env.fresh(num_envs=trainer.env.num_envs, seed=seed)
    ctx, c = Context(env, team, seed), team.config
    ctx.env_steps = trainer.env_steps
    ctx.optimizers["main"].load_state_dict(copy.deepcopy(trainer.context.optimizers["main"].state_dict()))
    d0 = team.with_z(ctx.collect(c.meta_episodes), ctx.generator)
    for _ in range(c.exercise_updates):
        ctx.step("main", team.exercise_loss, d0)
    improvement, theta = team.improvement(d0, ctx.collect(c.meta_episodes)), team.mixer.encoder
    env.close()
    redrawn = released_meta_loss(team, d0, improvement, ctx.generator)
    literal = literal_meta_loss(team, d0, improvement)
    return improvement.mean(), team.meta_gradient(d0, improvement), ascent(redrawn, theta), ascent(literal, theta)


@dataclass(frozen=True)
class SignalToNoise:
    """``squared``: the squared signal, an estimate of the squared length of the mean gradient that scatters around 0 where
    there is none; ``error``: its standard error if there is none. ``noise``: the summed variances of a single gradient.
    ``ratio``: length of the mean gradient over the spread of a single one (0 where ``squared`` is not above 0).
    ``pairs_needed``: how many pairs, averaged, make signal and noise equal, 1/ratio^2.
    ``standard_errors``: how far the squared signal lies above 0; within -2..2 the pairs show none.
    ``left_out``: the leave-one-out error of ``squared``, which also holds where there is a signal. ``most``: two of the larger
    of these errors above ``squared``, a convention for what may have been missed. ``least_pairs``: pairs_needed of a signal
    of that size."""

    ratio: float
    pairs_needed: float
    standard_errors: float
    squared: float
    error: float
    noise: float
    left_out: float
    most: float

    @property
    def least_pairs(self) -> float:
        return self.noise / self.most if self.most > 0 else float("inf")


def signal_to_noise(gradients: Tensor) -> SignalToNoise:
    """Of n independent gradients [n,P], n >= 3. The squared signal is the mean inner product of two *different* gradients:
    unlike the squared length of the average, it is not above 0 on average for pure noise. Its standard error without a
    signal: the root mean square of these products over the root of the number of pairs of gradients, n (n - 1) / 2.

    Raises ValueError for fewer than three gradients.
    """
    n = len(gradients)
    if n < 3:
        raise ValueError(f"A spread needs at least 3 gradients, not {n}.")
    gradients = gradients.double()
    table = (gradients @ gradients.T).fill_diagonal_(0)  # [n,n]
    products = table[~torch.eye(n, dtype=torch.bool, device=gradients.device)]
    without = (table.sum() - 2 * table.sum(1)) / ((n - 1) * (n - 2))  # [n], the squared signal with gradient i left out
    left_out = float((without.var(correction=0) * (n - 1)).sqrt())
    squared, noise = float(products.mean()), float(gradients.var(0).sum())
    error = float((2 * (products**2).mean() / (n * (n - 1))).sqrt())
    ratio = (max(squared, 0.0) / noise) ** 0.5 if noise else 0.0
    needed = 1 / ratio**2 if ratio else float("inf")
    most = squared + 2 * max(error, left_out)
    return SignalToNoise(ratio, needed, squared / error if error else 0.0, squared, error, noise, left_out, most)


def known_game(
    scored: Callable[[Tensor, Callable[[], Tensor]], Tensor], rounds: int = 300, lr: float = 0.01, seed: int = 0
) -> Tensor:
    """Train p_theta(z | s) by score alone where the return is known: R = - |z - s|^2 in each of 64 states, K = 2.

    ``scored(used, redraw)`` says which z [64,2] is scored: ``lambda used, redraw: used`` is the stored reading,
    ``lambda used, redraw: redraw()`` the released one. Returns the exact E[R] before each round and after the last,
    [rounds + 1]: 0 at the best, where z is s without spread.
    """
    generator = make_generator("cpu", seed, "known game")
    state = torch.randn(64, 2, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "known game encoder"))
        encoder = GaussianEncoder(2, 2, hidden=16)
    optimizer = torch.optim.SGD(encoder.parameters(), lr)

    def draw() -> Tensor:
        mean, std = encoder(state)
        return (mean + std * torch.randn(mean.shape, generator=generator)).detach()

    def expected() -> Tensor:
        mean, std = encoder(state)
        return -((mean - state) ** 2 + std**2).sum(-1).mean().detach()

    curve = [expected()]
    for _ in range(rounds):
        used = draw()
        returns = -((used - state) ** 2).sum(-1)
        loss = -((returns - returns.mean()) * encoder.log_prob(state, scored(used, draw))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(expected())
    return torch.stack(curve)
