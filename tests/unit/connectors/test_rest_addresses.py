"""Which addresses an application may lead to."""

from __future__ import annotations

import pytest

from trueup.connectors.rest.client import Client
from trueup.connectors.rest.schema_http import HttpShape
from trueup.errors import AccessRefusedError

SHAPE = HttpShape.model_validate({"base_url": "https://api.example.com/v1", "hosts": ["*.files.example.com"]})


@pytest.fixture
def client() -> Client:
    return Client("crm", SHAPE, "https://api.example.com/v1")


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ("contacts", "https://api.example.com/v1/contacts"),
        ("/contacts?a=1", "https://api.example.com/v1/contacts?a=1"),
        ("?page=2", "https://api.example.com/v1?page=2"),
        ("https://api.example.com/other", "https://api.example.com/other"),
        ("https://one.files.example.com/x", "https://one.files.example.com/x"),
        # behind a proxy that ends the encryption, an application tells its own pages by http: no credential goes there in the clear
        ("http://api.example.com/v1/contacts?page=2", "https://api.example.com/v1/contacts?page=2"),
    ],
)
def test_it_may_be_asked(client: Client, told: str, asked: str) -> None:
    assert client.address(told) == asked


@pytest.mark.parametrize(
    "told",
    [
        "https://elsewhere.example/contacts",
        "https://api.example.com@elsewhere.example/contacts",
        "http://one.files.example.com/x",
        "http://api.example.com:80/contacts",
        "ftp://elsewhere.example/x",
    ],
)
def test_it_may_not(client: Client, told: str) -> None:
    with pytest.raises(AccessRefusedError, match="does not allow"):
        client.address(told)
