"""The demonstration's report: one self-contained page that needs no network."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pipeline.demo import Demo, drawings, worst_verdict
from pipeline.evaluation import PROGRESS
from verifier.drawing import render
from verifier.rules import RuleBook, load_rules
from verifier.verdicts import VERDICT_VALUES
from verifier.vocabulary import Vocabulary

_HEADER_END = "<svg"


def demo_page(demo: Demo, vocabulary: Vocabulary) -> str:
    """The page as HTML, with its pictures inside."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = files("pipeline").joinpath("data/report/demo.html.jinja").read_text("utf-8")
    pictures = {name: _inline(dot) for name, dot in drawings(demo, vocabulary).items()}
    return environment.from_string(template).render(
        demo=demo,
        values=VERDICT_VALUES,
        pictures=pictures,
        worst_verdict=worst_verdict(demo.worst) if demo.worst else None,
        rules=_rules(demo, load_rules("paper", vocabulary)),
        answers=sum(len(one.judged) for one in demo.series[:-1]),
    )


def _inline(dot: str) -> Markup:
    svg = render(dot, "svg").decode()
    return Markup(svg[svg.index(_HEADER_END) :])


def _rules(demo: Demo, paper: RuleBook) -> list[tuple[str, str, str, list[dict[str, int]]]]:
    """(book, rule, sentence, verdict counts per series) in the books' order."""
    books = (item.rules for item in demo.series[0].judged)
    texts = {s.id: s.text for book in (*books, paper) for s in book.specifications}
    texts[PROGRESS] = "The task gets done: the manoeuvre is made in the end."
    keys = dict.fromkeys(key for one in demo.series for key in one.summary.rules)
    return [
        (
            book,
            rule,
            texts.get(rule, ""),
            [one.summary.rules.get((book, rule), {}) for one in demo.series],
        )
        for book, rule in sorted(keys, key=lambda key: key[0] != "road")
    ]
