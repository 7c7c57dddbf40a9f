"""`marlcourse install <what>`: packages that pip alone cannot install as they are published."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib import metadata
from pathlib import Path

__all__ = ["INSTALLERS", "InstallError", "install", "ma_gym_problem", "stray_tests"]

MA_GYM = "0.0.14"
NO_NETWORK = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeout",
    "ReadTimeout",
    "ProxyError",
    "Max retries exceeded",
)


class InstallError(RuntimeError):
    """An installation failed; the text says what to do."""


def install(what: str) -> str:
    """Install one of INSTALLERS and return a sentence about the result.

    Raises ValueError (naming the close matches) for an unknown name, InstallError when the installation fails.
    """
    if what not in INSTALLERS:
        from ..core import suggest

        raise ValueError(f"Nothing to install is called {what!r}: {suggest(what, INSTALLERS)}")
    return INSTALLERS[what]()


def install_ma_gym() -> str:
    """Install ma-gym 0.0.14 without what it asks for (an old gym that no current pip can build), and clean up after it.

    The library's adapter brings the small part of old gym that ma-gym uses. The wheel also drops a package named
    `tests` beside the others, where it can hide a reader's own tests: its files are removed.
    """
    if ma_gym_problem() is None:
        return f"ma-gym {MA_GYM} is already installed."
    if metadata_of("ma-gym") != MA_GYM:
        pip("install", "--no-deps", "--ignore-requires-python", f"ma-gym=={MA_GYM}")
    missing = [package for package, module in (("pillow", "PIL"), ("six", "six")) if importlib.util.find_spec(module) is None]
    if missing:
        pip("install", *missing)
    importlib.invalidate_caches()
    remove_files(stray_tests())
    if problem := ma_gym_problem():
        raise InstallError(f"ma-gym was installed, but {problem}; run `marlcourse install ma-gym` again.")
    return f"ma-gym {MA_GYM} is installed."


def ma_gym_problem() -> str | None:
    """What keeps ma-gym from being usable, or None."""
    version = metadata_of("ma-gym")
    if version != MA_GYM:
        return "it is not installed" if version is None else f"its version is {version}, not {MA_GYM}"
    if stray_tests():
        return "it left a package named `tests` in site-packages"
    missing = [name for name in ("PIL", "six") if importlib.util.find_spec(name) is None]
    return f"it needs {' and '.join(missing)}" if missing else None


def stray_tests() -> list[Path]:
    """The files of the top-level package `tests` that ma-gym's wheel brought and that still lie there."""
    try:
        files = metadata.files("ma-gym") or []
    except metadata.PackageNotFoundError:
        return []
    found = [Path(file.locate()) for file in files if file.parts[0] == "tests"]
    return [file for file in found if file.exists()]


def remove_files(files: list[Path]) -> None:
    """Remove `files`, what Python compiled from them, and the folders up to `tests` that are empty then."""
    folders = set()
    for file in files:
        for compiled in (file.parent / "__pycache__").glob(file.stem + ".*.pyc"):
            compiled.unlink()
        file.unlink(missing_ok=True)  # it may have been one of those just removed
        folders.add(next(folder for folder in file.parents if folder.name == "tests"))
    for top in folders:
        for folder in [*sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True), top]:
            if not any(folder.iterdir()):
                folder.rmdir()


def metadata_of(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def pip(*arguments: str) -> None:
    """Run pip in this Python. Raises InstallError with the way out."""
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return
    output = done.stdout + done.stderr
    if any(word in output for word in NO_NETWORK):
        raise InstallError("The package registry cannot be reached: check the network, then run the same command again.")
    if "No module named pip" in output:
        raise InstallError(f"This Python has no pip: run `{sys.executable} -m ensurepip`, then the same command again.")
    last = " ".join(output.strip().splitlines()[-1:]) or "it printed nothing"
    raise InstallError(f"`{' '.join(command)}` failed ({last}): run it by hand to see all it prints.")


INSTALLERS = {"ma-gym": install_ma_gym}
