"""Many copies of one algorithm trained at once: the seed becomes a tensor axis.

The same modules and the same pure losses as everywhere else, stacked with ``torch.func``: a claim over 1000 starts takes
seconds, and there is no second implementation to trust. For feed-forward parts (a fused GRU has no batching rule).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .core import Algorithm, EpisodeBatch

FUSED = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 4)  # Adam's fused step also runs on a CPU


class Ensemble:
    """``make(seed) -> Algorithm``, once per seed; M members, whose parameters carry a leading axis M.

    ``params``, ``buffers``: {name: [M,...]}. Example::

        members = Ensemble(lambda seed: COMA(spec, config, seed=seed, device="cpu"), range(1000))
        losses, metrics = members.step("actor", "actor_loss", batch)      # [M], {name: [M]}
    """

    def __init__(self, make: Callable[[int], Algorithm], seeds: Sequence[int]):
        if not isinstance(seeds, Iterable) or not list(seeds):
            raise ValueError(f"Ensemble(make, seeds) takes at least one seed, such as range(1000), not {seeds!r}.")
        self.seeds = list(seeds)
        self.base = make(self.seeds[0])
        self.params, self.buffers = _draw_again(make, self.seeds) or torch.func.stack_module_state(
            [make(s) for s in self.seeds]
        )
        names = {id(p): name for name, p in self.base.named_parameters()}
        self.optimizers, self.names = {}, {}
        for label, optimizer in self.base.optimizers().items():
            self.names[label] = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
            stacked = [self.params[name] for name in self.names[label]]
            once = {"fused": True} if FUSED and type(optimizer) is torch.optim.Adam else {}  # one pass over the stack
            self.optimizers[label] = type(optimizer)(stacked, **{**optimizer.defaults, **once})

    def __len__(self) -> int:
        return len(self.seeds)

    def call(self, method: str | Callable, *args: Any, per_member: dict[str, Tensor] | None = None) -> Any:
        """Call a method of every member, by name or as ``function(algorithm, *args)``, with the same arguments (tensors and
        EpisodeBatches).

        ``per_member`` replaces fields of the batch by tensors with a leading axis M: ``{"mask": weights [M,R,T]}`` lets each
        member weigh the same rows in its own way.
        """
        flat, rebuild = _flatten(args)
        own = per_member or {}

        def one(params, buffers, own):
            tensors = [{**t, **{k: v for k, v in own.items() if k in t}} for t in flat]
            return torch.func.functional_call(self.base, (params, buffers), (method, *rebuild(tensors)))

        return torch.vmap(one)(self.params, self.buffers, own)

    def step(self, name: str, method: str, *args: Any, per_member=None) -> tuple[Tensor, dict[str, Tensor]]:
        """One optimiser step of every member on its own loss; returns the losses [M] and metrics {name: [M]}."""
        losses, metrics = self.call(method, *args, per_member=per_member)
        parameters = [self.params[n] for n in self.names[name]]
        self.optimizers[name].zero_grad()
        losses.sum().backward(inputs=parameters)  # members share no parameter: the sum's gradient is each one's own
        clip = getattr(self.base.config, "grad_clip", None)
        if clip:
            gradients = [p.grad for p in parameters if p.grad is not None]
            norm = sum(g.flatten(1).square().sum(1) for g in gradients).sqrt()
            scale = (clip / (norm + 1e-6)).clamp(max=1.0)
            for g in gradients:
                g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
        self.optimizers[name].step()
        return losses.detach(), {k: v.detach() for k, v in metrics.items()}

    @torch.no_grad()
    def copy(self, source: str, target: str) -> None:
        """Hard copy of one network into its target in every member: ``copy("critic", "target_critic")``."""
        for store in (self.params, self.buffers):
            for name in store:
                if name.startswith(target + "."):
                    store[name].copy_(store[source + name.removeprefix(target)])

    @torch.no_grad()
    def member(self, index: int) -> Algorithm:
        """One member as an ordinary algorithm."""
        algorithm = copy.deepcopy(self.base)
        stacked = {**self.params, **self.buffers}
        algorithm.load_state_dict({name: stacked[name][index] for name in algorithm.state_dict()})
        return algorithm


@torch.no_grad()
def _draw_again(make: Callable[[int], Algorithm], seeds: list[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]] | None:
    """What stacking ``make(seed)`` for every seed gives, from one network whose weights are drawn again for each seed.

    Building a module costs milliseconds of Python, drawing its weights microseconds. Layers draw in the order in which
    they were built, and targets are copies. Where that does not give what ``make`` gives (a part that draws in another
    way), the answer is None.
    """
    one, last = make(seeds[0]), make(seeds[-1]).state_dict()
    state, layers = one.state_dict(), [m for name, m in one.named_modules() if not name.startswith("target_")]
    stacked = {name: t.new_empty(len(seeds), *t.shape) for name, t in state.items()}
    with torch.random.fork_rng(devices=[]):
        for k, seed in enumerate(seeds):
            torch.default_generator.manual_seed(seed)
            for layer in layers:
                if hasattr(layer, "reset_parameters"):
                    layer.reset_parameters()
            for name in state:
                stacked[name][k] = state[name.removeprefix("target_")]
    if any(not torch.equal(stacked[name][-1], last[name]) for name in last):
        return None
    params = {name: stacked[name].requires_grad_(p.requires_grad) for name, p in one.named_parameters()}
    # a constant that is no part of the saved state (persistent=False) is the same for every seed
    return params, {
        name: stacked[name] if name in stacked else torch.stack([b] * len(seeds)) for name, b in one.named_buffers()
    }


def _flatten(args: Sequence[Any]) -> tuple[list[dict[str, Tensor]], Callable]:
    """Tensors of the arguments (an EpisodeBatch or a tensor each) as plain dicts, and the way back."""
    flat, ways = [], []
    for arg in args:
        if isinstance(arg, EpisodeBatch):
            fields = {f.name: getattr(arg, f.name) for f in dataclasses.fields(arg)}
            tensors = {k: v for k, v in fields.items() if isinstance(v, Tensor) and k != "length"}
            rest = {k: v for k, v in fields.items() if k not in tensors}
            flat.append(tensors)
            ways.append(lambda t, rest=rest: EpisodeBatch(**t, **rest))
        else:
            flat.append({"it": arg})
            ways.append(lambda t: t["it"])
    return flat, lambda tensors: [way(t) for way, t in zip(ways, tensors)]
