"""The borders of downward closed families, against trying every subset."""

from itertools import chain, combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.conflicts import borders, in_order, minimal_transversals

ITEMS = ("a", "b", "c", "d", "e")
SUBSETS = [
    frozenset(s)
    for s in chain.from_iterable(combinations(ITEMS, size) for size in range(len(ITEMS) + 1))
]
families = st.lists(st.frozensets(st.sampled_from(ITEMS)), max_size=5)


@given(families)
def test_borders_are_those_found_by_trying_every_subset(forbidden):
    def feasible(subset):
        return not any(bad <= subset for bad in forbidden)

    good = [s for s in SUBSETS if feasible(s)]
    bad = [s for s in SUBSETS if not feasible(s)]
    found = borders(ITEMS, feasible)
    assert {frozenset(m) for m in found.maximal} == {
        s for s in good if not any(s < other for other in good)
    }
    assert {frozenset(c) for c in found.conflicts} == {
        s for s in bad if not any(other < s for other in bad)
    }


@given(families)
def test_minimal_transversals_are_those_found_by_trying_every_subset(family):
    hitting = [s for s in SUBSETS if all(s & member for member in family)]
    assert set(minimal_transversals(family)) == {
        s for s in hitting if not any(other < s for other in hitting)
    }


@settings(max_examples=50)
@given(st.frozensets(st.sampled_from(ITEMS), min_size=1))
def test_a_single_conflict_is_found_with_few_questions(conflict):
    asked = []

    def feasible(subset):
        asked.append(subset)
        return not conflict <= subset

    assert borders(ITEMS, feasible).conflicts == (in_order(conflict, ITEMS),)
    assert len(asked) <= 1 + len(conflict) * (len(ITEMS) + 1) + 1


def test_subsets_are_listed_by_size_and_in_the_order_of_the_items():
    found = borders(("z", "y", "x"), lambda s: not {"z", "x"} <= s)
    assert found.maximal == (("z", "y"), ("y", "x"))
    assert found.conflicts == (("z", "x"),)
