"""Values that a program wrote anew in another form: what a spreadsheet makes of a column that it takes for numbers or dates.

Each form is one that says something was lost, and that people do not type by the dozen. One value proves nothing; a column of them does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trueup.core.cells import NULL

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_POWER = re.compile(r"[+-]?\d(\.\d+)?E\+?\d+", re.IGNORECASE)
_DATE = re.compile(r"(\d{1,4})([-./ ])(\d{1,2})\2(\d{1,4})(?:[ T]\d{1,2}:\d{2}.*)?")
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})(.*)", re.DOTALL)
_NAMED = re.compile(r"\d{1,2}[-. ](jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*([-. ]\d{2,4})?", re.IGNORECASE)
PRECISE_DIGITS = 15
"""A spreadsheet keeps so many digits of a number."""
POWER_APART = 0.001
"""How far a number may be from what it is as a power of ten."""


def form(kind: str, before: str | None, after: str | None) -> str | None:
    """What became of a value of a field of this type: the form that it took, None where it is an ordinary edit."""
    if before in (None, NULL) or after in (None, NULL) or before == after:
        return None
    for name, follows in _FORMS.get(kind, {}).items():
        if follows(before or "", after or ""):
            return name
    return None


def _zeros_lost(before: str, after: str) -> bool:
    """00123 -> 123, +44 20 7946 -> 44207946."""
    digits = re.sub(r"[ ()/.-]", "", before)
    plain = digits.removeprefix("+")
    return after.isdigit() and plain.isdigit() and digits[:1] in {"0", "+"} and after == plain.lstrip("0") and len(after) > 0


def _decimals_lost(before: str, after: str) -> bool:
    """1.50 -> 1.5, 12.0 -> 12: the same number."""
    return bool(_NUMBER.fullmatch(before) and _NUMBER.fullmatch(after)) and "." in before and before.rstrip("0").rstrip(".") == after


def _as_power(before: str, after: str) -> bool:
    """4006381333931 -> 4.00638E+12."""
    digits = before.removeprefix("+")
    if not (_POWER.fullmatch(after) and digits.isdigit() and len(digits) <= 300):
        return False
    number = float(digits)
    return number != 0 and abs(float(after) / number - 1) < POWER_APART


def _digits_lost(before: str, after: str) -> bool:
    """4006381333931234567 -> 4006381333931230000."""
    long = before.isdigit() and after.isdigit() and len(before) == len(after) > PRECISE_DIGITS
    return long and before[: PRECISE_DIGITS - 1] == after[: PRECISE_DIGITS - 1] and not after[PRECISE_DIGITS:].strip("0")


def _as_date(before: str, after: str) -> bool:
    """3-4 -> 2026-04-03, 1/2 -> 1-Feb: what was no date is one now."""
    named = _NAMED.fullmatch(after) is not None
    if not (named or _DATE.fullmatch(after)) or _DATE.fullmatch(before) or _NAMED.fullmatch(before):
        return False
    parts = {int(part) for part in re.findall(r"\d{1,4}", before)}
    if re.fullmatch(r"[A-Za-z]{3,4}[- ]?\d{1,2}|\d{1,2}[- ]?[A-Za-z]{3,4}", before):
        return True
    numbers = {int(part) for part in re.findall(r"\d{1,4}", after)}
    return bool(re.fullmatch(r"\d{1,4}([./ -]\d{1,4}){1,2}", before)) and (named or parts <= {*numbers, *(part % 100 for part in numbers)})


def _written_otherwise(before: str, after: str) -> bool:
    """2026-03-14 -> 14/03/2026: the same day in another form."""
    old, new = _DATE.fullmatch(before), _DATE.fullmatch(after)
    if old is None or new is None:
        return False
    said, says = (sorted(int(found.group(place)) for place in (1, 3, 4)) for found in (old, new))
    return said == says or [part % 100 for part in said] == [part % 100 for part in says]


def _exchanged(before: str, after: str) -> bool:
    """2026-03-04 -> 2026-04-03: day and month have changed places."""
    old, new = _ISO.fullmatch(before), _ISO.fullmatch(after)
    if old is None or new is None:
        return False
    return (old[1], old[2], old[3], old[4]) == (new[1], new[3], new[2], new[4])


def _cut(before: str, after: str) -> bool:
    """12.75 -> 12 or 13: what stood behind the point is gone."""
    if not (_NUMBER.fullmatch(before) and _NUMBER.fullmatch(after)) or "." not in before:
        return False
    left = after.rstrip("0").rstrip(".") if "." in after else after
    fraction = before.partition(".")[2].strip("0")
    return bool(fraction) and "." not in left and abs(float(before) - float(left)) < 1


def _garbled(before: str, after: str) -> bool:
    """Zoë -> ZoÃ« (saved in one encoding, read in another), or letters become question marks."""
    if before.isascii():
        return False
    for encoding in ("cp1252", "latin-1"):
        try:
            if before.encode().decode(encoding) == after:
                return True
        except UnicodeDecodeError:
            continue
    same = len(before) == len(after) and any(new in "?\ufffd" for new in after)
    return same and all(new == old or (new in "?\ufffd" and not old.isascii()) for old, new in zip(before, after, strict=True))


_FORMS: dict[str, dict[str, Callable[[str, str], bool]]] = {
    "text": {
        "leading zeros or a plus sign are gone": _zeros_lost,
        "zeros behind the decimal point are gone": _decimals_lost,
        "long numbers became powers of ten": _as_power,
        "the last digits of long numbers became zeros": _digits_lost,
        "what was no date became one": _as_date,
        "dates are written in another form": _written_otherwise,
        "letters are garbled by an encoding": _garbled,
    },
    "integer": {"the last digits of long numbers became zeros": _digits_lost},
    "decimal": {"decimals are gone": _cut},
    "float": {"decimals are gone": _cut},
    "date": {"days and months have changed places": _exchanged},
    "datetime": {"days and months have changed places": _exchanged},
}
