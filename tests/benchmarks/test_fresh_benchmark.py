"""What is told of the bank ``fresh``."""

from benchmarks.fresh import rows_of


def card(success, worlds):
    rate = {"value": success, "low": success / 2, "high": 1.0}
    tasks = {
        f"t{number}": {"world": world, "strict_success": {"value": value}}
        for number, (world, value) in enumerate(worlds)
    }
    scores = dict.fromkeys(("strict_success", "paper_score", "parse_rate"), rate)
    return {"answers": 6, "tasks": tasks, **scores}


def test_places_made_for_the_bank_are_told_apart():
    worlds = [("traffic_light", 1.0), ("/somewhere/fresh/ferry_landing.yaml", 0.5)]
    rows = rows_of(card(0.1, worlds), card(0.75, worlds))
    first = rows[0]
    assert (first.value, first.peer_value) == (75.0, 10.0)
    assert "38 to 100" in first.note
    places = {row.what: row.value for row in rows[3:]}
    assert places == {
        "answers proven correct, in shipped worlds": 100.0,
        "answers proven correct, in places made for the bank": 50.0,
    }
