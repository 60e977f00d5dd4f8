# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.series import Sample
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.rates import rates

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND_NS = 1_000_000_000


def sample(at_s, cpu_s=None, boot="b1", vm="lab/a", **other):
    cpu_time_ns = None if cpu_s is None else round(cpu_s * SECOND_NS)
    return Sample(vm, START + timedelta(seconds=at_s), boot, cpu_time_ns=cpu_time_ns, **other)


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
    assert got == [("lab/a", 0, 5, 200.0), ("lab/b", 0, 5, 2000.0)]


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


def test_delay_is_a_rate_of_its_own():
    samples = [sample(0, 1, cpu_delay_ns=0), sample(5, 2, cpu_delay_ns=SECOND_NS), sample(10, 3)]
    assert found(*samples, metric="cpu_delay_millicores") == [("lab/a", 0, 5, 200.0)]


def test_memory_used_is_available_less_usable():
    def reading(at_s, available, usable, boot="b1"):
        return sample(at_s, boot=boot, memory_available_mib=available, memory_usable_mib=usable)

    samples = [
        reading(0, 1000, 600),
        reading(5, 1000, 700),
        reading(10, 1000, None),
        reading(15, None, 700),
        reading(20, 800, 900),
        reading(25, 800, 800),
        reading(30, 800, 100, boot="b2"),
    ]
    assert found(*samples, metric="memory_used_mib") == [("lab/a", 0, 5, 300.0), ("lab/a", 20, 25, 0.0)]


def test_no_samples_no_steps():
    assert len(rates([], step_s=5).value) == 0
    assert found(sample(0, 10)) == []
