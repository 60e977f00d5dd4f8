# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import (
    derive_protocol,
    read_protocol,
    write_protocol,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = [f"vm-{number:03}" for number in range(100)]
FILE = {
    "scored_from": "2026-01-21T22:00",
    "scored_to": "2026-01-31T22:00",
    "tick_s": 300,
    "decide_every_s": 3600,
    "leads_s": [0, 300],
    "floor": {"cpu": 0.1, "memory": 256, "share": 0.2},
    "slo4": {"violations": 0.5, "unserved": 0.4, "worst_vm": 2, "vms_within_1pct": 90},
    "report_ids": ["a", "b"],
    "tune_ids": ["c"],
    "pools": [["a", "b"]],
    "unknown": 1,
}


def derived(names=NAMES, days=30):
    return derive_protocol(names, start=START, end=START + timedelta(days=days), trace="fleet.parquet")


def test_a_file_is_read():
    protocol = read_protocol(json.dumps(FILE))
    assert protocol.scored_from == datetime(2026, 1, 21, 22, tzinfo=UTC)
    assert (protocol.report_ids, protocol.tune_ids, protocol.pools) == (("a", "b"), ("c",), (("a", "b"),))
    assert (protocol.floor("memory").least, protocol.slo4.unserved, protocol.leads_s) == (256, 0.4, (0, 300))
    assert [protocol.ids(which) for which in ("report", "tune", "all")] == [("a", "b"), ("c",), ()]


def test_times_of_other_zones_are_utc():
    protocol = read_protocol(json.dumps({**FILE, "scored_from": "2026-01-22T00:00+02:00"}))
    assert protocol.scored_from == datetime(2026, 1, 21, 22, tzinfo=UTC)


def test_what_is_derived_reads_back_the_same():
    assert read_protocol(write_protocol(derived())) == derived()


def test_the_last_third_is_scored():
    protocol = derived()
    assert (protocol.scored_from, protocol.scored_to) == (START + timedelta(days=20), START + timedelta(days=30))


def test_the_split_depends_on_each_id_alone():
    whole, part = derived(), derived(NAMES[:50])
    assert set(whole.report_ids) | set(whole.tune_ids) == set(NAMES)
    assert not set(whole.report_ids) & set(whole.tune_ids)
    assert set(part.tune_ids) == set(whole.tune_ids) & set(NAMES[:50])
    assert 20 < len(whole.tune_ids) < 60


def test_pools_are_of_sixteen_report_vms():
    protocol = derived()
    assert {len(pool) for pool in protocol.pools} == {16}
    assert {name for pool in protocol.pools for name in pool} <= set(protocol.report_ids)


def test_of_few_vms_all_are_reported():
    protocol = derived(NAMES[:5])
    assert protocol.report_ids == tuple(NAMES[:5])
    assert protocol.tune_ids == ()
    assert sorted(protocol.pools[0]) == NAMES[:5]


def test_three_days_are_the_least():
    with pytest.raises(HeadroomError) as raised:
        derived(days=2)
    assert raised.value.code == "trace.short"


@pytest.mark.parametrize(
    "change",
    [
        {"scored_from": "2026-02-21T22:00"},
        {"scored_from": "soon"},
        {"report_ids": []},
        {"report_ids": "a"},
        {"tune_ids": ["a"]},
        {"tick_s": 60},
        {"decide_every_s": 100},
        {"leads_s": [60]},
        {"slo4": {"violations": 0.5}},
        {"floor": 3},
    ],
)
def test_a_file_that_cannot_be_used_is_one_error(change):
    with pytest.raises(HeadroomError) as raised:
        read_protocol(json.dumps({**FILE, **change}))
    assert raised.value.code == "protocol.invalid"


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_what_is_no_protocol_is_one_error(text):
    with pytest.raises(HeadroomError) as raised:
        read_protocol(text)
    assert raised.value.code == "protocol.invalid"
