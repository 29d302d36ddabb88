"""Who is told of changes, in the configuration: what is taken, and what is refused before anything is sent."""

from __future__ import annotations

import pytest

from trueup.config import load_config
from trueup.errors import ConfigError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
COMPANY = """\
systems:
  crm: {connector: csv, path: crm.csv}
  shop: {connector: csv, path: shop.csv}
entities:
  customer:
    match: [[email]]
    fields: {email: text, name: text}
    mappings:
      crm: {key: id, fields: {email: email, name: name}}
      shop: {key: id, fields: {email: email, name: name}}
notices:
  flow: SUBSCRIPTION
"""
PLAIN = 'url: "https://n8n.example.com/webhook/x", secret: "${FLOW}"'


def of(text: str) -> str:
    return COMPANY.replace("SUBSCRIPTION", "{" + text + "}")


def test_without_more_nothing_but_names_of_fields_is_sent(load):
    flow = load(of(PLAIN), FLOW=SECRET).notices["flow"]
    assert (flow.secrets, flow.entities, flow.keys, flow.insecure) == ((SECRET,), {"customer": ()}, (), False)
    assert flow.changes == {"created", "updated", "deleted", "merged"}
    assert SECRET not in repr(flow)
    assert "webhook" not in repr(flow)


def test_two_secrets_while_one_is_being_changed(load):
    text = of(PLAIN.replace('"${FLOW}"', '["${NEW}", "${FLOW}"]') + ", fields: {customer: [name]}, keys: crm")
    flow = load(text, FLOW=SECRET, NEW=SECRET.replace("M", "N")).notices["flow"]
    assert (len(flow.secrets), flow.entities, flow.keys) == (2, {"customer": ("name",)}, ("crm",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN.replace("https", "http"), "in the clear"),
        (PLAIN.replace("https://", "https://user:pass@"), "a login does not belong into the address"),
        (PLAIN.replace("https://n8n", "ftp://n8n"), "no web address"),
        (PLAIN.replace("/webhook/x", "/a b"), "no web address"),
        (PLAIN.replace("${FLOW}", "short!"), "no secret of Standard Webhooks"),
        (PLAIN + ", fields: {customer: [nmae]}", "unknown field `nmae`"),
        (PLAIN + ", fields: {order: [name]}", "unknown entity `order`"),
        (PLAIN + ", entities: [order]", "unknown entity `order`"),
        (PLAIN + ", keys: [till]", "unknown system `till`"),
        (PLAIN + ", headers: {Webhook-Id: x}", "the header Webhook-Id is set by trueup"),
        (PLAIN + ', headers: {"X Y": x}', "cannot name a header"),
        (PLAIN + ', headers: {X-Y: "a\\nb"}', "holds what no header can"),
        (PLAIN + ", timeout: 1h", "five minutes at most"),
        (PLAIN + ", changes: [moved]", "changes"),
    ],
)
def test_what_cannot_be_sent_is_refused(problems, text, said):
    (found,) = problems(of(text), FLOW=SECRET)
    assert said in str(found)
    assert SECRET not in str(found)


@pytest.mark.parametrize("url", ["http://localhost:5678/x", "http://127.0.0.1/x", "http://[::1]:99/x"])
def test_on_this_machine_http_will_do(load, url):
    assert load(of(PLAIN.replace("https://n8n.example.com/webhook/x", url)), FLOW=SECRET).notices["flow"].url == url


def test_who_sends_nothing_needs_no_secret(tmp_path):
    (tmp_path / "trueup.yaml").write_text(of(PLAIN), encoding="utf-8")
    assert load_config(tmp_path / "trueup.yaml", {}, connects=False).entities.keys() == {"customer"}
    with pytest.raises(ConfigError, match="FLOW"):
        load_config(tmp_path / "trueup.yaml", {})
