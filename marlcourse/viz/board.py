"""The live plot: learning curves that grow in the notebook while a team trains."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from ..trainer import Callback, Trainer
from .curves import _reference_lines, _thousands, find_column, label, series
from .style import colour, context, in_notebook


class LivePlot(Callback):
    """Draws columns of the history while :meth:`Trainer.fit` runs: ``LivePlot("return", "td_error")``.

    ``names``: one panel each; "return" and "loss" are short for ``return_mean`` and ``main_loss``.
    ``reference``: {label: level}, horizontal lines in the first panel. One output of the cell is updated in place, at
    most once every ``seconds``; with MARLCOURSE_SCALE=ci it is drawn once, at the end. Outside a notebook nothing is
    drawn. A resumed run shows its whole history. A name that no column has leaves its panel with the names there are.
    """

    def __init__(self, *names: str, reference: Mapping[str, float] | None = None, seconds: float = 1.0):
        self.names, self.reference, self.seconds = names or ("return",), reference, seconds
        self.handle, self.drawn_at = None, 0.0

    def on_start(self, trainer: Trainer) -> None:
        self.handle, self.drawn_at = None, 0.0  # a new fit gets a new output: it may run in another cell
        self.live = in_notebook() and os.environ.get("MARLCOURSE_SCALE") != "ci"
        if self.live and trainer.run.history:
            self.show(trainer)

    def on_evaluation(self, trainer: Trainer, row: dict) -> None:
        if self.live and time.monotonic() - self.drawn_at >= self.seconds:
            self.show(trainer)

    def on_end(self, trainer: Trainer) -> None:
        if in_notebook():
            self.show(trainer)

    def show(self, trainer: Trainer) -> None:
        """Draw the history so far into the one output of this fit."""
        import matplotlib.pyplot as plt
        from IPython.display import display

        figure = self.draw(trainer)
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
        plt.close(figure)  # else the notebook would show it a second time at the end of the cell
        self.drawn_at = time.monotonic()

    def draw(self, trainer: Trainer):
        """The figure of the history so far: one panel per name."""
        import matplotlib.pyplot as plt

        run, n = trainer.run, len(self.names)
        with context():
            figure, axes = plt.subplots(1, n, figsize=(5.2 * n + 0.4, 3.4), squeeze=False, layout="constrained")
            for ax, name in zip(axes[0], self.names):
                self._panel(ax, name, run)
            _reference_lines(axes[0, 0], self.reference)
            if self.reference:
                axes[0, 0].legend(loc="best")
            figure.suptitle(f"{run.algorithm} on {run.env}, 1 seed (seed {run.seed}), {trainer.env_steps:,} steps", fontsize=12)
        return figure

    @staticmethod
    def _panel(ax, name: str, run) -> None:
        ax.set_xlabel("environment steps")
        ax.xaxis.set_major_formatter(_thousands)
        try:
            column = find_column(dict.fromkeys(k for row in run.history for k in row), name)
        except ValueError as problem:
            import textwrap

            trained = len(run.history) > 1  # the first row, before any training, has no losses yet
            text = "\n".join(textwrap.wrap(str(problem), 46)) if trained else "waiting for the first update"
            ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=9.5)
            ax.set_ylabel(name)
            return
        x, y = series(run.history, column)
        ax.plot(x, y, color=colour(run.algorithm), marker="o", markersize=4)
        ax.set_ylabel(label(column))
