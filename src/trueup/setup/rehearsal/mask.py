"""Masked values: others of the same form, and the same one for the same value wherever it stands.

A text is masked run by run: letters become letters, digits digits, everything between stays, capitals are where they were. What becomes
of a run depends on the run alone. So masking goes together with what configurations do to texts: names that are split, joined, trimmed or
written in capitals are split, joined, trimmed or written in capitals alike once they are masked, and what differed differs still, for
runs of one length and alphabet are exchanged among each other, one for one, under a key that nobody keeps.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

ROUNDS = 6
BLOCK = 128
"""Letters are exchanged among those of as many neighbours in Unicode: an alphabet, as a rule."""
PLAIN_KEY_DIGITS = 7
"""A key that is a number of no more digits tells nothing: it stays, so that numbering goes on."""
PHONE_DIGITS = 6
KEPT_FRACTION = 2
_DOMAIN_END = re.compile(r"@[^\s@]*?((?:\.(?:co|com|org|net|ac|gov))?\.[A-Za-z]{2,24})(?![\w.-]*[A-Za-z0-9-])", re.IGNORECASE)
_NUMERAL = re.compile(r"\d[\d.,'’ \u00a0\u202f\u2009]*\d|\d")
_ISO_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?!\d)")
_YEAR_LAST = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?!\d)")
_YEAR_FIRST = re.compile(r"(\d{4})([./])(\d{1,2})\2(\d{1,2})(?!\d)")


class Masker:
    """Masks under one key. `copy` numbers the copies of a record that is multiplied: each copy has values of its own.

    `kept` are texts that stay as they are, without regard to capitals: those that the configuration itself names.
    """

    def __init__(self, key: bytes, *, copy: int = 0, kept: Collection[str] = (), words: Collection[str] = (), key_step: int = 0) -> None:
        """`words` stay as parts of texts, too; `key_step` lies between a key that is a number and the one of its first copy."""
        self._key = blake2b(copy.to_bytes(4, "big"), key=key, digest_size=32).digest()
        self._kept = {text.strip().casefold() for text in kept}
        self._words = {word.casefold() for word in words}
        self._runs: dict[str, str] = {}
        self._offset = copy * key_step
        self.shift = timedelta(days=-7 * (1 + blake2b(b"days", key=key, digest_size=2).digest()[0] % 26))

    def keeps(self, value: str) -> bool:
        """Whether the configuration names this text."""
        return value.strip().casefold() in self._kept

    # ------------------------------------------------------------ texts

    def text(self, value: str) -> str:
        """A text of the same form. The end of an e-mail address's domain stays: it has to be one that exists."""
        if self.keeps(value):
            return value
        made = self._whole(value)
        while self.keeps(made) and made != value:  # what is named stays itself, so nothing else becomes it
            made = self._whole(made)
        return made

    def _whole(self, value: str) -> str:
        ends = [found.span(1) for found in _DOMAIN_END.finditer(value)]
        parts, at = [], 0
        for start, end in ends:
            parts += [self._plain(value[at:start]), value[start:end]]
            at = end
        return "".join([*parts, self._plain(value[at:])])

    def code(self, value: str, *, prefix: int = 0, last: int | None = None) -> str:
        """A text of which only letters and digits count, whatever stands between them: postcodes, numbers of accounts and telephones.

        The first `prefix` of its letters and digits stay; `last`: all but the last so many digits stay.
        """
        if self.keeps(value):
            return value
        signs = list(value)
        places = [number for number, sign in enumerate(signs) if sign.isalnum()][prefix:]
        digits = [number for number in places if signs[number].isdecimal()]
        letters = [] if last is not None else [number for number in places if not signs[number].isdecimal()]
        if last is not None:
            digits = digits[-last:]
        for some in (digits, letters):
            told = self._run("".join(signs[number] for number in some))
            for number, place in enumerate(some):
                signs[place] = told[number]
        return "".join(signs)

    def phone(self, value: str) -> str:
        """A number of the same country and area. What has too few digits for one is masked as any text."""
        return self.code(value, last=PHONE_DIGITS) if sum(map(str.isdecimal, value)) > PHONE_DIGITS else self.text(value)

    def iban(self, value: str) -> str:
        """An account of the same country, with check digits that are right where they were."""
        masked = self.code(value, prefix=4)
        if not _iban_right(value):
            return masked
        plain = [number for number, sign in enumerate(masked) if sign.isalnum()]
        compact = "".join(masked[number] for number in plain)
        check = f"{98 - _remainder(compact[:2] + '00' + compact[4:]):02}"
        signs = list(masked)
        signs[plain[2]], signs[plain[3]] = check[0], check[1]
        return "".join(signs)

    def key_text(self, value: str) -> str:
        """A key. Short numbers stay, but for the copies of records."""
        if value.isascii() and value.isdigit() and len(value) <= PLAIN_KEY_DIGITS:
            return value if not self._offset else str(int(value) + self._offset)
        return self.text(value)

    def key_number(self, value: int) -> int:
        """A key that is a number."""
        if len(str(abs(value))) <= PLAIN_KEY_DIGITS:
            return value + self._offset
        return int(f"-{self._digits(str(-value))}" if value < 0 else self._digits(str(value)))

    def _plain(self, text: str) -> str:
        if not text:
            return text
        if text.isascii():
            return "".join(self._run(run) for run in _runs(text))
        # Accents stay where they are and count for nothing, as they may be stripped.
        spread = "".join(map(_apart, text))
        signs = iter("".join(self._run(run) for run in _runs("".join(sign for sign in spread if not unicodedata.combining(sign)))))
        return _composed("".join(sign if unicodedata.combining(sign) else next(signs) for sign in spread), text)

    def _run(self, run: str) -> str:
        """Letters of one alphabet, or digits, or anything else, which stays."""
        known = self._runs.get(run)
        if known is None:
            known = run if run.casefold() in self._words else self._exchanged(run)
            while known.casefold() in self._words and known != run:
                known = self._exchanged(known)
            self._runs[run] = known
        return known

    def _exchanged(self, run: str) -> str:
        small = run.lower()
        if not run or not run[0].isalnum() or len(small) != len(run):
            return run
        letters = _alphabet(small[0])
        if len(letters) < 2 or any(sign not in letters for sign in small):
            return "".join(self._exchanged(sign) for sign in run) if len(run) > 1 else run
        number = 0
        for sign in small:
            number = number * len(letters) + letters[sign]
        number = self._permuted(number, len(letters), len(small), "")
        back = tuple(letters)
        made = []
        for _sign in small:
            number, rest = divmod(number, len(letters))
            made.append(back[rest])
        made.reverse()
        return "".join(new.upper() if old.isupper() and len(new.upper()) == 1 else new for old, new in zip(run, made, strict=True))

    def _permuted(self, number: int, radix: int, length: int, tweak: str) -> int:
        """Another number below radix**length: these are exchanged among each other, one for one (an unbalanced Feistel network)."""
        if length == 1:
            order = sorted(range(radix), key=lambda item: blake2b(f"{radix}/{tweak}/{item}".encode(), key=self._key).digest())
            return order[number]
        left_of, right_of = int(radix ** (length // 2)), int(radix ** (length - length // 2))
        left, right = divmod(number, right_of)
        for turn in range(ROUNDS):
            half = right if turn % 2 == 0 else left
            said = blake2b(f"{radix}/{length}/{tweak}/{turn}/{half}".encode(), key=self._key, digest_size=32).digest()
            if turn % 2 == 0:
                left = (left + int.from_bytes(said)) % left_of
            else:
                right = (right + int.from_bytes(said)) % right_of
        return left * right_of + right

    # ------------------------------------------------------------ numbers

    def number(self, value: Any, fits: Callable[[Any], bool] = lambda _value: True) -> Any:
        """A number of the same sign, size and places: int, float, Decimal, or its exact text. A single digit stays.

        Where the value `fits` what is asked of the field, what comes of it does so too, as far as there is another one.
        """
        text = value if isinstance(value, str) else format(Decimal(str(value)), "f")
        if not _NUMERAL.fullmatch(text.removeprefix("-").replace(".", "", 1)) or isinstance(value, bool):
            return value
        good = fits(value)
        for _turn in range(64):
            text = self._number_text(text)
            made = text if isinstance(value, str) else type(value)(text)
            if not good or fits(made):
                return made
        return value

    def _number_text(self, text: str) -> str:
        sign, body = ("-", text[1:]) if text.startswith("-") else ("", text)
        whole, point, fraction = body.partition(".")
        return sign + self._digits(whole) + point + self._fraction(whole, fraction)

    def _digits(self, whole: str) -> str:
        """The first digit and how many there are stay."""
        bare = whole.lstrip("0")
        if len(bare) < 2:
            return whole
        rest = self._permuted(int(bare[1:]), 10, len(bare) - 1, f"number/{bare[0]}")
        return f"{'0' * (len(whole) - len(bare))}{bare[0]}{rest:0{len(bare) - 1}}"

    def _fraction(self, whole: str, fraction: str) -> str:
        """Hundredths stay; finer ones are masked place by place, so that fewer of them are those of more of them."""
        made = fraction[:KEPT_FRACTION]
        for number in range(KEPT_FRACTION, len(fraction)):
            if not fraction[number:].strip("0"):
                return made + fraction[number:]
            made += str(self._permuted(int(fraction[number]), 10, 1, f"fraction/{len(whole)}/{fraction[:number]}"))
        return made

    def numeral(self, value: str, point: str | None = None, fits: Callable[[Any], bool] = lambda _value: True) -> str:
        """A text that holds a number, however it is written; `point` is its decimal mark, None: found out."""
        if self.keeps(value):
            return value
        found = _NUMERAL.search(value)
        if found is None or _NUMERAL.search(value, found.end()):
            return self.text(value)
        shown = found[0]
        mark = _decimal_mark(shown) if point is None else point
        whole, _, fraction = shown.partition(mark) if mark else (shown, "", "")
        digits = "".join(filter(str.isdigit, whole))
        plain = f"{digits}.{fraction}" if fraction else digits
        if not all(map(str.isdigit, fraction)):
            return self.text(value)
        made = str(self.number(plain, fits)).replace(".", "")
        signs, told = list(shown), iter(made)
        for number, sign in enumerate(signs):
            if sign.isdigit():
                signs[number] = next(told)
        before, after = value[: found.start()], value[found.end() :]
        return before + "".join(signs) + after

    # ------------------------------------------------------------ dates

    def moment(self, value: date | datetime) -> date | datetime:
        """The same day of the week, weeks earlier, at the same time of day."""
        try:
            return value + self.shift
        except OverflowError:
            return value

    def date_text(self, value: str, form: str | None = None, order: str = "dmy") -> str:
        """A text that tells a day, moved as any other; `form` are strptime codes. What tells none is masked as any text."""
        if self.keeps(value):
            return value
        if form is not None:
            try:
                return self.moment(datetime.strptime(value.strip(), form)).strftime(form)  # noqa: DTZ007 - it keeps the zone it has
            except (ValueError, OverflowError):
                return self.text(value)
        for pattern, places in _day_patterns(order):
            found = pattern.search(value)
            if found is None:
                continue
            try:
                moved = self.moment(date(*(int(found[place]) for place in places)))
            except ValueError:
                break
            signs = list(value)
            for place, number in zip(places, (moved.year, moved.month, moved.day), strict=True):
                start, end = found.span(place)
                signs[start] = f"{number:0{end - start}}"
                signs[start + 1 : end] = [""] * (end - start - 1)
            return "".join(signs)
        return self.text(value)


# ---------------------------------------------------------------- small helpers


def _day_patterns(order: str) -> Iterator[tuple[re.Pattern[str], tuple[int, int, int]]]:
    """Ways of writing a day, with the groups that are its year, month and day."""
    yield _ISO_DATE, (1, 2, 3)
    yield _YEAR_FIRST, (1, 3, 4)
    yield _YEAR_LAST, (4, 3, 1) if order != "mdy" else (4, 1, 3)


def _decimal_mark(shown: str) -> str:
    """The decimal mark of a number as written; empty where there is none."""
    marks = [sign for sign in shown if sign in ".,"]
    if not marks:
        return ""
    last = marks[-1]
    if len(set(marks)) > 1:
        return last
    behind = shown.rpartition(last)[2]
    return "" if len(marks) > 1 or len(behind) == 3 else last


def _runs(text: str) -> Iterator[str]:
    """A text in parts: letters of one alphabet, digits, and what is neither."""
    for _kind_of_sign, signs in groupby(text, key=_kind):
        yield "".join(signs)


@lru_cache(4096)
def _kind(sign: str) -> str | None:
    if not sign.isalnum():
        return None
    small = sign.lower()
    return f"{ord(small[0]) // BLOCK}{unicodedata.category(small[0])}"


@lru_cache(512)
def _alphabet(sign: str) -> dict[str, int]:
    """The letters among which one is exchanged, each with its number."""
    start, kind, script = ord(sign) // BLOCK * BLOCK, unicodedata.category(sign), _script(sign)
    signs = (chr(code) for code in range(start, start + BLOCK))
    fitting = [
        one
        for one in signs
        if unicodedata.category(one) == kind
        and _script(one) == script
        and one.lower() == one
        and unicodedata.normalize("NFKC", one) == _apart(one) == one
        and one.isalnum()
    ]
    return {one: number for number, one in enumerate(fitting)}


def _script(sign: str) -> str:
    return unicodedata.name(sign, "").partition(" ")[0]


def _apart(sign: str) -> str:
    """A letter and its accents, one after the other; a syllable, which has none, stays whole."""
    parts = unicodedata.normalize("NFD", sign)
    return parts if any(map(unicodedata.combining, parts)) else sign


def _composed(made: str, text: str) -> str:
    """Accents put together with their letters; where such a letter does not exist the text would grow, and the accent is left out."""
    whole = unicodedata.normalize("NFC", made)
    if len(whole) <= len(text):
        return whole
    return "".join(sign for sign in whole if not unicodedata.combining(sign))


def _remainder(compact: str) -> int:
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97


def _iban_right(value: str) -> bool:
    compact = "".join(filter(str.isalnum, value))
    return len(compact) > 14 and compact.isascii() and compact[:2].isalpha() and compact[2:4].isdigit() and _remainder(compact) == 1
