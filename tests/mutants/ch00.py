"""Plausible wrong answers to the exercises of chapter 00; each must be run and rejected."""

import torch

import marlcourse as mc
from marlcourse.course.checks.ch00 import greedy, joint_actions, mean_reward, what_it_saw
from marlcourse.course.exercises import mutate
from marlcourse.course.start import start_team


def every_action_of_every_agent(n_agents, n_actions):
    """N * A rows: one agent at a time."""
    return torch.cartesian_prod(torch.arange(n_agents), torch.arange(n_actions))


def first_agent_fastest(n_agents, n_actions):
    """All of them, in another order."""
    return joint_actions(n_agents, n_actions).flip(-1)


def mean_of_row_means(reward, mask):
    """A short episode counts as much as a long one."""
    return ((reward * mask).sum(1) / mask.sum(1)).mean()


def best_pair(q, avail):
    """One number for the whole team."""
    return q.masked_fill(~avail, -1e9).flatten(-2).argmax(-1)


def in_place(q, avail):
    """Right, but destroys its input."""
    return q.masked_fill_(~avail, -1e9).argmax(-1)


def unseeded_team(seed, steps):
    """The data follow the seed, the first weights do not."""
    env, team = start_team(0)
    return team, mc.Trainer(env, team, seed=seed).fit(steps, progress=False)


def unseeded_trainer(seed, steps):
    """The first weights follow the seed, the data do not."""
    env, team = start_team(seed)
    return team, mc.Trainer(env, team).fit(steps, progress=False)


ENV, TEAM = start_team(3)


def same_team_again(seed, steps):
    """Goes on training the same networks."""
    return TEAM, mc.Trainer(ENV, TEAM, seed=seed).fit(steps, progress=False)


WORLD, _ = start_team(0)


def same_world_again(seed, steps):
    """A fresh team, but one world for all calls."""
    team = mc.QMIX(WORLD.spec, mc.QMIX.Config.preset("two-step"), seed=seed, device="cpu")
    return team, mc.Trainer(WORLD, team, seed=seed).fit(steps, progress=False)


def filled_with(value):
    """A fill that real utilities can fall below."""
    return mutate(greedy, "masked(q, avail)", f"q.masked_fill(~avail, {value})")


def counting_downwards(n_agents, n_actions):
    """All of them, the last one first."""
    return joint_actions(n_agents, n_actions).flip(0)


MUTANTS = {
    "0.1": [
        mutate(joint_actions, "[torch.arange(n_actions)] * n_agents", "[torch.arange(n_agents)] * n_actions"),  # N^A
        every_action_of_every_agent,
        first_agent_fastest,
        counting_downwards,
        mutate(joint_actions, "torch.arange(n_actions)", "torch.arange(1, n_actions + 1)"),  # counts from one
    ],
    "0.2": [
        mutate(what_it_saw, "obs[:, t, agent]", "obs[:, agent, t]"),
        mutate(what_it_saw, "obs[:, t, agent]", "obs[:, t + 1, agent]"),
        mutate(what_it_saw, "obs[:, t, agent]", "obs[:, t, agent - 1]"),
        mutate(what_it_saw, "obs[:, t, agent]", "obs[:, t].mean(1)"),
        mutate(what_it_saw, "obs[:, t, agent]", "obs[t, :, agent]"),
        mutate(what_it_saw, "obs[:, t, agent]", "obs[:, t, agent : agent + 1]"),  # its axis is still there
    ],
    "0.3": [
        mutate(mean_reward, "(reward * mask).sum() / mask.sum()", "reward.mean()"),
        mutate(mean_reward, "(reward * mask).sum() / mask.sum()", "(reward * mask).mean()"),
        mutate(mean_reward, "mask.sum()", "len(reward)"),  # per episode
        mutate(mean_reward, "(reward * mask).sum()", "reward.sum()"),
        mean_of_row_means,
        mutate(mean_reward, "(reward * mask).sum() / mask.sum()", "reward[reward * mask != 0].mean()"),  # a zero is a step
    ],
    "0.4": [
        mutate(greedy, "masked(q, avail)", "q"),
        mutate(greedy, "masked(q, avail)", "(q * avail)"),  # 0 beats negative values
        mutate(greedy, "masked(q, avail)", "(q + avail * 1e9)"),  # small differences drown in float32
        mutate(greedy, "argmax(-1)", "argmax(-2)"),
        mutate(greedy, "masked(q, avail)", "masked(q, ~avail)"),
        filled_with(-10.0),
        filled_with(-100.0),
        best_pair,
        in_place,
    ],
    "0.5": [unseeded_team, unseeded_trainer, same_team_again, same_world_again],
}
