# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Series as they should not be: each has a defined, reported result, and leaves all other series as they are."""

from __future__ import annotations

import math
from datetime import timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_features import Clock, unfit

from .rows import CPU, NOW, WEEK, made, noisy, series, values

SOUND = series(noisy(count=2 * WEEK, seed=5), unique_id="lab/sound")
USUAL = noisy(count=2 * WEEK)
FLOOR = np.full(2 * WEEK, 40.0)


def spoilt(value: float, column: str = "mean") -> pa.Table:
    rows = series(USUAL)
    cells = rows[column].to_pylist()
    cells[-50] = value
    return rows.set_column(
        rows.column_names.index(column), rows.schema.field(column), pa.array(cells, rows[column].type)
    )


def gappy() -> np.ndarray:
    holes = USUAL.copy()
    holes[np.random.default_rng(3).random(len(holes)) < 0.6] = math.nan
    return holes


def renamed() -> pa.Table:
    """Its identifier holds the platform's UUID, not the name: under a new identifier it is another VM."""
    return pa.concat_tables(
        [series(USUAL[:WEEK], until=NOW - timedelta(days=7)), series(USUAL[WEEK:], unique_id="lab/b")]
    )


def elsewhere() -> pa.Table:
    """The same rows, written with a clock five and a half hours ahead."""
    rows = series(USUAL)
    zone = timezone(timedelta(hours=5, minutes=30))
    moments = [moment.astimezone(zone) for moment in rows["ds"].to_pylist()]
    return rows.set_column(
        rows.column_names.index("ds"), rows.schema.field("ds"), pa.array(moments, pa.timestamp("us", "UTC"))
    )


STEPPED = np.where(np.arange(2 * WEEK) < 2 * WEEK - 288, USUAL, USUAL + 3000)
RESIZED = np.where(np.arange(2 * WEEK) < WEEK, np.minimum(USUAL, 900), USUAL)
WRONG, TWICE = "a value is negative or no number", "two rows hold one time"

# What it is -> rows, what the reason says, within what the median of the next hour lies; None: there is no forecast.
CASES = {
    "short": (series(USUAL[:20]), "too short a history to compare engines", (500, 1500)),
    "constant": (series(FLOOR), "naive at", (40, 40)),
    "all zero": (series(0 * FLOOR), "naive at", (0, 0)),
    "gappy": (series(gappy()), "over", (800, 1200)),
    "changed by a step a day ago": (series(STEPPED), "over", (3700, 4300)),
    "duplicated": (pa.concat_tables([series(USUAL), series(USUAL[-3:])]), TWICE, None),
    "resized in the middle": (series(RESIZED), "over", (800, 1200)),
    "negative": (spoilt(-1.0), WRONG, None),
    "NaN": (spoilt(math.nan), WRONG, None),
    "infinite": (spoilt(math.inf, "maximum"), WRONG, None),
    "renamed": (renamed(), "too short a history to compare engines", (600, 1400)),
    "a clock in another zone": (elsewhere(), "over", (800, 1200)),
}
ALONE, ALONE_CHOICES = made(SOUND)


@pytest.mark.parametrize("name", CASES)
def test_a_forecast_is_defined_reported_and_leaves_the_others(name):
    rows, why, band = CASES[name]
    table, choices = made(pa.concat_tables([rows, SOUND]))
    choice = choices["lab/a", CPU]
    assert why in choice.reason
    assert (choice.engine == "") == (band is None)
    assert values(table, "lab/sound").tolist() == values(ALONE, "lab/sound").tolist()
    assert choices["lab/sound", CPU] == ALONE_CHOICES["lab/sound", CPU]
    if band is not None:
        median = values(table)[:, 0]
        assert np.isfinite(values(table)).all()
        assert band[0] <= median.min() <= median.max() <= band[1]


def test_a_vm_under_a_new_identifier_begins_anew():
    _table, choices = made(renamed())
    assert choices["lab/a", CPU].observed_until == "2026-02-23T12:00:00Z"
    assert choices["lab/b", CPU].history_s == 7 * 86_400


def test_a_clock_in_another_zone_changes_nothing():
    assert made(elsewhere())[0].equals(made(series(USUAL))[0])


def column(past, *, days=14):
    return np.asarray(past, dtype=np.float32)[None, -days * 288 :]


@pytest.mark.parametrize(
    ("past", "why"),
    [
        (FLOOR, ""), (0 * FLOOR, ""), (STEPPED, ""), (RESIZED, ""), (gappy(), ""),
        (np.where(np.arange(2 * WEEK) < 2 * WEEK - 20, math.nan, USUAL), "less than a day is known"),
        (np.where(np.arange(2 * WEEK) > WEEK, math.nan, USUAL), "most of the last day is missing"),
        (np.where(np.arange(2 * WEEK) == 4000, -1, USUAL), "a value is negative or infinite"),
        (np.where(np.arange(2 * WEEK) == 4000, math.inf, USUAL), "a value is negative or infinite"),
    ],
)  # fmt: skip
def test_a_trained_model_learns_from_a_series_or_leaves_it_out_with_a_reason(past, why):
    found = [reason for reason, failed in unfit(column(past), Clock(300)).items() if failed[0]]
    assert (why in found) if why else not found
