"""What an answer means: the rules of a connector file in their order, then what statuses mean everywhere."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from trueup.connectors.jsonl_text import ABSENT
from trueup.connectors.rest.pointer import at, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.rest.message import Response
    from trueup.connectors.rest.schema_http import BudgetShape, ErrorShape

_ALWAYS = {
    401: "reauth",
    403: "forbidden",
    404: "gone",
    408: "transient",
    409: "duplicate",
    410: "gone",
    412: "stale",
    425: "transient",
    429: "throttled",
}
_USUAL_PLACES = ("/error/message", "/message", "/error_description", "/detail", "/errors/0/message", "/errors/0/detail", "/title", "/error")
_LONGEST = 300
_QUOTED = re.compile(r'"[^"]*"')
BACKOFF_S = 0.5


@dataclass(frozen=True, slots=True)
class Trouble:
    """An answer that is no success. `wait_s` None: the answer does not say for how long; `column`: the pointer or name that is at fault.

    `scope`: what the token would have to allow, in the application's words; empty where it says that something is missing, and not what.
    """

    means: str
    reason: str
    wait_s: float | None = None
    column: str | None = None
    status: int = 0
    scope: str | None = None


def trouble_of(response: Response, rules: Sequence[ErrorShape], *, wants_json: bool = True) -> Trouble | None:
    """What is wrong with an answer; None where nothing is."""
    for rule in rules:
        if _holds(rule, response):
            if rule.means == "none":
                return None
            return Trouble(
                rule.means, reason_of(response, rule), _wait_s(response, rule.wait), _text_at(response, rule.field), response.status
            )
    if response.status < 300:
        if wants_json and response.body.strip() and not response.is_json:
            return Trouble("broken", f"it answered with {_described(response)} where JSON was expected", status=response.status)
        return None
    scope = _missing_scope(response)
    if scope is not None:
        told = f": the scope {scope} is not given" if scope else ": a scope is not given"
        return Trouble("forbidden", f"{reason_of(response, None)}{told}", status=response.status, scope=scope)
    means = _ALWAYS.get(response.status) or ("transient" if response.status >= 500 else "rejected")
    return Trouble(means, reason_of(response, None), _wait_s(response, ["header Retry-After"]), None, response.status)


def _missing_scope(response: Response) -> str | None:
    """Which scope the token lacks, as RFC 6750 (3.1) says it or the body does; None where that is not what is wrong.

    https://www.rfc-editor.org/rfc/rfc6750#section-3.1
    """
    if response.status not in {401, 403}:
        return None
    told = response.headers.get("www-authenticate", "")
    in_body = _text_at(response, "/error")
    if not re.search(r'error\s*=\s*"?insufficient_scope\b', told, re.IGNORECASE) and in_body != "insufficient_scope":
        return None
    named = re.search(r'\bscope\s*=\s*"([^"]*)"', told, re.IGNORECASE)
    return shortened(named[1] if named is not None else _text_at(response, "/scope") or "")


def _holds(rule: ErrorShape, response: Response) -> bool:
    if rule.status is not None and not any(_is_status(pattern, response.status) for pattern in rule.status):
        return False
    if rule.at is not None:
        value = at(_value(response), parse(rule.at))
        if rule.equals is not None:
            if value is ABSENT or not any(_same(value, wanted) for wanted in rule.equals):
                return False
        elif value is ABSENT or value in (None, False, "", [], {}):
            return False
    return rule.contains is None or rule.contains.lower().encode() in response.body.lower()


def _same(value: Any, wanted: Any) -> bool:
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _is_status(pattern: str, status: int) -> bool:
    return pattern == str(status) or (pattern.endswith("xx") and pattern[0] == str(status)[0])


def _value(response: Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def reason_of(response: Response, rule: ErrorShape | None) -> str:
    """The application's own words, else what can be said of the answer."""
    said = _text_at(response, rule.message) if rule is not None else None
    for pointer in _USUAL_PLACES if said is None else ():
        said = _text_at(response, pointer)
        if said is not None:
            break
    if said is not None:
        return f"{shortened(said)} (HTTP {response.status})"
    if response.body.strip() and not response.is_json:
        return f"HTTP {response.status} with {_described(response)}"
    return f"HTTP {response.status}"


def _text_at(response: Response, pointer: str | None) -> str | None:
    if pointer is None:
        return None
    found = at(_value(response), parse(pointer))
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) and str(found).strip() else None


def shortened(text: str) -> str:
    """A message in one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _described(response: Response) -> str:
    """An answer that is no JSON: an HTML page by its title, anything else by its type."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    head = response.body[:20_000].decode("utf-8", "replace")
    if "<html" in head.lower() or kind == "text/html":
        title = re.search(r"<title[^>]*>(.*?)</title>", head, re.IGNORECASE | re.DOTALL)
        return f"a page for people{f' ({shortened(title[1])})' if title and title[1].strip() else ''}"
    return f"{kind or 'text'} ({shortened(head)[:80]})"


# ---------------------------------------------------------------- waiting


def _wait_s(response: Response, ways: Sequence[str]) -> float | None:
    for way in ways:
        kind, _, rest = way.partition(" ")
        if kind == "header":
            found = seconds_of(response.headers.get(rest.lower()))
            if found is not None:
                return found
        elif kind == "seconds":
            return float(rest)
    return None


def seconds_of(text: str | None, now: float | None = None) -> float | None:
    """How long to wait, by a header: seconds, epoch seconds or milliseconds, an HTTP date or ISO. None where it says nothing."""
    if text is None:
        return None
    now = time.time() if now is None else now
    try:
        number = float(text)
    except ValueError:
        return _until(text, now)
    if number > 1e11:
        return max(0.0, number / 1000 - now)
    return max(0.0, number - now) if number > 1e8 else max(0.0, number)


def _until(text: str, now: float) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, moment.timestamp() - now)


def rest_s(response: Response, budget: BudgetShape | None) -> float | None:
    """For how long nothing is left, by the headers that tell the budget; None where something is, or nothing is told."""
    if budget is None:
        return None
    if budget.remaining is None:
        waits = [wait_s for remaining, wait_s in _told_by_draft(response) if remaining <= budget.keep]
        return max(waits, default=None)
    try:
        remaining = float(response.headers.get(budget.remaining.lower(), "inf"))
    except ValueError:
        return None
    if remaining > budget.keep:
        return None
    return seconds_of(response.headers.get((budget.reset or "").lower())) or 1.0


def _told_by_draft(response: Response) -> Iterator[tuple[float, float]]:
    """What is left, and in how many seconds it begins anew, by `RateLimit` and its forerunners; of each policy where there are several.

    https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (r and t; before version 8 remaining and reset; before 7 in
    headers of their own)
    """
    told = response.headers.get("ratelimit")
    if told is None:
        apart = (response.headers.get("ratelimit-remaining", ""), response.headers.get("ratelimit-reset", ""))
        told = "remaining={}, reset={}".format(*apart)
    flat = "remaining" in told
    for policy in [told] if flat else _QUOTED.sub("", told).split(","):  # names of policies say nothing here
        left, again = (re.search(rf"(?:^|[;,\s]){name}\s*=\s*(\d+)", policy) for name in (("remaining", "reset") if flat else ("r", "t")))
        if left is not None:
            yield float(left[1]), float(again[1]) if again is not None else 1.0
