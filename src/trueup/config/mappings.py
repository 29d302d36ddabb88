"""Mappings: how each system shows an entity, checked against the entity's fields and against what the kind of system can do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trueup.config.expressions import check_expression
from trueup.config.forms import ASSIGNERS, NativeObject, kind_of
from trueup.config.suggest import did_you_mean, listing
from trueup.config.values import canonical, typed
from trueup.core.types import Target, format_problem
from trueup.model import FieldMapping, Mapping, ObjectSpec
from trueup.yamlfile import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.config.fields import Surroundings
    from trueup.config.report import Report
    from trueup.config.schema import FieldMappingShape, FieldShape, MappingShape
    from trueup.model import Direction
    from trueup.yamlfile import YamlPath

_FILE_ONLY = ("header_row", "empty")
_NEEDS_OBJECT = ("database", "api")
_NO_VALUES = ("json", "reference")


def build_mappings(around: Surroundings) -> dict[str, Mapping]:
    """All mappings in the order of the file; what is wrong with them is reported."""
    built = {}
    for system, shape in around.shape.mappings.items():
        path = around.mapping_path(system)
        if system not in around.systems and not around.report.is_broken(("systems", system)):
            what = f"unknown system `{system}` in the mappings of {around.entity}{did_you_mean(system, around.systems)}"
            around.report.add(path, what, listing("systems", around.systems))
        built[system] = _build(system, shape, path, around)
    return built


def _build(system: str, shape: MappingShape, path: YamlPath, around: Surroundings) -> Mapping:
    report = around.report
    kind = around.systems[system].kind if system in around.systems else None
    native = shape.object_ or NativeObject()
    _check_object(native, shape, kind, path, report)
    if shape.where is not None:
        check_expression(shape.where, (*path, "where"), report, None)
    fields = {}
    for name, field_shape in shape.fields.items():
        field_path = (*path, "fields", name)
        field = around.shape.fields.get(name)
        if field is None and not around.lost_field(name):
            report.unknown(field_path, "field", name, f"mapping {system}", around.shape.fields)
        fields[name] = _build_field(name, field_shape, field, shape, field_path, around)
    _check_columns(system, shape, path, report)
    _check_references(system, shape, path, around)
    return Mapping(
        entity=around.entity,
        system=system,
        object=ObjectSpec(
            name=native.name,
            sql=native.sql,
            key=shape.key.columns,
            modified=shape.modified,
            assign=_assign(shape, kind, path, around),
            create=shape.create,
            header_row=shape.header_row,
            empty_is_text=shape.empty == "text",
            options=plain(shape.options or {}),
        ),
        fields=fields,
        direction=_direction(shape, kind, path, report),
        where=shape.where,
        set=plain(shape.set_ or {}),
        owner=shape.owner,
        line=report.line(path),
    )


def _direction(shape: MappingShape, kind: str | None, path: YamlPath, report: Report) -> Direction:
    """What only pushes is only read."""
    if kind != "push":
        return shape.direction
    if "direction" in shape.model_fields_set and shape.direction != "read":
        report.add((*path, "direction"), "this system only pushes: nothing can be written to it", "write direction: read, or leave it out")
    return "read"


def _check_object(native: NativeObject, shape: MappingShape, kind: str | None, path: YamlPath, report: Report) -> None:
    place = (*path, "object")
    if kind in _NEEDS_OBJECT and native.name is None and native.sql is None and not report.is_broken(place):
        report.also(path, "`object` is missing: which table, view or resource is meant?", "for example object: contacts")
    if native.sql is not None:
        if kind is not None and kind != "database":
            report.add(place, f"a query cannot be an object of a system of kind {kind}", "only databases answer SQL")
        if shape.direction == "write":
            report.add((*path, "direction"), "a query is only read: its direction cannot be write", "map the table itself, or write read")
        if shape.create:
            report.add((*path, "create"), "a query cannot be created", "remove create")
    if kind == "database":
        for name in _FILE_ONLY:
            if name in shape.model_fields_set:
                report.add((*path, name), f"`{name}` is for files, this is a database", "remove it")


def _build_field(
    name: str, shape: FieldMappingShape, field: FieldShape | None, mapping: MappingShape, path: YamlPath, around: Surroundings
) -> FieldMapping:
    report = around.report
    _check_ways(name, shape, path, report)
    for column, expression in (shape.write or {}).items():
        if not column.strip():
            report.add((*path, "write", column), "a column has no name", "name the column to write")
        check_expression(expression, (*path, "write", column), report, _write_names(around))
    if shape.read is not None:
        check_expression(shape.read, (*path, "read"), report, None)
    values: dict[str, Any] = {}
    if field is not None:
        sound = not report.is_broken((*around.field_path(name), "type"))
        if shape.format is not None and sound:
            _check_format(shape.format, field, (*path, "format"), report)
        if shape.separator is not None and field.type != "list" and sound:
            report.add((*path, "separator"), f"`separator` does not fit a field of type {field.type}", "it is for lists")
        if shape.values is not None and sound:
            values = _values(shape.values, name, field, (*path, "values"), around)
    return FieldMapping(
        field=name,
        column=shape.column,
        read=shape.read,
        write=dict(shape.write or {}),
        values=values,
        format=shape.format,
        separator=shape.separator or mapping.separator or ";",
        lossy=shape.lossy,
        owner=shape.owner,
    )


def _check_ways(name: str, shape: FieldMappingShape, path: YamlPath, report: Report) -> None:
    expressions = [word for word in ("read", "write") if getattr(shape, word) is not None]
    lost = [(*path, word) for word in ("column", "read", "write")]
    if shape.column is None and not expressions:
        report.add(path, f"`{name}` names no column", f"write {name}: COLUMN, or read and write expressions", unless=lost)
    if shape.column is not None and expressions:
        report.add(path, f"`{name}` has a column and {' and '.join(expressions)}", "keep the column, or the expressions", unless=lost)
    if shape.column is None and expressions and shape.values is not None:
        report.add(
            (*path, "values"), "`values` goes with a column, not with expressions", "say it with CASE WHEN … in read and write", unless=lost
        )


def _write_names(around: Surroundings) -> tuple[str, ...] | None:
    """The fields that write expressions may use; None (anything) where a field could not be read."""
    fields_path = (*around.path, "fields")
    lost = any(
        path[:3] == fields_path and len(path) > len(fields_path) and around.lost_field(str(path[3])) for path in around.report.broken
    )
    return None if lost else tuple(around.shape.fields)


def _check_format(form: str, field: FieldShape, path: YamlPath, report: Report) -> None:
    problem = format_problem(Target(field.type, format=form))
    if problem is None and field.type in {"date", "datetime"}:
        problem = _strptime_problem(form, field)
    if problem is not None:
        report.add(path, problem, "a number by example (1,234.56), or strptime codes for dates (%d/%m/%Y)")


def _strptime_problem(form: str, field: FieldShape) -> str | None:
    """Why a date cannot be written in this format and read back, None when it can."""
    probe = datetime(2023, 10, 29, 17, 45, tzinfo=UTC)
    try:
        back = datetime.strptime(probe.strftime(form), form)  # noqa: DTZ007  only its parts are compared
    except (ValueError, OverflowError) as error:
        return f"the format {form!r} cannot be read: {str(error).splitlines()[0]}"
    if back.date() != probe.date():
        return f"the format {form!r} does not hold day, month and year"
    if field.type == "datetime" and (back.hour, back.minute) != (probe.hour, probe.minute):
        return f"the format {form!r} does not hold hour and minute"
    return None


def _values(written: dict[str, Any], name: str, field: FieldShape, path: YamlPath, around: Surroundings) -> dict[str, Any]:
    """Canonical text of the entity's value -> native value, one to one."""
    report = around.report
    if field.type in _NO_VALUES:
        report.add(path, f"`values` does not fit a field of type {field.type}", "")
        return {}
    kind = "text" if field.type == "list" else field.type
    allowed = _allowed_texts(field, kind)
    result: dict[str, Any] = {}
    natives: dict[str, str] = {}
    for ours, native in written.items():
        place = (*path, ours)
        try:
            text = canonical(typed(ours, kind), kind)
        except ValueError as error:
            report.add(place, f"`values`: {error}", "on the left stands the entity's own value")
            continue
        if allowed and text not in allowed:
            report.add(
                place,
                f"`{ours}` is none of the values that {name} may have{did_you_mean(text, allowed)}",
                listing("one_of", allowed),
                unless=[(*around.field_path(name), "one_of")],
            )
        if text in result:
            report.add(place, f"`{ours}` is the same value as another on the left", "keep one of them")
        if isinstance(native, dict | list) or native is None:
            report.add(place, f"`{ours}` stands for {kind_of(native)}", "write the system's own word: text, a number, true or false")
            continue
        word = canonical(native, "text")
        if word in natives:
            report.add(
                place, f"`{natives[word]}` and `{ours}` stand for the same native value", "a value map must be one to one, to be read back"
            )
        natives.setdefault(word, ours)
        result[text] = plain(native)
    return result


def _allowed_texts(field: FieldShape, kind: Any) -> list[str]:
    texts = []
    for value in field.one_of or ():
        try:
            texts.append(canonical(typed(value, kind), kind))
        except ValueError:
            return []  # reported at one_of
    return texts


def _written_columns(shape: MappingShape) -> Iterator[tuple[str, str]]:
    """Native column and field for each column that the mapping writes."""
    for name, field in shape.fields.items():
        if field.column is not None:
            yield field.column, name
        for column in field.write or {}:
            yield column, name


def _check_columns(system: str, shape: MappingShape, path: YamlPath, report: Report) -> None:
    """Each native column is written by one field or constant; nothing is asked of columns that are only read."""
    constants = shape.set_ or {}
    if shape.direction == "read" or (shape.object_ is not None and shape.object_.sql is not None):
        if constants:
            report.add((*path, "set"), f"{system} is only read: `set` has no effect", "remove it, or the direction")
        return
    writers: dict[str, str] = {}
    for column, field in _written_columns(shape):
        if column in writers:
            report.add(
                (*path, "fields", field),
                f"the column `{column}` is written by {writers[column]} and {field}",
                "a column can take one field",
            )
        writers.setdefault(column, field)
    for column, value in constants.items():
        place = (*path, "set", column)
        if column in writers:
            report.add(place, f"the column `{column}` is already written by the field {writers[column]}", "remove one of the two")
        elif column in shape.key.columns:
            report.add(
                place, f"the key `{column}` cannot be the same in every new row", "say who gives the key: key: {column: …, assign: …}"
            )
        elif isinstance(value, dict | list):
            report.add(place, f"the constant for `{column}` is {kind_of(value)}", "write text, a number, true or false")


def _check_references(system: str, shape: MappingShape, path: YamlPath, around: Surroundings) -> None:
    """A reference is the native key of a row of the same system, so the entity it points to needs a mapping there."""
    for name in shape.fields:
        field = around.shape.fields.get(name)
        target = around.entities.get(field.entity) if field is not None and field.type == "reference" and field.entity else None
        if (
            target is None
            or field is None
            or system in target.mappings
            or around.report.is_broken(("entities", str(field.entity), "mappings", system))
        ):
            continue
        message = f"{name} points to {field.entity}, which has no mapping in {system}: its keys cannot be translated"
        around.report.add((*path, "fields", name), message, f"add {system} to the mappings of {field.entity}")


def _assign(shape: MappingShape, kind: str | None, path: YamlPath, around: Surroundings) -> str:
    key, place, report = shape.key, (*path, "key", "assign"), around.report
    if key.assign is None:
        return _default_assign(shape, kind)
    if len(key.assign) == 1 and key.assign[0] in ASSIGNERS:
        assign = key.assign[0]
        if assign == "system" and kind == "file":
            report.add(place, "a file gives no keys to new rows: `assign` cannot be system", "write sequence, uuid or a field's name")
        if assign in {"sequence", "uuid"} and len(key.columns) > 1:
            report.add(place, f"`{assign}` cannot fill a key of {len(key.columns)} columns", "name one field for each column")
        return assign
    for name in key.assign:
        if name not in around.shape.fields and not around.lost_field(name):
            known = [*ASSIGNERS, *around.shape.fields]
            report.add(
                place,
                f"`{name}` cannot give a key: it is no field{did_you_mean(name, known)}",
                f"{', '.join(ASSIGNERS)} or {listing('fields', around.shape.fields)}",
            )
    if len(key.assign) != len(key.columns):
        report.add(
            place, f"the key has {len(key.columns)} columns and `assign` names {len(key.assign)} fields", "name one field for each column"
        )
    return f"field:{','.join(key.assign)}"


def _default_assign(shape: MappingShape, kind: str | None) -> str:
    """A key whose columns are fields comes from these fields; else a file decides by its keys, and any other system by itself."""
    fields = [_plain_field_of(column, shape) for column in shape.key.columns]
    if all(fields):
        return f"field:{','.join(str(name) for name in fields)}"
    return "auto" if kind == "file" else "system"


def _plain_field_of(column: str, shape: MappingShape) -> str | None:
    """The field that stands in a column as it is, None where there is none."""
    for name, field in shape.fields.items():
        if field.column == column and field.values is None and field.format is None:
            return name
    return None
