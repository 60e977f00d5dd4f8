# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.series import BALLOON, COUNTERS, Sample
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.rates import rates

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND_NS = 1_000_000_000


def sample(at_s, cpu_s=None, boot="b1", vm="lab/a", counters=None, **other):
    counters = dict(counters or {})
    if cpu_s is not None:
        counters["cpu_millicores"] = {"": round(cpu_s * SECOND_NS)}
    return Sample(vm, START + timedelta(seconds=at_s), boot, counters, **other)


def found(*samples, metric="cpu_millicores", step_s=5.0):
    steps = rates(samples, step_s=step_s)
    begin = round(START.timestamp() * 1_000_000)
    return [
        (steps.unique_ids[vm], (start - begin) / 1e6, (end - begin) / 1e6, value)
        for vm, of, start, end, value in zip(
            steps.vm, steps.metric, steps.start_us, steps.end_us, steps.value, strict=True
        )
        if steps.metrics[of] == metric
    ]


def test_a_counter_becomes_millicores():
    assert found(sample(0, 10), sample(5, 12.5), sample(10, 12.5)) == [
        ("lab/a", 0, 5, 500.0),
        ("lab/a", 5, 10, 0.0),  # a known zero: the counter stood still
    ]


def test_vms_that_interleave_are_told_apart():
    got = found(sample(0, 10, vm="lab/b"), sample(0, 100), sample(5, 20, vm="lab/b"), sample(5, 101))
    assert sorted(got) == [("lab/a", 0, 5, 200.0), ("lab/b", 0, 5, 2000.0)]


@pytest.mark.parametrize(
    ("second", "third"),
    {
        "another boot, counter higher": (sample(5, 30, boot="b2"), sample(10, 31, boot="b2")),
        "counter fell": (sample(5, 3), sample(10, 4)),
        "value not to be had": (sample(5), sample(10, 4)),
    }.values(),
)
def test_a_reset_gives_no_rate_and_never_zero(second, third):
    got = found(sample(0, 10), second, third)
    assert [(start, end) for _unused, start, end, _unused in got] in ([], [(5, 10)])
    assert all(value == 200.0 for *_unused, value in got)


@pytest.mark.parametrize("at_s", [0, -3600], ids=["standing still", "set back"])
def test_a_clock_that_does_not_advance_gives_no_rate(at_s):
    got = found(sample(0, 10), sample(at_s, 11), sample(at_s + 5, 12))
    assert got == [("lab/a", at_s, at_s + 5, 200.0)]


def test_a_clock_set_back_a_little_does_not_mix_up_the_order():
    got = found(sample(0, 10), sample(5, 15), sample(2, 16), sample(7, 17))
    assert got == [("lab/a", 0, 5, 1000.0), ("lab/a", 2, 7, 200.0)]


def test_a_clock_set_forward_or_a_long_gap_gives_no_rate():
    assert found(sample(0, 10), sample(15.001, 11)) == []
    assert found(sample(0, 10), sample(15, 25)) == [("lab/a", 0, 15, 1000.0)]  # two lost samples are bridged


def test_devices_of_a_vm_add_up_in_the_unit_of_the_metric():
    def counted(at_s, **devices):
        return sample(at_s, counters=dict.fromkeys(COUNTERS, devices))

    samples = [counted(0, a=1000, b=0), counted(5, a=1500, b=1_000_000)]
    for metric, factor in COUNTERS.items():
        assert found(*samples, metric=metric) == [("lab/a", 0, 5, 1_000_500 * factor / 5_000_000)]
    assert {COUNTERS[metric] for metric in COUNTERS if metric.endswith("_bits_per_s")} == {8_000_000}


@pytest.mark.parametrize(
    ("before", "after"),
    {
        "unplugged": ({"a": 10, "b": 10}, {"a": 900}),
        "plugged": ({"a": 10}, {"a": 20, "b": 900}),
        "another in its place": ({"a": 10}, {"b": 900}),
        "one began anew while the other rose": ({"a": 10, "b": 10}, {"a": 5, "b": 900}),
    }.values(),
)
def test_a_device_that_came_went_or_began_anew_makes_that_step_unknown(before, after):
    metric = "disk_read_iops"
    samples = [sample(5 * n, n, counters={metric: devices}) for n, devices in enumerate([before, before, after, after])]
    assert found(*samples, metric=metric) == [("lab/a", 0, 5, 0.0), ("lab/a", 10, 15, 0.0)]
    assert len(found(*samples)) == 3  # other metrics go on


def test_a_vm_without_devices_has_a_known_zero():
    metric = "net_receive_bits_per_s"
    samples = [sample(0, counters={metric: {}}), sample(5, counters={metric: {}}), sample(10)]
    assert found(*samples, metric=metric) == [("lab/a", 0, 5, 0.0)]


def test_a_reading_counts_for_the_step_before_it():
    used = [sample(5 * n, boot=boot, gauges=gauges) for n, (boot, gauges) in enumerate(READINGS)]
    assert found(*used, metric="memory_used_mib") == [("lab/a", 0, 5, 300.0), ("lab/a", 20, 25, 0.0)]


READINGS = (
    ("b1", {"memory_used_mib": 400}),
    ("b1", {"memory_used_mib": 300}),
    ("b1", {}),
    ("b1", {}),
    ("b1", {}),
    ("b1", {"memory_used_mib": 0}),
    ("b2", {"memory_used_mib": 700}),
)


def test_each_source_keeps_its_own_time():
    def swapped(at_s, mib):
        return sample(at_s, source=BALLOON, counters={"memory_swap_bytes_per_s": {"in": mib * 2**20, "out": 0}})

    # The guest speaks each 60 s, and its last word is heard with every sample until the next.
    heard = [(0, 0), (0, 0), (60, 60), (60, 60), (120, 60), (310, 99)]
    samples = [one for n, (at_s, mib) in enumerate(heard) for one in (sample(5 * n, n), swapped(at_s, mib))]
    assert found(*samples, metric="memory_swap_bytes_per_s") == [("lab/a", 0, 60, 2.0**20), ("lab/a", 60, 120, 0.0)]
    assert len(found(*samples)) == 5


def test_no_samples_no_steps():
    assert len(rates([], step_s=5).value) == 0
    assert found(sample(0, 10)) == []
