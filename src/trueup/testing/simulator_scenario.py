"""Scenarios: from one seed, a configuration and the systems that it connects, each with manners of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from trueup.connectors.memory import MemoryColumn, MemoryWorld, recased, rounded, truncated
from trueup.model import Caps, CleanStep, ColumnInfo, Config, Deletes, Entity, Field, FieldMapping, Guard, Mapping, ObjectSpec, System

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping as MappingType
    from datetime import timedelta
    from random import Random

    from trueup.model import ColumnType, ConflictRule, DeleteAction, Direction, FieldType
    from trueup.testing.simulator_world import Clock

NAMES = ("crm", "shop", "till", "desk", "book", "file")
ENTITY = "customer"
TABLE = "people"
TABLES = (TABLE, "clients")  # what the same table may be called
PLACES = ("first", "second")  # where a system may stand
KEYS = ("id", "uid")  # what the key of its rows may be
ORDER = "order"
ORDERS = "orders"
SENTINEL = "private"
REGION = "region"
HERE, ELSEWHERE = "here", "elsewhere"
MODIFIED = "modified"
SETTLE_S = 300.0

FULL = Caps(kind="memory", precondition="native", stored_row=True, incremental=False, find=True, assigns_keys=True, takes_keys=True)
MANNERS = (
    FULL,
    replace(FULL, incremental=True),
    replace(FULL, incremental=True, tombstones=True),
    replace(FULL, kind="file"),
    replace(FULL, kind="api", stored_row=False),
    replace(FULL, kind="api", precondition="read_compare", stored_row=False, find=False),
    replace(FULL, kind="api", precondition="none", stored_row=True),
)

_TYPES: dict[str, tuple[FieldType, ColumnType]] = {
    "code": ("text", "text"),
    "email": ("text", "text"),
    "name": ("text", "text"),
    "status": ("text", "text"),
    "price": ("decimal", "decimal"),
    "points": ("integer", "integer"),
    "tags": ("list", "list"),
    "note": ("text", "text"),
    "grade": ("text", "text"),
}
GRADES = ("gold", "silver", "bronze")
WORDS = (
    {"gold": "G", "silver": "S", "bronze": "B"},
    {"gold": "1", "silver": "2", "bronze": "3"},
    {"gold": "S", "silver": "G", "bronze": "1"},
)
"""What systems call the grades."""
PLAIN_RULES: tuple[ConflictRule, ...] = ("manual", "last_write_wins", "first_write_wins", "max", "min")


@dataclass(frozen=True)
class Doubt:
    """When a change of a field waits for a person: as the configuration says it, and as people know it (after, before)."""

    says: str
    holds: Callable[[Any, Any], bool]


DOUBTS = {
    "name": Doubt("length(incoming) > 10", lambda after, _before: after is not None and len(after) > 10),
    "status": Doubt("incoming LIKE '%x'", lambda after, _before: after is not None and after.endswith("x")),
    "email": Doubt("left(incoming, 1) = '9'", lambda after, _before: after is not None and after.startswith("9")),
    "price": Doubt("incoming < 40000", lambda after, _before: after is not None and Decimal(str(after)) < 40_000),
    "points": Doubt("incoming > base + 50", lambda after, before: after is not None and after > before + 50),
}


CLEANS = ("name", "email")  # fields whose cleaning may be changed, and how they are read
READS = ("upper({})", "lower({})", "{}")
MATCHES: tuple[tuple[tuple[str, ...], ...], ...] = ((("code",),), (("code",), ("email",)))


@dataclass
class SystemPlan:
    """One system: what it can do, how it stores values, and how it is mapped."""

    name: str
    caps: Caps
    key_type: ColumnType
    assign: str
    direction: Direction
    fields: tuple[str, ...]
    filtered: bool = False
    dated: bool = False
    ahead_s: float = 0.0
    versions: bool = True
    manners: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    settles: bool = False
    page_rows: int = 50_000
    place: str = PLACES[0]
    table: str = TABLE
    key: str = KEYS[0]
    words: dict[str, str] = field(default_factory=lambda: dict(WORDS[0]))
    reads: dict[str, str] = field(default_factory=dict)  # field -> the expression by which it is read, {} standing for its column
    was: str | None = None

    @property
    def whole_numbers(self) -> bool:
        """Whether the rows have numbers for keys."""
        return self.key == KEYS[0] and self.key_type == "integer"

    def stored(self, name: str, value: Any) -> Any:
        """A value as this system keeps it."""
        if name == "grade":
            return self.words.get(value)
        kept = self.manners.get(name)
        return value if kept is None or value is None else kept(value)

    def meant(self, name: str, value: Any) -> Any:
        """What a value of this system says, in the words that all of them understand."""
        return next((grade for grade, word in self.words.items() if word == value), value) if name == "grade" else value

    def mapping(self, called: MappingType[str, str]) -> Mapping:
        """This system's mapping as the configuration has it; `called` are the fields' present names."""
        spec = ObjectSpec(name=self.table, key=(self.key,), modified=MODIFIED if self.dated else None, assign=self.assign)
        fields = {called[name]: self._field(name, called[name]) for name in self.fields}
        return Mapping(
            entity=ENTITY,
            system=self.name,
            object=spec,
            fields=fields,
            direction=self.direction,
            where=f"{REGION} = '{HERE}'" if self.filtered else None,
            set={REGION: HERE} if self.filtered else {},
        )

    def _field(self, name: str, called: str) -> FieldMapping:
        column = f"c_{name}"
        if name in self.reads:
            return FieldMapping(field=called, read=self.reads[name].format(column), write={column: called}, lossy=True)
        return FieldMapping(field=called, column=column, values=self.words if name == "grade" else {})

    def columns(self) -> frozenset[str]:
        """The native columns that the engine may name."""
        extra = {REGION} if self.filtered else set()
        extra |= {MODIFIED} if self.dated else set()
        extra |= {"o_number", "o_customer", "o_advisor", "o_total"}
        return frozenset({"id", self.key, *(f"c_{name}" for name in self.fields)} | extra)

    def world(self, clock: Clock, ahead: timedelta) -> MemoryWorld:
        """The system itself, empty."""
        world = MemoryWorld(self.caps, clock=lambda: clock.now + ahead)
        world.versions = self.versions
        numbers = iter(range(1, 1_000_000))
        world.new_id = lambda: f"{self.name}-{next(numbers):05d}"
        columns = [MemoryColumn(info=ColumnInfo(name="id", type=self.key_type, nullable=False, has_default=True))]
        columns.append(MemoryColumn(info=ColumnInfo(name=KEYS[1], type="text")))
        columns += [
            MemoryColumn(info=ColumnInfo(name=f"c_{name}", type=kind), stores=self.manners.get(name))
            for name, (_type, kind) in _TYPES.items()
        ]
        columns += [MemoryColumn(info=ColumnInfo(name=name, type="text")) for name in (SENTINEL, REGION)]
        columns.append(MemoryColumn(info=ColumnInfo(name=MODIFIED, type="datetime")))
        world.add_table(TABLE, columns, ("id",), modified=MODIFIED)
        return world


@dataclass
class Scenario:
    """A configuration in the making: the systems in order of precedence, and the rules."""

    systems: dict[str, SystemPlan]
    rules: dict[str, ConflictRule]
    owners: dict[str, str]
    deletes: Deletes | None
    guarded: bool
    explicit: bool
    match: tuple[tuple[str, ...], ...]
    doubts: set[str] = field(default_factory=set)  # fields with a `hold_if`
    cleans: dict[str, str | None] = field(default_factory=dict)  # field -> lower, upper
    retold: set[str] = field(default_factory=set)  # fields that were read otherwise at some time: systems may differ in their case
    later: dict[str, SystemPlan] = field(default_factory=dict)  # systems that may be connected later
    ordering: set[str] = field(default_factory=set)  # systems with a table of orders
    called: dict[str, str] = field(default_factory=lambda: {name: name for name in _TYPES})  # what the fields are called at present
    were: dict[str, str] = field(default_factory=dict)  # field -> what it was called before

    def config(self, state: str, *others: Entity) -> Config:
        """The configuration of this moment; `others` are entities beside the customers."""
        fields = {}
        for name, (kind, _column) in _TYPES.items():
            rule = self.rules.get(name, "manual")
            called = self.called[name]
            fields[called] = Field(
                name=called,
                was=self.were.get(name),
                type=kind,
                scale=2 if kind == "decimal" else None,
                conflict=rule,
                rule="greatest(incoming, golden)" if rule == "rule" else None,
                source_of_truth=self.owners.get(name),
                clean=(CleanStep(self.cleans[name] or ""),) if self.cleans.get(name) else (),
                hold_if=DOUBTS[name].says if name in self.doubts else None,
            )
        entity = Entity(
            name=ENTITY,
            fields=fields,
            mappings={name: plan.mapping(self.called) for name, plan in self.systems.items()},
            match=tuple(tuple(self.called[name] for name in rule) for rule in self.match),
            precedence=tuple(self.systems),
            explicit_precedence=self.explicit,
            deletes=self._deletes(),
            guard=Guard(deletes=0.2, updates=0.5, at_least=2) if self.guarded else None,
        )
        systems = {
            name: System(
                name=name, connector="memory", settings={"path": plan.place}, settle_s=SETTLE_S if plan.settles else 0.0, was=plan.was
            )
            for name, plan in self.systems.items()
        }
        entities = {item.name: item for item in (entity, *others)}
        return Config(file="simulated.yaml", directory="/", state=state, systems=systems, entities=entities)

    def _deletes(self) -> Deletes | None:
        rule = self.deletes
        return rule and replace(rule, set={self.called[name]: value for name, value in rule.set.items()})


def draw_scenario(random: Random) -> Scenario:
    """A scenario from a source of chance."""
    count = random.choice((2, 2, 3, 3, 3, 4, 5, 6))
    systems = {name: _draw_system(random, name) for name in NAMES[:count]}
    names = list(systems)
    if all(plan.direction != "both" for plan in systems.values()):
        systems[names[0]].direction = "both"
    rules: dict[str, ConflictRule] = {name: random.choice(PLAIN_RULES) for name in ("name", "status", "email", "grade")}
    rules |= {"price": random.choice((*PLAIN_RULES, "rule")), "points": "add", "tags": "union", "note": "text"}
    owners: dict[str, str] = {}
    for name in ("name", "status"):
        holders = [plan.name for plan in systems.values() if name in plan.fields and plan.direction != "write"]
        if holders and random.random() < 0.25:
            owners[name] = random.choice(holders)
            rules[name] = "manual"
    sources = tuple(plan.name for plan in systems.values() if plan.direction != "write" and random.random() < 0.7)
    deletes = None
    if sources and random.random() < 0.7:
        actions: tuple[DeleteAction, ...] = ("propagate", "propagate", "archive", "ignore")
        action = random.choice(actions)
        deletes = Deletes(sources, action, {"status": "closed"} if action == "archive" else {})
    return Scenario(
        systems=systems,
        rules=rules,
        owners=owners,
        deletes=deletes,
        guarded=random.random() < 0.2,
        explicit=random.random() < 0.5,
        match=random.choice(MATCHES),
        later={"late": _draw_system(random, "late")} if random.random() < 0.5 else {},
        ordering=_draw_ordering(random, systems),
        doubts={name for name in DOUBTS if random.random() < 0.3} if random.random() < 0.4 else set(),
    )


def _draw_ordering(random: Random, systems: dict[str, SystemPlan]) -> set[str]:
    """Which systems have orders: none, or at least two of those that are read and written."""
    able = [name for name, plan in systems.items() if plan.direction == "both"]
    if len(able) < 2 or random.random() < 0.5:
        return set()
    return set(random.sample(able, random.randint(2, len(able))))


def _draw_system(random: Random, name: str) -> SystemPlan:
    caps = random.choice(MANNERS)
    kinds: tuple[ColumnType, ...] = ("integer", "text")
    kind = random.choice(kinds)
    assign = "system" if kind == "integer" else random.choice(("uuid", "sequence"))
    optional = [item for item in ("email", "name", "status", "price", "points", "tags", "note", "grade") if random.random() < 0.85]
    plan = SystemPlan(
        name=name,
        caps=caps,
        key_type=kind,
        assign=assign,
        direction=random.choice(("both", "both", "both", "both", "read", "write")),
        fields=("code", *optional),
        filtered=random.random() < 0.2,
        dated=caps.incremental or random.random() < 0.5,
        ahead_s=random.choice((0.0, 0.0, 0.0, 3_600.0)),
        versions=random.random() < 0.5,
        settles=random.random() < 0.25,
        page_rows=random.choice((3, 50_000)),
        words=dict(random.choice(WORDS)),
    )
    if not caps.incremental and (plan.versions or plan.page_rows == 3):
        plan.caps = replace(caps, marks=True, marks_once=not plan.versions)  # what numbers its rows can tell which are new
    if random.random() < 0.3:
        plan.manners["name"] = random.choice((truncated(12), recased))
    if random.random() < 0.2:
        plan.manners["price"] = rounded(1)
    if random.random() < 0.1:
        plan.manners["status"] = recased
    return plan
