"""The experiment of chapter 01: its weights, its exact directions, its learners and its pictures."""

import matplotlib.pyplot as plt
import pytest
import torch

import marlcourse as mc
from marlcourse.algorithms.coma_released import COMAReleased
from marlcourse.course import junction_plots
from marlcourse.course.data import load_dataset
from marlcourse.course.junction import (
    JOINT_ACTIONS,
    LEARNERS,
    OUTCOMES,
    JunctionResult,
    data_sweep,
    draw_weights,
    every_joint_action,
    expected_return,
    fit_critics,
    joint_probabilities,
    junction_study,
    mean_update,
)
from marlcourse.ensemble import Ensemble
from marlcourse.envs.junction import Junction
from marlcourse.nets.small import PassCounterfactualCritic, PassCritic, SigmoidAgent

POLICIES = torch.tensor([[0.9, 0.2], [0.3, 0.4], [0.5, 0.5], [0.05, 0.95]])


def member(name, seed=0):
    """One learner of the study as an ordinary algorithm."""
    kind, critic, _ = LEARNERS[name]
    config = kind.Config.preset("junction")
    return kind(Junction(device="cpu").spec, config, seed=seed, device="cpu", actor=SigmoidAgent, critic=critic)


# ---- data as weights


def test_the_rows_are_the_whole_game():
    rows = every_joint_action()
    assert torch.equal(rows.actions[:, 0], JOINT_ACTIONS)
    assert rows.reward[:, 0].tolist() == [0, 1, 1, 0]
    assert rows.terminated.all() and not rows.truncated.any()


def test_weights_of_each_kind_of_data():
    generator = torch.Generator().manual_seed(0)
    uniform = torch.full((4, 4), 0.25)
    exact = joint_probabilities(POLICIES)
    torch.testing.assert_close(exact.sum(-1), torch.ones(4))
    torch.testing.assert_close(exact[0], torch.tensor([0.08, 0.02, 0.72, 0.18]))
    assert torch.equal(draw_weights("every joint action", POLICIES, generator), uniform)
    assert torch.equal(draw_weights("on-policy", POLICIES, generator), exact)
    assert torch.equal(draw_weights(0.0, POLICIES), uniform)
    torch.testing.assert_close(draw_weights(1.0, POLICIES), exact)
    mixes = torch.tensor([0.0, 0.25, 0.5, 1.0])
    expected = torch.stack([(1 - k) * u + k * e for k, u, e in zip(mixes, uniform, exact)])
    torch.testing.assert_close(draw_weights(mixes, POLICIES), expected)
    samples = draw_weights("samples", POLICIES.repeat(500, 1), generator)
    assert (samples.sum(-1) == 16).all()
    torch.testing.assert_close(samples.view(500, 4, 4).mean(0) / 16, exact, atol=0.02, rtol=0)
    released = draw_weights("released", POLICIES.repeat(100, 1), generator)
    assert (released.sum(-1) == 15).all() and set(released.unique().tolist()) == {3.0, 4.0}


def test_unknown_data_learner_and_rule_are_named():
    with pytest.raises(ValueError, match="did you mean 'on-policy'"):
        draw_weights("onpolicy", POLICIES, None)
    with pytest.raises(ValueError, match="did you mean 'LICA'"):
        junction_study("LIKA", 2)
    with pytest.raises(ValueError, match="'COMA'"):
        mean_update(POLICIES, joint_probabilities(POLICIES), "COMMA")


# ---- exact directions


def gradient_of(p):
    return p * (1 - p) * (1 - 2 * p.flip(-1))


def test_on_policy_coma_and_reinforce_are_the_exact_gradient():
    weights = joint_probabilities(POLICIES)
    for rule in ("reward", "COMA"):
        torch.testing.assert_close(mean_update(POLICIES, weights, rule), gradient_of(POLICIES))


def test_on_uniform_data_coma_stands_still_and_the_reward_pulls_into_the_saddle():
    uniform = torch.full((4, 4), 0.25)
    torch.testing.assert_close(mean_update(POLICIES, uniform, "COMA"), torch.zeros(4, 2))
    torch.testing.assert_close(mean_update(POLICIES, uniform, "as released"), torch.zeros(4, 2))
    torch.testing.assert_close(mean_update(POLICIES, uniform, "reward"), (1 - 2 * POLICIES) / 4)


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_the_released_direction_turns_round_below_one_half(mix):
    p, other = POLICIES, POLICIES.flip(-1)
    expected = mix * (1 - p) * (2 * p - 1) * (1 - 2 * other)
    torch.testing.assert_close(mean_update(p, draw_weights(mix, p), "as released"), expected)


@pytest.mark.parametrize("name", ["COMA (on-policy)", "COMA (as released)"])
@pytest.mark.parametrize("mix", [0.0, 0.4, 1.0])
def test_the_library_s_actor_loss_moves_the_logits_so(name, mix, monkeypatch):
    """mean_update is what COMA.actor_loss and COMAReleased.actor_loss do, once the critic knows the rewards."""
    algorithm, rows = member(name), every_joint_action()
    logits = torch.tensor([0.7, -1.1], requires_grad=True)
    pair = torch.stack([torch.zeros(2), logits], -1)  # [2,2]
    monkeypatch.setattr(algorithm, "policies", lambda batch, final: torch.softmax(pair, -1).expand(4, 1 + final, 2, 2))
    partner = rows.actions.flip(-1).unsqueeze(-1).float()
    monkeypatch.setattr(algorithm, "q_values", lambda critic, batch, actions: torch.cat([partner, 1 - partner], -1))
    p = torch.sigmoid(logits.detach())
    weights = draw_weights(mix, p.unsqueeze(0))[0]
    rows.mask = weights.unsqueeze(-1)
    (slope,) = torch.autograd.grad(algorithm.actor_loss(rows)[0], logits)
    rule = "COMA" if name == "COMA (on-policy)" else "as released"
    per_car = 2  # the loss is a mean over the two cars, the direction is each car's own
    torch.testing.assert_close(-slope * per_car, mean_update(p, weights, rule))


def test_the_released_gradient_is_zero_for_any_critic():
    """Equal weights, an untrained critic, any policy: the full-batch gradient vanishes; one row less and it does not."""
    for seed in range(3):
        algorithm, rows = member("COMA (as released)", seed), every_joint_action()
        parameters = list(algorithm.actor.parameters())
        whole = torch.autograd.grad(algorithm.actor_loss(rows)[0], parameters)
        assert max(g.abs().max() for g in whole) < 1e-7
        rows.mask = torch.tensor([[4.0], [4.0], [3.0], [4.0]])
        dropped = torch.autograd.grad(algorithm.actor_loss(rows)[0], parameters)
        assert max(g.abs().max() for g in dropped) > 1e-4


def test_lica_receives_the_critic_s_gradient_whatever_the_weights():
    algorithm, rows = member("LICA"), every_joint_action()
    parameters = list(algorithm.actor.parameters())
    whole = torch.autograd.grad(algorithm.actor_loss(rows)[0], parameters)
    rows.mask = torch.tensor([[0.7], [0.1], [0.1], [0.1]])
    for a, b in zip(whole, torch.autograd.grad(algorithm.actor_loss(rows)[0], parameters)):
        torch.testing.assert_close(a, b)


# ---- one implementation


@pytest.mark.parametrize("name", ["LICA", "COMA (on-policy)", "COMA (as released)"])
def test_a_stacked_start_is_the_ordinary_algorithm(name):
    """Start 3 of the study, trained alone with the library's losses and optimisers, ends at the same policies."""
    steps = 4
    together = junction_study(name, 5, steps=steps, data=0.5).p[:, 3]
    algorithm, rows = member(name, seed=3), every_joint_action()
    optimizers, path = algorithm.optimizers(), []

    def step(label, loss):
        optimizers[label].zero_grad()
        loss.backward()
        optimizers[label].step()

    for _ in range(steps + 1):
        path.append(algorithm.policies(rows)[0, 0, :, 1].detach())
        for _ in range(algorithm.config.critic_updates):
            step("critic", algorithm.critic_loss(every_joint_action())[0])
        rows.mask = draw_weights(0.5, path[-1].unsqueeze(0)).view(4, 1)
        step("actor", algorithm.actor_loss(rows)[0])
    torch.testing.assert_close(torch.stack(path), together, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "critic"), [(mc.LICA, PassCritic), (mc.COMA, PassCounterfactualCritic), (COMAReleased, PassCounterfactualCritic)]
)
def test_weights_drawn_again_are_those_of_algorithms_built_one_by_one(kind, critic):
    spec, config = Junction(device="cpu").spec, kind.Config.preset("junction")
    make = lambda seed: kind(spec, config, seed=seed, device="cpu", actor=SigmoidAgent, critic=critic)
    before = torch.get_rng_state()
    members = Ensemble(make, [4, 9, 2, 7])
    assert torch.equal(torch.get_rng_state(), before)
    params, buffers = torch.func.stack_module_state([make(seed) for seed in (4, 9, 2, 7)])
    assert params.keys() == members.params.keys() and buffers.keys() == members.buffers.keys()
    for name, value in {**params, **buffers}.items():
        assert torch.equal(value, {**members.params, **members.buffers}[name]), name
    assert all(members.params[name].requires_grad == p.requires_grad for name, p in params.items())


class OwnDraw(PassCritic):
    """A part that draws outside any layer: drawing again layer by layer would miss it."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.randn(3))


def test_a_part_that_draws_in_its_own_way_is_built_for_each_seed():
    spec, config = Junction(device="cpu").spec, mc.LICA.Config.preset("junction")
    make = lambda seed: mc.LICA(spec, config, seed=seed, device="cpu", actor=SigmoidAgent, critic=OwnDraw)
    members = Ensemble(make, [0, 1, 2])
    params, _ = torch.func.stack_module_state([make(seed) for seed in range(3)])
    for name, value in params.items():
        assert torch.equal(value, members.params[name]), name


def test_equal_seeds_start_equally_whatever_the_learner():
    first = [junction_study(name, [5, 6], steps=0).p[0] for name in LEARNERS]
    assert all(torch.equal(first[0], other) for other in first)


def test_a_sweep_is_the_studies_of_its_mixes():
    sweep = data_sweep([0.0, 0.5], starts=3, steps=3)
    for mix, result in sweep.items():
        torch.testing.assert_close(result.p, junction_study("COMA (on-policy)", 3, steps=3, data=mix).p, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", LEARNERS)
def test_critics_fitted_once_change_no_learner(name):
    """LICA's and COMA's critics of a start are one critic; a learner from samples trains its own."""
    critics = fit_critics(4, steps=5)
    own, given = junction_study(name, [1, 3, 1], steps=4), junction_study(name, [1, 3, 1], steps=4, critics=critics)
    torch.testing.assert_close(own.p, given.p, atol=1e-5, rtol=1e-4)


def test_critics_that_do_not_cover_the_run_are_refused():
    critics = fit_critics(2, steps=2)
    for starts, steps in ((3, 2), (2, 3)):
        with pytest.raises(ValueError, match="fit_critics"):
            junction_study("LICA", starts, steps=steps, critics=critics)


def test_studies_repeat_bit_for_bit_and_samples_depend_on_the_seed():
    a, b, c = (junction_study("COMA (on-policy, 16 samples)", 3, steps=3, seed=seed).p for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


# ---- what is reported


def test_outcomes_by_hand():
    p = torch.tensor([[0.9, 0.2], [0.1, 0.1], [0.6, 0.9], [0.99, 0.01]])
    outcome = JunctionResult("by hand", p.unsqueeze(0)).outcome()
    assert [outcome[name] for name in OUTCOMES] == [0.25, 0.0, 0.5, 0.25]
    assert outcome["rounds to an optimum"] == 0.5 and outcome["J > .9"] == 0.25
    assert outcome["mean J"] == pytest.approx((0.74 + 0.18 + 0.42 + 0.9802) / 4)
    certain = JunctionResult("certain", torch.tensor([[[1.0, 0.0]]])).outcome()
    coin = JunctionResult("coin", torch.tensor([[[0.5, 0.5]]])).outcome()
    assert certain["policy entropy"] == 0 and coin["policy entropy"] == pytest.approx(1)
    assert expected_return(p)[0] == pytest.approx(0.74)


def test_the_committed_run_has_every_learner_at_every_step():
    full = load_dataset("junction_full")
    assert set(LEARNERS) <= set(full.learner) and (full.starts == 20_000).all()
    assert (full.groupby("learner").step.count() == 61).all()
    assert full[list(OUTCOMES)].sum(axis=1).between(0.9999, 1.0001).all()
    last = full[full.step == 60].set_index("learner")["rounds to an optimum"]
    untrained = full[full.step == 0]["rounds to an optimum"]
    assert untrained.nunique() == 1
    assert last["LICA"] >= 0.9 and last["COMA (on-policy)"] >= 0.95 and last["COMA (on-policy, 16 samples)"] >= 0.9
    assert max(last["COMA (as released)"], last["COMA (uniform data)"]) <= untrained.iloc[0]


@pytest.mark.learning
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("LICA", 0.9, 1.0),
        ("COMA (on-policy)", 0.95, 1.0),
        ("COMA (on-policy, 16 samples)", 0.9, 1.0),
        ("COMA (uniform data)", 0.0, 0.3),
        ("COMA (as released)", 0.0, 0.3),
    ],
)
def test_a_thousand_starts(name, low, high):
    result = junction_study(name, 1000)
    share, untrained = result.outcome()["rounds to an optimum"], result.outcome(0)["rounds to an optimum"]
    assert low <= share <= high
    assert 0.15 <= untrained <= 0.27
    assert high > 0.3 or share <= untrained


# ---- pictures


@pytest.fixture(scope="module")
def small():
    return {name: junction_study(name, 12, steps=2) for name in ("LICA", "COMA (as released)")}


@pytest.fixture(autouse=True)
def no_display():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def texts(ax):
    return [t.get_text() for t in ax.texts]


def test_squares_show_the_untrained_first_and_the_share_in_each_corner(small):
    figure = junction_plots.plot_squares(small, title="Four outcomes")
    assert [ax.get_title().replace("\n", " ") for ax in figure.axes] == ["untrained (step 0)", "LICA", "COMA (as released)"]
    words = "12 initialisations (seeds 0 to 11), all drawn, after 2 policy steps (first panel: step 0)"
    assert words in figure.get_suptitle() and "grey: expected return J, dark = 1" in figure.get_suptitle()
    shares = small["LICA"].shares()
    assert sorted(texts(figure.axes[1])) == sorted(f"{share:.0%}" for share in shares.values())
    dots = figure.axes[0].lines[-1].get_xydata()
    assert torch.allclose(torch.tensor(dots).float(), small["LICA"].p[0])


def test_squares_draw_every_team_and_write_nothing_over_a_dot():
    p = torch.rand(2, 1500, 2, generator=torch.Generator().manual_seed(0))
    figure = junction_plots.plot_squares({"LICA": JunctionResult("LICA", p)})
    figure.canvas.draw()
    assert "1,500 initialisations, all drawn" in figure.get_suptitle()
    for ax in figure.axes:
        assert len(ax.lines[-1].get_xydata()) == 1500
        square = ax.get_window_extent()
        assert not any(square.overlaps(text.get_window_extent()) for text in ax.texts)


def test_rate_draws_every_learner_the_null_and_the_committed_run(small):
    figure = junction_plots.plot_rate(small, {"LICA": [0.2, 0.5, 0.9]})
    names = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert names[:2] == list(small) and any(n.startswith("untrained") for n in names) and any("20,000" in n for n in names)
    assert list(figure.axes[0].lines[0].get_ydata()) == small["LICA"].curve("rounds to an optimum")


def test_survivors_average_only_the_runs_that_end_there():
    p = torch.tensor([[[0.6, 0.4], [0.4, 0.6], [0.4, 0.4]], [[0.9, 0.1], [0.8, 0.3], [0.2, 0.2]]])
    figure = junction_plots.plot_survivors({"LICA": JunctionResult("LICA", p)})
    top, bottom = figure.axes
    assert "mean of 2 runs (67%)" in top.get_title("left")
    assert "mean of 0 runs (0%)" in bottom.get_title("left") and not bottom.lines
    torch.testing.assert_close(torch.tensor(top.lines[0].get_ydata()), torch.tensor([0.5, 0.85]))


def arrows(ax):
    (quiver,) = [c for c in ax.collections if type(c).__name__ == "Quiver"]
    return torch.tensor(quiver.U), torch.tensor(quiver.V)


@pytest.mark.parametrize("mix", [0.0, 0.2, 1.0])
def test_a_push_is_drawn_in_proportion_and_its_scale_is_named(mix):
    (ax,) = junction_plots.plot_push(("COMA", mix)).axes
    grid = torch.linspace(0.07, 0.93, 9)
    p = torch.cartesian_prod(grid, grid)
    push = mix * gradient_of(p)
    longest = push.norm(dim=-1).max()
    expected = push * (0.11 / longest if mix else 0)
    torch.testing.assert_close(torch.stack(arrows(ax), -1).float(), expected, atol=1e-5, rtol=1e-4)
    words = f"longest arrow: a push of {longest:.3f}" if mix else "no push anywhere"
    assert words in ax.get_title("left")


def test_a_few_large_pushes_do_not_hide_the_rest():
    (ax,) = junction_plots.plot_push(("as released", 1.0)).axes
    assert "or more" in ax.get_title("left")
    length = torch.stack(arrows(ax), -1).norm(dim=-1)
    assert length.max() == pytest.approx(0.11, abs=1e-4) and length.median() == pytest.approx(0.11 / 3, abs=1e-4)


def test_along_the_diagonal_the_plain_reward_turns_round_at_mix_one_half():
    x = torch.tensor([0.499, 0.501], dtype=torch.float64)
    for mix in (0.0, 0.3, 0.5, 0.7, 1.0):
        slope = junction_plots.diagonal_push(mix, "reward", x) / (x - 0.5)
        torch.testing.assert_close(slope, torch.full((2,), (2 * mix - 1) / 2).double(), atol=1e-4, rtol=0)
        both = torch.tensor([[0.501, 0.501]])  # along the diagonal of equal cars the centre attracts at every mix
        assert (mean_update(both, draw_weights(mix, both), "reward") < 0).all()


@pytest.mark.parametrize(("mix", "rests"), [(0.3, [0.5]), (0.7, [0.5 - (1 / 7) ** 0.5, 0.5 + (1 / 7) ** 0.5])])
def test_the_explorer_marks_where_teams_between_the_optima_come_to_rest(mix, rests):
    _, right = junction_plots.plot_update(mix, "reward", {}).axes
    dots = [line for line in right.lines if line.get_marker() == "o" and len(line.get_xdata())]
    filled = [float(line.get_xdata()[0]) for line in dots if line.get_markerfacecolor() != "white"]
    assert filled == pytest.approx(rests, abs=2e-3)
    assert [float(line.get_xdata()[0]) for line in dots if line.get_markerfacecolor() == "white"] == pytest.approx(
        [0.5] if mix > 0.5 else [], abs=2e-3
    )


def test_the_explorer_s_picture_follows_the_mix():
    sweep = data_sweep([0.0, 1.0], starts=6, steps=2)
    for mix, nearest in ((0.1, 0.0), (0.9, 1.0)):
        left, right = junction_plots.plot_update(mix, "COMA", sweep).axes
        assert f"{mix:.0%} on-policy data" in left.get_title("left") and "seeds 0 to 5" in right.get_title("left")
        dots = torch.tensor(left.lines[-1].get_xydata()).float()
        assert torch.allclose(dots, sweep[nearest].p[-1])
    left, right = junction_plots.plot_update(0.5, "reward", sweep).axes
    drawn = [line for line in left.lines if line.get_marker() == "o"]
    assert not texts(left) and not drawn and "no runs" in right.get_title("left")


def test_a_gradient_is_drawn_as_given():
    figure = junction_plots.plot_gradient(lambda p: 1 - 2 * p.flip(-1), "exact")
    (quiver,) = [c for c in figure.axes[0].collections if type(c).__name__ == "Quiver"]
    p = torch.tensor(quiver.get_offsets() if len(quiver.get_offsets()) == 81 else quiver.XY).float()
    torch.testing.assert_close(torch.tensor(quiver.U).float(), 0.09 * (1 - 2 * p[:, 1]))


# ---- what the checks say


def test_every_known_mistake_of_the_counterfactual_advantage_has_a_sentence_of_its_own():
    from marlcourse.course.checks import ch01
    from marlcourse.course.exercises import ExerciseIncomplete

    def answer(number):
        def counterfactual_advantage(q, pi, actions):
            return list(ch01.wrong_advantages(q, pi, actions))[number][0]

        return counterfactual_advantage

    q, pi = torch.tensor([[1.0, 3.0], [2.0, 0.5]]), torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    words = [fault for _, fault, _ in ch01.wrong_advantages(q, pi, torch.tensor([1, 0]))]
    assert len(set(words)) == len(words) > 10
    for number, fault in enumerate(words):
        with pytest.raises(ExerciseIncomplete) as error:
            ch01.check_counterfactual_advantage.verify(answer(number))
        assert fault in str(error.value) and error.value.kind == "wrong"


@pytest.mark.parametrize(
    ("exercise", "wrong", "words"),
    [
        ("exact_gradient", lambda p: torch.stack([1 - 2 * float(p[1]) + 0 * p[0], 1 - 2 * p[0]]), "p[..., 0]"),
        ("joint_probabilities", lambda p: joint_probabilities(p)[..., [0, 2, 1, 3]], "(0, 1) and (1, 0) are exchanged"),
        ("joint_probabilities", lambda p: (JOINT_ACTIONS * p.unsqueeze(-2)).prod(-1), "contributes 0"),
        (
            "repaired_loss",
            lambda p, a: -(joint_probabilities(p).detach()[:, None] * (JOINT_ACTIONS - p) * a).sum(),
            "the score",
        ),
    ],
)
def test_a_known_mistake_is_named(exercise, wrong, words):
    from marlcourse.course.checks import ch01
    from marlcourse.course.exercises import ExerciseIncomplete

    with pytest.raises(ExerciseIncomplete) as error:
        getattr(ch01, f"check_{exercise}").verify(wrong)
    assert words in str(error.value) and error.value.kind == "wrong"
