"""`trueup schema`: the JSON Schema of trueup.yaml, for editors."""

from __future__ import annotations

import typer

from trueup.cli.shared import AsJson, ConfigFile, say_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema", short_help="The JSON Schema of trueup.yaml.")(schema)


def schema(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print the JSON Schema of trueup.yaml: editors complete and check the file with it. It is JSON with or without `--json`."""
    from trueup.config.editor import json_schema

    del config, as_json
    say_json(json_schema())
