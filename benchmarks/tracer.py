"""Which files of the library does a reader meet from acting to loss in QMIX, and how long are they?

    python benchmarks/tracer.py

Plays and learns one round (collect, store, sample, loss, step) with every Python call traced, and counts the full length
of each project file in which a function ran: blank lines and docstrings too. The world itself (marlcourse/envs) is left
out: the player of another world reads another file.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

MOST_FILES, MOST_LINES = 8, 900


def files_executed(run: Callable[[], object], package: Path, leave_out: tuple[str, ...] = ("envs",)) -> dict[str, set[str]]:
    """{file relative to ``package``: names of its functions that ran} while ``run()`` ran, by ``sys.settrace``.

    A debugger or coverage tool that traces is suspended meanwhile. Raises RuntimeError where the trace was replaced.
    """
    ran: dict[str, set[str]] = {}
    inside: dict[str, str | None] = {}  # code file -> relative name, None outside

    def relative(filename: str) -> str | None:
        try:
            name = Path(filename).resolve().relative_to(package.resolve())
        except ValueError:
            return None
        return None if name.parts[0] in leave_out else name.as_posix()

    def on_call(frame, event, argument):
        filename = frame.f_code.co_filename
        if filename not in inside:
            inside[filename] = relative(filename)
        if inside[filename] is not None:
            ran.setdefault(inside[filename], set()).add(frame.f_code.co_name)
        return None  # calls are enough: no line events

    before = sys.gettrace()
    threading.settrace(on_call)
    sys.settrace(on_call)
    try:
        run()
        if sys.gettrace() is not on_call:
            raise RuntimeError("Something replaced the trace while it ran: run this without a debugger.")
    finally:
        sys.settrace(before)
        threading.settrace(before)
    return ran


def qmix_round() -> tuple[Callable[[], object], Path]:
    """One ``iterate`` of QMIX with PyMARL's settings on the two-step game, and where the package lies."""
    import marlcourse
    from marlcourse.algorithms.qmix import QMIX
    from marlcourse.envs import make
    from marlcourse.rollout import Context

    env = make("two-step", num_envs=4, device="cpu")
    algorithm = QMIX(env.spec, QMIX.Config.preset("pymarl", batch_size=4, replay_episodes=8, target_every=1), device="cpu")
    context = Context(env, algorithm, seed=0)
    return lambda: algorithm.iterate(context), Path(marlcourse.__file__).parent


def length(path: Path) -> int:
    """Lines of a file, all of them."""
    return len(path.read_text(encoding="utf-8").splitlines())


def table() -> dict[str, tuple[int, list[str]]]:
    """{file: (lines, functions that ran)}, longest first."""
    run, package = qmix_round()
    ran = files_executed(run, package)
    rows = {name: (length(package / name), sorted(functions)) for name, functions in ran.items()}
    return dict(sorted(rows.items(), key=lambda item: -item[1][0]))


def main() -> int:
    rows = table()
    for name, (lines, functions) in rows.items():
        print(f"{lines:5d}  {name:24s} {', '.join(functions)}")
    total = sum(lines for lines, _ in rows.values())
    print(f"{total:5d}  lines in {len(rows)} files (at most {MOST_LINES} in {MOST_FILES})")
    return int(len(rows) > MOST_FILES or total > MOST_LINES)


if __name__ == "__main__":
    sys.exit(main())
