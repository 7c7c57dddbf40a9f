"""Small pictures drawn with Pillow (loaded when the first picture is drawn)."""

from __future__ import annotations

import numpy as np

INK, PAPER, GRID = (38, 50, 56), (250, 250, 248), (190, 198, 204)
BLUE, ORANGE, GREEN, RED = (31, 119, 180), (255, 127, 14), (44, 140, 60), (200, 60, 50)


def canvas(width: int, height: int, background=PAPER):
    """A Pillow image and its pen."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), background)
    return image, ImageDraw.Draw(image)


def write(pen, xy, text: str, size: int = 16, fill=INK, anchor: str = "mm") -> None:
    """Text centred at xy."""
    from PIL import ImageFont

    pen.text(xy, text, font=ImageFont.load_default(size), fill=fill, anchor=anchor)


def _shade(value: float, low: float, high: float) -> tuple[int, int, int]:
    """White to green for gains, white to red for losses; 0 is white."""
    end, colour = (high, (120, 190, 130)) if value > 0 else (low, (225, 130, 120))
    k = 0.0 if value == 0 else 0.15 + 0.85 * value / end
    return tuple(int(255 + (c - 255) * k) for c in colour)


def draw_table(
    table: np.ndarray,
    chosen: tuple[int, int] | None,
    title: str,
    columns: list[str] | None = None,
    entries: list[list[str]] | None = None,
    cell: int = 84,
) -> np.ndarray:
    """A payoff table; agent 1 chooses the row, agent 2 the column; the joint action played has a thick frame.

    ``columns``: names of the columns where more agents than two choose them; ``entries``: words to write instead of numbers.
    """
    n_rows, n_columns = table.shape
    left, top = 70, 84
    image, pen = canvas(left + n_columns * cell + 24, top + n_rows * cell + 24)
    middle = left + n_columns * cell / 2
    write(pen, (middle, 22), title, 18)
    write(pen, (middle, 48), "agent 2" if columns is None else "agents 2, 3, ...", 14, ORANGE)
    write(pen, (30, 66), "agent 1", 14, BLUE)
    for i in range(n_rows):
        write(pen, (left - 22, top + (i + 0.5) * cell), str(i), 16, BLUE)
        for j in range(n_columns):
            box = [left + j * cell, top + i * cell, left + (j + 1) * cell, top + (i + 1) * cell]
            pen.rectangle(box, fill=_shade(table[i, j], table.min(), table.max()), outline=GRID)
            text = f"{table[i, j]:g}" if entries is None else entries[i][j]
            write(pen, (left + (j + 0.5) * cell, top + (i + 0.5) * cell), text, 22 if len(text) < 6 else 16)
    for j in range(n_columns):
        write(pen, (left + (j + 0.5) * cell, top - 14), str(j) if columns is None else columns[j], 16, ORANGE)
    if chosen is not None:
        i, j = chosen
        box = [left + j * cell + 2, top + i * cell + 2, left + (j + 1) * cell - 2, top + (i + 1) * cell - 2]
        pen.rectangle(box, outline=INK, width=5)
    return np.asarray(image)


def draw_junction(played: list[int]) -> np.ndarray:
    """Two one-way roads that cross; car 1 (blue) comes from the left, car 2 (orange) from below."""
    size, road, car = 320, 84, 44
    image, pen = canvas(size, size, (214, 226, 205))
    middle, half = size // 2, road // 2
    pen.rectangle([0, middle - half, size, middle + half], fill=(120, 124, 130))
    pen.rectangle([middle - half, 0, middle + half, size], fill=(120, 124, 130))
    crash = played == [1, 1]
    before, after = half + car // 2 + 14, half + car // 2 + 40
    x = {-1: middle - before, 0: middle - before, 1: middle if crash else middle + after}[played[0]]
    y = {-1: middle + before, 0: middle + before, 1: middle if crash else middle - after}[played[1]]
    for (cx, cy), colour, name, wide in (((x, middle), BLUE, "1", True), ((middle, y), ORANGE, "2", False)):
        w, h = (car // 2 + 8, car // 2 - 4) if wide else (car // 2 - 4, car // 2 + 8)
        if crash:
            cx, cy = (cx - 16, cy + 8) if wide else (cx + 10, cy + 20)
        pen.rounded_rectangle([cx - w, cy - h, cx + w, cy + h], 8, fill=colour, outline=INK, width=2)
        write(pen, (cx, cy), name, 18, (255, 255, 255))
    message = "" if -1 in played else "crash: 0" if crash else "both wait: 0" if played == [0, 0] else "one passes: 1"
    if message:
        pen.rectangle([6, 8, 112, 38], fill=PAPER, outline=INK)
        write(pen, (59, 23), message, 15, RED if message.endswith("0") else GREEN)
    return np.asarray(image)


def draw_surface(played: list[float] | None, size: int = 320) -> np.ndarray:
    """a1 * a2 over [-2, 2] x [-2, 2], a1 to the right, a2 upwards; the joint action as a point."""
    from PIL import Image

    left, top = 44, 36
    image, pen = canvas(left + size + 16, top + size + 60)
    axis = np.linspace(-2, 2, size)
    value = axis[None, :] * axis[::-1, None] / 4
    gain, loss = np.clip(value, 0, 1)[..., None], np.clip(-value, 0, 1)[..., None]
    picture = 255 + gain * (np.array([120, 190, 130]) - 255) + loss * (np.array([225, 130, 120]) - 255)
    image.paste(Image.fromarray(picture.astype(np.uint8)), (left, top))
    place = lambda a1, a2: (left + (a1 + 2) / 4 * size, top + (2 - a2) / 4 * size)
    pen.line([*place(0, 2), *place(0, -2)], fill=GRID)
    pen.line([*place(-2, 0), *place(2, 0)], fill=GRID)
    for v in (-2, 0, 2):
        write(pen, (place(v, -2)[0], top + size + 20), f"{v}", 14)
        write(pen, (left - 14, place(-2, v)[1]), f"{v}", 14)
    write(pen, (left + size / 2, top + size + 44), "action of agent 1", 14, BLUE)
    write(pen, (8, 16), "action of agent 2", 14, ORANGE, anchor="lm")
    for a1, a2 in ((1.3, 1.3), (-1.3, -1.3), (-1.3, 1.3), (1.3, -1.3)):
        write(pen, place(a1, a2), "gain" if a1 * a2 > 0 else "loss", 14, (90, 100, 105))
    if played is not None:
        x, y = place(*np.clip(played, -2, 2))
        pen.ellipse([x - 7, y - 7, x + 7, y + 7], fill=INK)
        text_x = min(max(x, left + 24), left + size - 24)
        write(pen, (text_x, y - 18 if y > top + 40 else y + 18), f"{played[0] * played[1]:.2f}", 14)
    return np.asarray(image)
