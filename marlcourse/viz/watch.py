"""Watching a team play: an animation that a notebook shows inline, made without a display server."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from ..core import Action, Algorithm, EnvSpec, Observation, VecEnv
from ..exploration import uniform_actions
from ..rollout import observation_to
from ..seeds import derive_seed, make_generator

STRIP, WIDTH, LIMIT = 30, 300, 300_000  # caption height and least width in pixels; most bytes of a GIF


class Animation:
    """What :func:`watch` returns; a notebook shows it inline.

    ``frames`` list of HxWx3 uint8 with captions; ``ends`` which of them end an episode; ``returns`` undiscounted team
    return of each episode; ``steps`` environment steps played; ``note`` says what was left out ("" if nothing).
    """

    def __init__(
        self,
        frames: list[np.ndarray],
        ends: list[bool],
        returns: list[float],
        steps: int,
        fps: float,
        kind: str,
        note: str,
        title: str,
    ):
        self.frames, self.ends, self.returns, self.steps, self.fps = frames, ends, returns, steps, fps
        self.kind, self.note, self.title = kind, note, title

    def __repr__(self) -> str:
        returns = ", ".join(f"{r:g}" for r in self.returns)
        return f"{self.title}: {len(self.frames)} frames of {len(self.returns)} episode(s), return {returns}"

    def _pauses(self) -> list[int]:
        """Milliseconds per frame: one that ends an episode stays longer."""
        pause = round(1000 / self.fps)
        return [max(pause, 1200) if end else pause for end in self.ends]

    def gif(self) -> bytes:
        """An endless GIF below 300 kB; frames are made smaller until it fits."""
        from PIL import Image

        images = [Image.fromarray(f) for f in self.frames]
        data = _encode(images, self._pauses())
        while len(data) > LIMIT and images[0].width > 80:
            scale = max(0.5, min(0.9, (LIMIT / len(data)) ** 0.5))
            images = [i.resize((int(i.width * scale), int(i.height * scale)), Image.Resampling.LANCZOS) for i in images]
            data = _encode(images, self._pauses())
        return data

    def jshtml(self) -> str:
        """A player with buttons (play, single steps, slider) as one piece of HTML."""
        import matplotlib.pyplot as plt
        from matplotlib.animation import FuncAnimation

        height, width = self.frames[0].shape[:2]
        with plt.rc_context({"savefig.dpi": 72, "figure.dpi": 72, "animation.embed_limit": 20}):
            figure = plt.figure(figsize=(width / 72, height / 72))
            picture = figure.add_axes([0, 0, 1, 1], frameon=False, xticks=[], yticks=[]).imshow(self.frames[0])
            player = FuncAnimation(figure, lambda k: [picture.set_data(self.frames[k])], frames=len(self.frames), blit=False)
            html = player.to_jshtml(fps=self.fps, default_mode="loop")
            plt.close(figure)
        return html

    def save(self, path: str | Path) -> Path:
        """Write a .gif or an .html player. Raises ValueError for another ending."""
        path = Path(path)
        if path.suffix not in (".gif", ".html"):
            raise ValueError(f"{path.name!r} must end in .gif or .html.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.gif() if path.suffix == ".gif" else self.jshtml().encode())
        return path

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        if self.kind == "jshtml":
            return {"text/plain": repr(self), "text/html": self.jshtml()}
        # Under the name of PNG: browsers look at the bytes and play the GIF, and GitHub, nbconvert and Colab show
        # image/png everywhere, while several of them pass over image/gif.
        return {"text/plain": repr(self), "image/png": self.gif()}


def _encode(images: list, pauses: list[int]) -> bytes:
    """An endless GIF with one palette for all frames, from about ten of them: a colour may come late and go soon."""
    from PIL import Image

    some = [*images[:: max(1, len(images) // 9)], images[-1]]
    sheet = Image.new("RGB", (images[0].width, sum(i.height for i in some)))
    for k, image in enumerate(some):
        sheet.paste(image, (0, k * image.height))
    palette = sheet.quantize(64)
    small = [i.quantize(palette=palette, dither=Image.Dither.NONE) for i in images]
    file = io.BytesIO()
    small[0].save(file, "GIF", save_all=True, append_images=small[1:], duration=pauses, loop=0)
    return file.getvalue()


class _Film:
    """Keeps at most 2 x ``limit`` frames while playing, lest a long episode fill the memory; ``limit`` at the end."""

    def __init__(self, limit: int):
        self.limit, self.every, self.seen = limit, 1, 0
        self.kept: list[tuple[np.ndarray, str, str]] = []  # picture, caption, "start" | "" | "end" of its episode

    def add(self, draw, caption: str, place: str) -> None:
        """``draw()`` is called only for a frame that is kept."""
        self.seen += 1
        if place or self.seen % self.every == 0:
            self.kept.append((draw(), caption, place))
        if len(self.kept) > 2 * self.limit:
            self.every *= 2
            self.kept = [f for k, f in enumerate(self.kept) if f[2] or k % 2 == 0]

    def cut(self) -> list[tuple[np.ndarray, str, str]]:
        """At most ``limit`` frames, evenly spread, ends of episodes first."""
        if len(self.kept) <= self.limit:
            return self.kept
        ends = [k for k, f in enumerate(self.kept) if f[2]]
        rest = [k for k, f in enumerate(self.kept) if not f[2]]
        if len(ends) >= self.limit:
            ends, rest = [ends[k] for k in np.linspace(0, len(ends) - 1, self.limit).round().astype(int)], []
        room = self.limit - len(ends)
        spread = [rest[k] for k in np.linspace(0, len(rest) - 1, room).round().astype(int)] if rest and room else []
        return [self.kept[k] for k in sorted({*ends, *spread})]


class RandomPlay:
    """A team without a mind: every agent plays each of its available actions equally often."""

    device = torch.device("cpu")

    def __init__(self, spec: EnvSpec):
        self.spec = spec

    def initial_carry(self, batch_size: int) -> dict:
        return {}

    def act(self, observation: Observation, carry: dict, explore: bool, generator: torch.Generator) -> Action:
        if observation.avail is not None:
            return Action(uniform_actions(observation.avail, generator), carry)
        box = self.spec.actions
        shape = (*observation.obs.shape[:2], box.dim)
        return Action(box.low + (box.high - box.low) * torch.rand(shape, generator=generator), carry)


@torch.no_grad()
def watch(
    env: VecEnv,
    algorithm: Algorithm | None,
    episodes: int = 1,
    seed: int = 0,
    fps: float = 4,
    kind: str = "gif",
    path: str | Path | None = None,
    explore: bool = False,
    max_frames: int = 60,
) -> Animation:
    """Let a team play and return the film, which a notebook shows inline. ``algorithm=None``: random play.

    ``kind``: "gif", or "jshtml" for a player with single steps. ``path`` also writes it to a file (.gif or .html).
    Greedy unless ``explore``. It plays in ``env.fresh(1)``: the world and the generators of a run stay untouched, and
    the same seed shows the same episodes. Where there are more than ``max_frames`` steps it keeps the first and last
    frame of each episode and evenly spread ones between them, and says so. Raises ValueError for an unknown kind, for
    fewer than one episode, and when algorithm and world do not fit.
    """
    if kind not in ("gif", "jshtml"):
        raise ValueError(f"kind={kind!r} is unknown: use 'gif' or 'jshtml'.")
    if episodes < 1 or max_frames < 2 or fps <= 0:
        raise ValueError(f"Give at least 1 episode, 2 frames and a positive fps, not {episodes}, {max_frames} and {fps:g}.")
    name = "random play" if algorithm is None else type(algorithm).__name__
    algorithm = RandomPlay(env.spec) if algorithm is None else algorithm
    if algorithm.spec != env.spec:
        raise ValueError(f"The algorithm was built for {algorithm.spec.name}, not {env.spec.name}: build it with env.spec.")
    copy = env.fresh(num_envs=1, seed=derive_seed(seed, "watch"))
    generator = make_generator(algorithm.device, seed, "watch actions")
    film, returns, steps = _Film(max_frames), [], 0
    try:
        for episode in range(episodes):
            observation = copy.reset(seed=derive_seed(seed, "watch", episode))
            carry = algorithm.initial_carry(1)
            head = f"episode {episode + 1}  " if episodes > 1 else ""
            total, t, over = 0.0, 0, False
            film.add(copy.frame, f"{head}step 0", "start")
            while not over:
                action = algorithm.act(observation_to(observation, algorithm.device), carry, explore, generator)
                observation, reward, terminated, truncated, _ = copy.step(action.actions.to(copy.device))
                carry, t, total = action.carry, t + 1, total + float(reward)
                over = bool(terminated | truncated)
                caption = f"{head}step {t}  reward {_number(float(reward))}  return {_number(total)}"
                film.add(copy.frame, caption, "end" if over else "")
            returns.append(total)
            steps += t
    finally:
        copy.close()
    frames = film.cut()
    note = ""
    if len(frames) < film.seen:
        note = f"Shows {len(frames)} of {film.seen} frames (max_frames={max_frames}); the steps between were played."
        print(note)
    title = f"{name} on {env.spec.name}"
    pictures = [_with_caption(frame, caption) for frame, caption, _ in frames]
    ends = [place == "end" for _, _, place in frames]
    result = Animation(pictures, ends, returns, steps, fps, kind, note, title)
    if path is not None:
        result.save(path)
    return result


def _number(value: float) -> str:
    return f"{value:.4g}"


def _with_caption(frame: np.ndarray, caption: str) -> np.ndarray:
    """The frame, enlarged by a whole factor if it is tiny, over a strip that holds the caption."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    factor = max(1, -(-WIDTH // frame.shape[1])) if frame.shape[1] < WIDTH // 2 else 1
    frame = np.ascontiguousarray(frame).repeat(factor, 0).repeat(factor, 1)
    height, width = frame.shape[:2]
    canvas = Image.new("RGB", (max(width, WIDTH), height + STRIP), (250, 250, 248))
    canvas.paste(Image.fromarray(frame), ((canvas.width - width) // 2, 0))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle([0, height, canvas.width, height + STRIP], fill=(38, 50, 56))
    font_file = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    size = 14
    while size > 8 and pen.textlength(caption, font=ImageFont.truetype(font_file, size)) > canvas.width - 16:
        size -= 1
    font = ImageFont.truetype(font_file, size)
    pen.text((10, height + STRIP // 2), caption, font=font, fill=(255, 255, 255), anchor="lm")
    return np.asarray(canvas)
