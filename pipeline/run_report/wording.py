"""Numbers and sentences as the page writes them."""

from __future__ import annotations

from datetime import datetime

from worlds.statistics import Rate

NONE = "–"
_GAP = "\u00a0"  # keeps a number and its unit on one line
_JOIN = "\u2060"  # and an interval, which would break after its dash


def percent(value: float | None, digits: int = 1) -> str:
    """ "92.2 %"; a dash where there is no value."""
    return NONE if value is None else f"{100 * value:.{digits}f}{_GAP}%"


def interval(rate: Rate, digits: int = 1) -> str:
    """ "87.4 – 95.3"; nothing where there is no value."""
    if rate.value is None:
        return ""
    return f"{100 * rate.low:.{digits}f}{_GAP}–{_JOIN}{_GAP}{100 * rate.high:.{digits}f}"


def rate_text(rate: Rate) -> str:
    """ "92.2 % [87.4 – 95.3]"."""
    return NONE if rate.value is None else f"{percent(rate.value)} [{interval(rate)}]"


def number(value: float | None, digits: int = 0) -> str:
    """ "12,345"; a dash where there is no value."""
    return NONE if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def brief(value: float | None) -> str:
    """Three significant digits: "0.0123", "1.23", "−45.6"; a dash where there is no value."""
    if value is None:
        return NONE
    text = f"{value:.3g}" if abs(value) < 1000 else number(value)
    if "e" in text:
        mantissa, _, power = text.partition("e")
        return f"{mantissa}·10^{int(power)}".replace("-", "−")
    return text.replace("-", "−")


def points(change: float) -> str:
    """A change of a rate in points: "+12.0", "−3.4", "0.0"."""
    rounded = round(100 * change, 1)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
    return f"{sign}{abs(rounded):.1f}"


def duration(seconds: float | None) -> str:
    """ "3 h 20 min", "7 min 5 s", "8.2 s"."""
    if seconds is None:
        return NONE
    if seconds < 9.95:
        return f"{seconds:.1f}{_GAP}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{_GAP}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}{_GAP}min" + (f" {rest}{_GAP}s" if rest else "")
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minutes}{_GAP}min"
    return f"{hours}{_GAP}h" + (f" {minutes}{_GAP}min" if minutes else "")


def date(text: str) -> str:
    """ "25 November 2026" of an ISO time; the text itself if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day} {moment:%B %Y}"


def count(how_many: int, what: str, many: str | None = None) -> str:
    """ "1 task", "3 tasks"."""
    return f"{number(how_many)}{_GAP}{what if how_many == 1 else many or what + 's'}"
