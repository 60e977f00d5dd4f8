# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: one small guest in a folder of its own, beside whatever else runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[1] / "lab" / "lab.py"
GUEST = "idle1"

pytestmark = pytest.mark.slow


class Lab:
    """lab.py and virsh on one HEADROOM_LAB."""

    def __init__(self, root):
        self.root = root
        self.uri = f"qemu+unix:///system?socket={root}/run/libvirt-sock"

    def call(self, *argv):
        return subprocess.run(
            [sys.executable, LAB, *argv],
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
            env={**os.environ, "HEADROOM_LAB": str(self.root)},
        )

    def up(self):
        done = self.call("up", "--guests", GUEST)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def status(self):
        return json.loads(self.call("status", "--json").stdout)

    def guest(self):
        (guest,) = self.status()["guests"]
        return guest

    def virsh(self, *argv):
        return subprocess.run(
            ["virsh", "-q", "-c", self.uri, *argv], check=True, capture_output=True, text=True, timeout=30
        ).stdout.strip()

    def cpu_percent(self, *, seconds):
        used_ns, at = self._cpu_ns(), time.monotonic()
        time.sleep(seconds)
        return (self._cpu_ns() - used_ns) / 1e7 / (time.monotonic() - at)

    def _cpu_ns(self):
        stats = self.virsh("domstats", "--raw", "--cpu-total", GUEST).split()
        return int(dict(line.split("=", 1) for line in stats if "=" in line)["cpu.time"])

    def traces(self):
        """What of this lab can be seen on the machine: processes, mounts, control groups, files."""
        root = str(self.root)
        found = [str(path) for path in (self.root,) if path.exists()]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_text()
            except OSError:  # it ended while we looked
                continue
            if root in words:
                found.append(f"{process.name} {words}")
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if root in line]
        found += map(str, Path("/sys/fs/cgroup").glob(f"**/{self.status()['control_group']}"))
        return found


@pytest.fixture(scope="module")
def lab():
    lab = Lab(Path(tempfile.mkdtemp(prefix="headroom-", dir="/var/tmp")) / "lab")
    try:
        lab.up()
        yield lab
    finally:
        lab.call("down")
        shutil.rmtree(lab.root.parent)


@pytest.mark.lab
def test_a_guest_is_up_with_the_size_that_the_table_gives_it(lab):
    state, guest = lab.status(), lab.guest()
    assert (state["state"], state["uri"]) == ("up", lab.uri)
    assert guest["agent"]
    assert (guest["vcpus_config"], guest["vcpus_online"], guest["memory_mib"]) == (2, 2, 256)
    assert "<cputune>" not in lab.virsh("dumpxml", "--inactive", GUEST)


@pytest.mark.lab
def test_a_second_up_changes_nothing(lab):
    before = lab.virsh("domid", GUEST)
    assert "was up already" in lab.up()
    assert lab.virsh("domid", GUEST) == before


@pytest.mark.lab
def test_the_read_only_socket_reads_and_does_not_write(lab):
    uri = lab.status()["uri_ro"]
    command = ["virsh", "-q", "-c", uri]
    assert subprocess.run([*command, "domid", GUEST], check=False, capture_output=True).returncode == 0
    refused = subprocess.run(
        [*command, "setvcpus", GUEST, "1", "--config"], check=False, capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "read only" in refused.stderr


@pytest.mark.lab
def test_a_running_guest_follows_a_new_schedule(lab, tmp_path):
    lab.virsh("dommemstat", GUEST, "--period", "1", "--live")

    def follow(cpu_percent, memory_mib):
        file = tmp_path / "schedule.json"
        load = {"cpu_percent": [cpu_percent], "memory_mib": [memory_mib], "slot_s": 60}
        file.write_text(json.dumps({GUEST: load}))
        done = lab.call("schedule", str(file))
        assert done.returncode == 0, done.stderr
        time.sleep(2)
        return lab.cpu_percent(seconds=6), lab.guest()["memory_usable_mib"]

    busy_percent, usable_when_busy_mib = follow(40, 80)
    idle_percent, usable_when_idle_mib = follow(0, 0)
    assert 30 < busy_percent < 50
    assert idle_percent < 8
    assert 70 < usable_when_idle_mib - usable_when_busy_mib < 90


@pytest.mark.lab
def test_up_starts_again_what_is_missing_in_the_size_it_was_given(lab):
    lab.virsh("setvcpus", GUEST, "1", "--config")
    lab.virsh("destroy", GUEST)
    assert lab.status()["state"] == "partial"
    lab.up()
    guest = lab.guest()
    assert (guest["vcpus_config"], guest["vcpus_online"]) == (1, 1)


@pytest.mark.lab
def test_up_comes_after_a_lab_that_was_killed(lab):
    (first,) = [trace.split()[0] for trace in lab.traces() if "inside.py" in trace]
    os.kill(int(first), signal.SIGKILL)
    lab.up()
    assert lab.guest()["agent"]


@pytest.mark.lab
def test_down_leaves_nothing_behind(lab):
    assert len(lab.traces()) > len(("folder", "inside", "virtlogd", "libvirtd", "guest", "control group"))
    assert lab.call("down").returncode == 0
    assert lab.traces() == []
    assert (lab.status()["state"], lab.status()["guests"]) == ("down", [])
    assert "there was nothing" in lab.call("down").stderr


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "Expecting"),
        ("[]", "must be an object"),
        ('{"web9": {}}', "no guest of this lab: web9"),
        ('{"web1": {"cpu": [1]}}', "cpu_percent, memory_mib and slot_s"),
        ('{"web1": {"cpu_percent": []}}', "a list of 1 to"),
        ('{"web1": {"cpu_percent": [401]}}', "401 is not a number from 0 to 400"),
        ('{"web1": {"memory_mib": [-1]}}', "-1 is not"),
        ('{"web1": {"memory_mib": [NaN]}}', "nan is not"),
        ('{"web1": {"cpu_percent": [true]}}', "True is not"),
    ],
)
def test_a_wrong_schedule_is_one_clear_error(tmp_path, content, word):
    file = tmp_path / "schedule.json"
    file.write_text(content)
    reading = "import sys, pathlib, schedule; schedule.read(pathlib.Path(sys.argv[1]), guests=('web1',))"
    done = subprocess.run(
        [sys.executable, "-c", reading, file], check=False, capture_output=True, text=True, cwd=LAB.parent
    )
    assert done.returncode == 1
    assert word in done.stderr.splitlines()[-1]


def test_a_folder_whose_sockets_would_not_fit_is_refused(tmp_path):
    done = Lab(tmp_path / ("x" * 100)).call("status")
    assert done.returncode == 1
    assert "too long" in done.stderr
