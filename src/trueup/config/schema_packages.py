"""The shape of `packages:` in a configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trueup.config.schema_base import Duration, Names, Schedule, Secrets, Shape, Text


class PackageShape(Shape):
    """Data packages of one entity: files that say themselves what they hold, to a place or from one."""

    export: Text | None = Field(None, description="The entity whose records go out (with `to`).", examples=["invoice"])
    import_: Text | None = Field(None, description="The entity whose records come in (with `from` and `system`).", examples=["invoice"])
    to: Text | None = Field(
        None,
        description="Where packages are put: a folder, sftp://USER@HOST/FOLDER, or s3://BUCKET/FOLDER.",
        examples=["sftp://trueup@files.example.com/out"],
    )
    from_: Text | None = Field(
        None, description="Where packages are fetched: a folder, sftp://USER@HOST/FOLDER, or s3://BUCKET/FOLDER.", examples=["inbox"]
    )
    system: Text | None = Field(
        None, description="The system that the packages are: a JSON Lines file that trueup writes and only reads.", examples=["sales"]
    )
    when: list[Schedule] = Field(
        [], description="When `serve` exports, or looks for a package; left out: coming in every minute, going out never by itself."
    )
    cutoff: Schedule | None = Field(
        None,
        description="The time of day as of which the records go out, with its zone; left out: as of the export.",
        examples=[{"at": "00:00", "timezone": "Europe/London"}],
    )
    expected_by: Schedule | None = Field(
        None,
        description="When a package must have come: later it is told as late, and after the next such time as missing.",
        examples=[{"at": "02:00", "days": "tue-sat", "timezone": "Europe/London"}],
    )
    format: Literal["csv", "jsonl"] = Field("csv", description="CSV or JSON Lines.")
    zip: bool = Field(default=False, description="One .zip instead of a folder.")
    fields: Names | None = Field(None, description="The fields that go out; left out: all.", examples=[["number", "total"]])
    whole: bool = Field(
        default=True,
        description="A package with a row that cannot be taken is refused; false: the other rows are taken, and that one waits.",
    )
    answers: Text | None = Field(
        None, description="Where acknowledgements are put (coming in) or looked for (going out); left out: where the packages are."
    )
    answered_within: Duration | None = Field(
        None, description="How long an acknowledgement may take before somebody is told; left out: for ever.", examples=["6h"]
    )
    sign: Text | None = Field(
        None, description="A key that signs packages and answers; `trueup keys new --print` makes one.", examples=["${PACKAGE_SIGNING_KEY}"]
    )
    signers: Names | None = Field(
        None,
        description="Public keys of which one must have signed what comes (`trueup packages` shows one's own); left out: none must.",
        examples=[["trueup-public-…"]],
    )
    encrypt: Secrets | None = Field(
        None,
        description="The shared key that encrypts packages (`trueup keys new --print`); while it changes, the new and the old one.",
        examples=["${PACKAGE_KEY}"],
    )
    owner: Text | None = Field(None, description="Role or person responsible: receives the alerts.", examples=["Head of Accounting"])
