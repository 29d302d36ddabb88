"""What no look at the systems can tell, asked of a person: one question at a time, each with the answer that Enter takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trueup.decide.answers import QUESTIONS, Choice
from trueup.decide.starter import MAX_DELAY, WHEN
from trueup.setup.written import key_field, waits_for_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trueup.setup.proposal import ProposedEntity, ProposedField
    from trueup.setup.samples import Sample

NOBODY = "each system"
"""The word for a source of truth that is none; no system can be called so."""
_YES, _NO, _LATER, _WAIT = "yes", "no", "later", "wait"
PACE = {"seconds": WHEN["at once"], "minutes": WHEN["at once"], "hours": WHEN["every hour"], "days": WHEN["every night"]}
"""`when:` of a configuration, by the longest tolerable wait."""
_SHOWN = 3
_LONGEST = 40
LONGEST_ROLE = 120


@dataclass(frozen=True, slots=True)
class Asked:
    """A question. `choices` is empty where any words will do; `default` is what Enter takes, of the choices where there are some.

    `evidence` are lines to read first. `settle` takes the answer: a choice's word, or the words typed (empty: none).
    """

    asks: str
    evidence: tuple[str, ...]
    choices: tuple[Choice, ...]
    default: str
    settle: Callable[[str], None]


def questions(entities: list[ProposedEntity]) -> Iterator[Asked]:
    """What is to be asked about these, one after the other; an answer is settled before the next question is asked for.

    An entity that is not wanted is taken out of the list.
    """
    if len(entities) > 1:
        for entity in list(entities):
            yield _wanted(entity, entities)
    for entity in entities:
        for item in [item for item in entity.fields.values() if not item.sure and all(item.name != name for name, _why in entity.match)]:
            yield _same_field(entity, item)
        if entity.answers_of is None or (entity.doubt is not None and any(item.owner for item in entity.fields.values())):
            yield _source_of_truth(entity)
        for system, sample in entity.samples.items():
            if waits_for_keys(sample) and key_field(system, sample, entity) is None:
                yield _key_giver(entity, sample)
        if entity.max_delay is None:
            yield _delay(entity)
        yield _owner(entity)


def _wanted(entity: ProposedEntity, entities: list[ProposedEntity]) -> Asked:
    def settle(word: str) -> None:
        if word == _NO:
            entities.remove(entity)

    places = ", ".join(f"{system}: {sample.name}" for system, sample in entity.samples.items())
    return Asked(
        f"Keep {entity.name} together?",
        (f"{places}, matched by {', '.join(name for name, _why in entity.match)}",),
        (Choice(_YES, "they hold the same records"), Choice(_NO, "leave them alone")),
        _YES,
        settle,
    )


def _same_field(entity: ProposedEntity, item: ProposedField) -> Asked:
    def settle(word: str) -> None:
        if word == _YES:
            item.confirmed = True
        elif word == _NO:
            del entity.fields[item.name]
            entity.left_out += [f"{system}.{shown.column}" for system, shown in item.shown.items()]

    least = min(item.shown.values(), key=lambda shown: shown.confidence)
    columns = [(f"{system}.{shown.column}", examples(entity.samples[system], shown.column)) for system, shown in item.shown.items()]
    width = max(len(name) for name, _values in columns)
    return Asked(
        f"{entity.name}: do these columns hold the same?",
        (*(f"{name:<{width}}  {values}" for name, values in columns), least.evidence),
        (Choice(_YES, "one field"), Choice(_NO, "two different things"), Choice(_LATER, "leave it in the file as a comment")),
        _LATER,
        settle,
    )


def examples(sample: Sample, column: str) -> str:
    """Some values of a column as they stand there."""
    found = list(dict.fromkeys(" ".join(text.split()) for text in sample.column(column).texts if text is not None and text.strip()))
    return ", ".join(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in found[:_SHOWN]) or "(empty)"


def _source_of_truth(entity: ProposedEntity) -> Asked:
    def settle(word: str) -> None:
        entity.own(None if word == NOBODY else word)
        entity.settled = True

    owned = any(item.owner is not None for item in entity.fields.values())
    ranked = entity.standing
    doubt = entity.doubt
    return Asked(
        f"{entity.name}: whose word counts where the systems disagree?",
        () if doubt is None else (f"what was measured does not settle it: {doubt}",),
        (
            *(Choice(standing.system, standing.words) for standing in ranked),
            Choice(NOBODY, "each system may change them; the rules of the file settle what two changed at once"),
        ),
        ranked[0].system if owned else NOBODY,
        settle,
    )


def _key_giver(entity: ProposedEntity, sample: Sample) -> Asked:
    def settle(word: str) -> None:
        if word != _WAIT:
            entity.assigns[sample.system] = word

    counted = sample.columns[sample.key[0]].kind == "integer"
    ours = (
        Choice("sequence", "trueup: the next number"),
        Choice("uuid", "trueup: a new UUID"),
    )
    return Asked(
        f"{entity.name}: who gives new rows of {sample.system} their {sample.key[0]}?",
        (f"{sample.name} does not do it by itself",),
        (*(ours[:1] if counted else ours), Choice(_WAIT, "nobody yet: new rows wait until the file says it")),
        _WAIT,
        settle,
    )


def _delay(entity: ProposedEntity) -> Asked:
    asked = next(question for question in QUESTIONS if question.name == "delay")

    def settle(word: str) -> None:
        entity.max_delay = MAX_DELAY[word]
        entity.when, entity.why_when = PACE[word], "for `trueup serve`, as you said"

    return Asked(f"{entity.name}: when one has changed, how long may the other systems go without it?", (), asked.choices, "hours", settle)


def _owner(entity: ProposedEntity) -> Asked:
    def settle(words: str) -> None:
        entity.told = " ".join(words.split())[:LONGEST_ROLE] or None

    return Asked(f"{entity.name}: which role or person decides what needs a decision?", (), (), "", settle)


def chosen(asked: Asked, typed: str) -> str | None:
    """The word of the choice that somebody typed: itself, in capitals or not, its number, or nothing for the default; None: none."""
    words = [choice.word for choice in asked.choices]
    text = typed.strip()
    if not text:
        return asked.default
    for meant in (words, [word.casefold() for word in words], [str(number) for number in range(1, len(words) + 1)]):
        if text in meant or text.casefold() in meant:
            return words[meant.index(text if text in meant else text.casefold())]
    return None
