"""check_env: honest worlds pass, and each lie is answered by its own sentence."""

import dataclasses
import random

import numpy as np
import pytest
import torch

from marlcourse import check_env, make
from marlcourse.core import Box, Discrete, EnvSpec, Observation, Step
from marlcourse.envs.base import World

LIMIT = 5


class Walk(World):
    """An honest world with everything that can go wrong: chance, a mask, ends before the limit, an informative state.

    Two walkers on a line; a step to the left is not available at 0; the episode ends when both stand on 3.
    """

    _masks_actions = True

    def __init__(self, num_envs=3, device="cpu", seed=0):
        self.spec = EnvSpec("walk", 2, 2, 3, LIMIT, Discrete(3))
        super().__init__(num_envs, device, seed)

    def _draw_start(self):
        return {"at": torch.randint(0, 3, (self.num_envs, 2), generator=self.generator, device=self.device)}

    def _draw_step(self):
        return {"wind": torch.rand(self.num_envs, generator=self.generator, device=self.device) < 0.2}

    def _start(self, draws):
        return {"at": draws["at"], "t": torch.zeros_like(draws["at"][:, 0])}

    def _advance(self, state, actions, draws):
        at = (state["at"] + actions - 1 + draws["wind"].unsqueeze(1)).clamp(0, 3)
        over = (at == 3).all(1)
        return {"at": at, "t": state["t"] + 1}, over.float(), over, {"won": over}

    def _observe(self, state):
        at, t = state["at"].float(), state["t"].float()
        obs = torch.stack([at, t.unsqueeze(1).expand(-1, 2)], 2)
        avail = torch.ones(*at.shape, 3, dtype=torch.bool, device=self.device)
        avail[..., 0] = at > 0
        return Observation(obs, torch.cat([at, t.unsqueeze(1)], 1), avail)

    def frame(self, index=0):
        return np.zeros((8, 8, 3), np.uint8)


def lie(name, **methods):
    """A class like Walk with some methods replaced; each takes the honest method first."""
    body = {}
    for key, f in methods.items():
        honest = getattr(Walk, key)
        body[key] = lambda self, *a, _f=f, _honest=honest, **k: _f(lambda *x, **y: _honest(self, *x, **y), self, *a, **k)
    return type(name, (Walk,), body)


def changed(o, **new):
    return o._replace(**{k: f(getattr(o, k)) for k, f in new.items()})


def seen(**new):
    return {"_observe": lambda honest, self, state: changed(honest(state), **new)}


def stepped(**new):
    return {"step": lambda honest, self, actions: changed(honest(actions), **new)}


def with_spec(**new):
    def init(honest, self, *args, **kwargs):
        honest(*args, **kwargs)
        self.spec = dataclasses.replace(self.spec, **new)

    return {"__init__": init}


def own_restart(honest, self, actions):
    """Begins again by itself, as many other packages do."""
    step = honest(actions)
    done = step.terminated | step.truncated
    return step._replace(observation=self.reset(where=done)) if done.any() else step


def buffered(honest, self, state):
    o = honest(state)
    if not hasattr(self, "kept"):
        self.kept = o.obs
    self.kept.copy_(o.obs)
    return o._replace(obs=self.kept)


def late_reward(honest, self, actions):
    running = self.running.clone()
    step = honest(actions)
    return step._replace(reward=step.reward + (~running).float())


def late_flag(honest, self, actions):
    running = self.running.clone()
    step = honest(actions)
    return step._replace(terminated=step.terminated | ~running)


def never_truncated(honest, self, actions):
    self.clock[:] = 0
    return honest(actions)


def resets_everything(honest, self, seed=None, where=None):
    return honest(seed)


def ignores_seed(honest, self, seed=None, where=None):
    return honest(None, where)


def loads_without_generator(honest, self, state):
    honest({**state, "generator": self.generator.get_state()})


def no_mask_check(honest, self, actions):
    return actions.clamp(0, 2)


def reused_actions(honest, self, actions):
    step = honest(actions)
    actions.zero_()
    return step


def global_draw(honest, self):
    random.random()
    return honest()


def carries_over(honest, self, draws):
    self.episodes_played = getattr(self, "episodes_played", 0) + 1
    state = honest(draws)
    return {**state, "t": state["t"] + self.episodes_played}


def shared(honest, self, num_envs=None, seed=0):
    copy = honest(num_envs, seed)
    copy.generator = self.generator
    return copy


LIES = [
    (lie("A", **seen(obs=lambda x: x[:, :, :1])), r"obs after reset\(\) must have shape \[3, 2, 2\], but has \[3, 2, 1\]"),
    (lie("B", **seen(obs=lambda x: x.double())), r"obs after reset\(\) must have dtype float32, but has float64"),
    (lie("C", **seen(obs=lambda x: x / 0)), r"obs after reset\(\) must be finite"),
    (lie("D", **seen(state=lambda x: x[:, :2])), r"state after reset\(\) must have shape \[3, 3\], but has \[3, 2\]"),
    (lie("E", **seen(avail=lambda x: x.float())), r"avail after reset\(\) must have dtype bool, but has float32"),
    (lie("F", **seen(avail=lambda x: x & False)), r"avail after reset\(\) has no True for agent 0 in world 0"),
    (lie("G", **seen(avail=lambda x: None)), r"avail after reset\(\) must be a tensor, not None"),
    (lie("H", **seen(obs=lambda x: x.numpy())), r"obs after reset\(\) must be a tensor, not ndarray"),
    (lie("I", **seen(obs=lambda x: x.to("meta"))), r"obs after reset\(\) must be on the world's device cpu, but is on meta"),
    (lie("J", _observe=buffered), "an observation handed out earlier changed"),
    (lie("K", **stepped(reward=lambda x: x.double())), "reward must have dtype float32, but has float64"),
    (lie("L", **stepped(reward=lambda x: x[:, None].expand(-1, 2))), r"reward must have shape \[3\], but has \[3, 2\]"),
    (lie("M", **stepped(terminated=lambda x: x.int())), "terminated must have dtype bool, but has int32"),
    (
        lie("N", **stepped(truncated=lambda x: x | True, terminated=lambda x: x | True)),
        "terminated and truncated are both True",
    ),
    (lie("O", **stepped(info=lambda x: {"won": True})), r"info\['won'\] must be a tensor of shape \[3\]"),
    (lie("P", step=late_reward), "has ended, yet step\\(\\) gives it the reward 1"),
    (lie("Q", step=late_flag), "terminated is True for world . after its ending step"),
    (lie("R", step=own_restart), "has ended, yet its observation changes"),
    (lie("S", step=never_truncated), "goes on after step 5, spec.episode_limit"),
    (lie("T", reset=resets_everything), r"reset\(where=...\) changed world"),
    (lie("U", reset=ignores_seed), "the same seed and actions give other episodes the second time"),
    (lie("V", _start=carries_over), "the same seed and actions give other episodes the second time"),
    (lie("W", _draw_step=global_draw), "it moves a global random generator"),
    (lie("X", fresh=shared), "playing in the copy that fresh\\(\\) gave changes the original"),
    (lie("Y", fresh=lambda honest, self, num_envs=None, seed=0: self), "fresh\\(\\) must give an independent copy"),
    (
        lie("Z", load_state_dict=loads_without_generator),
        r"after load_state_dict\(state_dict\(\)\) the same actions give something else",
    ),
    (
        lie("AA", state_dict=lambda honest, self: {**honest(), "rng": random.Random(0)}),
        r"state_dict\(\)\['rng'\] holds a Random",
    ),
    (lie("AB", frame=lambda honest, self, index=0: np.zeros((8, 8, 3))), r"frame\(\) must give .* gives float64 \[8, 8, 3\]"),
    (lie("AC", _checked=no_mask_check), "actions of the wrong shape"),
    (lie("AD", step=reused_actions), r"step\(\) changes the tensor of actions"),
    (lie("AE", **with_spec(episode_limit=0)), "spec.episode_limit must be a whole number of at least 1, not 0"),
    (lie("AF", **with_spec(state_is_obs=True)), "with state_is_obs, state_dim must be n_agents \\* obs_dim = 4, not 3"),
    (
        lie("AG", **with_spec(state_is_obs=True, state_dim=4), **seen(state=lambda x: x[:, [0, 1, 2, 2]])),
        "is not the concatenated",
    ),
    (lie("AH", **with_spec(actions=Box(1))), "avail must be None, because the actions are continuous"),
    (lie("AI", **with_spec(actions=3)), r"spec.actions must be Discrete\(n\) or Box"),
    (lie("AJ", fresh=lambda honest, self, num_envs=None, seed=0: honest(None, seed)), r"fresh\(num_envs=...\) must give"),
]


class Unmasked(Walk):
    """Says which actions are available, and accepts all."""

    _masks_actions = False


def test_the_honest_world_passes_and_is_left_freshly_reset():
    env = Walk()
    assert check_env(env) is None
    assert env.running.all() and (env.clock == 0).all()
    for num_envs in (1, 7):
        check_env(Walk(num_envs=num_envs))


@pytest.mark.parametrize("world,sentence", LIES, ids=[str(i) for i in range(len(LIES))])
def test_a_lie_is_named(world, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        check_env(world())
    assert str(error.value).startswith("walk: ") and str(error.value).endswith(".")


def test_unavailable_actions_must_be_refused():
    with pytest.raises(ValueError, match="an unavailable action is accepted"):
        check_env(Unmasked())


def test_a_missing_method_and_a_wrong_spec_are_named():
    class Bare:
        spec, num_envs, device = EnvSpec("bare", 1, 1, 1, 1, Discrete(2)), 1, torch.device("cpu")

    with pytest.raises(ValueError, match=r"bare: the method reset\(\) is missing"):
        check_env(Bare())
    Bare.spec = {"n_agents": 1}
    with pytest.raises(ValueError, match="Bare: spec must be an EnvSpec, not dict"):
        check_env(Bare())


def test_steps_decides_how_far_it_looks():
    late = lie("Late", step=never_truncated)
    check_env(late(), steps=3)
    with pytest.raises(ValueError, match="episode_limit"):
        check_env(late(), steps=LIMIT + 3)


def test_a_gymnasium_style_step_is_named():
    world = lie("Tuple", step=lambda honest, self, actions: tuple(honest(actions)))
    with pytest.raises(ValueError, match=r"step\(\) must give a Step, not tuple"):
        check_env(world())
    assert Step._fields == ("observation", "reward", "terminated", "truncated", "info")


@pytest.mark.parametrize("name", ["junction", "two-step", "product-game", "matrix/qtran"])
def test_the_librarys_worlds_pass(name):
    for num_envs in (1, 4):
        check_env(make(name, num_envs=num_envs, device="cpu"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["junction", "two-step", "product-game", "matrix/qtran"])
def test_the_librarys_worlds_pass_on_a_gpu(name):
    check_env(make(name, num_envs=4, device="cuda"))


@pytest.mark.gpu
def test_a_world_on_the_wrong_device_is_named():
    world = lie("Host", **seen(obs=lambda x: x.cpu()))
    with pytest.raises(ValueError, match="must be on the world's device cuda"):
        check_env(world(device="cuda"))
