import pytest

from tasks.dead_letters.filling import filled
from tasks.dead_letters.masking import MASK

ORIGINAL = {
    "user": "ann",
    "password": "s3cret",
    "keys": [{"name": "a", "token": "t-a"}, {"name": "b", "token": "t-b"}],
    "notes": ["one", "two"],
    "quoted": f"was {MASK}",
}
SHOWN = {
    "user": "ann",
    "password": MASK,
    "keys": [{"name": "a", "token": MASK}, {"name": "b", "token": MASK}],
    "notes": [MASK, MASK],
    "quoted": f"was {MASK}",
}


@pytest.mark.parametrize(
    ("edit", "filled_in"),
    [
        ({}, {}),
        ({"user": "bob"}, {"user": "bob"}),
        ({"password": "new"}, {"password": "new"}),
        ({"password": None}, {"password": None}),
        ({"notes": [MASK, "three"]}, {"notes": ["one", "three"]}),
        (
            {"keys": [{"name": "A", "token": MASK}, {"name": "b", "token": MASK}]},
            {"keys": [{"name": "A", "token": "t-a"}, {"name": "b", "token": "t-b"}]},
        ),
        (
            {"keys": [{"name": "a", "token": "new"}, {"name": "b", "token": MASK}]},
            {"keys": [{"name": "a", "token": "new"}, {"name": "b", "token": "t-b"}]},
        ),
        ({"keys": []}, {"keys": []}),
    ],
)
def test_what_was_left_masked_keeps_its_value(edit, filled_in):
    found = filled({**SHOWN, **edit}, shown=SHOWN, original=ORIGINAL)
    assert found.value == {**ORIGINAL, **filled_in}
    assert found.unclear == []


@pytest.mark.parametrize(
    ("edit", "unclear"),
    [
        ({"user": MASK}, [("user",)]),
        ({"password": f"{MASK}x"}, [("password",)]),
        ({"new": {"password": MASK}}, [("new", "password")]),
        ({"notes": [MASK]}, [("notes", 0)]),
        ({"notes": [MASK, MASK, "three"]}, [("notes", 0), ("notes", 1)]),
        (
            {"keys": [{"name": "b", "token": MASK}, {"name": "a", "token": MASK}]},
            [("keys", 0, "token"), ("keys", 1, "token")],
        ),
        ({"keys": [{"name": "b", "token": MASK}, {"name": "a", "token": "new"}]}, [("keys", 0, "token")]),
        ({"keys": [{"name": "b", "token": MASK}]}, [("keys", 0, "token")]),
    ],
)
def test_a_mask_that_was_moved_or_written_into_stands_for_nothing(edit, unclear):
    assert filled({**SHOWN, **edit}, shown=SHOWN, original=ORIGINAL).unclear == unclear


def test_it_is_told_which_places_kept_what_nobody_saw():
    assert filled({"password": MASK, "quoted": SHOWN["quoted"]}, shown=SHOWN, original=ORIGINAL).kept == [("password",)]


def test_what_was_not_shown_as_fields_has_none_to_keep():
    assert filled({"a": MASK}, shown=MASK, original="raw text").unclear == [("a",)]
