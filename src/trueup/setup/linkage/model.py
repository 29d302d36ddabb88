"""The model: how much each agreement and each difference says, learned without labels, and what it says of each pair.

splink does the work, in DuckDB: `u` from pairs drawn at random, `m` by expectation maximisation over the pairs that agree in one field, for
two fields, so that each level is learned where its own field did not choose the pairs. What could not be learned, or came out against
all sense (an agreement that speaks against), is as expected beforehand. How many pairs are the same at all is found last, from the weights
themselves: the share that explains them.
"""

from __future__ import annotations

import logging
import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.errors import UsageError
from trueup.setup.linkage.levels import BY_CHANCE, Level, comparison, levels_of, partners

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from splink import Linker

    from trueup.setup.linkage.keys import Key
    from trueup.setup.linkage.kinds import Compared

SEED = 20_240_229
RANDOM_PAIRS = 2_000_000
TRAINING_PAIRS = 500_000
TRAINING_SESSIONS = 2
FEW_RECORDS = 300
"""With fewer records than this nothing is learned: what is expected beforehand holds."""
LEAST = 1e-7
LEAST_LEARNED = 1e-3
"""No difference is taken to be rarer than this among pairs of the same record, however few of them there were."""
PRIOR = 1e-4
DUPLICATES_EXPECTED = 0.1
"""Pairs that are the same per record, before anything is known, and how many pairs that guess weighs as much as."""
GUESS_WEIGHS = 10_000
IDENTIFYING = frozenset({"email", "phone", "code", "date"})
"""Kinds of which hardly any two records have the same value by chance."""
NEAR_BY_CHANCE = 1e-3
"""How often two different records have nearly the same value at least, where there are too few of them to tell."""
WEAKEST = -2.0
"""Pairs of a weight below this (without the share of pairs that are the same) are forgotten at once."""
ROUNDS = 50


@dataclass(frozen=True)
class Learned:
    """One field's levels, the strongest first, with their probabilities."""

    field: Compared
    levels: tuple[Level, ...]
    m: tuple[float, ...]
    u: tuple[float, ...]

    def weight(self, place: int) -> float:
        """What a level says for (or against) a pair being the same, in bits."""
        return math.log2(self.m[place] / self.u[place])


@dataclass(frozen=True)
class Scored:
    """Pairs and what the model says of them.

    pairs    left, right (row numbers, left < right), weight (bits, without the share), probability, per compared field its column (the
             place of its level, null: missing in one of them) and `w_COLUMN` (the weight that it added)
    share    the share of all pairs that are the same
    copies   rows that are the same as an earlier one in every field, and are compared with that one alone
    """

    learned: tuple[Learned, ...]
    pairs: pl.DataFrame
    share: float
    looked_at: int
    trained: bool
    copies: frozenset[int] = frozenset()


def splink_at_hand() -> None:
    """Raise UsageError where splink is not installed."""
    import importlib.util

    if importlib.util.find_spec("splink") is None:
        raise UsageError("`trueup dedupe` needs splink, which is not installed here", hint="install it with: pip install 'trueup[dedupe]'")


def score(rows: pl.DataFrame, fields: Sequence[Compared], keys: Sequence[Key]) -> Scored:
    """Learn and score. `rows` has a column `id` (the row's number), one per field and one per key."""
    with _quiet():
        model = learn(rows, fields)
        return _scored(rows, model, keys, trained=rows.height >= FEW_RECORDS)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without splink's own words: they are for people who build models."""
    log = logging.getLogger("splink")
    before, handlers, propagate = log.level, log.handlers[:], log.propagate
    log.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            log.setLevel(before)
            log.handlers[:] = handlers
            log.propagate = propagate


@contextmanager
def linker(rows: pl.DataFrame, comparisons: Sequence[dict[str, Any]], rules: Sequence[str], prior: float = PRIOR) -> Iterator[Linker]:
    """A linker of splink over these rows, in a database in memory, which is closed afterwards."""
    import duckdb
    from splink import DuckDBAPI, Linker

    settings = {
        "link_type": "dedupe_only",
        "unique_id_column_name": "id",
        "comparisons": list(comparisons),
        "blocking_rules_to_generate_predictions": [{"blocking_rule": rule} for rule in rules],
        "probability_two_random_records_match": prior,
        "retain_matching_columns": True,
        "retain_intermediate_calculation_columns": True,
    }
    with duckdb.connect(":memory:") as database:
        api = DuckDBAPI(database)
        yield Linker(api.register(rows.to_arrow()), settings, log_level=None)


def learn(rows: pl.DataFrame, fields: Sequence[Compared]) -> list[Learned]:
    """The probabilities of every level of every field."""
    other = partners(fields)
    levels = {one.column: levels_of(one, other.get(one.column)) for one in fields}
    known: dict[str, tuple[list[float | None], list[float | None]]] = {}
    if rows.height >= FEW_RECORDS:
        start = [
            comparison(one, levels[one.column], [level.m for level in levels[one.column]], [None] * len(levels[one.column]), by_value=True)
            for one in fields
        ]
        with linker(rows, start, [f'l."{fields[0].column}" = r."{fields[0].column}"']) as trained:
            trained.training.estimate_u_using_random_sampling(max_pairs=RANDOM_PAIRS, seed=SEED, min_count_per_level=None, num_chunks=1)
            for one in training_fields(fields, rows):
                rule = f'l."{one.column}" = r."{one.column}"'
                trained.training.estimate_parameters_using_expectation_maximisation(
                    rule, estimate_without_term_frequencies=True, max_pairs=TRAINING_PAIRS
                )
            known = probabilities(trained, fields)
    return [
        _sensible(one, levels[one.column], *known[one.column], _by_chance(one, rows[one.column]))
        if known
        else _expected(one, levels[one.column], rows[one.column])
        for one in fields
    ]


def training_fields(fields: Sequence[Compared], rows: pl.DataFrame) -> list[Compared]:
    """The fields within whose agreement the others are learned: in which two rows agree at all, and that say most about who it is."""
    apt = [one for one in fields if one.kind not in {"category", "number"} and rows[one.column].drop_nulls().is_duplicated().any()]
    return sorted(apt, key=lambda one: (one.shared, -one.filled * min(one.distinct, 10_000)))[:TRAINING_SESSIONS]


def probabilities(trained: Linker, fields: Sequence[Compared]) -> dict[str, tuple[list[float | None], list[float | None]]]:
    """What splink has learned: `m` and `u` by column, a None where it saw no such pair."""
    told = trained.misc.save_model_to_json(None)
    found = {}
    for item in told["comparisons"]:
        levels = [level for level in item["comparison_levels"] if not level.get("is_null_level")]
        found[item["output_column_name"]] = (
            [_number(level.get("m_probability")) for level in levels],
            [_number(level.get("u_probability")) for level in levels],
        )
    return {one.column: found[one.column] for one in fields}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _by_chance(field: Compared, values: pl.Series) -> float:
    """How often two different records have the same value of this field: by its values, and where these are few as expected."""
    many = values.drop_nulls().value_counts(name="many")["many"].cast(pl.Float64)
    pairs = float(many.sum()) * max(0.0, float(many.sum()) - 1)
    often = float(((many - 1) * (many - 2)).sum())  # a value that stands twice may well be one record's
    return min((often + BY_CHANCE[field.kind] * GUESS_WEIGHS) / (pairs + GUESS_WEIGHS), 0.9)


def _expected(field: Compared, levels: Sequence[Level], values: pl.Series) -> Learned:
    """What is expected beforehand; a value that stands three times or more says less."""
    same = _by_chance(field, values)
    u = [same]
    for place, _level in enumerate(levels[1:-1]):
        u.append(min(max(same, NEAR_BY_CHANCE) * (1 if place == 0 else 4), (1 - same) / 4))
    u.append(max(0.05, 1 - sum(u)))
    return Learned(field, tuple(levels), _whole([level.m for level in levels], LEAST), _weaker(levels, u))


def frequencies(field: Compared, values: pl.Series) -> pl.DataFrame:
    """How often each value stands: its column, and `tf_COLUMN`.

    What identifies somebody is as good as never another one's by chance: a value that stands twice says nothing about that, and
    each further one that it is common after all.
    """
    name = field.column
    counted = values.drop_nulls().value_counts(name="many")
    given = max(1, int(counted["many"].sum()))
    if field.kind in IDENTIFYING:
        often = pl.max_horizontal((pl.col("many") - 2.0) / given, pl.lit(BY_CHANCE[field.kind]))
    else:
        often = pl.col("many") / given
    return counted.select(name, often.cast(pl.Float64).alias(f"tf_{name}"))


def _sensible(field: Compared, levels: Sequence[Level], m: Sequence[float | None], u: Sequence[float | None], by_chance: float) -> Learned:
    """The learned probabilities where they make sense, and the expected ones where not."""
    expected = [level.m for level in levels]
    learned_m = [old if new is None else new for new, old in zip(m, expected, strict=True)]
    learned_u = [(by_chance if level.exact else LEAST) if new is None else new for new, level in zip(u, levels, strict=True)]
    if field.kind in IDENTIFYING:  # pairs drawn at random hold some of the same record
        learned_u[0] = by_chance
    if learned_m[0] <= learned_u[0] or learned_m[-1] >= learned_u[-1]:  # an agreement would speak against
        learned_m = expected
    whole = _whole(learned_m, LEAST_LEARNED)
    return Learned(field, tuple(levels), whole, _no_stronger(whole, _whole(learned_u, LEAST)))


def _weaker(levels: Sequence[Level], u: Sequence[float]) -> tuple[float, ...]:
    """`u` such that no level weighs more than the strongest."""
    return _no_stronger(_whole([level.m for level in levels], LEAST), _whole(u, LEAST))


def _no_stronger(m: Sequence[float], u: Sequence[float]) -> tuple[float, ...]:
    """`u`, raised where a level would say more than the first one: of what hardly ever happens, too little is known."""
    most = m[0] / u[0]
    return tuple(max(by_chance, expected / most) for expected, by_chance in zip(m, u, strict=True))


def _whole(shares: Sequence[float], least: float) -> tuple[float, ...]:
    """Shares of at least a little, that make one together."""
    kept = [max(share, least) for share in shares]
    return tuple(share / sum(kept) for share in kept)


def _scored(rows: pl.DataFrame, model: Sequence[Learned], keys: Sequence[Key], *, trained: bool) -> Scored:
    if not keys:
        return Scored(tuple(model), _no_pairs(model), 0.0, 0, trained)
    told = [comparison(one.field, one.levels, one.m, one.u, by_value=trained) for one in model]
    prior = math.log2(PRIOR / (1 - PRIOR))
    columns = [one.field.column for one in model]
    wanted = ["id_l", "id_r", "match_weight", *(f"{part}_{name}" for name in columns for part in ("gamma", "mw"))]
    wanted += [f"mw_tf_adj_{name}" for name in columns if trained]
    with linker(rows, told, [f'l."{key.column}" = r."{key.column}"' for key in keys]) as judge:
        for one in model if trained else ():
            often = judge._db_api.register(frequencies(one.field, rows[one.field.column]).to_arrow())  # noqa: SLF001 - it has no other name
            judge.table_management.register_term_frequency_lookup(often, one.field.column)
        frame = judge.inference.predict(threshold_match_weight=prior + WEAKEST).as_duckdbpyrelation().select(*wanted).pl()
    return _read(frame, model, columns, prior, rows.height, sum(key.pairs for key in keys), trained=trained)


def _read(
    frame: pl.DataFrame, model: Sequence[Learned], columns: Sequence[str], prior: float, records: int, looked_at: int, *, trained: bool
) -> Scored:
    """What splink said of pairs, as `Scored` tells it."""
    if frame.is_empty():
        return Scored(tuple(model), _no_pairs(model), 0.0, looked_at, trained)
    last = {one.field.column: len(one.levels) - 1 for one in model}
    levels = [
        pl.when(pl.col(f"gamma_{name}") >= 0).then(last[name] - pl.col(f"gamma_{name}")).cast(pl.Int64).alias(name) for name in columns
    ]
    pairs = frame.select(
        pl.min_horizontal("id_l", "id_r").cast(pl.Int64).alias("left"),
        pl.max_horizontal("id_l", "id_r").cast(pl.Int64).alias("right"),
        (pl.col("match_weight") - prior).alias("weight"),
        *levels,
        *[_added(frame, name) for name in columns],
    )
    share = _share(pairs["weight"], records)
    weight = pl.col("weight") + math.log2(share / (1 - share)) if share else pl.lit(-100.0)
    pairs = pairs.with_columns(probability=1 / (1 + 2.0 ** -weight.clip(-60, 60))).sort("left", "right")
    return Scored(tuple(model), pairs, share, looked_at, trained)


def _added(frame: pl.DataFrame, name: str) -> pl.Expr:
    """The weight that a field added, what its value's frequency says among it."""
    parts = [column for column in (f"mw_{name}", f"mw_tf_adj_{name}") if column in frame.columns]
    return pl.sum_horizontal(parts).alias(f"w_{name}")


def _no_pairs(model: Sequence[Learned]) -> pl.DataFrame:
    columns = [one.field.column for one in model]
    kinds: dict[str, Any] = {"left": pl.Int64(), "right": pl.Int64(), "weight": pl.Float64(), "probability": pl.Float64()}
    return pl.DataFrame(schema=kinds | dict.fromkeys(columns, pl.Int64()) | {f"w_{name}": pl.Float64() for name in columns})


def nothing() -> Scored:
    """Where there is nothing to compare."""
    return Scored((), _no_pairs(()), 0.0, 0, trained=False)


def copies(scored: Scored, rows: pl.DataFrame, pairs: pl.DataFrame) -> Scored:
    """With pairs (left, right) of rows that are the same in every field: what the model says of such, where it was not asked.

    `rows` are those that it was asked about.
    """
    if pairs.is_empty() or not scored.learned:
        return scored
    columns = [one.field.column for one in scored.learned]
    told = pairs.join(rows.select("id", *columns), left_on="left", right_on="id")
    added = []
    for one in scored.learned:
        name = one.field.column
        told = told.join(frequencies(one.field, rows[name]), on=name, how="left", maintain_order="left")
        by_chance = pl.col(f"tf_{name}") if scored.trained else pl.lit(one.u[0])
        added.append(pl.when(pl.col(name).is_not_null()).then((one.m[0] / by_chance).log(2)).otherwise(0.0).alias(f"w_{name}"))
    levels = [pl.when(pl.col(name).is_not_null()).then(pl.lit(0, dtype=pl.Int64)).alias(name) for name in columns]
    told = told.with_columns(added).with_columns(levels)
    odds = math.log2(scored.share / (1 - scored.share)) if scored.share else math.log2(PRIOR)
    told = told.with_columns(weight=pl.sum_horizontal(f"w_{name}" for name in columns))
    told = told.with_columns(probability=1 / (1 + 2.0 ** -(pl.col("weight") + odds).clip(-60, 60)))
    more = told.select(scored.pairs.columns).cast(scored.pairs.schema)
    return replace(scored, pairs=pl.concat([scored.pairs, more]), copies=frozenset(pairs["right"].to_list()))


def _share(weights: pl.Series, records: int) -> float:
    """The share of all pairs that are the same: the one that, given these weights, leads to itself; of few records it is a guess."""
    every = records * (records - 1) / 2
    guess = min(max(2 * DUPLICATES_EXPECTED / records, 1e-8), 0.01)
    share = guess
    factors = 2.0 ** weights.clip(-60, 60)
    for _round in range(ROUNDS):
        odds = share / (1 - share)
        expected = float((odds * factors / (1 + odds * factors)).sum())
        new = min(max((expected + guess * GUESS_WEIGHS) / (every + GUESS_WEIGHS), 1e-12), 0.5)
        if abs(math.log(new / share)) < 1e-6:
            break
        share = new
    return share
