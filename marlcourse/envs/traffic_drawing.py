"""The picture of the traffic junction: map, cars, who waits, who arrived, clock and score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .drawing import GREEN, INK, PAPER, RED, canvas, write

SCALE = 2  # drawn twice as large and made smaller at the end: smooth edges
CELL = 30 * SCALE
SIZE = 14
PANEL = 150 * SCALE
GRASS, GRASS_EDGE, ROAD, LINE, GATE = (206, 222, 196), (186, 206, 174), (108, 113, 120), (232, 234, 236), (126, 132, 140)
AMBER, WHITE, GLASS, SOFT = (255, 179, 0), (255, 255, 255), (222, 236, 245), (120, 130, 136)
COLOURS = (
    (31, 119, 180),
    (214, 100, 20),
    (44, 140, 60),
    (136, 84, 170),
    (122, 78, 66),
    (204, 84, 158),
    (20, 140, 150),
    (130, 130, 24),
    (70, 84, 160),
    (60, 66, 74),
)


class Car(NamedTuple):
    """number from 0; cell (row, column); heading (rows down, columns right); blinker -1 left, 0 none, 1 right."""

    number: int
    cell: tuple[int, int]
    heading: tuple[int, int]
    blinker: int
    collided: bool


def draw_traffic(
    cars: list[Car], waiting: list[int], arrived: list[int], clock: int, limit: int, score: float, crashes: int
) -> np.ndarray:
    """One moment, seen from above; ``cars`` are those on the road. Cars on one cell are drawn a little apart."""
    image, pen = canvas(SIZE * CELL + PANEL, SIZE * CELL, PAPER)
    _map(pen)
    by_cell: dict[tuple[int, int], list[Car]] = {}
    for car in cars:
        by_cell.setdefault(car.cell, []).append(car)
    for (row, column), here in by_cell.items():
        if any(car.collided for car in here):
            _burst(pen, (column + 0.5) * CELL, (row + 0.5) * CELL)
    for (row, column), here in by_cell.items():
        for k, car in enumerate(here):
            shift = (k - (len(here) - 1) / 2) * CELL * 0.3
            _car(pen, (column + 0.5) * CELL + shift, (row + 0.5) * CELL + shift, car)
    _panel(pen, SIZE * CELL, waiting, arrived, clock, limit, score, crashes)
    return np.asarray(image.resize((image.width // SCALE, image.height // SCALE), 1))  # 1: Lanczos


def _map(pen) -> None:
    low, middle, high, end = 6 * CELL, 7 * CELL, 8 * CELL, SIZE * CELL
    pen.rectangle([0, 0, end, end], fill=GRASS)
    for k in range(1, SIZE):
        pen.line([k * CELL, 0, k * CELL, end], fill=GRASS_EDGE)
        pen.line([0, k * CELL, end, k * CELL], fill=GRASS_EDGE)
    pen.rectangle([0, low, end, high], fill=ROAD)
    pen.rectangle([low, 0, high, end], fill=ROAD)
    for r, c in ((7, 0), (13, 7), (6, 13), (0, 6)):
        pen.rectangle([c * CELL, r * CELL, (c + 1) * CELL - 1, (r + 1) * CELL - 1], fill=GATE)
    for k in range(SIZE):
        if k not in (6, 7):
            a, b = (k + 0.25) * CELL, (k + 0.75) * CELL
            pen.line([a, middle, b, middle], fill=LINE, width=2 * SCALE)
            pen.line([middle, a, middle, b], fill=LINE, width=2 * SCALE)
    for a, b, upright in ((low, middle, 1), (middle, high, 0)):  # stop lines where a lane meets the junction
        pen.line([low, middle, low, high] if upright else [high, low, high, middle], fill=LINE, width=2 * SCALE)
        pen.line([a, low, b, low] if upright else [a, high, b, high], fill=LINE, width=2 * SCALE)


def _burst(pen, x: float, y: float) -> None:
    angles = np.arange(24) * np.pi / 12
    radii = np.where(np.arange(24) % 2, 0.62, 0.92) * CELL
    pen.polygon([(x + r * np.cos(a), y + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)], fill=(255, 214, 90))
    pen.line(
        [(x + r * np.cos(a), y + r * np.sin(a)) for a, r in zip([*angles, 0.0], [*radii, radii[0]], strict=True)],
        fill=RED,
        width=2 * SCALE,
    )


def _car(pen, x: float, y: float, car: Car) -> None:
    """A body along the heading, a windscreen in front, amber lights on the side to which it will turn."""
    dy, dx = car.heading
    place = lambda ahead, right: (x + ahead * dx - right * dy, y + ahead * dy + right * dx)
    box = lambda a, b: [min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])]
    length, width = 0.44 * CELL, 0.33 * CELL
    outline = RED if car.collided else INK
    body = box(place(-length, -width), place(length, width))
    pen.rounded_rectangle(
        body, 0.16 * CELL, fill=COLOURS[car.number], outline=outline, width=SCALE * (2 if car.collided else 1)
    )
    pen.rounded_rectangle(box(place(0.26 * CELL, -0.22 * CELL), place(0.36 * CELL, 0.22 * CELL)), SCALE, fill=GLASS)
    if car.blinker:
        for ahead in (-0.33, 0.33):
            cx, cy = place(ahead * CELL, car.blinker * 0.31 * CELL)
            r = 0.1 * CELL
            pen.ellipse([cx - r, cy - r, cx + r, cy + r], fill=AMBER, outline=INK)
    write(pen, place(-0.06 * CELL, 0), str(car.number + 1), 15 * SCALE, WHITE)


def _panel(pen, left: int, waiting, arrived, clock, limit, score, crashes) -> None:
    s, x = SCALE, left + 14 * SCALE
    write(pen, (x, 24 * s), f"step {clock} of {limit}", 14 * s, anchor="lm")
    end = left + PANEL - 14 * s
    pen.rounded_rectangle([x, 38 * s, end, 46 * s], 4 * s, fill=(224, 228, 230))
    if clock:
        pen.rounded_rectangle([x, 38 * s, x + max(8 * s, (end - x) * clock / limit), 46 * s], 4 * s, fill=SOFT)
    write(pen, (x, 72 * s), "score", 13 * s, SOFT, "lm")
    write(pen, (x, 96 * s), f"{score:.2f}", 24 * s, anchor="lm")
    write(pen, (x, 128 * s), "collisions", 13 * s, SOFT, "lm")
    write(pen, (x, 152 * s), str(crashes), 24 * s, RED if crashes else GREEN, "lm")
    for title, numbers, top in (("waiting", waiting, 196), ("arrived", arrived, 318)):
        write(pen, (x, top * s), title if numbers else f"{title}: none", 13 * s, SOFT, "lm")
        for k, number in enumerate(numbers):
            cx, cy = x + (14 + 31 * (k % 4)) * s, (top + 28 + 30 * (k // 4)) * s
            pen.rounded_rectangle(
                [cx - 13 * s, cy - 11 * s, cx + 13 * s, cy + 11 * s], 5 * s, fill=COLOURS[number], outline=INK
            )
            write(pen, (cx, cy), str(number + 1), 14 * s, WHITE)
