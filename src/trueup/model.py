"""The nouns of trueup, frozen: what the configuration says, what a connector can do, what a pass produced.

Nothing here reads a clock, a disk or a network. Names are those of docs/architecture.md. Times are aware and UTC; a key is always
the canonical *text* of a native key (see `connectors/base.py`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingType
    from datetime import datetime

    from trueup.errors import Problem

FieldType = Literal["text", "integer", "decimal", "float", "boolean", "date", "datetime", "list", "json", "reference"]
ConflictRule = Literal["manual", "last_write_wins", "first_write_wins", "max", "min", "add", "union", "text", "rule"]
"""`max`, `min`, `add`, `union`, `text` are written `{merge: …}` in the configuration, `rule` is `{rule: expression}`."""
Direction = Literal["both", "read", "write"]
DeleteAction = Literal["propagate", "archive", "ignore"]
ColumnType = Literal[
    "text", "integer", "decimal", "float", "boolean", "date", "datetime", "timestamp", "time", "list", "json", "binary", "other"
]
"""`datetime` is aware (a point in time), `timestamp` naive (a wall clock reading in the system's time zone)."""
Precondition = Literal["native", "read_compare", "none"]
OperationKind = Literal["create", "update", "delete"]
OutcomeStatus = Literal["done", "stale", "retry", "rejected", "gone"]


# ---------------------------------------------------------------- what the configuration says


@dataclass(frozen=True, slots=True)
class CleanStep:
    """One step of a field's `clean`: `trim`, `lower`, … or `phone` with its argument (`GB`). None: the step takes no argument."""

    name: str
    argument: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of an entity. None or an empty tuple always means: not said."""

    name: str
    type: FieldType = "text"
    entity: str | None = None  # the referenced entity, for type reference
    scale: int | None = None  # decimal places, rounded half-even; None: as many as the value has, at most 12
    required: bool = False
    unique: bool = False
    pattern: str | None = None
    minimum: Any = None
    maximum: Any = None
    one_of: tuple[str, ...] = ()
    clean: tuple[CleanStep, ...] = ()
    write_back: bool = False
    source_of_truth: str | None = None  # a system's name
    conflict: ConflictRule = "manual"
    rule: str | None = None  # the expression of `conflict: {rule: …}`
    hold_if: str | None = None
    owner: str | None = None
    was: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMapping:
    """How one native object shows one field.

    Either `column` (plain, both ways) or `read` (an expression over native columns) with `write` (native column -> expression over
    the entity's fields). `read` without `write` is read-only for this system; `write` without `read` is write-only.
    `values` is canonical value -> native value. `format` is a number by example (`1,234.56`) or strptime codes.
    """

    field: str
    column: str | None = None
    read: str | None = None
    write: MappingType[str, str] = dataclasses.field(default_factory=dict)
    values: MappingType[str, Any] = dataclasses.field(default_factory=dict)
    format: str | None = None
    separator: str = ";"
    lossy: bool = False
    owner: str | None = None

    @property
    def readable(self) -> bool:
        """Whether this system shows the field at all."""
        return self.column is not None or self.read is not None

    @property
    def writable(self) -> bool:
        """Whether this mapping can put a value into the system (the mapping's direction decides on top)."""
        return self.column is not None or bool(self.write)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """One native object as a connector needs to know it: a table, view, query, sheet, file or API resource.

    `name` is None where the system is the object (a CSV file) or where `sql` says it. `assign` tells who gives a new row its key:
    `system`, `sequence`, `uuid`, `field:NAME` (the caller then sends the key; of several key columns `field:A,B` names one field each),
    or `auto`: a file about which nothing is said; the connector takes `sequence` where keys are whole numbers, else `uuid`.
    `create` allows the object to be made.
    """

    name: str | None
    key: tuple[str, ...]
    sql: str | None = None
    modified: str | None = None
    assign: str = "system"
    create: bool = False
    header_row: int = 1
    empty_is_text: bool = False
    options: MappingType[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The object's name for messages."""
        return self.name or ("the query" if self.sql else "the file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """How one system shows one entity."""

    entity: str
    system: str
    object: ObjectSpec
    fields: MappingType[str, FieldMapping]
    direction: Direction = "both"
    where: str | None = None  # Polars SQL over native columns
    set: MappingType[str, Any] = field(default_factory=dict)  # native column -> constant, for new rows
    owner: str | None = None
    line: int = 0  # where it stands in the configuration file

    @property
    def writes(self) -> bool:
        """Whether anything may be written to this object."""
        return self.direction != "read" and self.object.sql is None


@dataclass(frozen=True, slots=True)
class Deletes:
    """Who may delete and what follows. `set` is field -> value for `archive`."""

    sources: tuple[str, ...]
    action: DeleteAction
    set: MappingType[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Guard:
    """A limit is passed only when both the share (0..1) of the rows held and the count are exceeded. None: off."""

    deletes: float | None = 0.05
    updates: float | None = 0.30
    at_least: int = 20
    one_mistake: float | None = 0.05  # of the rows, from which on edits that look like one mistake are held
    surge: float | None = 0.20  # of the rows, from which on edits of one field are held that are far more than the system ever makes
    deletes_a_day: float | None = 0.10  # deletes of the last 24 hours together


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """One schedule of an entity. `every_s` belongs to `every`; `at` (`02:00`) and `days` (Monday 0) to `at`; `cron` to `cron`."""

    kind: Literal["realtime", "every", "at", "cron"]
    every_s: float | None = None
    at: str | None = None
    days: tuple[int, ...] = ()
    cron: str | None = None
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A kind of record that several systems share."""

    name: str
    fields: MappingType[str, Field]
    mappings: MappingType[str, Mapping]  # by system
    match: tuple[tuple[str, ...], ...] = ()
    precedence: tuple[str, ...] = ()  # always complete: configured systems first, then the rest in the order of `mappings`
    explicit_precedence: bool = False  # whether the configuration gave one (manual fields need it at first contact)
    deletes: Deletes | None = None
    guard: Guard | None = Guard()
    full_every_s: float = 86_400.0
    owner: str | None = None
    max_delay_s: float | None = None
    when: tuple[When, ...] = ()
    verify: When | None = When(kind="at", at="03:00", days=tuple(range(7)))  # when `serve` compares all systems; None: never
    triggers: MappingType[str, Any] = field(default_factory=dict)

    def mapped(self, system: str) -> tuple[str, ...]:
        """The fields that this system shows or takes, in the entity's own order."""
        mapping = self.mappings[system]
        return tuple(name for name in self.fields if name in mapping.fields)

    def shown(self, system: str) -> tuple[str, ...]:
        """The fields that can be read from this system, in the entity's own order."""
        mapping = self.mappings[system]
        return tuple(name for name in self.fields if name in mapping.fields and mapping.fields[name].readable)

    def written(self, system: str) -> tuple[str, ...]:
        """The fields that may be delivered to this system; empty where its direction is `read`."""
        mapping = self.mappings[system]
        if not mapping.writes:
            return ()
        return tuple(name for name in self.fields if name in mapping.fields and mapping.fields[name].writable)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One connected place. `settings` are the connector's own (url, path, …), with secrets already filled in."""

    name: str
    connector: str
    settings: MappingType[str, Any] = field(default_factory=dict, repr=False)  # may hold passwords
    timezone: str | None = None  # zone of naive timestamps; None: UTC, and `check` says so
    limits: MappingType[str, Any] = field(default_factory=dict)
    paused: bool = False
    settle_s: float = 0.0  # how long after our write an old value may still be shown
    webhook: MappingType[str, Any] | None = field(default=None, repr=False)
    oauth2: MappingType[str, Any] | None = field(default=None, repr=False)
    was: str | None = None
    owner: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the master keys of a configuration are.

    `where` is a file's absolute path, a variable's name, a keyring entry's name; `command` the words of a command, run in `directory`.
    `given` is the variable's value, None where it is not set; `given_in` the file that it came from, if not from the environment.
    """

    kind: Literal["file", "env", "keyring", "command"] = "env"
    where: str = "TRUEUP_MASTER_KEY"
    command: tuple[str, ...] = ()
    directory: str = "."
    given: str | None = field(default=None, repr=False)
    given_in: str | None = None
    chosen: bool = True  # False: the configuration does not say, and this is the default

    def __str__(self) -> str:
        """For people."""
        words = {"file": "the key file", "env": "the environment variable", "keyring": "the keyring entry", "command": "the command"}
        return f"{words[self.kind]} {self.where}"


WEBHOOKS_S = 30 * 86_400.0
"""How long it is known that a message came, where nothing else is said: longer than any sender repeats one."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the state keeps what is only for looking back; None: for good. `lines` is how many lines of history at most."""

    history_s: float | None = None
    lines: int | None = None
    runs_s: float | None = None
    webhooks_s: float | None = None  # of messages that were dealt with; None: `WEBHOOKS_S`

    def __bool__(self) -> bool:
        """Whether anything is to be taken out of the state at all."""
        return (self.history_s, self.lines, self.runs_s) != (None, None, None)


@dataclass(frozen=True, slots=True)
class Alerts:
    """Who is told of troubles: addresses by owner, and `default`. `thresholds` are by rule; None: off."""

    to: MappingType[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    repeat_s: float = 86_400.0
    gather_s: float = 30.0
    thresholds: MappingType[str, float | None] = field(default_factory=dict, repr=False)

    def channel(self, owner: str | None) -> str | None:
        """Under which name of `to` an owner is told; None: nobody is."""
        return next((name for name in (owner, "default") if name is not None and name in self.to), None)


ChangeKind = Literal["created", "updated", "deleted", "merged"]
"""What can become of a golden record: `merged` means that it stands for another one from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Who is told when golden records change. `entities`: whose, and which of their fields' values go with a notice."""

    name: str
    url: str = field(repr=False)  # it may hold a token
    secrets: tuple[str, ...] = field(repr=False)  # of Standard Webhooks; while one is being changed, the new one and the old one
    entities: MappingType[str, tuple[str, ...]]
    changes: frozenset[ChangeKind] = frozenset({"created", "updated", "deleted", "merged"})
    keys: tuple[str, ...] = ()  # systems whose keys go with a notice
    headers: MappingType[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 15.0
    give_up_s: float = 259_200.0
    connections: int = 4
    insecure: bool = False  # http to other machines
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Data packages of one entity, out to a place or in from one (`direction`).

    `system` is the one whose file the package becomes, None going out. `cutoff` is the time of day as of which records go out; None: the
    moment of the export. `expected_by` is when one must have come, `answered_within_s` how long an answer may take.
    """

    name: str
    direction: Literal["out", "in"]
    entity: str
    place: str = field(repr=False)  # as written; it may hold a password
    system: str | None = None
    form: Literal["csv", "jsonl"] = "csv"
    zipped: bool = False
    fields: tuple[str, ...] = ()
    when: tuple[When, ...] = ()
    cutoff: When | None = None
    timezone: str = "UTC"
    expected_by: When | None = None
    answered_within_s: float | None = None
    answers: str | None = field(default=None, repr=False)  # where answers are put or looked for; None: where the packages are
    whole: bool = True  # a package of which a row cannot be taken is refused as a whole
    sign: str | None = field(default=None, repr=False)
    signers: tuple[str, ...] = ()
    encrypt: str | None = field(default=None, repr=False)  # one or more keys; the first one seals
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPlan:
    """The morning report: when it is due (None: only when asked for), in which zone its days are, and who gets it."""

    due: When | None = None
    timezone: str = "UTC"
    to: tuple[str, ...] = ("default",)
    attach: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a manual process. `paste`: where something is put; `minutes`: how long it takes. None: not said."""

    do: str
    paste: str | None = None
    minutes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """A process that people carry out. None or an empty tuple: not said."""

    name: str
    every: When
    steps: tuple[Step, ...]
    owner: str | None = None
    stand_in: str | None = None
    checked_by: str | None = None
    what: str | None = None
    source: str | None = None
    to: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    minutes: float | None = None

    @property
    def expected_minutes(self) -> float | None:
        """How long it takes: as said, else as its steps do; None where it is not known of all of them."""
        if self.minutes is not None:
            return self.minutes
        each = [step.minutes for step in self.steps if step.minutes is not None]
        return sum(each) if len(each) == len(self.steps) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration, validated. `directory` is where relative paths start; `state` is an absolute path or a postgresql:// URL.

    `notes` are no errors, but worth a person's look: an entity with one mapping, a field that no system shows.
    `digests` is a digest per path of the file, secrets left out: it tells configurations apart (`config/digests.py`).
    """

    file: str
    directory: str
    state: str
    systems: MappingType[str, System]
    entities: MappingType[str, Entity]
    notes: tuple[Problem, ...] = ()
    master_key: KeyPlace = field(default_factory=lambda: KeyPlace(chosen=False))
    digests: MappingType[str, str] = field(default_factory=dict, compare=False)
    retention: Retention = field(default_factory=Retention)
    alerts: Alerts = field(default_factory=Alerts)
    notices: MappingType[str, Subscription] = field(default_factory=dict)
    packages: MappingType[str, Package] = field(default_factory=dict)
    report: ReportPlan | None = None  # None: made only when somebody asks for it
    manual: MappingType[str, Manual] = field(default_factory=dict)
    runbooks: str | None = None  # the folder of the pages, absolute; None: `check` looks at none
    metrics_token: str | None = field(default=None, repr=False)  # who reads `/metrics` must show it; None: only this machine may


@dataclass(frozen=True, slots=True)
class Lock:
    """What nobody but trueup may change in one native object.

    `columns` is native column -> the system where it is changed. `rows`: the systems where rows are added and removed, none: anybody may
    do so here. The order of both means nothing, and is that of the alphabet.
    """

    columns: MappingType[str, str] = field(default_factory=dict)
    rows: tuple[str, ...] = ()

    def by_place(self) -> dict[str, tuple[str, ...]]:
        """The columns by the system where they are changed."""
        return {
            place: tuple(name for name, where in self.columns.items() if where == place) for place in sorted(set(self.columns.values()))
        }


# ---------------------------------------------------------------- what a connector says


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """Frozen facts about a connector. A declared ability that fails its conformance rule is an error; an undeclared one is skipped.

    precondition   native: the write itself refuses a row that changed; read_compare: read again just before; none
    stored_row     outcomes carry the row as the system stored it
    incremental    read(since=…) works where the object has a `modified` column
    marks          mark() and moved() work: the system can tell which rows nobody has touched since a reading
    marks_once     a mark tells what rows read like, not when they were touched: it is good for the next pass only
    parts          parts() and read_part() work: several processes can share one reading
    tombstones     pages tell deleted keys
    find           find(values) works
    assigns_keys   a new row can be given its key by the system
    takes_keys     a new row can be given a key by the caller where the system gives keys otherwise
    atomic         what one write call changes is there whole or not at all, whatever interrupts it (refused rows aside)
    fences         end_writes() works: a write that somebody has begun can be kept from landing
    watch          watch() yields keys that may have changed
    locks          lock() works: others can be kept from changing columns that are changed elsewhere
    grants         exchange_rights() works: the rights to change such columns can be taken from others
    fingerprint    fingerprint() is pushed down
    browses        browse() works: rows can be looked at without a key that tells them apart
    clock          clock() works: the system tells what time it has
    """

    kind: Literal["database", "file", "api", "push", "memory"]
    precondition: Precondition = "none"
    stored_row: bool = False
    incremental: bool = False
    marks: bool = False
    marks_once: bool = False
    parts: bool = False
    tombstones: bool = False
    find: bool = False
    creates: bool = True
    updates: bool = True
    deletes: bool = True
    assigns_keys: bool = False
    takes_keys: bool = False
    atomic: bool = False
    fences: bool = False
    watch: bool = False
    locks: bool = False
    grants: bool = False
    fingerprint: bool = False
    browses: bool = False
    clock: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnInfo:
    """A native column. `writable` is False for formulas, generated columns and views that cannot be written."""

    name: str
    type: ColumnType
    native_type: str = ""
    nullable: bool = True
    writable: bool = True
    has_default: bool = False
    max_length: int | None = None
    scale: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """A native object as discovered. `key` is the primary key, empty where there is none; `rows` an estimate, None when unknown.

    `remark` says why columns may be missing that a person sees there (merged or doubled column names); empty: nothing to say.
    """

    name: str
    columns: MappingType[str, ColumnInfo]
    key: tuple[str, ...] = ()
    kind: Literal["table", "view", "query", "sheet", "file", "resource"] = "table"
    assigns_key: bool = False  # the system gives new rows their key
    rows: int | None = None
    remark: str = ""


# ---------------------------------------------------------------- what a run reports


@dataclass(slots=True)
class Observed:
    """Counts of one system's reading in a run."""

    read: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    rejected: int = 0


@dataclass(slots=True)
class Delivered:
    """Counts of one system's writes in a run. `pending` is what is still due afterwards."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    failed: int = 0
    pending: int = 0
    stale: int = 0


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One delivery as `plan` shows it. `fields` is name -> (from, to); `key` is None for a row to be created."""

    system: str
    entity: str
    record: int
    key: str | None
    kind: OperationKind
    fields: MappingType[str, tuple[Any, Any]]


@dataclass(slots=True)
class SystemSummary:
    """One system in one entity's part of a run. `error` says why it was left out, None when it took part."""

    observed: Observed = field(default_factory=Observed)
    delivered: Delivered = field(default_factory=Delivered)
    error: str | None = None


@dataclass(slots=True)
class EntitySummary:
    """One entity's part of a run."""

    total: int = 0
    created: int = 0
    updated: int = 0
    reread: int = 0  # told otherwise, because a mapping changed
    apart: int = 0  # values of systems that are not the agreed ones any more for that reason
    left: int = 0  # values and rows that stay apart because a person said so
    deleted: int = 0
    conflicts_opened: int = 0
    conflicts_open: int = 0
    overruled: int = 0
    parked: int = 0
    missing: int = 0
    unbelieved: int = 0  # those of them whose system may delete, but not by this reading
    held: int = 0
    failures_open: int = 0  # of this and earlier runs
    systems: dict[str, SystemSummary] = field(default_factory=dict)
    changes: list[PlannedChange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    decided: list[MappingType[str, Any]] = field(default_factory=list)  # holds that a person had decided, as carried out


RunStatus = Literal["running", "done", "partial", "held", "failed"]


@dataclass(slots=True)
class RunSummary:
    """One run: `run` is None for a plan. `status` maps to the exit status: done 0, failed 1, partial 3, held 4."""

    run: int | None
    status: RunStatus
    started_at: datetime
    seconds: float
    entities: dict[str, EntitySummary] = field(default_factory=dict)
    error: str | None = None
