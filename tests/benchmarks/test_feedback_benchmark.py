"""What the comparison of two kinds of feedback counts."""

from benchmarks.feedback import agreement_rows


def test_answers_are_counted_by_who_accepts_them():
    found = [
        ("sampled", (True, True), ()),
        ("sampled", (True, False), ("yield_to_left",)),
        ("sampled", (False, False), ("yield_to_right",)),
        ("sampled", (False, True), ()),
        ("sampled", (True, True), ()),
        ("repaired", (True, True), ()),
    ]
    sampled, repaired = agreement_rows(found, "sumo")
    assert (sampled.value, sampled.peer_value) == (3, 2)
    assert sampled.note.endswith("did not in sumo: yield_to_left 1.")
    assert "5 readable answers both accept 2 and both refuse 1; 1 are accepted" in sampled.note
    assert (repaired.value, repaired.peer_value) == (1, 1)


def test_a_kind_without_answers_has_no_row():
    assert [row.what for row in agreement_rows([("sampled", (False, False), ())], "sumo")] == [
        "sampled answers that simulation accepts"
    ]
