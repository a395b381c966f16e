"""docs/simulation.md: its code runs and says what it says; its tables name everything there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

from worlds.simulation.agreement import REASONS, Kind, agreement, summary
from worlds.simulation.campaign import Settings, simulate
from worlds.simulation.registry import KINDS

TEXT = (Path(__file__).parents[3] / "docs" / "simulation.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
NAMED = set(re.findall(r"`(\w+)`", TEXT))


def test_code_runs(capsys: Any) -> None:
    known: dict[str, Any] = {}
    for block in CODE:
        exec(block, known)
    assert capsys.readouterr().out == ""  # no findings
    assert known["comparison"].decided == "second"
    rate = known["careful_drive"].driving.rates["finished"]
    assert (rate.value, round(rate.low, 2)) == (1.0, 0.93)


def test_everything_is_named() -> None:
    assert {*REASONS, *get_args(Kind), *KINDS} <= NAMED
    known: dict[str, Any] = {}
    exec(CODE[0], known)
    campaign, *_ = simulate(
        {"hasty": known["hasty"]},
        known["world"],
        known["task"],
        Settings(2, workers=0),
        known["vocabulary"],
    )
    data = campaign.to_json(episodes=True) | {"agreement": summary(())}
    data["rules"] = [a.to_json() for a in agreement(campaign, known["vocabulary"])]
    assert {*data, *data["rules"][0], *data["driving"]} <= NAMED
    assert set(known["comparison"].to_json()) <= NAMED
