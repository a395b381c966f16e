"""Real answers of the default model: how many can be read, and whether they are read rightly.

After a change that lets more or fewer answers be read, look at what `git diff` says of
tests/data/corpus/coverage.txt after

    python tests/verifier/test_corpus.py
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from verifier.canonical import controller_hash, equivalent
from verifier.controller import controller_from_json
from verifier.steps import Alignment, steps_to_controller
from verifier.vocabulary import load_vocabulary

CORPUS = Path(__file__).parents[1] / "data" / "corpus"
COVERAGE = CORPUS / "coverage.txt"
DRIVING = load_vocabulary("driving")
FREQUENT = 6
LEAST_LABELS, LEAST_AGREEMENT = 60, 0.95

Row = dict[str, Any]


def load(name: str) -> list[Row]:
    return [json.loads(line) for line in (CORPUS / name).read_text(encoding="utf-8").splitlines()]


@cache
def read(text: str) -> Alignment:
    return steps_to_controller(text, DRIVING, "natural")


def share(part: int, whole: int) -> str:
    return f"{part}/{whole} ({100 * part / whole:.0f} %)" if whole else "0/0"


def coverage(answers: Iterable[Row]) -> str:
    return "\n".join([*by_prompt(answers), "", *by_problem(answers)]) + "\n"


def by_prompt(answers: Iterable[Row]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[Alignment]] = defaultdict(list)
    for answer in answers:
        group = answer["template"], f"{answer['temperature']}, {answer.get('top_p', 1.0)}"
        for key in (group, ("all", "")):
            groups[key].append(read(answer["text"]))
    yield f"{'template':10} {'temperature, top_p':18}  {'controllers':17} different ones"
    for (template, temperature), alignments in sorted(
        groups.items(), key=lambda g: g[0][0] == "all"
    ):
        found = [a.controller for a in alignments if a.controller is not None]
        different = len({controller_hash(controller) for controller in found})
        yield f"{template:10} {temperature:18}  {share(len(found), len(alignments)):17} {different}"


def by_problem(answers: Iterable[Row]) -> Iterator[str]:
    """For each category, the answers with such a problem and the words most often at fault."""
    having: Counter[str] = Counter()
    words: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        problems = read(answer["text"]).problems
        having.update({problem.category for problem in problems})
        for problem in problems:
            words[problem.category][" ".join(problem.words.split())[:60]] += 1
    yield "An answer can have several of these problems."
    for category, number in sorted(having.items(), key=lambda item: (-item[1], item[0])):
        yield f"\n{category}: {number} answers"
        ranked = sorted(words[category].items(), key=lambda item: (-item[1], item[0]))
        yield from (f"  {times:4}  {fault or '(no words)'}" for fault, times in ranked[:FREQUENT])


def disagreements(labels: Iterable[Row], texts: dict[str, str]) -> tuple[list[str], int]:
    """What the accepted answers are read as against their labels, and how many are accepted."""
    found: list[str] = []
    accepted = 0
    for label in labels:
        controller = read(texts[label["id"]]).controller
        if controller is None:
            continue
        accepted += 1
        if not label["readable"]:
            found.append(f"{label['id']}: read, but labelled unreadable: {label['reason']}")
        elif not equivalent(controller, controller_from_json(label["controller"], DRIVING)):
            moves = "\n".join(
                f"    {t.source} {t.guard} / {t.action} {t.target}" for t in controller.transitions
            )
            found.append(f"{label['id']}: read otherwise than labelled, as\n{moves}")
    return found, accepted


def test_coverage_is_as_reviewed():
    assert coverage(load("answers.jsonl")) == COVERAGE.read_text(encoding="utf-8"), __doc__


def test_accepted_answers_agree_with_their_labels():
    labels = load("labels.jsonl")
    texts = {answer["id"]: answer["text"] for answer in load("answers.jsonl")}
    assert len(labels) >= LEAST_LABELS
    found, accepted = disagreements(labels, texts)
    for line in found:
        print(line, "", texts[line.split(":")[0]].strip(), "", sep="\n")
    unread = sum(
        label["readable"] and read(texts[label["id"]]).controller is None for label in labels
    )
    print(f"{len(labels)} labels, {accepted} accepted, {len(found)} otherwise than labelled")
    print(f"{unread} labelled readable are refused")
    assert accepted > 0
    assert 1 - len(found) / accepted >= LEAST_AGREEMENT


if __name__ == "__main__":
    COVERAGE.write_text(coverage(load("answers.jsonl")), encoding="utf-8")
    print(COVERAGE.read_text(encoding="utf-8"), end="")
