"""Chapter 00's small team: beliefs are the mixer's own numbers, the committed data say what the chapter says, pictures draw."""

import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import marlcourse as mc
from marlcourse.course import start
from marlcourse.course.checks import ch00
from marlcourse.course.data import load_dataset, provenance

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("parts", [{}, {"mixer": start.PlainSum}])
def test_beliefs_are_what_the_loss_computes(parts):
    """The joint value of every row of a recorded batch, once by the loss's own route, once from `beliefs`."""
    env, team = start.start_team(seed=4, num_envs=64, **parts)
    batch = mc.Collector(env, team, seed=0).collect()
    q = team.utilities(team.agent, batch)[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
    by_the_loss = team.mixer(q, batch.states[:, :-1])
    table, where = start.beliefs(team), batch.states[:, :-1].argmax(-1)
    assert torch.allclose(table[where, batch.actions[..., 0], batch.actions[..., 1]], by_the_loss, atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_the_path_is_what_the_team_plays(seed):
    env, team = start.start_team(seed)
    path = start.path_of(start.beliefs(team))
    assert start.PAYS[path[-1]] == mc.evaluate(env, team, episodes=1).return_mean
    assert start.PAYS[path[0]] in (7, 8)


def test_the_table_of_truths_is_the_world():
    env = mc.make("two-step", device="cpu")
    assert np.array_equal(start.PAYS[1:], env.payoff[1:].numpy())
    assert start.GAMMA == mc.QMIX.Config.preset("two-step").gamma
    assert np.allclose(start.TRUE[0], start.GAMMA * np.array([[7, 7], [8, 8]]))


def test_shares_of_returns():
    assert start.shares([0, 1, 7, 7, 8]) == [0.2, 0.2, 0.4, 0.2]


def test_the_committed_team_is_perfect_and_its_file_small():
    path = load_dataset("teams/two_step")
    team = mc.load_team(path, device="cpu")
    assert mc.evaluate(mc.make("two-step", device="cpu"), team, episodes=4).return_mean == 8
    assert path.stat().st_size < 200_000 and provenance("teams/two_step.pt")["command"].startswith("python benchmarks/")


def test_the_committed_diaries_are_what_the_library_makes_and_what_the_chapter_says():
    data = load_dataset("start_teams")
    assert data["qmix_q_tot"].shape == data["sum_q_tot"].shape == (10, len(data["env_steps"]), 3, 2, 2)
    assert (data["qmix_return"][:, -1] == 8).all() and (data["sum_return"][:, -1] == 7).all()
    for key, parts in (("qmix", {}), ("sum", {"mixer": start.PlainSum})):
        _, team = start.start_team(2, **parts)
        assert np.allclose(start.beliefs(team), data[f"{key}_q_tot"][2, 0], atol=1e-4)
    fresh = [mc.evaluate(*start.start_team(seed), episodes=1).return_mean for seed in range(12)]
    assert fresh == data["untrained_return"][:12].tolist()


def test_what_the_chapter_says_of_the_older_copy():
    """Without it the fall is deeper, and the way back longer."""
    data, now = load_dataset("start_teams"), load_dataset("start_fresh_target")
    assert np.array_equal(data["env_steps"], now["env_steps"])
    old, new = ((d["qmix_return"] == 8).sum(0) for d in (data, now))
    assert new.min() < old.min() and (old[11:] == 10).all() and not (new[11:] == 10).any()
    assert (data["qmix_q_tot"][:, 1, 0].max(1).argmax(1) == 1).all()  # the habit of action 1, for agent 2 too


def test_any_seed_that_follows_the_readers_will_do():
    def train(seed, steps):
        env, team = start.start_team(seed + 7)
        return team, mc.Trainer(env, team, seed=seed + 1000).fit(steps, progress=False)

    ch00.check_train.verify(train)


def test_pictures_carry_the_numbers():
    figure = start.plot_before_after({"a": np.array([8.0, 8.0, 7.0, 0.0]), "b": np.array([1.0])})
    words = [t.get_text() for t in figure.axes[0].texts]
    assert "50 %" in words and "100 %" in words and "mean 5.75" in words and "mean 1.00" in words
    assert start.percent(0.125) == "12.5 %" and start.percent(0.03) == "3 %"
    narrow = start.plot_before_after({"a": np.array([0.0] * 3 + [8.0] * 97)}, title="worth").axes[0]
    assert "3 %" in [t.get_text() for t in narrow.texts] and narrow.get_title(loc="left") == "worth"
    q_tot = np.zeros((4, 2, 3, 2, 2))
    q_tot[:, 1, 2, 1, 1] = [7, 8, 8, 9]
    left, right = start.plot_learning(np.array([0, 500]), np.array([1, 4]), q_tot, fresh=1.5).axes
    assert right.lines[0].get_ydata().tolist() == [0, 8] and right.lines[0].get_xdata().tolist() == [0, 0.5]
    assert left.lines[1].get_ydata()[0] == 1.5 and "of 4" in left.get_ylabel() and "4 seeds" in left.get_title(loc="left")
    table = np.zeros((3, 2, 2))
    table[0, 1, 1], table[2, 1, 1] = 3, 5
    figure = start.plot_beliefs(table, "seed 1: ")
    assert figure.get_suptitle() == "seed 1: the team earns 8"
    assert [len(ax.patches) for ax in figure.axes] == [1, 0, 1] and "not reached" in figure.axes[1].get_title(loc="left")
    assert "5.0" in [t.get_text() for t in figure.axes[2].texts]


@pytest.mark.learning
def test_the_benchmark_writes_data_team_and_provenance(tmp_path):
    script = [sys.executable, "benchmarks/train_start_team.py", "--seeds", "1", "--steps", "200", "--untrained", "2"]
    subprocess.run([*script, "--out", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    assert {p.name for p in tmp_path.iterdir()} == {"start_teams.npz", "start_teams.npz.json", "teams"}
    assert mc.load_team(tmp_path / "teams" / "two_step.pt", device="cpu").env_steps >= 200
