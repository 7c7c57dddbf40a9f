"""Work that can be stopped without loss, and shows how far it is."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator


class StopButton:
    """``with StopButton() as stop``: the first interrupt sets ``stop.pressed`` and nothing else; a second one interrupts.

    Buttons may be nested: whoever is pressed presses the one around it as well when its block ends. Interrupts arrive in
    the main thread only; in another thread the button can only be pressed by the program.
    """

    def __enter__(self) -> StopButton:
        self.pressed, self.old = False, None
        if threading.current_thread() is threading.main_thread():
            self.old = signal.signal(signal.SIGINT, self._press)
        return self

    def _press(self, signum, frame) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        print("Stopping after this round (interrupt again to stop at once).", file=sys.stderr)

    def __exit__(self, *exc) -> None:
        if self.old is not None:
            signal.signal(signal.SIGINT, self.old)
        around = getattr(self.old, "__self__", None)
        if self.pressed and isinstance(around, StopButton):
            around.pressed = True


def no_bars() -> bool:
    """Are progress bars unwanted? At ci scale, and with MARLCOURSE_PROGRESS=0."""
    return os.environ.get("MARLCOURSE_PROGRESS") == "0" or os.environ.get("MARLCOURSE_SCALE", "").strip() == "ci"


def stoppable(steps: Iterable, name: str = "training", progress: bool = True) -> Iterator:
    """The steps one by one, as ``for step in stoppable(range(500), "QMIX")``, in a loop that can be stopped without loss.

    A bar appears after a second (unless :func:`no_bars`, or without ``progress``). The stop button (an interrupt) ends the
    loop after the step under way, and one line says how far it came; what the loop has done so far stays. A second
    interrupt stops at once. A stoppable loop around this one ends as well, after its own step.
    """
    from tqdm.auto import tqdm

    steps, hidden = list(steps), not progress or no_bars()
    with StopButton() as stop:
        for done, step in enumerate(tqdm(steps, desc=name, delay=1, leave=False, disable=hidden), 1):
            yield step
            if stop.pressed:
                if done < len(steps):
                    print(f"{name}: stopped after {done} of {len(steps)} steps; what was done so far is kept.")
                return
