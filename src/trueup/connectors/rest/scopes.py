"""Scopes that an application gives, and which of them a mapping needs: as the objects of a connector file say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.connectors.needing import Permission, Permissions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.connectors.needing import Need
    from trueup.connectors.rest.schema import FileShape


def scopes_of(file: FileShape, needs: Sequence[Need]) -> Permissions:
    """What has to be given for this; empty where the file names no scopes of its objects."""
    found: dict[str, Permission] = {}
    for need in needs:
        shape = file.objects.get(need.obj.name or "")
        if shape is None or shape.scopes is None:
            continue
        wanted = [(scope, "its rows cannot be read") for scope in shape.scopes.read]
        if need.sets or need.makes:
            wanted += [(scope, "changes are not delivered to it") for scope in shape.scopes.write]
        if need.deletes:
            wanted += [(scope, "rows that are deleted elsewhere stay there") for scope in shape.scopes.delete]
        for scope, without in wanted:
            found.setdefault(scope, Permission(scope, need.obj.label, without))
    return Permissions(tuple(found.values()))
