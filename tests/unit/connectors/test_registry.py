from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from trueup.connectors import registry
from trueup.connectors.sqlite import SqliteConnector
from trueup.errors import UsageError


def test_shipped_connectors_are_loaded_by_name():
    assert registry.connector_class("sqlite") is SqliteConnector
    assert registry.names()[:4] == ["memory", "sqlite", "postgres", "mysql"]


def test_a_misspelt_connector_gets_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'postgres'"):
        registry.connector_class("postgre")
    with pytest.raises(UsageError, match="there are memory, sqlite"):
        registry.connector_class("zzz")


def test_third_parties_join_by_entry_point(monkeypatch):
    mine = EntryPoint("mine", "trueup.connectors.sqlite:SqliteConnector", registry.ENTRY_POINT_GROUP)
    broken = EntryPoint("broken", "no_such_package:Thing", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [mine, broken])
    assert registry.names()[-2:] == ["broken", "mine"]
    assert registry.connector_class("mine") is SqliteConnector
    with pytest.raises(UsageError, match=r"'broken' .* cannot be loaded"):
        registry.connector_class("broken")


def test_the_registry_loads_no_connector():
    program = "import sys, trueup.connectors.registry; print('polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
