# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._store.rows import checked_rows
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.history import PROFILES, Demand, history

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def made(demands, days=7, start=MONDAY, **other):
    return history(demands, start=start, end=start + timedelta(days=days), interval_s=300, **other)


def cpu(table, unique_id="lab/a", column="mean"):
    return np.array(
        [row[column] for row in table.to_pylist() if (row["unique_id"], row["metric"]) == (unique_id, "cpu_millicores")]
    )


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_profile_gives_storable_rows_with_a_maximum(profile):
    table = made({"lab/a": Demand(profile, 1000, 512)})
    assert checked_rows(table).num_rows == table.num_rows == 3 * 7 * 288
    assert table["maximum"].null_count == 0
    assert (cpu(table, column="maximum") > cpu(table)).all()
    assert 0 < cpu(table).mean() < 1500


def test_office_hours_and_weekends_show():
    mean = cpu(made({"lab/a": Demand("office", 1000, 512)})).reshape(7, 24, 12).mean(axis=2)
    assert mean[:5, 11:15].mean() > 4 * mean[:5, 0:5].mean()
    assert mean[:5, 11:15].mean() > 1.8 * mean[5:, 11:15].mean()


def test_batch_work_comes_in_its_block():
    mean = cpu(made({"lab/a": Demand("batch", 1000, 512)})).reshape(7, 24, 12).mean(axis=2)
    assert (mean[:, 1:4] > 900).all()
    assert (mean[:, 5:] < 100).all()


def test_a_day_depends_on_the_seed_and_the_vm_alone():
    demand = Demand("office", 1000, 512)
    week = made({"lab/a": demand})
    later = made({"lab/b": demand, "lab/a": demand}, days=2, start=MONDAY + timedelta(days=5, minutes=7))
    np.testing.assert_array_equal(cpu(later)[:288], cpu(week)[5 * 288 + 2 : 6 * 288 + 2])
    assert not np.array_equal(cpu(later), cpu(later, "lab/b"))
    assert not np.array_equal(cpu(week), cpu(made({"lab/a": demand}, seed=1)))


def test_only_whole_intervals_of_the_range():
    table = history(
        {"lab/a": Demand("idle", 100, 64)},
        start=MONDAY + timedelta(seconds=1),
        end=MONDAY + timedelta(seconds=899),
        interval_s=300,
    )
    assert sorted(set(table["ds"].to_pylist())) == [MONDAY + timedelta(seconds=300)]


def test_an_unknown_profile_is_one_error():
    with pytest.raises(HeadroomError, match="lazy") as caught:
        made({"lab/a": Demand("lazy", 1, 1)})
    assert caught.value.code == "history.profile"
