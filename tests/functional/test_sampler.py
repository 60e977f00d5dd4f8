# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sampler as a process of its own, the role that installs it, and the way of its files into the telemetry store.

Instead of virsh there is a script that prints what virsh would, of one VM that uses half a core.
"""

from __future__ import annotations

import getpass
import gzip
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs import sampled as sampled_module
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sampled import read_samplers
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.sampler import SamplerReader, Tally
from tests.tooling.sampler import PROGRAM, load

from .controller import Controller
from .fleets import Fleet

UUID = "2e7b2b1e-0c9b-4a26-9c0a-0d5a1f1e7a11"
CPU = "cpu_millicores"
VIRSH = f"""\
#!/bin/sh
here=$(dirname "$0")
echo "$@" > "$here/words"
echo >> "$here/asked"
case $(cat "$here/mood") in
  broken) echo "error: failed to connect" >&2; exit 1 ;;
  stuck) exec sleep 60 ;;
esac
echo "{UUID} 3 web1"
echo
echo "Domain: 'web1'"
echo "  cpu.time=$(($(date +%s%N) / 2))"
echo "  vcpu.0.delay=$(($(date +%s%N) / 100))"
"""
ENDPOINT = Endpoint("fake", "qemu:///system")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def host(tmp_path):
    """A folder that is a hypervisor: virsh, and room for samples."""
    (tmp_path / "virsh").write_text(VIRSH)
    (tmp_path / "virsh").chmod(0o755)
    (tmp_path / "mood").write_text("well")
    (tmp_path / "samples").mkdir()
    return tmp_path


@contextmanager
def running(host, *options):
    """The service; its words are in the file ``said``."""
    command = [sys.executable, "-I", PROGRAM, host / "samples", "--virsh", host / "virsh", "--step-s", "1", *options]
    with (host / "said").open("ab") as said:
        process = subprocess.Popen(list(map(str, command)), stderr=said)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(predicate):
    deadline = time.monotonic() + 30
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def asked(host):
    path = host / "asked"
    return len(path.read_text().splitlines()) if path.exists() else 0


def more(host, count=2):
    """Wait until it asked so many times more."""
    goal = asked(host) + count
    wait_for(lambda: asked(host) >= goal)


def stop(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=20)


def rounds(host):
    tally = Tally()
    reader = SamplerReader(tally)
    found = []
    for path in sorted((host / "samples").glob("*.jsonl.gz")):
        with path.open("rb") as stream:
            found += reader.read(stream)
    assert not tally.damaged
    return found


def test_it_samples_until_it_is_told_to_stop(host):
    with running(host) as process:
        more(host, 3)
        assert stop(process) == 0
    found = rounds(host)
    assert len(found) >= 2
    assert {(uuid, boot) for one in found for uuid, boot, _unused in one.vms} == {(UUID, 3)}
    assert not list((host / "samples").glob("*.jsonl"))
    words = (host / "words").read_text()
    assert "--readonly" in words
    assert "dommemstat" not in words  # no period is ever set


def test_a_second_one_does_not_run(host):
    with running(host) as process:
        more(host, 1)
        with running(host) as other:
            assert other.wait(timeout=20) == 75
        assert process.poll() is None
    assert "another sampler" in (host / "said").read_text()


def test_libvirt_may_go_and_come_back_and_that_is_said_once(host):
    with running(host) as process:
        more(host)
        (host / "mood").write_text("broken")
        more(host, 3)
        (host / "mood").write_text("well")
        more(host, 3)
        assert stop(process) == 0
    said = (host / "said").read_text()
    assert said.count("libvirt does not answer: error: failed to connect") == 1
    assert said.count("all is well again") == 1
    assert len(rounds(host)) >= 3


def test_a_libvirt_that_hangs_is_left(host):
    (host / "mood").write_text("stuck")
    with running(host, "--timeout-s", "1") as process:
        more(host)
        (host / "mood").write_text("well")
        more(host, 3)
        (host / "mood").write_text("stuck")
        more(host, 1)
        begin = time.monotonic()
        assert stop(process) == 0
        assert time.monotonic() - begin < 15
    assert "no answer within 1 s" in (host / "said").read_text()
    assert rounds(host)


@pytest.mark.safety(rule=8)
def test_what_it_wrote_before_it_was_killed_is_not_lost(host):
    with running(host) as process:
        more(host, 3)
        process.kill()
        process.wait()
    (left,) = (host / "samples").glob("*.jsonl")
    with left.open("ab") as file:
        file.write(b'{"t":17')
    (host / "samples" / "20260301T120000Z.jsonl.tmp").write_bytes(b"half")
    before = left.name
    with running(host) as process:
        wait_for(lambda: not left.exists())
        assert stop(process) == 0
    names = {path.name for path in (host / "samples").iterdir()}
    assert f"{before}.gz" in names
    assert not [name for name in names if name.endswith(".tmp")]
    assert len(rounds(host)) >= 2


def test_a_disk_that_is_full_ends_nothing(host):
    """A limit on the size of files is as near as a test comes to a full disk."""
    command = ["prlimit", "--fsize=700", sys.executable, PROGRAM, host / "samples", "--virsh", host / "virsh"]
    process = subprocess.Popen([*map(str, command), "--step-s", "1"], stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: len(list((host / "samples").glob("*.jsonl"))) > 1)
        process.terminate()
        _unused, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "samples cannot be kept" in said
    assert len(rounds(host)) >= 3


def test_a_folder_that_is_not_there_is_said(tmp_path):
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path / "none"], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, "samples cannot be kept" in done.stderr, done.stdout) == (1, True, "")


# --- from files to the store ------------------------------------------------------------------------------------------


def kept(folder, *, since, minutes, cores=0.5):
    """Write what a sampler keeps of one VM, a file for each five minutes."""
    service = load()
    folder.mkdir(parents=True, exist_ok=True)
    file = None
    for number in range(minutes * 6 + 1):
        moment_us = round(since.timestamp() * 1e6) + number * 10_000_000
        spent_ns = round((number * cores + 5 * ((number + 14) // 30)) * 1e10)  # ten busy seconds in five minutes
        one = service.Sample(moment_us, moment_us - 10**15, {UUID: (3, {"cpu.time": spent_ns + 10**14})})
        if number % 30 == 0 and file:
            file.write(one)
            file.close()
            service.seal(file.path)
            file = None
        file = file or service.File(folder, one, step_s=10)
        file.write(one)
    file.close()
    service.seal(file.path)


def stored(series, *, since, until):
    table = series.read(None, start=since, end=until, interval_s=300)
    return sorted(table.to_pylist(), key=lambda row: (row["unique_id"], row["ds"]))


def test_files_become_intervals_with_real_maxima_in_pieces_of_any_size(tmp_path, monkeypatch):
    since = NOW - timedelta(hours=1)
    kept(tmp_path / "samples/fake", since=since, minutes=60)
    found = []
    for pieces in (20_000, 7):
        monkeypatch.setattr(sampled_module, "PIECE_SAMPLES", pieces)
        series = SeriesStore(str(tmp_path / f"telemetry{pieces}"))
        result = read_samplers(str(tmp_path / "samples"), [ENDPOINT], series=series, now=NOW, history_s=3600)
        assert (result.rows, result.samples, result.gaps, result.tally.damaged) == (12, 361, [], 0)
        found.append(stored(series, since=since, until=NOW))
        again = read_samplers(str(tmp_path / "samples"), [ENDPOINT], series=series, now=NOW, history_s=600)
        assert again.rows == 2
        assert stored(series, since=since, until=NOW) == found[-1]
    assert found[0] == found[1]
    assert [(row["samples"], row["coverage_ppm"]) for row in found[0]] == [(30, 1_000_000)] * 12
    for row in found[0]:
        assert row["unique_id"] == f"fake/{UUID}"
        assert row["maximum"] > 5 * row["mean"] > 0


def test_what_is_wrong_with_one_endpoint_is_a_gap_of_it(tmp_path):
    kept(tmp_path / "samples/fake", since=NOW - timedelta(minutes=10), minutes=20)
    (tmp_path / "samples/stranger").mkdir()
    broken = tmp_path / "samples/east"
    broken.mkdir()
    (broken / "20260301T115500Z.jsonl.gz").write_bytes(b"\x1f\x8bnothing of the kind")
    endpoints = [ENDPOINT, Endpoint("east", "qemu:///system"), Endpoint("west", "qemu:///system")]
    series = SeriesStore(str(tmp_path / "telemetry"))
    result = read_samplers(str(tmp_path / "samples"), endpoints, series=series, now=NOW, history_s=3600)
    assert {(gap.endpoint, gap.code) for gap in result.gaps} == {
        ("stranger", "sampler.stranger"),
        ("east", "sampler.damaged"),
        ("west", "sampler.missing"),
    }
    assert (result.rows, result.late) == (2, 60)  # what says that it is later than now is left out


@pytest.mark.parametrize(
    ("options", "code"),
    [({"interval_s": 7}, "sampler.request"), ({"history_s": 60}, "sampler.request"), ({}, "sampler.folder")],
)
def test_what_cannot_be_read_is_refused(tmp_path, options, code):
    series = SeriesStore(str(tmp_path / "telemetry"))
    with pytest.raises(HeadroomError) as raised:
        read_samplers(str(tmp_path / "none"), [ENDPOINT], series=series, now=NOW, **{"history_s": 3600, **options})
    assert raised.value.code == code


# --- through Ansible --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the role said, then what fetching and collecting said, and the folders."""
    root = tmp_path_factory.mktemp("sampler")
    controller = Controller(root, Fleet(root / "fleet.json", vms=2))
    (root / "virsh").write_text(VIRSH)
    (root / "virsh").chmod(0o755)
    variables = controller.write(
        "sampler.yml",
        {
            "sampler_service": "none",
            "sampler_create_user": False,
            "sampler_user": getpass.getuser(),
            "sampler_folder": str(root / "host/samples"),
            "sampler_program": str(root / "host/lib/headroom_sampler.py"),
            "sampler_unit": str(root / "host/unit"),
            "sampler_python": sys.executable,
            "sampler_virsh": str(root / "virsh"),
            "headroom_hypervisors": "localhost",
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become": False,
        },
    )

    def role(*arguments):
        done = controller.run("ansible-playbook", "headroom.fleet.sampler", "-e", f"@{variables}", *arguments)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        there = sorted(path.name for path in (root / "host").rglob("*")) if (root / "host").exists() else []
        return done.stdout, there

    (root / "host").mkdir()
    said = {
        "check": role("--check", "--diff"),
        "install": role("--diff"),
        "again": role(),
        "command": (root / "host/lib/headroom_sampler.py").read_bytes(),
    }
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=40)
    kept(root / "host/samples", since=since, minutes=30)
    (root / "host/samples/20200101T000000Z.jsonl.gz").write_bytes(gzip.compress(b""))
    fetch = {"endpoint": "fake", "folder": str(root / "host/samples"), "dest": str(root / "fetched")}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    collect = {"sampler": "fetched"}
    once = {"run_once": True}
    fetching = {"hosts": "localhost", "vars": local, "tasks": [
        {"headroom.fleet.sampler_fetch": fetch, "register": "fetch_check", "check_mode": True},
        {"headroom.fleet.sampler_fetch": fetch, "register": "fetch"},
        {"headroom.fleet.sampler_fetch": fetch, "register": "fetch_again"},
        {"headroom.fleet.sampler_fetch": {**fetch, "folder": str(root / "none")}, "register": "fetch_none"},
        {"headroom.fleet.sampler_fetch": {"dest": "x"}, "register": "fetch_whose"},
    ]}  # fmt: skip
    collecting = {"hosts": "headroom_vms", "tasks": [
        {"headroom.fleet.telemetry_collect": collect, "register": "collect_check", "check_mode": True, **once},
        {"headroom.fleet.telemetry_collect": collect, "register": "collect", **once},
        {"headroom.fleet.telemetry_collect": collect, "register": "collect_again", **once},
    ]}  # fmt: skip
    found = controller.results(fetching, collecting)
    said["playbook"] = controller.run(
        "ansible-playbook", "headroom.fleet.samples", "-e", f"@{variables}", "-e", f"headroom_samples={root}/fetched",
        "-e", "headroom_endpoint=fake",
    )  # fmt: skip
    said["absent"] = role("-e", "sampler_state=absent", "-e", "sampler_remove_samples=true")
    said["absent_again"] = role("-e", "sampler_state=absent", "-e", "sampler_remove_samples=true")
    return said, {**found["localhost"], **found["vm0"]}, root, since


def test_the_role_installs_once_and_check_mode_installs_nothing(told):
    said, _found, _root, _since = told
    assert said["check"][1] == []
    assert "changed=0" not in said["check"][0]
    assert {"headroom_sampler.py", "samples"} <= set(said["install"][1])
    assert said["command"] == PROGRAM.read_bytes()
    assert "changed=0" in said["again"][0]
    assert "--step-s 10 --file-s 300 --keep-mib 512 --keep-days 14" in said["again"][0]


def test_the_role_removes_what_it_installed(told):
    said, _found, root, _since = told
    assert said["absent"][1] == ["lib"]
    assert "changed=0" in said["absent_again"][0]
    assert root.exists()


def test_files_are_fetched_once_and_nothing_of_them_is_in_a_variable(told):
    _said, found, root, _since = told
    assert found["fetch_check"]["files"] == found["fetch"]["files"] == 7
    assert (found["fetch_again"]["files"], found["fetch_again"]["bytes"]) == (0, 0)
    assert not [key for name in ("fetch", "fetch_check") for key in ("found", "content") if key in found[name]]
    assert [name for name in ("fetch", "fetch_check", "fetch_again") if found[name]["changed"]] == []
    assert "role headroom.fleet.sampler" in found["fetch_none"]["msg"]
    assert "which endpoint" in found["fetch_whose"]["msg"]
    assert len(list((root / "fetched/fake").iterdir())) == 7


def test_they_are_collected_with_real_maxima(told):
    said, found, root, since = told
    assert found["collect"]["rows"] == found["collect_check"]["rows"] == found["collect_again"]["rows"] > 5
    assert (found["collect"]["vms"], found["collect"]["files"], found["collect"]["gaps"]) == (1, 7, [])
    assert not found["collect"]["changed"]
    series = SeriesStore(str(root / "stores/telemetry"))
    rows = stored(series, since=since - timedelta(hours=1), until=since + timedelta(hours=1))
    assert len(rows) == found["collect"]["rows"]
    assert all(row["maximum"] > row["mean"] for row in rows if row["coverage_ppm"] == 1_000_000)
    assert said["playbook"].returncode == 0, said["playbook"].stdout[-3000:]


def test_its_unit_is_one_that_systemd_understands(tmp_path):
    render = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [
        {"ansible.builtin.include_vars": f"{PROGRAM.parents[1]}/{part}/main.yml"} for part in ("defaults", "vars")
    ]}  # fmt: skip
    template = {
        "src": f"{PROGRAM.parents[1]}/templates/headroom-sampler.service.j2",
        "dest": str(tmp_path / "headroom-sampler.service"),
    }
    render["tasks"].append({"ansible.builtin.template": template})
    (tmp_path / "fleet").mkdir()
    controller = Controller(tmp_path / "fleet", Fleet(tmp_path / "fleet.json", vms=1))
    here = (
        "-e",
        "sampler_user=root",
        "-e",
        f"sampler_python={sys.executable}",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
    )
    done = controller.run("ansible-playbook", controller.write("render.yml", [render]), *here)
    assert done.returncode == 0, done.stdout[-2000:]
    unit = Path(template["dest"]).read_text()
    assert (
        f"ExecStart={sys.executable} -I /usr/local/lib/headroom/headroom_sampler.py /var/lib/headroom-sampler --uri"
        in unit
    )
    for line in ("CapabilityBoundingSet=", "NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateNetwork=yes"):
        assert line in unit.splitlines()
    if shutil.which("systemd-analyze"):  # where it is not, nothing can read it
        checked = subprocess.run(
            ["systemd-analyze", "verify", template["dest"]], capture_output=True, text=True, check=False
        )
        complaints = [line for line in checked.stderr.splitlines() if "headroom-sampler" in line]
        assert complaints == []
