"""MNMPG: credit assignment with meta-policy gradient (Shao et al. 2021, arXiv:2102.12957), in the reading that can learn.

    z_t ~ p_theta(z | s_t),   Q_tot = mixer_zeta(Q_1..Q_N; [s_t, decoder_zeta(z_t)]),   TD loss as QMIX's
    theta <- theta + meta_lr (R1 - R0) grad  mean_b 1/T_b sum_t log p_theta(z_bt | s_bt)

R0 and R1 are the team's mean returns before and after some "exercise" TD updates on the episodes D0 of R0, in which the
mixer is given exactly the z_bt that the last line scores.

Differs from its parent QMIX: the mixer also reads a random hierarchy z, and now and then a round is spent on asking whether
the z drawn made the team learn.

What is differentiated, and why not what is printed. Nobody sees z while acting: D0 does not depend on theta, and neither
does a single action. The only road from theta to R1 is z -> exercise updates -> new utilities -> D1. Therefore
  * equation 5 as printed, log pi(a_t | z_t), has a gradient that is identically zero: the "action" of the hierarchy is z;
  * the released code (qyz55/MNMPG) scores a z that it draws anew after R0 and R1 are known, and other ones in the exercise
    updates: given the episodes, the mean of its meta-gradient is zero. Here z is drawn once when D0 has been collected,
    kept in ``extras["z"]``, given to the mixer in every exercise update, and scored.
Both readings can be measured beside this one: marlcourse/course/meta_study.py.

More deviations, with reasons. theta stands still in the exercise updates (the paper: "fixed during meta update"; the release
moves it): the stored z are numbers, so no gradient reaches it. R1 - R0 is one number for the batch: episode b of D1 has no
more to do with z_b than any other, so that pairing them (``pair_episodes``, as released) has the same mean and more noise.
The z of the next state in a target is the target encoder's mean (equation 6 does not say). No BatchNorm in the decoder: one
sample's Q_tot would depend on the others', and a target network's on two kinds of statistics. The encoder reads the state, as
the paper says (the release: all agents' inputs). Every episode of D0 and D1 goes into the replay, without its z: an ordinary
update draws z anew, from the encoder of today, so that the TD gradient can pass through it.

Ablations of the paper's section 4.4: QMIX_large is ``meta_lr=0``, "w/o grad" ``td_reaches_encoder=False``, "w/o s"
``mix_state=False``; intervals and sizes are ``meta_interval`` and ``z_dim``. MNMPG-1-RODE and -2-RODE need RODE's roles and
are not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from ..core import EpisodeBatch
from ..nets.hierarchy import HierarchicalMixer
from ..targets import masked_mean, td_lambda
from . import presets
from .qmix import QMIX, QMIXConfig


@dataclass(frozen=True)
class MNMPGConfig(QMIXConfig):
    """==================  =====================================================================================
    z_dim               K, the size of the hierarchy
    encoder_hidden      width of the encoder
    meta_lr             step size of theta's meta step (its optimiser is of the kind ``optimizer``)
    meta_interval       environment steps of ordinary rounds between the end of a meta round and the next one
    meta_episodes       episodes in D0, and as many in D1 (None: as an ordinary round collects)
    exercise_updates    TD updates on D0 alone, and as many on the replay after the meta step
    td_reaches_encoder  False: ordinary TD updates leave theta alone ("w/o grad")
    mix_state           False: the mixer reads the decoded z without the state ("w/o s")
    pair_episodes       True: z_b is credited with R1_b - R0_b, episode by episode (the release)
    return_per_step     True: R is the return divided by the episode's length (the release)
    ==================  =====================================================================================
    """

    z_dim: int = 3
    encoder_hidden: int = 16
    meta_lr: float = 5e-5
    meta_interval: int = 500
    meta_episodes: int | None = None
    exercise_updates: int = 4
    td_reaches_encoder: bool = True
    mix_state: bool = True
    pair_episodes: bool = False
    return_per_step: bool = False

    presets: ClassVar = presets.MNMPG


class MNMPG(QMIX):
    """Parts: ``agent`` (phi) and ``mixer``, a :class:`HierarchicalMixer` (its ``encoder`` is theta, the rest zeta)."""

    Config = MNMPGConfig

    def build(self) -> None:
        super().build()
        if not isinstance(self.mixer, HierarchicalMixer):
            raise ValueError(
                f"The part 'mixer' of MNMPG must be a HierarchicalMixer or a subclass, not {type(self.mixer).__name__}: "
                "z needs its encoder; a mixer without one belongs to marlcourse.QMIX(env.spec, mixer=...)."
            )

    def default_mixer(self) -> HierarchicalMixer:
        c, spec = self.config, self.spec
        return HierarchicalMixer(
            spec.n_agents, spec.state_dim, c.z_dim, c.encoder_hidden, c.embed, c.hypernet_layers, c.mix_state
        )

    # ---- the hierarchy ----

    def with_noise(self, batch: EpisodeBatch, generator: torch.Generator) -> EpisodeBatch:
        """The batch with standard normal ``extras["noise"]`` [B,T,K], of which :meth:`loss` makes its z."""
        shape = (*batch.reward.shape, self.config.z_dim)
        noise = torch.randn(shape, generator=generator, device=generator.device)
        return replace(batch, extras={**batch.extras, "noise": noise.to(batch.reward.device, non_blocking=True)})

    @torch.no_grad()
    def with_z(self, batch: EpisodeBatch, generator: torch.Generator) -> EpisodeBatch:
        """The batch with ``extras["z"]`` [B,T,K], drawn from p_theta(z | s_t): numbers, through which no gradient flows."""
        return replace(batch, extras={**batch.extras, "z": self.hierarchy(self.with_noise(batch, generator))})

    def hierarchy(self, batch: EpisodeBatch) -> Tensor:
        """z_t = mean(s_t) + std(s_t) * noise_t, [B,T,K]: a sample of p_theta(z | s_t) through which theta can be reached."""
        mean, std = self.mixer.encoder(batch.states[:, :-1])
        return mean + std * batch.extras["noise"]

    # ---- losses (pure) ----

    def td_loss(self, batch: EpisodeBatch, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """QMIX's loss at the hierarchy z [B,T,K]; the target's own is the mean of the target encoder."""
        states, c = batch.states, self.config
        q = self.utilities(self.agent, batch)  # [B,T+1,N,A]
        with torch.no_grad():
            q_next = self.target_mixer(self.next_utilities(q, batch), states[:, 1:])  # [B,T]
            y = td_lambda(batch.reward, batch.terminated, q_next, batch.mask, c.gamma, c.lam)
        chosen = q[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)  # [B,T,N]
        q_tot = self.mixer(chosen, states[:, :-1], z)  # [B,T]
        metrics = {"q_tot": masked_mean(q_tot, batch.mask), "target": masked_mean(y, batch.mask)}
        return masked_mean((q_tot - y) ** 2, batch.mask), metrics

    def loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The ordinary update's, for phi, zeta and (unless blocked) theta; z is made of ``extras["noise"]``."""
        z = self.hierarchy(batch)
        return self.td_loss(batch, z if self.config.td_reaches_encoder else z.detach())

    def exercise_loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The exercise update's, for phi and zeta: z is the one drawn with D0, ``extras["z"]``."""
        return self.td_loss(batch, batch.extras["z"])

    def score(self, batch: EpisodeBatch) -> Tensor:
        """1/T_b sum_t log p_theta(z_bt | s_bt) of the stored z: [B]."""
        log_p = self.mixer.encoder.log_prob(batch.states[:, :-1], batch.extras["z"])  # [B,T]
        return (log_p * batch.mask).sum(1) / batch.mask.sum(1)

    def improvement(self, d0: EpisodeBatch, d1: EpisodeBatch) -> Tensor:
        """R1 - R0: one number, or one for each episode of D0 (``pair_episodes``)."""
        r0, r1 = ((d.reward * d.mask).sum(1) / (d.mask.sum(1) if self.config.return_per_step else 1.0) for d in (d0, d1))
        return r1 - r0 if self.config.pair_episodes else r1.mean() - r0.mean()

    def meta_loss(self, batch: EpisodeBatch, improvement: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """- (R1 - R0) times the score of D0's z, for theta. improvement: one number, or [B]."""
        score = self.score(batch)
        return -(improvement * score).mean(), {"improvement": improvement.mean(), "log_p": score.mean()}

    def meta_gradient(self, batch: EpisodeBatch, improvement: Tensor) -> Tensor:
        """The direction of the meta step before the optimiser sees it, as one vector over theta's parameters: [P]."""
        found = torch.autograd.grad(self.meta_loss(batch, improvement)[0], list(self.mixer.encoder.parameters()))
        return -torch.cat([g.flatten() for g in found])

    # ---- the schedule ----

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {**super().optimizers(), "meta": self.make_optimizer(self.mixer.encoder, lr=self.config.meta_lr)}

    def batches(self, ctx, count: int) -> Iterator[EpisodeBatch]:
        """``count`` batches of the replay with fresh noise; none until it holds ``batch_size`` episodes."""
        sampled = (batch for _ in range(count) for batch in ctx.updates())
        return (self.with_noise(batch, ctx.generator) for batch in islice(sampled, count))

    def iterate(self, ctx) -> dict[str, Tensor]:
        """Algorithm 1: one meta round, then ordinary rounds until ``meta_interval`` steps have passed.

        ``target_every`` counts every optimiser step, the meta steps among them.
        """
        c = self.config
        d0 = ctx.collect(c.meta_episodes)
        exercise = self.with_z(d0, ctx.generator)
        for _ in range(c.exercise_updates):  # phi and zeta; theta is not in this loss
            metrics = ctx.step("main", self.exercise_loss, exercise)
            self.after_update(ctx)
        d1 = ctx.collect(c.meta_episodes)
        meta_loss, logged = self.meta_loss(exercise, self.improvement(d0, d1))
        metrics |= ctx.step("meta", meta_loss) | logged  # theta alone
        self.after_update(ctx)
        ctx.buffer.add(d0)
        ctx.buffer.add(d1)
        for batch in self.batches(ctx, c.exercise_updates):
            metrics |= ctx.step("main", self.loss, batch)
            self.after_update(ctx)

        meta_round_over = ctx.env_steps
        while ctx.env_steps < meta_round_over + c.meta_interval:
            ctx.buffer.add(ctx.collect())
            for batch in self.batches(ctx, c.updates_per_collect):
                metrics |= ctx.step("main", self.loss, batch)
                self.after_update(ctx)
        return metrics
