# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forecast table, reduced: for each VM, metric and quantile the largest value over the horizon."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._policy.kinds import normal_quantile
from .._records.forecast import COLUMNS, Forecast

NO_VALUE = -1  # the table has no row
BAD_VALUE = -2  # a row is not a number, negative, or too large to be one
OVER_VALUE = -3  # the forecast's horizon has passed

_BATCH_ROWS = 2**20  # bounds the memory beside the table to some 50 MB
_TOO_LARGE = 2.0**52
_READ = ["unique_id", "metric", "target", "quantile", "value"]


@dataclass(frozen=True)
class Bounds:
    """Upper bounds in the metric's unit, rounded up; below 0: one of the reasons above why there is none."""

    positions: dict[str, int]  # unique_id -> index
    uppers: dict[tuple[str, str], list[int]]  # (metric, quantile) -> by index

    def upper(self, unique_id: str, *, metric: str, quantile: str) -> int:
        """The bound of one VM."""
        return self.uppers[metric, quantile][self.positions[unique_id]]


def no_bounds(*, unique_ids: Sequence[str], wanted: Collection[tuple[str, str]], value: int) -> Bounds:
    """Bounds of a fleet without a forecast; ``value`` says why."""
    return Bounds(
        positions={unique_id: index for index, unique_id in enumerate(unique_ids)},
        uppers={pair: [value] * len(unique_ids) for pair in wanted},
    )


def reduce_bounds(
    forecast: Forecast, table: Any, *, unique_ids: Sequence[str], wanted: Collection[tuple[str, str]]
) -> Bounds:
    """Reduce the forecast's pyarrow.Table (COLUMNS, any number of rows) for these VMs and (metric, quantile) pairs.

    Rows of other VMs, metrics, targets and quantiles are passed over. Raises ``plan.quantile_missing``,
    ``forecast.columns``.
    """
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc
    _check_columns(table.column_names)
    spelled = {normal_quantile(text): text for text in forecast.quantiles}
    pairs = sorted(wanted)
    for metric, quantile in pairs:
        if quantile not in spelled:
            raise HeadroomError(
                "plan.quantile_missing",
                f"The policy sizes by the {quantile} quantile of {metric}; the forecast has {', '.join(spelled)}.",
                advice="Forecast that quantile, or name one of these in the policy.",
            )
    ids = pa.array(unique_ids, pa.string())
    metrics = sorted({metric for metric, _unused in pairs})
    quantiles = sorted({quantile for _unused, quantile in pairs})
    shape = (len(metrics), len(quantiles), len(unique_ids))
    largest = np.full(shape[0] * shape[1] * shape[2], -np.inf)

    def codes(column: Any, lookup: Callable[[Any], Any]) -> Any:
        """Position of each row's word in what is looked for; -1: not looked for."""
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        found = pc.fill_null(lookup(encoded.dictionary), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        indices = pc.fill_null(encoded.indices, len(found)).to_numpy(zero_copy_only=False)
        return np.append(found, -1)[indices]

    def among(words: Sequence[str]) -> Callable[[Any], Any]:
        values = pa.array(words, pa.string())
        return lambda dictionary: pc.index_in(dictionary.cast(pa.string()), value_set=values)

    for batch in table.select(_READ).to_batches(max_chunksize=_BATCH_ROWS):
        columns = dict(zip(_READ, batch.columns))
        at = codes(columns["unique_id"], lambda found: pc.index_in(found.cast(pa.string()), value_set=ids))
        metric_at = codes(columns["metric"], among(metrics))
        quantile_at = codes(columns["quantile"], among([spelled[quantile] for quantile in quantiles]))
        target_at = codes(columns["target"], among([forecast.target]))
        rows = (at >= 0) & (metric_at >= 0) & (quantile_at >= 0) & (target_at >= 0)
        values = pc.fill_null(columns["value"].cast(pa.float64()), float("nan")).to_numpy(zero_copy_only=False)
        flat = (metric_at * shape[1] + quantile_at) * shape[2] + at
        with np.errstate(invalid="ignore"):
            np.maximum.at(largest, flat[rows], values[rows])  # NaN wins: one bad row spoils the bound

    absent = np.isneginf(largest)
    bad = ~absent & ~((largest >= 0) & (largest < _TOO_LARGE))
    whole = np.ceil(np.where(absent | bad, 0, largest)).astype(np.int64)
    whole[absent], whole[bad] = NO_VALUE, BAD_VALUE
    reduced = whole.reshape(shape)
    return Bounds(
        positions={unique_id: index for index, unique_id in enumerate(unique_ids)},
        uppers={
            (metric, quantile): reduced[metrics.index(metric), quantiles.index(quantile)].tolist()
            for metric, quantile in pairs
        },
    )


def _check_columns(names: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise HeadroomError(
            "forecast.columns",
            f"The forecast's table has no column {', '.join(missing)}.",
            advice="Make the forecast again with this release.",
        )
