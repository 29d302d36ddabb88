"""The shape of a configuration: every setting with its type, its help text and an example.

This is the one home of those texts: the checks, the JSON Schema for editors and the reference page are made from it. What a single
value may look like is in `forms.py`; whether values fit each other is checked in `entities.py`, `fields.py`, `mappings.py`, `systems.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from trueup.config.schema_base import (
    HIDDEN,
    Addresses,
    CleanForm,
    ClockRanges,
    Comparing,
    ConflictForm,
    CountOrOff,
    Days,
    Duration,
    DurationOrOff,
    KeyForm,
    MatchRule,
    Names,
    ObjectForm,
    OnOrOff,
    Schedule,
    Secrets,
    Shape,
    Share,
    SizeOrOff,
    Text,
    Zone,
)
from trueup.config.schema_by_hand import ManualShape, ReportShape
from trueup.config.schema_oauth import OAuth2Shape
from trueup.config.schema_packages import PackageShape
from trueup.model import DeleteAction, Direction, FieldType, When

_EXPRESSION = "a Polars SQL expression over one row"


class LimitsShape(Shape):
    """How hard a system may be worked."""

    rows_per_s: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Rows read or written per second at most.", examples=[500]
    )
    connections: int | None = Field(None, ge=1, le=1000, description="Connections open at once at most.", examples=[2])
    not_between: ClockRanges = Field(
        (),
        description="Times of day at which it is left alone, neither read nor written; one pair or a list of pairs.",
        examples=[["09:00", "17:00"]],
    )
    days: Days | None = Field(
        None,
        description="The days on which it is left alone: at the hours of `not_between`, or, without these, all day. Left out: every day.",
        examples=["mon-fri"],
    )
    timezone: Zone | None = Field(
        None, description="The time zone of these hours and days; left out: that of the system.", examples=["Europe/London"]
    )


class TimestampShape(Shape):
    """Where a signed message says when it was sent."""

    header: Text | None = Field(None, description="The header with the time.", examples=["X-Timestamp"])
    field: Text | None = Field(None, description="Its name within the header with the signature.", examples=["t"])
    unit: Literal["s", "ms", "iso"] = Field("s", description="Seconds or milliseconds since 1970, or an ISO 8601 time.")
    max_age_s: float = Field(300, gt=0, allow_inf_nan=False, description="Older messages are refused, and those from as far ahead.")


class VerifyShape(Shape):
    """How an incoming message proves where it comes from."""

    kind: Literal["standard", "hmac", "ed25519", "basic", "token"] = Field(
        description="standard: Standard Webhooks; hmac: a signature over the body; ed25519: one by the sender's own key; basic: user and"
        " password; token: a header with a secret."
    )
    secret: Secrets | None = Field(
        None,
        description="The shared secret (standard, hmac, token); while it is being changed, a list of the new and the old one.",
        examples=["${SHOP_HOOK_SECRET}"],
    )
    header: Text | None = Field(None, description="The header with the signature or the token (hmac, token).", examples=["X-Signature"])
    field: Text | None = Field(
        None, description="The signature's name in a header that holds `name=value` pairs, separated by commas.", examples=["v1"]
    )
    public_key: Secrets | None = Field(
        None, description="The sender's public key (ed25519), in hex or base64; while it is being changed, a list of both."
    )
    hash: Literal["sha1", "sha256", "sha384", "sha512"] = Field("sha256", description="The hash of an hmac.")
    encoding: Literal["hex", "base64"] = Field("hex", description="How the hmac is written.")
    prefix: str = Field("", description="Text before the signature or the token.", examples=["sha256="])
    message: Text = Field(
        "${body}",
        description="What is signed; ${timestamp}, ${body}, ${method}, ${uri} (the whole address), ${path} and ${header:NAME} stand for"
        " themselves here.",
        examples=["${timestamp}.${body}"],
    )
    uri: Text | None = Field(
        None,
        description="The address that the sender signs (${uri}), where a proxy changes it; left out: http(s) and the host asked for.",
        examples=["https://sync.example.com/hooks/shop"],
    )
    timestamp: TimestampShape | None = Field(None, description="Refuse old messages by this time.")
    user: Text | None = Field(None, description="The user (basic).")
    password: Secrets | None = Field(
        None,
        description="The password (basic); while it is being changed, a list of the new and the old one.",
        examples=["${HOOK_PASSWORD}"],
    )


class EventShape(Shape):
    """Where an incoming message says what changed: JSON Pointers into the body; a plain word stands for itself."""

    id: Text | None = Field(None, description="The message's own id, by which repeats are known.", examples=["/id"])
    key: Names | None = Field(
        None, description="The key of the changed record; of a key of several columns, a list.", examples=["/data/id"]
    )
    object_: Text | None = Field(None, description="The object it belongs to.", examples=["/data/table"])
    at: Text | None = Field(
        None,
        description="When it happened: an ISO 8601 time, or seconds or milliseconds since 1970. Of a system that only pushes, the latest"
        " message about a record counts; left out: the one that came last.",
        examples=["/created_at"],
    )
    list_: Text | None = Field(
        None,
        description="Where the list of events stands in a body that holds several; the pointers then lead into one of them.",
        examples=["/events"],
    )


class ReplyShape(Shape):
    """What the sender wants to hear, where that is not 202."""

    status: Literal[200, 201, 202, 204] = Field(202, description="The answer to a message that was stored.")
    challenge: Text | None = Field(
        None,
        pattern=r"^(/|query\.).+$",
        description="What comes when the sender tries the address, and is sent back: `query.NAME`, or a JSON Pointer into the body.",
        examples=["/challenge", "query.validationToken"],
    )


class WebhookShape(Shape):
    """Messages that this system sends when something changed."""

    verify: VerifyShape | None = Field(None, description="How a message proves where it comes from; left out: as the connector file says.")
    callback: Text | None = Field(
        None,
        description="The address under which the system reaches trueup: it is asked to send its messages there, where its connector file"
        " says how.",
        examples=["https://sync.example.com/hooks/crm"],
    )
    event: EventShape | None = Field(None, description='Where the message says what changed; left out: {"object": …, "key": …}.')
    reply: ReplyShape | None = Field(None, description="What the sender wants to hear; left out: 202.")
    max_bytes: int = Field(1_048_576, ge=1024, le=67_108_864, description="Larger messages are refused.", examples=[4_194_304])


class SystemShape(Shape):
    """One connected place that holds records. Settings not listed here are the connector's own (url, path, …)."""

    model_config = ConfigDict(extra="allow")

    connector: Text = Field(description="The kind of system.", examples=["postgres", "mysql", "sqlite", "csv", "excel", "jsonl"])
    timezone: Zone | None = Field(None, description="Time zone of timestamps that name none; left out: UTC.", examples=["Europe/London"])
    limits: LimitsShape | None = Field(None, description="How hard the system may be worked.")
    paused: bool = Field(default=False, description="Nothing is delivered to a paused system.")
    settle: Duration | None = Field(None, description="How long after a write the system may still show the old value.", examples=["5s"])
    webhook: WebhookShape | None = Field(None, description="Messages that the system sends when something changed.")
    oauth2: OAuth2Shape | None = Field(None, description="How trueup is given access, where the system wants tokens that are renewed.")
    was: Text | None = Field(None, description="The former name of this system, so that its links are kept.")
    owner: Text | None = Field(
        None, description="Role or person responsible: shown in runbooks, receives the alerts.", examples=["IT operations"]
    )


class FieldShape(Shape):
    """One field of an entity, as all systems agree on it."""

    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "description": "write a type (text), or {type: text, …}"}

    type: FieldType = Field("text", description="What kind of value it is.")
    entity: Text | None = Field(None, description="The entity that a reference points to.", examples=["customer"])
    scale: int | None = Field(None, ge=0, le=12, description="Decimal places of a decimal, rounded half to even.", examples=[2])
    required: bool = Field(default=False, description="A row without this value is rejected.")
    unique: bool = Field(default=False, description="No two records may have the same value.")
    pattern: Text | None = Field(None, description="A regular expression that the text must match.", examples=["^[A-Z]{2}[0-9]{6}$"])
    min: Any = Field(None, description="The smallest value allowed.", examples=[0])
    max: Any = Field(None, description="The largest value allowed.", examples=["2099-12-31"])
    one_of: list[Any] | None = Field(None, min_length=1, description="The values allowed.", examples=[["active", "closed"]])
    clean: CleanForm = Field(
        (), description="Steps that bring a value into standard form before it is compared and delivered.", examples=[["trim", "lower"]]
    )
    write_back: bool = Field(default=False, description="The cleaned value also goes back to where it came from.")
    source_of_truth: Text | None = Field(None, description="The system that owns this field: only its edits count.", examples=["crm"])
    conflict: ConflictForm | None = Field(
        None,
        description="What happens when the field was changed in two systems; left out: a person decides.",
        examples=["last_write_wins"],
    )
    hold_if: Text | None = Field(
        None, description=f"{_EXPRESSION}; where it is true, the change waits for a person.", examples=["incoming < base * 0.5"]
    )
    owner: Text | None = Field(None, description="Role or person responsible for this field.")
    was: Text | None = Field(None, description="The former name of this field, so that its values are kept.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """`email: text` and `email:` stand for a field of that type, and of type text."""
        if value is None:
            return {}
        return {"type": value} if isinstance(value, str) else value


class FieldMappingShape(Shape):
    """How one system shows one field: a column, or expressions for reading and writing."""

    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "description": "write a column's name, or {read: …, write: {…}}"}

    column: Text | None = Field(None, description="The native column: the same value both ways.", examples=["email_address"])
    read: Text | None = Field(
        None,
        description=f"{_EXPRESSION} of native columns; alone, the field is only read here.",
        examples=["concat_ws(' ', first_name, last_name)"],
    )
    write: dict[str, Text] | None = Field(
        None,
        min_length=1,
        description=f"Native column and {_EXPRESSION} of the entity's fields; without read, the field is only written here.",
        examples=[{"first_name": "split_part(name, ' ', 1)"}],
    )
    values: dict[str, Any] | None = Field(
        None,
        min_length=1,
        description="The entity's value and this system's word for it, one to one.",
        examples=[{"active": "A", "closed": "C"}],
    )
    format: Text | None = Field(None, description="A number by example, or strptime codes for dates.", examples=["1,234.56", "%d/%m/%Y"])
    separator: str | None = Field(None, min_length=1, description="What stands between the items of a list; left out: `;`.", examples=[","])
    lossy: bool = Field(default=False, description="The system may change a written value for good, for example shorten it.")
    owner: Text | None = Field(None, description="Role or person responsible for this field in this system.")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """`email: email_address` stands for `{column: email_address}`."""
        return {"column": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


class MappingShape(Shape):
    """How one system's table, sheet or resource shows an entity."""

    object_: ObjectForm | None = Field(
        None,
        description="Table, view, sheet or resource, or {sql: SELECT …} that is only read; a file or a first sheet need none.",
        examples=["contacts"],
    )
    key: KeyForm = Field(description="The column or columns that identify a row, and who gives a new row its key.", examples=["id"])
    modified: Text | None = Field(
        None, description="The column with the time of the last edit: reads only what is new, and dates the edits.", examples=["updated_at"]
    )
    direction: Direction = Field("both", description="read: never written; write: read only to match, compare and verify.")
    where: Text | None = Field(None, description=f"{_EXPRESSION} of native columns: which rows take part.", examples=["country = 'GB'"])
    set_: dict[str, Any] | None = Field(None, description="Native columns and their constants in new rows.", examples=[{"country": "GB"}])
    header_row: int = Field(1, ge=1, le=1_000_000, description="The row with the column names, in a file or sheet.")
    empty: Literal["text", "null"] = Field("null", description="What an empty cell of a file means.")
    separator: str | None = Field(None, min_length=1, description="What stands between the items of lists in this object; left out: `;`.")
    create: bool = Field(default=False, description="A missing file or table is made.")
    options: dict[str, Any] | None = Field(None, description="The connector's own settings for this object.")
    owner: Text | None = Field(None, description="Role or person responsible for this mapping.")
    fields: dict[str, FieldMappingShape] = Field(
        min_length=1, description="The entity's fields and where they are here.", examples=[{"email": "email_address"}]
    )


class DeletesShape(Shape):
    """Who may delete records, and what follows."""

    from_: Names | None = Field(None, description="The systems whose deletes count.", examples=[["crm"]])
    action: DeleteAction = Field(description="propagate: deleted everywhere; archive: fields are set; ignore: nothing.")
    set_: dict[str, Any] | None = Field(None, description="The fields and values that archive a record.", examples=[{"status": "closed"}])


class GuardShape(Shape):
    """What a pass may change without being asked: it is held where both the share and the count are exceeded."""

    short_schema: ClassVar[dict[str, Any] | None] = {
        "enum": ["off", "on", True, False],
        "description": 'write off, or {deletes: "5%", updates: "30%", at_least: 20}',
    }

    deletes: Share = Field(0.05, description="Share of the rows of a system that may be deleted.", examples=["5%"])
    updates: Share = Field(0.30, description="Share of the rows of a system that may be updated.", examples=["30%"])
    at_least: int = Field(20, ge=0, description="So many changes are never held.", examples=[20])
    one_mistake: Share = Field(
        0.05, description="Share of the rows from which on edits that look like one mistake are held; off: never.", examples=["5%"]
    )
    surge: Share = Field(
        0.20,
        description="Share of the rows from which on edits of one field are held where the system usually makes far fewer; off: never.",
        examples=["20%"],
    )
    deletes_a_day: Share = Field(
        0.10, description="Share of the rows that may be deleted in 24 hours, however slowly; off: any.", examples=["10%"]
    )
    off: bool = Field(default=False, json_schema_extra=HIDDEN)

    @classmethod
    def from_short(cls, value: Any) -> Any:
        """`off` and `on`, as text or as YAML's own false and true."""
        if isinstance(value, bool):
            return {"off": not value}
        if isinstance(value, str) and value.strip().lower() in {"off", "on"}:
            return {"off": value.strip().lower() == "off"}
        return value


class FullShape(Shape):
    """The complete sweep of objects that are otherwise read by cursor."""

    every: Duration = Field(description="How often every row is looked at.", examples=["1d"])


class TriggersShape(Shape):
    """What may wake an immediate pass; the scheduled sweep still sees everything."""

    events: list[Literal["created", "updated", "deleted"]] = Field(
        ["created", "updated", "deleted"], min_length=1, description="Kinds of changes."
    )
    fields: Names | None = Field(None, description="Only changes of these fields.", examples=[["email", "phone"]])


class EntityShape(Shape):
    """A kind of record that several systems share."""

    match: list[MatchRule] = Field(
        [],
        description="How one record is recognised across systems: rules of fields, the first that gives exactly one counts.",
        examples=[[["email"], ["phone", "name"]]],
    )
    precedence: Names | None = Field(
        None,
        description="Systems in order: breaks ties, and decides at first contact where nothing else does.",
        examples=[["crm", "billing"]],
    )
    source_of_truth: Text | None = Field(
        None, description="The system that owns all fields it shows that name neither an owner nor a conflict rule.", examples=["crm"]
    )
    fields: dict[str, FieldShape] = Field(min_length=1, description="The fields on which all systems agree.")
    mappings: dict[str, MappingShape] = Field({}, description="Per system: where the records are and how they look there.")
    deletes: DeletesShape | None = Field(None, description="Who may delete, and what follows; left out: deletes are reported, never done.")
    guard: GuardShape = Field(GuardShape(), description="What a pass may change without being asked, or off.")
    full: FullShape | None = Field(None, description="The complete sweep of objects read by cursor; left out: once a day.")
    owner: Text | None = Field(
        None, description="Role or person responsible: shown in runbooks, receives the alerts.", examples=["Head of Sales"]
    )
    max_delay: Duration | None = Field(None, description="The tolerated wait: measured, reported, alerted.", examples=["2m"])
    when: list[Schedule] = Field([], description="When passes run by themselves.", examples=[["realtime", {"every": "15m"}]])
    verify: Comparing = Field(
        When(kind="at", at="03:00", days=tuple(range(7))),
        description="When `serve` compares all systems with the golden records, at the next quiet moment, or off; left out: at 03:00 UTC.",
        examples=[{"at": "03:00", "timezone": "Europe/London"}],
    )
    triggers: TriggersShape | None = Field(None, description="What may wake an immediate pass.")


class MasterKeyShape(Shape):
    """Where the master key is, under which secrets and an encrypted state are sealed: one of the four."""

    file: Text | None = Field(None, description="A file that only its owner can read.", examples=["/etc/trueup/master.key"])
    env: Text | None = Field(None, description="An environment variable.", examples=["TRUEUP_MASTER_KEY"])
    keyring: Text | None = Field(None, description="An entry of the operating system's keyring (trueup[keyring]).", examples=["customers"])
    command: Text | list[Text] | None = Field(
        None, description="A command that prints it, such as a key service's client.", examples=["aws kms decrypt …"]
    )


class RetentionShape(Shape):
    """How long the state keeps what it needs for looking back only; what is left out is kept for good."""

    history: Duration | None = Field(
        None,
        description="Lines of history older than this go, but for those that tell why a value is what it is; such runs cannot be undone.",
        examples=["400d"],
    )
    lines: int | None = Field(None, ge=1000, description="At most so many lines of history; the oldest go first.", examples=[5_000_000])
    runs: Duration | None = Field(None, description="Runs older than this go; the newest 200 stay.", examples=["400d"])
    webhooks: Duration | None = Field(
        None,
        description="That a message came by webhook is known so long after it was dealt with, and its repeats with it; left out: 30 days.",
        examples=["30d"],
    )


class AlertRulesShape(Shape):
    """When an alert fires: a threshold per rule, or off."""

    failure_rate: Share = Field(0.05, description="Share of the rows of an hour that failed.", examples=["5%"])
    slow_run: CountOrOff = Field(3.0, description="How many times as long as usual a run takes.", examples=[3])
    queue_age: DurationOrOff = Field(900.0, description="How long a change waits to be looked at.", examples=["15m"])
    max_delay: OnOrOff = Field(1.0, description="Whether a broken `max_delay` of an entity is told.", examples=["off"])
    conflicts_age: DurationOrOff = Field(604_800.0, description="How long a conflict is open.", examples=["7d"])
    hold: DurationOrOff = Field(60.0, description="How long a guard holds something.", examples=["1m"])
    unreachable: DurationOrOff = Field(300.0, description="How long a system does not answer.", examples=["5m"])
    slot_lag: SizeOrOff = Field(1e9, description="How much of its log a system keeps for us.", examples=["1GB"])
    overdue: DurationOrOff = Field(3600.0, description="How long a run of the schedule is due without one that succeeds.", examples=["1h"])
    recovered: CountOrOff = Field(1.0, description="Changed rows that only a sweep found.", examples=[1])
    bad_signatures: CountOrOff = Field(20.0, description="Refused messages of a system within an hour.", examples=[20])
    failed_logins: CountOrOff = Field(20.0, description="Logins to the dashboard that failed within an hour.", examples=[20])
    old_secrets: DurationOrOff = Field(31_536_000.0, description="Age of a secret that trueup keeps.", examples=["365d"])
    access_ended: OnOrOff = Field(1.0, description="Whether it is told that access to a system has ended.", examples=["off"])
    quota_spent: DurationOrOff = Field(
        600.0, description="It is told that nothing more may be asked of an application for so long.", examples=["10m"]
    )
    hook_lapsed: OnOrOff = Field(1.0, description="Whether it is told that a system sends no webhooks any more.", examples=["off"])
    access_ends: DurationOrOff = Field(604_800.0, description="How long before its end it is told that access ends.", examples=["7d"])
    disagreement: CountOrOff = Field(1.0, description="Records of a system that are not as agreed when compared.", examples=[1])
    notices_age: DurationOrOff = Field(3600.0, description="How long a subscriber is not told of all changes.", examples=["1h"])
    notices_dead: CountOrOff = Field(1.0, description="Notices for a subscriber that were given up.", examples=[1])
    notices_stopped: OnOrOff = Field(1.0, description="Whether it is told that a subscriber is told nothing more.", examples=["off"])
    package_late: OnOrOff = Field(1.0, description="Whether it is told that a package did not come by `expected_by`.", examples=["off"])
    package_missing: OnOrOff = Field(1.0, description="Whether it is told that a package never came.", examples=["off"])
    package_half_copied: DurationOrOff = Field(900.0, description="How long a package is there in part.", examples=["15m"])
    package_tampered: OnOrOff = Field(1.0, description="Whether it is told that a package is not what was sent.", examples=["off"])
    package_refused: OnOrOff = Field(1.0, description="Whether it is told that a package was not taken.", examples=["off"])
    package_unanswered: OnOrOff = Field(1.0, description="Whether it is told that no acknowledgement came in time.", examples=["off"])
    package_unsent: OnOrOff = Field(1.0, description="Whether it is told that a package could not be sent or fetched.", examples=["off"])
    report_late: DurationOrOff = Field(
        1800.0, description="How long after its hour the morning report has not reached everybody.", examples=["30m"]
    )
    channel: OnOrOff = Field(1.0, description="Whether it is told that somebody's alerts cannot be sent.", examples=["off"])


class AlertsShape(Shape):
    """Who is told of troubles, and of which; `trueup serve` watches."""

    to: dict[str, Addresses] = Field(
        {},
        description="Addresses of channels, as apprise writes them, by `owner`; `default`: for whatever has no owner named here.",
        examples=[{"default": "mailtos://user:password@example.com?to=ops@example.com"}],
    )
    repeat: Duration = Field(86_400.0, description="How often a trouble that lasts is told again.", examples=["1d"])
    gather: Duration = Field(30.0, description="How long troubles are gathered into one message.", examples=["30s"])
    rules: AlertRulesShape = Field(AlertRulesShape(), description="Thresholds that differ from the defaults.")


class NoticesShape(Shape):
    """Who is told when golden records change: a signed message (Standard Webhooks) per changed record, by `trueup serve`."""

    url: Text = Field(
        description="Where notices are sent (POST); https, unless it is on this machine.",
        examples=["https://n8n.example.com/webhook/trueup"],
    )
    secret: Secrets = Field(
        description="The secret that signs them: `whsec_` and base64; while it is being changed, a list of the new and the old one.",
        examples=["${N8N_SECRET}"],
    )
    entities: Names | None = Field(None, description="Of which entities; left out: of all.", examples=[["customer"]])
    fields: dict[str, Names] = Field(
        {},
        description="Per entity: the fields whose values are sent; left out: none, only which fields changed.",
        examples=[{"customer": ["email", "name"]}],
    )
    changes: list[Literal["created", "updated", "deleted", "merged"]] = Field(
        ["created", "updated", "deleted", "merged"], min_length=1, description="Kinds of changes that are told."
    )
    keys: Names = Field((), description="Systems whose keys of the record are sent; left out: none.", examples=[["crm"]])
    headers: dict[str, Text] = Field(
        {}, description="Further headers, as some receivers ask for.", examples=[{"Authorization": "Bearer ${N8N_TOKEN}"}]
    )
    timeout: Duration = Field(15.0, description="How long a receiver may take for all of its answer, at most 5m.", examples=["15s"])
    give_up: Duration = Field(
        259_200.0, description="How long a notice is tried again before it waits for a person (`trueup notices dead`).", examples=["3d"]
    )
    connections: int = Field(4, ge=1, le=32, description="Notices sent at once; never two about one record.")
    insecure: bool = Field(default=False, description="Allow http to another machine: whoever is on the way can read and change it all.")
    owner: Text | None = Field(None, description="Role or person responsible: receives the alerts.", examples=["IT operations"])


class MetricsShape(Shape):
    """Who may read `/metrics` of `trueup serve`."""

    token: Text = Field(
        description="Who reads them shows it as `Authorization: Bearer …`; without `metrics`, only this machine may read them.",
        examples=["${METRICS_TOKEN}"],
    )


class ConfigShape(Shape):
    """A trueup configuration."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["systems"]}, {"required": ["manual"]}]})

    state: Text = Field(
        ".trueup/state.db",
        description="Where trueup keeps its state: a file, or a postgresql:// URL to share the work.",
        examples=["postgresql://…"],
    )
    master_key: MasterKeyShape | None = Field(
        None, description="Where the master key is (default: the environment variable TRUEUP_MASTER_KEY)."
    )
    systems: dict[str, SystemShape] = Field({}, description="The connected systems, by names of your own.")
    entities: dict[str, EntityShape] = Field({}, description="The kinds of records that they share.")
    retention: RetentionShape | None = Field(None, description="How long history and runs are kept; left out: for good.")
    alerts: AlertsShape = Field(AlertsShape(), description="Who is told of troubles, and of which; left out: nobody is told.")
    notices: dict[str, NoticesShape] = Field({}, description="Who is told when golden records change, by names of your own.")
    packages: dict[str, PackageShape] = Field({}, description="Data packages out and in, by names of your own.")
    metrics: MetricsShape | None = Field(None, description="Who may read the metrics; left out: only this machine.")
    report: ReportShape | None = Field(None, description="The morning report; left out: it is made when somebody asks for it.")
    manual: dict[str, ManualShape] = Field({}, description="What is done by hand, by names of your own.")
    runbooks: Text | None = Field(
        None,
        description="The folder of the pages that `trueup runbook` writes; `check` says which of them are out of date.",
        examples=["runbooks"],
    )
