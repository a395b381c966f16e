"""docs/worlds.md: its files are valid, its commands print what it says, its tables are complete."""

import re
from pathlib import Path

import pytest
from reference_controllers import ROAD, VOCABULARY

from pipeline.cli import run
from worlds.load import load_world, sensible_actions, shipped_worlds

PAGE = Path(__file__).parents[2] / "docs" / "worlds.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = re.findall(r"```console\n\$ specdrive (.*?)\n(.*?)```", TEXT, re.DOTALL)
ROWS = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in TEXT.splitlines()]


@pytest.mark.parametrize(("command", "printed"), COMMANDS)
def test_commands_print_what_the_page_says(command, printed, tmp_path, monkeypatch, capsys):
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run(command.split())
    captured = capsys.readouterr()
    lines = (captured.out + captured.err).splitlines()
    assert [line.rstrip() for line in lines] == printed.splitlines()


def test_every_scenario_is_listed_with_its_size():
    rows = {row[0]: row for row in ROWS if len(row) == 5 and row[0].startswith("`")}
    expected = {}
    for name in shipped_worlds():
        world = load_world(name, VOCABULARY)
        size = f"{len(world.states):,}", f"{world.num_transitions:,}"
        expected[f"`{name}`"] = (*size, ", ".join(sensible_actions(name, VOCABULARY)))
    assert {name: tuple(row[2:]) for name, row in rows.items()} == expected


def test_every_scenario_is_explained():
    explained = [row[0].strip("`") for row in ROWS if len(row) == 3 and row[0].startswith("`")]
    assert explained == list(shipped_worlds())


def test_every_rule_is_explained():
    rows = {row[0].strip("`"): row for row in ROWS if len(row) == 4 and row[0].startswith("`")}
    assert list(rows) == [specification.id for specification in ROAD.specifications]
    for specification in ROAD.specifications:
        shown = rows[specification.id][1].strip("`").replace("\\|", "|")
        shown = shown.replace("moving", "(turn_left | turn_right | go_straight)")
        assert _canonical(shown) == _canonical(specification.formula)


def _canonical(formula: str) -> str:
    from verifier.bindings import spot

    return str(spot.formula(formula))
