"""docs/results.md from docs/results/*.json: ``python -m benchmarks.report``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.learning import page as learning_page
from benchmarks.results import FOLDER, Row, cells

PAGE = FOLDER.parent / "results.md"

_HEAD = """# Results

Generated from `docs/results/*.json` by `python -m benchmarks.report`; do not edit. Each section
says how to measure again. Values beside a peer come from the same run on the same machine.
"""
_COLUMNS = "| what | ours | unit | peer | peer's | ratio | 10–90 % | target | |"
_RULE = "|---|---:|---|---|---:|---:|---:|---|---|"


def page(folder: Path = FOLDER) -> str:
    """The whole page; what the loop learns comes first."""
    paths = sorted(
        folder.glob("*.json"), key=lambda path: (not path.stem.startswith("learning"), path.stem)
    )
    sections = ("\n".join(_section(json.loads(path.read_text()))) for path in paths)
    return "\n".join([_HEAD, *sections])


def _section(content: dict[str, Any]) -> Iterator[str]:
    if content["benchmark"] == "learning":
        yield from learning_page.section(content)
        return
    name, machine = content["benchmark"], content["machine"]
    versions = ", ".join(f"{package} {number}" for package, number in content["versions"].items())
    yield f"## {name}\n"
    yield f"`make bench NAME={name}` · commit {content['commit']}, {content['date']}"
    yield f"· {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    yield f"· {versions}\n"
    for paragraph in content.get("about", ()):
        yield from (paragraph, "")
    yield _COLUMNS
    yield _RULE
    notes: list[str] = []
    for row in (Row(**row) for row in content["rows"]):
        first, *others, met = cells(row)
        if row.note:
            if row.note not in notes:
                notes.append(row.note)
            first += f" ({notes.index(row.note) + 1})"
        yield "| " + " | ".join([first, *others, f"**{met}**" if met else ""]) + " |"
    yield ""
    yield from (f"{number}. {note}" for number, note in enumerate(notes, start=1))
    yield ""
    for picture in content.get("pictures", ()):
        yield from (f"![{picture['shows']}]({picture['path']})", "")
    for table in content.get("tables", ()):
        yield from learning_page.Table.from_json(table).to_markdown()


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())
    print(f"wrote docs/{PAGE.name}")


if __name__ == "__main__":
    main()
