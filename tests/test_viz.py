"""Pictures are judged by their artists (titles, labels, lines, numbers), never by pixels; widgets without a browser."""

import io
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import marlcourse as mc
from marlcourse.trainer import Run
from marlcourse.viz import board, curves, explore, style
from marlcourse.viz.watch import LIMIT, Animation, watch


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def run_with(returns, steps=None, algorithm="QMIX", seed=0, **columns):
    steps = range(0, 10 * len(returns), 10) if steps is None else steps
    rows = [{"env_steps": s, "return_mean": float(r), "win_rate": None} for s, r in zip(steps, returns)]
    for name, values in columns.items():
        for row, v in zip(rows[1:], values):  # no losses before the first update
            row[name] = v
    return Run(rows, "lumberjacks", algorithm, {}, seed, {}, "cpu")


def texts(ax):
    return [t.get_text() for t in ax.texts]


# ---- style ----


def test_colours_are_unique_and_every_line_has_a_look_of_its_own():
    colours = [c.lower() for c, _, _ in style.ALGORITHMS.values()]
    assert len(set(colours)) == len(style.ALGORITHMS) == 21
    assert len({(m, d) for _, m, d in style.ALGORITHMS.values()}) == 21
    assert not set(colours) & {c.lower() for c, _, _ in style.SPARE}


# Linear RGB as people without the red, the green or the blue cones see it (Machado, Oliveira and Fernandes 2009,
# severity 1), and the identity.
SIGHT = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
DRAWN_TOGETHER = [
    ("IQL", "VDN", "QMIX", "OW-QMIX", "CW-QMIX", "QTRAN", "random"),
    ("COMA (on-policy)", "COMA (as released)", "LICA", "random"),
    ("QMIX", "QMIX-simple", "QMIX-GRE", "random"),
    ("QMIX", "QMIX_large", "MNMPG", "NQMIX", "random"),
    ("HAPPO", "HATRPO", "MAPPO", "IPPO", "random"),
    ("MAT", "MAT-Dec", "MAPPO", "random"),
]


def lab(colour, sight):
    """CIE L*a*b* of a colour as seen, from sRGB through linear RGB and XYZ (D65)."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(sight) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    f = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 1e-9))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("names", DRAWN_TOGETHER, ids=lambda names: names[0])
def test_algorithms_of_one_chapter_stay_apart_for_colour_blind_readers(names, sight):
    seen = {n: lab(style.colour(n), SIGHT[sight]) for n in names}
    distance = {(a, b): float(np.linalg.norm(seen[a] - seen[b])) for a in names for b in names if a < b}
    assert min(distance.values()) > 12, min(distance, key=distance.get)  # about 2 is the least an eye can tell


@pytest.mark.parametrize(
    "label, algorithm",
    [
        ("QMIX", "QMIX"),
        ("OWQMIX", "OW-QMIX"),
        ("CWQMIX", "CW-QMIX"),
        ("qmix-gre", "QMIX-GRE"),
        ("QMIX, uniform data", "QMIX"),
        ("COMA", "COMA (on-policy)"),
        ("COMA as released", "COMA (as released)"),
        ("MAT-Dec", "MAT-Dec"),
        ("random play", "random"),
        ("null", "random"),
        ("matrix", None),
        ("MyMixer", None),
    ],
)
def test_a_label_finds_its_algorithm(label, algorithm):
    assert style.known(label) == algorithm


def test_two_labels_of_one_algorithm_share_its_colour_but_not_its_line():
    looks = style.styles(["VDN, uniform data", "VDN, epsilon 0.05", "mine", "yours"])
    first, second, mine, yours = looks.values()
    assert first["color"] == second["color"] == style.colour("VDN")
    assert first["linestyle"] != second["linestyle"]
    assert mine["color"] != yours["color"]


def test_use_sets_the_look_and_context_gives_it_back():
    with matplotlib.rc_context():
        matplotlib.rcParams["axes.spines.top"] = True
        with style.context():
            assert not matplotlib.rcParams["axes.spines.top"]
        assert matplotlib.rcParams["axes.spines.top"]
        style.use()
        assert not matplotlib.rcParams["axes.spines.top"] and matplotlib.rcParams["font.size"] >= 10


# ---- curves ----


def test_curves_show_median_and_quartiles_of_the_seeds():
    runs = [run_with([0, k, 2 * k], seed=k) for k in (1, 2, 3, 4, 9)]
    ax = curves.plot_runs({"QMIX": runs}, reference={"optimum": 8, "random play": 2.1})
    line, optimum, random_play = ax.lines
    assert line.get_xdata().tolist() == [0, 10, 20]
    assert line.get_ydata().tolist() == [0, 3, 6]
    assert line.get_color() == style.colour("QMIX")
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == 8 and {2.0, 4.0} <= set(band[band[:, 0] == 10][:, 1])  # quartiles of k = 2 and 4
    assert optimum.get_ydata()[0] == 8 and random_play.get_ydata()[0] == 2.1
    assert random_play.get_color() == style.GREY
    assert "5 seeds" in ax.get_title(loc="left") and "lumberjacks" in ax.get_title(loc="left")
    assert ax.get_xlabel() == "environment steps" and ax.get_ylabel() == "team return per episode"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["QMIX", "optimum (8)", "random play (2.1)"]


def test_a_single_seed_is_a_plain_line():
    ax = run_with([1, 2, 3]).plot()
    assert len(ax.lines) == 1 and not ax.collections and "1 seed" in ax.get_title(loc="left")


def test_unequal_grids_are_interpolated_within_the_common_range_and_the_figure_says_so():
    ax = curves.plot_runs({"VDN": [run_with([0, 10], [0, 100]), run_with([5, 5, 5], [20, 40, 200])]})
    assert ax.lines[0].get_xdata().tolist() == [20, 40, 100]
    assert ax.lines[0].get_ydata().tolist() == [3.5, 4.5, 7.5]
    assert any("interpolated" in t for t in texts(ax))
    assert not texts(curves.plot_runs({"VDN": [run_with([0, 10]), run_with([5, 5])]}))


def test_numbers_of_seeds_that_differ_are_both_in_the_title():
    ax = curves.plot_runs({"VDN": [run_with([1])] * 2, "IQL": [run_with([1])] * 5}, title="Junction")
    assert ax.get_title(loc="left").startswith("Junction") and "2 to 5 seeds" in ax.get_title(loc="left")


def test_short_names_and_missing_values():
    run = run_with([1, 2, 3], main_loss=[0.5, 0.25])
    assert curves.plot_runs({"QMIX": run}, y="loss").lines[0].get_ydata().tolist() == [0.5, 0.25]
    assert curves.plot_runs({"QMIX": run}, y="return").lines[0].get_ydata().tolist() == [1, 2, 3]
    assert not curves.plot_runs({"QMIX": run}, y="win_rate").lines  # a world without victory: None in every row
    with pytest.raises(ValueError, match="did you mean 'return_mean'"):
        curves.plot_runs({"QMIX": run}, y="retrun_mean")
    with pytest.raises(ValueError, match="no run to draw for 'IQL'"):
        curves.plot_runs({"IQL": []})


def test_curves_draw_into_given_axes():
    figure, (left, right) = plt.subplots(1, 2)
    assert curves.plot_runs({"IQL": run_with([1, 2])}, ax=right) is right
    assert not left.lines and len(right.lines) == 1


OUTCOMES = {"COMA": {"wait": 0.1, "pass": 0.9}, "LICA": {"wait": 0.4, "pass": 0.6}}
NULL = {"wait": 0.5, "pass": 0.5}


def test_grouped_outcomes_have_a_bar_per_method_and_a_grey_null():
    ax = curves.plot_outcomes(OUTCOMES, NULL, title="Junction", count="1000 initialisations")
    heights = [[b.get_height() for b in bars] for bars in ax.containers]
    assert heights == [[0.1, 0.9], [0.4, 0.6], [0.5, 0.5]]
    assert matplotlib.colors.to_hex(ax.containers[2][0].get_facecolor()) == style.GREY.lower()
    assert matplotlib.colors.to_hex(ax.containers[1][0].get_facecolor()) == style.colour("LICA").lower()
    assert ax.get_title(loc="left") == "Junction\n1000 initialisations" and ax.get_ylabel() == "share"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["wait", "pass"]


def test_stacked_outcomes_fill_a_bar_per_method():
    ax = curves.plot_outcomes(OUTCOMES, NULL, kind="stacked")
    ends = {}
    for bar in ax.patches:
        row = round(bar.get_y() + bar.get_height() / 2)
        ends[row] = max(ends.get(row, 0), bar.get_x() + bar.get_width())
    assert ends == pytest.approx({0: 1, 1: 1, 2: 1})
    assert [t.get_text() for t in ax.get_yticklabels()] == ["COMA", "LICA", "untrained"]
    null = [b.get_facecolor() for b in ax.patches if round(b.get_y() + b.get_height() / 2) == 2]
    assert all(r == g == b for r, g, b, _ in null)


def test_outcomes_refuse_counts_and_incomplete_stacks():
    with pytest.raises(ValueError, match="not counts"):
        curves.plot_outcomes({"COMA": {"wait": 500}})
    with pytest.raises(ValueError, match="add up to 0.5"):
        curves.plot_outcomes({"COMA": {"wait": 0.5}}, kind="stacked")
    with pytest.raises(ValueError, match="'grouped' or 'stacked'"):
        curves.plot_outcomes(OUTCOMES, kind="pie")


QTRAN = [[8.0, -12, -12], [-12, 0, 0], [-12, 0, 0]]
FITTED = {"IQL": None, "VDN": torch.zeros(3, 3), "QMIX": [[-8, -8, -8], [-8, 0, 0], [-8, 0, 0]], "QTRAN": QTRAN}


def test_tables_show_fit_choice_and_optimum():
    greedy = {"IQL": (1, 2), "VDN": (1, 1), "QMIX": (2, 2), "QTRAN": (0, 0)}
    axes = curves.heat_tables(FITTED, QTRAN, greedy, title="QTRAN's game")
    assert [ax.get_title() for ax in axes] == ["payoff", *FITTED]
    assert texts(axes[0])[-1] == "★ optimum"
    assert texts(axes[1])[-1] == "no joint table · plays 0"
    assert texts(axes[2])[-1] == "SSE 640 · plays 0"
    assert texts(axes[3])[-1] == "SSE 320 · plays 0"
    assert texts(axes[4])[-1] == "SSE 0 · plays 8"
    assert [t for t in texts(axes[3])[:-1] if t != "★"] == ["-8"] * 4 + ["0", "0", "-8", "0", "0"]
    frames = [ax.patches[0] for ax in axes[1:]]
    assert [(round(f.get_y() + 0.45), round(f.get_x() + 0.45)) for f in frames] == list(greedy.values())
    assert not axes[0].patches
    assert len({(ax.images[0].norm.vmin, ax.images[0].norm.vmax) for ax in axes}) == 1
    stars = [
        [(round(t.get_position()[1] + 0.4), round(t.get_position()[0] - 0.4)) for t in ax.texts if t.get_text() == "★"]
        for ax in axes
    ]
    assert stars == [[(0, 0)]] * 5


def test_every_number_is_legible_on_its_cell():
    from matplotlib.colors import to_rgb

    def light(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear)) + 0.05

    numbers = np.array([[8.0, -8, 12], [-12, 6, -6], [0, 10, -10]])
    (axes,) = curves.heat_tables({}, numbers)
    axes.figure.canvas.draw()
    pixels = np.asarray(axes.figure.canvas.buffer_rgba())[..., :3] / 255
    for text in [t for t in axes.texts if t.get_position()[0] in (0, 1, 2)]:
        x, y = axes.transData.transform(np.array(text.get_position()) - 0.35)
        low, high = sorted((light(pixels[len(pixels) - 1 - int(y), int(x)]), light(text.get_color())))
        assert high / low >= 4.4, text


@pytest.mark.parametrize("methods, shape", [(1, (1, 2)), (3, (1, 4)), (5, (2, 3)), (6, (2, 4))])
def test_tables_are_laid_out_in_at_most_two_rows(methods, shape):
    axes = curves.heat_tables({f"m{k}": QTRAN for k in range(methods)}, QTRAN)
    assert axes[0].get_subplotspec().get_gridspec().get_geometry() == shape


def test_no_text_of_six_tables_overlaps_another():
    greedy = dict.fromkeys(FITTED, (1, 1))
    axes = curves.heat_tables({**FITTED, "OW-QMIX": QTRAN}, QTRAN, greedy, title="QTRAN's game")
    figure = axes[0].figure
    figure.canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent()) for ax in axes for t in [ax.title, ax.xaxis.label, ax.yaxis.label]]
    boxes += [("title", figure._suptitle.get_window_extent())]
    boxes += [(t.get_text(), t.get_window_extent()) for ax in axes for t in [ax.texts[-1], *ax.get_xticklabels()]]
    boxes = [(t, b) for t, b in boxes if t]
    clashes = [(a, b) for k, (a, x) in enumerate(boxes) for b, y in boxes[k + 1 :] if x.overlaps(y)]
    assert not clashes


def test_tables_refuse_wrong_shapes_and_unknown_methods():
    with pytest.raises(ValueError, match=r"The table of VDN has shape \[2, 2\]"):
        curves.heat_tables({"VDN": [[1, 2], [3, 4]]}, QTRAN)
    with pytest.raises(ValueError, match="games of two agents"):
        curves.heat_tables({}, np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="did you mean 'VDN'"):
        curves.heat_tables({"VDN": QTRAN}, QTRAN, {"VND": (0, 0)})


def test_expected_return_and_its_gradient():
    rng = np.random.default_rng(0)
    table, p1, p2, h = rng.normal(size=(2, 2)), rng.random(20), rng.random(20), 1e-6
    g1, g2 = curves.exact_gradient(table, p1, p2)
    J = lambda a, b: curves.expected_return(table, a, b)
    assert np.allclose(g1, (J(p1 + h, p2) - J(p1 - h, p2)) / (2 * h), atol=1e-6)
    assert np.allclose(g2, (J(p1, p2 + h) - J(p1, p2 - h)) / (2 * h), atol=1e-6)
    assert curves.expected_return([[0, 1], [1, 0]], 1.0, 0.0) == 1


def arrows_of(ax):
    return next(c for c in ax.collections if isinstance(c, matplotlib.quiver.Quiver))


def test_the_surface_has_arrows_paths_and_stars():
    path = [[0.5, 0.5], [0.9, 0.1]]
    ax = curves.payoff_surface([[0, 1], [1, 0]], trajectories=[path], axes_labels=("car 1 passes", "car 2 passes"))
    assert ax.get_xlabel() == "car 1 passes" and ax.get_ylabel() == "car 2 passes"
    stars = [tuple(np.ravel(line.get_xydata())) for line in ax.lines if line.get_marker() == "*"]
    assert stars == [(0, 1), (1, 0)]
    assert any(np.array_equal(line.get_xydata(), path) for line in ax.lines)
    quiver = arrows_of(ax)
    assert np.allclose(quiver.U, 1 - 2 * quiver.Y) and np.allclose(quiver.V, 1 - 2 * quiver.X)  # J = p1 + p2 - 2 p1 p2


def test_arrows_can_be_a_function_arrays_or_nothing():
    game = [[0, 1], [1, 0]]
    assert np.allclose(arrows_of(curves.payoff_surface(game, arrows=lambda a, b: (a * 0, b * 0 + 2))).V, 2)
    given = arrows_of(curves.payoff_surface(game, arrows=([0.5], [0.5], [1.0], [0.0])))
    assert given.N == 1 and given.U.tolist() == [1.0]
    nothing = curves.payoff_surface(game, arrows=None, points=[[0.1, 0.2]])
    assert not any(isinstance(c, matplotlib.quiver.Quiver) for c in nothing.collections)
    assert any(np.array_equal(line.get_xydata(), [[0.1, 0.2]]) for line in nothing.lines)
    with pytest.raises(ValueError, match="2x2"):
        curves.payoff_surface(QTRAN)


# ---- the live plot ----


class FakeDisplay:
    """Stands for IPython.display.display: remembers what was shown, and in which output."""

    def __init__(self):
        self.shown, self.updates = [], []

    def __call__(self, figure, display_id=None):
        assert display_id is True
        self.shown.append(figure)
        return self

    def update(self, figure):
        self.updates.append(figure)


@pytest.fixture
def notebook(monkeypatch):
    fake = FakeDisplay()
    monkeypatch.setattr("IPython.display.display", fake)
    monkeypatch.setattr(board, "in_notebook", lambda: True)
    monkeypatch.delenv("MARLCOURSE_SCALE", raising=False)
    return fake


def matrix_trainer(callback, seed=0, **options):
    env = mc.make("matrix/qtran", num_envs=8)
    algorithm = mc.QMIX(env.spec, mc.QMIX.Config.preset("matrix", batch_size=8, replay_episodes=64))
    return mc.Trainer(env, algorithm, seed=seed, eval_every=40, eval_episodes=8, callbacks=[callback], **options)


def test_the_live_plot_updates_one_output_and_leaves_no_figure_open(notebook):
    live = mc.LivePlot("return", "loss", reference={"optimum": 8}, seconds=0.0)
    run = matrix_trainer(live).fit(200)
    assert len(notebook.shown) == 1 and len(notebook.updates) == len(run.history)  # each evaluation, and the end
    assert not plt.get_fignums()
    returns, loss = notebook.updates[-1].axes
    assert returns.lines[0].get_xdata().tolist() == [row["env_steps"] for row in run.history]
    assert returns.lines[0].get_ydata().tolist() == [row["return_mean"] for row in run.history]
    assert returns.lines[1].get_ydata()[0] == 8
    assert returns.get_ylabel() == "team return per episode" and returns.get_xlabel() == "environment steps"
    assert loss.get_ylabel() == "main loss" and len(loss.lines[0].get_xdata()) == len(run.history) - 1
    assert "QMIX on matrix/qtran, 1 seed" in notebook.updates[-1]._suptitle.get_text()
    assert texts(notebook.shown[0].axes[1]) == ["waiting for the first update"]


def test_the_live_plot_draws_at_most_once_a_second(notebook, monkeypatch):
    clock = iter(np.arange(100, 200, 0.3))  # looked at before and after each drawing
    monkeypatch.setattr(board.time, "monotonic", lambda: next(clock))
    run = matrix_trainer(mc.LivePlot()).fit(400)
    assert 2 <= len(notebook.updates) < len(run.history) - 2
    assert len(notebook.updates[-1].axes[0].lines[0].get_xdata()) == len(run.history)  # the last one is complete


def test_at_ci_scale_the_live_plot_draws_once_at_the_end(notebook, monkeypatch):
    monkeypatch.setenv("MARLCOURSE_SCALE", "ci")
    run = matrix_trainer(mc.LivePlot(seconds=0.0)).fit(120)
    assert len(notebook.shown) == 1 and not notebook.updates
    assert len(notebook.shown[0].axes[0].lines[0].get_xdata()) == len(run.history)


def test_outside_a_notebook_nothing_is_drawn(monkeypatch):
    fake = FakeDisplay()
    monkeypatch.setattr("IPython.display.display", fake)
    matrix_trainer(mc.LivePlot(seconds=0.0)).fit(40)
    assert not fake.shown and not plt.get_fignums()


def test_a_continued_run_shows_its_history_at_once_in_a_new_output(notebook):
    trainer = matrix_trainer(mc.LivePlot(seconds=1000.0))
    trainer.fit(120)
    before = len(trainer.run.history)
    trainer.fit(200)
    assert len(notebook.shown) == 2
    assert len(notebook.shown[1].axes[0].lines[0].get_xdata()) == before


def test_an_unknown_name_leaves_its_panel_with_the_names_there_are(notebook):
    matrix_trainer(mc.LivePlot("retrun")).fit(80)
    (ax,) = notebook.updates[-1].axes
    assert "did you mean" in texts(ax)[0].replace("\n", " ") and "return_mean" in texts(ax)[0]


# ---- watching ----


def team(name="two-step", **options):
    env = mc.make(name, num_envs=3, **options)
    return env, mc.QMIX(env.spec, mc.QMIX.Config.preset("two-step"))


def test_a_film_has_every_frame_and_a_caption_strip(capsys):
    env, algorithm = team()
    film = watch(env, algorithm, episodes=2)
    assert isinstance(film, Animation) and len(film.frames) == 2 * 3 and film.ends == [False, False, True] * 2
    world = env.fresh(1)
    world.reset(seed=0)
    height, width, _ = world.frame().shape
    assert film.frames[0].dtype == np.uint8 and film.frames[0].shape == (height + 30, max(width, 300), 3)
    assert (film.frames[0][-1] == (38, 50, 56)).all()  # the strip under the picture
    assert film.steps == 4 and len(film.returns) == 2 and "2 episode(s)" in repr(film)
    assert film.note == "" and capsys.readouterr().out == ""


def test_the_film_is_a_small_gif(tmp_path):
    from PIL import Image

    env, algorithm = team()
    film = watch(env, algorithm, episodes=3, fps=5, path=tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.format == "GIF" and gif.n_frames == 9 and gif.info["duration"] == 200
        gif.seek(2)
        assert gif.info["duration"] >= 1000  # the end of an episode stays
    assert (tmp_path / "film.gif").stat().st_size < LIMIT
    assert film._repr_mimebundle_()["image/png"] == (tmp_path / "film.gif").read_bytes()


def test_a_colour_of_few_frames_keeps_its_hue():
    """Red light in one frame of ten, blue in the first, the middle and the last one."""
    from PIL import Image

    frames = [np.full((40, 40, 3), (30, 60, 200), np.uint8) for _ in range(10)]
    frames[3] = np.full((40, 40, 3), (220, 160, 150), np.uint8)
    film = Animation(frames, [False] * 10, [0.0], 10, 4, "gif", "", "light")
    with Image.open(io.BytesIO(film.gif())) as gif:
        gif.seek(1)  # equal frames are one
        red, _, blue = gif.convert("RGB").getpixel((20, 20))
    assert red > blue + 40


def test_frames_are_made_smaller_until_the_gif_fits():
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (320, 320, 3), dtype=np.uint8) for _ in range(10)]
    film = Animation(noise, [False] * 10, [0.0], 29, 4, "gif", "", "noise")
    assert len(film.gif()) <= LIMIT


def test_a_long_film_is_thinned_and_says_so(capsys):
    env, algorithm = team()
    film = watch(env, algorithm, episodes=30, max_frames=20)
    assert len(film.frames) <= 20 and film.ends[-1] and sum(film.ends) >= 5
    assert "of 90 frames" in capsys.readouterr().out and "of 90 frames" in film.note
    assert len(film.returns) == 30


def test_a_player_with_buttons(tmp_path):
    env, algorithm = team()
    film = watch(env, algorithm, kind="jshtml", path=tmp_path / "film.html")
    bundle = film._repr_mimebundle_()
    assert "text/html" in bundle and bundle["text/html"].count("data:image/png;base64") == 3
    assert "<input" in (tmp_path / "film.html").read_text()
    assert not plt.get_fignums()


def test_watching_disturbs_nothing_and_is_repeatable():
    env, algorithm = team()
    env.reset(seed=1)
    before, weights = env.state_dict(), [p.clone() for p in algorithm.parameters()]
    noise = torch.get_rng_state()
    first, second = (watch(env, algorithm, episodes=4, seed=3, explore=True) for _ in range(2))
    assert first.returns == second.returns
    assert all(np.array_equal(a, b) for a, b in zip(first.frames, second.frames))
    after = env.state_dict()
    assert torch.equal(before["generator"], after["generator"]) and torch.equal(before["clock"], after["clock"])
    assert all(torch.equal(before["state"][k], after["state"][k]) for k in before["state"])
    assert torch.equal(noise, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(weights, algorithm.parameters()))


def test_exploring_differs_from_greedy_play():
    env, algorithm = team()
    greedy = watch(env, algorithm, episodes=20)
    exploring = watch(env, algorithm, episodes=20, explore=True)  # epsilon is 1 in this preset
    assert len(set(greedy.returns)) == 1 and len(set(exploring.returns)) > 1


def test_no_algorithm_means_uniform_play_of_what_is_available():
    env, _ = team()
    film = watch(env, None, episodes=40, max_frames=130)
    assert set(film.returns) == {0.0, 1.0, 7.0, 8.0} and "random play on two-step" in repr(film)
    assert film.returns == watch(env, None, episodes=40, max_frames=130).returns
    assert film.returns != watch(env, None, episodes=40, max_frames=130, seed=1).returns

    class OneWay(type(env)):  # only action 1 may be played
        def _observe(self, state):
            seen = super()._observe(state)
            return seen._replace(avail=torch.tensor([False, True]).expand_as(seen.avail))

    assert set(watch(OneWay(), None, episodes=5).returns) == {8.0}
    played = watch(mc.make("product-game"), None, episodes=30, max_frames=70).returns  # continuous actions
    assert len(set(played)) == 30 and all(-4 <= r <= 4 for r in played)


def test_watch_answers_bad_input_in_one_sentence(tmp_path):
    env, algorithm = team()
    with pytest.raises(ValueError, match="'gif' or 'jshtml'"):
        watch(env, algorithm, kind="mp4")
    with pytest.raises(ValueError, match="at least 1 episode"):
        watch(env, algorithm, episodes=0)
    with pytest.raises(ValueError, match="built for two-step, not junction"):
        watch(mc.make("junction"), algorithm)
    with pytest.raises(ValueError, match="must end in .gif or .html"):
        watch(env, algorithm).save(tmp_path / "film.mp4")


# ---- explorers ----


@pytest.fixture
def widgets(monkeypatch):
    monkeypatch.setattr(explore, "in_notebook", lambda: True)


def recorder():
    calls = []

    def plot(*args, **values):
        calls.append((args, values))
        if values.get("epsilon", 0) > 0.9:
            raise ValueError("epsilon must be at most 0.9: exploration alone teaches nothing.")
        figure, ax = plt.subplots(figsize=(2, 2))
        ax.set_title(f"epsilon {values.get('epsilon')}")
        return ax

    return plot, calls


def test_a_moved_slider_draws_with_its_value(widgets):
    plot, calls = recorder()
    shown = explore.explore(plot, epsilon=(0.5, 0.0, 1.0), method=["VDN", "QMIX"], masked=True, agents=(2, 1, 5))
    assert calls == [((), {"epsilon": 0.5, "method": "VDN", "masked": True, "agents": 2})]
    first = bytes(shown.image.value)
    assert first.startswith(b"\x89PNG") and shown.figure.axes[0].get_title(loc="left") == "epsilon 0.5"
    shown.controls["epsilon"].value = 0.25
    shown.controls["method"].value = "QMIX"
    assert calls[-1] == ((), {"epsilon": 0.25, "method": "QMIX", "masked": True, "agents": 2})
    assert len(calls) == 3 and bytes(shown.image.value) != first
    assert [c.description for c in shown.controls.values()] == ["epsilon", "method", "masked", "agents"]
    assert not plt.get_fignums()


def test_bad_input_is_one_sentence_and_the_picture_stays(widgets):
    plot, _ = recorder()
    shown = explore.explore(plot, epsilon=explore.float_slider(0.5, 0, 1, label="exploration"))
    before = bytes(shown.image.value)
    shown.controls["epsilon"].value = 1.0
    assert "epsilon must be at most 0.9" in shown.message.value and "Traceback" not in shown.message.value
    assert bytes(shown.image.value) == before
    shown.controls["epsilon"].value = 0.4
    assert shown.message.value == "" and bytes(shown.image.value) != before
    assert shown.controls["epsilon"].description == "exploration"


def test_another_error_names_its_kind(widgets):
    shown = explore.explore(lambda k: [1, 2][k], k=(3, 0, 5))
    assert "IndexError" in shown.message.value
    silent = explore.explore(lambda k: None, k=(3, 0, 5))
    assert "drew no figure" in silent.message.value


def test_outside_a_notebook_there_is_a_still_figure_and_a_sentence():
    plot, calls = recorder()
    still = explore.explore(plot, epsilon=(0.5, 0.0, 1.0))
    assert still.figure.axes[0].get_title(loc="left") == "epsilon 0.5" and "need a notebook" in repr(still)
    assert len(calls) == 1 and still.box is None


def test_without_ipywidgets_the_sentence_says_what_to_install(widgets, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    plot, _ = recorder()
    assert "pip install ipywidgets" in repr(explore.explore(plot, epsilon=(0.5, 0.0, 1.0)))
    assert "pip install ipywidgets" in repr(explore.table_explorer(plot, [[0, 1], [1, 0]]))


def test_static_is_static_in_a_notebook_too(widgets):
    plot, _ = recorder()
    assert "static=True" in repr(explore.explore(plot, static=True, epsilon=(0.5, 0.0, 1.0)))


@pytest.mark.parametrize(
    "control, kind",
    [
        ((1, 0, 5), "IntSlider"),
        ((1.0, 0, 5), "FloatSlider"),
        (["a", "b"], "Dropdown"),
        ({"shown": 3}, "Dropdown"),
        (False, "Checkbox"),
        (explore.log_slider(0.01, 1e-3, 1.0), "FloatLogSlider"),
        (explore.choice(["a", "b"], "b"), "Dropdown"),
    ],
)
def test_what_stands_for_which_control(control, kind):
    described = explore.as_control(control)
    widget = described.widget("name")
    assert type(widget).__name__ == kind and widget.value == described.value


def test_controls_that_cannot_be():
    with pytest.raises(ValueError, match="start value between"):
        explore.float_slider(2.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="not among the options"):
        explore.choice(["a"], "b")
    with pytest.raises(ValueError, match="describes no control"):
        explore.as_control("epsilon")
    with pytest.raises(ValueError, match="positive limits"):
        explore.log_slider(0, 0, 1)


def test_an_edited_payoff_draws_with_the_new_table(widgets):
    plot, calls = recorder()
    shown = explore.table_explorer(plot, [[8, -12], [-12, 0]], epsilon=(0.5, 0.0, 1.0))
    shown.editor.cells[0][1].value = -5
    assert calls[-1] == (([[8, -5], [-12, 0]],), {"epsilon": 0.5})
    shown.controls["epsilon"].value = 0.75
    assert calls[-1] == (([[8, -5], [-12, 0]],), {"epsilon": 0.75})
    shown.editor.reset.click()
    assert calls[-1] == (([[8, -12], [-12, 0]],), {"epsilon": 0.75})
    assert len(calls) == 4
    shown.editor.cells[0][0].value = 1e9
    assert calls[-1][0][0][0][0] == 1000  # cells hold at most +-limit


def test_choosing_another_game_draws_once_with_its_table(widgets):
    plot, calls = recorder()
    shown = explore.table_explorer(plot, {"qtran": QTRAN, "or": [[0, 1], [1, 1]]})
    shown.editor.name.value = "or"
    assert [args[0] for args, _ in calls] == [QTRAN, [[0, 1], [1, 1]]]
    shown.editor.cells[1][1].value = 3
    assert calls[-1][0][0] == [[0, 1], [1, 3]]


def test_an_entry_that_the_game_refuses_is_one_sentence(widgets):
    from marlcourse.envs.matrix import payoff_table

    def plot(table):
        if payoff_table(table).max() > 100:
            raise ValueError("Keep payoffs at 100 or below.")
        return curves.heat_tables({}, table)

    shown = explore.table_explorer(plot, [[8, -12], [-12, 0]])
    shown.editor.cells[0][0].value = 500
    assert "Keep payoffs at 100 or below." in shown.message.value


@pytest.mark.parametrize("table", [[[1, 2], [3]], 5, [["a", "b"]], np.zeros((2, 2, 2))])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(ValueError, match="table"):
        explore.table_explorer(lambda table: None, table)


def test_importing_the_pictures_loads_no_heavy_package():
    code = (
        "import sys; import marlcourse.viz.style, marlcourse.viz.curves, marlcourse.viz.board, marlcourse.viz.watch, "
        "marlcourse.viz.explore; print(sorted({'matplotlib', 'ipywidgets', 'pandas', 'IPython', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
