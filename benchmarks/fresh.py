"""The shipped champion and the base on the bank ``fresh``: wordings and places of their own.

``python -m benchmarks.fresh`` asks both three times for each of the 48 tasks and writes
docs/results/fresh.json. The bank was written by somebody who had seen neither the training data nor
any answer, and serves no choice: it says what development on the bank ``driving`` may have
flattered. ``--champion FILE`` and ``--base FILE`` take what ``specdrive evaluate --tasks fresh
--split test --json`` has printed instead of asking again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.results import REPOSITORY, Row, table_of, write_results

BANK, SAMPLES = "fresh", 3
CHAMPION = REPOSITORY / "models" / "champion"
PACKAGES = ("torch", "transformers", "peft")
RATES = {
    "strict_success": "answers proven correct",
    "paper_score": "paper score",
    "parse_rate": "answers that can be read",
}


def card_of(adapter: Path | None) -> dict[str, Any]:
    """What ``specdrive evaluate --json`` says of a model on the bank."""
    command = [sys.executable, "-m", "pipeline.cli", "evaluate", "--tasks", BANK, "--json"]
    command += ["--split", "test", "--samples", str(SAMPLES)]
    command += ["--adapter", str(adapter)] if adapter is not None else []
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def rows_of(base: dict[str, Any], champion: dict[str, Any]) -> list[Row]:
    """Every rate of both, and the champion's by place: made for the bank, or shipped."""
    asked = f"{champion['answers']} answers to {len(champion['tasks'])} tasks"
    rows = [
        Row(
            f"{words}, champion",
            100 * champion[rate]["value"],
            "%",
            peer="base",
            peer_value=100 * base[rate]["value"],
            note=f"{asked}; 95 % intervals: {_told(champion[rate])}, base {_told(base[rate])}",
        )
        for rate, words in RATES.items()
    ]
    rows += [
        Row(f"answers proven correct, {where}", 100 * share, "%", note=f"{count} tasks")
        for where, share, count in _by_place(champion)
    ]
    return rows


def _told(rate: dict[str, float]) -> str:
    return f"{100 * rate['low']:.0f} to {100 * rate['high']:.0f}"


def _by_place(card: dict[str, Any]) -> list[tuple[str, float, int]]:
    """Mean success of tasks in places made for the bank and of those in shipped worlds."""
    groups: dict[str, list[float]] = {}
    for scores in card["tasks"].values():
        made = "/" in str(scores["world"]) or str(scores["world"]).endswith(".yaml")
        where = "in places made for the bank" if made else "in shipped worlds"
        groups.setdefault(where, []).append(scores["strict_success"]["value"])
    return [(where, sum(found) / len(found), len(found)) for where, found in groups.items()]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--champion", type=Path, help="what evaluate --json has printed")
    parser.add_argument("--base", type=Path, help="the same of the base")
    given = parser.parse_args()
    champion = json.loads(given.champion.read_text()) if given.champion else card_of(CHAMPION)
    base = json.loads(given.base.read_text()) if given.base else card_of(None)
    rows = rows_of(base, champion)
    Console().print(table_of("The bank “fresh”", rows))
    print(write_results("fresh", rows, PACKAGES))


if __name__ == "__main__":
    main()
