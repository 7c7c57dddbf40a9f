"""Chapter 03's recall experiment: every episode once, exact returns, a stack of seeds that is what single teams are; and the
sentences that its checks have for known mistakes."""

import itertools

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import marlcourse as mc
from marlcourse.course import recall_study as recall
from marlcourse.course.checks import ch03
from marlcourse.course.exercises import ExerciseIncomplete, mutate
from marlcourse.envs.two_rooms import TwoRooms


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("doors, corridor", [(2, 2), (3, 1)])
def test_the_batch_holds_every_episode_once(doors, corridor):
    batch = recall.every_episode(doors, corridor)
    lamps = batch.obs[:, 0, :, :doors].argmax(-1)
    opened = batch.actions[:, -1] - 1
    rows = {tuple(row) for row in torch.cat([lamps, opened], 1).tolist()}
    assert rows == set(itertools.product(range(doors), repeat=4)) and len(batch) == doors**4
    assert torch.equal(batch.reward[:, -1], (lamps == opened).all(-1).float()) and not batch.reward[:, :-1].any()
    assert batch.terminated[:, -1].all() and not batch.terminated[:, :-1].any() and not batch.truncated.any()
    assert batch.avail[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).all()
    one = recall.one_for_each_lamp(batch)
    assert {tuple(x) for x in one.obs[:, 0, :, :doors].argmax(-1).tolist()} == set(itertools.product(range(doors), repeat=2))


def test_counting_agrees_with_the_world():
    teams = recall.forgetful_teams(3)
    assert set(teams.values()) == {TwoRooms(device="cpu", doors=3).best_without_memory}
    assert set(teams) == set(itertools.product((1, 2, 3), repeat=2))  # doors are numbered from 1, as their actions are


def test_returns_are_what_single_teams_earn_when_they_play():
    """Seed 1 of the stack, as an ordinary team in the ordinary world: the same greedy return, wiped or not."""
    fit = recall.train("forgetful", seeds=range(3), updates=3)
    team = fit.members.member(1)
    env = mc.make("two-rooms", num_envs=4, device="cpu", doors=2, corridor=2)
    env._draw_start = lambda: {"lamp": torch.tensor(list(itertools.product(range(2), repeat=2)))}
    played = mc.Collector(env, team).collect(explore=False)
    assert played.reward.sum(1).mean().item() == pytest.approx(fit.last[1])
    assert fit.updates == [0, 3] and fit.returns.shape == (2, 3) and fit.q_tot.shape == (3, 4)
    assert np.array_equal(fit.wiped, fit.last)  # there was nothing to wipe


class Reads(torch.nn.Module):
    """A hand-made agent that keeps the lamp for ever: utilities of the doors are the colour it saw."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def initial_hidden(self, batch_size, n_agents):
        return torch.zeros(batch_size, n_agents, 2)

    def forward(self, obs, last_action, hidden):
        out = []
        for t in range(obs.shape[1]):
            hidden = hidden + obs[:, t, :, :2]
            out.append(torch.cat([torch.zeros_like(hidden[..., :1]), hidden * self.scale], -1))
        return torch.stack(out, 1), hidden


def test_a_team_that_remembers_earns_one_and_wiped_a_quarter():
    fit = recall.train("hand-made", agent=Reads, seeds=range(2), updates=1, lr=1e-6)
    assert fit.last.tolist() == [1.0, 1.0] and fit.solved == 2
    assert fit.wiped.tolist() == [0.25, 0.25]


def test_what_a_team_says_in_room_two():
    """The hand-made team's utilities are the colour it saw; with a mixer that sums, Q_tot counts the right doors."""
    from marlcourse.nets.simple_mixer import SumMixer

    summed = type("Summed", (mc.QMIX,), {"default_mixer": lambda self: SumMixer()})
    q, table = recall.room_two(recall.train("hand-made", team=summed, agent=Reads, seeds=range(2), updates=1, lr=1e-6), 1)
    assert q.shape == (4, 2, 2) and table.shape == (4, 2, 2)
    for lamps, said, values in zip(itertools.product(range(2), repeat=2), q, table):
        assert said.argmax(-1).tolist() == list(lamps)
        right = [[float((i == lamps[0]) + (j == lamps[1])) for j in range(2)] for i in range(2)]
        assert torch.allclose(values, torch.tensor(right), atol=1e-3)


def test_what_an_agent_makes_of_its_lamp():
    """The hand-made agent's utility of a door is 1 under its colour, else 0; a forgetful one's is the same under both."""
    lamps, doors, follows = recall.told_apart(recall.train("hand-made", agent=Reads, seeds=range(2), updates=1, lr=1e-6))
    assert lamps.shape == doors.shape == follows.shape == (2, 2) and follows.all()
    assert torch.allclose(lamps, torch.ones(2, 2), atol=1e-3) and torch.allclose(doors, torch.ones(2, 2), atol=1e-3)
    lamps, doors, follows = recall.told_apart(recall.train("forgetful", seeds=range(2), updates=2))
    assert not lamps.any() and (doors > 0).all() and not follows.any()


class Leaks(Reads):
    """Writes a half of the lamp, and keeps a half at each later step: a gate that stands half open."""

    def forward(self, obs, last_action, hidden):
        assert (last_action[:, 0] == -1).all() and not last_action[:, 1:].any()
        for t in range(obs.shape[1]):
            hidden = 0.5 * hidden + 0.5 * obs[:, t, :, :2]
        return None, hidden


@pytest.mark.parametrize("corridor", [2, 6])
def test_the_trace_of_a_lamp_at_the_door(corridor):
    """(1 - z) z^k with k = corridor + 1 dark steps up to the choice; asking leaves the random numbers where they were."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert recall.trace(Leaks, corridor, range(2)) == pytest.approx(0.5 * 0.5 ** (corridor + 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_padding_that_is_masked_changes_nothing():
    plain, padded = (recall.train("x", seeds=range(2), updates=6, change=c) for c in (None, recall.padded))
    assert np.allclose(plain.q_tot, padded.q_tot, atol=1e-5) and np.array_equal(plain.returns, padded.returns)
    batch = recall.padded(recall.every_episode(), 3)
    assert batch.mask.sum(1).unique().tolist() == [4.0] and batch.obs.shape[1] == 8 and batch.avail.any(-1).all()


def test_pictures():
    fits = {"as it is": recall.train("a", seeds=range(2), updates=2), "other": recall.train("b", seeds=range(2), updates=2)}
    figure = recall.plot_recall(fits["as it is"], fits["other"], untrained=fits["other"].returns[0], title="a title")
    assert figure.get_suptitle() == "a title" and "2 seeds" in figure.axes[0].get_title("left")
    assert len(figure.axes[1].patches) == 4
    assert "2 seeds" in recall.plot_reach({(2, 0.0): fits["as it is"]}, "t").axes[0].get_title("left")
    left, right = recall.plot_breaks(fits, "t").axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["as it is", "other"]
    honest = fits["as it is"].last[:, None] * 0.99 ** np.arange(3, -1, -1)
    drawn = right.collections[0].get_offsets()[:, 0]
    assert np.allclose(drawn, np.sort(np.abs(fits["as it is"].q_tot - honest).max(1)))  # held against what that team earns


def test_what_a_forgetful_team_believes_and_a_stop_that_is_said(monkeypatch):
    fit = recall.train("forgetful", seeds=range(3), updates=60)
    told = recall.beliefs(fit)
    assert list(told) == [0, 1, 2] and all(values.shape == (3,) for values in told.values())
    share = (told[0] + 2 * told[1] + told[2]) / 4  # of the four pairs of lamps one is right, one wrong, two half right
    assert np.allclose(share, fit.q_tot[:, -1], atol=1e-5)
    assert fit.stopped == recall.cut_short(fit) == ""
    monkeypatch.setattr(recall, "stoppable", lambda steps, *args, **kwargs: list(steps)[:7])
    short = recall.train("GRU", seeds=range(2), updates=60)
    assert short.updates == [0, 5, 7] and len(short.returns) == 3
    assert "GRU stopped after 7 of 60 updates" in recall.cut_short(fit, short)
    figure = recall.plot_recall(fit, short)
    assert any("stopped after 7 of 60" in text.get_text() for text in figure.legends[0].get_texts())
    assert "stopped" in recall.plot_breaks({"a": short}).axes[0].get_yticklabels()[0].get_text()
    assert "stopped" in recall.plot_reach({(2, 0.0): short}).axes[0].get_xticklabels()[0].get_text()


@pytest.mark.learning
def test_a_gru_learns_what_no_forgetful_team_can():
    """The chapter's claim with the reference of exercise 3.1 as its memory."""
    from marlcourse.course.checks.ch03 import gru_step

    spec = recall.spec_of()

    class Agent(torch.nn.Module):
        def __init__(self, h=16):
            super().__init__()
            self.first, self.head = torch.nn.Linear(spec.obs_dim, h), torch.nn.Linear(h, spec.n_actions)
            self.x, self.h, self.width = torch.nn.Linear(h, 3 * h), torch.nn.Linear(h, 3 * h), h

        def initial_hidden(self, batch_size, n_agents):
            return torch.zeros(batch_size, n_agents, self.width)

        def forward(self, obs, last_action, hidden):
            out = []
            for t in range(obs.shape[1]):
                hidden = gru_step(self.x(torch.relu(self.first(obs[:, t]))), self.h(hidden), hidden)
                out.append(self.head(hidden))
            return torch.stack(out, 1), hidden

    gru = recall.train("GRU", agent=Agent, seeds=range(4), updates=160)
    assert gru.solved >= 3 and (gru.wiped == 0.25).all()
    assert (recall.train("forgetful", seeds=range(4), updates=160).last == 0.25).all()


def half_squares(*args):
    return 0.5 * ch03.td_loss(*args)


def reward_deleted(q_tot, next_q_tot, reward, terminated, mask, gamma):
    y = (1 - terminated.float()) * (reward + gamma * next_q_tot.detach())
    return (mask * (q_tot - y) ** 2).sum() / mask.sum()


def in_place(from_x, from_h, h):
    new = ch03.gru_step(from_x, from_h, h)
    return h.copy_(new)


def overwrites(online, target, avail):
    online[~avail] = -1e10
    return ch03.double_q(online, target, avail)


def bias_outside(q, state, nets):
    inside = {**nets, "b1": lambda s: torch.zeros_like(nets["b1"](s))}
    w2 = nets["w2"](state).abs()
    return ch03.mix(q, state, inside) + (nets["b1"](state) * w2).sum(-1)


def found_by(joint_actions):
    """The best of what `joint_actions` lists, by a search that starts from -inf."""
    return lambda q, mixer: max(
        joint_actions(range(q.shape[1]), len(q)), key=lambda u: float(mixer(q[range(len(q)), list(u)])), default=None
    )


def never_above_zero(q, mixer):
    best = found_by(lambda a, n: itertools.product(a, repeat=n))(q, mixer)
    return best if float(mixer(q[range(len(q)), list(best)])) > 0 else None


def own_best(q):
    return tuple(q.argmax(-1).tolist())


def by_numbers(q, mixer):
    return ch03.best_joint_action(torch.arange(q.shape[1]).float().expand(len(q), -1), mixer)


@pytest.mark.parametrize(
    "check, answer, words",
    [
        (ch03.check_gru_step, in_place, "has overwritten one of its inputs"),
        (ch03.check_double_q, overwrites, "has overwritten one of its inputs"),
        (ch03.check_double_q, lambda on, target, avail: ch03.double_q(on, target, ~avail), "the wrong way round"),
        (ch03.check_double_q, lambda on, target, avail: ch03.double_q(target, on, avail), "changed places"),
        (ch03.check_td_loss, half_squares, "no factor 1/2"),
        (ch03.check_td_loss, lambda *args: ch03.td_loss(*args).item(), "returned a float"),
        (ch03.check_td_loss, reward_deleted, "was deleted"),
        (ch03.check_mix, bias_outside, "added after ELU"),
        (ch03.check_mix, mutate(ch03.mix, ".abs()", ".exp()"), "QMIX takes the absolute value"),
        (ch03.check_mix, mutate(ch03.mix, ' + nets["v"](state).squeeze(-1)', ""), "v is missing"),
        (ch03.check_mix, mutate(ch03.mix, ' + nets["b1"](state))', ")"), "b1 is missing"),
        (ch03.check_mix, mutate(ch03.mix, "squeeze(-1)", "squeeze()"), "without an axis"),
        (ch03.check_best_joint_action, lambda q, mixer: own_best(q), "[[1, 5, 2], [0, 3, 4]], Q_tot = Q_1 - Q_2)"),
        (ch03.check_best_joint_action, lambda q, mixer: tuple(torch.tensor(ch03.best_joint_action(q, mixer))), "Tensor in it"),
        (ch03.check_best_joint_action, never_above_zero, "no Q_tot is above 0"),
        (ch03.check_best_joint_action, found_by(itertools.permutations), "permutations"),
        (ch03.check_best_joint_action, by_numbers, "NUMBERS"),
        (ch03.check_ma_gym_move, lambda *args: list(ch03.ma_gym_move(*args)), "a list is never equal to a tuple"),
        (
            ch03.check_ma_gym_move,
            lambda *args: {m: ch03.ma_gym_move(*m) for m in itertools.product(range(5), repeat=3)}.get(args),
            "looks the move up",
        ),
    ],
)
def test_a_known_mistake_has_its_own_sentence(check, answer, words):
    with pytest.raises(ExerciseIncomplete) as error:
        check.verify(answer)
    assert words in str(error.value) and len(str(error.value).splitlines()) == 2
