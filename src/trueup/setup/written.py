"""A proposal as a `trueup.yaml` that a person reads and goes on with: every choice with its reason beside it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from trueup.reports.profile_words import clock_is_wrong, clock_words
from trueup.setup.joined import reading, writing
from trueup.setup.pairing import SURE
from trueup.setup.proposal import used_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.reports.profile_facts import Clock
    from trueup.setup.addresses import Address
    from trueup.setup.proposal import ProposedEntity, ProposedField
    from trueup.setup.samples import Sample

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
_RESERVED = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_MODIFIED = "whatever changes a row has to set it; what does not, is found once a day (or by sync --full)"
HEAD = (
    "# Proposed by `trueup init` from what the systems hold. Nothing was written to any of them.",
    "# Read it, change what is wrong, then: trueup check, trueup drift, trueup plan, trueup rehearse.",
)


def as_yaml(
    addresses: Sequence[Address],
    entities: Sequence[ProposedEntity],
    clocks: Mapping[str, Clock | None] | None = None,
    *,
    sealed: bool = False,
    head: Sequence[str] = HEAD,
) -> str:
    """The file. What was proposed without certainty stands in it as a comment; `clocks` are those of the systems, by name.

    `sealed`: addresses of databases are secrets in the state, and not in `.env`. `head` are its first lines.
    """
    return "\n".join([*head, "", *_systems(addresses, clocks or {}, sealed=sealed), "", *_entities(entities), ""])


def as_environment(addresses: Sequence[Address]) -> str:
    """The lines of `.env`: addresses that may hold passwords. Empty where there are none."""
    return "".join(f"{item.variable}={item.url}\n" for item in addresses if item.url is not None)


def _systems(addresses: Sequence[Address], clocks: Mapping[str, Clock | None], *, sealed: bool) -> Iterator[str]:
    yield "systems:"
    for item in addresses:
        variable = f"secret:{item.variable}" if sealed else item.variable
        place = f'url: "${{{variable}}}"' if item.url is not None else f"path: {text(item.path or '')}"
        said = ("    # sealed in the state" if sealed else f"    # in .env: {item.variable}") if item.url is not None else ""
        clock = clocks.get(item.name)
        wrong = f"    # {clock_words(clock)}: edits of one moment may be dated wrongly" if clock_is_wrong(clock) else ""
        yield f"  {item.name}: {{connector: {item.connector}, {place}}}{said}{wrong}"


def _entities(entities: Sequence[ProposedEntity]) -> Iterator[str]:
    yield "entities:"
    for number, entity in enumerate(entities):
        if number:
            yield ""
        yield from _entity(entity, frozenset(id(one) for one in entities))


def _entity(entity: ProposedEntity, kept: frozenset[int]) -> Iterator[str]:
    yield f"  {entity.name}:"
    for name, why in entity.match:
        yield f"    match: [[{name}]]    # {why}"
    yield f"    precedence: [{', '.join(entity.precedence)}]    # {_why_first(entity)}"
    yield "    fields:"
    width = max(len(name) for name in entity.fields) + 1
    for item in entity.fields.values():
        mark = "" if _certain(item, entity, kept) else "# "
        yield f"      {mark}{f'{item.name}:':<{width}} {_settings(item)}{_remark(item)}"
    yield "    mappings:"
    for system, sample in entity.samples.items():
        yield from _mapping(system, sample, entity, kept)
    if entity.when is not None:
        yield f"    when: {entity.when}" + (f"    # {entity.why_when}" if entity.why_when else "")
    else:
        yield "    # when: [{every: 1h}]    # for `trueup serve`; `trueup decide` helps to choose"
    if entity.max_delay is not None:
        yield f"    max_delay: {entity.max_delay}"
    if entity.told is not None:
        yield f"    owner: {text(entity.told)}"
    else:
        yield "    # owner: the role or person who is told when something needs a decision"


def _why_first(entity: ProposedEntity) -> str:
    """Why the systems stand in this order: what was measured, and what a person said."""
    measured = "; ".join(f"{standing.system} {standing.words}" for standing in entity.standing)
    if entity.settled:
        return f"as you said; {measured}"
    doubt = f". LOW CONFIDENCE: {entity.doubt}" if entity.doubt is not None and _is_owned(entity) else ""
    return f"whoever holds more, and tidier, first: {measured}{doubt}"


def _is_owned(entity: ProposedEntity) -> bool:
    return any(item.owner is not None for item in entity.fields.values())


def _certain(item: ProposedField, entity: ProposedEntity, kept: frozenset[int] | None = None) -> bool:
    """Whether a field stands in the file as it is: what is matched by does, and what two systems certainly hold.

    A reference does not where it leads to an entity that is not `kept` (by identity).
    """
    if item.refers is not None and kept is not None and id(item.refers) not in kept:
        return False
    return item.sure or any(item.name == name for name, _why in entity.match)


def _settings(item: ProposedField) -> str:
    parts = [f"type: {item.type}"]
    if item.type == "reference" and item.refers is not None:
        parts.append(f"entity: {item.refers.name}")
    if item.clean:
        parts.append(f"clean: [{', '.join(item.clean)}]")
    if item.owner is not None:
        parts.append(f"source_of_truth: {item.owner}")
    elif item.rule == "add":
        parts.append("conflict: {merge: add}")
    elif item.rule is not None:
        parts.append(f"conflict: {item.rule}")
    return "{" + ", ".join(parts) + "}"


def _remark(item: ProposedField) -> str:
    said = [] if item.owner is not None or not item.why_rule else [item.why_rule]
    if item.why_clean:
        said.append(f"cleaning: {item.why_clean}")
    least = min(item.shown.values(), key=lambda shown: shown.confidence)
    if item.confirmed:
        said.append(f"one field, as you said; {least.evidence}")
    elif least.confidence < SURE:
        said.append(f"LOW CONFIDENCE ({round(100 * least.confidence)} %): {least.evidence}")
    elif least.evidence:
        said.append(least.evidence)
    return f"    # {'; '.join(said)}" if said else ""


def _mapping(system: str, sample: Sample, entity: ProposedEntity, kept: frozenset[int]) -> Iterator[str]:
    yield f"      {system}:"
    if sample.kind != "file":
        yield f"        object: {text(sample.name)}"
    key = _key(system, sample, entity)
    notes = list(sample.notes)
    if waits_for_keys(sample) and key == text(sample.key[0]):
        notes.append(f"new rows wait until you say who gives them one: {{column: {key}, assign: …}}")
    remark = f"    # {'; '.join(notes)}" if notes else ""
    yield f"        key: {key}{remark}"
    if sample.kind in {"view", "query"}:
        yield f"        direction: read    # a {sample.kind}"
    elif system in entity.directions:
        yield f"        direction: {entity.directions[system]}    # as you said"
    if sample.modified is not None:
        yield f"        modified: {text(sample.modified)}    # {_MODIFIED}"
    yield "        fields:"
    used = used_columns(entity, sample)
    for item in entity.fields.values():
        shown = item.shown.get(system)
        if shown is None:
            continue
        mark = "" if _certain(item, entity, kept) else "# "
        parts = sample.column(shown.column).parts
        if parts:
            yield from (f"          {mark}{line}" for line in _of_parts(item.name, parts))
            continue
        form = sample.columns[shown.column].format
        column = f"{{column: {text(shown.column)}, format: {json.dumps(form)}}}" if form else text(shown.column)
        yield f"          {mark}{item.name}: {column}"
    rest = [name for name in sample.columns if name not in used and name not in (*sample.key, sample.modified)]
    if rest:
        yield f"        # not mapped: {', '.join(rest)}"


def _of_parts(field: str, parts: tuple[str, ...]) -> Iterator[str]:
    """A field that several columns hold together."""
    yield f"{field}:    # several columns there, one field for everybody"
    yield f"  read: {json.dumps(reading(parts), ensure_ascii=False)}"
    yield "  write:"
    for column, expression in writing(field, parts).items():
        yield f"    {text(column)}: {json.dumps(expression, ensure_ascii=False)}"


def waits_for_keys(sample: Sample) -> bool:
    """Whether new rows cannot be written before it is said who gives them a key: no field is it, and the system gives none."""
    return sample.kind == "table" and not sample.assigns_key and len(sample.key) == 1


def key_field(system: str, sample: Sample, entity: ProposedEntity) -> str | None:
    """The field that stands in the key's column of a system, None where none does."""
    for item in entity.fields.values():
        if system in item.shown and sample.key == (item.shown[system].column,) and _certain(item, entity):
            return item.name
    return None


def _key(system: str, sample: Sample, entity: ProposedEntity) -> str:
    if len(sample.key) > 1:
        return f"[{', '.join(text(name) for name in sample.key)}]"
    column = sample.key[0]
    assign = key_field(system, sample, entity) or entity.assigns.get(system)
    return f"{{column: {text(column)}, assign: {assign}}}" if assign is not None else text(column)


def text(value: str) -> str:
    """A text as YAML takes it, on one line."""
    return value if _PLAIN.fullmatch(value) and value.casefold() not in _RESERVED else json.dumps(value, ensure_ascii=False)


def proposals(entities: Sequence[ProposedEntity]) -> list[dict[str, object]]:
    """The proposal for programs."""
    return [
        {
            "entity": entity.name,
            "match": [name for name, _why in entity.match],
            "precedence": list(entity.precedence),
            "standing": {
                it.system: {"rows": it.rows, "tidy": it.tidy, "last_change": it.changed, "weight": round(it.weight, 2)}
                for it in entity.standing
            },
            "doubt": entity.doubt,
            "answers": entity.answers_of,
            "systems": {system: {"object": sample.name, "key": list(sample.key)} for system, sample in entity.samples.items()},
            "fields": {item.name: _told(item) for item in entity.fields.values()},
            "not_mapped": entity.left_out,
        }
        for entity in entities
    ]


def _told(item: ProposedField) -> Mapping[str, object]:
    return {
        "type": item.type,
        "confidence": round(item.confidence, 2),
        "sure": item.sure,
        "rule": item.rule,
        "source_of_truth": item.owner,
        **({"entity": item.refers.name} if item.type == "reference" and item.refers is not None else {}),
        "columns": {
            system: {"column": shown.column, "confidence": round(shown.confidence, 2), "evidence": shown.evidence}
            for system, shown in item.shown.items()
        },
    }
