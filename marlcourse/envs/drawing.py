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
    """White to green for gains, white to red for losses."""
    if value >= 0:
        k, colour = (value / high if high > 0 else 0.0), (120, 190, 130)
    else:
        k, colour = (value / low if low < 0 else 0.0), (225, 130, 120)
    return tuple(int(255 + (c - 255) * (0.15 + 0.85 * k)) for c in colour)


def draw_table(table: np.ndarray, chosen: tuple[int, int] | None, title: str, cell: int = 84) -> np.ndarray:
    """A payoff table; agent 1 chooses the row, agent 2 the column; the joint action played has a thick frame."""
    rows, columns = table.shape
    left, top = 70, 84
    image, pen = canvas(left + columns * cell + 24, top + rows * cell + 24)
    write(pen, (left + columns * cell / 2, 22), title, 18)
    write(pen, (left + columns * cell / 2, 48), "agent 2", 14, ORANGE)
    write(pen, (30, 66), "agent 1", 14, BLUE)
    for i in range(rows):
        write(pen, (left - 22, top + (i + 0.5) * cell), str(i), 16, BLUE)
        for j in range(columns):
            box = [left + j * cell, top + i * cell, left + (j + 1) * cell, top + (i + 1) * cell]
            pen.rectangle(box, fill=_shade(table[i, j], table.min(), table.max()), outline=GRID)
            write(pen, (left + (j + 0.5) * cell, top + (i + 0.5) * cell), f"{table[i, j]:g}", 22)
    for j in range(columns):
        write(pen, (left + (j + 0.5) * cell, top - 14), str(j), 16, ORANGE)
    if chosen is not None:
        i, j = chosen
        pen.rectangle(
            [left + j * cell + 2, top + i * cell + 2, left + (j + 1) * cell - 2, top + (i + 1) * cell - 2],
            outline=INK,
            width=5,
        )
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
        pen.rectangle([8, 8, 150, 40], fill=PAPER, outline=INK)
        write(pen, (79, 24), message, 16, RED if message.endswith("0") else GREEN)
    return np.asarray(image)


def draw_surface(played: list[float] | None, size: int = 320) -> np.ndarray:
    """a1 * a2 over [-2, 2] x [-2, 2], a1 to the right, a2 upwards; the joint action as a point."""
    image, pen = canvas(size + 60, size + 60)
    axis = np.linspace(-2, 2, size)
    value = axis[None, :] * axis[::-1, None] / 4
    gain, loss = np.clip(value, 0, 1)[..., None], np.clip(-value, 0, 1)[..., None]
    picture = 255 + gain * (np.array([120, 190, 130]) - 255) + loss * (np.array([225, 130, 120]) - 255)
    from PIL import Image

    image.paste(Image.fromarray(picture.astype(np.uint8)), (44, 16))
    pen.line([44 + size / 2, 16, 44 + size / 2, 16 + size], fill=GRID)
    pen.line([44, 16 + size / 2, 44 + size, 16 + size / 2], fill=GRID)
    for v in (-2, 0, 2):
        write(pen, (44 + (v + 2) / 4 * size, size + 28), f"{v}", 14)
        write(pen, (30, 16 + (2 - v) / 4 * size), f"{v}", 14)
    write(pen, (44 + size / 2, size + 46), "action of agent 1", 14, BLUE)
    write(pen, (44 + size * 0.12, 28), "agent 2", 14, ORANGE)
    if played is not None:
        x, y = 44 + (played[0] + 2) / 4 * size, 16 + (2 - played[1]) / 4 * size
        pen.ellipse([x - 7, y - 7, x + 7, y + 7], fill=INK)
        write(pen, (x, y - 18 if y > 60 else y + 18), f"{played[0] * played[1]:.2f}", 14)
    return np.asarray(image)
