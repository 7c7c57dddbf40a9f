"""Playing: collect experience as rows of episodes, keep it in a buffer, and what a schedule may do with both."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .core import Algorithm, EnvSpec, EpisodeBatch, Observation, VecEnv, map_tensors, where
from .seeds import derive_seed, make_generator


def observation_to(observation: Observation, device: torch.device) -> Observation:
    """An observation on the algorithm's device."""
    return Observation(*(None if x is None else x.to(device, non_blocking=True) for x in observation))


class Collector:
    """Lets one algorithm act in one environment and cuts what happened into rows, each a piece of one episode.

    Reset seeds derive from (seed, reset counter), and actions are sampled from a generator of its own.
    """

    def __init__(self, env: VecEnv, algorithm: Algorithm, seed: int = 0):
        self.env, self.algorithm, self.seed = env, algorithm, seed
        self.generator = make_generator(algorithm.device, seed, "actions")
        self.resets = 0
        self.live: tuple[Observation, dict[str, Tensor]] | None = None  # where ``collect(steps=...)`` goes on

    def _reset(self) -> tuple[Observation, dict[str, Tensor]]:
        observation = self.env.reset(seed=derive_seed(self.seed, "reset", self.resets))
        self.resets += 1
        return observation_to(observation, self.algorithm.device), self.algorithm.initial_carry(self.env.num_envs)

    def share(self, episodes: int) -> int:
        """Episodes that each world plays of so many."""
        share, rest = divmod(episodes, self.env.num_envs)
        if rest or share < 1:
            raise ValueError(f"episodes={episodes} must be a multiple of num_envs={self.env.num_envs}: each plays its share.")
        return share

    @torch.no_grad()
    def collect(self, episodes: int | None = None, steps: int | None = None, explore: bool = True) -> EpisodeBatch:
        """Play ``episodes`` whole episodes, an equal share in every world (taking the first to finish would favour short
        ones), or ``steps`` steps in every world: there, unfinished episodes go on at the next call from ``carry0``.
        Default: one episode per world.
        """
        env, algorithm, device = self.env, self.algorithm, self.algorithm.device
        if steps is None:
            share = self.share(env.num_envs if episodes is None else episodes)
            self.live, horizon = None, share * env.spec.episode_limit
        elif episodes is not None or steps < 1:
            raise ValueError(f"Collect episodes or at least one step, not episodes={episodes} and steps={steps}.")
        else:
            share, horizon = None, steps
        observation, carry = self.live or self._reset()
        carry_at_start, initial = carry, algorithm.initial_carry(env.num_envs)
        before: list[Observation] = []  # what was acted on
        after: list[Observation] = []  # what came of it: the true final observation where an episode ends
        played: list[dict[str, Tensor]] = []
        ended = torch.zeros(env.num_envs, dtype=torch.long, device=device)
        look_every = 1 if device.type == "cpu" else 16  # asking the GPU whether all are done costs a wait

        for t in range(horizon):
            with torch.inference_mode():
                action = algorithm.act(observation, carry, explore, self.generator)
            step = env.step(action.actions.to(env.device))
            nxt = observation_to(step.observation, device)
            terminated, truncated = step.terminated.to(device), step.truncated.to(device)
            done = terminated | truncated
            before.append(observation)
            after.append(nxt)
            record = {"actions": action.actions, "reward": step.reward.to(device), "terminated": terminated}
            record |= {"truncated": truncated, "idle": torch.zeros_like(done) if share is None else ended >= share}
            record |= {} if action.log_prob is None else {"log_prob": action.log_prob}
            played.append(record | {f"extras.{k}": v for k, v in action.extras.items()})
            ended = ended + done
            again = done if share is None else done & (ended < share)
            carry = action.carry
            if share is not None and t % look_every == look_every - 1 and bool((ended >= share).all()):
                break
            if share != 1 and (device.type != "cpu" or bool(again.any())):
                nxt = observation_to(env.reset(where=again.to(env.device)), device)
                carry = where(again, initial, carry)
            observation = nxt
        if steps is not None:
            self.live = (observation, carry)
        if hasattr(env, "raise_if_illegal"):
            env.raise_if_illegal()
        return self._cut(before, after, played, carry_at_start, initial, fresh_start=steps is None)

    def _cut(self, before, after, played, carry_at_start, initial, fresh_start: bool) -> EpisodeBatch:
        """Cut [T,B] recordings at the ends of episodes into rows [R,T]: worlds in order, then time."""
        device = self.algorithm.device
        stacked = {k: torch.stack([p[k] for p in played], 1) for k in played[0]}  # [B,T,...]
        real = ~stacked.pop("idle")
        stops = stacked["terminated"] | stacked["truncated"] | torch.cat([~real[:, 1:], torch.ones_like(real[:, :1])], 1)
        world, last = (stops & real).cpu().nonzero(as_tuple=True)  # on the host: the one wait for a GPU
        start = torch.where(world == world.roll(1), last.roll(1) + 1, 0)  # after the row before, or at a world's first step
        start[0] = 0
        length = last - start + 1
        ends, slot = last.unique(return_inverse=True)  # the few moments at which some row ends
        world, start, end, slot = (x.to(device) for x in (world, start, length, slot))
        t = torch.arange(int(length.max()), device=device)
        mask = t < end.unsqueeze(1)  # [R,T]
        index = (start.unsqueeze(1) + t).clamp(max=len(played) - 1)

        def rows(x: Tensor) -> Tensor:
            """[B,T,...] -> [R,T,...], zero on padding."""
            return x[world.unsqueeze(1), index].masked_fill(~mask.view(*mask.shape, *[1] * (x.dim() - 2)), 0)

        def with_final(name: str) -> Tensor | None:
            """[R,T+1,...]: the observations acted on, then the true final one."""
            if getattr(before[0], name) is None or (name == "state" and self.env.spec.state_is_obs):
                return None
            out = rows(torch.stack([getattr(o, name) for o in before], 1))
            out = torch.cat([out, torch.zeros_like(out[:, :1])], 1)
            final = torch.stack([getattr(after[i], name) for i in ends.tolist()], 1)
            out[torch.arange(len(end), device=device), end] = final[world, slot]
            return out if name != "avail" else out | ~out.any(-1, keepdim=True)  # padding: everything is available

        kept = {k: rows(v) for k, v in stacked.items()}
        first, new = (map_tensors(lambda c: c[world], carry) for carry in (carry_at_start, initial))
        return EpisodeBatch(
            **{k: with_final(k) for k in ("obs", "state", "avail")},
            **{k: kept.get(k) for k in ("actions", "reward", "terminated", "truncated", "log_prob")},
            mask=mask.float(),
            length=length,
            carry0=None if fresh_start else where(start == 0, first, new),
            extras={k.removeprefix("extras."): v for k, v in kept.items() if k.startswith("extras.")},
        )


class EpisodeBuffer:
    """The last ``capacity`` rows, in preallocated tensors on a chosen device; sampling is one indexed gather."""

    def __init__(self, spec: EnvSpec, capacity: int, device: torch.device | str = "cpu"):
        self.spec, self.capacity, self.device = spec, capacity, torch.device(device)
        self.rows: EpisodeBatch | None = None
        self.added = 0  # rows ever added; row i lives at slot i % capacity

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def _allocate(self, batch: EpisodeBatch) -> EpisodeBatch:
        def storage(name: str, t: Tensor) -> Tensor:
            steps = [] if name in ("length", "carry0") else [self.spec.episode_limit + (name in ("obs", "state", "avail"))]
            device = "cpu" if name == "length" else self.device
            return torch.zeros(self.capacity, *steps, *t.shape[1 + len(steps) :], dtype=t.dtype, device=device)

        return batch._map(storage)

    def add(self, batch: EpisodeBatch) -> None:
        """Store rows; the oldest make room."""
        self.rows = self.rows or self._allocate(batch)
        kept = min(len(batch), self.capacity)
        slots = torch.arange(self.added + len(batch) - kept, self.added + len(batch)) % self.capacity

        def put(name: str, t: Tensor, store: Tensor) -> Tensor:
            there, t = slots.to(store.device), t[-kept:].to(store.device)
            if name in ("length", "carry0"):
                store[there] = t
            else:
                store[there, : t.shape[1]] = t
                store[there, t.shape[1] :] = name == "avail"
            return store

        batch._map(put, self.rows)
        self.added += len(batch)

    def sample(self, rows: int, generator: torch.Generator, times: int = 1) -> EpisodeBatch:
        """``rows`` different rows, each equally likely, trimmed to the longest of them; ``times``: draw after draw."""
        return self.rows[torch.cat([torch.randperm(len(self), generator=generator)[:rows] for _ in range(times)])]


class Context:
    """What an algorithm's ``iterate`` may use, and nothing else."""

    def __init__(self, env: VecEnv, algorithm: Algorithm, seed: int, buffer_device: torch.device | str = "cpu"):
        self.algorithm, self.collector = algorithm, Collector(env, algorithm, seed)
        self.optimizers = algorithm.optimizers()
        self.generator = make_generator("cpu", seed, "updates")
        config, capacity = algorithm.config, getattr(algorithm.config, "replay_episodes", 0)
        if capacity and capacity < config.batch_size:
            raise ValueError(f"replay_episodes={capacity} can never fill batch_size={config.batch_size}: enlarge the replay.")
        if getattr(config, "episodes_per_collect", None):
            self.collector.share(config.episodes_per_collect)  # refuses now what it would refuse later
        self.buffer = EpisodeBuffer(env.spec, capacity, buffer_device) if capacity else None
        self.updates_done, self.env_steps = 0, 0  # environment steps summed over worlds: the run's one clock
        self.not_finite: dict[str, Tensor] = {}  # flags on a GPU

    def collect(self, episodes: int | None = None, steps: int | None = None) -> EpisodeBatch:
        """Play with exploration, and move the clock on by the real steps."""
        episodes = episodes or (None if steps else getattr(self.algorithm.config, "episodes_per_collect", None))
        batch = self.collector.collect(episodes, steps)
        self.env_steps += int(batch.length.sum())
        self.algorithm.env_steps = self.env_steps
        return batch

    def updates(self) -> Iterator[EpisodeBatch]:
        """``config.updates_per_collect`` sampled batches; none until the buffer holds ``config.batch_size`` rows. On a CPU
        small ones are sampled several at a time, for :meth:`EpisodeBatch.seen_by`."""
        config, device, spec = self.algorithm.config, self.algorithm.device, self.algorithm.spec
        size, left = config.batch_size, getattr(config, "updates_per_collect", 1)
        at_once = max(1, 512 // (size * spec.n_agents)) if device.type == "cpu" else 1  # larger passes cost no less a row
        while left > 0 and len(self.buffer) >= size:
            rows, found = self.buffer.sample(size, self.generator, min(at_once, left)).to(device), {}
            for place in range(0, len(rows), size):
                batch, left = rows[place : place + size], left - 1
                batch.together = (rows, place, found) if len(rows) > size else None
                yield batch

    def step(self, name: str, loss, batch: EpisodeBatch | None = None) -> dict[str, Tensor]:
        """One step of the optimiser ``name``: on a loss tensor, or on a loss function and its batch.

        With a function, a batch larger than ``config.chunk_rows`` is worked through in chunks, each weighted by its
        share of real steps, so that the gradient is that of the whole. Only this optimiser's parameters get gradients.
        """
        optimizer, config = self.optimizers[name], self.algorithm.config
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        optimizer.zero_grad()
        chunks = () if batch is None else batch.split(getattr(config, "chunk_rows", None))
        parts = ((*loss(chunk), chunk.mask.sum() / batch.mask.sum()) for chunk in chunks)
        value, metrics = 0.0, {}
        for part, logged, share in [(loss, {}, 1.0)] if batch is None else parts:
            self._refuse_nan(f"{name} loss", part)
            (part * share).backward(inputs=parameters)
            value = value + part.detach() * share
            metrics = {k: metrics.get(k, 0.0) + v.detach() * share for k, v in logged.items()}
        norm = torch.nn.utils.clip_grad_norm_(parameters, getattr(config, "grad_clip", None) or float("inf"))
        self._refuse_nan(f"{name} gradient", norm)  # a finite loss can have an infinite slope: the root at 0
        optimizer.step()
        self.updates_done += 1
        return {**metrics, f"{name}_grad_norm": norm, f"{name}_loss": value.detach()}

    def _refuse_nan(self, name: str, loss: Tensor) -> None:
        """Stop before a NaN or infinite loss can reach the weights; on a GPU set a flag, which the trainer reads."""
        if loss.dim():
            raise ValueError(f"The {name} must be one number, not a tensor of shape {list(loss.shape)}: use masked_mean.")
        finite = torch.isfinite(loss.detach())
        if loss.device.type != "cpu":
            self.not_finite[name] = self.not_finite.get(name, False) | ~finite
        elif not finite:
            raise FloatingPointError(name, loss.item())

    def raise_if_not_finite(self) -> None:
        """Read the flags set on a GPU."""
        flags, self.not_finite = self.not_finite, {}
        for name, flag in flags.items():
            if bool(flag):
                raise FloatingPointError(name, float("nan"))
