"""The small parts that charts and sentences are made of."""

from itertools import pairwise

import pytest
from html_page import read

from pipeline.run_report.charts import Chart, Line, draw, smoothed, spread, thinned, ticks
from pipeline.run_report.headline import change
from pipeline.run_report.rules import RuleRow, held
from pipeline.run_report.stories import words_changed
from pipeline.run_report.wording import brief, count, duration, interval, percent, points
from worlds.statistics import Rate, wilson


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.5, 1]),
        (0, 15, [0, 5, 10, 15]),
        (0.43, 0.97, [0.4, 0.6, 0.8, 1.0]),
        (-6.4, 9.1, [-10, -5, 0, 5, 10]),
        (3, 3, [3, 4]),
    ],
)
def test_ticks_are_round_and_cover_the_values(low, high, expected):
    assert ticks(low, high) == expected


def test_labels_keep_their_order_and_their_distance():
    places = spread([50, 51, 10, 99], 0, 100, 14)
    assert places[2] < places[0] < places[1] < places[3]
    between = sorted(places)
    assert all(b - a >= 14 for a, b in pairwise(between))
    assert max(places) <= 100


def test_more_labels_than_fit_share_the_room():
    assert spread([5, 5, 5], 0, 10, 14) == [0, 5, 10]


def test_thinning_and_smoothing_keep_the_mean():
    points_ = [(float(x), float(x % 2)) for x in range(100)]
    thin = thinned(points_, 25)
    assert len(thin) == 25
    assert all(y == 0.5 for _, y in thin)
    assert smoothed([(0, 0), (1, 3), (2, 0)], 3) == [(0, 0), (1, 1), (2, 0)]


def test_a_chart_tells_its_values_on_hover():
    line = Line("a & b", [(0, 0.25), (1, 0.5)], "one", intervals=[(1, 0.4, 0.6)], marked=True)
    svg = draw(Chart("share", [line], lambda y: f"{y:.2f}", hover=lambda x: f"round {x:g}"))
    tree = read(str(svg)).one("svg")
    assert tree.attributes["aria-label"] == "share"
    told = [title.text for title in tree.all("title")]
    assert told == ["round 0 a & b: 0.25", "round 1 a & b: 0.50 (0.40 – 0.60)"]


def test_a_chart_of_one_point_and_of_none():
    assert "circle" in draw(Chart("one", [Line("a", [(3, 2)], "one")], str))
    assert draw(Chart("none", [], str)) == ""


def test_a_change_counts_only_if_the_interval_of_the_difference_leaves_out_zero():
    # Newcombe 1998, table II, case (a): 56/70 and 48/80, difference 0.0524 to 0.3339.
    assert change(wilson(48, 80), wilson(56, 70)) == "better"
    assert change(wilson(56, 70), wilson(48, 80)) == "worse"
    # Case (b): 9/10 and 3/10, 0.1705 to 0.8090, though the two intervals overlap.
    assert wilson(3, 10).high > wilson(9, 10).low
    assert change(wilson(3, 10), wilson(9, 10)) == "better"
    # Case (d): 5/56 and 0/29, -0.0381 to 0.1926.
    assert change(wilson(0, 29), wilson(5, 56)) == "unclear"
    low, middle, high = wilson(1, 100), wilson(3, 100), wilson(60, 100)
    assert change(low, high) == "better"
    assert change(high, low) == "worse"
    assert change(low, middle) == "unclear"
    assert change(Rate(None, 0, 1), high) == "unclear"


def test_a_rule_regresses_below_the_interval_before():
    def row(before, after):
        old, new = (
            {"satisfied": n, "violated": 100 - n, "inapplicable": 50} for n in (before, after)
        )
        return RuleRow("r", "", old, new, held(old), held(new))

    assert held({"satisfied": 1, "vacuous": 1, "violated": 2, "inapplicable": 9}).value == 0.5
    assert row(80, 60).regressed
    assert not row(80, 79).regressed
    assert row(80, 79).slipped
    assert not row(80, 80).slipped
    assert not row(80, 90).regressed


def test_words_that_changed():
    before, after = words_changed("If green, turn.", "If green and clear, turn.")
    assert "".join(text for text, _ in before) == "If green, turn."
    assert "".join(text for text, _ in after) == "If green and clear, turn."
    assert [text.strip() for text, new in after if new] == ["green and clear,"]


def test_numbers_in_words():
    assert percent(0.9215).replace("\u00a0", " ") == "92.2 %"
    assert percent(None) == "–"
    assert interval(Rate(None, 0, 1)) == ""
    assert points(-0.0004) == "0.0"
    assert points(-0.034) == "−3.4"
    assert [duration(s).replace("\u00a0", " ") for s in (8.21, 65, 3599, 12000)] == [
        "8.2 s", "1 min 5 s", "1 h", "3 h 20 min",
    ]  # fmt: skip
    assert count(1, "pair").replace("\u00a0", " ") == "1 pair"
    assert brief(0.000123) == "0.000123"
    assert brief(-1234.5) == "−1\u202f234"
    assert brief(0.00001234) == "1.23·10^−5"
