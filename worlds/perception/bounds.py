"""How much perception errors can change the outcome: bounds by coupling.

Drive the same controller in the same simulator twice with one seed, once told the truth and once
told what a detector says. The simulator depends on the seed and on the car's actions only, and so
does the controller's choice among enabled transitions, whose random numbers are its own. As long
as at every decision the transitions enabled by what is seen are those enabled by the truth, both
runs take the same ones: they are one run. Let D be the event that at some decision they differ.

**Proposition.** |P(φ violated, detector) - P(φ violated, truth)| <= P(D) for every specification φ.
*Proof.* Off D both traces are equal, so both violate φ or neither does; the indicators differ on D
at most. Take expectations.

D can be bounded without driving with the detector at all, since before the first difference the
run *is* the truthful one: D happens exactly if some decision of the truthful run would be changed.
Let q be the probability of that at a decision, given its state s and label c. Then

    P(D | truthful run) <= min(1, sum of q)           (union bound; any dependence in time)
    P(D | truthful run)  = 1 - product of (1 - q)     (noise drawn anew at every look)

and P(D) is the mean over truthful runs. Three values of q, each at most the one before:

- ``any``: some proposition of the controller's guards is misperceived,
- ``relevant``: some proposition of the guards that leave s is misperceived,
- ``choice``: the misperceived ones change the actions and next states to choose from.

**Letters.** A specification G b, where b speaks about one letter only, is violated at a decision if
the chosen action with the true label breaks b. With h the probability of that given s and c,
P(violated) <= mean over runs *with* the detector of the sum of h (Markov's inequality; noise drawn
anew at every look). It is the expected number of bad letters, and far below P(D) where errors
mostly make the car wait.

Decisions behind the place, which settle what is pending, are made by the truth (see `eyes.Gaze`)
and have q = h = 0.

Everything holds for noise that depends on the truth only. For a real detector, whose errors
depend on the scene, it holds for the noise model that was estimated from it; D itself can then be
counted, which needs no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from verifier.bindings import spot
from verifier.controller import Controller
from verifier.rules import RuleBook
from verifier.semantics import Semantics
from verifier.truth_tables import atomic_propositions_of, support_of, table_of
from verifier.vocabulary import EPSILON
from worlds.perception.eyes import choices, guard_propositions
from worlds.perception.noise import NoiseModel
from worlds.simulation.driver import Machine
from worlds.simulation.episode import Decision, Episode
from worlds.simulation.interface import STOP


@dataclass(frozen=True)
class Divergence:
    """Bounds on the probability that a run with a detector differs from the truthful one.

    Attributes:
        any: Union bound with errors in any proposition of the controller's guards.
        relevant: Union bound with errors in the guards of the present state.
        choice: Union bound with errors that change the choices.
        independent: The exact probability for noise that is drawn anew at every look.
    """

    any: float
    relevant: float
    choice: float
    independent: float


@dataclass(frozen=True)
class _Chances:
    any: float
    relevant: float
    choice: float
    bad: dict[str, float]


class Risk:
    """Probabilities at single decisions of a controller that sees through a noise model.

    Args:
        controller: Who decides.
        semantics: Under which it runs.
        model: How what it is told differs from the truth.
        propositions: What can be observed in the simulator.
        rules: Specifications whose letters are judged.
    """

    def __init__(
        self,
        controller: Controller,
        semantics: Semantics,
        model: NoiseModel,
        propositions: Sequence[str],
        rules: RuleBook | None = None,
    ) -> None:
        self._machine = Machine(controller, semantics, seed=0)
        self._epsilon = STOP if semantics.epsilon == "stop" else None
        self._model = model
        guards = (t.guard for t in controller.transitions)
        used = {name for guard in guards for name in atomic_propositions_of(guard)}
        self._observed = frozenset(propositions)
        self._support = sorted(used & self._observed)
        self._invariants = letter_invariants(rules) if rules is not None else {}
        self._known: dict[tuple[int, frozenset[str]], _Chances] = {}

    def divergence(self, episode: Episode) -> Divergence:
        """Bounds for one truthful run."""
        chances = [self._at(d) for d in before_place(episode)]
        return Divergence(
            min(1.0, sum(c.any for c in chances)),
            min(1.0, sum(c.relevant for c in chances)),
            min(1.0, sum(c.choice for c in chances)),
            1 - prod(1 - c.choice for c in chances),
        )

    def bad_letters(self, episode: Episode) -> dict[str, float]:
        """Expected number of bad letters in a run with the detector, by specification G b."""
        chances = [self._at(d) for d in before_place(episode)]
        return {name: sum(c.bad[name] for c in chances) for name in self._invariants}

    def _at(self, decision: Decision) -> _Chances:
        key = decision.state, decision.label
        if key not in self._known:
            self._known[key] = self._work_out(*key)
        return self._known[key]

    def _work_out(self, state: int, label: frozenset[str]) -> _Chances:
        self._machine.state = state
        relevant = sorted(guard_propositions(self._machine) & self._observed)
        errors = {name: self._model.error(name, name in label) for name in self._support}
        truthful = choices(self._machine, label)
        differs, bad = 0.0, dict.fromkeys(self._invariants, 0.0)
        for wrong in product((False, True), repeat=len(relevant)):
            flipped = {n for n, is_wrong in zip(relevant, wrong, strict=True) if is_wrong}
            chance = prod(errors[n] if n in flipped else 1 - errors[n] for n in relevant)
            if chance == 0:
                continue
            made = choices(self._machine, label.symmetric_difference(flipped))
            differs += chance * (made != truthful)
            for name, invariant in self._invariants.items():
                broken = sum(not invariant(self._letter(label, a)) for a, _ in made)
                bad[name] += chance * broken / len(made)
        return _Chances(
            1 - prod(1 - e for e in errors.values()),
            1 - prod(1 - errors[n] for n in relevant),
            differs,
            bad,
        )

    def _letter(self, label: frozenset[str], action: str) -> frozenset[str]:
        done = self._epsilon if action == EPSILON else action
        return label if done is None else label | {done}


def before_place(episode: Episode) -> tuple[Decision, ...]:
    """The decisions at which there was something to perceive."""
    return episode.decisions[: len(episode.decisions) - episode.closing]


class Invariant:
    """A Boolean formula over letters, to be asked about one of them."""

    def __init__(self, formula: str) -> None:
        self._support = support_of([formula])
        self._table = table_of(formula, self._support)

    def __call__(self, letter: frozenset[str]) -> bool:
        """Whether it holds there."""
        index = 0
        for name in self._support:
            index = 2 * index + (name in letter)
        return bool(self._table >> index & 1)


def letter_invariants(rules: RuleBook) -> dict[str, Invariant]:
    """The specifications of the form G b with a Boolean b, by name."""
    found = {}
    for specification in rules.specifications:
        formula = spot.formula(specification.formula)
        if formula.kind() == spot.op_G and formula[0].is_boolean():
            found[specification.id] = Invariant(str(formula[0]))
    return found


def diverged(episode: Episode, controller: Controller, semantics: Semantics) -> bool:
    """Whether some decision of a run would have been another one under the truth.

    For a run without hesitations this is the event D of the module's description.
    """
    machine = Machine(controller, semantics, seed=0)
    for decision in episode.decisions:
        machine.state = decision.state
        if choices(machine, decision.label) != choices(machine, decision.seen):
            return True
    return False


def mean_divergence(found: Iterable[Divergence]) -> Divergence:
    """The mean over truthful runs."""
    rows = list(found)
    count = max(len(rows), 1)
    return Divergence(
        sum(r.any for r in rows) / count,
        sum(r.relevant for r in rows) / count,
        sum(r.choice for r in rows) / count,
        sum(r.independent for r in rows) / count,
    )
