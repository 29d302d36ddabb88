"""Systems: from their shape to the model, each with its connector's own settings checked."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from trueup.config.schema import SystemShape, WebhookShape
from trueup.config.settings import check_settings
from trueup.config.suggest import did_you_mean, listing
from trueup.connectors import registry
from trueup.connectors.presets import draft_names
from trueup.credentials.grant import problems_of
from trueup.errors import TrueupError, UsageError
from trueup.model import System
from trueup.yamlfile import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.config.report import Report
    from trueup.config.schema import VerifyShape
    from trueup.yamlfile import YamlPath

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}", re.ASCII)
_PLACES = re.compile(r"\$\{([^}]*)\}")
_KNOWN_PLACES = ("body", "timestamp", "method", "uri", "path")
_KEY_HEX = 64
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NEEDS = {
    "standard": ("secret",),
    "hmac": ("secret", "header"),
    "ed25519": ("public_key", "header"),
    "basic": ("user", "password"),
    "token": ("header", "secret"),
}


@dataclass(frozen=True, slots=True)
class BuiltSystem:
    """A system and the kind of its connector (`database`, `file`, `api` …); None where the connector is not known."""

    system: System
    kind: str | None


def check_name(path: YamlPath, what: str, report: Report) -> None:
    """Names of systems and entities stand in commands, links and views, so they are kept simple."""
    name = str(path[-1])
    if not _NAME.fullmatch(name):
        report.add(path, f"`{name}` cannot name {what}", "use letters, digits, _ and -, a letter first, at most 63 characters")


def build_systems(shapes: Mapping[str, SystemShape], report: Report, directory: str = ".") -> dict[str, BuiltSystem]:
    """All systems, those with problems too (they are reported), in the order of the file. Paths are relative to `directory`."""
    built = {}
    for name, shape in shapes.items():
        path: YamlPath = ("systems", name)
        check_name(path, "a system", report)
        built[name] = _build(name, shape, path, report, directory)
    _check_former_names(shapes, report)
    return built


def _build(name: str, shape: SystemShape, path: YamlPath, report: Report, directory: str) -> BuiltSystem:
    settings = dict(shape.model_extra or {})
    kind = None
    found = _connector(shape.connector, path, report)
    if found is not None:
        kind, schema = found
        settings = check_settings(settings, schema, path, report, SystemShape.settings())
    if kind == "push" and shape.webhook is None and not report.is_broken((*path, "webhook")):
        report.also(
            path,
            "`webhook` is missing: this system only pushes",
            "for example webhook: {verify: {kind: token, header: X-Token, secret: …}}",
        )
    settings = {key: plain(value) for key, value in settings.items() if value is not None}
    webhook = with_file(shape, settings, directory, path, report)
    _check_webhook(webhook, path, report)
    return BuiltSystem(
        System(
            name=name,
            connector=shape.connector,
            settings=settings,
            timezone=shape.timezone,
            limits=_limits(shape),
            paused=shape.paused,
            settle_s=shape.settle or 0.0,
            webhook=webhook.model_dump(by_alias=True, exclude_none=True) if webhook is not None and webhook.verify is not None else None,
            oauth2=_oauth2(shape, path, report),
            was=shape.was,
            owner=shape.owner,
            line=report.line(path),
        ),
        kind,
    )


def _connector(name: str, path: YamlPath, report: Report) -> tuple[str | None, Mapping[str, Any]] | None:
    """Kind and settings schema of a connector; None where there is no such connector, which is reported."""
    if not registry.is_known(name):
        known = registry.names()
        hint = listing("known", known)
        if name in draft_names():
            hint = f"nobody has confirmed it yet: `trueup connector show {name} --file > {name}.yaml`, and connector: rest with that file"
        report.add((*path, "connector"), f"unknown connector `{name}`{did_you_mean(name, known)}", hint)
        return None
    try:
        found = registry.connector_class(name)
        schema = found.settings_schema()
    except (UsageError, ImportError) as error:
        report.add(
            (*path, "connector"), f"the connector `{name}` cannot be loaded: {error}", "install or repair the package that brings it"
        )
        return None
    caps = getattr(found, "caps", None)
    return getattr(caps, "kind", None), schema


def _limits(shape: SystemShape) -> dict[str, Any]:
    return shape.limits.model_dump(exclude_unset=True, exclude_none=True) if shape.limits else {}


def _oauth2(shape: SystemShape, path: YamlPath, report: Report) -> dict[str, Any] | None:
    """What is said of the grant; what is missing may stand in the connector file, and is told where the system is opened."""
    if shape.oauth2 is None:
        return None
    said = shape.oauth2.model_dump(exclude_none=True, exclude_unset=True)
    if "lifetime" in said:
        said["lifetime_s"] = said.pop("lifetime")
    for problem in problems_of(said):
        place = (*path, "oauth2", problem.path)
        if problem.path in said and not report.is_broken(place):
            report.add(place, problem.message, "")
    return said


def _check_webhook(webhook: WebhookShape | None, path: YamlPath, report: Report) -> None:
    if webhook is None:
        return
    _check_callback(webhook, path, report)
    verify = webhook.verify
    if verify is None:
        if not report.is_broken((*path, "webhook", "verify")):
            report.also(
                (*path, "webhook"),
                "`verify` is missing: anybody could send messages",
                "say how a message proves where it comes from, for example verify: {kind: token, header: X-Token, secret: …}; a connector"
                " file may say it, if the system gives it the secrets that it names",
            )
        return
    place = (*path, "webhook", "verify")
    for name in _NEEDS[verify.kind]:
        if getattr(verify, name) is None and not report.is_broken((*place, name)):
            report.also(place, f"`{name}` is missing: verify by {verify.kind} needs {' and '.join(_NEEDS[verify.kind])}", "")
    if verify.kind in {"hmac", "ed25519"}:
        _check_hmac(verify, place, report)
    _check_keys(verify, place, report)


def _check_keys(verify: VerifyShape, place: YamlPath, report: Report) -> None:
    """Whether keys and secrets are such as their kind has."""
    if verify.kind == "ed25519" and verify.public_key is not None and not report.is_broken((*place, "public_key")):
        for key in (verify.public_key,) if isinstance(verify.public_key, str) else verify.public_key:
            if not is_public_key(key):
                report.add((*place, "public_key"), "this is no public key of Ed25519", "it has 32 bytes, in hex or base64")
    if verify.kind == "standard" and verify.secret is not None and not report.is_broken((*place, "secret")):
        for secret in (verify.secret,) if isinstance(verify.secret, str) else verify.secret:
            if not is_standard(secret) and not (secret.startswith("whpk_") and is_public_key(secret.removeprefix("whpk_"))):
                report.add(
                    (*place, "secret"),
                    "this is no secret of Standard Webhooks",
                    "such a secret is `whsec_` and base64, or the sender's public key `whpk_…`; for any other one use kind: hmac",
                )


def _check_callback(webhook: WebhookShape, path: YamlPath, report: Report) -> None:
    if webhook.callback is None or report.is_broken((*path, "webhook", "callback")):
        return
    try:
        parts = urlsplit(webhook.callback)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or parts.scheme not in {"https", "http"} or (parts.scheme == "http" and host not in _LOOPBACK):
        report.add(
            (*path, "webhook", "callback"),
            "this is no address for messages" if not host else "everybody on the way could read along: this address is not encrypted",
            f"for example https://sync.example.com/hooks/{path[-1]}",
        )


def with_file(shape: SystemShape, settings: Mapping[str, Any], directory: str, path: YamlPath, report: Report) -> WebhookShape | None:
    """The webhook of a system: what the configuration says, over what its connector file says; None: it has none."""
    said = _said_by_file(shape.connector, settings, directory)
    if said is None or report.is_broken((*path, "webhook")):
        return shape.webhook
    try:
        theirs = WebhookShape.model_validate(said)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        report.add(path, f"the `webhook` of its connector file cannot be used: {place}: {wrong['msg']}", "correct the connector file")
        return shape.webhook
    if shape.webhook is None:
        return theirs
    given = shape.webhook.model_fields_set
    return shape.webhook.model_copy(update={name: getattr(theirs, name) for name in ("verify", "event", "reply") if name not in given})


def _said_by_file(connector: str, settings: Mapping[str, Any], directory: str) -> Mapping[str, Any] | None:
    """What a connector file says of webhooks. What is wrong with the file is told where the system is opened."""
    if not registry.is_known(connector):
        return None
    try:
        ask = getattr(registry.connector_class(connector), "webhook_of", None)
        said: Mapping[str, Any] | None = ask(settings, directory=directory) if ask is not None else None
    except (TrueupError, ImportError):
        return None
    return said


def _check_hmac(verify: VerifyShape, place: YamlPath, report: Report) -> None:
    stamp = verify.timestamp
    if "${timestamp}" in verify.message and stamp is None:
        report.add(
            (*place, "message"),
            "the message holds ${timestamp}, but `timestamp` does not say where it stands",
            "add timestamp: {header: …}",
        )
    if stamp is not None and (stamp.header is None) == (stamp.field is None) and not report.is_broken((*place, "timestamp")):
        report.add((*place, "timestamp"), "it does not say where the time stands", "write either header: … or field: …")
    if stamp is not None and stamp.field is not None and verify.field is None:
        report.add(
            (*place, "timestamp"),
            "`field` names a part of the header with the signature, but no field of it is named as the signature",
            "add `field:` beside `header:`, for example field: v1",
        )
    for name in _PLACES.findall(verify.message):
        if name not in _KNOWN_PLACES and not name.startswith("header:"):
            report.add(
                (*place, "message"),
                f"`${{{name}}}` stands for nothing in a message{did_you_mean(name, _KNOWN_PLACES)}",
                listing("known", [*_KNOWN_PLACES, "header:NAME"]),
            )


def is_public_key(text: str) -> bool:
    """Whether this can be a public key of Ed25519: 32 bytes, in hex or base64."""
    try:
        raw = bytes.fromhex(text) if len(text) == _KEY_HEX else base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return False
    return len(raw) == _KEY_HEX // 2


def is_standard(secret: str) -> bool:
    """Whether this can be a secret of Standard Webhooks: `whsec_`, which may be left out, and base64."""
    text = secret.removeprefix("whsec_")
    try:
        return bool(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (binascii.Error, ValueError):
        return False


def _check_former_names(shapes: Mapping[str, SystemShape], report: Report) -> None:
    former: dict[str, str] = {}
    for name, shape in shapes.items():
        if shape.was is None:
            continue
        path = ("systems", name, "was")
        if shape.was in shapes:
            report.add(
                path, f"`{shape.was}` is still a system here", "`was` is for the old name of a renamed system: remove one of the two"
            )
        elif shape.was in former:
            report.add(path, f"`{former[shape.was]}` was `{shape.was}` too", "only one system can continue another")
        former[shape.was] = name
