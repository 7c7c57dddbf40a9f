"""Chapter 02's experiments: exact regressions, the same losses as the library's, many seeds at once, and the pictures."""

import importlib.util
import signal
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
import torch

import marlcourse as mc
from marlcourse.course import matrix_plots as pictures
from marlcourse.course.checks import ch02
from marlcourse.course.exercises import ExerciseIncomplete
from marlcourse.course.matrix_study import (
    METHODS,
    Data,
    Fit,
    action_values,
    additive_fit,
    behaviour,
    every_joint_action,
    fit_table,
    fit_tables,
    kinds_of_data,
    two_step_vdn,
    vdn_fit,
)
from marlcourse.envs.matrix import GAMES, MatrixGame
from marlcourse.nets.mixers import MonotonicMixer

matplotlib.use("agg")
QTRAN = torch.tensor(GAMES["qtran"][0], dtype=torch.float32)
_spec = importlib.util.spec_from_file_location("wrong_answers_02", Path(__file__).parent / "mutants" / "ch02.py")
wrong = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(wrong)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- on paper ----


def test_the_best_additive_table_of_qtrans_game():
    fit = additive_fit(QTRAN)
    assert torch.allclose(fit[0], torch.tensor([-6.2222, -4.8889, -4.8889]), atol=1e-3)
    assert torch.allclose(fit[1:, 1:], torch.full((2, 2), -3.5556), atol=1e-3)
    assert float((fit - QTRAN).square().sum()) == pytest.approx(455.11, abs=0.01)


def test_closed_form_is_weighted_least_squares():
    g = torch.Generator().manual_seed(0)
    for _ in range(10):
        table, p, q = torch.randn(3, 3, generator=g), *torch.softmax(torch.randn(2, 3, generator=g), -1)
        assert torch.allclose(vdn_fit(table, p, q), additive_fit(table, torch.outer(p, q)), atol=1e-4)


def test_vdn_prefers_2b_below_an_epsilon_of_082():
    assert two_step_vdn(1.0) == (7.0, pytest.approx(6.5))
    assert two_step_vdn(0.83)[1] < 7 < two_step_vdn(0.80)[1]
    assert two_step_vdn(0.05)[1] == pytest.approx(8 - 6 * 0.025**2)


def test_row_means_under_a_uniform_partner():
    worth = action_values(QTRAN, torch.full((3, 3), 1 / 9))
    assert torch.allclose(worth, torch.tensor([-16 / 3, -4.0, -4.0]), atol=1e-4)
    sure = behaviour(torch.tensor([[0, 0]]), 3, 0.0).view(3, 3) + torch.tensor([[0.0], [1], [1]]) * torch.tensor([1.0, 0, 0])
    assert action_values(QTRAN, sure).tolist() == [8, -12, -12]


def test_behaviour_is_a_distribution_with_independent_agents():
    p = behaviour(torch.tensor([[0, 2], [1, 1]]), 3, 0.3).view(2, 3, 3)
    assert torch.allclose(p.sum((1, 2)), torch.ones(2))
    assert torch.allclose(p, p.sum(2, keepdim=True) * p.sum(1, keepdim=True), atol=1e-6)
    assert p[0, 0, 2] == pytest.approx(0.8**2)


# ---- the exercises' references are the library's own arithmetic ----


def test_the_mixer_of_the_exercise_is_the_librarys():
    torch.manual_seed(0)
    mixer, state = MonotonicMixer(2, 1, embed=4), torch.ones(1)
    q = torch.randn(7, 2)
    weights = (mixer.w1(state).view(2, 4), mixer.b1(state), mixer.w2(state), mixer.v(state).squeeze())
    assert torch.allclose(ch02.mix(q, *weights), mixer(q, state.expand(7, 1)), atol=1e-6)


def test_qtrans_conditions_are_those_of_its_loss():
    game = MatrixGame("qtran", device="cpu")
    rows = every_joint_action(game)
    algo = mc.QTRAN(game.spec, mc.QTRAN.Config.preset("matrix"), seed=3, device="cpu")
    _, metrics = algo.loss(rows)
    features, q = algo.encode(algo.agent, rows)
    greedy, state = q.argmax(-1)[:, :-1], rows.states[:, :-1]
    pick = lambda u: q[:, :-1].gather(-1, u.unsqueeze(-1)).squeeze(-1).sum(-1)
    judge = lambda u: algo.joint_critic(state, features[:, :-1], u)
    opt, nopt = ch02.qtran_conditions(pick(greedy), judge(greedy), pick(rows.actions), judge(rows.actions), algo.value(state))
    assert torch.allclose(opt, metrics["opt_loss"], atol=1e-5) and torch.allclose(nopt, metrics["nopt_loss"], atol=1e-5)


def one_coin(greedy, n_actions, epsilon):
    p = torch.full((n_actions, n_actions), epsilon / n_actions**2)
    p[tuple(greedy)] += 1 - epsilon
    return p


def repaired(against):
    """An answer to 2.6 that compares y with `against(y, greedy, online, target)`."""
    return lambda y, greedy, online, target, alpha: wrong.repaired(y, greedy, against(y, greedy, online, target), alpha)


@pytest.mark.parametrize(
    ("check", "answer", "words"),
    [
        (ch02.check_play, one_coin, "two coins"),
        (ch02.check_play, lambda u, n, e: ch02.play(u, n, e).T, "transposed"),
        (ch02.check_vdn_fit, lambda t, p, q: vdn_fit(t, p, q).T, "transposed"),
        (ch02.check_vdn_fit, lambda t, p, q: t.sum(1, keepdim=True) + t.sum(0) - t.sum(), "sums, not means"),
        (ch02.check_vdn_fit, lambda t, p, q: (t @ q).unsqueeze(-1) + p @ t, "twice"),
        (ch02.check_vdn_fit, wrong.plain_overall_mean, "rows and columns are right.*p @ table @ q"),
        (ch02.check_vdn_fit, wrong.mean_of_row_means, "rows and columns are right"),
        (ch02.check_play, wrong.play_added, "multiplied, not added"),
        (ch02.check_play, wrong.play_averaged, "multiplied, not added"),
        (ch02.check_mix, wrong.softplus_weights, r"take \|w\|, not softplus"),
        (ch02.check_mix, wrong.abs_last_bias, "v is a bias"),
        (ch02.check_mix, lambda q, w1, b1, w2, v: ch02.mix(q, w1, b1.abs(), w2, v), "b1 is a bias"),
        (ch02.check_mix, wrong.abs_everywhere, "b1 is a bias"),
        (ch02.check_mix, wrong.first_layer_only, r"take \|w2\| too"),
        (ch02.check_mix, wrong.second_layer_only, r"take \|w1\| too"),
        (ch02.check_mix, wrong.idle_w2, "w2 has no effect"),
        (ch02.check_mix, wrong.relu_mixer, "not relu"),
        (ch02.check_wqmix_weights, wrong.exchanged, "are OW and CW swapped"),
        (ch02.check_repaired_weights, repaired(lambda y, u, online, target: target[u]), "the released rule"),
        (ch02.check_repaired_weights, repaired(lambda y, u, online, target: target.max()), r"target\.max\(\)"),
        (ch02.check_repaired_weights, repaired(lambda y, u, online, target: online.max()), r"online\.max\(\)"),
        (ch02.check_repaired_weights, repaired(lambda y, u, online, target: online), "own entry for it, online"),
        (ch02.check_repaired_weights, repaired(lambda y, u, online, target: target), "own entry for it, target"),
        (ch02.check_repaired_weights, repaired(lambda y, u, online, target: y[u]), "the reward"),
        (ch02.check_repaired_weights, lambda y, u, o, t, alpha: torch.where(y > o[u], 1.0, alpha), "itself always gets 1"),
    ],
)
def test_a_check_names_the_mistake(check, answer, words):
    with pytest.raises(ExerciseIncomplete, match=words):
        check.verify(answer)


# ---- many teams at once ----


def test_stacking_tables_and_data_changes_nothing():
    """Every group of a stacked run equals the run of its own."""
    data = kinds_of_data(20)
    together = fit_tables("QMIX", {"qtran": "qtran", "climbing": "climbing"}, data, range(2), 20)
    alone = fit_table("QMIX", "climbing", data["epsilon-greedy"].epsilon, range(2), 20, replay=True)
    assert torch.allclose(together["climbing", "epsilon-greedy"].table, alone.table, atol=1e-4)
    assert not torch.allclose(together["climbing", "epsilon-greedy"].table, together["climbing", "uniform"].table, atol=1e-3)
    assert not torch.allclose(together["climbing", "on-policy"].weights, together["climbing", "uniform"].weights, atol=1e-3)


def test_one_member_learns_as_the_plain_algorithm_does():
    game = MatrixGame("or", device="cpu")
    config = mc.QMIX.Config.preset("matrix")
    algo, rows = mc.QMIX(game.spec, config, seed=1, device="cpu"), every_joint_action(game)
    optimizer = algo.optimizers()["main"]
    for _ in range(5):
        loss, _ = algo.loss(rows)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], config.grad_clip)
        optimizer.step()
    fit = fit_table("QMIX", "or", seeds=[0, 1], steps=5)
    with torch.no_grad():
        assert torch.allclose(fit.utilities[1], algo.utilities(algo.agent, rows)[0, 0], atol=1e-4)


def test_replay_averages_all_data_and_watch_sees_it():
    seen = []
    fit_table("VDN", "or", mc.Schedule(1.0, 0.0, 1), [0], 3, replay=True, watch=lambda step, q, w: seen.append((step, q, w)))
    assert [step for step, _, _ in seen] == [0, 1, 2]
    assert torch.allclose(seen[0][2], torch.full((1, 4), 0.25))
    assert seen[1][2].max() == pytest.approx((0.25 + 1) / 2)
    assert torch.allclose(seen[2][2].sum(), torch.tensor(1.0)) and seen[2][1].shape == (1, 2, 2)


def test_start_goes_on_from_another_fit():
    first = fit_table("CW-QMIX", "qtran", seeds=range(2), steps=3)
    again = fit_table("QMIX", "qtran", seeds=range(2), steps=0, start=first)
    assert torch.equal(again.table, first.table)
    with pytest.raises(ValueError, match="as many seeds"):
        fit_table("QMIX", "qtran", seeds=range(3), steps=0, start=first)


def test_progress_tells_how_far_it_is():
    told = []
    fit_table("VDN", "or", seeds=[0], steps=3, progress=told.append)
    assert told == [1, 2, 3]


def test_the_stop_button_keeps_what_was_learned(capsys):
    def press(step, q, weights):
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    stopped = fit_table("VDN", "or", seeds=[0], steps=50, watch=press)
    whole = fit_table("VDN", "or", seeds=[0], steps=3)
    assert stopped.updates == whole.updates == 3 and torch.equal(stopped.table, whole.table)
    assert "VDN: stopped after 3 of 50 steps" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("QMX", "qtran"), "QMIX"),
        (("QMIX", "qtrn"), "qtran"),
        (("QMIX", [[1, 2], [3]]), "not a payoff table"),
        (("QMIX", [[[1, 2], [3, 4]], [[1, 2], [3, 4]]]), "two agents"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words):
    with pytest.raises(ValueError, match=words) as caught:
        fit_table(*arguments)
    assert "\n" not in str(caught.value)


def test_tables_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="same number of actions"):
        fit_tables("VDN", {"a": "or", "b": "qtran"}, {"uniform": Data()})


# ---- what the chapter claims ----


@pytest.mark.learning
def test_fit_and_choice_on_qtrans_game():
    fits = {name: fit_table(name, seeds=range(4), steps=150) for name in ("VDN", "QMIX", "OW-QMIX", "CW-QMIX")}
    assert torch.allclose(fits["VDN"].table[0], additive_fit(QTRAN), atol=0.1)
    assert {name: fit.payoff.tolist() for name, fit in fits.items()} == {
        "VDN": [0.0] * 4,
        "QMIX": [0.0] * 4,
        "OW-QMIX": [8.0] * 4,
        "CW-QMIX": [8.0] * 4,
    }
    assert (fits["OW-QMIX"].sse > fits["QMIX"].sse).all()
    moved = fit_table("QMIX", seeds=range(4), steps=100, start=fits["CW-QMIX"])
    assert (moved.sse < fits["QMIX"].sse).all() and moved.optimal == 1


@pytest.mark.learning
def test_qmix_holds_a_table_that_it_does_not_find():
    held = fit_table("QMIX", [[8, -6, -6], [-6, -6, -6], [-6, -6, -6]], seeds=range(2), steps=100)
    moved, fresh = fit_table("QMIX", seeds=range(2), steps=100, start=held), fit_table("QMIX", seeds=range(2), steps=100)
    assert moved.payoff.tolist() == [8, 8] and fresh.payoff.tolist() == [0, 0]
    assert (moved.sse < 292).all() and (fresh.sse > 319).all()  # 8 * 6^2 = 288 against 16^2 + 4 * 4^2 = 320


@pytest.mark.learning
def test_no_monotone_fit_of_or_and_the_right_choice():
    fit = fit_table("QMIX", "or", seeds=range(4), steps=150)
    assert torch.allclose(fit.sse, torch.full((4,), 0.25), atol=0.02) and fit.optimal == 1


# ---- the committed runs ----


def test_the_committed_runs_hold_what_the_chapter_says():
    grid = mc.load_dataset("matrix_grid")
    assert set(grid["method"]) == set(METHODS) and set(grid["table"]) == set(pictures.TABLES)
    share = grid.groupby(["method", "table", "data"])["optimal"].mean()
    assert share["CW-QMIX", "qtran", "uniform"] == 1 and share["QTRAN", "qtran", "uniform"] >= 0.8
    assert share["VDN", "qtran", "uniform"] == share["QMIX", "qtran", "uniform"] == 0
    sweeps = mc.load_dataset("matrix_sweeps").groupby(["method", "value"])["optimal"].mean()
    assert sweeps["CW-QMIX", 0.1] == 1 and sweeps["CW-QMIX", 1.0] == 0
    assert sweeps["QTRAN", 0.1] >= 0.8
    two_step = mc.load_dataset("matrix_two_step")
    end = two_step[two_step["env_steps"] == two_step["env_steps"].max()].groupby(["data", "method"])["return"]
    assert end.min().to_dict() == {
        ("annealed", "QMIX"): 8,
        ("annealed", "VDN"): 8,
        ("uniform", "QMIX"): 8,
        ("uniform", "VDN"): 7,
    }
    assert end.max()["uniform", "VDN"] == 7


# ---- pictures ----


def fake_fit(method="VDN"):
    table = torch.stack([QTRAN, QTRAN + 1, QTRAN + 9])
    utilities, greedy = torch.zeros(3, 2, 3), torch.zeros(3, 2, dtype=torch.long)
    return Fit(method, QTRAN, table, utilities, greedy, torch.full((3, 3, 3), 1 / 9), {})


def test_a_fit_knows_its_error_and_its_middle_seed():
    fit = fake_fit()
    assert fit.sse.tolist() == [0.0, 9.0, 729.0] and fit.middle == 1
    assert fit.payoff.tolist() == [8, 8, 8] and fit.optimal == 1
    fit.greedy = torch.tensor([[0, 0], [1, 1], [0, 0]])
    assert fit.count == "2 of 3"


def test_methods_start_alike_from_one_seed():
    """So one row of untrained teams serves for all methods."""
    first = [fit_table(method, "qtran", seeds=range(4), steps=0).utilities for method in METHODS]
    assert all(torch.equal(first[0], other) for other in first[1:])


def test_every_picture_is_drawn_and_says_how_many_seeds():
    grid = pd.DataFrame(
        [
            {"method": m, "table": t, "data": d, "seed": s, "optimal": s % 2}
            for m in METHODS
            for t in pictures.TABLES
            for d in kinds_of_data(10)
            for s in range(4)
        ]
    )
    sweeps = pd.DataFrame(
        [
            {"method": m, "option": o, "value": v, "optimal": s % 2, "seed": s}
            for m, o in (("CW-QMIX", "alpha"), ("QTRAN", "lambda_nopt"))
            for v in (0.0 if m == "QTRAN" else 0.01, 0.1, 1.0)
            for s in range(4)
        ]
    )
    two_step = pd.DataFrame(
        [
            {"method": m, "data": d, "seed": s, "env_steps": t, "return": 7.0}
            for m in ("VDN", "QMIX")
            for d in ("uniform", "annealed")
            for s in range(3)
            for t in (0, 100)
        ]
    )
    watched = [(torch.zeros(2, 2, 3), torch.full((2, 9), 1 / 9))] * 3
    for figure, seeds in (
        (pictures.plot_drift(watched, QTRAN), "2"),
        (pictures.plot_fits({"VDN": fake_fit(), "IQL": fake_fit("IQL")}), "3"),
        (pictures.plot_grid(grid), "4"),
        (pictures.plot_grid(grid, untrained=dict.fromkeys(pictures.TABLES, 0.3)), "4"),
        (pictures.plot_sweeps(sweeps), "4"),
        (pictures.plot_sweeps(sweeps, untrained=0.3), "4"),
        (pictures.plot_two_step(two_step), "3"),
    ):
        titles = [figure.get_suptitle(), *(ax.get_title() for ax in figure.axes), *(ax.get_title("left") for ax in figure.axes)]
        assert any(f"{seeds} seeds" in t or f"of {seeds}" in t for t in titles), titles
        matplotlib.pyplot.close(figure)


def test_random_play_is_the_null():
    assert pictures.random_share("qtran") == pytest.approx(1 / 9)
    assert pictures.random_share("penalty-10") == pytest.approx(2 / 9)
    assert pictures.random_share("or") == 0.75


def test_the_explorer_draws_reports_and_refuses_in_one_sentence():
    told = []
    figure = pictures.plot_table([[1, 0], [0, 1]], 0.5, ("VDN", "QMIX"), seeds=2, steps=2, tick=lambda *a: told.append(a))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)] and "your table, epsilon 0.5" in figure.get_suptitle()
    assert "climbing" in pictures.plot_table(GAMES["climbing"][0], methods=("VDN",), seeds=1, steps=1).get_suptitle()
    with pytest.raises(ValueError, match="finite"):
        pictures.plot_table([[1, float("nan")], [0, 1]], steps=1)
    still = pictures.matrix_explorer(static=True, game="climbing", epsilon=0.5, steps=1, seeds=1).figure
    assert "climbing, epsilon 0.5" in still.get_suptitle()
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(("press_at", "methods"), [(1, "VDN"), (2, "VDN"), (3, "VDN, QMIX")])
def test_one_stop_ends_all_methods_of_the_explorer(press_at, methods, capsys):
    told = []

    def tick(done, total):
        told.append(done)
        if done == press_at:
            signal.raise_signal(signal.SIGINT)

    figure = pictures.plot_table([[1, 0], [0, 1]], 0.5, ("VDN", "QMIX", "CW-QMIX"), seeds=1, steps=2, tick=tick)
    assert told == list(range(1, press_at + 1)) and "stopped early" in figure.get_suptitle()
    text = capsys.readouterr().out
    assert f"Stopped: {methods} kept; " in text and "CW-QMIX left out." in text
    assert len(figure.axes) == 2 + len(methods.split(", "))  # the payoffs, the fits, the colour bar
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    matplotlib.pyplot.close("all")


def test_the_picture_has_a_bar_of_its_own(monkeypatch, capsys):
    monkeypatch.setenv("MARLCOURSE_SCALE", "demo")
    pictures.plot_table([[1, 0], [0, 1]], methods=("VDN",), seeds=1, steps=2)
    assert "fitting VDN" in capsys.readouterr().err
    monkeypatch.setenv("MARLCOURSE_SCALE", "ci")
    pictures.plot_table([[1, 0], [0, 1]], methods=("VDN",), seeds=1, steps=2)
    assert not capsys.readouterr().err
    matplotlib.pyplot.close("all")


def test_lambda_zero_is_not_joined_to_the_curve():
    frame = pd.DataFrame(
        [{"method": "QTRAN", "option": "lambda_nopt", "value": v, "optimal": 1, "seed": 0} for v in (0.0, 0.01, 1.0)]
        + [
            {"method": m, "option": "alpha", "value": v, "optimal": 1, "seed": 0}
            for m in ("CW-QMIX", "OW-QMIX")
            for v in (0.1, 1.0)
        ]
    )
    left, right = pictures.plot_sweeps(frame).axes[:2]
    drawn = [line for line in right.lines if 0 in list(line.get_xdata()) and line.get_marker() not in ("None", None)]
    assert [len(line.get_xdata()) for line in drawn] == [1]
    heights = [line.get_ydata()[0] for line in left.lines if line.get_label().endswith("QMIX")]
    assert len(set(heights)) == 2
    matplotlib.pyplot.close("all")


def test_the_grids_titles_are_what_the_data_are():
    data = kinds_of_data(100)
    assert set(pictures.KINDS) == set(data)
    assert data["uniform"].epsilon(0) == data["uniform"].epsilon(100) == 1
    greedy = data["epsilon-greedy"]
    assert (greedy.epsilon(0), greedy.epsilon(100), greedy.replay) == (1, pytest.approx(0.05), True)
    newest = data["on-policy"]
    assert (newest.epsilon(0), newest.epsilon(100), newest.replay) == (0.1, 0.1, False)


def test_the_explorers_bar_is_seen_only_while_it_works(monkeypatch):
    from types import SimpleNamespace

    from marlcourse.viz import explore

    bar = SimpleNamespace(max=1, value=0, layout=SimpleNamespace(visibility="hidden"))
    monkeypatch.setattr(pictures, "_widget_bar", lambda: bar)
    monkeypatch.setattr(explore, "table_explorer", lambda plot, games, **controls: plot)
    plot, seen = pictures.matrix_explorer(), []

    def work(table, epsilon, methods, tick):
        tick(1, 4)
        seen.append((bar.layout.visibility, bar.value, bar.max))
        if len(seen) == 2:
            raise ValueError("no table")

    monkeypatch.setattr(pictures, "plot_table", work)
    plot([[1]], 1.0, ("VDN",))
    assert bar.layout.visibility == "hidden"
    with pytest.raises(ValueError, match="no table"):
        plot([[1]], 1.0, ("VDN",))
    assert seen == [("visible", 1, 4)] * 2 and bar.layout.visibility == "hidden"
