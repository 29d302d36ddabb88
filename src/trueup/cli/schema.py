"""`trueup schema`: the JSON Schema of trueup.yaml and of connector files, for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared import AsJson, ConfigFile, say_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema", short_help="The JSON Schema of trueup.yaml, or of connector files.")(schema)


def schema(
    *,
    connector: Annotated[bool, typer.Option("--connector", help="That of connector files, which describe web applications.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print the JSON Schema of trueup.yaml: editors complete and check the file with it. It is JSON with or without `--json`."""
    from trueup.config.editor import connector_schema, json_schema

    del config, as_json
    say_json(connector_schema() if connector else json_schema())
