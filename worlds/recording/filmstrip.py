"""An episode in a few pictures: the decisions that matter, with what was seen, done and broken."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from verifier.vocabulary import Vocabulary
from worlds.recording import lettering as ink
from worlds.recording.film import Film, Shot
from worlds.recording.words import (
    deed,
    deed_colour,
    judgement,
    label_line,
    outcome,
    sentence,
)
from worlds.simulation.interface import STOP

COLUMNS = 3
_CELL = 460
_PICTURE = 400
_GAP = 24
_MARGIN = 32


def filmstrip(film: Film, words: Vocabulary, most: int = 6) -> bytes:
    """A PNG of the most telling decisions, and of the end.

    Args:
        film: The film.
        words: The domain.
        most: Pictures at most, the end included.

    Returns:
        The contents of a PNG file.
    """
    cells = [_cell(film, shot, words) for shot in _moments(film, most)]
    columns = min(COLUMNS, len(cells))
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    width = max(2 * _MARGIN + columns * _CELL + (columns - 1) * _GAP, 900)
    head = _head(film, words, width)
    height = head.height + sum(heights) + (len(rows) - 1) * _GAP + _MARGIN
    sheet, _ = ink.blank(width, height)
    sheet.paste(head, (0, 0))
    y = head.height
    for row, tall in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (_MARGIN + column * (_CELL + _GAP), y))
        y += tall + _GAP
    buffer = io.BytesIO()
    sheet.quantize(200, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def key_decisions(film: Film, most: int) -> list[int]:
    """The decisions to show: first, breaking, moving and last ones, then those between.

    Decisions behind the place are left out unless they break a rule.
    """
    decisions = film.episode.decisions
    ahead = len(decisions) - film.episode.closing
    breaking = [v.decision for v in film.violations if v.decision is not None]
    moving = [i for i in range(ahead) if decisions[i].action not in (None, STOP)]
    changes = [i for i in range(1, ahead) if decisions[i].label != decisions[i - 1].label]
    wanted = [*breaking, *moving[:1], 0, *moving[1:], *_spread(changes, most)]
    found: list[int] = []
    for decision in wanted:
        if decision not in found and len(found) < most:
            found.append(decision)
    return sorted(found)


def _spread(items: Sequence[int], most: int) -> list[int]:
    """At most so many of the items, evenly."""
    if len(items) <= most:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * most)] for i in range(most)]


def _moments(film: Film, most: int) -> list[Shot | None]:
    """The pictures of the key decisions; None is the end."""
    return [*(film.look(i) for i in key_decisions(film, max(1, most - 1))), None]


def _head(film: Film, words: Vocabulary, width: int) -> Image.Image:
    image, draw = ink.blank(width, 124)
    y = ink.write(draw, (_MARGIN, 24), film.title or film.episode.simulator, 30, weight="bold")
    place = f"{film.episode.simulator}, seed {film.episode.seed}"
    ink.write(draw, (_MARGIN, y + 2), place, 20, ink.SOFT)
    right = width - _MARGIN
    for number, (text, well) in enumerate((outcome(film.episode, words), judgement(film))):
        colour = ink.GREEN if well else ink.RED
        size, weight = (24, "bold") if number == 0 else (20, "regular")
        ink.write(draw, (right, 28 + 40 * number), text, size, colour, weight, "right")
    return image


def _cell(film: Film, shot: Shot | None, words: Vocabulary) -> Image.Image:
    last = film.shots[-1]
    at = shot or last
    decision = film.episode.decisions[at.decision]
    broken = [v for v in film.violations if shot is not None and v.decision == at.decision]
    if shot is None:
        broken = [v for v in film.violations if v.decision is None]
    image, draw = ink.blank(_CELL, 1200)
    picture = ink.fitted(Image.fromarray(at.picture), _CELL - 8, _PICTURE)
    x = (_CELL - picture.width) // 2
    image.paste(picture, (x, 4))
    crashed = shot is None and film.episode.outcome == "collision"
    colour = ink.RED if broken or crashed else ink.FAINT
    draw.rectangle((x - 3, 1, x + picture.width + 2, picture.height + 6), outline=colour, width=4)
    y = picture.height + 18
    clock = f"{at.seconds:.0f} s"
    ink.write(draw, (_CELL - 2, y + 4), clock, 20, ink.SOFT, "bold", "right")
    if shot is None:
        text, well = outcome(film.episode, words)
        lines = ink.wrap(text, _CELL - 90, 20, "bold")
        y = ink.write(draw, (2, y + 4), lines, 20, ink.GREEN if well else ink.RED, "bold") + 6
    else:
        _, height = ink.pill(draw, (0, y), deed(decision, words), 20, fill=deed_colour(decision))
        y += height + 10
        seen = ink.wrap(f"Sees {label_line(decision, words)}.", _CELL - 4, 18, most=3)
        y = ink.write(draw, (2, y), seen, 18, ink.INK) + 4
        number = "" if decision.step is None else f"{decision.step}. "
        text = number + sentence(decision, film.steps)
        y = ink.write(draw, (2, y), ink.wrap(text, _CELL - 4, 18, most=3), 18, ink.SOFT) + 6
    for violation in broken:
        y = _card(draw, y, violation.rule.text or violation.rule.formula)
    return image.crop((0, 0, _CELL, y + 6))


def _card(draw: ink.Draw, y: int, text: str) -> int:
    lines = ink.wrap(text, _CELL - 48, 18, "bold", most=4)
    height = len(lines) * ink.line_height(18) + 14
    ink.card(draw, (1, y, _CELL - 2, y + height), ink.PALE_RED, ink.RED)
    ink.write(draw, (12, y + 8), "✗", 18, ink.RED, "bold")
    ink.write(draw, (36, y + 8), lines, 18, ink.RED, "bold")
    return y + height + 8
