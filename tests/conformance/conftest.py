"""Which lies the quick suite tells: those of connectors in memory. Around real systems they are among the slow ones."""

from __future__ import annotations

import pytest

IN_MEMORY = ("TestMemory", "TestMemoryOfContents")


@pytest.hookimpl(tryfirst=True)  # before what is not slow is chosen
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The rules themselves are quick everywhere; a mutant says more about its rule than about the connector that it is put around."""
    for item in items:
        name = getattr(item.parent, "name", "")
        if item.name.startswith("test_mutant[") and name not in IN_MEMORY:
            item.add_marker(pytest.mark.slow)
