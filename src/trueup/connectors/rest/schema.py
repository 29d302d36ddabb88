"""The shape of a connector file: what may be said, with the meaning of each setting; `file.py` reads one and says what is wrong."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from trueup.connectors.rest.lines import Format
from trueup.connectors.rest.pointer import parse
from trueup.connectors.rest.schema_http import (
    AnyAuthShape,
    Anything,
    AuthShape,
    HttpShape,
    Place,
    Pointer,
    Shape,
    Span,
    Target,
    Templated,
    TemplatedText,
    listed,
)
from trueup.connectors.rest.template import places

ANY = "*"
"""The object that stands for every one without a description of its own."""
METHODS = ("get", "post", "put", "patch", "delete")
DeclaredType = Literal["text", "integer", "decimal", "float", "boolean", "date", "datetime", "timestamp", "list", "json"]


class RequestShape(Shape):
    """One request: the method with its path, `query`, `headers`, and `body`, sent as JSON (or as a form: `form: true`)."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in METHODS]})
    get: TemplatedText | None = None
    post: TemplatedText | None = None
    put: TemplatedText | None = None
    patch: TemplatedText | None = None
    delete: TemplatedText | None = None
    query: dict[str, Templated] = Field(default_factory=dict)
    headers: dict[str, TemplatedText] = Field(default_factory=dict)
    body: Templated = None
    form: bool = False

    @model_validator(mode="after")
    def _one_method(self) -> RequestShape:
        given = [name for name in METHODS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"write one of {', '.join(f'{name}: /path' for name in METHODS)}")
        return self

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return next(name for name in METHODS if getattr(self, name) is not None).upper()

    @property
    def path(self) -> str:
        """The path or address, with its places."""
        return str(getattr(self, self.method.lower()))


class SizeShape(Shape):
    """How many rows a page is asked to have; where that is refused, it is halved down to `least`."""

    to: Target
    rows: int = Field(100, ge=1)
    least: int = Field(1, ge=1)


class PageShape(Shape):
    """How the next page is asked for. `from` (or the header `header`) is where the answer tells it, `to` where the next request says it."""

    style: Literal["cursor", "next_url", "link_header", "offset", "page", "keyset", "page_info", "none"]
    from_: Pointer | None = Field(None, alias="from")
    header: str | None = None
    to: Target | None = None
    more: Pointer | None = None  # where the answer says whether there is more
    first: int | None = None  # number of the first page (1), or the first offset (0)
    overlap: int = Field(1, ge=0)  # offset: so many rows are asked for again, to see that none was skipped
    size: SizeShape | None = None

    @model_validator(mode="after")
    def _complete(self) -> PageShape:
        needs = {"cursor": "from_ to", "next_url": "from_", "offset": "to", "page": "to", "keyset": "from_ to", "page_info": "from_ to"}
        for name in needs.get(self.style, "").split():
            told = name == "from_" and self.style in {"cursor", "next_url"} and self.header is not None
            if getattr(self, name) is None and not told:
                raise ValueError(f"the style {self.style} needs `{name.rstrip('_')}`")
        return self


class RestartShape(Shape):
    """Some lists end after so many rows, whatever is left: the next one begins at the last row's value, which the rows are sorted by."""

    after: int = Field(ge=1)
    from_: Pointer = Field(alias="from")
    to: Target
    filter: str = "text"

    @model_validator(mode="after")
    def _known(self) -> RestartShape:
        places(f"${{value|{self.filter}}}")
        return self


class CursorShape(Shape):
    """Which member says when a row was changed (`field`; the object's `modified`, where it is not said).

    So many seconds before it are asked for again. `sorted`: the oldest change comes first.
    """

    field: Pointer | None = None
    overlap_s: float = Field(0, ge=0)
    sorted: bool = False


class JobShape(Shape):
    """A list that is made ready first: the request makes a job, `poll` asks for it (`${job}`), `download` brings the rows (`${url}`)."""

    id: Pointer
    poll: RequestShape
    status: Pointer
    done: Anything
    failed: Anything = Field(default_factory=list)
    every_s: float = Field(2, gt=0)
    at_most_s: float = Field(1800, gt=0)
    url: Pointer | None = None
    download: RequestShape
    format: Format = "jsonl"


class ListShape(RequestShape):
    """A list of rows: `items` is where they stand in the answer, `total` where it says how many there are in all (or `header NAME`).

    Where the answer is `jsonl` or `csv` (`format`), its lines are the rows; cells of CSV are texts, and an empty one is no value.
    """

    items: Pointer = ""
    page: PageShape | None = None
    total: Place | None = None
    restart: RestartShape | None = None
    job: JobShape | None = None
    of: str | None = None  # once for each row of that object: `${parent}` is its key
    header: bool = False  # rows are lists of cells, and the first one has the names of the columns
    lags: bool = False  # shows changes late: rows are never looked up there by key
    format: Format = "json"

    @model_validator(mode="after")
    def _lines(self) -> ListShape:
        if self.format != "json":
            told = self.page is not None and (self.page.more is not None or (self.page.from_ is not None and self.page.style != "keyset"))
            told = told or (self.total is not None and self.total.startswith("/"))
            if self.items or self.header or told:
                raise ValueError(f"an answer in {self.format} has only rows: take away `items`, `header`, and pointers to anything else")
        return self


class ChangedShape(ListShape):
    """A list of what changed since `${since}`."""

    cursor: CursorShape | None = None


class OneShape(RequestShape):
    """One row by `${id}`, which stands at `item`."""

    item: Pointer = ""


class ManyShape(ListShape):
    """Rows by several keys, `${ids}`, at most `max` of them at once. `each`: how one key is written where that is not its value alone."""

    max: int = Field(100, ge=1)
    each: Templated = None


class FindShape(ListShape):
    """Rows by the `${value}` of a `${column}`; of these columns alone (all where none are named)."""

    columns: list[str] = Field(default_factory=list)


class ReadShape(Shape):
    """How rows are read. Without `one`, rows are looked up in the list. `header`: the names of the columns of a table, in their order."""

    full: ListShape
    changed: ChangedShape | None = None
    one: OneShape | None = None
    many: ManyShape | None = None
    deleted: ListShape | None = None
    find: FindShape | None = None
    header: ListShape | None = None


class PreconditionShape(Shape):
    """How a write is told what it must find: the version in this header. It comes `from: etag`, a header of `one`, or from a pointer."""

    header: str | None = None
    from_: str = Field("etag", alias="from")

    @model_validator(mode="after")
    def _place(self) -> PreconditionShape:
        if self.from_ != "etag":
            parse(self.from_)
        return self


class IdempotencyShape(Shape):
    """A header with a name of this very write: the same name again is the same write."""

    header: str


class WriteShape(RequestShape):
    """One write. `${fields}` and `${changed}`: the members written; `${record}`: as the application shows them; `${row}`: the whole row.

    `${cells}`: the values written as a list, in the order of the columns of a table; null where nothing is written. `${unique}`: a name of
    this very write.
    """

    id: Pointer | None = None
    item: Pointer | None = None  # where the answer shows the row as stored
    idempotency: IdempotencyShape | None = None
    precondition: PreconditionShape | Literal["read_compare", "none"] | None = None


class ImportShape(Shape):
    """Rows that are handed over and written later: the answer names a job (`id`), which `poll` asks for (`${job}`) until it has ended.

    Where the rows go to the job in a request of their own, that is `upload` (`${job}`, and `${url}`, where the first answer tells it at
    `url`), and `close` says that these were all: until then its status is one of `open`, and it writes nothing. `cancel` ends such a job.

    Its rows are told in the last answer, or in those of `outcome`: one answer, or lists, which are taken together. `running` lists the jobs
    that have not ended (of those that show their `status`, the ones that are neither done, failed nor open): nothing is read or written
    while there are any.
    """

    id: Pointer
    url: Pointer | None = None
    upload: RequestShape | None = None
    close: RequestShape | None = None
    cancel: RequestShape | None = None
    open: Anything = Field(default_factory=list)
    poll: RequestShape
    status: Pointer
    done: Anything
    failed: Anything = Field(default_factory=list)
    reason: Pointer | None = None  # where a job that failed says why
    running: ListShape
    outcome: Annotated[list[ListShape], BeforeValidator(listed, json_schema_input_type=list[ListShape] | ListShape)] = Field(
        default_factory=list
    )
    every_s: float = Field(2, gt=0)
    at_most_s: float = Field(1800, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> ImportShape:
        if self.upload is None and (self.close or self.cancel or self.open or self.url):
            raise ValueError("`upload` is missing: without it the rows go with the first request")
        if self.close is not None and not self.open:
            raise ValueError("`close` needs `open`: the status of a job that waits for its rows")
        return self

    @property
    def tells_lists(self) -> bool:
        """Whether `outcome` are lists of rows, rather than one answer in which `results` and `errors` stand somewhere."""
        return len(self.outcome) > 1 or any(told.format != "json" or told.page is not None or told.items for told in self.outcome)


class BulkShape(RequestShape):
    """Many writes in one request: rows as `item` says, at the member `items` of the body.

    `results` lists one answer a row; `errors` lists the rows that failed (both may be the same list). They belong to the row of the same
    place (`pair_by: index`, or a pointer to the number, which an item may say itself as `${number}`; `error_index`: in `errors`), or of the
    same key (a pointer to it: `key: /id`), or, in CSV, of the row that they repeat (`row`). With `job`, both stand in what is told of the
    job once it has ended. Rows go as members of the body, or as the lines of one in `jsonl` or `csv` (`format`).
    """

    max: int = Field(100, ge=1)
    items: str = ""
    item: Templated = None
    format: Format = "json"
    results: Pointer | None = None
    errors: Pointer | None = None
    pair_by: Literal["index", "key", "row"] = "index"
    index: Pointer | None = None
    error_index: Pointer | None = None
    key: Pointer | None = None
    error: Pointer | None = None  # what is there where a result is a failure
    status: Pointer | None = None
    message: Pointer | None = None
    field: Pointer | None = None
    id: Pointer | None = None
    row: Pointer | None = None  # where a result shows the row as stored
    job: ImportShape | None = None

    @model_validator(mode="after")
    def _paired(self) -> BulkShape:
        if self.format == "csv" and not (isinstance(self.item, dict) or self.item in {"${record}", "${fields}", "${changed}"}):
            raise ValueError("a row of CSV is told by its cells: write `item: {column: value, …}`")
        if self.pair_by == "row" and self.format != "csv":
            raise ValueError("pair_by: row is for rows in CSV, which an application repeats when it tells what became of them")
        if self.format != "json" and (self.items or (self.body is not None and (self.job is None or self.job.upload is None))):
            raise ValueError(f"the lines of the {self.format} are the whole body: take away `items` and `body`")
        if self.job is not None and self.job.tells_lists and (self.results or self.errors is not None):
            raise ValueError('`outcome` are lists of rows: write `results: ""`, and `error` for what stands in a row that failed')
        if self.pair_by == "key" and self.key is None:
            raise ValueError("pair_by: key needs `key`, a pointer to the key in a result")
        if self.job is not None and self.results is None:
            raise ValueError("rows of a job need `results`: where what became of each of them is told")
        return self


class WritesShape(Shape):
    """How rows are written; what is missing cannot be done."""

    create: WriteShape | None = None
    update: WriteShape | None = None
    delete: WriteShape | None = None
    upsert: WriteShape | None = None  # stands for `create` where a new row is put in place under its key
    bulk: dict[Literal["create", "update", "delete", "upsert"], BulkShape] = Field(default_factory=dict)


class ColumnShape(Shape):
    """One column: its type, where it stands (`at`, from the top of the row), how its values are spelled, and whether it can be written.

    format: `iso` (dates and times), `epoch_s`, `epoch_ms`, `ms_json` (`/Date(1700000000000+0000)/`), `text` (numbers and truth values in
    quotes), `number` (1 and 0), `cents`, or strptime codes. `clear` is what is sent, and read, for no value.
    """

    type: DeclaredType = "text"
    at: Pointer | None = None
    format: str | None = None
    read_only: bool = False
    required: bool = False
    clear: Any = None
    max_length: int | None = None


def _any_of(value: Any) -> Any:
    return {"any_of": [value]} if isinstance(value, dict) and "any_of" not in value else value


def _column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


Column = Annotated[ColumnShape, BeforeValidator(_column, json_schema_input_type=ColumnShape | DeclaredType)]


class DiscoverShape(ListShape):
    """Where the application itself lists its fields: `name`, `type` (through `types` to ours) and `read_only` of each."""

    name: Pointer
    type: Pointer | None = None
    types: dict[str, Column] = Field(default_factory=dict)
    read_only: Pointer | None = None


class NamesShape(ListShape):
    """Where the application lists its objects, for the object `*`: `name` of each."""

    name: Pointer


class GoneShape(Shape):
    """A row is deleted where the member `at` is one of `is` (anything but null, false and empty, where that is not said)."""

    at: Pointer
    equals: Anything | None = Field(None, alias="is")


class ScopesShape(Shape):
    """The scopes of OAuth 2 that an object needs: to be read, to be written, and besides for rows to be deleted."""

    read: list[str] = Field(default_factory=list)
    write: list[str] = Field(default_factory=list)
    delete: list[str] = Field(default_factory=list)


class ObjectShape(Shape):
    """One kind of record. The object called `*` stands for every one without a description of its own: `${object}` is its name.

    Of such an object `key` and `modified` are what a mapping takes them for, and what stands here where it says nothing; `named` is where
    the application lists them.
    """

    key: Annotated[list[Pointer], BeforeValidator(listed, json_schema_input_type=list[str] | str), Field(min_length=1)]
    modified: Pointer | None = None
    envelope: Pointer = ""
    match_on: list[str] = Field(default_factory=list)
    columns: dict[str, Column] = Field(default_factory=dict)
    discover: DiscoverShape | None = None
    named: NamesShape | None = None
    clear: Any = None
    assigns_key: bool = True
    gone: GoneShape | None = None
    read: ReadShape
    write: WritesShape = Field(default_factory=WritesShape)
    scopes: ScopesShape | None = None


class AliveShape(RequestShape):
    """Whether a subscription `${id}` still sends: where its member `at` is one of `is`; where nothing is said, where it is there."""

    at: Pointer | None = None
    equals: Annotated[list[Any], BeforeValidator(listed)] | None = Field(None, alias="is")


class HookShape(Shape):
    """Webhooks of this application: how they are verified and read (as in trueup.yaml), and how one subscribes to them.

    Requests may use `${callback}`, `${secret}` (the one of `verify`), `${object}` (then each mapped object has a subscription of its own)
    and `${id}`, as `subscribe: {id: …}` tells it; `ends` is where an answer says when it ends.
    """

    verify: dict[str, Any]
    event: dict[str, Any] | None = None
    reply: dict[str, Any] | None = None
    subscribe: WriteShape | None = None
    ends: Pointer | None = None
    renew: RequestShape | None = None
    renew_every: Span | None = None
    alive: AliveShape | None = None
    alive_every: Span | None = None
    unsubscribe: RequestShape | None = None

    @model_validator(mode="after")
    def _whole(self) -> HookShape:
        if (self.renew is None) != (self.renew_every is None):
            raise ValueError("`renew` and `renew_every` belong together")
        if self.alive_every is not None and self.alive is None:
            raise ValueError("`alive_every` says how often `alive` is asked, which is missing")
        if self.subscribe is None and (self.renew or self.alive or self.unsubscribe):
            raise ValueError("`subscribe` is missing: nothing else has a subscription to speak of")
        return self


class StartShape(Shape):
    """A mapping to begin with: as in trueup.yaml, with the type of each field of the entity in `types` (text, where it is not said)."""

    object_: str = Field(alias="object")
    key: str
    modified: str | None = None
    fields: dict[str, str] = Field(min_length=1)
    types: dict[str, str] = Field(default_factory=dict)
    match: list[list[str]] = Field(default_factory=list)
    direction: Literal["both", "read"] = "both"


class FileShape(Shape):
    """A connector file.

    What is said for people: `title`, `sources`, `confirmed` (how each part was seen to be so), `not_covered`, `draft` (why nobody should
    rely on it yet), `settings` (what a secret or value is, and where it is found), `mappings` (per entity, to begin with).
    """

    connector: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    title: str | None = None
    api_version: str | None = None
    verified_on: str | None = None
    draft: str | None = None
    sources: list[str] = Field(default_factory=list)
    confirmed: list[str] = Field(default_factory=list)
    not_covered: list[str] = Field(default_factory=list)
    settings: dict[str, str] = Field(default_factory=dict)
    mappings: dict[str, StartShape] = Field(default_factory=dict)
    auth: Annotated[AnyAuthShape, BeforeValidator(_any_of, json_schema_input_type=AnyAuthShape | AuthShape)] = Field(
        default_factory=lambda: AnyAuthShape(any_of=[AuthShape(kind="none")])
    )
    http: HttpShape
    objects: dict[str, ObjectShape] = Field(min_length=1)
    webhook: HookShape | None = None
