"""One place where seeds come from: every stochastic object draws from its own generator."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, *path: object) -> int:
    """A new 63-bit seed that depends on ``seed`` and on ``path`` (names, counters) alone, equal on every machine."""
    digest = hashlib.blake2b(repr((int(seed), *path)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def make_generator(device: torch.device | str, seed: int, *path: object) -> torch.Generator:
    """A generator on ``device`` seeded by :func:`derive_seed`."""
    return torch.Generator(device).manual_seed(derive_seed(seed, *path))
