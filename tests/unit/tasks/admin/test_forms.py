import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from tasks.admin.forms import PayloadForm, form_field, label_of, plans
from tasks.payloads import dump_payload
from tasks.registry import registry
from tasks.uploads import save_uploads, storage_name
from tests.unit.tasks.admin.conftest import Everything


def filled(task="case.everything", files=None, **values):
    data = QueryDict(mutable=True)
    for name, value in values.items():
        data.setlist(f"payload-{name}", value if isinstance(value, list) else [value])
    files = MultiValueDict({f"payload-{name}": [file] for name, file in (files or {}).items()})
    return PayloadForm(registry.get(task), data, files)


def as_the_browser_sends_it_first(task="case.everything"):
    """An untouched form, its defaults in place."""
    form = PayloadForm(registry.get(task))
    values = {}
    for bound in form:
        shown = bound.field.prepare_value(bound.initial) if hasattr(bound.field, "prepare_value") else bound.initial
        if shown in (None, False):
            continue
        values[bound.name] = [str(item) for item in shown] if isinstance(shown, list) else str(shown)
    return values


@pytest.mark.parametrize(
    ("name", "typed", "wanted"),
    [
        ("line", "hello", "hello"),
        ("text", "two\r\n  lines ", "two\r\n  lines "),
        ("count", "7", 7),
        ("ratio", "0.25", 0.25),
        ("is_loud", "on", True),
        ("day", "2026-02-28", "2026-02-28"),
        ("moment", "2026-02-28T08:30", "2026-02-28T08:30:00Z"),
        ("size", '"very_large"', "very_large"),
        ("color", '"dark_blue"', "dark_blue"),
        ("formats", ['"csv"', '"xlsx"'], ["csv", "xlsx"]),
        ("to", "ada@example.org\r\n\r\n bob@example.org ", ["ada@example.org", "bob@example.org"]),
        ("tags", "a\nb", ["a", "b"]),
        ("maybe", "0", 0),
        ("point", '{"x": 1, "y": 2}', {"x": 1, "y": 2}),
        ("extra", '{"deep": [1, null]}', {"deep": [1, None]}),
    ],
)
def test_each_kind_of_field_round_trips(name, typed, wanted):
    form = filled(
        **({"line": "x"} | as_the_browser_sends_it_first() | {name: typed, **({} if name == "line" else {"line": "x"})})
    )
    assert form.is_valid(), form.errors
    assert json.loads(dump_payload(registry.get("case.everything"), form.payload()))[name] == wanted


def test_an_untouched_form_gives_the_defaults_of_the_model():
    form = filled(**{**as_the_browser_sends_it_first(), "line": "x"})
    assert form.is_valid(), form.errors
    dumped = json.loads(dump_payload(registry.get("case.everything"), form.payload()))
    assert dumped == Everything(line="x").model_dump(mode="json")


def test_an_emptied_box_takes_a_default_away_only_where_there_was_one():
    form = filled(line="x", count="", formats=[], maybe="", tags="")
    assert form.is_valid()
    assert form.payload() == {"line": "x", "is_loud": False, "formats": []}


def test_a_field_is_called_as_its_model_says_and_never_by_its_class():
    labels = {plan.name: label_of(plan) for plan in plans(Everything)}
    assert (labels["line"], labels["is_loud"], labels["color"], labels["point"]) == (
        "HTTP address", "Is loud", "Color", "Point",
    )  # fmt: skip


def test_help_texts_of_a_model_are_text_and_not_markup():
    assert "Where &lt;it&gt; is." in filled()["line"].help_text


def test_kinds_follow_the_types():
    assert {plan.name: plan.kind for plan in plans(Everything)} == {
        "line": "line", "text": "text", "count": "integer", "ratio": "number", "is_loud": "flag", "day": "date",
        "moment": "datetime", "size": "choice", "color": "choice", "formats": "choices", "to": "lines", "tags": "lines",
        "maybe": "integer", "point": "json", "extra": "json",
    }  # fmt: skip


def test_what_can_not_be_read_is_told_at_its_field():
    form = filled(line="x", count="seven", extra="{", day="2026-02-30", size='"huge"')
    assert not form.is_valid()
    assert set(form.errors) == {"count", "extra", "day", "size"}


@pytest.mark.parametrize(
    ("field", "where", "text"),
    [
        ("to.0", "to", "Line 1: bad"),
        ("to", "to", "bad"),
        ("point.x", "point", "x: bad"),
        ("", "__all__", "bad"),
        ("gone", "__all__", "gone: bad"),
    ],
)
def test_a_problem_of_the_model_is_shown_where_it_belongs(field, where, text):
    form = filled(line="x")
    form.is_valid()
    form.show(field, "bad")
    assert form.errors[where] == [text]


def test_the_only_choice_is_made_already():
    plan = plans(Everything)[7]
    only = replace(plan, schema={"const": "small"}, required=True, default=None)
    assert form_field(only).choices == [('"small"', "small")]


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\temp\\a b.PNG", "", "…", "a" * 300 + ".jpeg", "x.p<h>p"])
def test_a_storage_name_keeps_nothing_dangerous_of_the_browsers(name):
    made = storage_name(name)
    assert default_storage.generate_filename(made) == made
    assert made.startswith("uploads/")
    assert ".." not in made
    assert len(made) < 120
    assert storage_name(name) != made


def test_uploads_are_kept_all_or_not_at_all(monkeypatch):
    taken = default_storage.save("uploads/taken.txt", SimpleUploadedFile("a", b"1"))
    with pytest.raises(FileExistsError):
        save_uploads([("uploads/new.txt", SimpleUploadedFile("b", b"2")), (taken, SimpleUploadedFile("c", b"3"))])
    assert default_storage.listdir("uploads")[1] == ["taken.txt"]


def test_dates_with_defaults_show_as_the_browsers_pickers_want_them():
    form = PayloadForm(registry.get("case.everything"), initial={})
    form.fields["day"].initial = date(2026, 1, 31)
    form.fields["moment"].initial = datetime(2026, 1, 31, 8, 5, tzinfo=UTC)
    assert 'type="date"' in str(form["day"])
    assert 'value="2026-01-31"' in str(form["day"])
    assert 'value="2026-01-31T08:05:00"' in str(form["moment"])
