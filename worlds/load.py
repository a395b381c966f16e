"""Loading worlds: shipped scenarios by name, others by the path of their file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from verifier.errors import InputError
from verifier.transition_system import TransitionSystem, make_transition_system
from verifier.vocabulary import Vocabulary
from verifier.yaml_files import load_mapping
from worlds.builder import build_by_rule
from worlds.check import Finding, check_world
from worlds.scenario import Explicit, Scenario, UnionOf, scenario_from_mapping
from worlds.union import union

_DATA = Path(__file__).parent / "scenarios"

_Inspect = Callable[[TransitionSystem, Path], None]
"""Called with each world that is no union, and its file, before anything is made of it."""


def shipped_worlds() -> tuple[str, ...]:
    """Names of the scenarios that come with the package."""
    return tuple(sorted(path.stem for path in _DATA.glob("*.yaml")))


def load_scenario(name_or_path: str | Path, vocabulary: Vocabulary) -> Scenario:
    """A scenario as its file describes it: description, reasons, sensible actions, rules.

    Raises:
        InputError: Unknown name, unreadable file, not a scenario.
    """
    path = _locate(name_or_path)
    return scenario_from_mapping(load_mapping(path), vocabulary, file=path)


def load_world(name_or_path: str | Path, vocabulary: Vocabulary) -> TransitionSystem:
    """The world of a shipped scenario by name, or of a YAML file by path.

    Raises:
        InputError: As `load_scenario`; formula errors; a world in which `check_world` finds an
            error.
    """
    path = _locate(name_or_path)
    if path.parent == _DATA:
        return _load_shipped(path, vocabulary)
    return _load(path, vocabulary, _refuser(vocabulary))


def check_scenario(name_or_path: str | Path, vocabulary: Vocabulary) -> tuple[Finding, ...]:
    """What `check_world` finds in a scenario; of a union, what it finds in each member.

    Raises:
        InputError: There is no world to be checked: as `load_scenario`; errors in the formulas of
            a world by rule.
    """
    path = _locate(name_or_path)
    findings: list[Finding] = []

    def collect(world: TransitionSystem, file: Path) -> None:
        for found in check_world(world, vocabulary):
            parts = (None if file == path else file.name, found.place)
            findings.append(replace(found, place=": ".join(filter(None, parts)) or None))

    _load(path, vocabulary, collect)
    return tuple(findings)


def sensible_actions(name_or_path: str | Path, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Manoeuvres that make sense in a scenario (``actions`` of its file), in file order."""
    return load_scenario(name_or_path, vocabulary).actions


@lru_cache(maxsize=256)
def _load_shipped(path: Path, vocabulary: Vocabulary) -> TransitionSystem:
    return _load(path, vocabulary, _refuser(vocabulary))


def _refuser(vocabulary: Vocabulary) -> _Inspect:
    def refuse(world: TransitionSystem, file: Path) -> None:
        for finding in check_world(world, vocabulary):
            if finding.severity == "error":
                raise finding.as_error(file)

    return refuse


def _locate(name_or_path: str | Path, folder: Path | None = None) -> Path:
    """The file of a scenario; other than shipped names are relative to ``folder``."""
    shipped = _DATA / f"{name_or_path}.yaml"
    if str(name_or_path) in shipped_worlds():
        return shipped
    path = folder / name_or_path if folder else Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"} and not _exists(path):
        near = get_close_matches(str(name_or_path), shipped_worlds(), n=1)
        names = (
            f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(shipped_worlds())}"
        )
        raise InputError(
            f"no world named {str(name_or_path)!r}",
            remedy=f"{names} (or the path of a .yaml file)",
        )
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # e.g. the name is too long
        return False


def _load(
    path: Path, vocabulary: Vocabulary, inspect: _Inspect, within: tuple[Path, ...] = ()
) -> TransitionSystem:
    """The world of a file; ``within`` are the files of the unions that it is a part of."""
    scenario = load_scenario(path, vocabulary)
    body = scenario.body
    if isinstance(body, UnionOf):
        # Members are inspected one by one: a fault is then named in the file that has it.
        files = _member_files(body, path, within)
        members = [_load(file, vocabulary, inspect, (*within, path)) for file in files]
        names = [member.name for member in members]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise InputError(
                f"two members are named {twice!r}", file=path, place="union", remedy="rename one"
            )
        return union(scenario.name, members, scenario.text)
    if isinstance(body, Explicit):
        world = _build_explicit(scenario.name, scenario.text, body)
    else:
        world = build_by_rule(scenario.name, scenario.text, body, vocabulary, file=path)
    inspect(world, path)
    return world


def _member_files(body: UnionOf, path: Path, within: tuple[Path, ...]) -> list[Path]:
    files = []
    for entry in body.members:
        try:
            file = _locate(entry, path.parent)
        except InputError as error:
            raise InputError(error.problem, file=path, place="union", remedy=error.remedy) from None
        if not _exists(file):
            raise InputError(
                f"there is no file {entry!r}",
                file=path,
                place="union",
                remedy="give its path relative to this file",
            )
        chain = [*within, path]
        start = next((i for i, one in enumerate(chain) if one.resolve() == file.resolve()), None)
        if start is not None:
            names = " -> ".join(one.name for one in (*chain[start:], file))
            raise InputError(
                f"circular: {names}", file=path, place="union", remedy=f"remove {entry!r}"
            )
        files.append(file)
    return files


def _build_explicit(name: str, text: str, body: Explicit) -> TransitionSystem:
    return make_transition_system(
        name,
        dict(body.states),
        dict(body.transitions) if body.transitions is not None else None,
        initial=body.initial,
        propositions=body.propositions,
        assumptions=body.assumptions,
        text=text,
    )
