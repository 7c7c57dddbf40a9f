"""Plausible wrong answers to the exercises of chapter 01; each must be run and rejected."""

import torch

from marlcourse.algorithms.coma import counterfactual_advantage
from marlcourse.course.checks.ch01 import exact_gradient, lica_objective, repaired_loss
from marlcourse.course.exercises import mutate
from marlcourse.course.junction import JOINT_ACTIONS, joint_probabilities, score_gradient


def logit_gradient(p):
    """The gradient with respect to the logits, not the probabilities."""
    return p * (1 - p) * (1 - 2 * p.flip(-1))


def first_agent_weights(p):
    """Only car 1's probability."""
    return torch.where(JOINT_ACTIONS[:, 0] == 1, p[..., :1], 1 - p[..., :1])


def weighed_twice(p, weights, signal):
    """Divides by the number of rows although the weights already add up to 1."""
    return score_gradient(p, weights, signal) / 4


def flipped_action(q, pi, actions):
    """The released baseline: the value of the other action."""
    taken = q.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    return taken - q.gather(-1, (q.shape[-1] - 1 - actions).unsqueeze(-1)).squeeze(-1)


def expected_over_joint_actions(critic, p):
    """The mean of the critic over the four joint actions: exact for values, but not what LICA does."""
    rows = torch.stack([1 - JOINT_ACTIONS, JOINT_ACTIONS], -1).to(p.dtype)
    values = torch.stack([critic(None, row.expand(*p.shape, 2)) for row in rows], -1)
    return (joint_probabilities(p) * values).sum(-1)


def on_policy_only(p, advantage):
    """Right data, but still the log-probability of passing."""
    return -(joint_probabilities(p).detach().unsqueeze(-1) * p.log() * advantage).sum()


def right_action_only(p, advantage):
    """Right log-probability, but still every joint action with the same weight."""
    return -(torch.where(JOINT_ACTIONS == 1, p.log(), (1 - p).log()) * advantage).mean(0).sum()


def released(p, advantage):
    """The loss as released."""
    return -(p.log() * advantage).mean(0).sum()


def own_weights(p, weights, signal):
    """Ignores the data and weighs the rows by the policies, on-policy or not."""
    return score_gradient(p, joint_probabilities(p), signal)


def score_of_p(p, weights, signal):
    """The score of the probability, not of the logit."""
    return score_gradient(p, weights, signal) / (p * (1 - p))


def one_policy_only(p):
    """Takes p apart as two numbers: right for one policy, an error for many."""
    p1, p2 = p
    return torch.stack([1 - 2 * p2, 1 - 2 * p1])


def one_policy_s_table(p):
    """Row by row for one policy; with axes in front it takes policies for cars."""
    p1, p2 = p[0], p[1]
    return torch.stack([(1 - p1) * (1 - p2), (1 - p1) * p2, p1 * (1 - p2), p1 * p2])


def partner_s_score(p, weights, signal):
    """u_i minus the partner's probability."""
    return (weights.unsqueeze(-1) * (JOINT_ACTIONS - p.flip(-1).unsqueeze(-2)) * signal).sum(-2)


def score_as_loss(p, advantage):
    """The score, a derivative already, where the log-probability belongs."""
    return -(joint_probabilities(p).detach().unsqueeze(-1) * (JOINT_ACTIONS - p) * advantage).sum()


MUTANTS = {
    "1.1": [
        mutate(exact_gradient, "p.flip(-1)", "p"),  # the own probability
        mutate(exact_gradient, "1 - 2 * p.flip(-1)", "2 * p.flip(-1) - 1"),  # downhill
        mutate(exact_gradient, "1 - 2 * p.flip(-1)", "1 - p.flip(-1)"),  # forgets the second term
        mutate(exact_gradient, "p.flip(-1)", "p.flip(0)"),  # the wrong axis
        logit_gradient,
        one_policy_only,
    ],
    "1.2": [
        mutate(joint_probabilities, ".prod(-1)", ".sum(-1)"),
        mutate(joint_probabilities, ".prod(-1)", ".mean(-1)"),
        mutate(joint_probabilities, "(1 - played) * (1 - p.unsqueeze(-2))", "(1 - played)"),  # waiting counts 1
        first_agent_weights,
        lambda p: joint_probabilities(p).flip(-1),  # waiting and passing exchanged
        lambda p: torch.full((*p.shape[:-1], 4), 0.25),  # uniform data
        lambda p: joint_probabilities(p)[..., [0, 2, 1, 3]],  # the rows (0, 1) and (1, 0) exchanged
        mutate(joint_probabilities, "(1 - p.unsqueeze(-2))", "p.unsqueeze(-2)"),  # p without 1 - p
        one_policy_s_table,
    ],
    "1.3": [
        mutate(score_gradient, "JOINT_ACTIONS - p.unsqueeze(-2)", "1 - p.unsqueeze(-2)"),  # always the score of passing
        mutate(score_gradient, "JOINT_ACTIONS - p.unsqueeze(-2)", "JOINT_ACTIONS * (1 - p.unsqueeze(-2))"),  # waiting: 0
        mutate(score_gradient, ".sum(-2)", ".mean(-2)"),
        mutate(score_gradient, "weights.unsqueeze(-1) * ", ""),
        weighed_twice,
        own_weights,
        score_of_p,
        partner_s_score,
        lambda p, weights, signal: -score_gradient(p, weights, signal),
    ],
    "1.4": [
        mutate(counterfactual_advantage, "(pi * q).sum(-1)", "q.mean(-1)"),
        mutate(counterfactual_advantage, "(pi * q).sum(-1)", "q.max(-1).values"),
        mutate(counterfactual_advantage, "(pi * q).sum(-1)", "(pi * q).mean(-1)"),
        mutate(counterfactual_advantage, "taken - (pi * q).sum(-1)", "taken"),
        flipped_action,
        lambda q, pi, actions: -counterfactual_advantage(q, pi, actions),
        lambda q, pi, actions: counterfactual_advantage(q, pi, actions).sum(-1),  # one number for the team
        mutate(counterfactual_advantage, "(pi * q).sum(-1)", "(pi * q).sum((-1, -2)).unsqueeze(-1)"),
        lambda q, pi, actions: counterfactual_advantage(q, pi, actions) * pi.gather(-1, actions.unsqueeze(-1)).squeeze(-1),
    ],
    "1.5": [
        mutate(lica_objective, "[1 - p, p]", "[p, 1 - p]"),
        mutate(lica_objective, "[1 - p, p], -1", "[1 - p, p], -2"),  # cars and actions exchanged
        mutate(lica_objective, "[1 - p, p]", "[1 - p.round(), p.round()]"),
        mutate(lica_objective, "[1 - p, p]", "[1 - p.detach(), p]"),
        expected_over_joint_actions,
        lambda critic, p: -lica_objective(critic, p),
        lambda critic, p: critic(None, p),  # no axis of actions
    ],
    "1.6": [
        released,
        on_policy_only,
        right_action_only,
        score_as_loss,
        mutate(repaired_loss, ".detach()", ""),
        mutate(repaired_loss, "return -(", "return ("),
        mutate(repaired_loss, "advantage).sum()", "advantage).mean()"),
    ],
}
