"""Values that a configuration states, in the type of their field: limits, allowed values, words of a value map."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from trueup.core.types import Target, canonical_json, coerce_value, datetime_text, plain_decimal, plain_float
from trueup.yamlfile import WrittenFloat, WrittenInt, plain

if TYPE_CHECKING:
    from trueup.model import FieldType


def typed(value: Any, field_type: FieldType) -> Any:
    """The value in Python's type for the field (exact Decimal, aware datetime …). Raises ValueError with a reason for people.

    None and empty text are refused: a configuration states values, not their absence. `[]` is the list of nothing.
    """
    written = value.text if isinstance(value, WrittenFloat) or (isinstance(value, WrittenInt) and field_type == "text") else plain(value)
    if field_type == "text" and isinstance(written, bool | dict | list):
        raise ValueError(f"{json.dumps(written)} is not text: put it in quotes if the text is meant")
    found = coerce_value(written, Target(field_type))
    if found is None or (found == [] and written != []):
        raise ValueError(f"an empty value is no {field_type}")
    return Decimal(plain_decimal(found)) if isinstance(found, Decimal) else found


def canonical(value: Any, field_type: FieldType) -> str:
    """The canonical text of a typed value, as cells hold it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, float):
        return plain_float(value)
    if isinstance(value, datetime):
        return datetime_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if field_type == "list":
        return canonical_json(value)
    return str(value)
