"""Semantics profiles: the choices that a verdict depends on and is stored with (design: semantics).

Two scores obtained under different profiles are never compared.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, cast, get_args

from verifier.errors import InputError
from verifier.yaml_files import load_mapping

EpsilonMeaning = Literal["stop", "noop"]
OnFinish = Literal["restart", "stutter"]
Conditional = Literal["natural", "wait", "skip"]
Blocked = Literal["wait"]
Assumptions = Literal["world", "none"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "epsilon": get_args(EpsilonMeaning),
    "on_finish": get_args(OnFinish),
    "conditional": get_args(Conditional),
    "blocked": get_args(Blocked),
    "assumptions": get_args(Assumptions),
}


@dataclass(frozen=True)
class Semantics:
    """How steps are read and how a controller's words are formed.

    Attributes:
        name: The profile's name.
        epsilon: The letter of the empty action: the action ``stop``, or no action at all.
        on_finish: ``restart``: a transition that reaches the final state leads back to the
            initial one; ``stutter``: stay in the final state with epsilon.
        conditional: How "if C, A" in a text is read when the text becomes a controller.
        blocked: What happens where no transition is enabled (``wait``: epsilon, same state).
        assumptions: Whether verdicts are relative to the world's fairness assumptions.
    """

    name: str = "default"
    epsilon: EpsilonMeaning = "stop"
    on_finish: OnFinish = "restart"
    conditional: Conditional = "natural"
    blocked: Blocked = "wait"
    assumptions: Assumptions = "world"

    def to_json(self) -> dict[str, str]:
        """The profile as it is stored with every score."""
        return dataclasses.asdict(self)


SHIPPED: dict[str, Semantics] = {
    "default": Semantics(),
    "paper": Semantics(name="paper", conditional="wait"),
}


def load_semantics(name_or_path: str | Path) -> Semantics:
    """A shipped profile by name, or one read from a YAML file.

    Raises:
        InputError: Unknown name, unreadable file, unknown field or value.
    """
    if str(name_or_path) in SHIPPED:
        return SHIPPED[str(name_or_path)]
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"} and not path.exists():
        raise InputError(
            f"no semantics profile named {str(name_or_path)!r}",
            remedy=f"use one of {', '.join(SHIPPED)} or the path of a .yaml file",
        )
    return semantics_from_json(load_mapping(path), file=path)


def semantics_from_json(fields: dict[str, object], file: object = None) -> Semantics:
    """Validate a mapping of profile fields; fields that are absent take their default.

    Raises:
        InputError: Unknown field or value.
    """
    for key, value in fields.items():
        if key == "name":
            continue
        if key not in _CHOICES:
            near = get_close_matches(str(key), [*_CHOICES, "name"], n=1)
            raise InputError(
                f"unknown field {key!r}",
                file=file,
                remedy=f"did you mean {near[0]!r}?" if near else f"fields: {', '.join(_CHOICES)}",
            )
        if value not in _CHOICES[key]:
            raise InputError(
                f"{key} cannot be {value!r}",
                file=file,
                remedy=f"use one of {', '.join(_CHOICES[key])}",
            )
    default_name = Path(str(file)).stem if file else "custom"
    return Semantics(**cast(dict, {"name": default_name, **fields}))
