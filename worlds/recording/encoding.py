"""Films as GIF and MP4."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from verifier.errors import InputError
from verifier.vocabulary import Vocabulary
from worlds.recording.film import Film
from worlds.recording.frames import frame

FPS = 10
"""Frames per second of a film; equal ones cost nothing in a GIF."""

_GIF_WIDTH = 960
_COLOURS = 250
_PALETTE_FRAMES = 8


@dataclass(frozen=True)
class Pace:
    """How fast a film runs.

    Attributes:
        speed: Simulated seconds per second.
        end: Seconds for which the last picture, with what became of it, is held.
    """

    speed: float = 2.0
    end: float = 2.5


def schedule(film: Film, pace: Pace) -> list[int]:
    """The shot of every frame, in order, without the held end."""
    seconds = [shot.seconds for shot in film.shots]
    count = int(seconds[-1] * FPS / pace.speed) + 1
    found, shown = [], 0
    for number in range(count):
        now = number * pace.speed / FPS
        while shown + 1 < len(seconds) and seconds[shown + 1] <= now + 1e-9:
            shown += 1
        found.append(shown)
    return [*found, len(seconds) - 1] if found[-1] != len(seconds) - 1 else found


def encode(film: Film, suffix: str, words: Vocabulary, pace: Pace | None = None) -> bytes:
    """The film as the contents of a file.

    Args:
        film: The film.
        suffix: ``.gif`` or ``.mp4``.
        words: The domain.
        pace: How fast.

    Raises:
        InputError: Another suffix.
    """
    pace = pace or Pace()
    if suffix == ".gif":
        return _gif(list(_frames(film, words, pace)))
    if suffix == ".mp4":
        return _mp4(_frames(film, words, pace))
    raise InputError(f"no film is written as {suffix or 'a file without ending'}",
                     remedy="use .gif or .mp4, or .png for a filmstrip")  # fmt: skip


def _frames(film: Film, words: Vocabulary, pace: Pace) -> Iterator[tuple[Image.Image, int]]:
    """Frames, and how many times each is shown."""
    for shot, times in groupby(schedule(film, pace)):
        yield frame(film, shot, words), sum(1 for _ in times)
    last = frame(film, len(film.shots) - 1, words, ended=True)
    yield last, max(1, round(pace.end * FPS))


def _gif(frames: Sequence[tuple[Image.Image, int]]) -> bytes:
    height = round(frames[0][0].height * _GIF_WIDTH / frames[0][0].width)
    small = [f.resize((_GIF_WIDTH, height), Image.Resampling.LANCZOS) for f, _ in frames]
    palette = _palette(small)
    # One palette and no dithering: what does not change between frames is not stored again.
    indexed = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in small]
    buffer = io.BytesIO()
    indexed[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=[1000 * times // FPS for _, times in frames],
        loop=0,
        optimize=True,  # what does not change is left transparent
        disposal=1,
    )
    return buffer.getvalue()


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Colours for all frames, from some of them.

    Every colour counts once, however much of the picture it fills: a small amber light matters as
    much as a lawn.
    """
    chosen = {i * (len(frames) - 1) // (_PALETTE_FRAMES - 1) for i in range(_PALETTE_FRAMES)}
    codes: set[int] = set()
    for i in chosen:
        red, green, blue = (np.asarray(frames[i], np.uint32) >> 2).transpose(2, 0, 1)
        codes.update(np.unique(red << 16 | green << 8 | blue).tolist())
    colours = [[code >> 16 & 255, code >> 8 & 255, code & 255] for code in sorted(codes)]
    coarse = np.array([colours]) << 2 | 2
    sheet = Image.fromarray(coarse.astype(np.uint8))
    return sheet.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _mp4(frames: Iterator[tuple[Image.Image, int]]) -> bytes:
    import imageio.v2 as imageio

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        # yuv420p and an index at the front: what browsers and players expect.
        with imageio.get_writer(
            path,
            fps=FPS,
            codec="libx264",
            quality=8,
            macro_block_size=2,
            pixelformat="yuv420p",
            output_params=["-movflags", "+faststart", "-threads", "1"],
        ) as writer:
            for picture, times in frames:
                pixels = np.asarray(picture)
                for _ in range(times):
                    writer.append_data(pixels)  # pyright: ignore[reportAttributeAccessIssue]
        return path.read_bytes()
