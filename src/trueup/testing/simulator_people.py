"""People: what they do in their systems, and what they may expect of it.

Every value that a person types carries a number of its own (a *token*), so that it can be found again wherever it ended.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.testing.simulator_scenario import ELSEWHERE, GRADES, HERE, REGION, SENTINEL, TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from random import Random

    from trueup.connectors.memory import MemoryTable, MemoryWorld
    from trueup.testing.simulator_scenario import Scenario

TYPED = ("email", "name", "status", "price", "points", "tags", "note", "grade")
_SPREAD = 7_919
_PRIME = 100_003


@dataclass
class Edit:
    """One thing a person typed into one cell. `over`: typed over or deleted by a person before anyone could have read it."""

    system: str
    key: str
    code: str
    field: str
    token: str
    noticed: bool = False
    over: bool = False


@dataclass
class People:
    """Everyone who edits, and their memory of it.

    typed     (system, key, field) -> the value there when a person last typed it
    typings   (code, field) -> how often people typed it, in any system
    sums      code -> sum of the changes to its counter since the last time everything agreed
    unread    (system, code) -> those among them that no run can have read yet
    glimpsed  (system, code) of those among them that some run may have read, or not
    unsure    codes whose counter cannot be told from the outside (deleted, doubled, filtered, overruled rows)
    removed   codes of rows that a person deleted somewhere
    """

    worlds: dict[str, MemoryWorld]
    scenario: Scenario
    edits: list[Edit] = field(default_factory=list)
    typed: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    typings: Counter[tuple[str, str]] = field(default_factory=Counter)
    sums: dict[str, int] = field(default_factory=dict)
    unread: dict[tuple[str, str], int] = field(default_factory=dict)
    glimpsed: set[tuple[str, str]] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    doubled: dict[str, set[str]] = field(default_factory=dict)  # system -> keys of second rows of one code
    unseen: set[tuple[str, str]] = field(default_factory=set)  # rows typed in while readings of their system lagged
    numbers: int = 0
    renamed: Callable[[str, str, str], None] = lambda _system, _old, _new: None
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)

    def table(self, system: str) -> MemoryTable:
        """The table of a system."""
        return self.worlds[system].tables[TABLE]

    def token(self) -> str:
        """A new number, in no order."""
        self.numbers += 1
        return str(10_000 + self.numbers * _SPREAD % _PRIME)

    # ------------------------------------------------------------ rows

    def keys(self, system: str) -> list[str]:
        """The keys of a system's rows."""
        return list(self.table(system).rows)

    def code(self, system: str, key: str) -> str:
        """The code that a row shows."""
        return str(self.table(system).rows[key].values.get("c_code"))

    def codes(self, system: str) -> set[str]:
        """The codes in a system."""
        return {str(row.values.get("c_code")) for row in self.table(system).rows.values()}

    def add(self, random: Random, system: str, *, code: str | None = None, key: str | None = None) -> None:
        """Type in a new row, under a new key or this one: a new customer, one that another system has, or (`code`) that one."""
        elsewhere = {item for name in self.worlds for item in self.codes(name)} - self.codes(system)
        elsewhere -= self.removed
        if code is None:
            code = random.choice(sorted(elsewhere)) if elsewhere and random.random() < 0.4 else f"K{self.token()}"
        values: dict[str, Any] = {"c_code": code, SENTINEL: f"secret {code}", REGION: ELSEWHERE if random.random() < 0.1 else HERE}
        for name in self.scenario.systems[system].fields:
            if name != "code" and random.random() < 0.8:
                values[f"c_{name}"] = self.in_words(system, name, self.invent(random, name, None)[0])
        self.unsure.add(code)
        key = key or self.new_key(system)
        key = str(self.table(system).insert({self.scenario.systems[system].key: self.native_key(system, key), **values}))
        self.secrets[system, key] = str(values[SENTINEL])
        if self.table(system).lagging:  # nobody can see it yet: the same customer may be made there meanwhile
            self.unseen.add((system, key))
        for name in self.scenario.systems[system].fields:
            if values.get(f"c_{name}") is not None and name != "code":
                self._note(system, key, name)

    def new_key(self, system: str) -> str:
        """A key that no row has."""
        table, uuid = self.table(system), self.scenario.systems[system].assign == "uuid"
        while True:
            number = table.next_number(sequence=False)
            key = f"{system}-p{number}" if uuid else str(number)
            if key not in table.rows:  # in another place it counts anew
                return key

    def native_key(self, system: str, key: str) -> Any:
        """A key as the table holds it."""
        return int(key) if self.scenario.systems[system].whole_numbers else key

    def edit(self, random: Random, system: str, key: str, name: str | None = None, value: Any = ...) -> None:
        """Type something else into one cell."""
        fields = [item for item in self.scenario.systems[system].fields if item != "code"]
        if not fields:
            return
        name = name or random.choice(fields)
        old = self.table(system).rows[key].values.get(f"c_{name}")
        if value is ...:
            value = self.in_words(system, name, self.invent(random, name, old)[0])
        self._supersede(system, key, name)
        code = self.code(system, key)
        if self.scenario.systems[system].filtered and self.table(system).rows[key].values.get(REGION) != HERE:
            self.unsure.add(code)
        self.table(system).edit(key, {f"c_{name}": value})
        if name == "points" and self.scenario.systems[system].direction != "write":
            change = _number(self.table(system).rows[key].values.get("c_points")) - _number(old)
            self.sums[code] = self.sums.get(code, 0) + change
            self.unread[system, code] = self.unread.get((system, code), 0) + change
        self._note(system, key, name)

    def remove(self, system: str, key: str) -> None:
        """Delete a row."""
        code = self.code(system, key)
        self.unsure.add(code)
        self.removed.add(code)
        self._forget_row(system, key)
        self.table(system).remove(key)

    def rename(self, system: str, key: str) -> None:
        """Give a row another key."""
        new = self.new_key(system)
        self.table(system).edit(key, {self.scenario.systems[system].key: self.native_key(system, new)})
        self.has_key(system, key, new)

    def has_key(self, system: str, key: str, new: str) -> None:
        """A row has another key now: whoever remembers it, or refers to it, follows."""
        self.renamed(system, key, new)
        if (system, key) in self.secrets:
            self.secrets[system, new] = self.secrets.pop((system, key))
        if key in self.doubled.get(system, ()):
            self.doubled[system].add(new)
        if (system, key) in self.unseen:
            self.unseen.add((system, new))
        for item in self.edits:
            if (item.system, item.key) == (system, key):
                item.key = new
        for place in [place for place in self.typed if place[:2] == (system, key)]:
            self.typed[system, new, place[2]] = self.typed.pop(place)

    def move(self, system: str, key: str) -> None:
        """Let a row leave the filter, or come back."""
        row = self.table(system).rows[key].values
        self.unsure.add(self.code(system, key))
        self.table(system).edit(key, {REGION: HERE if row.get(REGION) != HERE else ELSEWHERE})

    def reuse(self, system: str, key: str) -> None:
        """Give a row's key to another customer: everything in it changes at once."""
        values: dict[str, Any] = {"c_code": f"K{self.token()}"}
        code = self.code(system, key)
        self.unsure |= {code, values["c_code"]}
        for item in self.edits:
            if (item.system, item.key) == (system, key) and not item.noticed:
                item.over = True
        for name in self.scenario.systems[system].fields:
            if name == "tags":
                values["c_tags"] = [self.token()]
            elif name == "points":
                values["c_points"] = int(self.token())
            elif name == "grade":
                old = self.table(system).rows[key].values.get("c_grade")
                values["c_grade"] = next(word for word in self.scenario.systems[system].words.values() if word != old)
            elif name != "code":
                values[f"c_{name}"] = f"{self.token()}.5" if name == "price" else f"{self.token()}-new"
        self.table(system).edit(key, values)
        self.removed.add(code)
        for place in [place for place in self.typed if place[:2] == (system, key)]:
            del self.typed[place]

    def spoil(self, system: str, key: str) -> None:
        """Put a value into a column that does not fit it."""
        if "points" in self.scenario.systems[system].fields:
            self._supersede(system, key, "points")
            self.unsure.add(self.code(system, key))
            self.table(system).edit(key, {"c_points": "many"})

    def mend(self) -> None:
        """Put a number where a word was."""
        for system in self.worlds:
            for key, row in list(self.table(system).rows.items()):
                if row.misfit is not None:
                    self.table(system).edit(key, {"c_points": 7})

    def double(self, random: Random, system: str, key: str) -> None:
        """Type a customer in a second time."""
        code = self.code(system, key)
        before = set(self.keys(system))
        self.add(random, system, code=code)
        self.doubled.setdefault(system, set()).update(set(self.keys(system)) - before)

    def called(self, old: str, new: str) -> None:
        """A system has another name from now on."""
        for item in self.edits:
            item.system = new if item.system == old else item.system
        self.typed = {(new if name == old else name, key, item): value for (name, key, item), value in self.typed.items()}
        self.secrets = {(new if name == old else name, key): value for (name, key), value in self.secrets.items()}
        self.unread = {(new if name == old else name, code): change for (name, code), change in self.unread.items()}
        self.glimpsed = {(new if name == old else name, code) for name, code in self.glimpsed}
        self.unseen = {(new if name == old else name, key) for name, key in self.unseen}
        self.doubled = {new if name == old else name: keys for name, keys in self.doubled.items()}

    def disconnected(self, system: str) -> None:
        """A system takes part no more: what nobody had read there counts for nothing."""
        for (_name, code), change in [item for item in self.unread.items() if item[0][0] == system]:
            self.sums[code] -= change
            del self.unread[system, code]
        self.unsure |= {code for name, code in self.glimpsed if name == system}

    def left_behind(self, system: str, key: str) -> None:
        """A row did not come along to another place: nobody deleted it, and nobody sees it any more."""
        self.unsure.add(self.code(system, key))
        self._forget_row(system, key)

    # ------------------------------------------------------------ values

    def in_words(self, system: str, name: str, value: Any) -> Any:
        """A value as people type it here: systems have their own words for some."""
        return self.scenario.systems[system].words.get(value) if name == "grade" else value

    def invent(self, random: Random, name: str, old: Any) -> tuple[Any, str]:
        """A value to type, and its token."""
        token = self.token()
        if name != "points" and random.random() < 0.08:
            return (None if name != "tags" else []), ""
        if name == "points":
            return _number(old) + random.choice((-3, -1, 1, 2, 5, 100)), ""
        if name == "price":
            return f"{token}.{random.choice(('00', '50', '25', '99'))}", token
        if name == "grade":
            return random.choice(GRADES), ""
        if name == "tags":
            tags = list(old or [])
            if tags and random.random() < 0.3:
                tags.remove(random.choice(tags))
                return tags, ""
            return [*tags, token], token
        if name == "note":
            return self._note_text(random, old, token), token
        if name == "email":
            return f"{token}@example.org", token
        return f"{token}-{random.choice(('aB', 'Long enough to be cut', 'x'))}", token

    @staticmethod
    def _note_text(random: Random, old: Any, token: str) -> str:
        lines = str(old or "").split("\n") if old else []
        if lines and random.random() < 0.5:
            lines[random.randrange(len(lines))] = token
        else:
            lines.insert(random.choice((0, len(lines))), token)
        return "\n".join(lines)

    # ------------------------------------------------------------ memory

    def _note(self, system: str, key: str, name: str) -> None:
        """Remember what stands in a cell after a person typed it."""
        stored = self.table(system).rows[key].values.get(f"c_{name}")
        self.typed[system, key, name] = stored
        self.typings[self.code(system, key), name] += 1
        known = {item.token for item in self.edits if (item.system, item.key, item.field) == (system, key, name)}
        for token in tokens(name, stored) - known:
            self.edits.append(Edit(system, key, self.code(system, key), name, token))

    def _supersede(self, system: str, key: str, name: str) -> None:
        for item in self.edits:
            if (item.system, item.key, item.field) == (system, key, name) and not item.noticed:
                item.over = True

    def _forget_row(self, system: str, key: str) -> None:
        for item in self.edits:
            if (item.system, item.key) == (system, key) and not item.noticed:
                item.over = True
        for place in [place for place in self.typed if place[:2] == (system, key)]:
            del self.typed[place]
        self.secrets.pop((system, key), None)
        self.doubled.get(system, set()).discard(key)

    def deleted_by_engine(self, system: str, key: str) -> None:
        """A row is gone by the engine's doing; what was typed there must still be known."""
        for place in [place for place in self.typed if place[:2] == (system, key)]:
            del self.typed[place]
        self.secrets.pop((system, key), None)

    def hidden(self, system: str, name: str) -> None:
        """A column is not mapped any more: what was typed there and not noticed is of no concern to anybody."""
        for item in self.edits:
            if (item.system, item.field) == (system, name) and not item.noticed:
                item.over = True
        for place in [place for place in self.typed if (place[0], place[2]) == (system, name)]:
            del self.typed[place]

    def told_otherwise(self, name: str, rows: Iterable[tuple[str, str]]) -> None:
        """A person decided that a field of these rows (system, key) is not what was typed there."""
        for system, key in rows:
            self.typed.pop((system, key, name), None)

    def refused(self, kinds: Mapping[str, str]) -> None:
        """A run took back, or told nobody, what people did in these systems (system -> kind of what a guard held)."""
        for system in kinds.keys() & self.worlds.keys():
            self.unsure |= self.codes(system)
            for place in [place for place in self.typed if place[0] == system]:
                del self.typed[place]

    def looked_at(self) -> set[tuple[str, str]]:
        """A run begins, or has ended: it may have read any counter. Gives the (system, code) of those changed until now."""
        self.glimpsed |= self.unread.keys()
        self.unread.clear()
        return set(self.glimpsed)

    def agreed(self) -> None:
        """Everything agrees: the counters are told anew from here."""
        for memory in (self.sums, self.unread, self.glimpsed):
            memory.clear()

    def noticed(self, links: dict[str, set[str]], before: Sequence[Edit], counted: set[tuple[str, str]]) -> None:
        """These systems were read completely, without trouble: what was edited `before` that reading stands in linked rows, and was seen.

        `counted` are the (system, code) of counters changed before it.
        """
        for item in before:
            if not item.over and item.key in links.get(item.system, ()):
                item.noticed = True
        self.glimpsed -= {place for place in counted if place[0] in links}


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def tokens(name: str, value: Any) -> set[str]:
    """The tokens in a stored value."""
    if value is None or name in ("points", "grade"):
        return set()
    if name == "tags":
        return set(value)
    if name == "note":
        return {line.strip() for line in str(value).split("\n")}
    if name == "email":
        return {str(value).partition("@")[0]}
    if name == "price":
        return {str(value).partition(".")[0]}
    return {str(value).partition("-")[0]}
