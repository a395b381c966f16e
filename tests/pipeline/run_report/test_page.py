"""The page: one file, well-formed, safe, and saying what the run's folder says."""

import json
import re

import pytest
from fake_run import HOSTILE
from html_page import Element, read

from pipeline.run_report import run_page, write_report


@pytest.fixture(scope="module")
def page(full) -> str:
    return run_page(full)


@pytest.fixture(scope="module")
def tree(page) -> Element:
    return read(page)


def summary(run, place):
    return json.loads((run / place / "evaluate" / "summary.json").read_text())


def percent(value):
    return f"{100 * value:.1f} %"


def interval(rate):
    return f"{100 * rate['low']:.1f} – {100 * rate['high']:.1f}"


def row(table, label):
    return next(tr for tr in table.all("tr") if tr.all("th") and label in tr.one("th").text)


def test_is_written_into_the_runs_folder(full, page):
    path = write_report(full)
    assert path == full / "report" / "index.html"
    assert path.read_text(encoding="utf-8") == page
    assert path.stat().st_size < 3_000_000


def test_needs_nothing_from_outside(page, tree):
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", page)
    assert not tree.all("link")
    assert not tree.all("img")
    assert not [
        e for e in tree.all() if {"src", "srcset", "action", "xlink:href"} & {*e.attributes}
    ]
    assert all(a.attributes["href"].startswith("#") for a in tree.all("a"))
    (policy,) = [m for m in tree.all("meta") if "http-equiv" in m.attributes]
    assert "default-src 'none'" in policy.attributes["content"]


def test_is_well_formed_and_its_links_lead_somewhere(tree):
    ids = [element.attributes["id"] for element in tree.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    links = [a.attributes["href"] for a in tree.one("nav").all("a")]
    assert len(links) >= 10
    assert {link.removeprefix("#") for link in links} == set(ids)
    assert all(svg.attributes.get("aria-label") for svg in tree.all("svg", class_="chart"))
    assert tree.one("html").attributes["lang"] == "en"
    assert len(tree.all("h1")) == 1


def test_equal_runs_give_equal_pages(full, page):
    assert run_page(full) == page


def test_the_title_and_the_rates_on_top_are_those_of_the_champion(full, tree):
    champion = json.loads((full / "select" / "selection.json").read_text())["champion"]
    old = summary(full, "round-00")["splits"]["test"]
    new = summary(full, champion)["splits"]["test"]
    for metric in ("strict_success", "paper_score", "parse_rate"):
        (shown,) = [e for e in tree.all("div") if e.attributes.get("data-metric") == metric]
        assert shown.one(class_="old").text == percent(old[metric]["value"])
        assert shown.one(class_="new").text == percent(new[metric]["value"])
        told = shown.one("p", class_="interval").text
        assert told == f"before {interval(old[metric])} after {interval(new[metric])}"
    assert new["strict_success"]["low"] > old["strict_success"]["high"]
    span = f"from {percent(old['strict_success']['value'])} to "
    assert tree.one("h1").text == (
        f"Answers proven correct: {span}{percent(new['strict_success']['value'])}"
    )


@pytest.mark.parametrize(
    ("label", "place"),
    [
        ("base before", "round-00"),
        ("round 1 trained", "round-01"),
        ("round 2", "round-02"),
        ("no repair", "variants/no_repair"),
        ("paper count", "variants/paper_count"),
    ],
)
def test_every_way_of_answering_has_its_numbers(full, tree, label, place):
    scores = summary(full, place)["splits"]["test"]
    cells = row(tree.one("table", class_="ways"), label).all("td")
    for cell, metric in zip(cells, ("strict_success", "paper_score"), strict=False):
        assert cell.text == f"{percent(scores[metric]['value'])} {interval(scores[metric])}"
    assert cells[2].text == percent(scores["parse_rate"]["value"])
    assert cells[3].text == str(scores["distinct_correct"])
    mix = cells[5].one(class_="stack").attributes["aria-label"]
    assert sum(map(int, re.findall(r"\d+", mix))) == scores["answers"]
    correct = re.search(r"(\d+) proven correct", mix)
    expected = round(scores["strict_success"]["value"] * scores["answers"])
    assert int(correct[1] if correct else 0) == expected


def test_best_of_n_and_trivial_controllers_stand_beside(full, tree):
    table = tree.one("table", class_="ways")
    base = summary(full, "round-00")
    cells = row(table, f"base, best of {base['best_of']['n']}").all("td")
    assert cells[0].text.startswith(percent(base["best_of"]["strict_success"]["value"]))
    trivial = summary(full, "round-02")["trivial"]["always_stop"]
    cells = row(table, "always stop").all("td")
    assert cells[0].text.startswith(percent(trivial["strict_success"]["value"]))
    assert cells[1].text.startswith(percent(trivial["paper_score"]["value"]))


def test_variants_say_what_they_change_and_how_they_compare(full, tree):
    one = summary(full, "round-01")["splits"]["test"]["strict_success"]["value"]
    other = summary(full, "variants/no_repair")["splits"]["test"]["strict_success"]["value"]
    note = row(tree.one("table", class_="ways"), "no repair").one("small").text
    assert note.startswith("without pairs made by repair: ")
    change = round(100 * (other - one), 1)
    assert f"{abs(change):.1f} points on round 1" in note
    assert ("−" in note) == (change < 0)


def test_splits_by_round(full, tree):
    table = tree.one("table", class_="rounds")
    heads = [th.text for th in table.one("thead").all("th")][1:]
    splits = ["train", "validation", "test", "test_known_worlds", "test_new_worlds"]
    assert len(heads) == len(splits)
    scores = summary(full, "round-02")["splits"]
    for cell, split in zip(row(table, "round 2").all("td"), splits, strict=True):
        rate = scores[split]["strict_success"]
        assert cell.text == f"{percent(rate['value'])} {interval(rate)}"


def test_pairs_and_costs(full, tree):
    ranking = json.loads((full / "round-01" / "rank" / "summary.json").read_text())
    table = tree.one("section", id="sources").all("table")[1]
    cells = [cell.text for cell in row(table, "round 1").all("td")]
    sources = [
        ranking["by_source"].get(s, 0) for s in ("samples", "symbolic_repair", "model_repair")
    ]
    assert cells[:5] == [str(n) for n in (ranking["pairs"], ranking["tasks"], *sources)]
    curves = (full / "round-01" / "train" / "summary.json").read_text()
    margin = json.loads(curves)["final"]["margin"]
    finals = tree.one("table", class_="finals")
    assert row(finals, "marginal preference: margin").one("td").text == f"{margin:.3g}"
    seconds = sum(json.loads(p.read_text())["seconds"] for p in full.rglob("manifest.json"))
    hours, minutes = divmod(round(seconds / 60), 60)
    assert tree.one("dl", class_="facts").one("dd").text == f"{hours} h {minutes} min"


def test_figures_stories_and_pictures_are_there(tree):
    charts = [svg.attributes["aria-label"] for svg in tree.all("svg", class_="chart")]
    for what in ("Loss", "accuracy", "Marginal", "Divergence", "Length drift", "Specifications"):
        assert any(what in chart for chart in charts), what
    films = tree.all("div", class_="film")
    assert films
    assert all("the rule is broken" in film.text or "for ever" in film.text for film in films)
    assert tree.one("section", id="before-after").all("article", class_="wrong")
    assert tree.one("section", id="before-after").all("article", class_="right")
    assert tree.one("section", id="repair").all("ins")


def test_markup_in_answers_tasks_and_configuration_stays_text(hostile):
    page = run_page(hostile)
    assert "alert(" in page  # it is shown
    tree = read(page)
    assert len(tree.all("script")) == 1
    assert "alert(" not in tree.one("script").text
    assert not tree.all("img")
    assert not [e for e in tree.all() if any(name.startswith("on") for name in e.attributes)]
    assert HOSTILE in tree.one("header").text
    assert HOSTILE in tree.one("section", id="making").all("pre")[0].text
