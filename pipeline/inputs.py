"""Controllers from files: steps ``.txt``, controller ``.json``, or folders of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from verifier.controller import Controller, load_controller
from verifier.errors import InputError
from verifier.semantics import Conditional
from verifier.steps import MAX_STEPS, Alignment, steps_to_controller
from verifier.vocabulary import Vocabulary
from verifier.yaml_files import read_text

Aligner = Callable[[str], Alignment]
"""Turns an answer's text into a controller or problems."""


@dataclass(frozen=True)
class Candidate:
    """A controller to verify, or the reasons why its text is none.

    Attributes:
        file: Where it came from.
        controller: None if the text could not be read.
        problems: Why, one line each.
    """

    file: str
    controller: Controller | None
    problems: tuple[str, ...] = ()


def read_candidates(
    paths: Iterable[str | Path], vocabulary: Vocabulary, align: Aligner
) -> list[Candidate]:
    """Read every file before anything is verified.

    Raises:
        InputError: A file is missing, of the wrong kind, empty, not UTF-8 or too long.
    """
    files = [file for path in paths for file in _files(Path(path))]
    return [_candidate(file, vocabulary, align) for file in files]


def deterministic_aligner(vocabulary: Vocabulary, conditional: Conditional) -> Aligner:
    """Alignment by vocabulary and synonyms."""
    return lambda text: steps_to_controller(text, vocabulary, conditional)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix in {".txt", ".json"} and p.is_file())
    if not found:
        raise InputError("no .txt or .json files in this folder", file=path, remedy="name a file")
    return found


def _candidate(file: Path, vocabulary: Vocabulary, align: Aligner) -> Candidate:
    if file.suffix == ".json":
        return Candidate(str(file), load_controller(file, vocabulary))
    if file.suffix != ".txt":
        raise InputError(
            f"cannot tell what a {file.suffix or 'file without ending'} is",
            file=file,
            remedy="use steps in .txt or a controller in .json",
        )
    alignment = align(read_steps_text(file))
    return Candidate(
        str(file), alignment.controller, tuple(p.to_line() for p in alignment.problems)
    )


def read_steps_text(file: Path) -> str:
    """The text of a steps file.

    Raises:
        InputError: Unreadable, empty, or more than `MAX_STEPS` lines.
    """
    text = read_text(file)
    lines = sum(1 for line in text.splitlines() if line.strip())
    if lines == 0:
        raise InputError("no steps", file=file, remedy="write one numbered step per line")
    if lines > MAX_STEPS:
        raise InputError(
            f"{lines} lines, more than the {MAX_STEPS} steps a controller may have",
            file=file,
            place=f"line {MAX_STEPS + 1}",
            remedy="split it",
        )
    return text
