# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forecast table comes down to one upper bound per VM, metric and quantile."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._plan import bounds
from ansible_collections.headroom.fleet.plugins.module_utils._plan.bounds import BAD_VALUE, NO_VALUE, reduce_bounds
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import COLUMNS
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import MEMORY_MIB, VCPUS
from tests.unit._plan.fleets import METRICS, forecast

CPU, MEMORY = METRICS[VCPUS], METRICS[MEMORY_MIB]
HEADER, _unused = forecast({})


def table(*rows: tuple[str, str, str, str, float | None]) -> pa.Table:
    """Rows of unique_id, metric, target, quantile, value."""
    names = ("unique_id", "metric", "target", "quantile", "value")
    types = (pa.string(), pa.string(), pa.string(), pa.string(), pa.float64())
    found = {
        name: pa.array([row[n] for row in rows], kind) for n, (name, kind) in enumerate(zip(names, types, strict=True))
    }
    blank = pa.array([""] * len(rows), pa.string())
    return pa.table({name: found.get(name, blank) for name in COLUMNS})


def upper(made: pa.Table, unique_id: str = "a", metric: str = CPU, quantile: str = "0.95") -> int:
    wanted = {(CPU, "0.95"), (MEMORY, "0.98")}
    found = reduce_bounds(HEADER, made, unique_ids=["a", "b", "c"], wanted=wanted)
    return found.upper(unique_id, metric=metric, quantile=quantile)


def test_the_largest_row_counts_rounded_up() -> None:
    made = table(
        ("a", CPU, "maximum", "0.95", 10.0),
        ("a", CPU, "maximum", "0.95", 20.2),
        ("b", CPU, "maximum", "0.95", 7.0),
        ("a", MEMORY, "maximum", "0.98", 5.0),
    )
    assert [upper(made, name) for name in "abc"] == [21, 7, NO_VALUE]
    assert upper(made, "a", MEMORY, "0.98") == 5


def test_what_is_not_looked_for_is_passed_over() -> None:
    made = table(
        ("x", CPU, "maximum", "0.95", 99.0),
        ("a", "disk", "maximum", "0.95", 99.0),
        ("a", CPU, "mean", "0.95", 99.0),
        ("a", CPU, "maximum", "0.98", 99.0),
        ("a", CPU, "maximum", "0.95", 0.0),
    )
    assert upper(made) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 2.0**60, None])
def test_what_is_no_size_spoils_its_own_bound_only(value: float | None) -> None:
    made = table(("a", CPU, "maximum", "0.95", value), ("b", CPU, "maximum", "0.95", 3.0))
    assert [upper(made, "a"), upper(made, "b")] == [BAD_VALUE, 3]


def test_one_bad_row_among_good_ones_spoils_the_bound() -> None:
    made = table(("a", CPU, "maximum", "0.95", 1.0), ("a", CPU, "maximum", "0.95", float("nan")))
    assert upper(made) == BAD_VALUE


def test_words_may_be_encoded_and_split_in_any_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("abc"[n % 3], CPU, "maximum", "0.95", float(n)) for n in range(50)]
    made = table(*rows)
    kinds = pa.dictionary(pa.int8(), pa.string())
    encoded = made.set_column(0, "unique_id", made["unique_id"].cast(kinds)).set_column(
        COLUMNS.index("quantile"), "quantile", made["quantile"].cast(kinds)
    )
    monkeypatch.setattr(bounds, "_BATCH_ROWS", 7)
    for one in (made, encoded, pa.concat_tables([encoded.slice(20), encoded.slice(0, 20)])):
        assert [upper(one, name) for name in "abc"] == [48, 49, 47]


def test_a_quantile_is_the_same_with_zeros_at_its_end() -> None:
    header = replace(HEADER, quantiles=("0.950",))
    made = table(("a", CPU, "maximum", "0.950", 4.0))
    found = reduce_bounds(header, made, unique_ids=["a"], wanted={(CPU, "0.95")})
    assert found.upper("a", metric=CPU, quantile="0.95") == 4


def test_a_quantile_that_was_not_forecast_is_an_error() -> None:
    with pytest.raises(HeadroomError, match=r"sizes by the 0.9 quantile of cpu_millicores; the forecast has 0.5, 0.95"):
        reduce_bounds(HEADER, table(), unique_ids=["a"], wanted={(CPU, "0.9")})


def test_a_table_without_a_column_is_an_error() -> None:
    with pytest.raises(HeadroomError) as caught:
        reduce_bounds(HEADER, table().drop_columns(["quantile"]), unique_ids=["a"], wanted=set())
    assert caught.value.code == "forecast.columns"
