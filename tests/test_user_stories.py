"""What a first user does and gets wrong: own parts, own algorithms, own worlds; each mistake meets one sentence."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

import marlcourse as mc
from marlcourse.core import Action, Algorithm, Config, Discrete, EnvSpec, Observation
from marlcourse.envs.base import World
from marlcourse.exploration import categorical, epsilon_greedy, masked
from marlcourse.targets import discounted_return, masked_mean, td_target


class MyMixer(nn.Module):
    def forward(self, q, state):
        return q.sum(-1)


class MyAgent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def initial_hidden(self, batch_size, n_agents):
        return torch.zeros(batch_size, n_agents, 0)

    def forward(self, obs, last_action, hidden):
        return self.layer(obs), hidden


def world(name="two-step", num_envs=4):
    return mc.make(name, num_envs=num_envs, device="cpu")


SPEC = world().spec
SMALL = mc.QMIX.Config.preset("two-step", batch_size=8, hidden=8)


def refused(action, words, kinds=(TypeError, ValueError)):
    """``action`` raises an error that stands alone: one line that holds ``words``, without a chain of tracebacks."""
    with pytest.raises(kinds, match=words) as problem:
        action()
    error = problem.value
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
    assert "\n" not in str(error)


# ---- a reader's own things work ----


@pytest.mark.parametrize("part", [MyMixer, MyMixer(), lambda: MyMixer()])
def test_one_piece_is_replaced_in_one_word(part):
    env = world()
    run = mc.Trainer(env, mc.QMIX(env.spec, SMALL, mixer=part, agent=MyAgent, device="cpu"), seed=0).fit(64)
    same = mc.Trainer(env, mc.VDN(env.spec, SMALL, agent=MyAgent, device="cpu"), seed=0).fit(64)
    assert run.history[-1]["main_loss"] == same.history[-1]["main_loss"]  # MyMixer is VDN's sum


@dataclass(frozen=True)
class TinyConfig(Config):
    replay_episodes: int = 64
    batch_size: int = 16


class Tiny(Algorithm):
    """Independent Q-learning without a target network, as a reader would write it."""

    Config = TinyConfig

    def build(self):
        self.net = nn.Linear(self.spec.obs_dim, self.spec.n_actions)

    def act(self, observation, carry, explore, generator):
        return Action(epsilon_greedy(self.net(observation.obs), observation.avail, 0.5 if explore else 0.0, generator), carry)

    def loss(self, batch):
        q = self.net(batch.obs)
        chosen = q[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        best = masked(q, batch.avail)[:, 1:].max(-1).values.detach()
        y = td_target(batch.reward.unsqueeze(-1), batch.terminated.unsqueeze(-1), best, 0.99)
        return masked_mean((chosen - y) ** 2, batch.mask), {}

    def optimizers(self):
        return {"main": torch.optim.Adam(self.parameters(), 1e-2)}


class WrittenOut(Tiny):
    def iterate(self, ctx):
        metrics = {}
        ctx.buffer.add(ctx.collect())
        for batch in ctx.updates():
            loss, metrics = self.loss(batch)
            ctx.step("main", loss)
            self.after_update(ctx)
        return metrics


def test_the_schedule_written_out_is_the_default_one():
    teams = []
    for kind in (Tiny, WrittenOut):
        teams.append(kind(SPEC, device="cpu"))
        mc.Trainer(world(), teams[-1], seed=1).fit(400)
    assert torch.equal(teams[0].net.weight, teams[1].net.weight)
    assert not torch.equal(teams[0].net.weight, Tiny(SPEC, device="cpu").net.weight)


@dataclass(frozen=True)
class ReinforceConfig(Config):
    gamma: float = 0.99
    lr: float = 1e-2
    grad_clip: float | None = None
    optimizer: type = torch.optim.Adam


class Reinforce(Algorithm):
    """On-policy, two networks, two optimisers, pieces of eight steps."""

    Config = ReinforceConfig

    def build(self):
        self.policy, self.value = nn.Linear(3, 2), nn.Linear(self.spec.state_dim, 1)

    def act(self, observation, carry, explore, generator):
        log_pi = torch.log_softmax(masked(self.policy(observation.obs), observation.avail), -1)
        actions = categorical(log_pi, generator) if explore else log_pi.argmax(-1)
        return Action(actions, carry, log_pi.gather(-1, actions.unsqueeze(-1)).squeeze(-1))

    def policy_loss(self, batch):
        log_pi = torch.log_softmax(masked(self.policy(batch.obs[:, :-1]), batch.avail[:, :-1]), -1)
        log_prob = log_pi.gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)  # [B,T,N]
        assert torch.allclose(log_prob * batch.mask.unsqueeze(-1), batch.log_prob, atol=1e-6)  # on-policy
        g = discounted_return(batch.reward, batch.mask, self.config.gamma)
        advantage = g - self.value(batch.states[:, :-1]).squeeze(-1).detach()
        return -masked_mean(log_prob.sum(-1) * advantage, batch.mask), {}

    def value_loss(self, batch):
        g = discounted_return(batch.reward, batch.mask, self.config.gamma)
        return masked_mean((g - self.value(batch.states[:, :-1]).squeeze(-1)) ** 2, batch.mask), {}

    def optimizers(self):
        return {"policy": self.make_optimizer(self.policy), "value": self.make_optimizer(self.value, lr=2e-2)}

    def iterate(self, ctx):
        batch = ctx.collect(steps=8)
        return ctx.step("policy", self.policy_loss, batch) | ctx.step("value", self.value_loss, batch)


def test_an_on_policy_algorithm_with_two_optimisers_trains_and_resumes(tmp_path):
    team = Reinforce(SPEC, device="cpu")
    run = mc.Trainer(world(), team, seed=0, run_dir=tmp_path / "run").fit(320)
    assert run.history[-1]["value_loss"] < run.history[1]["value_loss"]
    refused(lambda: mc.load_team(tmp_path / "run"), r"if the class is your own, use Trainer.resume\(path, env, algorithm=Reinf")
    again = mc.Trainer.resume(tmp_path / "run", world(), Reinforce(SPEC, device="cpu"))
    again.fit(640)
    straight = mc.Trainer(world(), Reinforce(SPEC, device="cpu"), seed=0, eval_every=16)
    straight.fit(640)
    assert torch.equal(again.algorithm.policy.weight, straight.algorithm.policy.weight)


class Guess(World):
    """Each agent sees a number and must play it; three rounds."""

    _masks_actions = False

    def __init__(self, num_envs=1, device="auto", seed=0, choices=3):
        self.spec = EnvSpec("guess", 2, choices, 2 * choices, 3, Discrete(choices), state_is_obs=True)
        super().__init__(num_envs, device, seed, choices=choices)

    def _draw_start(self):
        return {"hint": torch.randint(self.spec.n_actions, (self.num_envs, 2), generator=self.generator, device=self.device)}

    _draw_step = _draw_start

    def _start(self, draws):
        return draws

    def _advance(self, state, actions, draws):
        never = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        return draws, (actions == state["hint"]).float().mean(-1), never, {}

    def _observe(self, state):
        obs = nn.functional.one_hot(state["hint"], self.spec.n_actions).float()
        avail = torch.ones(self.num_envs, 2, self.spec.n_actions, dtype=torch.bool, device=self.device)
        return Observation(obs, obs.flatten(1), avail)

    def frame(self, index=0):
        return np.full((8, 8, 3), 40 * int(self.state["hint"][index, 0]), dtype=np.uint8)


def test_a_world_of_ones_own_is_checked_played_and_evaluated():
    env = Guess(num_envs=4, device="cpu")
    mc.check_env(env)
    team = mc.VDN(env.spec, SMALL, device="cpu")
    run = mc.Trainer(env, team, seed=0).fit(96)
    assert run.history[-1]["length_mean"] == 3 and 0 <= mc.evaluate(env, team, 8).return_mean <= 3


# ---- what a first user gets wrong ----


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"lr": "a"}, "lr must be a number, not 'a'"),
        ({"lr": -1}, "lr must be at least 0, not -1"),
        ({"lr": float("nan")}, "lr must be at least 0, not nan"),
        ({"gamma": 99}, "gamma must be between 0 and 1, not 99"),
        ({"lam": -0.1}, "lam must be between 0 and 1"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"batch_size": 32.0}, "batch_size must be a whole number, not 32.0: write 32"),
        ({"batch_size": True}, "batch_size must be a whole number, not True"),
        ({"chunk_rows": 0}, "chunk_rows must be at least 1"),
        ({"hidden": "64"}, "hidden must be a whole number, not '64'"),
        ({"hypernet_layers": 3}, "hypernet_layers must be between 1 and 2, not 3"),
        ({"recurrent": "no"}, "recurrent must be True or False, not 'no'"),
        ({"epsilon": 0.1}, r"epsilon must be a marlcourse.Schedule, not 0.1: write Schedule\("),
        ({"epsilon": mc.Schedule(5, 0.1, 10)}, "epsilon must be between 0 and 1, not 5"),
        ({"epsilon": mc.Schedule("1", 0.1, 10)}, "epsilon must be a number, not '1'"),
        ({"optimizer": "adam"}, "optimizer must be a class such as torch.optim.Adam, not 'adam'"),
        ({"optimizer": torch.optim.Adam([torch.zeros(1)])}, "optimizer must be a class"),
        ({"grad_clip": 0}, "give a number above 0, or None for no clipping"),
        ({"learning_rate": 1e-3}, "QMIXConfig has no setting 'learning_rate'"),
        ({"batchsize": 8}, "did you mean 'batch_size'"),
    ],
)
def test_settings_that_cannot_work(changes, words):
    refused(lambda: mc.QMIX.Config.preset("pymarl", **changes), words)
    if not {"learning_rate", "batchsize"} & set(changes):
        refused(lambda: replace(mc.QMIX.Config(), **changes), words)


def test_settings_at_their_edges_are_allowed():
    mc.QMIX.Config(gamma=0, lam=1, lr=0.0, grad_clip=None, chunk_rows=1, batch_size=np.int64(4))
    mc.LICA.Config(xi=0)

    @dataclass(frozen=True)
    class Own(Config):
        warmup: int = 0
        shift: float = -1.0
        words: tuple = ()

    assert Own(warmup=-3, shift=-2, words=("a",)).shift == -2


class Keeps(nn.Module):
    def forward(self, q, state):
        return q


class OneInput(nn.Module):
    def forward(self, q):
        return q.sum(-1)


class Cut(nn.Module):
    def forward(self, q, state):
        return q.detach().sum(-1)


class NoHidden(nn.Module):
    def forward(self, obs, last_action, hidden):
        return obs


class OneOutput(MyAgent):
    def forward(self, obs, last_action, hidden):
        return self.layer(obs)


class ThreeActions(MyAgent):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)


@pytest.mark.parametrize(
    "kind, part, words",
    [
        ("QMIX", {"mixer": Keeps}, r"must return shape \[2, 3\], not \[2, 3, 2\]"),
        ("QMIX", {"mixer": OneInput}, "'mixer' fails when it is given tensors of shape .*takes 2 positional arguments but 3"),
        ("QMIX", {"mixer": Cut}, "Nothing can learn through the part 'mixer': look for detach"),
        ("QMIX", {"mixer": torch.relu}, "'mixer' must be a torch.nn.Module or a function that returns one"),
        ("QMIX", {"agent": NoHidden}, "'agent' must have initial_hidden.*no attribute 'initial_hidden'"),
        ("IQL", {"agent": OneOutput}, "'agent' must have .*returning two things: .*it returned Tensor"),
        ("VDN", {"agent": ThreeActions}, r"values of shape \[2, 3, 2, 2\].*it returned values of shape \[2, 3, 2, 3\]"),
        ("COMA", {"actor": ThreeActions}, "'actor' must have"),
        ("LICA", {"actor": NoHidden}, "'actor' must have"),
        ("OWQMIX", {"central_agent": OneOutput}, "'central_agent' must have"),
        ("CWQMIX", {"central_mixer": Keeps}, "'central_mixer' must return shape"),
        ("COMA", {"critic": Keeps}, "'critic' fails when"),
        ("LICA", {"critic": Keeps}, "'critic' must return shape"),
    ],
)
def test_parts_that_do_not_fit(kind, part, words):
    refused(lambda: getattr(mc, kind)(SPEC, device="cpu", **part), words)


def two_step(**options):
    return lambda: mc.make("two-step", **{"device": "cpu", **options})


@pytest.mark.parametrize(
    "action, words",
    [
        (two_step(num_envs=2.5), "num_envs must be a whole number, not 2.5"),
        (two_step(num_envs="4"), "num_envs must be a whole number, not '4'"),
        (two_step(seed=1.5), "seed must be a whole number, not 1.5"),
        (two_step(seed=2**70), "seed must be below"),
        (two_step(device=0), "Unknown device '0'"),
        (two_step(colour="red"), "The world 'two-step' has no option 'colour'"),
        (lambda: mc.make(3), "A world is made by its name"),
        (lambda: world().fresh(num_envs=0), "num_envs must be at least 1, not 0"),
        (lambda: world().reset(seed=0.5), r"reset\(seed=...\) takes a whole number, not 0.5"),
        (lambda: world().reset(where=torch.ones(4)), r"takes a bool tensor of shape \[4\].*not torch.float32"),
        (lambda: world().reset(where=torch.ones(3, dtype=torch.bool)), r"bool of shape \[3\]"),
        (lambda: mc.QMIX(mc.VDN(SPEC)), r"built from a world's spec: QMIX\(env.spec\), not VDN"),
        (lambda: mc.QMIX(SPEC, seed=0.5), "seed must be a whole number, not 0.5"),
        (lambda: mc.evaluate(world(), mc.VDN(SPEC), "8"), "episodes must be a whole number, not '8'"),
        (
            lambda: mc.evaluate(world("junction"), mc.VDN(SPEC)),
            "The team was built for .*two-step.*but the world is .*junction",
        ),
        (lambda: mc.Trainer(mc.VDN(SPEC), world()), "takes a world.* and an algorithm built for it, not VDN and TwoStep"),
        (lambda: mc.Trainer(world(), mc.VDN), "not TwoStep and <class"),
        (lambda: mc.Trainer(world(), mc.VDN(SPEC), seed=1.5), "seed must be a whole number, not 1.5"),
        (lambda: mc.Trainer(world(), mc.VDN(SPEC), eval_every="10"), "eval_every must be a whole number, not '10'"),
        (lambda: mc.Trainer(world(), mc.VDN(SPEC), callbacks=mc.LivePlot("return")), "callbacks must be a list of callbacks"),
        (lambda: mc.Trainer(world(), mc.VDN(SPEC), callbacks=[mc.LivePlot]), "callbacks must be a list of callbacks"),
        (lambda: mc.Trainer(world(), mc.VDN(SPEC)).fit(2e4), "steps must be a whole number, not 20000.0: write 20000"),
        (lambda: mc.compare("two-step", [mc.VDN], 2, 50), "nothing to compare: give algorithms as"),
        (lambda: mc.compare("two-step", {"VDN": mc.VDN}, [0.5], 50), "each of the seeds must be a whole number, not 0.5"),
        (lambda: mc.compare("two-step", {"VDN": mc.VDN}, None, 50), "seeds must be a whole number, not None"),
        (lambda: mc.compare("two-step", {"VDN": mc.VDN}, 1, 50, eval_every=0), "eval_every must be at least 1, not 0"),
        (lambda: mc.compare("two-step", {"VDN": mc.VDN(SPEC)}, 1, 50), r"must be an Algorithm class or a function .*, not VDN"),
        (lambda: mc.compare("two-step", {"VDN": lambda spec: mc.VDN(spec)}, 1, 50), "every seed builds a team of its own"),
        (lambda: mc.Ensemble(lambda seed: mc.VDN(SPEC, seed=seed), []), "takes at least one seed"),
        (lambda: mc.Ensemble(lambda seed: mc.VDN(SPEC, seed=seed), 5), "takes at least one seed"),
    ],
)
def test_arguments_of_another_kind(action, words):
    refused(action, words)


def test_an_algorithm_without_a_replay_needs_an_iterate_of_its_own():
    class NoReplay(Tiny):
        Config = ReinforceConfig

    refused(
        lambda: mc.Trainer(world(), NoReplay(SPEC, device="cpu")), "default iterate learns from a replay: give NoReplay.Config"
    )


def test_a_loss_that_is_not_one_number():
    class Rows(Tiny):
        def loss(self, batch):
            return batch.reward + self.net(batch.obs).sum(), {}

        def iterate(self, ctx):
            return ctx.step("main", self.loss, ctx.collect())

    class Written(Rows):
        def loss(self, batch):
            return self.net(batch.obs).sum((1, 2, 3)), {}

    refused(
        lambda: mc.Trainer(world(), Written(SPEC, device="cpu")).fit(8),
        r"The main loss must be one number, not a tensor of shape \[4\]: use masked_mean",
    )


def test_the_command_line_has_no_traceback_for_a_continuous_world(capsys):
    from marlcourse.cli import main

    assert main(["train", "product-game", "--algo", "qmix", "--steps", "10", "--device", "cpu"]) == 2
    assert capsys.readouterr().err.startswith("marlcourse: product-game has continuous actions")


def test_a_family_of_pettingzoo_is_no_package_to_install():
    pytest.importorskip("pettingzoo")
    refused(
        lambda: mc.make("pettingzoo:butterfly.no_such_v1", device="cpu"),
        r"write its full name, such as pettingzoo\.butterfly\.no_such_v1",
        ModuleNotFoundError,
    )


def test_python_worlds_count_in_whole_numbers():
    from marlcourse.envs.adapters.python_worlds import PythonVecEnv

    refused(lambda: PythonVecEnv(None, num_envs=2.5), "num_envs must be a whole number, not 2.5")
    refused(lambda: PythonVecEnv(None, num_envs=2, workers="a"), "workers must be a whole number, not 'a'")
