"""Edits of numbered steps keep every jump on the line that it meant."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.repair.lines import conditional, deleted, inserted, numbered, replaced
from verifier.steps import steps_to_controller
from verifier.truth_tables import table_of
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
NAMES = ("car_from_left", "pedestrian_at_right", "green_traffic_light")


@st.composite
def programs(draw):
    """Lines, each naming itself and jumping to another, and the number of one of them."""
    size = draw(st.integers(2, 9))
    targets = draw(st.lists(st.integers(1, size), min_size=size, max_size=size))
    lines = tuple(f"line{i}. Go to step {t}." for i, t in enumerate(targets, start=1))
    return lines, draw(st.integers(1, size))


def jumps(lines):
    """Which line jumps to which, by their names."""
    names = [line.split(".")[0] for line in lines]
    found = {}
    for line in lines:
        name, _, rest = line.partition(". ")
        if rest.startswith("Go to step"):
            found[name] = names[int(rest.removeprefix("Go to step ").rstrip(".")) - 1]
    return found


@given(programs())
def test_an_inserted_line_moves_no_jump(program):
    lines, step = program
    assert jumps(inserted(lines, step, "new. Stop.")) == jumps(lines)


@given(programs())
def test_jumps_to_a_deleted_line_reach_the_next_one(program):
    lines, step = program
    if step == len(lines):
        return  # the last line has no next one
    before = {name: to for name, to in jumps(lines).items() if name != f"line{step}"}
    expected = {n: f"line{step + 1}" if to == f"line{step}" else to for n, to in before.items()}
    assert jumps(deleted(lines, step)) == expected


def test_a_replaced_line_leaves_the_others():
    assert replaced(("Stop.", "Turn left."), 2, "Turn right.") == ("Stop.", "Turn right.")


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(NAMES),
            st.booleans(),
            min_size=1,
            max_size=3,
        ),
        min_size=1,
        max_size=2,
    )
)
def test_a_conditional_says_what_its_cubes_mean(cubes):
    written = [tuple(sorted(cube.items())) for cube in cubes]
    text = numbered((conditional(written, "turn_right", VOCABULARY), "Stop."))
    controller = steps_to_controller(text, VOCABULARY, "wait").controller
    assert controller is not None
    acts = [t.guard for t in controller.transitions if t.action == "turn_right"]
    means = " | ".join(
        "(" + " & ".join(name if value else f"!{name}" for name, value in cube) + ")"
        for cube in written
    )
    assert table_of(" | ".join(f"({guard})" for guard in acts), NAMES) == table_of(means, NAMES)
