"""Collecting, the replay, chunked updates and evaluation, in a world whose observations say where they come from."""

from dataclasses import dataclass, replace

import pytest
import torch

import marlcourse as mc
from marlcourse.checkpoint import held_rows
from marlcourse.core import Action, Algorithm, Config, Discrete, EnvSpec, Observation
from marlcourse.envs.base import World
from marlcourse.exploration import uniform_actions
from marlcourse.rollout import Collector, Context, EpisodeBuffer
from marlcourse.targets import masked_mean

N, A, LIMIT = 2, 3, 5


class Diary(World):
    """Agent n of world b sees (b, number of the episode, steps played, n). Episodes last 1..LIMIT steps; about two in
    seven are cut by the limit. Action 2 is never available at the start of an episode. Reward: 100 b + step + actions."""

    _masks_actions = True

    def __init__(self, num_envs=1, device="cpu", seed=0, state_is_obs=False):
        self.spec = EnvSpec("diary", N, 4, N * 4 if state_is_obs else 1, LIMIT, Discrete(A), state_is_obs)
        super().__init__(num_envs, device, seed, state_is_obs=state_is_obs)

    def _draw_start(self):
        return {"length": torch.randint(1, LIMIT + 3, (self.num_envs,), generator=self.generator)}

    def _start(self, draws):
        before = torch.full((self.num_envs,), -1) if self.state is None else self.state["episode"]
        return {**draws, "episode": before + 1, "t": torch.zeros(self.num_envs, dtype=torch.long)}

    def _advance(self, state, actions, draws):
        t = state["t"] + 1
        reward = (100 * torch.arange(self.num_envs) + t + actions.sum(-1)).float()
        return {**state, "t": t}, reward, t >= state["length"], {"won": t == 2}

    def _observe(self, state):
        world = torch.arange(self.num_envs)
        row = torch.stack([world, state["episode"], state["t"]], -1).unsqueeze(1).expand(-1, N, -1)
        obs = torch.cat([row, torch.arange(N).expand(self.num_envs, N).unsqueeze(-1)], -1).float()
        avail = torch.ones(self.num_envs, N, A, dtype=torch.bool)
        avail[..., 2] = (state["t"] > 0).unsqueeze(-1)
        return Observation(obs, obs.flatten(1) if self.spec.state_is_obs else state["t"].float().unsqueeze(-1), avail)


@dataclass(frozen=True)
class ScribeConfig(Config):
    optimizer: type = torch.optim.SGD
    lr: float = 0.1


class Scribe(Algorithm):
    """Plays at random, remembers how many steps it has played since the reset, and writes that down."""

    Config = ScribeConfig

    def build(self):
        self.net = torch.nn.Linear(4, 1)

    def initial_carry(self, batch_size):
        return {"count": torch.zeros(batch_size, dtype=torch.long)}

    def act(self, observation, carry, explore, generator):
        random = uniform_actions(observation.avail, generator)
        actions = random if explore else torch.zeros_like(random)
        log_prob = -observation.avail.sum(-1).float().log()
        return Action(actions, {"count": carry["count"] + 1}, log_prob, {"count": carry["count"]})

    def loss(self, batch):
        value = masked_mean(self.net(batch.obs[:, :-1]).mean(2).squeeze(-1) ** 2, batch.mask)
        return value, {"value": value}

    def optimizers(self):
        return {"main": self.make_optimizer(self.net)}


def collector(worlds=6, seed=0, **options):
    env = Diary(worlds, **options)
    return Collector(env, Scribe(env.spec, device="cpu"), seed)


def check_rows(batch):
    """Each row is a piece of one episode, its mask a prefix, its last observation the true final one."""
    assert batch.length.device.type == "cpu" and torch.equal(batch.length, batch.mask.sum(1).long())
    assert batch.mask.shape[1] == int(batch.length.max()) == batch.reward.shape[1] == batch.obs.shape[1] - 1
    for row, length in enumerate(batch.length.tolist()):
        world, episode, t, agent = batch.obs[row, : length + 1].unbind(-1)
        assert torch.equal(agent, torch.arange(float(N)).expand(length + 1, N))
        assert world.unique().numel() == 1 and episode.unique().numel() == 1
        assert torch.equal(t[:, 0], t[0, 0] + torch.arange(length + 1.0))  # true final observation at index length
        assert batch.mask[row].tolist() == [1.0] * length + [0.0] * (batch.mask.shape[1] - length)
        played = batch.actions[row, :length].sum(-1)
        assert torch.equal(batch.reward[row, :length], 100 * world[0, 0] + t[1:, 0] + played)
        assert not (batch.terminated | batch.truncated)[row, : length - 1].any()
        assert not (batch.terminated & batch.truncated).any()
        for padded in (batch.obs[row, length + 1 :], batch.reward[row, length:], batch.actions[row, length:]):
            assert not padded.any()
        assert batch.avail[row].any(-1).all()
        assert torch.equal(batch.extras["count"][row, :length], batch.extras["count"][row, 0] + torch.arange(length))


@pytest.mark.parametrize("worlds", [1, 6])
def test_every_world_plays_its_share_of_whole_episodes(worlds):
    play = collector(worlds=worlds)
    batch = play.collect(episodes=18)
    check_rows(batch)
    assert len(batch) == 18 and batch.carry0 is None
    world, episode = batch.obs[:, 0, 0, 0].tolist(), batch.obs[:, 0, 0, 1].tolist()
    assert list(zip(world, episode)) == [(w, e) for w in range(worlds) for e in range(18 // worlds)]  # none skipped
    ends = torch.stack([batch.terminated, batch.truncated])[:, torch.arange(18), batch.length - 1]
    assert ends.any(0).all() and ends[0].any() and ends[1].any()  # whole ones, of both kinds of ending
    assert torch.equal(ends[1], (batch.length == LIMIT) & ~ends[0])
    assert len(set(batch.length.tolist())) > 2
    assert (batch.obs[:, 0, 0, 2] == 0).all() and (batch.extras["count"][:, 0] == 0).all()
    again = play.collect()  # the default: one each
    assert len(again) == worlds


def test_shares_are_equal_although_short_episodes_end_first():
    lengths = torch.cat([collector(worlds=8, seed=s).collect(episodes=32).length.float() for s in range(12)])
    expected = sum(min(n, LIMIT) for n in range(1, LIMIT + 3)) / (LIMIT + 2)
    assert abs(lengths.mean() - expected) < 3 * 1.5 / len(lengths) ** 0.5


@pytest.mark.parametrize("cuts", [(12,), (1,) * 12, (5, 7), (3, 4, 2, 3)])
def test_a_long_collect_cut_in_pieces_is_the_same_experience(cuts):
    """Actions are drawn one step at a time from one generator, so that pieces must be the whole, cut."""
    whole, pieces = collector(worlds=4), collector(worlds=4)
    one = whole.collect(steps=12)
    check_rows(one)
    parts = [pieces.collect(steps=k) for k in cuts]
    assert sum(int(p.length.sum()) for p in parts) == int(one.length.sum()) == 4 * 12

    def by_step(batch):
        """{(world, episode, t): what happened}."""
        rows = {}
        for row, length in enumerate(batch.length.tolist()):
            for t in range(length):
                key = tuple(batch.obs[row, t, 0, :3].int().tolist())
                names = ("reward", "terminated", "truncated", "actions", "log_prob", "avail")
                rows[key] = [getattr(batch, n)[row, t].tolist() for n in names] + [batch.extras["count"][row, t].item()]
                rows[key].append(batch.obs[row, t + 1].tolist())
        return rows

    joined = {}
    for part in parts:
        check_rows(part)
        first_t, memory = part.obs[:, 0, 0, 2].long(), part.carry0["count"]
        assert torch.equal(first_t, memory)  # carry0 is the memory at the row's first step, fresh after a reset
        assert not joined.keys() & by_step(part).keys()
        joined |= by_step(part)
    assert joined == by_step(one)


def test_pieces_of_unfinished_episodes_end_neither_way():
    batch = collector(worlds=4).collect(steps=3)
    last = batch.length - 1
    open_ended = ~(batch.terminated | batch.truncated)[torch.arange(len(batch)), last]
    assert open_ended.any() and not open_ended.all()


def test_padding_is_zero_even_where_the_world_showed_infinity():
    """A padded step copies some real one: multiplied by its mask it would be 0 * inf = NaN."""
    play = collector(worlds=6)
    step = play.env.step

    def at_the_end_infinite(actions):
        out = step(actions)
        return out._replace(reward=torch.where(out.terminated, torch.inf, out.reward))

    play.env.step = at_the_end_infinite
    batch = play.collect(episodes=12)
    assert not batch.reward.isnan().any() and not batch.reward[batch.mask == 0].any()


@pytest.mark.parametrize("ask", [{"episodes": 7}, {"episodes": 0}, {"steps": 0}, {"episodes": 6, "steps": 2}])
def test_an_unequal_share_is_refused(ask):
    with pytest.raises(ValueError, match="multiple of num_envs=6|at least one step"):
        collector(worlds=6).collect(**ask)


def test_indexing_trims_to_the_longest_row():
    batch = collector(worlds=6).collect(episodes=18)
    short = (batch.length <= 2).nonzero().squeeze(1)
    assert 0 < len(short) < 18
    some = batch[short]
    check_rows(some)
    assert some.obs.shape[1] == int(batch.length[short].max()) + 1 and len(some) == len(short)
    assert torch.equal(some.reward, batch.reward[short, : some.reward.shape[1]])
    for index, rows in ((slice(2, 5), [2, 3, 4]), ([4, 1], [4, 1]), (3, [3])):
        check_rows(batch[index])
        assert torch.equal(batch[index].length, batch.length[rows]) and torch.equal(batch[index].obs[:, 0], batch.obs[rows, 0])
    assert [len(piece) for piece in batch.split(7)] == [7, 7, 4] and list(batch.split(None)) == [batch]


def test_nbytes_counts_every_tensor():
    batch = collector().collect()
    fields = [v for v in vars(batch).values() if isinstance(v, torch.Tensor)] + list(batch.extras.values())
    assert batch.nbytes == sum(t.numel() * t.element_size() for t in fields)
    assert batch.to(torch.device("cpu")).length.device.type == "cpu"


def test_a_state_that_is_the_observations_is_not_stored_twice():
    plain, shared = collector().collect(), collector(state_is_obs=True).collect()
    assert plain.state.shape[-1] == 1 and torch.equal(plain.states, plain.state)
    assert shared.state is None and torch.equal(shared.states, shared.obs.flatten(2))
    buffer = EpisodeBuffer(Diary(state_is_obs=True).spec, 6)
    buffer.add(shared)
    assert buffer.rows.state is None


def rows_of(batch):
    keys = map(tuple, batch.obs[:, 0, 0, :2].int().tolist())
    return dict(zip(keys, zip(batch.length.tolist(), batch.reward.sum(1).tolist())))


def test_the_buffer_keeps_the_last_rows_and_wraps_around():
    play, buffer = collector(worlds=6), EpisodeBuffer(Diary().spec, 10)
    batches = []
    for added in (6, 12, 18):
        batches.append(play.collect())
        buffer.add(batches[-1])
        assert buffer.added == added and len(buffer) == min(added, 10)
        held = held_rows(buffer, max(0, added - 10), added)
        check_rows(held)
        everything = [item for b in batches for item in rows_of(b).items()]
        assert list(rows_of(held).items()) == everything[-10:]
        stored = buffer.rows[torch.arange(len(buffer))]
        check_rows(stored)  # what a longer row left behind in its slot is wiped
    wide = play.collect(episodes=24)  # more than fit: the last ones stay
    buffer.add(wide)
    assert rows_of(held_rows(buffer, buffer.added - 10, buffer.added)) == dict(list(rows_of(wide).items())[-10:])


def test_what_a_longer_row_left_in_its_slot_is_wiped():
    buffer = EpisodeBuffer(Diary().spec, 4)
    rows = collector(worlds=6).collect(episodes=48)
    long, short = ((rows.length == n).nonzero().squeeze(1)[:4] for n in (LIMIT, 1))
    buffer.add(rows[long])
    buffer.add(rows[short])
    everything = buffer.rows
    assert everything.length.tolist() == [1] * 4 and everything.mask.sum() == 4
    for name in ("obs", "reward", "actions", "terminated", "state"):
        assert not getattr(everything, name)[:, 2:].any()
    assert everything.avail[:, 2:].all()


def test_a_sample_has_no_row_twice_and_favours_none():
    buffer, generator = EpisodeBuffer(Diary().spec, 12), torch.Generator().manual_seed(0)
    buffer.add(collector(worlds=6).collect(episodes=12))
    counts = torch.zeros(12)
    for _ in range(300):
        sample = buffer.sample(4, generator)
        check_rows(sample)
        keys = [int(w * 2 + e) for w, e in zip(*sample.obs[:, 0, 0, :2].T)]
        assert len(set(keys)) == 4
        counts[keys] += 1
    assert (abs(counts - 100) < 40).all()


def test_the_clock_counts_real_steps_only():
    env = Diary(6)
    context = Context(env, Scribe(env.spec, device="cpu"), seed=0)
    first = context.collect()
    assert first.mask.numel() > first.mask.sum()  # there is padding
    second = context.collect(steps=7)
    assert int(second.length.sum()) == 42
    assert context.env_steps == context.algorithm.env_steps == int(first.mask.sum()) + 42


@pytest.mark.parametrize("kind, loss", [("QMIX", "loss"), ("CWQMIX", "loss"), ("COMA", "critic_loss"), ("COMA", "actor_loss")])
@pytest.mark.parametrize("rows", [1, 5, 100])
def test_chunked_updates_have_the_gradient_of_the_whole(kind, loss, rows):
    env, name = Diary(8), {"critic_loss": "critic", "actor_loss": "actor"}.get(loss, "main")
    algorithm = getattr(mc, kind)(env.spec, device="cpu")
    batch = Collector(env, algorithm).collect(episodes=16)
    gradients = []
    for chunk_rows in (None, rows):
        still = {"lr": 0.0, "critic_lr": 0.0} if kind == "COMA" else {"lr": 0.0}
        algorithm.config = replace(algorithm.config, chunk_rows=chunk_rows, grad_clip=None, **still)
        context = Context(env, algorithm, seed=0)
        metrics = context.step(name, getattr(algorithm, loss), batch)
        parameters = [p for group in context.optimizers[name].param_groups for p in group["params"]]
        gradients.append([p.grad.clone() for p in parameters if p.grad is not None])
        value, _ = getattr(algorithm, loss)(batch)
        assert torch.allclose(metrics[f"{name}_loss"], value, rtol=1e-4)
    assert gradients[0] and max(g.abs().max() for g in gradients[0]) > 0
    for whole, chunked in zip(*gradients):
        assert torch.allclose(whole, chunked, rtol=1e-3, atol=2e-5 * float(whole.abs().max() + 1e-3) + 1e-6)


def test_an_optimiser_step_leaves_other_networks_without_gradients():
    env = Diary(4)
    algorithm = mc.COMA(env.spec, device="cpu")
    context = Context(env, algorithm, seed=0)
    context.step("actor", algorithm.actor_loss, context.collect())
    assert all(p.grad is None for p in algorithm.critic.parameters())
    assert all(p.grad is not None for p in algorithm.actor.parameters())


def test_the_gradient_norm_is_clipped():
    env = Diary(4)
    algorithm = mc.QMIX(env.spec, mc.QMIX.Config(grad_clip=1e-3, replay_episodes=32), device="cpu")
    context = Context(env, algorithm, seed=0)
    metrics = context.step("main", algorithm.loss, context.collect())
    norm = sum(p.grad.square().sum() for p in algorithm.parameters() if p.grad is not None).sqrt()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3) and metrics["main_grad_norm"] > 1e-2


def test_evaluation_plays_equal_shares_and_disturbs_nothing():
    env = Diary(4)
    algorithm = Scribe(env.spec, device="cpu")
    play = Collector(env, algorithm, seed=3)
    play.collect(steps=2)
    before = env.state_dict()
    before = {**before, "state": {k: v.clone() for k, v in before["state"].items()}}
    random = torch.get_rng_state(), play.generator.get_state()
    first = mc.evaluate(env, algorithm, episodes=24, seed=5)
    assert mc.evaluate(env, algorithm, episodes=24, seed=5) == first != mc.evaluate(env, algorithm, episodes=24, seed=6)
    after = env.state_dict()
    assert torch.equal(before["generator"], after["generator"]) and torch.equal(before["clock"], after["clock"])
    assert all(torch.equal(before["state"][k], after["state"][k]) for k in before["state"])
    assert torch.equal(torch.get_rng_state(), random[0]) and torch.equal(play.generator.get_state(), random[1])
    # greedy play: action 0 always, so the return of world b is 100 b length + 1 + ... + length
    seen = []
    copy = env.fresh

    def watched(**options):
        world = copy(**options)
        step = world.step

        def counted(actions):
            out = step(actions)
            seen.append((out.reward, out.terminated | out.truncated, out.info["won"]))
            return out

        world.step = counted
        return world

    env.fresh = watched
    result = mc.evaluate(env, algorithm, episodes=64, seed=5)  # 32 worlds, twice
    reward, done, won = (torch.stack(x) for x in zip(*seen))
    assert done.sum(0).tolist() == [2] * 32
    assert result.return_mean == pytest.approx(float(reward.sum()) / 64, rel=1e-5)
    assert result.win_rate == pytest.approx(float(won.sum()) / 64)
    lengths = torch.stack([r[:, :].gt(0).sum(0) for r in reward.split(LIMIT)]).float()
    assert result.length_mean == pytest.approx(float(lengths.mean()))
    assert mc.evaluate(env, algorithm, episodes=7).win_rate is not None
    with pytest.raises(ValueError, match="at least 1"):
        mc.evaluate(env, algorithm, episodes=0)


def test_a_team_that_explores_is_evaluated_as_it_plays():
    env = Diary(4)
    greedy, random = (mc.evaluate(env, Scribe(env.spec, device="cpu"), 32, explore=e).return_mean for e in (False, True))
    assert random > greedy


def test_an_unavailable_action_is_refused_at_once_on_the_cpu():
    env = Diary(4)

    class Rude(Scribe):
        def act(self, observation, carry, explore, generator):
            action = super().act(observation, carry, explore, generator)
            return action._replace(actions=torch.full_like(action.actions, 2))

    with pytest.raises(ValueError, match="Agent 0 in world 0 of diary played 2, which is not available"):
        Collector(env, Rude(env.spec, device="cpu")).collect()
    assert int(env.clock.max()) == 0  # it was not played
