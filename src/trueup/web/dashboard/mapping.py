"""Which records and fields belong together, with values as they are there now, how sure that is and why; and whose word counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from nicegui import ui

from trueup.config.proposal import scalar, with_direction, with_rule, with_setting
from trueup.decide.answers import QUESTIONS
from trueup.decide.starter import MAX_DELAY
from trueup.errors import UsageError
from trueup.setup.fitting import TYPES, unfit
from trueup.setup.questions import LONGEST_ROLE, NOBODY, PACE, examples
from trueup.setup.written import key_field, waits_for_keys
from trueup.web.dashboard.markup import joined, pill, quiet, table, words
from trueup.web.dashboard.tab import Field, Tab, button, line, markup

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.setup.proposal import ProposedEntity, ProposedField
    from trueup.setup.samples import Sample

SOURCE = "source: "
DIRECTIONS = {"both": "read and written", "read": "only read", "write": "written; edits there do not count"}
RULES = {
    "": "a person decides",
    "last_write_wins": "the latest edit",
    "first_write_wins": "the first edit",
    "add": "changes add up",
}
WRITTEN = {"": "manual", "add": "{merge: add}"}
WAIT = "wait"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}", re.ASCII)


async def mapping(tab: Tab) -> None:
    """Of a project that begins, what is proposed; of one that there is, what its file says."""
    if tab.site.place.draft.begins:
        await _proposed(tab)
    else:
        _written(tab)


async def _proposed(tab: Tab) -> None:
    draft = tab.site.place.draft
    found = await tab.work("admin", lambda _user: draft.entities)
    if found is None:
        with line():
            button("Back to the systems", lambda: ui.navigate.to("/project/systems"), kind="main")
        return
    markup("<p>This was found by names, kinds of values, and by rows that both hold. Look at what is not sure; nothing is saved yet.</p>")
    for left in draft.seen.left_out:
        markup(f'<p class="quiet">{words(f"Left out: {left}")}</p>')
    for entity in found:
        one = ui.element("section")
        _Entity(tab, entity, one).draw()
    with line():
        button("Go on: what would come of it", lambda: ui.navigate.to("/project/preview"), kind="main")


class _Entity:
    """One kind of record, and what may be chosen about it."""

    def __init__(self, tab: Tab, entity: ProposedEntity, place: ui.element) -> None:
        self.tab, self.entity, self.place = tab, entity, place

    def draw(self) -> None:
        """Show it as it is now."""
        entity = self.entity
        self.place.clear()
        with self.place:
            places = ", ".join(f"{system}: {sample.name}" for system, sample in entity.samples.items())
            matched = "; ".join(f"{name} ({why})" for name, why in entity.match)
            markup(f"<h2>{words(entity.name)}</h2><p>{words(places)}</p><p>{quiet('Recognised by')} {words(matched)}</p>")
            with line():
                self._choices()
            with ui.element("div").classes("choices"):
                for item in entity.fields.values():
                    with ui.element("div").classes("choice"):
                        _FieldOf(self, item).draw()
            if entity.left_out:
                markup(f'<p class="quiet">{words("Not mapped: " + ", ".join(entity.left_out))}</p>')

    def choose(
        self, label: str, now: str, choices: dict[str, str], settle: Callable[[str], None], shown_again: Callable[[], None] | None = None
    ) -> None:
        """A choice that is taken at once; `shown_again` shows what else it changes, and leaves the choice itself, which has the focus."""
        field = Field(label, now, choices=choices, entered=lambda: taken())  # noqa: PLW0108  it is defined below
        field.box.props["aria-label"] = f"{label}, {self.entity.name}"
        draft = self.tab.site.place.draft

        async def taken() -> None:
            word = field.value
            if word not in choices:
                return

            def act(_user: Any) -> tuple[None]:
                with draft.turn:
                    settle(word)
                    draft.chosen()
                return (None,)

            if await self.tab.work("admin", act) is not None and shown_again is not None:
                shown_again()

    def _choices(self) -> None:
        entity = self.entity
        owners = {item.owner for item in entity.fields.values()}
        now = entity.precedence[0] if owners != {None} else NOBODY
        systems = {one.system: f"{one.system} ({one.words})" for one in entity.standing}

        def own(word: str) -> None:
            entity.own(None if word == NOBODY else word)
            entity.settled = True

        self._type_in("What are they called?", entity.name, self._call)
        self.choose("Whose word counts?", now, {NOBODY: "each system's: a rule for each field", **systems}, own, self.draw)
        for system, sample in entity.samples.items():
            if sample.kind not in {"view", "query"}:
                self.choose(f"{system} is", entity.directions.get(system, "both"), DIRECTIONS, _direction(entity, system))
            if waits_for_keys(sample) and key_field(system, sample, entity) is None:
                self.choose(f"{system}: who numbers new rows?", entity.assigns.get(system, WAIT), _keys(sample), _assign(entity, system))
        asked = next(question for question in QUESTIONS if question.name == "delay")
        delays = {"": "not said"} | {choice.word: f"{choice.word}: {choice.meaning}" for choice in asked.choices}
        known = next((word for word in PACE if MAX_DELAY[word] == entity.max_delay), "")

        def wait(word: str) -> None:
            entity.max_delay = MAX_DELAY[word] if word else None
            entity.when, entity.why_when = (PACE[word], "as you said") if word else (None, "")

        self.choose("How long may others go without a change?", known, delays, wait)
        self._type_in("Who is told? A role or person", entity.told or "", self._tell)

    def _type_in(self, label: str, now: str, settle: Callable[[str], None]) -> None:
        """A text that is taken once it was typed."""
        field = Field(label, now, entered=lambda: taken())  # noqa: PLW0108  it is defined below
        field.box.on("change", lambda _event: taken(), js_handler="(event) => emit(event.target.value)")
        draft = self.tab.site.place.draft

        async def taken() -> None:
            def act(_user: Any) -> tuple[None]:
                with draft.turn:
                    settle(" ".join(field.value.split()))
                    draft.chosen()
                return (None,)

            field.keep()
            await self.tab.work("admin", act)

    def _call(self, typed: str) -> None:
        taken = {one.name for one in self.tab.site.place.draft.entities if one is not self.entity}
        if NAME.fullmatch(typed) is None or typed in taken:
            why = "is taken" if typed in taken else "cannot be a name"
            raise UsageError(f"`{typed[:40]}` {why}", hint="letters, digits and _, a letter first, such as customer")
        self.entity.name = typed

    def _tell(self, typed: str) -> None:
        self.entity.told = typed[:LONGEST_ROLE] or None


class _FieldOf:
    """One field of a kind of record. What a choice about it does not change stays where it is: another may be under way meanwhile."""

    def __init__(self, whole: _Entity, item: ProposedField) -> None:
        self.whole, self.item = whole, item

    def draw(self) -> None:
        """Show it, once."""
        entity, item = self.whole.entity, self.item
        self.head = ui.element("div")
        why = next((shown.evidence for shown in item.shown.values() if shown.evidence), "")
        markup(f"<p class=quiet>{words(why)}</p>")
        rows = [
            [words(system), words(shown.column), words(examples(entity.samples[system], shown.column))]
            for system, shown in item.shown.items()
        ]
        markup(table(item.name, ("system", "column", "holds"), rows))
        self.misfits = ui.element("div")
        with line():
            if not any(item.name == name for name, _why in entity.match):
                choices = (
                    {"yes": "one field", "no": "left out"} if item.sure or item.refused else {"": "not sure: left out", "yes": "one field"}
                )
                now = "no" if item.refused else "yes" if item.sure else ""
                self.whole.choose(f"{item.name}: these are", now, choices, _keep(item), self.kept)
            types = {name: name for name in dict.fromkeys((*TYPES, item.type))}
            self.whole.choose(f"{item.name}: type", item.type, types, _type(item), self.typed)
            self.winner = ui.element("div")
        self.kept()
        self.typed()

    def kept(self) -> None:
        """Whether it is one field, and how sure that is."""
        item = self.item
        sure = pill("left out", "bad") if item.refused else pill("sure", "good") if item.sure else pill("look at it", "warn")
        self.head.clear()
        with self.head:
            markup(f"<h3>{joined((words(item.name), sure, quiet(f'{round(100 * item.confidence)} %')))}</h3>")

    def typed(self) -> None:
        """What hangs on its type: values that do not fit, and who may win."""
        entity, item = self.whole.entity, self.item
        self.misfits.clear()
        with self.misfits:
            for system, shown in item.shown.items():
                wrong = unfit(entity.samples[system].column(shown.column), item.type)
                if wrong:
                    said = f"{system}: {len(wrong):,} of the values looked at are no {item.type}, such as {wrong[0][:40]}"
                    markup(f'<p class="panel heed">{words(said)}</p>')
        self.winner.clear()
        with self.winner:
            self.whole.choose(f"{item.name}: who wins", _winner(item), _winners(item), _win(item))


def _direction(entity: ProposedEntity, system: str) -> Callable[[str], None]:
    def settle(word: str) -> None:
        entity.directions.pop(system, None)
        if word != "both":
            entity.directions[system] = word

    return settle


def _keys(sample: Sample) -> dict[str, str]:
    counted = {"sequence": "trueup: the next number"} if sample.columns[sample.key[0]].kind == "integer" else {"uuid": "trueup: a new UUID"}
    return {WAIT: "nobody yet: new rows wait", **counted}


def _assign(entity: ProposedEntity, system: str) -> Callable[[str], None]:
    def settle(word: str) -> None:
        entity.assigns.pop(system, None)
        if word != WAIT:
            entity.assigns[system] = word

    return settle


def _keep(item: ProposedField) -> Callable[[str], None]:
    def settle(word: str) -> None:
        item.confirmed, item.refused = word == "yes", word == "no"

    return settle


def _type(item: ProposedField) -> Callable[[str], None]:
    def settle(word: str) -> None:
        item.type = word
        if word not in {"integer", "decimal"} and item.rule == "add":
            item.rule = None

    return settle


def _winner(item: ProposedField) -> str:
    return f"{SOURCE}{item.owner}" if item.owner is not None else item.rule or ""


def _winners(item: ProposedField) -> dict[str, str]:
    rules = {word: said for word, said in RULES.items() if word != "add" or item.type in {"integer", "decimal"}}
    return rules | {f"{SOURCE}{system}": f"{system}, always" for system in item.shown}


def _win(item: ProposedField) -> Callable[[str], None]:
    def settle(word: str) -> None:
        item.owner = word.removeprefix(SOURCE) if word.startswith(SOURCE) else None
        item.rule = cast("Any", None if item.owner is not None else word or None)
        item.why_rule = "as you said"

    return settle


# ---------------------------------------------------------------- of a configuration that there is


def _written(tab: Tab) -> None:
    """Rules and directions as they are, each to be chosen anew; what is chosen is shown as a difference before it is saved."""
    config, draft = tab.site.config, tab.site.place.draft
    if not config.entities:
        markup('<p class="panel">No records are kept in agreement: write them on the step <a href="/project/preview">Preview</a>.</p>')
        return
    markup("<p>What is chosen here changes the file, and nothing is saved before you have looked at the difference.</p>")

    def choose(label: str, now: str, choices: dict[str, str], change: Callable[[str, str], str]) -> None:
        field = Field(label, now, choices=choices, entered=lambda: taken())  # noqa: PLW0108  it is defined below

        async def taken() -> None:
            word = field.value

            def act(_user: Any) -> tuple[None]:
                if word not in choices:
                    raise UsageError(f"there is no such choice: {word[:40]}")
                with draft.turn:
                    draft.type(change(draft.text(), word))
                return (None,)

            if await tab.work("admin", act) is not None:
                tab.tell(f"{label}: {choices[word]}. Look at what would come of it on the next step.", "calm")

    for entity in config.entities.values():
        markup(f"<h2>{words(entity.name)}</h2>")
        with line():
            for system, known in entity.mappings.items():
                choose(f"{system} is", known.direction, DIRECTIONS, _redirected(entity.name, system))
        with line():
            for name, item in entity.fields.items():
                rule = "" if item.conflict == "manual" else item.conflict
                now = f"{SOURCE}{item.source_of_truth}" if item.source_of_truth is not None else rule
                systems = {f"{SOURCE}{system}": f"{system}, always" for system in entity.mappings}
                present = {now: f"as it is: {now or 'a person decides'}"}
                choose(f"{name}: who wins", now, present | RULES | systems, _ruled(entity.name, name))
    with line():
        button("Go on: what would come of it", lambda: ui.navigate.to("/project/preview"), kind="main")


def _redirected(entity: str, system: str) -> Callable[[str, str], str]:
    return lambda text, word: with_direction(text, entity, system, word)


def _ruled(entity: str, field: str) -> Callable[[str, str], str]:
    def change(text: str, word: str) -> str:
        if word.startswith(SOURCE):
            return with_setting(text, ("entities", entity, "fields", field), "source_of_truth", scalar(word.removeprefix(SOURCE)))
        return with_rule(text, entity, field, WRITTEN.get(word, word))

    return change
