"""Plausible wrong answers to chapter 05's exercises; every check must reject every one."""

import math

import torch

from marlcourse.course.checks import ch05
from marlcourse.course.exercises import mutate


def density(z, mean, std):
    return ch05.log_p(z, mean, std).exp()


def squared_std(z, mean, std):
    return (-0.5 * ((z - mean) / std) ** 2 - (std**2).log() - 0.5 * math.log(2 * math.pi)).sum(-1)


def nothing_weighed(gain, z, mean, std):
    """The mean score: no gain in it."""
    return ((z - mean) / std**2).mean(0)


def gain_times_log_p(gain, z, mean, std):
    return (gain.unsqueeze(-1) * (-0.5 * ((z - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi))).mean(0)


def means_product(gain, z, mean, std):
    """The mean gain times the mean score."""
    return gain.mean() * ((z - mean) / std**2).mean(0)


def other_z(gain, z, mean, std):
    """Every gain meets the score of another draw: the released mistake."""
    return (gain.unsqueeze(-1) * (z.roll(1, 0) - mean) / std**2).mean(0)


def entries_added(gain, z, mean, std):
    return (gain.unsqueeze(-1) * (z - mean) / std**2).mean(0).sum(-1, keepdim=True).expand(z.shape[-1])


def absolute(encoder, state, z, mask, improvement):
    return ch05.meta_loss(encoder, state, z, mask, abs(improvement))


def always_a_step(encoder, state, z, mask, improvement):
    return ch05.meta_loss(encoder, state, z, mask, improvement or 1.0)


def redraws(encoder, state, z, mask, improvement):
    mean, std = encoder(state)
    return ch05.meta_loss(encoder, state, mean + std * torch.randn(mean.shape), mask, improvement)


def no_gradient(encoder, state, z, mask, improvement):
    return ch05.meta_loss(encoder, state, z, mask, improvement).detach()


def early_d1(team, ctx):
    """D1 played by the team of D0."""
    d0 = team.with_z(ctx.collect(), ctx.generator)
    d1 = ctx.collect()
    for _ in range(team.config.exercise_updates):
        ctx.step("main", team.exercise_loss, d0)
    improvement = team.improvement(d0, d1)
    ctx.step("meta", team.meta_loss(d0, improvement)[0])
    return improvement


def ordinary_updates(team, ctx):
    """The ordinary loss, through which theta moves."""
    d0 = team.with_noise(team.with_z(ctx.collect(), ctx.generator), ctx.generator)
    for _ in range(team.config.exercise_updates):
        ctx.step("main", team.loss, d0)
    improvement = team.improvement(d0, ctx.collect())
    ctx.step("meta", team.meta_loss(d0, improvement)[0])
    return improvement


def scored_d1(team, ctx):
    d0 = team.with_z(ctx.collect(), ctx.generator)
    for _ in range(team.config.exercise_updates):
        ctx.step("main", team.exercise_loss, d0)
    d1 = team.with_z(ctx.collect(), ctx.generator)
    improvement = team.improvement(d0, d1)
    ctx.step("meta", team.meta_loss(d1, improvement)[0])
    return improvement


def meta_by_main(team, ctx):
    """The meta loss handed to the wrong optimiser."""
    d0 = team.with_z(ctx.collect(), ctx.generator)
    for _ in range(team.config.exercise_updates):
        ctx.step("main", team.exercise_loss, d0)
    improvement = team.improvement(d0, ctx.collect())
    ctx.step("main", team.meta_loss(d0, improvement)[0])
    return improvement


def scores_the_last(draw, exercise, play, score, updates):
    """Keeps the last z, after a new one in every update."""
    before = play()
    for _ in range(updates):
        z = draw()
        exercise(z)
    return (play() - before) * score(z)


def scores_the_first(draw, exercise, play, score, updates):
    before = play()
    used = [draw() for _ in range(updates)]
    for z in used:
        exercise(z)
    return (play() - before) * score(used[0])


def scores_anew(draw, exercise, play, score, updates):
    """One z in the exercise, another one scored."""
    before = play()
    z = draw()
    for _ in range(updates):
        exercise(z)
    return (play() - before) * score(draw())


def mean_of_the_scores(draw, exercise, play, score, updates):
    """A z of its own for each update, and the mean of their scores: the slope divided by their number."""
    before, used = play(), [draw() for _ in range(updates)]
    for z in used:
        exercise(z)
    return (play() - before) * sum(map(score, used)) / updates


def scores_each_update(draw, exercise, play, score, updates):
    """One z, scored as often as it was used."""
    before, z = play(), draw()
    for _ in range(updates):
        exercise(z)
    return (play() - before) * updates * score(z)


def wrong_way_round(draw, exercise, play, score, updates):
    return -ch05.repaired_round(draw, exercise, play, score, updates)


def late_before(draw, exercise, play, score, updates):
    z = draw()
    for _ in range(updates):
        exercise(z)
    before = play()
    return (play() - before) * score(z)


def counts_losses_as_gains(draw, exercise, play, score, updates):
    before, z = play(), draw()
    for _ in range(updates):
        exercise(z)
    return abs(play() - before) * score(z)


def no_score(draw, exercise, play, score, updates):
    before, z = play(), draw()
    for _ in range(updates):
        exercise(z)
    return play() - before


def scores_anew_with_r1_alone(draw, exercise, play, score, updates):
    for _ in range(updates):
        exercise(draw())
    return play() * score(draw())


def centred(gain, z, mean, std):
    """A baseline out of the same draws: too small by 1 - 1/n."""
    return ((gain - gain.mean()).unsqueeze(-1) * (z - mean) / std**2).mean(0)


def weighed_by(improvement):
    """A round whose meta loss is given `improvement(R1 - R0)`."""

    def meta_round(team, ctx):
        d0 = team.with_z(ctx.collect(), ctx.generator)
        for _ in range(team.config.exercise_updates):
            ctx.step("main", team.exercise_loss, d0)
        found = team.improvement(d0, ctx.collect())
        ctx.step("meta", team.meta_loss(d0, improvement(found))[0])
        return found

    return meta_round


def sums_the_episodes(encoder, state, z, mask, improvement):
    log_p = encoder.log_prob(state, z.detach())
    return -improvement * ((log_p * mask).sum(1) / mask.sum(1)).sum()


def density_itself(encoder, state, z, mask, improvement):
    log_p = encoder.log_prob(state, z.detach())
    return -improvement * ((log_p.exp() * mask).sum(1) / mask.sum(1)).mean()


def plain_number(encoder, state, z, mask, improvement):
    return ch05.meta_loss(encoder, state, z, mask, improvement).item()


def constant_once(z, mean, std):
    return (-((z - mean) ** 2) / (2 * std**2) - std.log()).sum(-1) - 0.5 * math.log(2 * math.pi)


def does_nothing(team, ctx):
    return None


MUTANTS = {
    "5.1": [
        mutate(ch05.log_p, ".sum(-1)", ".mean(-1)"),
        mutate(ch05.log_p, "- std.log()", ""),
        mutate(ch05.log_p, "- 0.5 * math.log(2 * math.pi)", ""),
        mutate(ch05.log_p, ".sum(-1)", ""),
        mutate(ch05.log_p, "- std.log()", "+ std.log()"),
        mutate(ch05.log_p, ".sum(-1)", ".sum(-1).detach()"),
        mutate(ch05.log_p, "(z - mean)", "(z.detach() - mean)"),
        constant_once,
        density,
        squared_std,
    ],
    "5.2": [
        mutate(ch05.slope_estimate, "mean(0)", "sum(0)"),
        mutate(ch05.slope_estimate, "(z - mean)", "(mean - z)"),
        mutate(ch05.slope_estimate, "/ std**2", "/ std"),
        mutate(ch05.slope_estimate, "/ std**2", ""),
        mutate(ch05.slope_estimate, "(z - mean)", "z"),
        means_product,
        nothing_weighed,
        gain_times_log_p,
        other_z,
        entries_added,
        centred,
    ],
    "5.4": [
        mutate(ch05.meta_loss, "z.detach()", "z"),
        mutate(ch05.meta_loss, "-improvement", "improvement"),
        mutate(ch05.meta_loss, "(log_p * mask).sum(1) / mask.sum(1)", "log_p.mean(1)"),
        mutate(ch05.meta_loss, "(log_p * mask).sum(1) / mask.sum(1)", "(log_p * mask).mean(1)"),
        mutate(ch05.meta_loss, "(log_p * mask).sum(1) / mask.sum(1)", "(log_p * mask).sum(1)"),
        mutate(ch05.meta_loss, "(log_p * mask).sum(1) / mask.sum(1)", "(log_p * mask).sum() / mask.sum()"),
        mutate(ch05.meta_loss, "(log_p * mask).sum(1) / mask.sum(1)", "(log_p * mask).sum(0) / mask.sum(0)"),
        mutate(ch05.meta_loss, "-improvement * ", "-"),
        absolute,
        always_a_step,
        no_gradient,
        redraws,
        sums_the_episodes,
        density_itself,
        plain_number,
        mutate(ch05.meta_loss, "-improvement * mean_log_p.mean()", "-improvement * mean_log_p.mean(), {}"),
        mutate(ch05.meta_loss, "-improvement", "-improvement.sign()"),
    ],
    "5.5": [
        does_nothing,
        early_d1,
        ordinary_updates,
        scored_d1,
        meta_by_main,
        mutate(ch05.meta_round, "team.exercise_loss, d0)", "team.exercise_loss, team.with_z(d0, ctx.generator))"),
        mutate(ch05.meta_round, "team.meta_loss(d0,", "team.meta_loss(team.with_z(d0, ctx.generator),"),
        mutate(ch05.meta_round, "team.improvement(d0, d1)", "team.improvement(d1, d0)"),
        mutate(ch05.meta_round, "team.config.exercise_updates", "1"),
        mutate(ch05.meta_round, "team.config.exercise_updates", "3"),
        mutate(ch05.meta_round, "return improvement", "return improvement, d0"),
        mutate(ch05.meta_round, "return improvement", "return d0"),
        mutate(ch05.meta_round, "ctx.generator", "torch.Generator().manual_seed(0)"),
        mutate(ch05.meta_round, "team.meta_loss(d0, improvement)", "team.meta_loss(d0, -improvement)"),
        weighed_by(lambda r: torch.tensor(1.0)),
        weighed_by(abs),
        weighed_by(torch.sign),
        weighed_by(lambda r: r.clamp(min=0)),
        weighed_by(lambda r: 2 * r),
    ],
    "5.3": [
        scores_the_last,
        scores_the_first,
        scores_anew,
        mean_of_the_scores,
        scores_each_update,
        mutate(ch05.repaired_round, "range(updates)", "range(3)"),
        wrong_way_round,
        late_before,
        counts_losses_as_gains,
        no_score,
        scores_anew_with_r1_alone,
    ],
}
