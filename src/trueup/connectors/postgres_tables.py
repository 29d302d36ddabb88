"""What PostgreSQL's catalogs say about an object: columns, keys, who may write what, and the SQL that reads each column safely.

https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from trueup.connectors.sql_read import SqlColumn, Table
from trueup.model import ColumnInfo, ColumnType, ObjectInfo, ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

DDL_TYPES: Mapping[str, str] = {
    "text": "text",
    "integer": "bigint",
    "decimal": "numeric",
    "float": "double precision",
    "boolean": "boolean",
    "date": "date",
    "datetime": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "time": "time",
    "list": "text[]",
    "json": "jsonb",
    "binary": "bytea",
    "other": "text",
}

_TYPES: dict[str, ColumnType] = {
    "int2": "integer",
    "int4": "integer",
    "int8": "integer",
    "oid": "integer",
    "numeric": "decimal",
    "money": "decimal",
    "float4": "float",
    "float8": "float",
    "bool": "boolean",
    "text": "text",
    "varchar": "text",
    "bpchar": "text",
    "name": "text",
    "char": "text",
    "citext": "text",
    "uuid": "text",
    "date": "date",
    "timestamptz": "datetime",
    "timestamp": "timestamp",
    "time": "time",
    "timetz": "time",
    "json": "json",
    "jsonb": "json",
    "bytea": "binary",
}

_UPDATE, _INSERT, _DELETE = 4, 8, 16  # bits of pg_relation_is_updatable

_TYPE_FACTS = """
    CROSS JOIN LATERAL (
        WITH RECURSIVE base(oid, typmod, depth) AS (
            SELECT a.atttypid, a.atttypmod, 0
            UNION ALL
            SELECT d.typbasetype, d.typtypmod, base.depth + 1 FROM base JOIN pg_type d ON d.oid = base.oid WHERE d.typtype = 'd'
        )
        SELECT base.oid, base.typmod, base.depth FROM base ORDER BY depth DESC LIMIT 1
    ) AS b
    JOIN pg_type t ON t.oid = b.oid
"""
_TYPE_COLUMNS = """
    format_type(a.atttypid, a.atttypmod) AS native, format_type(b.oid, -1) AS store, t.typname, t.typtype, t.typcategory,
    b.typmod, b.depth > 0 AS is_domain
"""

_COLUMNS = f"""
    SELECT a.attrelid AS relation, a.attname AS name, {_TYPE_COLUMNS}, a.attnotnull AS not_null, a.attgenerated AS generated,
        a.attidentity AS identity, pg_get_expr(d.adbin, d.adrelid) AS default_sql,
        pg_column_is_updatable(a.attrelid, a.attnum, true) AS updatable,
        coalesce(NOT k.collisdeterministic, false) AS loose_collation,
        CASE WHEN a.attidentity <> '' THEN pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) END AS sequence
    FROM pg_attribute a {_TYPE_FACTS}
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_collation k ON k.oid = a.attcollation
    WHERE a.attrelid = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
"""

_QUERY_COLUMNS = f"""
    SELECT a.name, {_TYPE_COLUMNS}
    FROM unnest(%s::text[], %s::oid[], %s::int[]) WITH ORDINALITY AS a(name, atttypid, atttypmod, place) {_TYPE_FACTS}
    ORDER BY a.place
"""

_RELATIONS = """
    SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.reltuples AS tuples,
        pg_table_is_visible(c.oid) AS visible, c.relhasrules AND c.relkind NOT IN ('v', 'm') AS has_rules, c.relrowsecurity AS row_security,
        pg_relation_is_updatable(c.oid, true) AS updatable,
        (SELECT array_agg(x.attname::text ORDER BY p.place)
            FROM pg_index i, unnest(i.indkey::int[]) WITH ORDINALITY AS p(number, place), pg_attribute x
            WHERE i.indrelid = c.oid AND i.indisprimary AND p.place <= i.indnkeyatts AND x.attrelid = c.oid AND x.attnum = p.number)
            AS primary_key,
        (SELECT json_agg(u.names) FROM (SELECT array_agg(x.attname) AS names FROM pg_index i, unnest(i.indkey::int[]) WITH ORDINALITY
            AS p(number, place), pg_attribute x WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
            AND i.indexprs IS NULL AND p.place <= i.indnkeyatts AND x.attrelid = c.oid AND x.attnum = p.number GROUP BY i.indexrelid) u)
            AS unique_sets,
        (SELECT json_object_agg(k.conname, k.names) FROM (SELECT k.conname, array_agg(x.attname) AS names
            FROM pg_constraint k, pg_attribute x
            WHERE k.conrelid = c.oid AND x.attrelid = c.oid AND x.attnum = ANY(k.conkey) GROUP BY k.conname) k) AS constraints,
        (SELECT coalesce(bit_or(g.tgtype::int), 0) FROM pg_trigger g WHERE NOT g.tgisinternal AND g.tgenabled <> 'D'
            AND NOT starts_with(g.tgname, 'trueup_lock_') -- a lock changes no row
            AND (g.tgrelid = c.oid OR c.relkind = 'p' AND g.tgrelid IN (SELECT relid FROM pg_partition_tree(c.oid)))) AS triggers
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_FOUND = (
    _RELATIONS
    + """
    JOIN unnest(%s::text[]) WITH ORDINALITY AS w(name, place) ON c.oid = to_regclass(w.name)
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY w.place LIMIT 1
"""
)
_ALL = (
    _RELATIONS
    + """
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT c.relispartition
        AND (%s::text IS NULL OR n.nspname = %s) AND has_schema_privilege(n.oid, 'USAGE')
        AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'))
    ORDER BY n.nspname, c.relname
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PgType:
    """A column's type with domains resolved: `typmod` is -1 where it has no length or scale."""

    name: str
    store: str
    typmod: int
    is_enum: bool = False
    is_domain: bool = False
    loose_collation: bool = False

    @property
    def max_length(self) -> int | None:
        """Greatest number of characters of a varchar(n) or char(n)."""
        return self.typmod - 4 if self.name in {"varchar", "bpchar"} and self.typmod > 0 else None

    @property
    def scale(self) -> int | None:
        """Decimal places of a numeric(p, s); None where any number fits. The lower 11 bits, signed, since PostgreSQL 15."""
        if self.name != "numeric" or self.typmod < 0:
            return None
        return (((self.typmod - 4) & 0x7FF) ^ 1024) - 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PgFacts:
    """What the connector needs to know of an object beyond its columns.

    plain        a table, not a partitioned one, of which every row is shown to everybody who may read it
    copies       COPY may fill the table: a plain table without insert triggers, rules or row security
    types        PgType by column
    identities   columns GENERATED … AS IDENTITY
    constraints  columns by constraint name
    """

    plain: bool = False
    copies: bool = False
    types: Mapping[str, PgType] = field(default_factory=dict)
    identities: frozenset[str] = frozenset()
    generated: frozenset[str] = frozenset()
    constraints: Mapping[str, Sequence[str]] = field(default_factory=dict)


def quoted(name: str) -> str:
    """A name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL, whatever `standard_conforming_strings` says."""
    doubled = text.replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in text else f"'{doubled}'"


def candidates(parts: Sequence[str], whole: str, schema: str | None) -> list[str]:
    """Ways to read an object's name, best first: exact spelling before folded case; `schema` stands in front of plain names."""
    found = []
    for names in (tuple(parts), tuple(part.lower() for part in parts), (whole,)):
        if len(names) == 1 and schema is not None:
            names = (schema, *names)  # noqa: PLW2901  the qualified form
        if len(names) <= 2:
            found.append(".".join(quoted(name) for name in names))
    return list(dict.fromkeys(found))


def find_relation(connection: psycopg.Connection[Any], names: Sequence[str]) -> dict[str, Any] | None:
    """The first of the names that is a table or view, as a catalog row."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_FOUND, [list(names)]).fetchone()


def all_relations(connection: psycopg.Connection[Any], schema: str | None) -> list[dict[str, Any]]:
    """Every table and view that may be read, partitions left out."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_ALL, [schema, schema]).fetchall()


def load_columns(connection: psycopg.Connection[Any], oids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Catalog rows of the columns of several relations."""
    rows: dict[int, list[dict[str, Any]]] = {oid: [] for oid in oids}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_COLUMNS, [list(oids)]):
            rows[row["relation"]].append(row)
    return rows


def relation_table(relation: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], obj: ObjectSpec) -> Table:
    """A table or view resolved from its catalog rows."""
    kind, updatable = relation["kind"], relation["updatable"]
    is_table = kind in {"r", "p"}
    writable = is_table or bool(updatable & (_UPDATE | _INSERT | _DELETE))
    types = {row["name"]: _type(row) for row in rows}
    columns = {row["name"]: _column(row, types[row["name"]], is_table=is_table, writable=writable) for row in rows}
    primary = tuple(relation["primary_key"] or ())
    key = obj.key or primary
    name = relation["name"] if relation["visible"] else f"{relation['schema']}.{relation['name']}"
    insert_triggers, any_triggers = relation["triggers"] & 4, relation["triggers"]
    facts = PgFacts(
        plain=kind == "r" and not relation["row_security"],
        copies=kind == "r" and not insert_triggers and not relation["has_rules"] and not relation["row_security"],
        types=types,
        identities=frozenset(row["name"] for row in rows if row["identity"]),
        generated=frozenset(row["name"] for row in rows if row["generated"]),
        constraints=relation["constraints"] or {},
    )
    info = ObjectInfo(
        name=name,
        columns={column: facts_.info for column, facts_ in columns.items()},
        key=primary,
        kind="view" if kind in {"v", "m"} else "table",
        assigns_key=bool(key) and all(column in columns and columns[column].default is not None for column in key),
        rows=int(relation["tuples"]) if relation["tuples"] >= 0 and kind != "v" else None,
    )
    source = f"{quoted(relation['schema'])}.{quoted(relation['name'])}"
    return Table(
        info=info,
        source=source,
        target=source,
        columns=columns,
        key=key,
        key_unique=any(set(names) <= set(key) for names in relation["unique_sets"] or ()),
        writable=writable,
        modified=obj.modified,
        reread=bool(any_triggers) or kind in {"v", "f"},
        extra={"postgres": facts},
    )


def query_table(connection: psycopg.Connection[Any], obj: ObjectSpec, described: Sequence[tuple[str, int, int]]) -> Table:
    """A read-only query resolved from its result's (name, type, typmod)."""
    with connection.cursor(row_factory=dict_row) as cursor:
        names, oids, mods = (list(part) for part in zip(*described, strict=True))
        rows = cursor.execute(_QUERY_COLUMNS, [names, oids, mods]).fetchall()
    nothing = {
        "not_null": False,
        "generated": "",
        "identity": "",
        "default_sql": None,
        "updatable": False,
        "loose_collation": False,
        "sequence": None,
    }
    types = {row["name"]: _type(row | nothing) for row in rows}
    columns = {row["name"]: _column(row | nothing, types[row["name"]], is_table=False, writable=False) for row in rows}
    return Table.of_query(obj, columns, {"postgres": PgFacts(types=types)})


def _type(row: Mapping[str, Any]) -> PgType:
    return PgType(
        name=row["typname"],
        store=row["store"],
        typmod=row["typmod"],
        is_enum=row["typtype"] == "e",
        is_domain=row["is_domain"],
        loose_collation=row["loose_collation"],
    )


def _column(row: Mapping[str, Any], pg: PgType, *, is_table: bool, writable: bool) -> SqlColumn:
    column_type = _column_type(row)
    default = row["default_sql"]
    if row["identity"]:
        default = f"nextval({literal(row['sequence'])}::regclass)" if row["sequence"] else None
    if row["generated"]:
        default = None
    info = ColumnInfo(
        name=row["name"],
        type=column_type,
        native_type=row["native"],
        nullable=not row["not_null"],
        writable=writable and not row["generated"] and row["identity"] != "a" and (is_table or row["updatable"]),
        has_default=default is not None or bool(row["identity"]) or bool(row["generated"]),
        max_length=pg.max_length,
        scale=pg.scale,
    )
    return pg_column(info, pg, default)


def _column_type(row: Mapping[str, Any]) -> ColumnType:
    if row["typtype"] == "e":
        return "text"
    if row["typcategory"] == "A":
        return "list"
    return _TYPES.get(row["typname"], "other")


_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_NO_NUL = r"^[^\x00]*$"  # PostgreSQL's text has no NUL
_EARLIEST, _END = "0001-01-01", "10000-01-01"


def pg_column(info: ColumnInfo, pg: PgType, default: str | None) -> SqlColumn:  # noqa: C901  one case a type
    """The column with the SQL to read and compare it. Moments and dates outside the years 1 to 9999, infinity included, do not fit."""
    cell = f"t.{quoted(info.name)}"
    read, fits, compare, cast = f"{cell}::text", None, f'{cell}::text COLLATE "C"', "text"
    match info.type:
        case "integer":
            read = compare = f"{cell}::bigint"
            cast = "bigint"
        case "decimal" if pg.name == "money":
            read, compare, cast = f"{cell}::numeric::text", f"{cell}::numeric", "numeric"
        case "decimal":
            compare, cast = cell, "numeric"
        case "float":  # by way of text, a real 0.1 is 0.1 and not 0.10000000149011612
            read = compare = f"{cell}::text::float8" if pg.name == "float4" else cell
            cast = "float8"
        case "boolean":
            read = compare = cell
            cast = "boolean"
        case "date":
            fits = f"{cell} >= '{_EARLIEST}'::date AND {cell} < '{_END}'::date"
            read, compare, cast = f"CASE WHEN {fits} THEN {cell} END", cell, "date"
        case "datetime":  # read as the clock in UTC, so that no session's time zone matters
            fits = f"{cell} >= '{_EARLIEST} 00:00+00'::timestamptz AND {cell} < '{_END} 00:00+00'::timestamptz"
            read, compare, cast = f"CASE WHEN {fits} THEN {cell} AT TIME ZONE 'UTC' END", cell, "timestamptz"
        case "timestamp":
            fits = f"{cell} >= '{_EARLIEST}'::timestamp AND {cell} < '{_END}'::timestamp"
            read, compare, cast = f"CASE WHEN {fits} THEN {cell} END", cell, "timestamp"
        case "list":
            fits = f"coalesce(array_ndims({cell}), 1) = 1"
            read, compare, cast = f"CASE WHEN {fits} THEN {cell}::text[] END", f"{cell}::text[]", "text[]"
        case "binary":
            read = compare = f"encode({cell}, 'hex')"
        case _:
            pass
    store = "numeric" if pg.name == "money" else pg.store
    pattern = (_UUID if pg.name == "uuid" else _NO_NUL) if cast == "text" else None
    return SqlColumn(info=info, read=read, fits=fits, compare=compare, compare_cast=cast, store=store, pattern=pattern, default=default)
