"""Trial drives on the page: before and after, and the worst drives inside the page."""

from __future__ import annotations

import base64
import io
import json
import shutil

import pytest
from html_page import read
from PIL import Image

from pipeline.run_report import run_page
from verifier.errors import InputError


def rate(value):
    return {"value": value, "low": value / 2, "high": min(1.0, value + 0.1)}


def trials(kept, worst):
    return {
        "simulator": "sumo",
        "episodes_per_answer": 5,
        "answers": 12,
        "rules": {"road": {"yield_to_left": rate(kept)}, "paper": {"phi_5": rate(kept)}},
        "driving": {"finished": rate(0.8), "collision": rate(0.1), "seconds_to_finish": 9.5},
        "worst": worst,
    }


def picture():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def run(full, tmp_path):
    return shutil.copytree(full, tmp_path / "run")


@pytest.fixture
def champion(run):
    return run / json.loads((run / "select" / "selection.json").read_text())["champion"]


def write(folder, kept, worst=None):
    (folder / "evaluate" / "trials.json").write_text(json.dumps(trials(kept, worst)))
    if worst:
        (folder / "evaluate" / "worst.png").write_bytes(picture())


def test_before_and_after_with_the_worst_of_both(run, champion):
    collision = {"broken": ["yield_to_left"], "outcome": "collision"}
    write(run / "round-00", 0.4, collision)
    write(champion, 0.9, {"broken": ["pedestrian_ahead"], "outcome": "finished"})
    section = read(run_page(run)).one("section", id="trials")
    assert "driven in SUMO: 5 episodes" in section.text
    rows = {tr.one("th").text: tr.text for tr in section.all("tr") if tr.all("td")}
    (line,) = [text for name, text in rows.items() if name.startswith("yield to left")]
    assert line.index("40.0 %") < line.index("90.0 %")
    assert not [name for name in rows if name.startswith("yield to right")]  # nowhere applicable
    assert [h3.text for h3 in section.all("h3")] == [
        "The worst drive, base",
        f"The worst drive, round {int(champion.name[-2:])}",
    ]
    assert section.text.count("It ends in a collision.") == 1
    data = base64.b64encode(picture()).decode()
    assert [i.attributes["src"] for i in section.all("img")] == [
        f"data:image/png;base64,{data}"
    ] * 2


def test_only_the_champion_was_driven(run, champion):
    write(champion, 0.9)
    section = read(run_page(run)).one("section", id="trials")
    assert "before" not in section.text
    assert not section.all("img")


def test_nothing_was_driven(run):
    tree = read(run_page(run))
    assert "In traffic" not in tree.text


def test_a_broken_file_is_named(run, champion):
    (champion / "evaluate" / "trials.json").write_text("{")
    with pytest.raises(InputError, match=r"trials\.json: cannot be read"):
        run_page(run)
