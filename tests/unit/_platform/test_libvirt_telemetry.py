# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples made of what libvirt and the guests behind it say."""

from __future__ import annotations

import itertools
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import EndpointError, RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import guests, telemetry
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import BALLOON, GAUGES, HOST, Sample

ENDPOINT = Endpoint("east", "qemu:///system")
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
# As libvirt 9.0 says it of a guest with two vCPUs, two disks, a CD-ROM drive without a disc and one interface.
STATS = {
    "cpu.time": 8_088_960_000,
    "cpu.user": 1_230_000_000,
    "vcpu.current": 2,
    "vcpu.maximum": 4,
    "vcpu.0.state": 1,
    "vcpu.0.time": 4_000_000_000,
    "vcpu.0.delay": 5,
    "vcpu.0.wait": 900,
    "vcpu.1.delay": 7,
    "vcpu.1.wait": 1000,
    "vcpu.12.delay": 11,
    "balloon.current": 262_144,
    "balloon.maximum": 524_288,
    "balloon.swap_in": 3,
    "balloon.swap_out": 4,
    "balloon.major_fault": 55,
    "balloon.available": 257_500,
    "balloon.usable": 218_999,
    "balloon.rss": 301_000,
    "balloon.last-update": int(NOW.timestamp()) - 5,
    "block.count": 3,
    "block.0.name": "vda",
    "block.0.rd.reqs": 100,
    "block.0.rd.bytes": 409_600,
    "block.0.wr.reqs": 10,
    "block.0.wr.bytes": 4096,
    "block.1.name": "vdb",
    "block.1.rd.reqs": 1,
    "block.1.rd.bytes": 512,
    "block.1.wr.reqs": 2,
    "block.1.wr.bytes": 1024,
    "block.2.name": "sda",
    "net.count": 1,
    "net.0.name": "vnet3",
    "net.0.rx.bytes": 1234,
    "net.0.tx.bytes": 5678,
}


def sampled(*, without: str = "", **changes: Any) -> tuple[Sample, ...]:
    stats = {**STATS, **{name.replace("__", "."): value for name, value in changes.items()}}
    stats = {name: value for name, value in stats.items() if not (without and name.startswith(without))}
    return telemetry.read_samples(ENDPOINT, "u", boot=7, stats=stats, taken_at=NOW)


def test_what_the_host_counts_is_kept_by_device() -> None:
    host, _guest = sampled()
    assert (host.unique_id, host.boot_id, host.taken_at, host.source) == ("east/u", "7", NOW, HOST)
    assert host.counters == {
        "cpu_millicores": {"": 8_088_960_000},
        "cpu_delay_millicores": {"0": 5, "1": 7, "12": 11},
        "cpu_wait_millicores": {"0": 900, "1": 1000},
        "disk_read_iops": {"vda": 100, "vdb": 1},
        "disk_read_bytes_per_s": {"vda": 409_600, "vdb": 512},
        "disk_write_iops": {"vda": 10, "vdb": 2},
        "disk_write_bytes_per_s": {"vda": 4096, "vdb": 1024},
        "disk_iops": {"vda rd.reqs": 100, "vda wr.reqs": 10, "vdb rd.reqs": 1, "vdb wr.reqs": 2},
        "disk_bytes_per_s": {"vda rd.bytes": 409_600, "vda wr.bytes": 4096, "vdb rd.bytes": 512, "vdb wr.bytes": 1024},
        "net_receive_bits_per_s": {"vnet3": 1234},
        "net_transmit_bits_per_s": {"vnet3": 5678},
    }
    assert host.gauges == {"memory_used_mib": 251 - 213, "memory_balloon_mib": 256, "memory_rss_mib": 293}


def test_what_the_balloon_driver_counts_has_its_time() -> None:
    _host, guest = sampled()
    assert (guest.source, guest.taken_at, guest.gauges) == (BALLOON, NOW - timedelta(seconds=5), {})
    assert guest.counters == {
        "memory_swap_bytes_per_s": {"in": 3072, "out": 4096},
        "memory_major_faults_per_s": {"": 55},
    }


@pytest.mark.safety(rule=2)
@pytest.mark.parametrize("age_s", [telemetry.STALE_S + 1, -telemetry.STALE_S - 1, NOW.timestamp()])
def test_stale_memory_statistics_are_unknown(age_s: float) -> None:
    (host,) = sampled(**{"balloon.last-update": int(NOW.timestamp() - age_s)})
    assert "memory_used_mib" not in host.gauges
    assert host.gauges["memory_rss_mib"] == 293  # the host's own word
    assert host.counters["cpu_millicores"]


@pytest.mark.parametrize(
    ("available", "usable"), [(100_000, 200_000), (None, 100_000), (100_000, None)], ids=["nonsense", "old", "older"]
)
def test_memory_that_a_guest_does_not_tell_is_unknown(available: Any, usable: Any) -> None:
    stats = {**STATS, "balloon.available": available, "balloon.usable": usable}
    stats = {name: value for name, value in stats.items() if value is not None}
    host, *_guest = telemetry.read_samples(ENDPOINT, "u", boot=7, stats=stats, taken_at=NOW)
    assert "memory_used_mib" not in host.gauges


def test_what_libvirt_does_not_say_is_unknown_and_not_zero() -> None:
    (silent,) = telemetry.read_samples(ENDPOINT, "u", boot=7, stats={"vcpu.0.wait": 3}, taken_at=NOW)
    assert silent.counters == {"cpu_wait_millicores": {"0": 3}}
    assert silent.gauges == {}
    # A busy monitor: the devices are named, and none tells.
    host, *_unused = sampled(without="block.0.", block__1__name="vdb")
    assert host.counters["disk_read_iops"] == {"vdb": 1}
    mute = {name: value for name, value in STATS.items() if not name.startswith("block.") or name.endswith(".name")}
    host, *_unused = telemetry.read_samples(ENDPOINT, "u", boot=7, stats=mute, taken_at=NOW)
    assert "disk_read_iops" not in host.counters


def test_a_vm_without_disks_reads_nothing_and_that_is_known() -> None:
    host, *_unused = sampled(without="block.")
    assert "disk_read_iops" not in host.counters
    stats = {name: value for name, value in STATS.items() if not name.startswith("block.")} | {"block.count": 0}
    host, *_unused = telemetry.read_samples(ENDPOINT, "u", boot=7, stats=stats, taken_at=NOW)
    assert host.counters["disk_read_iops"] == {}


def test_an_interface_that_tells_nothing_hides_the_others_sum() -> None:
    host, *_unused = sampled(net__count=2, net__1__name="vhost0")
    assert "net_receive_bits_per_s" not in host.counters
    assert "disk_read_iops" in host.counters


# --- guest agents -----------------------------------------------------------------------------------------------------

ANSWER = {
    "fs.count": 3,
    "fs.0.mountpoint": "/",
    "fs.0.fstype": "ext4",
    "fs.0.total-bytes": 1000,
    "fs.0.used-bytes": 250,
    "fs.1.fstype": "xfs",
    "fs.1.total-bytes": 3000,
    "fs.1.used-bytes": 1000,
    "fs.2.fstype": "squashfs",
    "fs.2.total-bytes": 77,
    "fs.2.used-bytes": 77,
    "load.1m": 1.25,
}


def test_the_fullest_file_system_and_the_load_count() -> None:
    assert guests.read_guest_info(ANSWER) == {"guest_filesystem_used_ppm": 333_333, "guest_load_milli": 1250}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"fs.count": 2**31, "fs.0.total-bytes": 0, "fs.0.used-bytes": 0},
        {"fs.count": 1, "fs.0.total-bytes": 10, "fs.0.used-bytes": 11},
        {"fs.count": 1, "fs.0.total-bytes": 10, "fs.0.used-bytes": -1},
        {"fs.count": "1", "load.1m": "0.5"},
        {"load.1m": float("nan")},
        {"load.1m": float("inf")},
        {"load.1m": -1.0},
    ],
)
def test_nonsense_of_a_guest_is_silence(answer: dict[str, Any]) -> None:
    assert guests.read_guest_info(answer) == {}


NUMBERS = st.one_of(st.integers(), st.floats(), st.text(max_size=3), st.none(), st.booleans())
KEYS = st.one_of(
    st.sampled_from(["fs.count", "load.1m"]),
    st.builds("fs.{}.{}".format, st.integers(0, 3), st.sampled_from(["total-bytes", "used-bytes", "fstype"])),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
@given(st.dictionaries(KEYS, NUMBERS))
def test_whatever_a_guest_says_gives_bounded_figures(answer: dict[str, Any]) -> None:
    found = guests.read_guest_info(answer)
    assert set(found) <= set(GAUGES)
    assert 0 <= found.get("guest_filesystem_used_ppm", 0) <= 1_000_000
    for value in found.values():
        struct.pack("<q", value)


class Domain:
    def __init__(self, uuid: str, answer: Any) -> None:
        self.uuid, self.answer, self.asked = uuid, answer, 0

    def UUIDString(self) -> str:  # noqa: N802 - as libvirt names it
        return self.uuid

    def ID(self) -> int:  # noqa: N802
        return 3

    def guestInfo(self, _topics: int, _flags: int) -> Any:  # noqa: N802
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Session:
    """Hands the calls to the domains."""

    def __init__(self, *domains: Domain, read_only: bool = False) -> None:
        self.endpoint, self.domains, self.read_only, self.pulses = ENDPOINT, domains, read_only, 0

    def ask(self, _act: Any) -> Any:
        return self.domains

    def on(self, domain: Domain, act: Any, **_limits: Any) -> Any:
        return act(domain)

    def check_pulse(self) -> None:
        self.pulses += 1


def test_an_agent_that_is_silent_is_not_asked_again() -> None:
    speaks = Domain("a", ANSWER)
    hangs = Domain("b", EndpointError("endpoint.timeout", "It hangs."))
    refuses = Domain("c", RefusedError("guest.refused", "No agent."))
    session = Session(hangs, refuses, speaks)
    agents = guests.GuestAgents(session)
    for _unused in range(2):
        (sample,) = agents.sample()
        assert (sample.unique_id, sample.boot_id, sample.source) == ("east/a", "3", "agent")
        assert sample.gauges["guest_load_milli"] == 1250
    assert (hangs.asked, refuses.asked, speaks.asked, session.pulses) == (1, 1, 2, 1)


def test_a_lost_connection_is_the_endpoints_fault_and_not_the_guests() -> None:
    lost = Session(Domain("a", EndpointError("endpoint.unreachable", "Gone.")))
    with pytest.raises(EndpointError):
        guests.GuestAgents(lost).sample()


def test_asking_ends_with_the_period() -> None:
    clock = iter([0.0, 0.0, 31.0, 31.0])
    first, second = Domain("a", ANSWER), Domain("b", ANSWER)
    assert len(guests.GuestAgents(Session(first, second), monotonic=lambda: next(clock)).sample()) == 1
    assert first.asked + second.asked == 1


@pytest.mark.parametrize("count", [3, 10, 60])
def test_where_not_all_can_be_asked_in_one_period_all_get_their_turn(count: int) -> None:
    """A collection started anew every five minutes, with time for two guests."""
    domains = [Domain(f"{number:02}", ANSWER) for number in range(count)]
    for run in range(3 * count):
        seconds = itertools.count(step=15)
        moment = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=5 * run)
        agents = guests.GuestAgents(
            Session(*domains), clock=lambda at=moment: at, monotonic=lambda of=seconds: next(of)
        )
        assert len(agents.sample()) == 2
    assert min(domain.asked for domain in domains) >= 3


def test_a_read_only_connection_asks_no_guest() -> None:
    domain = Domain("a", ANSWER)
    assert guests.GuestAgents(Session(domain, read_only=True)).sample() == ()
    assert domain.asked == 0
