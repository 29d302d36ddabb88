"""Who is told of changes: from shape to model, each address and each name checked."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trueup.config.systems import check_name, is_standard
from trueup.model import Subscription

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.config.report import Report
    from trueup.config.schema import NoticesShape
    from trueup.config.systems import BuiltSystem
    from trueup.model import Entity
    from trueup.yamlfile import YamlPath

LONGEST_TIMEOUT_S = 300.0
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OURS = re.compile(r"webhook-.*|host|content-.*|connection|transfer-encoding|expect|upgrade|te|trailer|user-agent", re.IGNORECASE)


def build_notices(
    shapes: Mapping[str, NoticesShape], entities: Mapping[str, Entity], systems: Mapping[str, BuiltSystem], report: Report
) -> dict[str, Subscription]:
    """All subscriptions, those with problems too (they are reported), in the order of the file."""
    return {name: _build(name, shape, entities, systems, report) for name, shape in shapes.items()}


def _build(
    name: str, shape: NoticesShape, entities: Mapping[str, Entity], systems: Mapping[str, BuiltSystem], report: Report
) -> Subscription:
    path: YamlPath = ("notices", name)
    check_name(path, "a subscription", report)
    if not report.is_broken((*path, "url")):
        _check_address(shape.url, (*path, "url"), report, insecure=shape.insecure)
    secrets = (shape.secret,) if isinstance(shape.secret, str) else shape.secret
    if not report.is_broken((*path, "secret")) and not all(is_standard(secret) for secret in secrets):
        report.add(
            (*path, "secret"),
            "this is no secret of Standard Webhooks",
            "such a secret is `whsec_` and base64; make one: python3 -c \"import base64, os; print('whsec_' + "
            'base64.b64encode(os.urandom(32)).decode())"',
        )
    for system in shape.keys:
        if system not in systems:
            report.unknown((*path, "keys"), "system", system, f"notices {name}", systems)
    if shape.timeout > LONGEST_TIMEOUT_S:
        report.add((*path, "timeout"), "a receiver may take five minutes at most", "for example 15s")
    _check_headers(shape.headers, (*path, "headers"), report)
    told = _entities(shape, path, entities, report)
    return Subscription(
        name=name,
        url=shape.url,
        secrets=secrets,
        entities={entity: shape.fields.get(entity, ()) for entity in told},
        changes=frozenset(shape.changes),
        keys=shape.keys,
        headers=shape.headers,
        timeout_s=shape.timeout,
        give_up_s=shape.give_up,
        connections=shape.connections,
        insecure=shape.insecure,
        owner=shape.owner,
    )


def _entities(shape: NoticesShape, path: YamlPath, entities: Mapping[str, Entity], report: Report) -> list[str]:
    """Of which entities is told; names that mean nothing are reported."""
    where = f"notices {path[-1]}"
    told = list(entities) if shape.entities is None else list(shape.entities)
    for entity in told:
        if entity not in entities and not report.is_broken(("entities",)):
            report.unknown((*path, "entities"), "entity", entity, where, entities)
    for entity, names in shape.fields.items():
        if entity not in told:
            report.unknown((*path, "fields", entity), "entity", entity, where, told)
        elif entity in entities:
            known = entities[entity].fields
            for field in (name for name in names if name not in known):
                report.unknown((*path, "fields", entity), "field", field, f"entity {entity}", known)
    return told


def _check_address(url: str, path: YamlPath, report: Report, *, insecure: bool) -> None:
    """Whether notices can be sent there. The address itself is not shown: it may hold a token."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or not url.isascii() or re.search(r"[\x00-\x20\x7f]", url):
        report.add(path, "this is no web address", "write https://HOST/PATH; letters beyond ASCII as %XX")
    elif parts.username is not None or parts.password is not None:
        report.add(path, "a login does not belong into the address", 'write headers: {Authorization: "Basic …"}')
    elif parts.scheme == "http" and not insecure and not is_this_machine(host):
        report.add(path, "notices would be sent in the clear", "use https, or, on a network that you trust, say insecure: true")


def is_this_machine(host: str) -> bool:
    """Whether a host's name can only mean this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_headers(headers: Mapping[str, str], path: YamlPath, report: Report) -> None:
    for name, value in headers.items():
        if report.is_broken((*path, name)):
            continue
        if not _TOKEN.fullmatch(name):
            report.add((*path, name), f"`{name}` cannot name a header", "use letters, digits and -")
        elif _OURS.fullmatch(name):
            report.add((*path, name), f"the header {name} is set by trueup", "remove it")
        elif not re.fullmatch(r"[\t\x20-\x7e]*", value):
            report.add((*path, name), f"the header {name} holds what no header can", "use plain characters, in one line")
