"""One switch for CPU or GPU."""

from __future__ import annotations

import os

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
