# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math

import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError

from .rows import made, noisy, series


def changed(column, value, place=7):
    rows = series(noisy(count=20), maximum=noisy(count=20) + 500)
    cells = rows[column].to_pylist()
    cells[place] = value
    return rows.set_column(
        rows.column_names.index(column), rows.schema.field(column), pa.array(cells, rows[column].type)
    )


BAD_ROWS = {
    "negative mean": changed("mean", -1.0),
    "negative maximum": changed("maximum", -1.0),
    "NaN": changed("mean", math.nan),
    "NaN maximum": changed("maximum", math.nan),
    "infinite": changed("maximum", math.inf),
    "one time twice": pa.concat_tables([series([1.0, 2.0]), series([2.0])]),
}


@pytest.mark.parametrize("rows", BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_rows_that_make_no_sense_reject_their_vm_and_leave_the_others(rows):
    sound = series(noisy(), unique_id="lab/b")
    alone, chosen_alone = made(sound)
    both, chosen = made(pa.concat_tables([rows, sound]))
    assert both.equals(alone)
    assert chosen["lab/b", "cpu_millicores"] == chosen_alone["lab/b", "cpu_millicores"]
    assert chosen["lab/a", "cpu_millicores"].engine == ""
    assert chosen["lab/a", "cpu_millicores"].reason in ("a value is negative or no number", "two rows hold one time")


def test_rows_of_another_interval_are_one_error():
    with pytest.raises(HeadroomError) as caught:
        made(series(noisy(count=100), interval_s=900))
    assert caught.value.code == "forecast.rows"
