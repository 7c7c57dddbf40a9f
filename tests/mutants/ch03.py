"""Plausible wrong answers to chapter 03's exercises; every check must reject every one."""

import itertools

import torch
import torch.nn.functional as F

from marlcourse.course.checks import ch03
from marlcourse.course.exercises import mutate


def own_best(q, mixer):
    """Takes IGM for granted."""
    return tuple(q.argmax(-1).tolist())


def worst(q, mixer):
    return ch03.best_joint_action(q, lambda values: -mixer(values))


def one_after_the_other(q, mixer):
    """Improves one agent at a time from everybody's first action."""
    u = [0] * len(q)
    for i in range(len(q)):
        tries = [u[:i] + [a] + u[i + 1 :] for a in range(q.shape[1])]
        u = max(tries, key=lambda v: float(mixer(q[range(len(q)), v])))
    return tuple(u)


def two_agents_only(q, mixer):
    a = q.shape[1]
    table = torch.stack([mixer(torch.stack([q[0, i], q[1, j], *q[2:, 0]])) for i in range(a) for j in range(a)])
    k = int(table.argmax())
    return (k // a, k % a, *[q.shape[1] - 1] * (len(q) - 2))


def transposed(q, mixer):
    return ch03.best_joint_action(q, mixer)[::-1]


def as_list(q, mixer):
    return list(ch03.best_joint_action(q, mixer))


def its_value(q, mixer):
    return max(
        float(mixer(q[range(len(q)), list(u)])) for u in torch.cartesian_prod(*[torch.arange(q.shape[1])] * len(q)).tolist()
    )


def its_place(q, mixer):
    joint = torch.cartesian_prod(*[torch.arange(q.shape[1])] * len(q))
    return mixer(q.gather(1, joint.T).T).argmax()


def two_agents_by_name(q, mixer):
    """Right for two agents, stops for three."""
    pairs = [(i, j) for i in range(q.shape[1]) for j in range(q.shape[1])]
    return max(pairs, key=lambda u: float(mixer(torch.stack([q[0, u[0]], q[1, u[1]]]))))


def tuple_of_tensors(q, mixer):
    return tuple(torch.tensor(u) for u in ch03.best_joint_action(q, mixer))


def from_the_value_zero(q, mixer):
    best, value = None, 0
    for u in itertools.product(range(q.shape[1]), repeat=len(q)):
        if float(mixer(q[range(len(q)), list(u)])) > value:
            best, value = u, float(mixer(q[range(len(q)), list(u)]))
    return best


def from_a_list(joint_actions):
    """A search over what itertools lists, which is not every joint action."""
    return lambda q, mixer: max(
        joint_actions(range(q.shape[1]), len(q)), key=lambda u: float(mixer(q[range(len(q)), list(u)])), default=None
    )


def of_the_numbers(q, mixer):
    """Gives the mixer the actions' numbers."""
    joint = itertools.product(range(q.shape[1]), repeat=len(q))
    return max(joint, key=lambda u: float(mixer(torch.tensor(u, dtype=torch.float))))


def wall_at(low, high):
    def move(row, column, action):
        down, right = ((0, 0), (1, 0), (0, -1), (-1, 0), (0, 1))[action]
        return min(max(row + down, low), high), min(max(column + right, low), high)

    return move


def stay_stays(row, column, action):
    """The wall is found, the dragging is not."""
    return (row, column) if action == 0 else ch03.ma_gym_move(row, column, action)


def only_the_coordinate_that_moves(row, column, action):
    new = ch03.ma_gym_move(row, column, action)
    return (new[0] if action in (1, 3) else row, new[1] if action in (2, 4) else column)


def only_rows(row, column, action):
    return ch03.ma_gym_move(row, column, action)[0], wall_at(0, 4)(row, column, action)[1]


def looked_up(row, column, action):
    """Right on every recorded move, without the rule."""
    return {move: ch03.ma_gym_move(*move) for move in itertools.product(range(5), repeat=3)}[row, column, action]


def as_a_list(row, column, action):
    return list(ch03.ma_gym_move(row, column, action))


def sign_kept(part):
    return mutate(ch03.mix, f'nets["{part}"](state).abs()', f'nets["{part}"](state)')


def multiplied_mask(online, target, avail):
    best = (online * avail).argmax(-1, keepdim=True)
    return target.gather(-1, best).squeeze(-1)


def overwriting_mask(online, target, avail):
    online[~avail] = -1e10
    return ch03.double_q(online, target, avail)


def overwriting_memory(from_x, from_h, h):
    new = ch03.gru_step(from_x, from_h, h)
    h.mul_(0).add_(new)
    return new


def reward_deleted(q_tot, next_q_tot, reward, terminated, mask, gamma):
    y = (1 - terminated.float()) * (reward + gamma * next_q_tot.detach())
    return (mask * (q_tot - y) ** 2).sum() / mask.sum()


def mean_of_episodes(q_tot, next_q_tot, reward, terminated, mask, gamma):
    y = reward + gamma * (1 - terminated.float()) * next_q_tot.detach()
    return ((mask * (q_tot - y) ** 2).sum(1) / mask.sum(1)).mean()


def without_the_end(q_tot, next_q_tot, reward, terminated, mask, gamma):
    return ch03.td_loss(q_tot, next_q_tot, reward, terminated, mask * (1 - terminated.float()), gamma)


def cut_is_end(q_tot, next_q_tot, reward, terminated, mask, gamma):
    last = mask.cumsum(1) == mask.sum(1, keepdim=True)
    return ch03.td_loss(q_tot, next_q_tot, reward, terminated | last, mask, gamma)


def relu_mixer(q, state, nets):
    e = nets["b1"](state).shape[-1]
    w1 = nets["w1"](state).abs().unflatten(-1, (q.shape[-1], e))
    hidden = F.relu((q.unsqueeze(-2) @ w1).squeeze(-2) + nets["b1"](state))
    return (hidden * nets["w2"](state).abs()).sum(-1) + nets["v"](state).squeeze(-1)


def with_weights(rule):
    """Weights made positive in another way than QMIX's."""
    text = {"softplus": "F.softplus({})", "exp": "{}.exp()", "relu": "F.relu({})"}[rule]
    one = mutate(ch03.mix, 'nets["w1"](state).abs()', text.format('nets["w1"](state)'))
    return mutate(one, 'nets["w2"](state).abs()', text.format('nets["w2"](state)'))


MUTANTS = {
    "3.1": [
        mutate(ch03.gru_step, "z * h + (1 - z) * new", "(1 - z) * h + z * new"),
        mutate(ch03.gru_step, "n_x + r * n_h", "n_x + n_h"),
        mutate(ch03.gru_step, "n_x + r * n_h", "r * (n_x + n_h)"),
        mutate(ch03.gru_step, "torch.tanh(", "torch.sigmoid("),
        mutate(ch03.gru_step, "torch.sigmoid(z_x + z_h)", "torch.sigmoid(z_x)"),
        mutate(ch03.gru_step, "r, z = torch", "z, r = torch"),
        mutate(ch03.gru_step, "r * n_h", "r * h"),
        mutate(ch03.gru_step, "torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)", "r_x + r_h, z_x + z_h"),
        overwriting_memory,
        mutate(ch03.gru_step, "return z * h + (1 - z) * new", "return (z * h + (1 - z) * new).detach()"),
        mutate(ch03.gru_step, "z * h + (1", "z * h.detach() + (1"),
    ],
    "3.2": [
        mutate(ch03.double_q, "masked(online", "masked(target"),
        mutate(ch03.double_q, "masked(online, avail)", "online.masked_fill(~avail, -1000.0)"),
        mutate(ch03.double_q, "target.gather", "online.gather"),
        mutate(ch03.double_q, "masked(online, avail)", "online"),
        mutate(ch03.double_q, "masked(online, avail)", "masked(online, ~avail)"),
        multiplied_mask,
        overwriting_mask,
        lambda online, target, avail: ch03.double_q(target, online, avail),
        lambda online, target, avail: torch.where(avail, target, -1e10).max(-1).values,
    ],
    "3.3": [
        mutate(ch03.td_loss, "masked_mean((q_tot - y) ** 2, mask)", "((q_tot - y) ** 2).mean()"),
        mutate(ch03.td_loss, "masked_mean((q_tot - y) ** 2, mask)", "(mask * (q_tot - y) ** 2).mean()"),
        mutate(ch03.td_loss, "masked_mean((q_tot - y) ** 2, mask)", "(mask * (q_tot - y) ** 2).sum()"),
        mutate(ch03.td_loss, "td_target(reward, terminated,", "td_target(reward, torch.zeros_like(terminated),"),
        mutate(ch03.td_loss, ".detach()", ""),
        mutate(ch03.td_loss, "(q_tot - y)", "(q_tot.detach() - y)"),
        mutate(ch03.td_loss, "(q_tot - y) ** 2", "(q_tot - y).abs()"),
        mutate(ch03.td_loss, "td_target(reward, terminated,", "td_target(reward, ~terminated,"),
        mutate(ch03.td_loss, "next_q_tot.detach(), gamma", "next_q_tot.detach(), 1.0"),
        mutate(ch03.td_loss, "return masked_mean", "return 0.5 * masked_mean"),
        lambda *args: ch03.td_loss(*args).item(),
        reward_deleted,
        mean_of_episodes,
        without_the_end,
        cut_is_end,
    ],
    "3.4": [
        sign_kept("w1"),
        sign_kept("w2"),
        mutate(ch03.mix, '+ nets["b1"](state))', '+ nets["b1"](state).abs())'),
        mutate(ch03.mix, '+ nets["v"](state)', '+ nets["v"](state).abs()'),
        mutate(ch03.mix, "unflatten(-1, (n, e))", "unflatten(-1, (e, n)).mT"),
        mutate(ch03.mix, "F.elu(", "("),
        mutate(ch03.mix, 'squeeze(-2) + nets["b1"](state))', 'squeeze(-2)) + nets["b1"](state)'),
        mutate(ch03.mix, ' + nets["b1"](state))', ")"),
        mutate(ch03.mix, ' + nets["v"](state).squeeze(-1)', ""),
        mutate(ch03.mix, "nets):\n", "nets):\n    q = q.detach()\n"),
        mutate(ch03.mix, "nets):\n", "nets):\n    nets = {k: (lambda s, f=f: f(s).detach()) for k, f in nets.items()}\n"),
        mutate(ch03.mix, "unflatten(-1, (n, e))", "unflatten(-1, (2, -1))"),
        with_weights("softplus"),
        with_weights("exp"),
        with_weights("relu"),
        relu_mixer,
        mutate(ch03.mix, 'nets["v"](state).squeeze(-1)', 'nets["v"](state).squeeze()'),
        mutate(ch03.mix, ".squeeze(-2) +", ".squeeze() +"),
    ],
    "3.5": [
        own_best,
        worst,
        one_after_the_other,
        two_agents_only,
        two_agents_by_name,
        transposed,
        as_list,
        its_value,
        its_place,
        tuple_of_tensors,
        from_the_value_zero,
        from_a_list(itertools.permutations),
        from_a_list(itertools.combinations_with_replacement),
        of_the_numbers,
    ],
    "3.6": [
        wall_at(0, 4),
        wall_at(1, 4),
        wall_at(1, 3),
        stay_stays,
        only_the_coordinate_that_moves,
        only_rows,
        looked_up,
        as_a_list,
    ],
}
