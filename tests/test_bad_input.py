"""Bad input is answered before work starts, in one sentence with the fix."""

from dataclasses import replace

import pytest
import torch

import marlcourse as mc


def sentence(problem):
    """The words of an error that stands alone: one line, no chain of tracebacks, nothing left to guess."""
    error, words = problem.value, str(problem.value)
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__), "a chain of tracebacks"
    assert "\n" not in words and 20 < len(words) < 800
    return words


def test_worlds_list_the_close_matches():
    with pytest.raises(ValueError) as problem:
        mc.make("junctoin")
    assert sentence(problem).startswith("Unknown world 'junctoin': did you mean 'junction'")
    with pytest.raises(ValueError, match="two-step") as problem:
        mc.make("nothing like any of them")
    assert "matrix/climbing" in sentence(problem)  # the whole list


def test_games_list_the_close_matches():
    with pytest.raises(ValueError) as problem:
        mc.make("matrix/climbin")
    words = sentence(problem)
    assert words.startswith("Unknown matrix game 'climbin': did you mean 'climbing'") and "[[8, -12], [-12, 0]]" in words


@pytest.mark.parametrize("kind", ["IQL", "VDN", "QMIX", "OWQMIX", "CWQMIX", "QTRAN", "COMA", "LICA"])
def test_presets_list_the_close_matches(kind):
    config = getattr(mc, kind).Config
    first = sorted(config.presets)[0]
    with pytest.raises(ValueError) as problem:
        config.preset(first + "x")
    assert f"Unknown preset '{first}x': did you mean '{first}'" in sentence(problem)


def test_algorithms_list_the_close_matches(capsys):
    from marlcourse.cli import main

    assert main(["train", "two-step", "--algo", "qmixx", "--steps", "10"]) == 2
    words = capsys.readouterr().err
    assert "Unknown algorithm 'qmixx': did you mean 'qmix'" in words and words.count("\n") == 1
    with pytest.raises(AttributeError, match="no attribute 'QMIXX'"):
        mc.QMIXX  # noqa: B018


@pytest.mark.skipif(torch.cuda.is_available(), reason="no CUDA device is missing here")
def test_a_card_that_is_not_there():
    for ask in (lambda: mc.make("two-step", device="cuda"), lambda: mc.pick_device("cuda:1")):
        with pytest.raises(ValueError, match="no CUDA GPU: use device='auto' or 'cpu', or install a CUDA") as problem:
            ask()
        assert "marlcourse doctor" in sentence(problem)
    env = mc.make("two-step", device="cpu")
    with pytest.raises(ValueError, match="sees no CUDA GPU"):
        mc.Trainer(env, mc.VDN(env.spec, device="cpu"), buffer_device="cuda")


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:first", "cuda:", torch.device("mps"), ""])
def test_a_device_of_another_name(device, monkeypatch):
    monkeypatch.delenv("MARLCOURSE_DEVICE", raising=False)
    if device == "":
        monkeypatch.setenv("MARLCOURSE_DEVICE", "tpu")  # what answers for "auto"
    with pytest.raises(ValueError, match="Unknown device .*: use 'auto', 'cpu', 'cuda' or 'cuda:<index>'") as problem:
        mc.pick_device(device or "auto")
    sentence(problem)


FORM = "give a list of rows of numbers, all of one length"


@pytest.mark.parametrize(
    "table, words",
    [
        ([[1, 2], [3]], f"not a payoff table: {FORM}"),
        ([["a", "b"], ["c", "d"]], f"not a payoff table: {FORM}"),
        ([[1, None], [2, 3]], "not a payoff table|must hold finite numbers"),
        ({"a": 1}, f"not a payoff table: {FORM}"),
        (None, "payoff table"),
        (7, "needs an axis per agent"),
        ([1, 2, 3], r"needs an axis per agent and at least two actions on each, got shape \[3\]"),
        ([], "needs an axis per agent"),
        ([[]], "needs an axis per agent"),
        ([[1]], "at least two actions"),
        ([[1, 2, 3], [4, 5, 6]], r"same number of actions, got a table of shape \[2, 3\]: pad it"),
        ([[1, float("nan")], [2, 3]], "must hold finite numbers: replace NaN and infinity"),
        ([[1, float("inf")], [2, 3]], "must hold finite numbers"),
        ([[1 + 2j, 1], [2, 3]], f"not a payoff table: {FORM}"),
        (torch.ones(2, 3), "same number of actions"),
    ],
)
def test_tables_that_are_not_tables(table, words):
    from marlcourse.envs.matrix import MatrixGame

    with pytest.raises(ValueError, match=words) as problem:
        MatrixGame(table, device="cpu")
    sentence(problem)


@pytest.mark.parametrize(
    "actions, words",
    [
        (torch.zeros(2, 3, dtype=torch.long), r"two-step expects actions as a tensor of shape \[3, 2\], got shape \[2, 3\]"),
        (torch.zeros(3, dtype=torch.long), r"shape \[3, 2\], got shape \[3\]"),
        ([[0, 0]] * 3, r"expects actions as a tensor of shape \[3, 2\], got a list"),
        (torch.zeros(3, 2), r"whole-number actions \(dtype long\), got torch.float32"),
        (torch.zeros(3, 2, dtype=torch.bool), "whole-number actions"),
        (torch.full((3, 2), 2), "Agent 0 in world 0 of two-step played 2, which is not available: choose only where"),
        (torch.tensor([[0, 0], [0, -1], [0, 0]]), "Agent 1 in world 1 of two-step played -1"),
    ],
)
def test_actions_that_cannot_be_played(actions, words):
    env = mc.make("two-step", num_envs=3, device="cpu")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=words) as problem:
        env.step(actions)
    sentence(problem)
    assert int(env.clock.max()) == 0  # nothing was played


def test_continuous_actions_that_cannot_be_played():
    env = mc.make("product-game", num_envs=2, device="cpu")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \[2, 2, 1\], got shape \[2, 2\]"):
        env.step(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="Agent 1 in world 0 of product-game played .*nan.* not finite"):
        env.step(torch.tensor([[[0.0], [float("nan")]], [[0.0], [0.0]]]))


def test_a_step_before_the_first_reset():
    with pytest.raises(RuntimeError, match=r"Call reset\(\) before step\(\)"):
        mc.make("two-step", device="cpu").step(torch.zeros(1, 2, dtype=torch.long))


def test_an_algorithm_for_another_kind_of_actions():
    with pytest.raises(TypeError, match="product-game has continuous actions: choose an algorithm for") as problem:
        mc.QMIX(mc.make("product-game", device="cpu").spec, device="cpu")
    sentence(problem)


def test_settings_of_another_algorithm():
    spec = mc.make("two-step", device="cpu").spec
    with pytest.raises(TypeError, match="config must be a COMA.Config, not QMIXConfig"):
        mc.COMA(spec, mc.QMIX.Config(), device="cpu")
    with pytest.raises(TypeError, match="QMIX has no part named critic"):
        mc.QMIX(spec, device="cpu", critic=torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match="The part 'mixer' must be a torch.nn.Module or a function that returns one"):
        mc.QMIX(spec, device="cpu", mixer=lambda: "sum")


def test_a_replay_larger_than_memory_is_refused_with_the_arithmetic(monkeypatch):
    from marlcourse import trainer

    env = mc.make("two-step", num_envs=2, device="cpu")
    algorithm = mc.QMIX(env.spec, mc.QMIX.Config(replay_episodes=10**12), device="cpu")
    with pytest.raises(ValueError) as problem:
        mc.Trainer(env, algorithm)
    words = sentence(problem)
    assert "A replay of 1,000,000,000,000 episodes x 2 steps of two-step needs" in words and "GiB are free on cpu" in words
    # the advice in it is sound: so many do fit, and the figure is that of a real buffer
    monkeypatch.setattr(trainer, "free_memory", lambda: 1e6)
    with pytest.raises(ValueError, match="keep at most [0-9,]+ episodes") as problem:
        mc.Trainer(env, algorithm)
    most = int(str(problem.value).split("keep at most ")[1].split(" ")[0].replace(",", ""))
    algorithm.config = replace(algorithm.config, replay_episodes=most)
    context = mc.Trainer(env, algorithm).context
    context.buffer.add(context.collect())
    planned = trainer.replay_bytes(env.spec, most)
    assert planned <= context.buffer.rows.nbytes <= 1.1 * planned + 8 * most and context.buffer.rows.nbytes < 1e6


def test_memory_that_is_free_is_found():
    from marlcourse.trainer import free_memory

    assert 2**20 < free_memory() < 2**50


def test_one_world_at_least():
    with pytest.raises(ValueError, match="num_envs must be at least 1, not 0"):
        mc.make("two-step", num_envs=0, device="cpu")
