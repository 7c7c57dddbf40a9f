"""The vocabulary of marlcourse: seven words that every world, algorithm and trainer shares.

Axis order everywhere: **B** rows or parallel worlds, **T** steps, **N** agents, then features
(**A** actions, **O** observation, **S** state). All tensors of one object live on one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .config import Config, own_part, shown, suggest, whole  # noqa: F401  (part of the vocabulary)
from .device import pick_device
from .spec import Box, Discrete, EnvSpec, Observation, Step, VecEnv  # noqa: F401


class Action(NamedTuple):
    """What :meth:`Algorithm.act` returns: actions [B,N] | [B,N,D], the next carry, log_prob [B,N], extras {name: [B,...]}."""

    actions: Tensor
    carry: dict[str, Tensor]
    log_prob: Tensor | None = None
    extras: dict[str, Tensor] = {}


def where(condition: Tensor, a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, Tensor]:
    """Row by row: ``a`` where condition [B] holds, else ``b``."""
    return {k: torch.where(condition.view(-1, *[1] * (a[k].dim() - 1)), a[k], b[k]) for k in a}


def map_tensors(f: Callable[..., Tensor], value: Any, *same: Any) -> Any:
    """Apply ``f`` to a tensor, or to each tensor of a dict, and to what the ``same`` values hold there; None stays None."""
    if isinstance(value, dict):
        return {k: f(v, *(other[k] for other in same)) for k, v in value.items()}
    return None if value is None else f(value, *same)


@dataclass
class EpisodeBatch:
    """R rows, each a piece of ONE episode that starts at a reset or at ``carry0``; ``mask`` is a prefix of ones.

    ==========  =====================  ==================================================================
    obs         [R,T+1,N,O]            the last valid entry of a row is the true final observation
    state       [R,T+1,S] | None       None where the state is the concatenated observations
    avail       [R,T+1,N,A] | None     None for continuous actions
    actions     [R,T,N] | [R,T,N,D]    long | float
    reward      [R,T]                  terminated, truncated: [R,T] bool
    mask        [R,T]                  1. on real steps; length [R]: its sums, a CPU tensor
    log_prob    [R,T,N] | None         log-probability of the actions when they were played
    carry0      {name: [R,...]}        the algorithm's memory at the first step (None: a reset)
    extras      {name: [R,T,...]}      whatever ``Action.extras`` held
    ==========  =====================  ==================================================================
    """

    obs: Tensor
    state: Tensor | None
    avail: Tensor | None
    actions: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    mask: Tensor
    length: Tensor
    log_prob: Tensor | None = None
    carry0: dict[str, Tensor] | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    together = None  # not a field: (the rows these were sampled with, where these stand among them, what networks made of all)

    def _map(self, f: Callable[..., Tensor], *same: EpisodeBatch) -> EpisodeBatch:
        names = [x.name for x in fields(self)]
        return EpisodeBatch(**{n: map_tensors(partial(f, n), *(getattr(b, n) for b in (self, *same))) for n in names})

    def to(self, device: torch.device | str) -> EpisodeBatch:
        """The same rows on another device (``length`` stays on the host)."""
        return self._map(lambda name, t: t if name == "length" else t.to(device, non_blocking=True))

    def __getitem__(self, index: Tensor | slice | list[int] | int) -> EpisodeBatch:
        """Rows by index, trimmed to the longest of them."""
        rows = index if isinstance(index, slice) else torch.as_tensor(index).cpu().view(-1)
        there = index if isinstance(index, slice) else rows.to(self.obs.device, non_blocking=True)
        longest = int(self.length[rows].max())

        def take(name: str, t: Tensor) -> Tensor:
            if name in ("length", "carry0"):
                return t[rows if name == "length" else there]
            return t[there, : longest + (name in ("obs", "state", "avail"))]

        return self._map(take)

    def __len__(self) -> int:
        return len(self.length)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        sizes: list[int] = []
        self._map(lambda name, t: sizes.append(t.nbytes) or t)
        return sum(sizes)

    @property
    def states(self) -> Tensor:
        """[R,T+1,S]: the stored states, or the concatenated observations where these are the state."""
        return self.obs.flatten(2) if self.state is None else self.state

    def split(self, rows: int | None) -> Iterator[EpisodeBatch]:
        """Pieces of at most ``rows`` rows (None: one piece), each trimmed to its own longest row."""
        for start in range(0, len(self), rows or len(self)):
            yield self if (rows or len(self)) >= len(self) else self[start : start + rows]

    def seen_by(self, name: str, network: nn.Module, see: Callable[[EpisodeBatch], Tensor]) -> Tensor:
        """``see(self)`` [R,T,...]: what a network at rest makes of these rows. ``name`` says which question that is: at the
        first call all rows sampled together are seen at once, which is cheaper, and again only once the network has changed."""
        if self.together is None or torch.is_grad_enabled():
            return see(self)
        rows, place, found = self.together
        numbers = torch.cat([x.flatten() for x in (*network.parameters(), *network.buffers(), self.reward[:0])])
        if name not in found or not torch.equal(found[name][0], numbers):
            found[name] = numbers, see(rows)
        return found[name][1][place : place + len(self), : self.reward.shape[1]]


class Algorithm(nn.Module):
    """A paper's algorithm box: networks, acting, pure losses, and the schedule that ties them together.

    Subclasses define ``Config``, :meth:`build`, :meth:`initial_carry`, :meth:`act`, :meth:`loss` and :meth:`optimizers`.
    Only :meth:`iterate` and :meth:`after_update` write parameters. ``parts`` replace networks by the reader's own:
    each is a module or a zero-argument factory, named as in :meth:`build`. Weights depend on ``seed`` alone.

    ``env_steps`` is the run's one clock: environment steps so far, summed over worlds. Every schedule reads it.
    """

    Config: type = Config

    def __init__(self, spec: EnvSpec, config: Config | None = None, *, seed: int = 0, device=None, **parts: Any):
        super().__init__()
        if not isinstance(spec, EnvSpec):
            raise TypeError(f"An algorithm is built from a world's spec: {type(self).__name__}(env.spec), not {shown(spec)}.")
        self.spec, self.config, self.seed = spec, self.Config() if config is None else config, whole("seed", seed)
        if not isinstance(self.config, self.Config):
            raise TypeError(f"config must be a {type(self).__name__}.Config, not {type(config).__name__}.")
        self.env_steps, self.own_parts, self._parts = 0, tuple(sorted(parts)), parts
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)  # the CPU's alone: networks are made there, then moved
            self.build()
        if self._parts:
            raise TypeError(f"{type(self).__name__} has no part named {', '.join(sorted(self._parts))}.")
        self.to(pick_device(device))

    def build(self) -> None:
        """Create the networks: ``self.x = self.part("x", lambda: ...)``, in a fixed order so that seeds mean something."""
        raise NotImplementedError

    def part(self, name: str, default: Callable[[], nn.Module]) -> nn.Module:
        """The reader's own network of that name (a module or a zero-argument factory), or the default one."""
        own = self._parts.pop(name, None)
        return default() if own is None else own_part(name, own)

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def initial_carry(self, batch_size: int) -> dict[str, Tensor]:
        """Memory at a reset, tensors with leading B."""
        return {}

    def act(self, observation: Observation, carry: dict[str, Tensor], explore: bool, generator: torch.Generator) -> Action:
        """Choose a joint action for each of B worlds; ``explore=False`` is the greedy (or most probable) one."""
        raise NotImplementedError

    def loss(self, batch: EpisodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """A scalar and the metrics worth logging (tensors). Pure: it writes nothing."""
        raise NotImplementedError

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One optimiser per network that is trained on its own, by the name that ``ctx.step`` uses."""
        raise NotImplementedError

    def make_optimizer(self, *modules: nn.Module, lr: float | None = None) -> torch.optim.Optimizer:
        """``config.optimizer`` at ``lr`` (default ``config.lr``) for these networks; RMSprop with PyMARL's eps 1e-5."""
        parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        extra = {"alpha": 0.99, "eps": 1e-5} if self.config.optimizer is torch.optim.RMSprop else {}
        return self.config.optimizer(parameters, lr=self.config.lr if lr is None else lr, **extra)

    def iterate(self, ctx) -> dict[str, Tensor]:
        """One round: collect, store, update. On-policy algorithms and papers with a schedule of their own override it."""
        ctx.buffer.add(ctx.collect())
        metrics: dict[str, Tensor] = {}
        for batch in ctx.updates():
            metrics = ctx.step("main", self.loss, batch)
            self.after_update(ctx)
        return metrics

    def after_update(self, ctx) -> None:
        """Called after each update: target networks are synchronised here."""

    def forward(self, method: str | Callable, *args: Any) -> Any:
        """Call a method by name, or a function of the algorithm, so that torch.func can reach it with stacked parameters."""
        return method(self, *args) if callable(method) else getattr(self, method)(*args)
