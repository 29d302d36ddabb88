"""What every shape of a configuration is made of: the base of all shapes, and what single settings may look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, WithJsonSchema, model_validator

from trueup.config import alert_forms, forms
from trueup.model import When

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

NAMES_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}

Text = Annotated[str, BeforeValidator(forms.filled_text)]
Duration = Annotated[
    float, PlainValidator(forms.duration_s), WithJsonSchema({"type": "string", "pattern": forms.DURATION_PATTERN, "examples": ["15m"]})
]
Share = Annotated[
    float | None,
    PlainValidator(forms.share),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string"}, {"const": False}]}),
]
Zone = Annotated[str, PlainValidator(forms.zone), WithJsonSchema({"type": "string", "examples": ["Europe/London", "UTC"]})]
Names = Annotated[tuple[str, ...], PlainValidator(forms.name_list), WithJsonSchema(NAMES_SCHEMA)]
Secrets = Annotated[str | tuple[str, ...], PlainValidator(forms.secrets), WithJsonSchema(NAMES_SCHEMA)]
MatchRule = Annotated[
    tuple[str, ...], PlainValidator(forms.match_rule), WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1})
]
Clock = Annotated[str, PlainValidator(forms.clock), WithJsonSchema({"type": "string", "examples": ["06:30"]})]
Days = Annotated[tuple[int, ...], PlainValidator(forms.days), WithJsonSchema(NAMES_SCHEMA)]
ClockRanges = Annotated[
    tuple[tuple[str, str], ...], PlainValidator(forms.clock_ranges), WithJsonSchema({"type": "array", "examples": [["09:00", "17:00"]]})
]
OrOff = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
DurationOrOff = Annotated[float | None, PlainValidator(alert_forms.duration), WithJsonSchema(OrOff)]
CountOrOff = Annotated[float | None, PlainValidator(alert_forms.count), WithJsonSchema(OrOff)]
SizeOrOff = Annotated[float | None, PlainValidator(alert_forms.size), WithJsonSchema(OrOff)]
OnOrOff = Annotated[float | None, PlainValidator(alert_forms.switch), WithJsonSchema(OrOff)]
Addresses = Annotated[tuple[str, ...], PlainValidator(alert_forms.addresses), WithJsonSchema(NAMES_SCHEMA)]
Schedule = Annotated[
    When,
    PlainValidator(forms.when),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "realtime"},
                {"type": "object", "properties": {"every": {"type": "string"}}, "required": ["every"], "additionalProperties": False},
                {
                    "type": "object",
                    "properties": {"at": {"type": "string"}, "days": NAMES_SCHEMA, "timezone": {"type": "string"}},
                    "required": ["at"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"cron": {"type": "string"}, "timezone": {"type": "string"}},
                    "required": ["cron"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
ConflictForm = Annotated[
    forms.Conflict,
    PlainValidator(forms.conflict),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(forms.PLAIN_RULES)},
                {
                    "type": "object",
                    "properties": {"merge": {"enum": list(forms.MERGES)}},
                    "required": ["merge"],
                    "additionalProperties": False,
                },
                {"type": "object", "properties": {"rule": {"type": "string"}}, "required": ["rule"], "additionalProperties": False},
            ]
        }
    ),
]
CleanForm = Annotated[
    tuple[Any, ...],
    PlainValidator(forms.clean_steps),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "object"]}}]}),
]
KeyForm = Annotated[
    forms.Key,
    PlainValidator(forms.key),
    WithJsonSchema(
        {
            "anyOf": [
                *NAMES_SCHEMA["anyOf"],
                {
                    "type": "object",
                    "properties": {"column": NAMES_SCHEMA, "assign": NAMES_SCHEMA},
                    "required": ["column"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
ObjectForm = Annotated[
    forms.NativeObject,
    PlainValidator(forms.native_object),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"], "additionalProperties": False},
            ]
        }
    ),
]


Comparing = Annotated[
    When | None, PlainValidator(forms.comparing), WithJsonSchema({"anyOf": [{"type": "object"}, {"const": "off"}, {"const": False}]})
]
Repeating = Annotated[When, PlainValidator(forms.repeating), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}]})]
HIDDEN: dict[str, Any] = {"hidden": True}
"""Marks what only the short form of a shape sets."""


class Shape(BaseModel):
    """Base of all shapes: unknown settings are refused, an empty setting (`where:`) is as if not said."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, alias_generator=lambda name: name.rstrip("_"), arbitrary_types_allowed=True
    )
    short_schema: ClassVar[dict[str, Any] | None] = None  # JSON Schema of the short form, where there is one

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """The long form of a short one; anything else unchanged."""
        return value

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """The names that a person may write here."""
        return tuple(info.alias or name for name, info in cls.model_fields.items() if info.json_schema_extra is not HIDDEN)

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, value: Any) -> Any:
        value = cls.from_short(value)
        if not isinstance(value, dict):
            return value
        known = {info.alias or name for name, info in cls.model_fields.items()}
        return {name: item for name, item in value.items() if item is not None or name not in known}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The long form, and the short one beside it."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        for name in [name for name, part in schema.get("properties", {}).items() if "hidden" in part]:
            del schema["properties"][name]
        if cls.short_schema is None:
            return schema
        return {"description": schema.pop("description", ""), "anyOf": [cls.short_schema, schema]}
