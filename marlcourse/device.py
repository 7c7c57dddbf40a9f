"""One switch for CPU or GPU."""

from __future__ import annotations

import ctypes
import os
import sys

import torch


def pick_device(device: str | torch.device | None = "auto") -> torch.device:
    """Return the device to use: ``"auto"`` (or None) is the GPU where PyTorch sees one, otherwise the CPU.

    The environment variable ``MARLCOURSE_DEVICE`` answers for ``"auto"``. Raises ValueError with the fix when the
    device named is unknown or not there.
    """
    device = None if device is None else str(device)
    if device in (None, "auto"):
        device = os.environ.get("MARLCOURSE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    kind = device.split(":")[0]
    if kind not in ("cpu", "cuda") or not (device == kind or device.split(":", 1)[1].isdigit()):
        raise ValueError(f"Unknown device {device!r}: use 'auto', 'cpu', 'cuda' or 'cuda:<index>'.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r} was asked for, but PyTorch {torch.__version__} sees no CUDA GPU: use device='auto' or 'cpu', "
            "or install a CUDA build of PyTorch and run `marlcourse doctor`."
        )
    if kind == "cuda" and ":" in device and int(device.split(":")[1]) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r} does not exist: this machine has {torch.cuda.device_count()} GPU(s), counted from 0."
        )
    return torch.device(device)


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators: for a reader's own code; the library itself uses none of them."""
    import random

    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (the global generator is what this function is for)
    torch.manual_seed(seed)


def keep_freed_memory() -> bool:
    """Let this process use its freed blocks again instead of returning each to Linux: True where that was arranged.

    By default glibc maps a large block afresh and unmaps it when it is freed. An update frees and asks for tens of such
    blocks, 1024 worlds for new observations at every step; the page faults of touching them anew took 10 to 25 percent of
    an update's time on a CPU and half of a junction's step. From here on blocks of up
    to 128 MiB come from a heap that keeps up to 2 GiB; larger ones (a replay) still go back at once. Elsewhere than on
    Linux with glibc, and where the reader has set a ``MALLOC_`` variable or glibc's tunables, nothing is touched.
    """
    if not sys.platform.startswith("linux") or any(n.startswith(("MALLOC_", "GLIBC_TUNABLES")) for n in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is None:
        return False
    mmap_threshold, trim_threshold, top_pad = -3, -1, -2  # M_... in malloc.h
    mapped = mallopt(mmap_threshold, 2**27) or mallopt(mmap_threshold, 2**25)  # older ones refuse more than 32 MiB
    return bool(mapped and mallopt(trim_threshold, 2**31 - 1) and mallopt(top_pad, 2**26))
