"""One colour, marker and line style per algorithm, the same in the whole course.

Colours start from the palettes of Okabe and Ito (2008) and Paul Tol (2021) and were moved until algorithms that one
chapter draws together stay apart for readers without red or green cones too (a test holds that). So many colours cannot
all stay apart for everybody, so that each algorithm also has a (marker, line style) pair of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

# name: (colour, marker, line style)
ALGORITHMS: dict[str, tuple[str, str, str]] = {
    "IQL": ("#56B4E9", "v", "-"),
    "VDN": ("#E69F00", "s", "-"),
    "QMIX": ("#0072B2", "o", "-"),
    "QMIX-simple": ("#332288", "o", "--"),
    "QMIX-GRE": ("#00C083", "D", "--"),
    "OW-QMIX": ("#E08AB8", "^", "--"),
    "CW-QMIX": ("#882255", "^", "-"),
    "QTRAN": ("#009E4F", "P", "-"),
    "COMA (on-policy)": ("#D55E00", "h", "-"),
    "COMA (as released)": ("#7A3B12", "h", "--"),
    "LICA": ("#1B95B2", "p", "-"),
    "MNMPG": ("#A23179", "X", "-"),
    "QMIX_large": ("#F7941D", "s", "--"),
    "NQMIX": ("#979432", "d", "-"),
    "HAPPO": ("#EE6860", "<", "-"),
    "HATRPO": ("#6C419E", ">", "-"),
    "MAPPO": ("#487DA8", "8", "-"),
    "IPPO": ("#66C2D7", "8", "--"),
    "MAT": ("#278633", "*", "-"),
    "MAT-Dec": ("#B8A934", "*", "--"),
    "random": ("#8A8A8A", "", ":"),
}
ALIASES = {
    "OWQMIX": "OW-QMIX",
    "CWQMIX": "CW-QMIX",
    "QMIXSimple": "QMIX-simple",
    "SimpleQMIX": "QMIX-simple",
    "GRE": "QMIX-GRE",
    "QMIXGRE": "QMIX-GRE",
    "MATDec": "MAT-Dec",
    "COMA": "COMA (on-policy)",
    "COMA on-policy": "COMA (on-policy)",
    "COMA as released": "COMA (as released)",
    "null": "random",
    "untrained": "random",
}
# For what is not an algorithm of the course, such as a reader's own.
SPARE = [("#37474F", "o", "-"), ("#D81B60", "s", "-"), ("#8D6E63", "D", "-"), ("#7CB342", "^", "-")]
DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]
GREY, INK = ALGORITHMS["random"][0], "#263238"

COARSE = os.environ.get("MARLCOURSE_SCALE", "").strip() == "ci"  # there nobody looks: figures need not be sharp
RC = {
    "figure.figsize": (6.4, 3.8),
    "figure.dpi": 90,
    "savefig.dpi": 90 if COARSE else 180,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.edgecolor": "#607078",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E8EA",
    "lines.linewidth": 1.9,
    "lines.markersize": 5.5,
    "figure.facecolor": "white",
}


def _words(name: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", name.lower()))


_KNOWN = {_words(alias): name for alias, name in [*((n, n) for n in ALGORITHMS), *ALIASES.items()]}


def known(name: str) -> str | None:
    """The algorithm of the course that a label names, whole or as its beginning ("VDN, uniform data" is VDN)."""
    words = _words(str(name)) + " "
    fits = [k for k in _KNOWN if words.startswith(k + " ")]
    return _KNOWN[max(fits, key=len)] if fits else None


def styles(names: Iterable[str]) -> dict[str, dict]:
    """Keyword arguments (color, marker, linestyle) for the line of every label, no two alike.

    A second label of one algorithm keeps its colour and takes another line style; labels that name no algorithm of the
    course get spare colours in their order.
    """
    result: dict[str, dict] = {}
    used: set = set()
    own = 0
    for name in names:
        algorithm = known(name)
        if algorithm is None:
            color, marker, dashes = SPARE[own % len(SPARE)]
            own += 1
        else:
            color, marker, dashes = ALGORITHMS[algorithm]
        free = [d for d in [dashes, *DASHES] if (color, d) not in used]
        dashes = free[0] if free else dashes
        used.add((color, dashes))
        result[name] = {"color": color, "marker": marker, "linestyle": dashes}
    return result


def colour(name: str) -> str:
    """The colour of an algorithm, by its name in the course or of its class."""
    return styles([name])[name]["color"]


def readable(background) -> str:
    """The colour in which text is legible on a background (a matplotlib colour): INK, else white or black, with a contrast
    of at least 4.5 to 1 (the measure of WCAG 2)."""
    from matplotlib.colors import to_rgb

    def light(colour) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05

    def contrast(colour) -> float:
        low, high = sorted((light(colour), light(background)))
        return high / low

    return INK if contrast(INK) >= 4.5 else max(("white", "black"), key=contrast)


def context():
    """A context manager in which figures have the look of the course; the reader's own settings come back after it."""
    import matplotlib

    return matplotlib.rc_context(RC)


def use() -> None:
    """Give all later figures the look of the course; in a notebook inline figures become sharp on dense screens too."""
    import matplotlib

    matplotlib.rcParams.update(RC)
    if in_notebook() and not COARSE:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


def in_notebook() -> bool:
    """True in a Jupyter kernel (JupyterLab, Colab, nbclient), False in a script, a test or the IPython shell."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None
