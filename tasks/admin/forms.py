"""A task's Pydantic payload model -> a Django form. One small mapper over the model's JSON Schema.

The form only reads what a browser sends; whether the payload is right is for the model to say, through ``enqueue``.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import escape
from pydantic import BaseModel
from unfold.widgets import (
    INPUT_CLASSES,
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from tasks.payloads import STORED_FILE
from tasks.registry import TaskSpec
from tasks.states import Priority
from tasks.uploads import storage_name

LONG_TEXT_NAMES = {"text", "html", "body", "message", "content", "description", "comment", "markdown"}
_MISSING = object()


@dataclass(frozen=True)
class FieldPlan:
    """One payload field: what its JSON Schema says, references followed and ``| None`` set apart."""

    name: str
    schema: dict[str, Any]
    title: str
    description: str
    required: bool
    nullable: bool
    default: Any

    @property
    def kind(self) -> str:
        """Which of the form's few kinds of field shows it; "json" for whatever has none of its own."""
        schema = self.schema
        if "enum" in schema or "const" in schema:
            return "choice"
        match schema.get("type"):
            case "boolean":
                return "flag" if not self.nullable else "choice"
            case "integer" | "number":
                return str(schema["type"])
            case "string":
                return {STORED_FILE: "file", "date": "date", "date-time": "datetime"}.get(
                    schema.get("format", ""), "text" if self._is_long else "line"
                )
            case "array":
                items = schema.get("items") or {}
                if "enum" in items:
                    return "choices"
                return "lines" if items.get("type") == "string" and items.get("format") != STORED_FILE else "json"
        return "json"

    @property
    def _is_long(self) -> bool:
        marked = self.schema.get("format") == "textarea" or self.schema.get("multiline")
        named = any(part in LONG_TEXT_NAMES for part in self.name.lower().split("_"))
        return bool(marked or named)

    @property
    def values(self) -> list[Any]:
        """What can be chosen, as JSON values."""
        schema = self.schema.get("items", {}) if self.kind == "choices" else self.schema
        if schema.get("type") == "boolean" and "enum" not in schema and "const" not in schema:
            return [True, False]
        return list(schema.get("enum") or [schema.get("const")])


def plans(model: type[BaseModel]) -> list[FieldPlan]:
    """The fields of ``model`` in their order, by the names its payload has on the wire."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", []))
    return [_plan(name, part, definitions, name in required) for name, part in schema.get("properties", {}).items()]


def _plan(name: str, part: dict[str, Any], definitions: dict[str, Any], required: bool) -> FieldPlan:
    shown = _followed(part, definitions)
    options = shown.get("anyOf") or shown.get("oneOf")
    nullable = False
    if options:
        real = [option for option in options if option.get("type") != "null"]
        nullable = len(real) < len(options)
        inner = _followed(real[0], definitions) if len(real) == 1 else {}
        about = {key: value for key, value in shown.items() if key not in ("anyOf", "oneOf")}
        shown = {**inner, **about}
    if isinstance(shown.get("items"), dict):
        shown = {**shown, "items": _followed(shown["items"], definitions)}
    return FieldPlan(
        name=name,
        schema=shown,
        title=part.get("title", ""),  # of the field; a reference would lend it the title of its class
        description=part.get("description", ""),
        required=required,
        nullable=nullable,
        default=shown.get("default", _MISSING),
    )


def _followed(part: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """``part`` with its ``$ref`` replaced by what it names; what stands beside the reference wins."""
    reference = part.get("$ref")
    if reference is None and len(part.get("allOf", [])) == 1:
        reference = part["allOf"][0].get("$ref")
    if reference is None:
        return part
    beside = {key: value for key, value in part.items() if key not in ("$ref", "allOf")}
    return {**definitions.get(reference.rpartition("/")[2], {}), **beside}


def label_of(plan: FieldPlan) -> str:
    """The title written in the model; Pydantic's own ("Older Than Days") gives way to "Older than days"."""
    made_up = plan.name.title().replace("_", " ").strip()
    if plan.title and plan.title != made_up:
        return plan.title
    spoken = plan.name.replace("_", " ").strip()
    return spoken[:1].upper() + spoken[1:]


class LinesField(forms.CharField):
    """A list of text, one item a line; blank lines are dropped."""

    def clean(self, value: Any) -> list[str]:
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value


class JsonField(forms.JSONField):
    """JSON as typed. An empty box is "not given", and not null."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.widget.attrs["spellcheck"] = "false"
        self.widget.attrs["class"] = f"{self.widget.attrs.get('class', '')} tp-mono"


class TypedInput(forms.TextInput):
    """A native input whose ``type`` Django's own TextInput would overwrite."""

    template_name = "django/forms/widgets/input.html"

    def __init__(self, input_type: str, **attrs: Any):
        super().__init__(attrs={"class": " ".join(INPUT_CLASSES), **attrs})
        self.input_type = input_type

    def format_value(self, value: Any) -> str | None:
        if isinstance(value, datetime):
            return f"{value.astimezone(timezone.get_current_timezone()):%Y-%m-%dT%H:%M:%S}"
        return value.isoformat() if isinstance(value, date) else super().format_value(value)


def form_field(plan: FieldPlan) -> forms.Field:
    """The Django field for ``plan``. Never required here: the model says what is missing, in its own words."""
    schema = plan.schema
    common: dict[str, Any] = {
        "required": False,
        "label": label_of(plan),
        "help_text": _escaped(plan.description),
    }
    match plan.kind:
        case "flag":
            return forms.BooleanField(widget=UnfoldBooleanWidget, **common)
        case "integer":
            return forms.IntegerField(widget=TypedInput("number", step="1", **_bounds(schema)), **common)
        case "number":
            return forms.FloatField(widget=TypedInput("number", step="any", **_bounds(schema)), **common)
        case "date":
            return forms.DateField(widget=TypedInput("date"), **common)
        case "datetime":
            common["help_text"] = f"{common['help_text']} Time in UTC.".strip()
            return forms.DateTimeField(widget=TypedInput("datetime-local", step="1"), **common)
        case "choice":
            known = len(plan.values) == 1 or (plan.default is not _MISSING and plan.default in plan.values)
            empty = [] if known and not plan.nullable else [("", "-" if plan.nullable else "Choose…")]
            return forms.ChoiceField(choices=[*empty, *_choices(plan)], widget=UnfoldAdminSelectWidget, **common)
        case "choices":
            return forms.MultipleChoiceField(
                choices=_choices(plan), widget=UnfoldAdminCheckboxSelectMultipleWidget, **common
            )
        case "file":
            return forms.FileField(
                widget=UnfoldAdminFileFieldWidget, allow_empty_file=True, validators=[_check_size], **common
            )
        case "lines":
            common["help_text"] = f"{common['help_text']} One per line.".strip()
            return LinesField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), **common)
        case "text":
            return forms.CharField(strip=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 6}), **common)
        case "line":
            return forms.CharField(widget=TypedInput(_INPUT_TYPES.get(schema.get("format", ""), "text")), **common)
    common["help_text"] = f"{common['help_text']} JSON.".strip()
    return JsonField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 5}), **common)


_INPUT_TYPES = {"email": "email", "uri": "url", "time": "time", "password": "password"}


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    return {end: schema[key] for end, key in (("min", "minimum"), ("max", "maximum")) if key in schema}


def _choices(plan: FieldPlan) -> list[tuple[str, str]]:
    return [(json.dumps(value), _spoken(value)) for value in plan.values]


def _spoken(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return value.replace("_", " ") if isinstance(value, str) else json.dumps(value)


def _escaped(text: str) -> str:
    return escape(" ".join(text.split()))  # help texts are printed as they are


def _initial(plan: FieldPlan) -> Any:
    if plan.default is _MISSING or plan.default is None:
        return None
    match plan.kind:
        case "choice":
            return json.dumps(plan.default)
        case "choices":
            return [json.dumps(value) for value in plan.default]
        case "file":
            return None
        case "datetime":
            return parse_datetime(plan.default)
    return plan.default


def _check_size(upload: UploadedFile) -> None:
    limit = settings.TASKS_MAX_UPLOAD_BYTES
    if upload.size is not None and upload.size > limit:
        raise forms.ValidationError(f"The file has {upload.size:,} bytes and may have {limit:,}.")


class PayloadForm(forms.Form):
    """The payload of one task. ``payload()`` is what the browser sent as JSON values; unasked fields are left out."""

    def __init__(self, spec: TaskSpec, *args: Any, **kwargs: Any):
        super().__init__(*args, **{**kwargs, "prefix": "payload"})
        self.plans = plans(spec.payload)
        for plan in self.plans:
            field = self.fields[plan.name] = form_field(plan)
            field.initial = _initial(plan)
            # A mark at the label only: the browser's own check would come before the model's words.
            field.is_needed = plan.required and plan.kind != "flag"  # type: ignore[attr-defined]
        self._names = {
            plan.name: storage_name(upload.name or "")
            for plan in self.plans
            if plan.kind == "file" and (upload := self.files.get(self.add_prefix(plan.name)))
        }

    @property
    def has_files(self) -> bool:
        return any(plan.kind == "file" for plan in self.plans)

    def payload(self) -> dict[str, Any]:
        """Call after ``is_valid()``. A file stands there by the name it is going to have in the storage."""
        values = ((plan, self._value(plan)) for plan in self.plans if plan.name in self.cleaned_data)
        return {plan.name: value for plan, value in values if value is not _MISSING}

    def uploads(self) -> list[tuple[str, UploadedFile]]:
        """(name in the storage, file) of every file chosen."""
        return [(name, self.cleaned_data[field]) for field, name in self._names.items() if self.cleaned_data.get(field)]

    def _value(self, plan: FieldPlan) -> Any:
        value = self.cleaned_data[plan.name]
        match plan.kind:
            case "flag":
                return value
            case "file":
                return self._names.get(plan.name, _MISSING)
            case "choice" if value:
                return json.loads(value)
            case "choices" if value or not (plan.required or plan.nullable):
                return [json.loads(item) for item in value]
            case "json":
                return self._cleared(plan) if value is None else value
            case "date" | "datetime" if value:
                return value.isoformat()
        if value not in (None, "", []):
            return value
        return self._cleared(plan)

    def _cleared(self, plan: FieldPlan) -> Any:
        """An empty box where the form had put a default means that the operator took it away."""
        if plan.required or plan.default in (_MISSING, None, "", []):
            return _MISSING
        if plan.nullable:
            return None
        return {"line": "", "text": "", "lines": []}.get(plan.kind, _MISSING)

    def show(self, field: str, message: str) -> None:
        """Put a problem of the model (``to.0``) at its field, or above the form where it belongs to none."""
        name, _, rest = field.partition(".")
        if name not in self.fields:
            self.add_error(None, f"{field}: {message}" if field else message)
        elif rest or name not in self.errors:  # what could not be read is missing for the model: one message is enough
            self.add_error(name, f"{_place(rest)}{message}")


def _place(rest: str) -> str:
    """``0`` -> "Line 1: "; deeper places as they are."""
    if not rest:
        return ""
    return f"Line {int(rest) + 1}: " if rest.isdigit() else f"{rest}: "


class OptionsForm(forms.Form):
    """When and how the job runs."""

    priority = forms.ChoiceField(choices=Priority.choices, initial=Priority.NORMAL, widget=UnfoldAdminSelectWidget)
    delay_seconds = forms.FloatField(
        required=False,
        min_value=0,
        label="Delay (seconds)",
        help_text="Run this long from now.",
        widget=TypedInput("number", min="0", step="any"),
    )
    run_at = forms.DateTimeField(
        required=False,
        label="Run at",
        help_text="Or run at this moment. Time in UTC.",
        widget=TypedInput("datetime-local", step="1"),
    )
    idempotency_key = forms.CharField(
        required=False,
        max_length=200,
        label="Idempotency key",
        help_text="The same key and payload again give the first job, and no second one.",
        widget=TypedInput("text"),
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{**kwargs, "prefix": "options"})

    def options(self) -> dict[str, Any]:
        """Arguments of ``enqueue``."""
        given = self.cleaned_data
        return {
            "priority": given["priority"],
            "delay_seconds": given["delay_seconds"],
            "run_at": given["run_at"],
            "idempotency_key": given["idempotency_key"] or None,
        }
