"""The shapes of what people do by hand, and of the report that they read."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from trueup.config.schema_base import Clock, Days, Names, Repeating, Shape, Text, Zone


class ReportShape(Shape):
    """The morning report: when it is made, and who gets it."""

    at: Clock | None = Field(
        None,
        description="The hour at which it is made and sent; left out: only when `trueup report --send` asks for it.",
        examples=["06:30"],
    )
    days: Days | None = Field(None, description="The days of the week; left out: every day.", examples=["mon-fri"])
    timezone: Zone = Field("UTC", description="The time zone of that hour and of the report's days.", examples=["Europe/London"])
    to: Names = Field(
        ("default",), min_length=1, description="Who gets it, as named under `alerts: to`.", examples=[["Head of Sales", "default"]]
    )
    attach: bool = Field(
        default=True, description="The page and the CSV file go with the message, where its channel can carry them; else only the message."
    )


class StepShape(Shape):
    """One step of a manual process."""

    short_schema: ClassVar[dict[str, Any] | None] = {
        "type": "string",
        "description": "write what is to be done, or {do: …, minutes: …, paste: …}",
    }

    do: Text = Field(description="What is to be done.", examples=["Copy each changed price"])
    paste: Text | None = Field(None, description="Where it is put: the screen and the field.", examples=["Web shop, Products, Price"])
    minutes: float | None = Field(None, gt=0, le=10_000, allow_inf_nan=False, description="How long it takes.", examples=[15])

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """`Count the rows` stands for `{do: Count the rows}`."""
        return {"do": value} if isinstance(value, str) else value


class ManualShape(Shape):
    """A process that people carry out: `trueup runbook` writes its page, `trueup manual` keeps track of it."""

    every: Repeating = Field(
        description="How often it is due: a span after the last time, or an hour and its days, as in `when`.", examples=["7d"]
    )
    owner: Text | None = Field(None, description="The role that does it.", examples=["Office manager"])
    stand_in: Text | None = Field(None, description="Who does it in their absence.", examples=["Accounts"])
    checked_by: Text | None = Field(None, description="Who looks whether it was done.", examples=["Head of Sales"])
    what: Text | None = Field(None, description="Which records, and which of their fields.", examples=["prices that changed"])
    from_: Text | None = Field(None, description="Where they are taken from: system, screen or report.", examples=["ERP, report P12"])
    to: Names = Field((), description="Where they are put.", examples=[["web shop", "till"]])
    steps: list[StepShape] = Field(min_length=1, description="What is done, in order.", examples=[["Open the report", "Copy each price"]])
    checks: Names = Field((), description="How one sees that it was done rightly.", examples=[["as many prices there as in the report"]])
    minutes: float | None = Field(
        None,
        gt=0,
        le=100_000,
        allow_inf_nan=False,
        description="How long it takes in all; left out: as long as its steps.",
        examples=[20],
    )
