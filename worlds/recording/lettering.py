"""Type and small shapes for pictures: fonts, wrapped text, pills, cards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import matplotlib
from PIL import Image, ImageDraw, ImageFont

Colour = str
Draw = ImageDraw.ImageDraw
Weight = Literal["regular", "bold"]

PAPER, CARD, INK, SOFT, FAINT = "#f6f4ef", "#ffffff", "#1d2430", "#5f6b7a", "#d9dce1"
BLUE, RED, GREEN, AMBER, PURPLE = "#1f5fbf", "#c92a2a", "#2b8a3e", "#b7791f", "#7b3fa0"
PALE_RED, PALE_GREEN, SLATE = "#fdecea", "#e8f5ea", "#4a5568"

_FILES = {"regular": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}


@cache
def font(size: int, weight: Weight = "regular") -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has arrows and check marks."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / _FILES[weight]), size)


def blank(width: int, height: int) -> tuple[Image.Image, Draw]:
    """A sheet of paper and the pen for it."""
    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)


def width_of(text: str, size: int, weight: Weight = "regular") -> int:
    """Pixels that one line of text takes."""
    return round(font(size, weight).getlength(text))


def wrap(text: str, width: int, size: int, weight: Weight = "regular", most: int = 99) -> list[str]:
    """Lines of at most ``width`` pixels; what is beyond ``most`` lines ends in an ellipsis."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer, size, weight) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = lines[:most]
        while lines[-1] and width_of(lines[-1] + " …", size, weight) > width:
            lines[-1] = lines[-1].rpartition(" ")[0]
        lines[-1] += " …"
    return lines


def line_height(size: int) -> int:
    """Pixels from one line to the next."""
    return round(size * 1.38)


def write(
    draw: Draw,
    at: tuple[int, int],
    lines: str | Sequence[str],
    size: int,
    colour: Colour = INK,
    weight: Weight = "regular",
    align: Literal["left", "right", "centre"] = "left",
) -> int:
    """Write lines with the top of the first at ``at``; the y below the last one."""
    anchor = {"left": "la", "right": "ra", "centre": "ma"}[align]
    x, y = at
    for line in [lines] if isinstance(lines, str) else lines:
        draw.text((x, y), line, font=font(size, weight), fill=colour, anchor=anchor)
        y += line_height(size)
    return y


def heading(draw: Draw, at: tuple[int, int], text: str, size: int = 15) -> int:
    """A small heading in capitals; the y below it."""
    x, y = at
    for letter in text.upper():
        draw.text((x, y), letter, font=font(size, "bold"), fill=SOFT)
        x += width_of(letter, size, "bold") + 1.5
    return y + line_height(size) + 3


def pill(
    draw: Draw,
    at: tuple[int, int],
    text: str,
    size: int,
    *,
    fill: Colour | None = None,
    colour: Colour = CARD,
    outline: Colour | None = None,
    weight: Weight = "bold",
) -> tuple[int, int]:
    """Text in a rounded box; its width and height."""
    x, y = at
    width, height = pill_width(text, size, weight), round(size * 1.85)
    draw.rounded_rectangle(
        (x, y, x + width, y + height), radius=height / 2, fill=fill, outline=outline, width=2
    )
    draw.text(
        (x + width / 2, y + height / 2), text, font=font(size, weight), fill=colour, anchor="mm"
    )
    return width, height


def pill_width(text: str, size: int, weight: Weight = "bold") -> int:
    """Width of a `pill`."""
    return width_of(text, size, weight) + round(size * 1.5)


def rows_of(widths: Iterable[int], available: int, gap: int) -> list[list[int]]:
    """Indices of boxes, broken into rows that fit."""
    rows: list[list[int]] = [[]]
    used = 0
    for index, width in enumerate(widths):
        if rows[-1] and used + width > available:
            rows.append([])
            used = 0
        rows[-1].append(index)
        used += width + gap
    return rows


def card(
    draw: Draw,
    box: tuple[int, int, int, int],
    fill: Colour = CARD,
    outline: Colour | None = None,
) -> None:
    """A rounded sheet."""
    draw.rounded_rectangle(box, radius=12, fill=fill, outline=outline, width=3)


def fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture as large as it fits."""
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)
