# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sampler beside a real libvirt, as a user who may do nothing, with the machine's own Python."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sampled import Sampled, read_samplers
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import METRICS
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from tests.integration.guests import GUESTS, URI
from tests.tooling.sampler import PROGRAM

pytestmark = [pytest.mark.lab, pytest.mark.slow]

RUN_S, STEP_S, INTERVAL_S = 40, 2, 300
OF_HOST = set(METRICS) - {
    "guest_filesystem_used_ppm",
    "guest_load_milli",
    "memory_oom_kills_per_s",
}  # only the guest knows


@pytest.fixture(scope="module")
def sampled(lab: Any, endpoint: Endpoint) -> Iterator[tuple[Sampled, list[dict[str, Any]], dict[str, int], list[str]]]:
    """What came of it, the rows, the CPU time used meanwhile by VM, and what was said."""
    begin = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="sampler-") as scratch:
        home = Path(scratch)
        home.chmod(0o755)
        (home / "lab").mkdir()
        shutil.chown(home / "lab", "nobody")
        program = shutil.copy(PROGRAM, home)  # the checkout may be closed to others
        definitions = defined(lab)
        before = cpu_ns(lab)
        process = subprocess.Popen(
            ["/usr/bin/python3", "-I", program, home / "lab", "--uri", f"{URI}-ro", "--step-s", str(STEP_S)],
            user="nobody", stderr=subprocess.PIPE, text=True, cwd="/",
        )  # fmt: skip
        try:
            time.sleep(RUN_S)
            process.send_signal(signal.SIGTERM)
            _unused, said = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
        used = {unique_id: after - before[unique_id] for unique_id, after in cpu_ns(lab).items()}
        assert process.returncode == 0
        assert defined(lab) == definitions
        series = SeriesStore(str(home / "telemetry"))
        now = datetime.now(UTC)
        found = read_samplers(scratch, [endpoint], series=series, now=now, history_s=600, interval_s=INTERVAL_S)
        rows = series.read(
            None, start=begin - timedelta(seconds=INTERVAL_S), end=now, interval_s=INTERVAL_S
        ).to_pylist()
        yield found, rows, used, said.splitlines()


def cpu_ns(lab: Any) -> dict[str, int]:
    """CPU time of the guests, by VM."""
    domains = [lab.lookupByName(name) for name in GUESTS]
    return {f"lab/{one.UUIDString()}": one.getCPUStats(True)[0]["cpu_time"] for one in domains}


def defined(lab: Any) -> list[str]:
    """What the guests are, and how often their memory is asked for as they run."""
    domains = [lab.lookupByName(name) for name in GUESTS]
    live = [re.findall(r"<memballoon.*?</memballoon>", one.XMLDesc(), re.DOTALL)[0] for one in domains]
    return [*live, *(one.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) for one in domains)]


def test_it_samples_in_time(sampled: Any) -> None:
    found, _rows, used, said = sampled
    assert [line for line in said if "sampling" not in line and "stopped" not in line] == []
    assert found.tally.damaged == 0
    assert [gap for gap in found.gaps if gap.code != "sampler.stranger"] == []  # the store lies beside the samples
    assert found.samples >= 0.6 * len(used) * RUN_S / STEP_S


def test_the_maximum_of_an_interval_is_above_its_mean(sampled: Any) -> None:
    _found, rows, used, _said = sampled
    for unique_id in used:
        mine = [row for row in rows if (row["unique_id"], row["metric"]) == (unique_id, "cpu_millicores")]
        row = max(mine, key=lambda row: row["coverage_ppm"])
        assert row["samples"] >= 4
        assert row["maximum"] > row["mean"] > 0


def test_its_means_add_up_to_what_the_guests_used(sampled: Any) -> None:
    _found, rows, used, _said = sampled
    for unique_id, spent_ns in used.items():
        mine = [row for row in rows if (row["unique_id"], row["metric"]) == (unique_id, "cpu_millicores")]
        told_ns = sum(row["mean"] * row["coverage_ppm"] * INTERVAL_S for row in mine)  # millicores * ppm * s = ns
        assert 0.6 * spent_ns < told_ns <= spent_ns


def test_contention_memory_disks_and_networks_are_told_too(sampled: Any) -> None:
    _found, rows, used, _said = sampled
    told = {metric: {row["unique_id"] for row in rows if row["metric"] == metric} for metric in OF_HOST}
    for metric in OF_HOST - {"cpu_wait_millicores"}:  # that one the kernel may not count
        assert set(used) <= told[metric], metric
