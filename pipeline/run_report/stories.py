"""Single answers worth looking at, judged again to get their counterexamples, and drawn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path

from markupsafe import Markup

from pipeline.evaluation import Judge, Judged
from pipeline.run_report.reading import Run
from pipeline.run_report.scores import Answer
from pipeline.tasks import Task, load_tasks
from verifier.dot import controller_dot, counterexample_dot
from verifier.drawing import render
from verifier.errors import InputError
from verifier.semantics import Semantics, load_semantics
from verifier.verdicts import Verdict
from verifier.vocabulary import Vocabulary, load_vocabulary

_TIDY = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<title>.*?</title>"
    r"| (?:id|xmlns(?::xlink)?)=\"[^\"]*\"",
    re.S,
)


@dataclass(frozen=True)
class Film:
    """A broken rule: its id, what happens in English, and the run as a picture."""

    rule: str
    text: str
    explanation: str
    picture: Markup


@dataclass(frozen=True)
class Story:
    """An answer with everything that is told about it.

    Attributes:
        heading: Whose answer it is.
        prompt: What was asked.
        place: The world, in words.
        steps: The answer's lines.
        success: Whether it is proven correct.
        controller: Picture of the controller; empty if the text could not be read.
        problems: Why it could not be read.
        broken: Ids of the rules of the road that it breaks.
        arrives: Whether the manoeuvre is made in every run.
        film: The most telling counterexample.
    """

    heading: str
    prompt: str
    place: str
    steps: str
    success: bool
    controller: Markup
    problems: tuple[str, ...]
    broken: tuple[str, ...]
    arrives: bool
    film: Film | None


@dataclass(frozen=True)
class Repair:
    """An answer and its repair, word by word: (text, whether it is new or gone)."""

    before: Story
    after: Story
    removed: tuple[tuple[str, bool], ...]
    added: tuple[tuple[str, bool], ...]
    how: str


@dataclass(frozen=True)
class Stories:
    """What the page shows; None where the run has nothing of the kind."""

    before: Story | None = None
    after: Story | None = None
    worst: Story | None = None
    repair: Repair | None = None


class Teller:
    """Judges and draws answers of a run."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The run's domain."""
        return load_vocabulary(self.run.setting("tasks", "vocabulary", "driving"))

    @cached_property
    def semantics(self) -> Semantics:
        """The run's profile."""
        return load_semantics(self.run.setting("tasks", "semantics", "default"))

    @cached_property
    def judge(self) -> Judge:
        """Under the run's profile."""
        return Judge(self.vocabulary, self.semantics)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Tasks by id: of the run's bank, and what was asked in its rounds, as far as at hand."""
        places: list[str | Path] = [self.run.setting("tasks", "bank", "driving")]
        places += sorted(self.run.folder.glob("round-*/generate/tasks.yaml"))
        found: dict[str, Task] = {}
        for place in places:
            try:
                tasks = load_tasks(place, self.vocabulary)
            except InputError:
                continue
            found = {task.id: task for task in tasks} | found
        return found

    def story(self, answer: Answer, heading: str) -> Story | None:
        """The story of an answer; None if its task or world is not at hand."""
        task = self.tasks.get(answer.task)
        if task is None:
            return None
        try:
            judged = self.judge.judge(task, answer.text, counterexamples=True)
        except InputError:
            return None
        return Story(
            heading,
            task.prompt,
            Path(task.world).stem.replace("_", " "),
            answer.text.strip(),
            judged.strict_success,
            self._controller(judged),
            tuple(problem.to_line() for problem in judged.alignment.problems),
            judged.violated,
            judged.progress == "satisfied",
            self._film(judged),
        )

    def _controller(self, judged: Judged) -> Markup:
        if judged.controller is None:
            return Markup("")
        return inline(controller_dot(judged.controller, self.vocabulary))

    def _film(self, judged: Judged) -> Film | None:
        found = [v for v in judged.road.verdicts if v.counterexample is not None]
        if not found or judged.controller is None:
            return None
        verdict = min(found, key=_length)
        assert verdict.counterexample is not None
        rule = next(s for s in judged.rules.specifications if s.id == verdict.id)
        picture = counterexample_dot(
            verdict.counterexample,
            rule,
            judged.controller.steps,
            self.vocabulary,
            caption=False,
        )
        return Film(verdict.id, rule.text, verdict.explanation or "", inline(picture))


def _length(verdict: Verdict) -> tuple[bool, int]:
    """Broken rules of safety before an unmade manoeuvre, then short runs before long ones."""
    lasso = verdict.counterexample
    assert lasso is not None
    progress = verdict.id.startswith("progress_")
    return progress, abs(len(lasso.prefix) + len(lasso.cycle) - 3)


def inline(dot: str) -> Markup:
    """A drawing as SVG to stand in a page: no header, no identifiers, no tooltips of its own."""
    return Markup(_TIDY.sub("", render(dot, "svg").decode()).strip())


def tell(run: Run, teller: Teller) -> Stories:
    """Choose the answers and tell their stories."""
    before, after = _before_and_after(run, teller)
    return Stories(before, after, _worst(run, teller), _repair(run, teller))


def _before_and_after(run: Run, teller: Teller) -> tuple[Story | None, Story | None]:
    """The same task, broken by the base and solved by the champion."""
    new, old = run.after, run.before
    if new is None or run.champion is None:
        return None, None
    solved = [answer for answer in new.on(run.split) if answer.success]
    before = old.on(run.split) if old else ()
    broken = {a.task: a for a in sorted(before, key=_tellable, reverse=True)}
    pairs = sorted(
        ((broken[a.task], a) for a in solved if a.task in broken and broken[a.task].violated),
        key=lambda pair: (_tellable(pair[0]), len(pair[1].text)),
    )
    if pairs:
        bad, good = pairs[0]
        return teller.story(bad, "before"), teller.story(good, f"after {run.champion.label}")
    best = min(solved, key=lambda answer: len(answer.text), default=None)
    return None, teller.story(best, run.champion.label) if best else None


def _tellable(answer: Answer) -> tuple[int, int]:
    """Small for an answer that breaks a rule or two in a few lines."""
    lines = len(answer.text.strip().splitlines())
    return (0 if answer.violated else 9) + abs(len(answer.violated) - 2), abs(lines - 4)


def _worst(run: Run, teller: Teller) -> Story | None:
    """The champion's answer that breaks most rules (else one that is not correct)."""
    wrong = [a for a in (run.after.on(run.split) if run.after else ()) if not a.success]
    if not wrong or run.champion is None:
        return None
    bad = max(wrong, key=lambda a: (len(a.violated), a.controller is not None, -len(a.text)))
    return teller.story(bad, run.champion.label)


def _repair(run: Run, teller: Teller) -> Repair | None:
    """A repair that succeeds, preferably a symbolic one of a single line."""
    options: list[tuple[tuple[bool, bool, int], Answer, Answer]] = []
    for one in run.rounds:
        parents = {answer.id: answer for answer in (*one.generated, *one.repaired)}
        for child in one.repaired:
            parent = parents.get(child.parent or "")
            if parent is not None and child.success and parent.violated:
                pieces = [
                    piece for text in words_changed(parent.text, child.text) for piece in text
                ]
                size = sum(len(piece.split()) for piece, changed in pieces if changed)
                key = (child.origin != "symbolic_repair", "\n" not in parent.text.strip(), size)
                options.append((key, parent, child))
    for _, parent, child in sorted(options, key=lambda option: option[0])[:3]:
        before = teller.story(parent, "sampled")
        after = teller.story(child, "repaired")
        if before is not None and after is not None:
            removed, added = words_changed(before.steps, after.steps)
            how = "symbolic" if child.origin == "symbolic_repair" else "model"
            return Repair(before, after, removed, added, how)
    return None


_Words = tuple[tuple[str, bool], ...]


def words_changed(before: str, after: str) -> tuple[_Words, _Words]:
    """Both texts in pieces that make them up, each with whether it is only in that text."""
    old, new = (re.findall(r"\s+|[^\s]+", text) for text in (before, after))
    left: list[tuple[str, bool]] = []
    right: list[tuple[str, bool]] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        changed = kind != "equal"
        if b > a:
            left.append(("".join(old[a:b]), changed))
        if d > c:
            right.append(("".join(new[c:d]), changed))
    return tuple(left), tuple(right)
