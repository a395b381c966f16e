"""Loading worlds: shipped scenarios by name, others by the path of their file."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from verifier.errors import InputError
from verifier.transition_system import TransitionSystem, make_transition_system
from verifier.vocabulary import Vocabulary
from verifier.yaml_files import load_mapping
from worlds.builder import build_by_rule
from worlds.check import check_world
from worlds.scenario import Explicit, Scenario, UnionOf, scenario_from_mapping
from worlds.union import union

_DATA = Path(__file__).parent / "scenarios"


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
    return _load(path, vocabulary, ())


def sensible_actions(name_or_path: str | Path, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Manoeuvres that make sense in a scenario (``actions`` of its file), in file order."""
    return load_scenario(name_or_path, vocabulary).actions


@lru_cache(maxsize=256)
def _load_shipped(path: Path, vocabulary: Vocabulary) -> TransitionSystem:
    return _load(path, vocabulary, ())


def _locate(name_or_path: str | Path, folder: Path | None = None) -> Path:
    """The file of a scenario; other than shipped names are relative to ``folder``."""
    shipped = _DATA / f"{name_or_path}.yaml"
    if str(name_or_path) in shipped_worlds():
        return shipped
    path = folder / name_or_path if folder else Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"} and not path.exists():
        near = get_close_matches(str(name_or_path), shipped_worlds(), n=1)
        names = (
            f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(shipped_worlds())}"
        )
        raise InputError(
            f"no world named {str(name_or_path)!r}",
            remedy=f"{names} (or the path of a .yaml file)",
        )
    return path


def _load(path: Path, vocabulary: Vocabulary, within: tuple[Path, ...]) -> TransitionSystem:
    if path.resolve() in within:
        raise InputError("the union contains itself", file=path, remedy="remove it from 'union'")
    scenario = load_scenario(path, vocabulary)
    body = scenario.body
    if isinstance(body, UnionOf):
        # Members are checked one by one: a fault is then named in the file that has it.
        return _load_union(scenario.name, scenario.text, body, path, vocabulary, within)
    if isinstance(body, Explicit):
        world = _build_explicit(scenario.name, scenario.text, body)
    else:
        world = build_by_rule(scenario.name, scenario.text, body, vocabulary, file=path)
    for finding in check_world(world, vocabulary):
        if finding.severity == "error":
            raise finding.as_error(path)
    return world


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


def _load_union(
    name: str,
    text: str,
    body: UnionOf,
    path: Path,
    vocabulary: Vocabulary,
    within: tuple[Path, ...],
) -> TransitionSystem:
    members: dict[str, TransitionSystem] = {}
    for entry in body.members:
        try:
            file = _locate(entry, path.parent)
        except InputError as error:
            raise InputError(error.problem, file=path, place="union", remedy=error.remedy) from None
        member = _load(file, vocabulary, (*within, path.resolve()))
        if member.name in members:
            raise InputError(
                f"two members are named {member.name!r}", file=path, place="union", remedy="rename"
            )
        members[member.name] = member
    return union(name, tuple(members.values()), text)
