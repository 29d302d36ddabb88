"""Webhooks in the configuration: as the public description writes them, and what cannot be."""

from __future__ import annotations

import json

import pytest

from trueup.errors import ConfigError
from trueup.web.messages import Reading
from trueup.web.receiver import records_of
from trueup.web.signatures import Basic, Ed25519, Hmac, Standard, Token, verifier

PUBLIC = """\
systems:
  shop:
    connector: postgres
    url: "${SHOP_URL}"
    webhook:
      verify: VERIFY
      event: {id: /id, key: /data/id, object: /data/table}              # JSON Pointers into the body; a plain word is itself
  website:
    connector: webhook              # only pushes: the body is the record; its mapping uses JSON Pointers
    webhook: {verify: {kind: token, header: X-Token, secret: "${LEAD_TOKEN}"}}
entities:
  lead:
    match: [[email]]
    fields: {email: text}
    mappings:
      shop: {object: leads, key: id, fields: {email: email}}
      website: {key: /lead/id, fields: {email: /lead/email}}
"""
KINDS = {
    '{kind: standard, secret: "${SHOP_HOOK_SECRET}"}': Standard,
    '{kind: hmac, secret: s, header: X-Signature, hash: sha256, encoding: hex, prefix: "sha256=", message: "${timestamp}.${body}",'
    " timestamp: {header: X-Timestamp, unit: s, max_age_s: 300}}": Hmac,
    "{kind: basic, user: u, password: p}": Basic,
    "{kind: token, header: X-Token, secret: s}": Token,
}
ENVIRONMENT = {"SHOP_URL": "postgresql://x", "SHOP_HOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "LEAD_TOKEN": "t"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_public_example_is_taken_as_it_is_written(load, kind):
    config = load(PUBLIC.replace("VERIFY", kind), **ENVIRONMENT)
    shop, website = config.systems["shop"].webhook, config.systems["website"].webhook
    assert isinstance(verifier(shop["verify"]), KINDS[kind])
    assert isinstance(verifier(website["verify"]), Token)
    reading = Reading.of("shop", shop["event"], None, None)
    assert (reading.id, reading.key, reading.object) == ("/id", ("/data/id",), "/data/table")
    assert config.entities["lead"].mappings["website"].direction == "read"
    assert records_of(config) == {"website": [("/lead/id",)]}


def test_the_sender_s_own_key_and_another_answer(load):
    written = PUBLIC.replace("VERIFY", f"{{kind: ed25519, public_key: {'0a' * 32}, header: X-Signature}}")
    written = written.replace("    webhook:\n", "    webhook:\n      reply: {status: 200, challenge: /challenge}\n", 1)
    webhook = load(written, **ENVIRONMENT).systems["shop"].webhook
    assert isinstance(verifier(webhook["verify"]), Ed25519)
    assert webhook["reply"] == {"status": 200, "challenge": "/challenge"}


def test_a_connector_file_says_what_is_answered(load, tmp_path):
    file = {
        "connector": "chat",
        "http": {"base_url": "https://chat.example.com"},
        "objects": {"people": {"key": "/id", "read": {"full": {"get": "/people"}}}},
        "webhook": {"verify": {"kind": "token", "header": "X-Token", "secret": "${secrets.hook}"}, "reply": {"status": 204}},
    }
    (tmp_path / "chat.json").write_text(json.dumps(file), encoding="utf-8")
    written = PUBLIC.replace("VERIFY", "{kind: token, header: X, secret: s}")
    i, j = written.index("  shop:"), written.index("  website:")
    chat = f"  shop: {{connector: rest, file: '{tmp_path / 'chat.json'}', secrets: {{hook: s}}}}\n"
    webhook = load(written[:i] + chat + written[j:], **ENVIRONMENT).systems["shop"].webhook
    assert (webhook["reply"], webhook["verify"]["kind"]) == ({"status": 204}, "token")


def test_several_secrets_while_one_is_being_changed(load):
    written = PUBLIC.replace("VERIFY", '{kind: token, header: X-Token, secret: ["${NEW}", "${OLD}"]}')
    webhook = load(written, NEW="n", OLD="o", **ENVIRONMENT).systems["shop"].webhook
    assert webhook["verify"]["secret"] == ("n", "o")
    assert verifier(webhook["verify"]) == Token("X-Token", "", (b"n", b"o"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("website: {key", "website: {direction: both, key"), "only pushes: nothing can be written"),
        (
            ("    match: [[email]]", "    match: [[email]]\n    deletes: {from: [website], action: propagate}"),
            "never says that a record is gone",
        ),
        (('    webhook: {verify: {kind: token, header: X-Token, secret: "${LEAD_TOKEN}"}}', ""), "`webhook` is missing"),
        (("connector: webhook ", "connector: webhook\n    path: x "), "unknown setting `path`"),
    ],
)
def test_what_a_system_that_only_pushes_cannot_have(load, change, told):
    with pytest.raises(ConfigError) as caught:
        load(PUBLIC.replace("VERIFY", "{kind: token, header: X, secret: s}").replace(*change), **ENVIRONMENT)
    assert len(caught.value.problems) == 1
    assert told in caught.value.problems[0].message


def test_deletes_that_are_ignored_everywhere_name_nobody(load):
    written = PUBLIC.replace("VERIFY", "{kind: token, header: X, secret: s}")
    load(written.replace("    match: [[email]]", "    match: [[email]]\n    deletes: {action: ignore}"), **ENVIRONMENT)


def test_no_secret_is_shown(load):
    config = load(PUBLIC.replace("VERIFY", "{kind: basic, user: u, password: hunter2}"), **ENVIRONMENT)
    assert "hunter2" not in repr(config)
