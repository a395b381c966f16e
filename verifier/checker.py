"""Model checking: world ⊗ controller |= specification, with Spot (paper §1.1, equation 1).

A specification holds if no word of the product satisfies its negation; emptiness is checked on
the fly. Everything that depends only on world, rule book and profile is built once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from verifier.automata import (
    Automaton,
    Bdd,
    controller_automaton,
    make_alphabet,
    world_automaton,
)
from verifier.bindings import buddy, spot
from verifier.canonical import canonical, controller_hash
from verifier.controller import Controller
from verifier.errors import TimeLimitError
from verifier.explanation import explain
from verifier.formulas import Formula
from verifier.lasso_evaluation import holds
from verifier.limits import call_with_limit
from verifier.replay import SymbolicWord, replay
from verifier.rules import RuleBook
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.vacuity import strengthenings
from verifier.verdicts import Lasso, Report, Verdict, VerdictValue
from verifier.vocabulary import Vocabulary

T = TypeVar("T")

Values = tuple[tuple[VerdictValue, str | None], ...]
"""Value and reason of each specification, in the book's order."""

DEFAULT_TIME_LIMIT = 10.0
"""Seconds per specification."""

# Below these sizes a check takes milliseconds and needs no process of its own to be stopped.
_SMALL_FORMULA = 25
_SMALL_PRODUCT = 20_000
# Above this size even the product is built in a process that can be stopped.
_LARGE_PRODUCT = 1_000_000


@dataclass(frozen=True)
class _Property:
    """A formula made ready: its negation as an automaton, and what spares the search for it.

    Attributes:
        negation: Accepts the words that violate the formula.
        bad_letters: Of G b with Boolean b, the letters that violate b.
        certain: No controller violates it in this world.
    """

    negation: Automaton
    bad_letters: Bdd | None
    certain: bool


@dataclass(frozen=True)
class _Product:
    """World ⊗ controller, every state of which has an accepting run."""

    automaton: Automaton
    letters: Bdd
    """Disjunction of all reachable letters."""
    small: bool


class Checker:
    """Checks controllers against one rule book in one world under one profile.

    Args:
        world: The world model.
        rules: The rule book.
        semantics: The profile.
        vocabulary: The domain.
        time_limit: Seconds per specification; beyond it the verdict is ``unknown``.

    Raises:
        InputError: No path of the world satisfies its assumptions.
    """

    def __init__(
        self,
        world: TransitionSystem,
        rules: RuleBook,
        semantics: Semantics,
        vocabulary: Vocabulary,
        time_limit: float = DEFAULT_TIME_LIMIT,
    ) -> None:
        self.world, self.rules, self.semantics = world, rules, semantics
        self.vocabulary, self.time_limit = vocabulary, time_limit
        self._alphabet = make_alphabet(vocabulary)
        self._world_automaton = world_automaton(world, self._alphabet, semantics)
        self._world_letters = [
            _union(edge.cond for edge in self._world_automaton.out(state))
            for state in range(self._world_automaton.num_states())
        ]
        self._unions: dict[frozenset[int], Bdd] = {}
        self._properties: dict[str, _Property] = {}
        self._strengthenings: dict[str, tuple[str, ...]] = {}
        self._values: dict[tuple, Values] = {}
        self._applicable = [s.applies_to(world.propositions) for s in rules.specifications]
        self._small = [
            spot.length(spot.formula(s.formula)) <= _SMALL_FORMULA for s in rules.specifications
        ]

    def check(self, controller: Controller, *, counterexamples: bool = True) -> Report:
        """The verdict of every specification, violated ones with a validated counterexample."""
        values = self.values(controller)
        product: _Product | None = None
        verdicts = []
        for index, (value, reason) in enumerate(values):
            specification = self.rules.specifications[index]
            lasso = None
            if value == "violated" and counterexamples:
                product = product or self._product(controller)
                lasso, reason = self._counterexample(index, controller, product)
            text = (
                explain(
                    lasso,
                    specification,
                    self.vocabulary,
                    controller.steps,
                    final=controller.final,
                )
                if lasso
                else None
            )
            verdicts.append(
                Verdict(specification.id, specification.formula, value, lasso, text, reason)
            )
        reduced = canonical(controller)
        return Report(
            controller_hash=controller_hash(controller),
            states=reduced.num_states,
            world=self.world.name,
            rules=self.rules.name,
            semantics=self.semantics,
            verdicts=tuple(verdicts),
        )

    def unknown(self, problems: Sequence[str]) -> Report:
        """The report on a text that could not be read: every verdict is ``unknown``."""
        reason = problems[0] if problems else "not read"
        return Report(
            controller_hash=None,
            states=None,
            world=self.world.name,
            rules=self.rules.name,
            semantics=self.semantics,
            verdicts=tuple(
                Verdict(s.id, s.formula, "unknown", reason=reason)
                for s in self.rules.specifications
            ),
            problems=tuple(problems),
        )

    def values(self, controller: Controller, *, vacuity: bool = True) -> Values:
        """Value and reason per specification, remembered by the controller's transitions."""
        key = _structure(controller, vacuity)
        known = self._values.get(key)
        if known is None:
            count = len(self.rules.specifications)

            def decide() -> Values:
                product = self._product(controller)
                return tuple(self._value(index, product, vacuity) for index in range(count))

            bound = self._world_automaton.num_states() * controller.num_states
            found: Values
            try:
                found = (
                    decide()
                    if bound <= _LARGE_PRODUCT
                    else call_with_limit(decide, count * self.time_limit)
                )
            except TimeLimitError as error:
                reason = f"product of up to {bound:,} states: {error}"
                unknown: tuple[VerdictValue, str | None] = ("unknown", reason)
                found = (unknown,) * count
            known = self._values[key] = found
        return known

    def _product(self, controller: Controller) -> _Product:
        made = controller_automaton(controller, self._alphabet, self.semantics)
        automaton = spot.product(self._world_automaton, made.automaton)
        # The letters of (w, q) are those of w that are letters of q, and q has one for each label.
        together: defaultdict[int, set[int]] = defaultdict(set)
        for world_node, state in automaton.get_product_states():
            together[state].add(world_node)
        letters = buddy.bddfalse
        for state, world_nodes in together.items():
            letters |= made.letters[state] & self._letters_of(frozenset(world_nodes))
        return _Product(automaton, letters, automaton.num_states() <= _SMALL_PRODUCT)

    def _letters_of(self, world_nodes: frozenset[int]) -> Bdd:
        found = self._unions.get(world_nodes)
        if found is None:
            found = _union(self._world_letters[node] for node in world_nodes)
            self._unions[world_nodes] = found
        return found

    def _value(
        self, index: int, product: _Product, vacuity: bool
    ) -> tuple[VerdictValue, str | None]:
        specification = self.rules.specifications[index]
        if not self._applicable[index]:
            return "inapplicable", f"{self.world.name} does not have {specification.applies_if}"

        def decide() -> tuple[VerdictValue, str | None]:
            if not self._holds(specification.formula, product):
                return "violated", None
            for stronger in self._stronger(specification.formula) if vacuity else ():
                if self._holds(stronger, product):
                    return "vacuous", f"already {stronger} holds"
            return "satisfied", None

        try:
            return self._run(decide, self._quick(index, product))
        except TimeLimitError as error:
            return "unknown", str(error)

    def _quick(self, index: int, product: _Product) -> bool:
        """Whether the check is a matter of milliseconds: small, or G b with Boolean b."""
        if not self._small[index]:
            return False
        formula = self.rules.specifications[index].formula
        return product.small or self._property(formula).bad_letters is not None

    def _run(self, function: Callable[[], T], small: bool) -> T:
        """Call it here if it must be quick, else in a child that can be stopped."""
        return function() if small else call_with_limit(function, self.time_limit)

    def _property(self, formula: str) -> _Property:
        found = self._properties.get(formula)
        if found is None:
            parsed = spot.formula(formula)
            body = _invariant(parsed)
            bad = None if body is None else self._alphabet.guard(str(spot.formula.Not(body)))
            negation = spot.translate(spot.formula.Not(parsed))
            certain = spot.product(self._world_automaton, negation).is_empty()
            found = _Property(negation, bad, certain)
            self._properties[formula] = found
        return found

    def _stronger(self, formula: str) -> tuple[str, ...]:
        found = self._strengthenings.get(formula)
        if found is None:
            found = tuple(str(stronger) for stronger in strengthenings(spot.formula(formula)))
            self._strengthenings[formula] = found
        return found

    def _holds(self, formula: str, product: _Product) -> bool:
        ready = self._property(formula)
        if ready.certain:
            return True
        if ready.bad_letters is not None:
            # G b: every reachable letter occurs on an accepted word, so b must hold of each.
            return (product.letters & ready.bad_letters) == buddy.bddfalse
        if product.small:
            return spot.product(product.automaton, ready.negation).is_empty()
        return spot.otf_product(product.automaton, ready.negation).accepting_run() is None

    def _counterexample(
        self, index: int, controller: Controller, product: _Product
    ) -> tuple[Lasso | None, str | None]:
        specification = self.rules.specifications[index]

        def find() -> Lasso:
            negation = self._property(specification.formula).negation
            run = spot.otf_product(product.automaton, negation).accepting_run().reduce()
            lasso = replay(
                SymbolicWord.of_run(run), controller, self.world, self._alphabet, self.semantics
            )
            prefix = [moment.letter for moment in lasso.prefix]
            cycle = [moment.letter for moment in lasso.cycle]
            if holds(specification.formula, prefix, cycle):
                raise AssertionError(
                    f"the counterexample to {specification.id} satisfies it; please report this"
                )
            return lasso

        try:
            return self._run(find, self._small[index] and product.small), None
        except TimeLimitError as error:
            return None, f"no counterexample: {error}"


def _invariant(formula: Formula) -> Formula | None:
    """b of a formula G b with Boolean b."""
    return formula[0] if formula._is(spot.op_G) and formula[0].is_boolean() else None


def _union(letters: Iterable[Bdd]) -> Bdd:
    result = buddy.bddfalse
    for letter in letters:
        result = result | letter
    return result


def _structure(controller: Controller, vacuity: bool) -> tuple:
    """What the verdicts depend on, without texts and step numbers."""
    rows = tuple((t.source, t.guard, t.action, t.target) for t in controller.transitions)
    return controller.initial, controller.final, rows, vacuity
