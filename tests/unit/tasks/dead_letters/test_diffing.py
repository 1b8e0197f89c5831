import pytest

from tasks.dead_letters.diffing import ABSENT, Change, at, changes


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [Change(("a",), 1, 2)]),
        ({"a": None}, {}, [Change(("a",), None, ABSENT)]),
        ({}, {"a": None}, [Change(("a",), ABSENT, None)]),
        ({"a": 1}, {"a": True}, [Change(("a",), 1, True)]),
        ({"a": 1}, {"a": 1.0}, [Change(("a",), 1, 1.0)]),
        ({"a": [1, 2]}, {"a": [2]}, [Change(("a", 0), 1, 2), Change(("a", 1), 2, ABSENT)]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, [Change(("a", 0, "b"), 1, 2)]),
        ({"a": {"b": 1}}, {"a": [1]}, [Change(("a",), {"b": 1}, [1])]),
        ({"b": 1, "a": 1}, {"c": 2, "a": 2, "b": 2}, [Change((name,), *values) for name, *values in
                                                      [("b", 1, 2), ("a", 1, 2), ("c", ABSENT, 2)]]),
        ("text", {"a": 1}, [Change((), "text", {"a": 1})]),
    ],
)  # fmt: skip
def test_fields_that_differ_are_listed_with_both_sides(before, after, found):
    assert list(changes(before, after)) == found


def test_a_change_as_json_leaves_the_absent_side_out():
    assert Change(("to", 1), ABSENT, "x").as_dict() == {"field": "to.1", "kind": "added", "after": "x"}
    assert Change(("to",), None, ABSENT).as_dict() == {"field": "to", "kind": "removed", "before": None}


def test_what_is_masked_as_a_whole_hides_what_is_in_it():
    assert at({"card": "***"}, ("card", "number")) == "***"
    assert at({"to": ["a", "***"]}, ("to", 1)) == "***"
    assert at({}, ("to",)) is ABSENT
