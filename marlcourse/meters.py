"""Meters: callbacks that write measurements of a team into the history of its run, and change nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .config import shown, whole
from .core import Algorithm, EpisodeBatch
from .credit import coefficient_of_variation, credit, invariant_credit, normalised_entropy
from .rollout import Collector
from .seeds import derive_seed, make_generator
from .trainer import Callback, Run, Trainer

PERCENTILES = (5, 25, 50, 75, 95)  # of Zhao et al. 2022 (arXiv:2202.04427), Tables 2 and 3
MOST_STEPS = 512  # for the invariant credit, which asks the mixer N * A times per step


def percentiles(x: Tensor, at: Iterable[float] = PERCENTILES) -> list[float]:
    """Percentiles (0..100) of all numbers in x."""
    return torch.quantile(x.flatten().double(), torch.tensor(list(at), dtype=torch.double, device=x.device) / 100).tolist()


@torch.no_grad()
def measure_credit(algorithm: Algorithm, batch: EpisodeBatch, quantiles: int = 0) -> dict[str, Any]:
    """How an algorithm's mixer shares the team's value on the real steps of a batch.

    =======================  =====================================================================================
    entropy_p5 .. _p95       percentiles over steps of the normalised entropy of dQ_tot/dQ_i; entropy_mean
    entropy_quantiles        with ``quantiles`` > 1: a list of so many evenly spaced quantiles, lowest to highest
    cv_mean                  mean over steps of the coefficient of variation of dQ_tot/dQ_i across agents
    invariant_credit         mean over steps and agents of what Q_tot loses when an agent leaves the greedy joint
                             action alone (:func:`marlcourse.invariant_credit`), in units of Q_tot; it and the next on
                             at most 512 of the steps, evenly spaced
    invariant_cv             mean over steps of its coefficient of variation across agents
    =======================  =====================================================================================

    The slopes are taken at the actions in the batch, as the paper does. Draws nothing and writes nothing. Raises TypeError
    for an algorithm without a mixer.
    """
    refuse_without_mixer(algorithm)
    batch = batch.to(algorithm.device)
    real = batch.mask > 0
    utilities = algorithm.utilities(algorithm.agent, batch)[:, :-1][real]  # [M,N,A] of M real steps
    state, actions = batch.states[:, :-1][real], batch.actions[real]
    g = credit(algorithm.mixer, utilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1), state)
    some = torch.linspace(0, len(g) - 1, min(len(g), MOST_STEPS), device=g.device).long()
    alone = invariant_credit(algorithm.mixer, utilities[some], state[some], avail=batch.avail[:, :-1][real][some])
    entropy = normalised_entropy(g)
    row: dict[str, Any] = {f"entropy_p{k}": v for k, v in zip(PERCENTILES, percentiles(entropy))}
    row |= {"entropy_mean": float(entropy.mean()), "cv_mean": float(coefficient_of_variation(g).mean())}
    row |= {"invariant_credit": float(alone.mean()), "invariant_cv": float(coefficient_of_variation(alone).mean())}
    if quantiles:
        row["entropy_quantiles"] = percentiles(entropy, torch.linspace(0, 100, quantiles).tolist())
    return row


def refuse_without_mixer(algorithm: Algorithm) -> None:
    """Raise TypeError, in one sentence, where there is no Q_tot to share."""
    if not getattr(algorithm, "mixes", False):
        raise TypeError(
            f"A credit meter asks the mixer, and {type(algorithm).__name__} has none: use it with VDN, QMIX and their kin."
        )


class CreditMeter(Callback):
    """Adds the columns of :func:`measure_credit` to every evaluation of a run whose algorithm has a mixer.

    ``rows`` episodes are drawn from the replay (all of them while it holds fewer; before it holds any, one episode per world
    is played in a copy of the world), by a generator that depends on the run's seed and clock alone: the run is the same bit
    for bit with and without the meter, and goes on after a checkpoint with ``Trainer.resume(..., callbacks=[CreditMeter()])``.
    ``quantiles``: also keep so many quantiles per evaluation, for :func:`pooled_percentiles` over a whole training. Put the
    meter before a LivePlot that draws its columns.
    """

    def __init__(self, rows: int = 32, quantiles: int = 0):
        self.rows, self.quantiles = whole("rows", rows, 1), whole("quantiles", quantiles, 0)
        if self.quantiles == 1:
            raise ValueError("quantiles=1 would keep the lowest entropy alone: give 0 for none, or 101, say.")

    def on_start(self, trainer: Trainer) -> None:
        """Refuse an algorithm without a mixer before any work."""
        refuse_without_mixer(trainer.algorithm)

    def on_evaluation(self, trainer: Trainer, row: dict[str, Any]) -> None:
        devices = [trainer.algorithm.device] if trainer.algorithm.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # a part of the reader's own may draw
            row |= measure_credit(trainer.algorithm, self.batch(trainer), self.quantiles)

    def batch(self, trainer: Trainer) -> EpisodeBatch:
        """What is measured at this moment of the run."""
        buffer, path = trainer.context.buffer, ("credit meter", trainer.env_steps)
        if buffer is not None and len(buffer):
            return buffer.sample(self.rows, make_generator("cpu", trainer.seed, *path))
        world = trainer.env.fresh(seed=derive_seed(trainer.seed, *path))
        try:
            return Collector(world, trainer.algorithm, derive_seed(trainer.seed, *path)).collect()
        finally:
            world.close()


def pooled_percentiles(runs: Run | Iterable[Run], at: Iterable[float] = PERCENTILES) -> dict[float, float]:
    """{percentile: entropy} over all evaluations after the first of one or several runs, each evaluation counting alike:
    the table of Zhao et al. 2022, which pools what was logged during training.

    Raises ValueError where a run was made without ``CreditMeter(quantiles=...)``.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    kept = [row.get("entropy_quantiles") for run in runs for row in run.history[1:]]
    if not kept or any(q is None for q in kept):
        raise ValueError(
            f"{shown([run.algorithm for run in runs])} kept no quantiles: train with callbacks=[CreditMeter(quantiles=101)]."
        )
    at = list(at)
    return dict(zip(at, percentiles(torch.tensor(kept), at)))
