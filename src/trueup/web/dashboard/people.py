"""Who may enter, and as what; and the keys of programs, which everybody looks after for their own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from nicegui import ui

from trueup.errors import UsageError
from trueup.store import api_key, person
from trueup.web.access import keys, people
from trueup.web.access.roles import ROLES, SCOPES, at_least, known_role
from trueup.web.dashboard.markup import pill, quiet, section, table, when, words
from trueup.web.dashboard.tab import Field, Tab, button, line, markup

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.store import Db, Store
    from trueup.store.api_key import ApiKey
    from trueup.store.person import Person
    from trueup.web.access import Role

STATES = {"active": "good", "invited": "warn", "disabled": "bad"}
DAYS = "90"


async def who(tab: Tab) -> None:
    """People, for admins; keys, for everybody."""
    await _People(tab).begin()


class _People:
    """The page of one person."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab

    async def begin(self) -> None:
        tab = self.tab
        tab.head("People and keys")
        self.shown = ui.element("div")  # what is shown once
        self.listed = ui.element("div")
        if tab.guest.may("admin"):
            with line():
                name = Field("Let somebody in: name")
                role = Field("with the role", "viewer", choices={one: one for one in ROLES})
                button("Make a link", lambda: self._add(name, role))
        self.keys = ui.element("div")
        with line():
            use = Field("A key for a program: what for")
            mine = [scope for scope, needed in SCOPES.items() if tab.guest.user is not None and at_least(tab.guest.user.role, needed)]
            scopes = Field("up to", "read", choices={scope: scope for scope in mine})
            days = Field("for so many days", DAYS, kind="number")
            button("Make a key", lambda: self._make(use, scopes, days, mine))
        await self.draw()

    async def draw(self) -> None:
        """All of it as it is now."""
        tab = self.tab

        def look(db: Db) -> tuple[list[Person], list[ApiKey]]:
            user = tab.guest.user
            everybody = person.list_(db)
            return everybody, [] if user is None else api_key.list_(db, None if user.may("admin") else user.id)

        found = await tab.look(look)
        if found is None:
            return
        everybody, known = found
        names = {one.id: one.name for one in everybody}
        self.listed.clear()
        if tab.guest.may("admin"):
            with self.listed:
                markup("<h2>People</h2>")
                for one in everybody:
                    self._one(one)
        self.keys.clear()
        with self.keys:
            self._keys(known, names)

    def _one(self, one: Person) -> None:
        state = str(people.person_dict(one)["state"])
        with line():
            markup(f"{words(one.name)} {pill(state, STATES[state])} {quiet('last seen')} {when(one.seen_at)}", tag="span")
            role = Field(
                f"{one.name} is", one.role, choices={name: name for name in ROLES}, entered=lambda: self._role(one.name, role.value)
            )
            button("Another link", partial(self._invite, one.name), about=f"Another link for {one.name}")
            if one.disabled_at is None:
                button("Let in no more", partial(self._turn, one.name, off=True), kind="danger", about=f"Let {one.name} in no more")
            else:
                button("Let in again", partial(self._turn, one.name, off=False), about=f"Let {one.name} in again")

    def _keys(self, known: list[ApiKey], names: dict[int, str]) -> None:
        now = self.tab.site.place.clock()
        rows = []
        good = []
        for one in known:
            over = one.revoked_at is not None or one.expires_at <= now
            rows.append(
                [
                    words(one.id),
                    words(one.name),
                    words(names.get(one.person, "")),
                    words(", ".join(one.scopes)),
                    when(one.expires_at),
                    when(one.used_at),
                    pill("over", "bad") if over else pill("good", "good"),
                ]
            )
            good += [] if over else [one]
        head = ("key", "what for", "acts for", "may", "until", "last used", "")
        markup(section("Keys", table("Keys", head, rows, "There are none.")))
        for one in good:
            with line():
                markup(f"{words(one.name)} {quiet(one.id)}", tag="span")
                button("Another secret", partial(self._rotate, one.id), about=f"Another secret for {one.name}")
                button("Revoke", partial(self._revoke, one.id), kind="danger", about=f"Revoke {one.name}")

    # -------------------------------------------------------------- doing

    async def _do(self, what: str, act: Callable[[Store], Any], said: str, needed: Role = "admin") -> Any:
        done = await self.tab.decide(needed, what, {}, act, locked=False)
        if done is not None:
            self.tab.tell(said, "calm")
        await self.draw()
        return done

    async def _add(self, name: Field, role: Field) -> None:
        now = self.tab.site.place.clock
        done = await self._do("users add", lambda store: people.add(store, name.value, known_role(role.value), now()), "Let in.")
        if done is not None:
            name.clear()
            self._link(done[0].name, done[1])

    async def _invite(self, name: str) -> None:
        now = self.tab.site.place.clock
        done = await self._do("users invite", lambda store: people.invite(store, name, now()), "A link was made.")
        if done is not None:
            self._link(name, done[1])

    def _link(self, name: str, token: str) -> None:
        """The link, which the browser writes with the address under which it reaches this server."""
        self.shown.clear()
        with self.shown:
            path = f"/setup?token={token}"
            markup(
                f'<p>The link for {words(name)}, good once and for three days. It is shown now only:</p><p><a href="{path}" class="whole">'
                f"<code>{path}</code></a></p>",
                "panel heed",
            )
        self.tab.client.run_javascript("document.querySelectorAll('a.whole').forEach(it => it.firstElementChild.textContent = it.href)")

    async def _role(self, name: str, role: str) -> None:
        now = self.tab.site.place.clock
        await self._do("users role", lambda store: people.set_role(store, name, known_role(role), now()), f"{name} is {role} from now on.")

    async def _turn(self, name: str, *, off: bool) -> None:
        now, act = self.tab.site.place.clock, people.disable if off else people.enable
        said = f"{name} is let in no more." if off else f"{name} is let in again."
        await self._do("users disable" if off else "users enable", lambda store: act(store, name, now()), said)

    async def _make(self, use: Field, scope: Field, days: Field, mine: list[str]) -> None:
        now, user = self.tab.site.place.clock, self.tab.guest.user

        def act(store: Store) -> tuple[ApiKey, str]:
            if user is None or scope.value not in mine:
                raise UsageError("there is no such scope")
            scopes = mine[: mine.index(scope.value) + 1]
            return keys.make(store, user.name, use.value, scopes, _whole(days.value), now())

        self._key(await self._do("users key add", act, "A key was made.", "viewer"))

    async def _rotate(self, number: str) -> None:
        now = self.tab.site.place.clock
        self._key(
            await self._do(
                "users key rotate",
                lambda store: keys.rotate(store, number, int(DAYS), now(), owner=self._owner()),
                "The secret of before is good for a day more.",
                "viewer",
            )
        )

    async def _revoke(self, number: str) -> None:
        now = self.tab.site.place.clock
        await self._do("users key revoke", lambda store: keys.revoke(store, number, now(), owner=self._owner()), "Revoked.", "viewer")

    def _owner(self) -> int | None:
        """Whose keys may be changed; None: everybody's."""
        user = self.tab.guest.user
        assert user is not None
        return None if user.may("admin") else user.id

    def _key(self, made: Any) -> None:
        if made is None:
            return
        self.shown.clear()
        with self.shown:
            markup(f"<p>The key {words(made[0].name)}. It is shown now only:</p><p><code>{words(made[1])}</code></p>", "panel heed")


def _whole(typed: str) -> int:
    text = typed.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise UsageError("the days are no whole number", hint=f"1 to {keys.LONGEST_DAYS}")
    return int(text)
