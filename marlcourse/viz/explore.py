"""Explorers: sliders and an editable payoff table over a pure plot function.

The plot function draws one figure from its arguments and returns it (or its Axes, or nothing: then the current figure
is taken). The same function, called once without any slider, gives the still figure that GitHub shows.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .style import RC, context, in_notebook

INSTALL = "pip install ipywidgets"


# ---- controls: described without ipywidgets, so that they also exist where it is missing ----


class Control:
    """One control: its start value, and how to make its widget. Made by :func:`float_slider` and its like."""

    def __init__(self, kind: str, value: Any, **options: Any):
        self.kind, self.value, self.options = kind, value, options

    def widget(self, name: str):
        """The ipywidgets widget, named after the argument unless it has a label."""
        import ipywidgets

        label = self.options.get("description") or name.replace("_", " ")
        options = {**self.options, "description": label, "style": {"description_width": f"{max(80, 8 * len(label))}px"}}
        options["layout"] = ipywidgets.Layout(width="420px" if "Slider" in self.kind else "320px")
        return getattr(ipywidgets, self.kind)(value=self.value, **options)


def float_slider(value: float, low: float, high: float, step: float = 0.01, label: str | None = None) -> Control:
    """A number in [low, high]. Raises ValueError when the start value lies outside."""
    _inside(value, low, high)
    return Control("FloatSlider", float(value), min=low, max=high, step=step, description=label, readout_format=".3g")


def log_slider(value: float, low: float, high: float, label: str | None = None) -> Control:
    """A positive number in [low, high] on a logarithmic scale."""
    _inside(value, low, high)
    if low <= 0:
        raise ValueError(f"A logarithmic slider needs positive limits, not {low:g}.")
    lo, hi = np.log10(low), np.log10(high)
    return Control(
        "FloatLogSlider", float(value), min=lo, max=hi, step=(hi - lo) / 100, description=label, readout_format=".2g"
    )


def int_slider(value: int, low: int, high: int, step: int = 1, label: str | None = None) -> Control:
    """A whole number in [low, high]."""
    _inside(value, low, high)
    return Control("IntSlider", int(value), min=low, max=high, step=step, description=label)


def choice(options: Sequence | Mapping[str, Any], value: Any = None, label: str | None = None) -> Control:
    """One of several values: a list, or {shown name: value}. The first one unless ``value`` says otherwise."""
    values = list(options.values()) if isinstance(options, Mapping) else list(options)
    value = values[0] if value is None else value
    if value not in values:
        raise ValueError(f"The start value {value!r} is not among the options {values}.")
    return Control(
        "Dropdown", value, options=list(options.items()) if isinstance(options, Mapping) else values, description=label
    )


def _inside(value: float, low: float, high: float) -> None:
    if not low < high or not low <= value <= high:
        raise ValueError(
            f"A slider needs low < high and a start value between, not low={low:g}, high={high:g}, value={value:g}."
        )


def as_control(setting: Any) -> Control:
    """A control as it is; (value, low, high) is a slider, a list or dict a choice, True or False a checkbox."""
    if isinstance(setting, Control):
        return setting
    if isinstance(setting, bool):
        return Control("Checkbox", setting)
    if isinstance(setting, tuple) and len(setting) == 3:
        whole = all(isinstance(k, int) for k in setting)
        return int_slider(*setting) if whole else float_slider(*setting, step=(setting[2] - setting[1]) / 100)
    if isinstance(setting, (list, dict)) and setting:
        return choice(setting)
    raise ValueError(
        f"{setting!r} describes no control: use (value, low, high), a list or dict of choices, True, False or a slider."
    )


# ---- drawing ----


def draw(plot: Callable, *args: Any, **values: Any):
    """Call a plot function in the look of the course and return its Figure (no longer held by pyplot)."""
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    try:
        with context():
            result = plot(*args, **values)
        first = result
        while isinstance(first, (list, tuple, np.ndarray)) and len(first):
            first = first[0]
        figure = first if hasattr(first, "savefig") else first.figure if hasattr(first, "figure") else None
        if figure is None:
            if plt.get_fignums() == before:
                raise TypeError(
                    f"{getattr(plot, '__name__', 'The plot function')} drew no figure: return the figure or its axes."
                )
            figure = plt.gcf()
        return figure
    finally:
        for number in set(plt.get_fignums()) - set(before):
            plt.close(number)


def png(figure, dpi: int = RC["savefig.dpi"]) -> tuple[bytes, int]:
    """A figure as the bytes of a PNG, and the width in CSS pixels at which it is to be shown (sharp on dense screens)."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, bbox_inches="tight")
    data = file.getvalue()
    width = int.from_bytes(data[16:20], "big")  # the PNG header
    return data, round(width * 90 / dpi)


class Explorer:
    """What :func:`explore` and :func:`table_explorer` return; as the last line of a cell it shows itself.

    ``controls`` {argument: widget}; ``box`` the whole widget; ``image`` the picture; ``message`` the line under the
    table. Without widgets ``box`` is None. ``figure`` is what was drawn last.
    """

    def __init__(self, plot: Callable, controls: dict[str, Any], editor: TableEditor | None = None):
        import ipywidgets

        self.plot, self.controls, self.editor = plot, controls, editor
        self.figure = None
        self.image = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%", height="auto"))
        self.message = ipywidgets.HTML()
        sliders = ipywidgets.VBox(list(controls.values()))
        top = (
            sliders
            if editor is None
            else ipywidgets.HBox([editor.box, sliders], layout=ipywidgets.Layout(flex_flow="row wrap"))
        )
        self.box = ipywidgets.VBox([top, self.message, self.image])
        for control in controls.values():
            control.observe(lambda change: self.update(), "value")
        if editor is not None:
            editor.on_change = self.update
        self.update()

    @property
    def values(self) -> dict[str, Any]:
        """The present value of every control."""
        return {name: control.value for name, control in self.controls.items()}

    def update(self) -> None:
        """Draw again. Bad input shows its one sentence and leaves the last picture."""
        self._say("drawing ...", "#607078")
        try:
            table = () if self.editor is None else (self.editor.table,)
            self.figure = draw(self.plot, *table, **self.values)
            self.image.value, width = png(self.figure)
            self.image.layout.width = f"{width}px"
            self._say("")
        except ValueError as problem:
            self._say(str(problem), "#B71C1C")
        except Exception as problem:  # a traceback in a widget's callback would vanish in the log
            self._say(f"{type(problem).__name__}: {problem}", "#B71C1C")

    def _say(self, text: str, color: str = "") -> None:
        self.message.value = f'<span style="color:{color}">{html.escape(text)}</span>' if text else ""

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)


class Still:
    """The explorer where there are no widgets: one figure at the start values, and a sentence that says why."""

    box = None

    def __init__(self, figure, why: str):
        self.figure, self.why = figure, why

    def __repr__(self) -> str:
        return f"A still figure: {self.why}"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        print(self)
        display(self.figure)


def _no_widgets() -> str:
    """Why there can be no widgets here ("" if there can)."""
    if not in_notebook():
        return "the sliders need a notebook."
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        return f"the sliders need ipywidgets ({INSTALL}, then restart the notebook)."
    return ""


def explore(plot: Callable, static: bool = False, **controls: Any) -> Explorer | Still:
    """Sliders over a pure plot function: ``explore(plot, epsilon=(0.1, 0.0, 1.0), method=["VDN", "QMIX"])``.

    Each keyword is an argument of ``plot``; its value is made by :func:`float_slider`, :func:`log_slider`,
    :func:`int_slider` or :func:`choice`, or stands for one: (value, low, high), a list or {name: value}, True or False.
    Outside a notebook, without ipywidgets, or with ``static=True``, the figure at the start values with one sentence.
    """
    described = {name: as_control(setting) for name, setting in controls.items()}
    why = "asked for with static=True." if static else _no_widgets()
    if why:
        return Still(draw(plot, **{name: c.value for name, c in described.items()}), why)
    return Explorer(plot, {name: c.widget(name) for name, c in described.items()})


# ---- payoff tables ----


class TableEditor:
    """A grid of number cells for a two-agent payoff table; with several named tables also a list to start from.

    ``table``: the numbers now, nested lists. ``cells[i][j]``: the widgets. ``on_change()`` is called after an edit.
    """

    def __init__(self, tables: dict[str, list[list[float]]], limit: float, labels: tuple[str, str]):
        import ipywidgets

        self.tables, self.limit, self.labels = tables, limit, labels
        self.on_change: Callable[[], None] = lambda: None
        self.holder = ipywidgets.VBox()
        self.name = ipywidgets.Dropdown(options=list(tables), description="game", layout=ipywidgets.Layout(width="260px"))
        self.reset = ipywidgets.Button(description="reset the table", layout=ipywidgets.Layout(width="130px"))
        self.name.observe(lambda change: self._load(), "value")
        self.reset.on_click(lambda button: self._load())
        head = [self.name] if len(tables) > 1 else []
        self.box = ipywidgets.VBox([*head, self.holder, self.reset], layout=ipywidgets.Layout(margin="0 24px 0 0"))
        self._load()

    @property
    def table(self) -> list[list[float]]:
        return [[cell.value for cell in row] for row in self.cells]

    def _load(self) -> None:
        """Fill the grid with the named table (new cells: games differ in size), then tell once."""
        import ipywidgets

        small = ipywidgets.Layout(width="76px")
        numbers = self.tables[self.name.value]
        self.cells = [
            [ipywidgets.BoundedFloatText(value=v, min=-self.limit, max=self.limit, step=1, layout=small) for v in row]
            for row in numbers
        ]
        corner = [ipywidgets.Label(f"{self.labels[0]} ↓  {self.labels[1]} →", layout=ipywidgets.Layout(width="auto"))]
        top = [ipywidgets.Label("", layout=ipywidgets.Layout(width="20px"))]
        top += [ipywidgets.Label(str(j), layout=small) for j in range(len(numbers[0]))]
        lines = [ipywidgets.HBox(corner), ipywidgets.HBox(top)]
        for i, row in enumerate(self.cells):
            lines.append(ipywidgets.HBox([ipywidgets.Label(str(i), layout=ipywidgets.Layout(width="20px")), *row]))
            for cell in row:
                cell.observe(lambda change: self.on_change(), "value")
        self.holder.children = lines
        self.on_change()


def table_explorer(
    plot: Callable,
    table: Any,
    static: bool = False,
    limit: float = 1000.0,
    labels: tuple[str, str] = ("agent 1", "agent 2"),
    **controls: Any,
) -> Explorer | Still:
    """An editable payoff table, and sliders, over ``plot(table, **values)``; table is a list of rows of numbers.

    ``table``: rows of numbers, or {name: rows} for a list of games to start from. Cells hold numbers within
    +-``limit``; each edit draws again. A ValueError of ``plot`` shows as one sentence under the table. ``controls`` as
    in :func:`explore`.
    """
    tables = {k: _rows(v) for k, v in (table if isinstance(table, Mapping) else {"yours": table}).items()}
    described = {name: as_control(setting) for name, setting in controls.items()}
    why = "asked for with static=True." if static else _no_widgets()
    if why:
        return Still(draw(plot, next(iter(tables.values())), **{name: c.value for name, c in described.items()}), why)
    return Explorer(plot, {name: c.widget(name) for name, c in described.items()}, TableEditor(tables, limit, labels))


def _rows(table: Any) -> list[list[float]]:
    """Rows of plain numbers; ValueError for anything else."""
    table = table.tolist() if hasattr(table, "tolist") else table
    try:
        rows = [[float(v) for v in row] for row in table]
    except (TypeError, ValueError):
        raise ValueError(
            "The editor needs a two-agent table: a list of rows of numbers, such as [[8, -12], [-12, 0]]."
        ) from None
    if not rows or len({len(r) for r in rows}) != 1 or not rows[0]:
        raise ValueError(f"All rows of the table need the same length, got {[len(r) for r in rows]}.")
    return rows
