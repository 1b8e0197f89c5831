from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypedDict

from tasks.api import Sensitive
from tasks.dead_letters.masking import MASK, Mask, is_declared_sensitive, is_sensitive_name
from tasks.registry import registry, task


class Address(TypedDict):
    city: str
    street: Annotated[str, Sensitive()]


class Card(BaseModel):
    number: Annotated[str, Sensitive()]
    holder: str = ""
    spare: "Card | None" = None


class Payment(BaseModel):
    order: int
    card: Card | None = None
    cards: list[Card] = []
    by_name: dict[str, Card] = {}
    notes: list[Annotated[str, Sensitive]] = []
    iban: Annotated[str, Sensitive()] = Field("", alias="IBAN")
    pin: SecretStr | None = None
    health: Annotated[dict[str, Any], Sensitive()] = {}
    address: Address | None = None


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_specs", dict(registry._specs))
    task("masking.pay", payload=Payment)(lambda payload, context: None)


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ({"order": 7}, {"order": 7}),
        ({"card": {"number": "4111", "holder": "Ann"}}, {"card": {"number": MASK, "holder": "Ann"}}),
        ({"card": {"spare": {"number": "4111"}}}, {"card": {"spare": {"number": MASK}}}),
        ({"cards": [{"number": "1"}, {"number": ""}]}, {"cards": [{"number": MASK}, {"number": ""}]}),
        ({"by_name": {"work": {"number": "1"}}}, {"by_name": {"work": {"number": MASK}}}),
        ({"notes": ["a", "b"]}, {"notes": [MASK, MASK]}),
        ({"IBAN": "DE02"}, {"IBAN": MASK}),
        ({"iban": "DE02"}, {"iban": MASK}),
        ({"pin": "1234"}, {"pin": MASK}),
        ({"pin": None}, {"pin": None}),
        ({"health": {"blood": "0"}}, {"health": MASK}),
        ({"address": {"city": "Bonn", "street": "Weg 1"}}, {"address": {"city": "Bonn", "street": MASK}}),
        ({"unknown": {"password": ["x", "y"]}}, {"unknown": {"password": MASK}}),
        ([1, "odd"], [1, "odd"]),
        (None, None),
    ],
)
def test_what_is_declared_sensitive_or_called_so_is_masked_wherever_it_stands(payload, shown):
    assert Mask().payload("masking.pay", payload) == shown


def test_the_payload_itself_is_left_as_it_is():
    payload = {"card": {"number": "4111"}}
    Mask().payload("masking.pay", payload)
    assert payload == {"card": {"number": "4111"}}


def test_a_task_that_nobody_knows_is_masked_by_names():
    assert Mask().payload("no.such", {"token": "t", "number": "1"}) == {"token": MASK, "number": "1"}


@pytest.mark.parametrize(
    "name",
    ["password", "Authorization", "api_key", "apiKey", "X-Auth-Token", "clientSecret", "APIToken", "Cookie", "DB_PWD"],
)  # fmt: skip
def test_such_names_are_always_masked(name):
    assert is_sensitive_name(name)


@pytest.mark.parametrize("name", ["secretary", "key", "author", "tokenizer", "monkey", "pass", "order_id", ""])
def test_such_names_are_not(name):
    assert not is_sensitive_name(name)


def test_an_error_does_not_tell_what_the_payload_hides():
    mask = Mask()
    mask.payload("masking.pay", {"card": {"number": "4111-1111"}, "notes": ["ab"]})
    assert mask.text("card 4111-1111 was refused, ab") == f"card {MASK} was refused, ab"


def test_a_longer_value_is_hidden_before_one_that_it_holds():
    mask = Mask()
    mask.named({"token": "abcd", "secret": "abcdefgh"})
    assert mask.text("abcdefgh") == MASK


@pytest.mark.parametrize(
    ("path", "sensitive"),
    [
        ("card.number", True),
        ("cards.0.number", True),
        ("health.blood", True),
        ("card.holder", False),
        ("no.such", False),
    ],
)
def test_a_path_into_something_sensitive_is_known(path, sensitive):
    assert is_declared_sensitive(Payment, path.split(".")) is sensitive
