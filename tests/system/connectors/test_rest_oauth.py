"""An application that a connector file describes, behind tokens that end: read and written without anybody noticing."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.oauth_server import OAuthServer
from trueup.connectors.rest.connector import RestConnector
from trueup.credentials import keeper
from trueup.credentials.token import Token
from trueup.errors import AccessRefusedError, ConfigError, GrantExpiredError
from trueup.model import Config, KeyPlace, ObjectSpec, System
from trueup.runtime.credentials import Credentials, StateShelf, grant_for
from trueup.sealing import new_key
from trueup.testing.rest_service import RestService

FILE = """\
connector: directory
auth:
  kind: oauth2
  token_url: "{url}/token"
  authorize_url: "{url}/authorize"
  client_id: "${{secrets.client_id}}"
  client_secret: "${{secrets.client_secret}}"
  scopes: [read, write]
http: {{base_url: "{service}"}}
objects:
  contacts:
    key: /id
    envelope: /attributes
    read:
      full: {{get: /contacts, items: /data, page: {{style: cursor, from: /next, to: query.cursor}}}}
"""


@pytest.fixture
def directory(tmp_path):
    with OAuthServer() as server, RestService() as service:
        service.make("contacts", key=("id",))
        (tmp_path / "directory.yaml").write_text(FILE.format(url=server.url, service=service.url))
        master = KeyPlace(given=new_key().text)
        secrets = {"client_id": server.settings["client_id"], "client_secret": server.settings["client_secret"]}
        system = System(name="crm", connector="rest", settings={"file": "directory.yaml", "secrets": secrets})
        config = Config(
            file="", directory=str(tmp_path), state=str(tmp_path / "state.db"), master_key=master, systems={"crm": system}, entities={}
        )
        credentials = Credentials(config)
        connector: Any = RestConnector.open("crm", system.settings, directory=str(tmp_path))
        credentials.authorize(system, connector)
        shelf = StateShelf(config.state, master, grant_for(system, connector))  # type: ignore[arg-type]
        yield server, service, connector, shelf
        connector.close()
        credentials.close()
        shelf.close()


def rows_of(connector: Any) -> int:
    spec = ObjectSpec(name="contacts", key=("id",))
    return sum(page.rows.height for page in connector.read(spec, []))


def test_a_token_that_is_refused_is_renewed_and_the_request_sent_again(directory, monkeypatch):
    server, service, connector, shelf = directory
    with pytest.raises(GrantExpiredError, match="run `trueup connect crm`"):
        rows_of(connector)
    said = server.give()
    shelf.keep(Token(said["access_token"], said["refresh_token"], datetime(2020, 1, 1, tzinfo=UTC), None), datetime.now(UTC))
    service.traps.token = said["access_token"]
    assert rows_of(connector) == 0
    server.told = lambda access: setattr(service.traps, "token", access)
    service.traps.token = "another"
    assert rows_of(connector) == 0
    assert len(server.refreshes) == 1
    server.revoke_all()
    service.traps.token = "yet another"
    monkeypatch.setattr(keeper, "FRESH_S", 0.0)
    with pytest.raises(GrantExpiredError, match="its access has ended"):
        rows_of(connector)


def led(tmp_path, server: OAuthServer, service: RestService, *, hosts: str = '["127.0.0.1"]', keep: str = "service") -> tuple[Any, Any]:
    """An application whose address comes with the token."""
    text = FILE.format(url=server.url, service="${token.service}/api").replace(
        "scopes:", f"grant: client_credentials\n  keep: [{keep}]\n  scopes:"
    )
    (tmp_path / "led.yaml").write_text(text.replace('/api"', f'", hosts: {hosts}'))
    secrets = {"client_id": server.settings["client_id"], "client_secret": server.settings["client_secret"]}
    system = System(name="crm", connector="rest", settings={"file": "led.yaml", "secrets": secrets})
    master, state = KeyPlace(given=new_key().text), str(tmp_path / "led.db")
    config = Config(file="", directory=str(tmp_path), state=state, master_key=master, systems={"crm": system}, entities={})
    connector: Any = RestConnector.open("crm", system.settings, directory=str(tmp_path))
    credentials = Credentials(config)
    credentials.authorize(system, connector)
    return connector, credentials


@pytest.mark.parametrize(
    ("hosts", "told", "said"),
    [
        ('["127.0.0.1"]', {"service": "here"}, None),
        ('["127.0.0.1"]', {"service": "http://elsewhere.example.com"}, "its token leads to http://elsewhere.example.com"),
        ('["*.example.com"]', {"service": "here"}, "its token leads to http://127.0.0.1"),
        ('["127.0.0.1"]', {}, "the answer with its token does not say `service`"),
    ],
)
def test_an_address_that_comes_with_the_token(tmp_path, hosts, told, said):
    with OAuthServer() as server, RestService() as service:
        service.make("contacts", key=("id",))
        service.put("contacts", {"id": 1, "name": "Ada"})
        server.more = {name: service.url if value == "here" else value for name, value in told.items()}
        connector, credentials = led(tmp_path, server, service, hosts=hosts)
        with closing(connector), closing(credentials):
            if said is None:
                assert rows_of(connector) == 1
            else:
                with pytest.raises(AccessRefusedError, match=said):
                    rows_of(connector)
                assert service.requests == []


@pytest.mark.parametrize(
    ("more", "said"),
    [({"keep": "another"}, "`service` is not kept of the answer with a token"), ({"hosts": "[]"}, "a part of it comes from outside")],
)
def test_a_file_that_does_not_say_where_a_token_may_lead(tmp_path, more, said):
    with OAuthServer() as server, RestService() as service, pytest.raises(ConfigError, match=said):
        led(tmp_path, server, service, **more)
