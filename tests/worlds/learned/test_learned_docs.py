"""docs/learned_worlds.md: its commands print what it says."""

import re
from pathlib import Path

from pipeline.cli import run

PAGE = Path(__file__).parents[3] / "docs" / "learned_worlds.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"```(?:yaml)?\n# (\S+)\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = re.findall(r"```console\n\$ specdrive (.*?)\n(.*?)```", TEXT, re.DOTALL)


def test_commands_print_what_the_page_says(tmp_path, monkeypatch, capsys):
    """In their order: each uses the files of those before it."""
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(content, encoding="utf-8")
    assert len(COMMANDS) == 5
    for command, printed in COMMANDS:
        run(command.split())
        captured = capsys.readouterr()
        lines = [line.rstrip() for line in (captured.out + captured.err).splitlines()]
        expected = printed.splitlines()
        if expected[0] == "...":
            expected = expected[1:]
            lines = lines[-len(expected) :]
        assert lines == expected


def test_pictures_are_there():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", TEXT):
        assert (PAGE.parent / picture).stat().st_size > 1000


def test_links_lead_somewhere():
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("## ")
    }
    for anchor in re.findall(r"\]\(#(.*?)\)", TEXT):
        assert anchor in headings
