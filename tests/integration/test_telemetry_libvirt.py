# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry of the lab's guests, as real libvirt and QEMU give it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import libvirt
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.collect import collect
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint, Reader
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import AGENT, HOST
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from tests.integration.guests import GUESTS, Spare

pytestmark = pytest.mark.lab

DAY_S = 86_400
OF_DISKS = {
    *("disk_read_bytes_per_s", "disk_write_bytes_per_s", "disk_bytes_per_s"),
    *("disk_read_iops", "disk_write_iops", "disk_iops"),
}
OF_NETWORKS = {"net_receive_bits_per_s", "net_transmit_bits_per_s"}
OF_HOSTS = {"cpu_millicores", "cpu_delay_millicores", "memory_balloon_mib", "memory_rss_mib"}


def test_what_a_guest_has_is_counted_by_device(reader: Reader, lab: Any) -> None:
    uuid = lab.lookupByName("web1").UUIDString()
    sample = next(one for one in reader.sample() if one.unique_id == f"lab/{uuid}" and one.source == HOST)
    assert set(sample.counters) >= OF_DISKS | OF_NETWORKS
    for metric in OF_DISKS | OF_NETWORKS:
        assert sample.counters[metric], metric
        assert all(device and count >= 0 for device, count in sample.counters[metric].items())
    assert set(sample.counters["cpu_delay_millicores"]) >= {"0"}


def test_a_guest_without_disks_and_networks_is_known_to_use_none(reader: Reader, spare: Spare) -> None:
    sample = next(one for one in reader.sample() if one.unique_id == spare.unique_id and one.source == HOST)
    for metric in OF_DISKS | OF_NETWORKS:
        assert sample.counters.get(metric) == {}, metric


def test_an_agent_that_answers_is_heard(reader: Reader, spare: Spare) -> None:
    found = [one for one in reader.sample_guests() if one.unique_id == spare.unique_id]
    assert [one.source for one in found] == [AGENT]
    assert found[0].gauges.get("guest_filesystem_used_ppm", 0) <= 1_000_000


def test_a_read_only_connection_collects_all_that_the_host_knows(lab: Any, endpoint: Endpoint, tmp_path: Any) -> None:
    before = definitions(lab)
    series = SeriesStore(str(tmp_path / "telemetry"))
    limited = replace(endpoint, options={"read_only": "true"})
    found = collect([limited], series=series, duration_s=4, step_s=1, interval_s=DAY_S, guest_agent=True)
    now = datetime.now(UTC)
    table = series.read(None, start=now - timedelta(days=2), end=now + timedelta(days=1), interval_s=DAY_S)
    rows = {(row["unique_id"], row["metric"]): row for row in table.to_pylist()}
    for name in GUESTS:
        unique_id = f"lab/{lab.lookupByName(name).UUIDString()}"
        heard = {metric for vm, metric in rows if vm == unique_id}
        assert heard >= OF_HOSTS | OF_DISKS | OF_NETWORKS
        assert 0 < rows[unique_id, "cpu_millicores"]["mean"] <= rows[unique_id, "cpu_millicores"]["maximum"]
    assert not [gap for gap in found.gaps if gap.code != "telemetry.slow"]
    assert definitions(lab) == before


def definitions(lab: Any) -> dict[str, str]:
    return {name: lab.lookupByName(name).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) for name in GUESTS}
