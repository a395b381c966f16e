"""One frame of a film: the scene, and beside it what is seen, done and broken."""

from __future__ import annotations

from PIL import Image

from verifier.vocabulary import Vocabulary
from worlds.recording import lettering as ink
from worlds.recording.film import Film, Shot
from worlds.recording.words import (
    chips,
    deed,
    deed_colour,
    judgement,
    outcome,
    sentence,
)

SIZE = (1280, 720)
"""Width and height of a frame in pixels."""

_MARGIN = 28
_SCENE = (_MARGIN, _MARGIN, 696, 628)
_PANEL = 728
_WIDTH = SIZE[0] - _MARGIN - _PANEL
_BAR = (_MARGIN, 664, SIZE[0] - _MARGIN, 690)
_STEP = 17
_STEP_LINE = ink.line_height(_STEP)
_BELOW_PLAN = 206
"""Pixels that action, rules and the gaps between them need above the bar."""


def frame(film: Film, index: int, words: Vocabulary, *, ended: bool = False) -> Image.Image:
    """The frame of a shot.

    Args:
        film: The film.
        index: Of the shot.
        words: The domain.
        ended: Show what became of the episode.

    Returns:
        An RGB image of `SIZE`.
    """
    shot = film.shots[index]
    image, draw = ink.blank(*SIZE)
    _scene(image, draw, film, shot, words, ended)
    y = _head(draw, film, shot)
    y = _seen(draw, y, film, shot, words)
    y = _plan(draw, y + 12, film, shot)
    y = _done(draw, y + 10, film, shot, words)
    _broken(draw, y + 18, film, shot)
    _timeline(draw, film, shot)
    return image


def _scene(
    image: Image.Image, draw: ink.Draw, film: Film, shot: Shot, words: Vocabulary, ended: bool
) -> None:
    left, top, right, bottom = _SCENE
    picture = ink.fitted(Image.fromarray(shot.picture), right - left, bottom - top)
    x = left + (right - left - picture.width) // 2
    y = top + (bottom - top - picture.height) // 2
    image.paste(picture, (x, y))
    breaking = bool(film.broken_at(shot.decision))
    crashed = ended and film.episode.outcome == "collision"
    box = (x - 3, y - 3, x + picture.width + 2, y + picture.height + 2)
    if breaking or crashed:
        draw.rectangle(box, outline=ink.RED, width=6)
    else:
        draw.rectangle(box, outline=ink.FAINT, width=3)
    if ended:
        text, well = outcome(film.episode, words)
        width = ink.pill_width(text, 26)
        at = (left + (right - left - width) // 2, y + picture.height - 74)
        ink.pill(draw, at, text, 26, fill=ink.GREEN if well else ink.RED)


def _head(draw: ink.Draw, film: Film, shot: Shot) -> int:
    title = film.title or film.episode.simulator
    size = next((s for s in (26, 23) if ink.width_of(title, s, "bold") <= _WIDTH), 21)
    lines = ink.wrap(title, _WIDTH, size, "bold", most=2)
    y = ink.write(draw, (_PANEL, _MARGIN - 2), lines, size, weight="bold")
    right = SIZE[0] - _MARGIN
    clock = f"{shot.seconds:.1f} s  ·  {3.6 * shot.speed:.0f} km/h"
    ink.write(draw, (right, y), clock, 17, weight="bold", align="right")
    place = f"{film.episode.simulator}, seed {film.episode.seed}"
    room = _WIDTH - ink.width_of(clock, 17, "bold") - 20
    return ink.write(draw, (_PANEL, y), ink.wrap(place, room, 17, most=1), 17, ink.SOFT) + 14


def _seen(draw: ink.Draw, y: int, film: Film, shot: Shot, words: Vocabulary) -> int:
    y = ink.heading(draw, (_PANEL, y), "sees")
    decision = film.episode.decisions[shot.decision]
    shown = chips(decision, film.propositions, words)
    size = 17 if len(shown) <= 8 else 15
    widths = [ink.pill_width(chip.text, size) for chip in shown]
    for row in ink.rows_of(widths, _WIDTH, 8):
        x = _PANEL
        for i in row:
            chip = shown[i]
            width, _ = ink.pill(
                draw,
                (x, y),
                chip.text,
                size,
                fill=chip.colour if chip.holds else None,
                colour=ink.CARD if chip.holds else "#a3abb6",
                outline=ink.RED if chip.mistaken else (chip.colour if chip.holds else ink.FAINT),
            )
            x += width + 8
        y += round(size * 1.85) + 8
    return y


def _plan(draw: ink.Draw, y: int, film: Film, shot: Shot) -> int:
    """The controller's steps with the current one marked; only that one if there are many."""
    decision = film.episode.decisions[shot.decision]
    if not film.steps:
        y = ink.heading(draw, (_PANEL, y), "controller")
        return ink.write(draw, (_PANEL, y), sentence(decision, film.steps), 19, weight="bold")
    y = ink.heading(draw, (_PANEL, y), "follows")
    numbers = range(1, len(film.steps) + 1)
    if y + _plan_height(film.steps) > _BAR[1] - _BELOW_PLAN:
        numbers = [] if decision.step is None else [decision.step]
    for number in numbers:
        y = _step(draw, y, film.steps[number - 1], number, number == decision.step)
    if decision.step is None:
        y = ink.write(
            draw, (_PANEL + 30, y), sentence(decision, film.steps), _STEP, ink.SLATE, "bold"
        )
    return y


def _plan_height(steps: tuple[str, ...]) -> int:
    """Of all steps, whichever is the current one: so that nothing jumps while a film runs."""
    longest = max(len(_step_lines(text, current=True)) for text in steps)
    return len(steps) * (_STEP_LINE + 4) + (longest - 1) * _STEP_LINE + 8


def _step_lines(text: str, *, current: bool) -> list[str]:
    weight, most = ("bold", 3) if current else ("regular", 1)
    return ink.wrap(text, _WIDTH - 42, _STEP, weight, most)


def _step(draw: ink.Draw, y: int, text: str, number: int, current: bool) -> int:
    lines = _step_lines(text, current=current)
    height = len(lines) * _STEP_LINE + 4
    if current:
        ink.card(draw, (_PANEL - 8, y - 2, _PANEL + _WIDTH, y + height), outline=ink.BLUE)
    weight = "bold" if current else "regular"
    ink.write(
        draw, (_PANEL + 4, y + 2), f"{number}", _STEP, ink.BLUE if current else ink.SOFT, weight
    )
    ink.write(draw, (_PANEL + 30, y + 2), lines, _STEP, ink.INK if current else ink.SOFT, weight)
    return y + height + (4 if current else 0)


def _done(draw: ink.Draw, y: int, film: Film, shot: Shot, words: Vocabulary) -> int:
    decision = film.episode.decisions[shot.decision]
    y = ink.heading(draw, (_PANEL, y), "does")
    _, height = ink.pill(draw, (_PANEL, y), deed(decision, words), 24, fill=deed_colour(decision))
    return y + height


def _broken(draw: ink.Draw, y: int, film: Film, shot: Shot) -> None:
    """The rules broken so far; the one that is being broken in full."""
    bottom = _BAR[1] - 18
    last = shot.seconds == film.shots[-1].seconds
    so_far = [
        v for v in film.violations if (last if v.decision is None else v.decision <= shot.decision)
    ]
    now = [v for v in so_far if v.decision == shot.decision or v.decision is None]
    if not so_far:
        y = ink.heading(draw, (_PANEL, y), "rules")
        ink.write(draw, (_PANEL, y), "✓ none broken so far", 19, ink.GREEN, "bold")
        return
    y = ink.heading(draw, (_PANEL, y), "breaks" if now else "has broken")
    for position, violation in enumerate(reversed(so_far)):
        current = violation in now
        most = 3 if current else 1
        size = 18 if current else 16
        text = violation.rule.text or violation.rule.formula
        lines = ink.wrap(text, _WIDTH - 46, size, "bold" if current else "regular", most)
        height = len(lines) * ink.line_height(size) + 18
        if y + height > bottom:
            rest = len(so_far) - position
            ink.write(draw, (_PANEL, bottom - 18), f"and {rest} more", 15, ink.RED)
            return
        if current:
            box = (_PANEL - 8, y - 2, _PANEL + _WIDTH, y + height - 8)
            ink.card(draw, box, ink.PALE_RED, ink.RED)
        ink.write(draw, (_PANEL + 4, y + 4), "✗", size, ink.RED, "bold")
        weight = "bold" if current else "regular"
        ink.write(draw, (_PANEL + 30, y + 4), lines, size, ink.RED, weight)
        y += height


def _timeline(draw: ink.Draw, film: Film, shot: Shot) -> None:
    left, top, right, bottom = _BAR
    decisions = film.episode.decisions
    end = max(film.shots[-1].seconds, 1.0)

    def at(seconds: float) -> float:
        return left + (right - left) * min(1.0, seconds / end)

    draw.rounded_rectangle((left, top, right, bottom), radius=6, fill=ink.FAINT)
    for i, decision in enumerate(decisions):
        start = at(decision.seconds)
        stop = at(decisions[i + 1].seconds if i + 1 < len(decisions) else end)
        if stop - start >= 1:
            colour = deed_colour(decision) if decision.seconds <= shot.seconds else "#c6cbd2"
            draw.rectangle((start, top, max(start, stop - 2), bottom), fill=colour)
    for violation in film.violations:
        x = at(end if violation.decision is None else decisions[violation.decision].seconds)
        draw.polygon([(x - 8, top - 13), (x + 8, top - 13), (x, top - 1)], fill=ink.RED)
        draw.line((x, top, x, bottom), fill=ink.RED, width=3)
    x = at(shot.seconds)
    draw.line((x, top - 5, x, bottom + 5), fill=ink.INK, width=3)
    ink.write(draw, (left, bottom + 4), "0 s", 14, ink.SOFT)
    ink.write(draw, (right, bottom + 4), f"{end:.0f} s", 14, ink.SOFT, align="right")
    text, well = judgement(film)
    colour = ink.GREEN if well else ink.RED
    ink.write(draw, ((left + right) // 2, bottom + 4), text, 14, colour, align="centre")
