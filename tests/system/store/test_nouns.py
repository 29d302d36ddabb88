"""What is stored comes back the same, on both back ends, through every noun of the state."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from trueup.errors import StateError
from trueup.runtime.presence import census_of
from trueup.store import (
    Store,
    activity,
    conflict,
    cursor,
    failure,
    golden,
    history,
    hold,
    mapping_version,
    match_key,
    meta,
    names,
    outsider,
    parked,
    paused,
    run,
    schema,
    sending,
    shadow,
    unsettled_key,
)
from trueup.store.prepared import Prepared

NOW = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
MOMENT = pl.Datetime("us", "UTC")
AWKWARD = ["", "007", 'O"Brien', "back\\slash|pipe", "%s :name ?", "line\nbreak", "🦀é", "NULL", "a,b;c\t'd'"]


def records(ids: list[int], version: int = 1) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": ids,
            "data": [f'{{"name":"n{i}"}}' for i in ids],
            "origin_system": ["crm"] * len(ids),
            "origin_at": [NOW] * len(ids),
            "origins": [None] * len(ids),
            "version": [version] * len(ids),
            "deleted_at": pl.Series([None] * len(ids), dtype=MOMENT),
            "alias_of": pl.Series([None] * len(ids), dtype=pl.Int64),
        },
        schema_overrides={"origins": pl.String},
    )


def shadows(keys: list[str], gids: list[int | None] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "key": keys,
            "gid": pl.Series(gids if gids is not None else [None] * len(keys), dtype=pl.Int64),
            "khash": [-(2**63) + i for i in range(len(keys))],
            "fingerprint": [2**63 - 1 - i for i in range(len(keys))],
        }
    )


@pytest.mark.parametrize("rows", [1, 3, 250])
def test_golden_records_come_back_as_they_were(store: Store, rows: int) -> None:
    with store.write() as tx:
        first = golden.allocate(tx, "customer", rows)
        given = records(list(range(first, first + rows)))
        golden.upsert(tx, "customer", given, new=True)
    with store.read() as db:
        assert_frame_equal(golden.fetch(db, "customer", given["id"]), given)
        assert_frame_equal(pl.concat(golden.stream(db, "customer", 100)), given)
        assert golden.count(db, "customer") == rows
        assert golden.fetch(db, "product", given["id"]).is_empty()
        assert list(golden.stream(db, "unheard of")) == []


def test_ids_are_never_given_out_twice(store: Store) -> None:
    with store.write() as tx:
        a = golden.allocate(tx, "customer", 10)
        b = golden.allocate(tx, "product", 1)
        c = golden.allocate(tx, "customer", 1)
    assert a + 10 <= b
    assert b + 1 <= c
    with store.write() as tx:
        assert [golden.next_version(tx), golden.next_version(tx)] == [1, 2]


def test_an_upsert_changes_only_the_columns_given(store: Store) -> None:
    with store.write() as tx:
        golden.upsert(tx, "customer", records([1, 2]))
        golden.upsert(tx, "customer", pl.DataFrame({"id": [2, 3], "data": ["{}", None], "version": [7, 7]}))
    with store.read() as db:
        got = golden.fetch(db, "customer", pl.Series([1, 2, 3]))
        assert got["data"].to_list() == ['{"name":"n1"}', "{}", None]
        assert got["origin_system"].to_list() == ["crm", "crm", None]
        assert golden.since(db, "customer", 1).to_list() == [2, 3]


def test_deleted_records_and_aliases_do_not_count_as_living(store: Store) -> None:
    with store.write() as tx:
        golden.upsert(tx, "customer", records([1, 2, 3, 4]))
        golden.upsert(tx, "customer", pl.DataFrame({"id": [2], "version": [2], "deleted_at": [NOW]}))
        golden.upsert(tx, "customer", pl.DataFrame({"id": [3, 4], "version": [2, 2], "alias_of": [4, 1]}))
    with store.read() as db:
        assert golden.count(db, "customer") == 1
        assert golden.since(db, "customer", 0).to_list() == [1]
        resolved = golden.resolve_alias(db, "customer", pl.Series([1, 3, 99])).sort("id")
        assert resolved.rows() == [(1, 1), (3, 1), (99, 99)]
        assert golden.fetch(db, "customer", pl.Series([2]))["deleted_at"].to_list() == [NOW]


@pytest.mark.parametrize("extra", [0, 200])
def test_any_key_text_is_found_again(store: Store, extra: int) -> None:
    keys = AWKWARD + [f"k{i}" for i in range(extra)]
    given = shadows(keys).with_columns(seen=pl.col("key"), sent=pl.lit(None, pl.String))
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", given)
        shadow.upsert(tx, "customer", "shop", given.head(1))
    with store.read() as db:
        got = shadow.by_key(db, "customer", "crm", pl.Series([*keys, "absent"]))
        assert_frame_equal(
            got.select("key", "khash", "fingerprint", "seen").sort("khash"),
            given.select("key", "khash", "fingerprint", "seen").sort("khash"),
        )
        assert got["sent"].null_count() == len(keys)
        assert set(pl.concat(shadow.keys(db, "customer", "crm", 4))["key"]) == set(keys)
        assert shadow.index(db, "customer", "crm").height == len(keys)
        assert shadow.count(db, "customer", "crm") == len(keys)


def test_many_rows_are_changed_whether_their_links_stay_or_move(store: Store) -> None:
    keys = [f"k{number:03}" for number in range(100)]
    before = shadows(keys, list(range(1, 101)))
    # One is released, one becomes another record's, the rest stays with its record; some are new.
    links = [None, 501, *range(3, 101), *range(600, 610)]
    after = shadows([*keys, *(f"n{number}" for number in range(10))], links).with_columns(fingerprint=pl.lit(7, dtype=pl.Int64))
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", before)
        shadow.upsert(tx, "customer", "crm", after)
    with store.read() as db:
        found = shadow.by_key(db, "customer", "crm", after["key"]).select("key", "gid", "fingerprint")
        assert_frame_equal(found.sort("key"), after.select("key", "gid", "fingerprint").sort("key"), check_dtypes=False)
        linked = shadow.by_golden(db, "customer", pl.Series([1, 2, 3, 501, 600]))
        assert dict(linked.select("gid", "key").rows()) == {3: "k002", 501: "k001", 600: "n0"}


def test_a_census_counts_settled_rows_and_adds_up_their_keys(store: Store) -> None:
    hashes = [-(2**63), -1, 0, 1, 2**63 - 1, 2**32, -(2**32)]
    keys = [f"k{number}" for number in range(len(hashes))]
    given = shadows(keys).with_columns(khash=pl.Series(hashes, dtype=pl.Int64), fingerprint=pl.lit(7, dtype=pl.Int64))
    unread = given.with_columns(fingerprint=pl.when(pl.col("key") == "k2").then(None).otherwise("fingerprint"))
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", unread)
        for state, key in ((shadow.MISSING, "k0"), (shadow.OUTSIDE, "k1"), (shadow.UNREADABLE, "k3")):
            shadow.set_state(tx, "customer", "crm", pl.Series([key]), state)
    with store.read() as db:
        census = shadow.census(db, "customer", "crm")
        settled = given.filter(pl.col("key").is_in(["k1", "k4", "k5", "k6"]))
        assert (census.known, census.settled) == (6, 4)
        assert (census.high, census.low) == shadow.key_sums(settled["khash"])
        assert (census.high, census.low) != shadow.key_sums(settled["khash"].head(3))
        assert census_of(shadow.index(db, "customer", "crm").rename({"khash": "__khash"})) == census
        assert shadow.unsettled(db, "customer", "crm", census) == ["k2", "k3"]
        assert shadow.missing(db, "customer", "crm").rows() == [("k0", -(2**63))]
        nothing = shadow.census(db, "customer", "nowhere")
        assert (nothing.known, nothing.settled, nothing.high, nothing.low) == (0, 0, 0, 0)
        assert shadow.key_sums(pl.Series([], dtype=pl.Int64)) == (0, 0)


@pytest.mark.parametrize("page_rows", [3, 200_000])
def test_the_index_is_whole_and_its_parts_make_the_whole(store: Store, page_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "_INDEX_PAGE_ROWS", page_rows)
    given = shadows([str(i) for i in range(9)], [1, None, 2, None, 3, 4, 5, 6, 7]).with_columns(
        fingerprint=pl.when(pl.col("khash") % 2 == 0).then(pl.col("fingerprint")), khash=pl.col("khash") + pl.col("key").cast(pl.Int64) * 7
    )
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", given)
        shadow.set_state(tx, "customer", "crm", pl.Series(["3", "4"]), shadow.MISSING)
    wanted = given.with_columns(state=pl.when(pl.col("key").is_in(["3", "4"])).then(1).otherwise(0).cast(pl.Int8))
    wanted = wanted.select("khash", "fingerprint", "gid", "state").sort("khash")
    with store.read() as db:
        assert_frame_equal(shadow.index(db, "customer", "crm").sort("khash"), wanted)
        parts = pl.concat(shadow.index(db, "customer", "crm", part=(i, 3)) for i in range(3))
        assert_frame_equal(parts.sort("khash"), wanted)
        assert_frame_equal(shadow.index(db, "customer", "nowhere"), wanted.clear())
        assert (shadow.count(db, "customer", "crm", shadow.PRESENT), shadow.count(db, "customer", "crm", shadow.MISSING)) == (7, 2)


def test_two_keys_of_a_system_cannot_be_one_record(store: Store) -> None:
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", shadows(["a"], [1]))
        shadow.upsert(tx, "customer", "shop", shadows(["a"], [1]))
    with pytest.raises(StateError), store.write() as tx:
        shadow.upsert(tx, "customer", "crm", shadows(["b"], [1]))
    with store.read() as db:
        assert shadow.by_golden(db, "customer", pl.Series([1]))["system"].to_list() == ["crm", "shop"]
        assert shadow.by_golden(db, "customer", pl.Series([1]), ["shop"])["system"].to_list() == ["shop"]
        assert shadow.count(db, "customer", "crm") == 1


def test_links_move_and_keys_are_exchanged(store: Store) -> None:
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", shadows(["a", "b", "c"], [1, 2, None]).with_columns(sent=pl.Series(["{}", None, "{}"])))
        shadow.link(tx, "customer", "crm", pl.DataFrame({"key": ["a", "c"], "gid": [None, 1]}))
    with store.read() as db:
        assert shadow.by_key(db, "customer", "crm", pl.Series(["a", "b", "c"]))["gid"].to_list() == [None, 2, 1]
        assert shadow.pending(db, "customer", "crm").to_list() == [1]
    with store.write() as tx:
        shadow.update(tx, "customer", "crm", pl.DataFrame({"key": ["c", "zz"], "sent": [None, "{}"]}))
        assert shadow.pending(tx, "customer", "crm").to_list() == []
        shadow.update(tx, "customer", "crm", pl.DataFrame({"key": ["c"], "sent": ["{}"], "before": ["{}"]}))
        shadow.rekey(tx, "customer", "crm", pl.DataFrame({"old_key": ["b", "c"], "new_key": ["c", "b"], "khash": [77, 78]}))
    with store.read() as db:
        got = shadow.by_key(db, "customer", "crm", pl.Series(["a", "b", "c"]))
        assert got["gid"].to_list() == [None, 1, 2]
        assert got["khash"].to_list()[1:] == [78, 77]
    with store.write() as tx:
        shadow.set_state(tx, "customer", "crm", pl.Series(["b"]), shadow.OUTSIDE)
        shadow.delete(tx, "customer", "crm", pl.Series(["a", "nothing"]))
        assert shadow.pending(tx, "customer", "crm").to_list() == []
        assert shadow.count(tx, "customer", "crm") == 2


@pytest.mark.parametrize("rows", [2, 150])
def test_fingerprints_change_alone(store: Store, rows: int) -> None:
    keys = [str(i) for i in range(rows)]
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", shadows(keys, list(range(1, rows + 1))), new=True)
        change = pl.DataFrame({"key": [*keys, "not there"], "fingerprint": [*range(rows), 9], "modified": [NOW] * (rows + 1)})
        shadow.set_fingerprint(tx, "customer", "crm", change)
    with store.read() as db:
        got = shadow.by_key(db, "customer", "crm", pl.Series(keys)).sort("gid")
        assert got["fingerprint"].to_list() == list(range(rows))
        assert got["modified"].to_list() == [NOW] * rows
        assert got["gid"].to_list() == list(range(1, rows + 1))
        assert shadow.count(db, "customer", "crm") == rows


@pytest.mark.parametrize("rows", [3, 300])
def test_match_keys_are_found_added_once_and_replaced(store: Store, rows: int) -> None:
    frame = pl.DataFrame({"rule": [i % 2 for i in range(rows)], "hash": [-i for i in range(rows)], "gid": list(range(rows))})
    with store.write() as tx:
        match_key.add(tx, "customer", frame)
        match_key.add(tx, "customer", frame)
    with store.read() as db:
        assert_frame_equal(match_key.lookup(db, "customer", frame.select("rule", "hash")).sort("gid"), frame)
        assert match_key.lookup(db, "customer", pl.DataFrame({"rule": [1], "hash": [0]})).is_empty()
    with store.write() as tx:
        match_key.replace(tx, "customer", pl.Series([0]), pl.DataFrame({"rule": [5], "hash": [50], "gid": [0]}))
        assert match_key.lookup(tx, "customer", pl.DataFrame({"rule": [0, 5], "hash": [0, 50]})).rows() == [(5, 50, 0)]
        assert match_key.of(tx, "customer", pl.Series([0, 1])).sort("gid").rows() == [(5, 50, 0), (1, -1, 1)]
        match_key.clear(tx, "customer")
        assert match_key.lookup(tx, "customer", frame).is_empty()


@pytest.mark.parametrize("rows", [3, 300])
def test_match_keys_of_a_first_load_are_added_by_record_and_then_by_hash(store: Store, rows: int) -> None:
    frame = pl.DataFrame({"rule": [i % 2 for i in range(rows)], "hash": [-i for i in range(rows)], "gid": list(range(rows))})
    with store.write() as tx:
        match_key.by_record(tx, "customer", frame)
        assert match_key.lookup(tx, "customer", frame).is_empty()
        match_key.by_hash(tx, "customer", frame)
    with store.read() as db:
        assert_frame_equal(match_key.lookup(db, "customer", frame).sort("gid"), frame)
        assert_frame_equal(match_key.of(db, "customer", frame["gid"]).sort("gid"), frame)
    with pytest.raises(StateError), store.write() as tx:
        match_key.by_record(tx, "customer", frame)


def test_history_tells_what_happened(store: Store) -> None:
    lines = pl.DataFrame(
        {
            "version": [1, 2, 3],
            "gid": [5, 5, 6],
            "run": [1, 2, 2],
            "field": ["name", "name", None],
            "kind": ["accepted", "overruled", "deleted"],
            "system": ["crm", "shop", None],
            "at": [NOW, None, None],
            "recorded_at": [NOW, LATER, LATER],
            "before": [None, "a", None],
            "after": ["a", "b", None],
        }
    )
    with store.write() as tx:
        history.append(tx, "customer", lines)
    with store.read() as db:
        assert history.of(db, "customer", 5).select(lines.columns).rows() == lines.head(2).rows()
        assert history.of_run(db, 2)["entity"].to_list() == ["customer", "customer"]
        assert history.of_run(db, 2).rows() == history.about(db, "customer", pl.Series([5, 6])).filter(pl.col("run") == 2).rows()
        assert history.of_run(db, 9).schema == history.about(db, "customer", pl.Series([9])).schema
        assert history.latest(db, "customer", pl.Series([5, 6]))["version"].to_list() == [2, 3]
        assert history.latest(db, "customer", pl.Series([5]), ["name"], ["accepted"])["after"].to_list() == ["a"]
        assert history.lines(db, "customer", pl.Series([5, 6]), "overruled").select("gid", "system", "after").rows() == [(5, "shop", "b")]
        assert history.lines(db, "customer", pl.Series([6]), "overruled").is_empty()


@pytest.mark.parametrize("lines", [0, 2, 3, 5])
def test_the_lines_of_a_run_are_read_in_pages(store: Store, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_PAGE_LINES", 2)
    monkeypatch.setattr(history, "_OF_RUN", Prepared(history._OF_RUN.make))
    told = pl.DataFrame(
        {"version": 1, "gid": range(lines), "run": 7, "kind": "edit", "recorded_at": NOW}, schema_overrides={"gid": pl.Int64}
    )
    with store.write() as tx:
        for run in (6, 7, 8):
            history.append(tx, "customer", told.with_columns(run=pl.lit(run, dtype=pl.Int64)))
    with store.read() as db:
        assert history.of_run(db, 7)["gid"].to_list() == list(range(lines))


@pytest.mark.parametrize("many", [False, True])
def test_of_whose_values_something_stands_that_was_said_after_a_run(store: Store, many: bool) -> None:
    told = [
        (1, "a", "edit", 1, None),  # by the run itself
        (2, "a", "edit", 2, None),
        (3, "a", "edit", 2, None),
        (3, "a", "undo", 3, "undo of run 2"),
        (4, "a", "edit", 2, None),
        (4, "a", "undo", 3, "undo of run 2"),
        (4, "a", "undo", 4, "undo of run 3"),
        (5, "a", "edit", 2, None),
        (5, "b", "undo", 3, "undo of run 2"),
        (6, "a", "resolved", None, "by a person"),
        (7, None, "delete", 2, None),
        (8, "a", "edit", 2, None),
        (8, "a", "undo", 3, "undo of run 12"),
    ]
    lines = pl.DataFrame(told, schema=["gid", "field", "kind", "run", "rule"], orient="row").with_columns(
        version=1, recorded_at=pl.lit(LATER)
    )
    gids = pl.Series(range(2000 if many else 10), dtype=pl.Int64)
    with store.write() as tx:
        history.append(tx, "customer", lines)
        history.append(tx, "order", lines.with_columns(gid=pl.lit(3, dtype=pl.Int64)))
    with store.read() as db:
        assert sorted(history.perhaps_edited(db, "customer", gids, 1, NOW)) == [2, 4, 5, 6, 8]
        assert sorted(history.perhaps_edited(db, "customer", gids, 1, LATER + timedelta(seconds=1))) == [2, 4, 5, 8], "before that moment"
        assert sorted(history.perhaps_edited(db, "customer", gids.head(3), 1, NOW)) == [2]
        assert history.after_run(db, "customer", gids, 1, NOW)["gid"].to_list() == lines["gid"].to_list()[1:]


def test_intents_keep_their_frame_until_they_are_removed(store: Store) -> None:
    frame = pl.DataFrame({"__op": [1], "key": ["x"], "image": ["\x00"], "at": [NOW], "names": [["a", "b"]]})
    with store.write() as tx:
        number = run.start(tx, "sync", at=NOW)
        first = sending.add(tx, "customer", "crm", "create", sending.packed(frame), run=number, at=NOW, owner="me")
        second = sending.add(tx, "customer", "crm", "delete", sending.packed(frame.clear()), run=None, at=LATER)
    with store.read() as db:
        a, b = sending.outstanding(db, "customer", "crm")
        assert (a.id, a.kind, a.run, a.at, a.owner) == (first, "create", number, NOW, "me")
        assert_frame_equal(a.frame, frame)
        assert_frame_equal(b.frame, frame.clear())
        assert sending.outstanding(db, "customer", "shop") == []
    with store.write() as tx:
        sending.remove(tx, first)
        assert [one.id for one in sending.outstanding(tx, "customer", "crm")] == [second]


def test_an_intent_of_an_older_state_is_read(store: Store) -> None:
    frame = pl.DataFrame({"__op": [1], "names": [["a", "b"]]})
    file = io.BytesIO()
    frame.write_ipc(file, compression="zstd")
    with store.write() as tx:
        sending.add(tx, "customer", "crm", "create", sending.packed(frame.clear()), run=None, at=NOW)
        tx.execute(schema.sending.update().values(payload=file.getvalue()))
        assert_frame_equal(sending.outstanding(tx, "customer", "crm")[0].frame, frame)


def opened(gid: int, golden_value: str, at: datetime = NOW) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "gid": [gid],
            "field": ["name"],
            "kind": ["conflict"],
            "base": [None],
            "golden": [golden_value],
            "candidates": ["[]"],
            "run": [1],
            "opened_at": [at],
        },
        schema_overrides={"base": pl.String},
    )


def test_an_open_conflict_keeps_its_number_and_a_closed_one_is_over(store: Store) -> None:
    with store.write() as tx:
        conflict.open_(tx, "customer", opened(1, "a"))
        conflict.open_(tx, "customer", opened(1, "b", LATER))
        found = conflict.open_of(tx, "customer")
        assert found.select("gid", "golden", "opened_at").rows() == [(1, "b", NOW)]
        conflict.close(tx, found["id"], LATER, "take crm")
        assert conflict.count(tx) == 0
        conflict.open_(tx, "customer", opened(1, "c"))
    with store.read() as db:
        again = conflict.open_of(db, None, pl.Series([1]))
        assert again["id"][0] != found["id"][0]
        assert again["entity"].to_list() == ["customer"]
        closed = conflict.get(db, found["id"][0])
        assert closed is not None
        assert (closed["resolution"], closed["closed_at"]) == ("take crm", LATER)
        assert conflict.get(db, 999) is None


def test_a_parked_row_waits_for_a_decision(store: Store) -> None:
    row = pl.DataFrame({"system": ["crm"], "key": ["x"], "candidates": ["[1,2]"], "why": ["two"], "run": [1], "since": [NOW]})
    with store.write() as tx:
        parked.put(tx, "customer", row)
        number = int(parked.of(tx, "customer", "crm")["id"][0])
        assert parked.decide(tx, number, '{"link":1}', LATER)
        assert not parked.decide(tx, number + 1, "{}", LATER)
        parked.put(tx, "customer", row.with_columns(why=pl.lit("three"), since=pl.lit(LATER)))
    with store.read() as db:
        got = parked.get(db, number)
        assert got is not None
        assert (got["why"], got["decision"], got["since"], got["system"]) == ("three", '{"link":1}', NOW, "crm")
        assert parked.count(db, "customer") == 1
    with store.write() as tx:
        parked.remove(tx, "customer", "crm", pl.Series(["x"]))
        assert parked.of(tx).is_empty()


def failed(key: str | None, gid: int | None, reason: str, at: datetime, field: str | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "system": ["crm"],
            "key": [key],
            "gid": [gid],
            "stage": ["write"],
            "field": [field],
            "reason": [reason],
            "at": [at],
            "next_try_at": [LATER],
        },
        schema_overrides={"key": pl.String, "gid": pl.Int64, "field": pl.String},
    )


def test_a_failure_counts_its_attempts_and_keeps_its_number(store: Store) -> None:
    with store.write() as tx:
        failure.put(tx, "customer", failed("x", None, "first", NOW))
        failure.put(tx, "customer", failed("x", 7, "second", LATER))
        failure.put(tx, "customer", failed("x", 7, "other field", NOW, "name"))
        failure.put(tx, "customer", failed(None, 7, "a create", NOW))
        failure.put(tx, "customer", failed(None, None, "whole mapping", NOW))
    with store.read() as db:
        got = failure.of(db, "customer", "crm")
        assert got.select("key", "gid", "field", "reason", "attempts").rows() == [
            ("x", 7, None, "second", 2),
            ("x", 7, "name", "other field", 1),
            (None, 7, None, "a create", 1),
            (None, None, None, "whole mapping", 1),
        ]
        assert got.row(0, named=True)["first_at"] == NOW
        assert got.row(0, named=True)["last_at"] == LATER
        assert got["told"].to_list() == [False] * 4
        assert failure.due(db, "customer", "crm", NOW).is_empty()
        assert failure.due(db, "customer", "crm", LATER).height == 4
    ids = got["id"].to_list()
    with store.write() as tx:
        assert failure.retry_now(tx, ids[:1], NOW) == 1
        assert failure.due(tx, "customer", "crm", NOW)["id"].to_list() == ids[:1]
        failure.tell(tx, ids[:1])
        assert failure.of(tx).row(0, named=True)["told"] is True
        failure.clear(tx, "customer", "crm", keys=pl.Series(["x"]), stage="write", field="name")
        assert failure.of(tx)["id"].to_list() == [ids[0], ids[2], ids[3]]
        failure.clear(tx, "customer", "crm", gids=pl.Series([7]), stage=["map", "write"])
        assert failure.of(tx)["id"].to_list() == ids[3:]
        failure.clear(tx, "customer", "crm")
        failure.put(tx, "customer", failed("y", None, "again", NOW))
        newest = failure.of(tx)["id"].to_list()
        assert newest[0] > max(ids)
        assert failure.drop(tx, [*newest, 12345]) == 1
        assert failure.count(tx) == 0


def test_a_hold_is_decided_once(store: Store) -> None:
    with store.write() as tx:
        first = hold.put(tx, "customer", "crm", "deletes", counts='{"rows":10}', limit='{"share":0.05}', since=NOW)
        assert hold.put(tx, "customer", "crm", "deletes", counts='{"rows":11}', limit="{}", since=LATER) == first
        assert hold.decide(tx, first, "approved", at=LATER, ceiling=11)
        assert not hold.decide(tx, first, "refused", at=LATER)
        second = hold.put(tx, "customer", "crm", "deletes", counts="{}", limit="{}", since=LATER)
    with store.read() as db:
        got = hold.get(db, first)
        assert got is not None
        assert (got["counts"], got["since"], got["decision"], got["ceiling"]) == ('{"rows":11}', NOW, "approved", 11)
        assert hold.of(db, decided=False)["id"].to_list() == [second]
        assert hold.of(db, "customer", "crm", decided=True)["id"].to_list() == [first]
    with store.write() as tx:
        hold.clear(tx, "customer", "crm", "deletes", decided=False)
        assert hold.of(tx)["id"].to_list() == [first]
        hold.clear(tx, "customer", "crm", "deletes", decided=True)
        assert hold.of(tx).is_empty()


def test_a_lane_remembers_where_it_stands(store: Store) -> None:
    with store.read() as db:
        assert cursor.get(db, "customer", "crm") == cursor.Cursor()
    with store.write() as tx:
        cursor.set_(tx, "customer", "crm", cursor="2026|5", full_at=NOW)
        cursor.set_(tx, "customer", "crm", considered_version=9, full_rows=0)
        cursor.set_(tx, "customer", "crm", cursor=None)
        with pytest.raises(ValueError, match="no colour"):
            cursor.set_(tx, "customer", "crm", colour=1)
        unsettled_key.put(tx, "customer", "crm", pl.DataFrame({"key": ["b", "a"], "why": ["parked", "held"], "since": [NOW, NOW]}))
        unsettled_key.put(tx, "customer", "crm", pl.DataFrame({"key": ["b"], "why": ["rejected"], "since": [LATER]}))
        unsettled_key.remove(tx, "customer", "crm", pl.Series(["a"]))
        one = mapping_version.put(tx, "customer", "crm", "{}", at=NOW)
        assert mapping_version.put(tx, "customer", "crm", "{}", at=LATER) == one
        two = mapping_version.put(tx, "customer", "crm", '{"a":1}', at=LATER)
    with store.read() as db:
        assert cursor.get(db, "customer", "crm") == cursor.Cursor(None, NOW, 0, 9, None)
        assert unsettled_key.of(db, "customer", "crm").rows() == [("b", "rejected", NOW)]
        assert mapping_version.latest(db, "customer", "crm") == mapping_version.MappingVersion(two, '{"a":1}', LATER)
        assert mapping_version.get(db, one) == mapping_version.MappingVersion(one, "{}", NOW)
        assert mapping_version.latest(db, "customer", "shop") is None


def test_one_row_outside_of_the_filter_stands_in_the_place_of_a_record(store: Store) -> None:
    with store.read() as db:
        assert outsider.of(db, "customer", "crm").is_empty()
    with store.write() as tx:
        outsider.put(tx, "customer", "crm", pl.DataFrame({"gid": [3, 1], "key": ["a", "b"], "fingerprint": [7, None]}))
        outsider.put(tx, "customer", "shop", pl.DataFrame({"gid": [3], "key": ["z"], "fingerprint": [9]}))
        outsider.put(tx, "customer", "crm", pl.DataFrame({"gid": [3], "key": ["c"], "fingerprint": [8]}))
        outsider.remove(tx, "customer", "crm", pl.Series([1, 2]))
    with store.read() as db:
        assert outsider.of(db, "customer", "crm").rows() == [(3, "c", 8)]
        assert outsider.of(db, "customer", "shop").rows() == [(3, "z", 9)]
        assert outsider.key_in_place_of(db, "customer", "crm", 3) == "c"
        assert outsider.key_in_place_of(db, "customer", "crm", 1) is None


def test_mappings_begun_since_the_last_whole_reading_may_be_behind_shadows(store: Store) -> None:
    with store.write() as tx:
        assert mapping_version.behind(tx, "customer", "crm") == []
        old = mapping_version.put(tx, "customer", "crm", "{}", at=NOW)
        one = mapping_version.put(tx, "customer", "crm", '{"a":1}', at=NOW)
        mapping_version.put(tx, "customer", "shop", '{"a":9}', at=NOW)
        assert [item.id for item in mapping_version.behind(tx, "customer", "crm")] == [one], "before anything was noted: the newest"
        cursor.set_(tx, "customer", "crm", mapping_version=one)
        two = mapping_version.put(tx, "customer", "crm", '{"a":2}', at=LATER)
        three = mapping_version.put(tx, "customer", "crm", '{"a":1}', at=LATER)
        mapping_version.amend(tx, one, '{"a":0}')
    with store.read() as db:
        assert [(item.id, item.spec) for item in mapping_version.behind(db, "customer", "crm")] == [
            (one, '{"a":0}'),
            (two, '{"a":2}'),
            (three, '{"a":1}'),
        ]
        assert mapping_version.get(db, old) == mapping_version.MappingVersion(old, "{}", NOW)


def test_recent_activity_adds_up_and_is_forgotten(store: Store) -> None:
    with store.write() as tx:
        for at, rows in ((NOW, 3), (NOW, 4), (LATER, 5), (LATER, 0)):
            activity.add(tx, "customer", "crm", "deletes", at=at, rows=rows)
        assert activity.since(tx, "customer", "crm", "deletes", NOW) == 12
        assert activity.since(tx, "customer", "crm", "deletes", LATER) == 5
        assert activity.since(tx, "customer", "crm", "updates", NOW) == 0
        assert activity.lately(tx, "customer", "crm", "deletes", NOW).rows() == [(NOW, 7), (LATER, 5)]
        activity.forget(tx, "customer", "crm", "deletes", before=LATER)
        assert activity.since(tx, "customer", "crm", "deletes", NOW) == 5
        activity.forget(tx, "customer", "crm", "updates", since=NOW)
        assert activity.since(tx, "customer", "crm", "deletes", NOW) == 5
        activity.forget(tx, "customer", "crm", "deletes", since=LATER)
        assert activity.since(tx, "customer", "crm", "deletes", NOW) == 0


def test_small_facts(store: Store) -> None:
    with store.write() as tx:
        paused.set_(tx, "system", "crm")
        paused.set_(tx, "system", "crm")
        paused.set_(tx, "all")
        assert paused.list_(tx) == [("all", ""), ("system", "crm")]
        assert paused.unset(tx, "system", "crm")
        assert not paused.unset(tx, "system", "crm")
        meta.set_(tx, "plan seen", "yes")
        meta.set_(tx, "plan seen", "no")
        assert meta.get(tx, "plan seen") == "no"
        meta.set_(tx, "plan seen", None)
        assert meta.get(tx, "plan seen") is None


def test_a_system_takes_another_name_with_all_it_has(store: Store) -> None:
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", shadows(["a"], [1]))
        shadow.upsert(tx, "customer", "shop", shadows(["a"], [1]))
    with store.write() as tx:
        assert names.rename(tx, "system", "crm", "sales")
        assert not names.rename(tx, "system", "unheard of", "sales")
        with pytest.raises(StateError, match="already knows a system shop"):
            names.rename(tx, "system", "sales", "shop")
    with store.read() as db:
        assert shadow.by_golden(db, "customer", pl.Series([1]))["system"].to_list() == ["sales", "shop"]
        assert shadow.count(db, "customer", "crm") == 0


def test_times_without_a_zone_are_refused(store: Store) -> None:
    with store.write() as tx, pytest.raises(ValueError, match="without a zone"):
        golden.upsert(tx, "customer", pl.DataFrame({"id": [1], "version": [1], "deleted_at": [NOW.replace(tzinfo=None)]}))


def test_times_before_1970_keep_their_microseconds(store: Store) -> None:
    old = datetime(1901, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    with store.write() as tx:
        golden.upsert(tx, "customer", records([1]).with_columns(origin_at=pl.lit(old).cast(MOMENT)))
        number = run.start(tx, "sync", at=old)
        got = run.get(tx, number)
        assert golden.fetch(tx, "customer", pl.Series([1]))["origin_at"].to_list() == [old]
    assert got is not None
    assert got.started_at == old
