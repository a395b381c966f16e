"""Counterexamples in English, for readers who know neither automata nor temporal logic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from verifier.causes import Forever, Literal, causes, literals, operands
from verifier.ltl_parser import Node
from verifier.rules import Specification
from verifier.verdicts import Lasso, Moment
from verifier.vocabulary import Proposition, Vocabulary

_LONGEST_QUOTE = 70
_MOST_STEPS = 6


def explain(
    lasso: Lasso,
    specification: Specification,
    vocabulary: Vocabulary,
    steps: Sequence[str],
    *,
    final: int | None = None,
) -> str:
    """One to three sentences that tell how ``lasso`` violates the specification.

    Args:
        lasso: A run that violates it.
        specification: The violated rule.
        vocabulary: The words for propositions and actions.
        steps: The numbered steps of the controller's text; may be empty.
        final: The controller's final state, to tell "done" from "waiting".

    Raises:
        ValueError: The lasso satisfies the formula.
    """
    run = _Run(lasso, vocabulary, tuple(steps), final)
    program, facts = causes(
        specification.formula,
        [moment.letter for moment in lasso.prefix],
        [moment.letter for moment in lasso.cycle],
    )
    told = [_situation(run, group) for group in _by_position(literals(facts))]
    forever = [fact for fact in facts if isinstance(fact, Forever)]
    if forever:
        told.append(_repetition(run, program, forever, follows=bool(told)))
    if not told:
        told = [f"no run can satisfy the rule {specification.id}"]
    return " ".join(_sentence(clause) for clause in told)


@dataclass(frozen=True)
class _Run:
    """The run and the words for it."""

    lasso: Lasso
    vocabulary: Vocabulary
    steps: tuple[str, ...]
    final: int | None

    def moment(self, position: int) -> Moment:
        """The moment at a position that may lie in a later round of the cycle."""
        moments = (*self.lasso.prefix, *self.lasso.cycle)
        start = len(self.lasso.prefix)
        if position < len(moments):
            return moments[position]
        return moments[start + (position - start) % len(self.lasso.cycle)]

    @property
    def has_steps(self) -> bool:
        """Whether moments can be named by the lines of a text."""
        return any(m.step is not None for m in (*self.lasso.prefix, *self.lasso.cycle))

    def waits(self, moment: Moment) -> bool:
        """Whether the controller did nothing because nothing was enabled."""
        return self.has_steps and moment.step is None

    def done(self, moment: Moment) -> bool:
        """Whether the task is finished."""
        return self.waits(moment) and moment.state == self.final

    def name(self, moment: Moment) -> str:
        """Who acts at that moment: "step 3", "the controller"."""
        if self.done(moment):
            return "the finished controller"
        if self.waits(moment):
            return "the controller"
        return f"step {moment.step}" if self.has_steps else f"state {moment.state}"


def _by_position(facts: Iterable[Literal]) -> list[list[Literal]]:
    groups: dict[int, list[Literal]] = {}
    for fact in facts:
        groups.setdefault(fact.position, []).append(fact)
    return list(groups.values())


def _situation(run: _Run, facts: list[Literal]) -> str:
    """What was seen at one moment, how it came about, and what was done."""
    position = facts[0].position
    names = run.vocabulary.proposition_names
    seen = sorted((f for f in facts if f.name in names), key=lambda f: names.index(f.name))
    acted = [f for f in facts if f.name not in names]
    came = {fact: _since(run, fact) for fact in seen}
    changes = _changes(run, {f: start for f, start in came.items() if start}, position)
    standing = [fact for fact, start in came.items() if not start]
    if not acted:
        when = "from the start" if position else "at the start"
        there = f"{when} there is {_things(run, standing)}" if standing else ""
        return _join([part for part in (there, changes) if part])
    deed = _deed(run, acted, position, anyway=bool(seen))
    if standing:
        deed = f"with {_things(run, standing)}, {deed}"
    return f"{changes}; {deed}" if changes else deed


def _since(run: _Run, fact: Literal) -> int:
    """The position since which the proposition has had its value."""
    position = fact.position
    while position and (fact.name in run.moment(position - 1).propositions) == fact.value:
        position -= 1
    return position


def _changes(run: _Run, came: dict[Literal, int], position: int) -> str:
    """What changed on the way to ``position``, earliest first."""
    told = []
    for start in sorted(set(came.values())):
        happened = [
            _change(run.vocabulary.proposition(fact.name), fact.value)
            for fact in came
            if came[fact] == start
        ]
        told.append(f"{_after(run, start - 1, position)} {_join(happened)}")
    return ", and ".join(told)


def _change(proposition: Proposition, appears: bool) -> str:
    return proposition.appears if appears else proposition.disappears


def _after(run: _Run, position: int, acting: int) -> str:
    """ "after step 4", or "while step 4 waits" if the same step goes on to act."""
    before, now = run.moment(position), run.moment(acting)
    if run.waits(before):
        return f"while {run.name(before)} waits,"
    if run.has_steps and before.step == now.step and before.action in (None, "stop"):
        return f"while {run.name(before)} waits,"
    return f"after {run.name(before)}"


def _things(run: _Run, facts: Sequence[Literal]) -> str:
    """ "a car from the left and no green traffic light"."""
    return _join([_thing(run.vocabulary.proposition(f.name).phrase, f.value) for f in facts])


def _thing(phrase: str, present: bool) -> str:
    phrase = re.sub(r"\b(from|at|on) (left|right)\b", r"\1 the \2", phrase)
    if not present:
        return f"no {phrase}"
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _deed(run: _Run, acted: list[Literal], position: int, anyway: bool) -> str:
    """What the moment did, or did instead of what it should have done."""
    moment = run.moment(position)
    who = f"{run.name(moment)}{_quote(run, moment)}"
    if any(fact.value for fact in acted):
        return f"{who} {_does(run, moment)}{' anyway' if anyway else ''}"
    due = {fact.name for fact in acted}
    missing = [action.phrase for action in run.vocabulary.actions if action.name in due]
    return f"{who} {_does(run, moment)} when it should {_join(missing, 'or')}"


def _does(run: _Run, moment: Moment) -> str:
    if run.waits(moment):
        return "waits" if not run.done(moment) else "stands still"
    return run.vocabulary.action(moment.action).does if moment.action else "does nothing"


def _quote(run: _Run, moment: Moment) -> str:
    """The step's own words in parentheses."""
    if moment.step is None or moment.step > len(run.steps):
        return ""
    words = " ".join(run.steps[moment.step - 1].split()).rstrip(".")
    if len(words) > _LONGEST_QUOTE:
        words = words[:_LONGEST_QUOTE].rsplit(" ", 1)[0].rstrip(",;:") + " …"
    return f' ("{words}")' if words else ""


def _repetition(run: _Run, program: Sequence[Node], facts: list[Forever], follows: bool) -> str:
    """What goes on for ever, and what therefore never (or always) happens."""
    opening = "from then on " if follows else _arrival(run)
    in_order = sorted(facts, key=lambda f: (f.position, f.node))
    outcomes = dict.fromkeys(_outcome(run, program, fact) for fact in in_order)
    told = [outcome for outcome in outcomes if outcome] or ["never does what the rule asks"]
    if all(map(run.done, run.lasso.cycle)):
        rest = [f"{_does(run, run.lasso.cycle[0])} for ever"]
        rest += [outcome for outcome in told if "never" in outcome]
        return f"{opening}the task is done: the controller {_join(rest)}"
    return f"{opening}{_loop(run)} and {_join(told)}"


def _arrival(run: _Run) -> str:
    """ "after step 2 " if a step leads into the cycle and is not part of it."""
    prefix, cycle = run.lasso.prefix, run.lasso.cycle
    if not prefix:
        return ""
    last = prefix[-1]
    within = last.step in {m.step for m in cycle} if run.has_steps else True
    return "in the end " if within or run.waits(last) else f"after {run.name(last)} "


def _loop(run: _Run) -> str:
    """ "the run repeats steps 2 and 3 for ever", and what is seen if nothing changes."""
    labels = {moment.propositions for moment in run.lasso.cycle}
    if len(labels) > 1:
        return f"{_round(run)}{',' if all(map(run.waits, run.lasso.cycle)) else ''}"
    seen = [_thing(run.vocabulary.proposition(p).phrase, True) for p in labels.pop()]
    return f"{_round(run)}, with {_join(seen) or 'nothing in sight'},"


def _round(run: _Run) -> str:
    cycle = run.lasso.cycle
    waits = sum(map(run.waits, cycle))
    if waits == len(cycle):
        return "the controller waits for ever, since none of its conditions holds"
    pause = ", waiting in between," if waits else ""
    if not run.has_steps:
        numbers, noun, at = sorted({m.state for m in cycle}), "state", "in"
    else:
        numbers, noun, at = sorted({m.step for m in cycle if m.step is not None}), "step", "at"
    if len(numbers) == 1 and not waits:
        return f"the run stays {at} {noun} {numbers[0]}{_quote(run, cycle[0])} for ever"
    if len(numbers) == 1:
        return f"the run repeats {noun} {numbers[0]}{pause} for ever"
    if len(numbers) > 3 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"the run repeats {noun}s {numbers[0]} to {numbers[-1]}{pause} for ever"
    if len(numbers) > _MOST_STEPS:
        return f"the run repeats the same {len(numbers)} {noun}s{pause} for ever"
    return f"the run repeats {noun}s {_join([str(n) for n in numbers])}{pause} for ever"


def _outcome(run: _Run, program: Sequence[Node], fact: Forever) -> str | None:
    """ "never turns right"; None where the formula is not so simple."""
    node, always = fact.node, fact.value
    while program[node].operator == "not":
        node, always = program[node].operands[0], not always
    if program[node].operator == "and" and not always:
        deed = _deed_amid(run, program, operands(program, node))
        return f"never {deed}" if deed else None
    alternatives = operands(program, node) if program[node].operator == "or" else [node]
    names = [program[part].name for part in alternatives]
    if all(name in run.vocabulary.action_names for name in names):
        deeds = _join([run.vocabulary.action(name).does for name in names], "or")
        return f"{deeds} every time" if always else f"never {deeds}"
    if all(name in run.vocabulary.proposition_names for name in names):
        things = [_thing(run.vocabulary.proposition(name).phrase, True) for name in names]
        return f"there is {'always' if always else 'never'} {_join(things, 'or')}"
    return None


def _deed_amid(run: _Run, program: Sequence[Node], parts: Sequence[int]) -> str | None:
    """ "turns right with a green traffic light" for one action and literals about the world."""
    deeds, things = [], []
    for part in parts:
        present = program[part].operator != "not"
        name = program[part if present else program[part].operands[0]].name
        if present and name in run.vocabulary.action_names:
            deeds.append(run.vocabulary.action(name).does)
        elif name in run.vocabulary.proposition_names:
            things.append(_thing(run.vocabulary.proposition(name).phrase, present))
        else:
            return None
    return f"{deeds[0]} with {_join(things)}" if len(deeds) == 1 else None


def _join(parts: Sequence[str], word: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}"


def _sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}."
