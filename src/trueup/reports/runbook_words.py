"""The texts of runbooks, as Markdown: by hand, who changes what, events, and what to do when something stops or is stolen.

Whatever comes from a configuration goes through `md`, so that no name can become a heading, a link, a tag or the end of a table.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from trueup.reports.table import counted, duration, visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from trueup.model import Config, Entity, Field, Manual, System, When
    from trueup.model import Mapping as ModelMapping

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&]|^[-+=:.])|(?<=^)(\d+)([.)])")
_ESCAPED_BAR = r"\\|"
_BAR = re.compile(r"(?<!\\)\|")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NOBODY = "nobody is named: add `owner:`"
RULES = {
    "manual": "a person decides where two systems differ (`trueup conflicts`)",
    "last_write_wins": "the latest edit counts",
    "first_write_wins": "the earliest edit counts",
    "max": "the largest value counts",
    "min": "the smallest value counts",
    "add": "changes are added up",
    "union": "entries of all systems are kept together",
    "text": "edits of different parts of the text are kept together",
    "rule": "a rule decides",
}


def md(value: object) -> str:
    """A text that means itself in Markdown: signs of the language are escaped, and text that runs from right to left turns nothing else."""
    text = visible(str(value)).strip()
    escaped = _SPECIAL.sub(lambda found: f"\\{found[1]}" if found[1] else f"{found[2]}\\{found[3]}", text)
    turns = any(unicodedata.bidirectional(char) in {"R", "AL", "AN"} for char in text)
    return f"\u2068{escaped}\u2069" if turns else escaped


def code(value: object) -> str:
    """A text as code, whatever it holds."""
    text = visible(str(value))
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * (longest + 1)
    return f"{ticks} {text} {ticks}" if text.startswith("`") or text.endswith("`") else f"{ticks}{text}{ticks}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table; cells are Markdown already, and a bar in one of them ends none."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(_BAR.sub(_ESCAPED_BAR, cell) for cell in row)} |" for row in rows)
    yield ""


def when_words(term: When) -> str:
    """A schedule for people."""
    if term.kind == "realtime":
        return "at once"
    if term.kind == "every":
        return f"every {duration(term.every_s)}"
    if term.kind == "cron":
        return f"by cron, {code(term.cron)}, {md(term.timezone)}"
    days = "every day" if len(term.days) in {0, 7} else ", ".join(_DAYS[day] for day in term.days)
    return f"at {md(term.at)} ({days}, {md(term.timezone)})"


def owner_words(*owners: str | None) -> str:
    """The first of these that is named."""
    found = next((owner for owner in owners if owner), None)
    return md(found) if found else NOBODY


# ---------------------------------------------------------------- by hand


def by_hand(process: Manual) -> Iterator[str]:
    """The page of one manual process: one page, to hang up."""
    yield f"# {md(process.name)}: by hand"
    yield ""
    minutes = process.expected_minutes
    rows = [
        ["Who does it", owner_words(process.owner) + (f"; in their absence {md(process.stand_in)}" if process.stand_in else "")],
        ["Who checks it", md(process.checked_by) if process.checked_by else "nobody is named: add `checked_by:`"],
        ["When", when_words(process.every) + (" after the last time" if process.every.kind == "every" else "")],
        ["What", md(process.what) if process.what else "–"],
        ["From where", md(process.source) if process.source else "–"],
        ["To where", ", ".join(map(md, process.to)) or "–"],
        ["Takes", f"{minutes:g} minutes" if minutes is not None else "not known yet: it is written down each time"],
    ]
    yield from table(["", ""], rows)
    yield "## Steps"
    yield ""
    for number, step in enumerate(process.steps, 1):
        paste = f" Paste it here: **{md(step.paste)}**." if step.paste else ""
        takes = f" ({step.minutes:g} min)" if step.minutes is not None else ""
        full = step.do.rstrip()
        yield f"{number}. {md(full)}{'' if full.endswith(('.', '!', '?')) else '.'}{takes}{paste}"
    yield f"{len(process.steps) + 1}. Write down that it was done: {code(f'trueup manual done {_quoted(process.name)} --minutes N')}"
    yield ""
    yield "## Check points"
    yield ""
    checks = process.checks or ("as many records there as here", "the sum of one column is the same in both")
    yield from (f"- [ ] {md(check)}" for check in checks)
    yield ""
    yield "## Once a month"
    yield ""
    yield f"- {owner_words(process.checked_by, process.owner)} takes five records and compares them in all places. How many differ?"
    yield "- `trueup manual review` says how often it was done, what it took, and which steps are worth automating."
    yield "- More than a few records a week, or a mistake that cost money: `trueup decide` again."
    yield ""


def _quoted(name: str) -> str:
    """A name as a shell takes it."""
    return name if re.fullmatch(r"[A-Za-z0-9_.-]+", name) else "'" + name.replace("'", "'\\''") + "'"


# ---------------------------------------------------------------- who changes what


def ownership(entity: Entity, config: Config) -> Iterator[str]:
    """The page that says which field of an entity is changed where, and by whom."""
    yield f"# {md(entity.name)}: who changes what, and where"
    yield ""
    yield (
        "Change a field only where this page says. What is changed elsewhere is put back, or decided by the rule that stands here; "
        "nothing of it is lost: `trueup explain` says what became of it."
    )
    yield ""
    yield f"Responsible: {owner_words(entity.owner)}."
    yield ""
    rows = [[f"**{md(name)}**", *_where(field, entity, config)] for name, field in entity.fields.items()]
    yield from table(["field", "is changed in", "by", "elsewhere"], rows)
    yield "## Where each system shows them"
    yield ""
    systems = list(entity.mappings)
    rows = [
        [f"**{md(name)}**", *(_shown(entity.mappings[system], name) for system in systems)] for name in entity.fields
    ]  # a system that does not show a field has a dash
    yield from table(["field", *map(md, systems)], rows)
    yield from _deletes(entity)
    yield "## Somebody has changed it in the wrong place"
    yield ""
    yield f"1. {code(f'trueup explain {entity.name} SYSTEM:KEY FIELD')} says who was overruled, and what stood there."
    yield "2. Make the change where this page says; the next run carries it everywhere."
    yield "3. Where that happens often, `trueup lock` keeps a database from taking it; elsewhere, take away the right to write."
    yield ""


def _where(field: Field, entity: Entity, config: Config) -> list[str]:
    """Where a field is changed, by whom, and what becomes of an edit elsewhere."""
    if field.source_of_truth is not None:
        system = field.source_of_truth
        mapping = entity.mappings.get(system)
        mapped = None if mapping is None else mapping.fields.get(field.name)
        place = f"**{md(system)}**" + (f": {_place(mapping, field.name)}" if mapping is not None else "")
        owners = (
            field.owner,
            None if mapped is None else mapped.owner,
            None if mapping is None else mapping.owner,
            config.systems[system].owner if system in config.systems else None,
            entity.owner,
        )
        others = [name for name in entity.mappings if name != system and field.name in entity.mappings[name].fields]
        return [place, owner_words(*owners), f"put back in {', '.join(map(md, others))}" if others else "it is nowhere else"]
    places = [name for name in entity.mappings if field.name in entity.shown(name) and entity.mappings[name].direction != "write"]
    rule = RULES[field.conflict] + (f": {code(field.rule)}" if field.rule else "")
    return [", ".join(map(md, places)) or "–", owner_words(field.owner, entity.owner), rule]


def _place(mapping: ModelMapping, name: str) -> str:
    shown = mapping.fields.get(name)
    column = None if shown is None else shown.column
    return f"{md(mapping.object.label)}" + (f", {code(column)}" if column else "")


def _shown(mapping: ModelMapping, name: str) -> str:
    shown = mapping.fields.get(name)
    if shown is None:
        return "–"
    if shown.column is not None:
        return code(shown.column)
    if shown.read is not None:
        return f"computed: {code(shown.read)}"
    return ", ".join(map(code, shown.write)) + " (written only)"


def _deletes(entity: Entity) -> Iterator[str]:
    yield "## Deleting"
    yield ""
    if entity.deletes is None:
        yield "Nothing is deleted by the way: a row that vanishes is reported, and stays everywhere else."
    else:
        words = {"propagate": "is deleted everywhere", "archive": "is archived everywhere", "ignore": "stays everywhere else"}
        yield f"A record is deleted in {', '.join(map(md, entity.deletes.sources))}; then it {words[entity.deletes.action]}."
    yield ""


# ---------------------------------------------------------------- events


def events(entity: Entity, config: Config) -> Iterator[str]:
    """The page of an entity that is kept in agreement at once: what wakes it, and whose columns and messages it depends on."""
    triggers = entity.triggers
    kinds = triggers.get("events") or ("created", "updated", "deleted")
    fields = triggers.get("fields")
    yield f"# {md(entity.name)}: events"
    yield ""
    yield f"Responsible: {owner_words(entity.owner)}. " + (
        f"A change is in every system within {duration(entity.max_delay_s)}."
        if entity.max_delay_s is not None
        else "No `max_delay` is set."
    )
    yield ""
    what = ", ".join(map(md, kinds))
    only = f", and of these only changes of {', '.join(map(md, fields))}" if fields else ""
    yield f"What starts a pass at once: records that are {what}{only}. Everything else crosses with the next sweep: {_sweeps(entity)}."
    yield ""
    yield "## How each system tells, and who owns its schema"
    yield ""
    rows = []
    for name, mapping in entity.mappings.items():
        system = config.systems[name]
        rows.append(
            [f"**{md(name)}**", md(mapping.object.label), _tells(system, mapping), owner_words(mapping.owner, system.owner, entity.owner)]
        )
    yield from table(["system", "object", "tells of changes by", "owner of the schema"], rows)
    yield "The owner of a schema says so before one of these changes; `trueup check` says afterwards what no longer fits."
    yield ""
    rows = [
        [
            f"**{md(name)}**",
            md(field_name),
            _shown(mapping, field_name),
            owner_words(shown.owner, mapping.owner, config.systems[name].owner, entity.owner),
        ]
        for name, mapping in entity.mappings.items()
        for field_name, shown in mapping.fields.items()
    ]
    yield from table(["system", "field", "column", "owner"], rows)
    yield from _messages(entity, config)
    yield "## It does not cross"
    yield ""
    yield "1. `trueup status`: is something paused, late, or waiting?"
    yield f"2. `trueup sync {md(entity.name)}` carries everything across that was missed; nothing is lost by an event that never came."
    yield "3. `trueup failures`, `trueup conflicts`, `trueup holds`: does a record wait for a person?"
    yield ""


def _sweeps(entity: Entity) -> str:
    terms = [when_words(term) for term in entity.when if term.kind != "realtime"]
    return ", ".join(terms) or "every 15 minutes"


def _tells(system: System, mapping: ModelMapping) -> str:
    if system.webhook is not None:
        return "a webhook"
    if mapping.direction == "write":
        return "nothing: it is only written"
    return f"the connector {md(system.connector)} watches it, or reads it on a schedule (`trueup check` says which)"


def _messages(entity: Entity, config: Config) -> Iterator[str]:
    """What comes by webhook: where, how it is signed, and where the body says what changed."""
    hooked = [name for name in entity.mappings if config.systems[name].webhook is not None]
    if not hooked:
        return
    yield "## Messages"
    yield ""
    rows = []
    for name in hooked:
        webhook = config.systems[name].webhook or {}
        verify, event = webhook.get("verify") or {}, webhook.get("event") or {}
        said = ", ".join(f"{md(part)}: {_pointers(value)}" for part, value in event.items() if value) or "`object` and `key`"
        kind = str(verify.get("kind", ""))
        rows.append([f"**{md(name)}**", code(f"POST /hooks/{name}"), md(kind), said, owner_words(config.systems[name].owner, entity.owner)])
    yield from table(["system", "sent to", "proved by", "the body says", "owner of the message"], rows)


def _pointers(value: str | Sequence[str]) -> str:
    return code(value) if isinstance(value, str) else ", ".join(map(code, value))


# ---------------------------------------------------------------- incidents


def stopped(system: System, config: Config) -> Iterator[str]:
    """The page of what to do when a system stops."""
    name = system.name
    concerned = [entity for entity in config.entities.values() if name in entity.mappings]
    yield f"# {md(name)} stops"
    yield ""
    yield f"Responsible for {md(name)} ({md(system.connector)}): {owner_words(system.owner)}."
    yield ""
    yield "## What that means"
    yield ""
    rows = [
        [
            f"**{md(entity.name)}**",
            ", ".join(md(field.name) for field in entity.fields.values() if field.source_of_truth == name) or "–",
            ", ".join(md(other) for other in entity.mappings if other != name) or "–",
            "–" if entity.max_delay_s is None else duration(entity.max_delay_s),
            owner_words(entity.owner),
        ]
        for entity in concerned
    ]
    if rows:
        yield from table(["records", "fields changed only here", "go on in", "tolerated wait", "tell"], rows)
    yield (
        "Runs leave it out and go on with the others. Nothing is lost: what is due there waits and is written when it is back, and what is "
        "edited there meanwhile crosses then. An empty or half-restored system deletes nothing: a guard holds that."
    )
    yield ""
    yield "## What to do"
    yield ""
    yield f"1. `trueup status` and {code('trueup check')}: does it answer, and what does it say?"
    yield f"2. Tell {_and_owners(system, concerned)}. Until it is back, they change nothing in other systems that is changed here."
    yield f"3. Where it is up and down, or being repaired, keep trueup from writing: {code(f'trueup pause {name}')}."
    yield "4. Where it was restored from a backup, do not resume before step 5: rows that went back in time would be taken for edits."
    yield f"5. {code('trueup drift')} reads only, and shows how far it is behind; then `trueup plan` shows what would be written."
    yield f"6. {code(f'trueup resume {name}')}, then `trueup sync --full`. `trueup holds` shows what a guard has stopped."
    yield "7. `trueup verify` proves that all systems agree; `trueup report` says what happened."
    yield ""


def _and_owners(system: System, concerned: Collection[Entity]) -> str:
    owners = [owner for owner in (system.owner, *(entity.owner for entity in concerned)) if owner]
    return " and ".join(dict.fromkeys(map(md, owners))) or "whoever works with it"


def compromised(config: Config, secrets: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The page of what to do when an account or a password is in the wrong hands. `secrets`: names that each system's settings use."""
    yield "# An account is compromised"
    yield ""
    yield "Whoever notices it does step 1 at once, and asks nobody. It stops writing and deletes nothing; it can be taken back at any time."
    yield ""
    yield f"1. **Pause everything**: {code('trueup pause --all')}"
    yield "2. **Revoke**: in the system concerned, end the sessions of the account and change its password or token."
    yield "   Then give trueup the new one, in the place where it is kept:"
    yield ""
    rows = [
        [
            f"**{md(name)}**",
            md(system.connector),
            ", ".join(map(code, secrets.get(name, ()))) or "none by name: look at its settings",
            owner_words(system.owner),
        ]
        for name, system in config.systems.items()
    ]
    yield from (f"   {line}".rstrip() for line in table(["system", "connector", "secrets", "who can revoke"], rows))  # a part of step 2
    yield "   A name that begins with `secret:` is kept by trueup: `trueup secrets set NAME`. Others stand in the environment or `.env`."
    yield "   Where the master key may be known: `trueup keys new`, then `trueup keys rotate`."
    yield "3. **Look what was done**: `trueup audit` says what trueup did, and `trueup audit verify` that nobody changed that record."
    yield "   `trueup runs` and `trueup run N` show what came in while the account was in the wrong hands; `trueup drift` what differs now."
    yield "4. **Put back**: `trueup undo N --plan` shows what undoing a run would do, `trueup undo N` does it."
    yield "5. **Resume**, one system after the other: `trueup check`, then `trueup resume SYSTEM`; at last `trueup resume --all`."
    yield "6. `trueup verify`, and `trueup report` to those concerned."
    yield ""
    if config.notices:
        told = ", ".join(map(md, config.notices))
        yield f"Others are told of changes by webhook ({told}): change their secrets as well, under `notices`."
        yield ""
    owners = [entity.owner for entity in config.entities.values()] + [system.owner for system in config.systems.values()]
    named = list(dict.fromkeys(md(owner) for owner in owners if owner))
    yield f"To be told: {', '.join(named) if named else NOBODY}."
    yield ""


def contents(pages: Mapping[str, str]) -> Iterator[str]:
    """The page that lists the others: file name without ending -> title as Markdown."""
    yield "# Runbooks"
    yield ""
    yield f"{counted(len(pages), 'page')}, written from the configuration."
    yield ""
    yield from (f"- [{title}]({name}.md)" for name, title in pages.items())
    yield ""
