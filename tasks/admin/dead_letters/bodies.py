"""What is edited, as a form: a payload by the fields of its task, or as JSON; a message as text."""

import json
from typing import Any, ClassVar

from django import forms
from django.utils.dateparse import parse_datetime
from unfold.widgets import UnfoldAdminTextareaWidget

from tasks.admin.forms import FieldPlan, PayloadForm, TypedInput, label_of
from tasks.dead_letters.masking import MASK
from tasks.registry import TaskSpec

_MISSING = object()


class MaskedField(forms.CharField):
    """A value that is not shown. Left as it is, it stays; what is typed instead is text, or JSON of another kind."""

    def __init__(self, plan: FieldPlan, **options: Any):
        help_text = "Masked. Leave it to keep its value, or write a new one."
        super().__init__(required=False, help_text=help_text, strip=False, widget=TypedInput("text"), **options)
        self._is_text = plan.schema.get("type") == "string"

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if text in ("", MASK) or self._is_text:
            return text
        try:
            return json.loads(text)
        except ValueError:
            return text


class FieldsBody(PayloadForm):
    """A payload that exists, by the fields of its task. A file is the name of one in the storage."""

    kind: ClassVar[str] = "fields"

    def __init__(self, spec: TaskSpec, *, value: Any, seen: Any, data: Any = None):
        """``seen`` is the original as the person may see it, ``value`` what the form begins with."""
        super().__init__(spec, data)
        self.spec = spec
        self._own = set[str]()
        for plan in self.plans:
            if isinstance(seen, dict) and seen.get(plan.name) == MASK:
                self._put(plan, MaskedField(plan, label=label_of(plan)))
            elif plan.kind == "file":
                name = forms.CharField(
                    required=False, label=label_of(plan), help_text="Name in the storage.", widget=TypedInput("text")
                )
                self._put(plan, name)
            if isinstance(value, dict) and plan.name in value:
                self.fields[plan.name].initial = self._begin(plan, value[plan.name])

    def _put(self, plan: FieldPlan, field: forms.Field) -> None:
        field.is_needed = plan.required  # type: ignore[attr-defined]
        self.fields[plan.name] = field
        self._own.add(plan.name)

    def _begin(self, plan: FieldPlan, value: Any) -> Any:
        if plan.name in self._own:
            return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        match plan.kind:
            case "choice":
                return json.dumps(value) if value is not None else ""
            case "choices" if isinstance(value, list):
                return [json.dumps(item) for item in value]
            case "datetime" if isinstance(value, str):
                return parse_datetime(value) or value
        return value

    def _value(self, plan: FieldPlan) -> Any:
        if plan.name in self._own:
            return self.cleaned_data[plan.name] or self._cleared(plan)
        value = super()._value(plan)
        # A browser ends lines in its own way; text that had that already is edited as JSON.
        return value.replace("\r\n", "\n") if plan.kind == "text" and isinstance(value, str) else value

    def value(self) -> Any:
        """The payload as it was typed. Call after ``is_valid()``."""
        return self.payload()

    def holds(self, value: Any) -> bool:
        """Whether the form, sent back as it begins, would say just ``value``: nothing of it is lost in the fields."""
        sent = FieldsBody(self.spec, value=None, seen=None, data=self.as_sent())
        sent.fields, sent._own = self.fields, self._own
        if not isinstance(value, dict) or not sent.is_valid() or not value.keys() <= set(self.fields):
            return False
        said = sent.payload()
        return all(self._are_same(plan, value, said) for plan in self.plans)

    def as_sent(self) -> dict[str, Any]:
        """What a browser sends of the form as it begins."""
        sent: dict[str, Any] = {}
        for bound in self:
            value = bound.field.prepare_value(bound.initial)
            if isinstance(bound.field, (forms.ChoiceField, forms.BooleanField)) or value is None:
                sent[bound.html_name] = value or ""
            else:
                sent[bound.html_name] = bound.field.widget.format_value(value)
        return sent

    @staticmethod
    def _are_same(plan: FieldPlan, value: dict[str, Any], said: dict[str, Any]) -> bool:
        before, after = value.get(plan.name, _MISSING), said.get(plan.name, _MISSING)
        default = plan.schema.get("default", None if plan.nullable else _MISSING)
        before, after = (default if side is _MISSING else side for side in (before, after))
        if plan.kind == "datetime" and isinstance(before, str) and isinstance(after, str):
            return parse_datetime(before) == parse_datetime(after)
        if isinstance(before, bool) != isinstance(after, bool):
            return False
        return bool(before == after)


class JsonBody(forms.Form):
    """A payload as JSON: of a task that this build does not know, or one that does not fit the form of its task."""

    kind: ClassVar[str] = "json"

    json = forms.CharField(
        label="Payload",
        help_text="A JSON object.",
        strip=False,
        error_messages={"required": "Write the payload, a JSON object; {} is an empty one."},
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 16, "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.fields["json"].widget.attrs["class"] += " tp-mono"

    @classmethod
    def of(cls, value: Any) -> "JsonBody":
        return cls(initial={"json": json.dumps(value, indent=2, ensure_ascii=False)})

    def clean_json(self) -> str:
        text: str = self.cleaned_data["json"]
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not JSON: {error}.") from None
        if not isinstance(value, dict):
            raise forms.ValidationError('This is JSON and no object; write {"name": value, …}.')
        return text

    def value(self) -> Any:
        return json.loads(self.cleaned_data["json"])

    def show(self, field: str, message: str) -> None:
        self.add_error("json", f"{field}: {message}" if field else message)


class TextBody(forms.Form):
    """A message that no job was made of."""

    kind: ClassVar[str] = "text"

    text = forms.CharField(
        label="Message",
        strip=False,
        error_messages={"required": "Write the message."},
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 16, "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.fields["text"].widget.attrs["class"] += " tp-mono"

    @classmethod
    def of(cls, value: str) -> "TextBody":
        return cls(initial={"text": value})

    def value(self) -> str:
        text: str = self.cleaned_data["text"]
        return text

    def show(self, field: str, message: str) -> None:
        self.add_error("text", message if field == "text" else f"{field}: {message}")


Body = FieldsBody | JsonBody | TextBody
