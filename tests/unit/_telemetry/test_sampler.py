# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sampler on a hypervisor writes, and what is read back of it."""

from __future__ import annotations

import gzip
import io
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.telemetry import read_samples
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry import sampler as module
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.intervals import intervals
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.rates import rates
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.sampler import (
    SamplerReader,
    Tally,
    files_in,
    folder_of,
)
from tests.tooling.sampler import load

service = load()

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
START_US = round(START.timestamp()) * 1_000_000
ENDPOINT = Endpoint("east", "qemu:///system")
UUID = "2e7b2b1e-0c9b-4a26-9c0a-0d5a1f1e7a11"
OTHER = "2e7b2b1e-0c9b-4a26-9c0a-0d5a1f1e7a12"
# As virsh 9.0 prints it; the name of the VM is a hard one.
TOLD = f"""\
{UUID} 7 it's 9 a.m.
{OTHER} 8 idle

Domain: 'it's 9 a.m.'
  cpu.time=8088960000
  cpu.user=1230000000
  balloon.current=262144
  balloon.maximum=524288
  balloon.available=240000
  balloon.usable=140000
  balloon.rss=300000
  balloon.last-update={START_US // 1_000_000 + 3}
  balloon.swap_in=3
  balloon.swap_out=4
  balloon.major_fault=55
  vcpu.current=2
  vcpu.0.state=1
  vcpu.0.time=4000000000
  vcpu.0.delay=5
  vcpu.0.wait=900
  vcpu.0.halted=no
  net.count=1
  net.0.name=vnet0
  net.0.rx.bytes=100
  net.0.rx.pkts=1
  net.0.tx.bytes=18446744073709551615
  block.count=1
  block.0.name=vda
  block.0.path=/secret/of/nobody.qcow2
  block.0.rd.reqs=10
  block.0.rd.bytes=4096
  block.0.wr.reqs=20
  block.0.wr.bytes=8192

Domain: 'idle'

Domain: 'begun since the list was made'
  cpu.time=1
"""


def sample(at_s, vms, *, boot_s=None):
    """All VMs at so many seconds after START; ``vms``: UUID -> running number, statistics."""
    boot_us = round((at_s if boot_s is None else boot_s) * 1e6) + 1_000_000
    return service.Sample(START_US + round(at_s * 1e6), boot_us, vms)


def of(cpu_ns, *, boot=7, **rest):
    return {UUID: (boot, {"cpu.time": cpu_ns, **rest})}


def written(folder, *samples, step_s=10):
    file = service.File(folder, samples[0], step_s=step_s)
    for one in samples:
        file.write(one)
    file.close()
    return file.path


def read(*paths, tally=None):
    reader = SamplerReader(tally or Tally())
    return [one for path in paths for one in reader.read(io.BytesIO(path.read_bytes()))]


def steps(rounds):
    samples = [
        one
        for found in rounds
        for uuid, boot, stats in found.vms
        for one in read_samples(ENDPOINT, uuid, boot=f"{boot}/{found.stretch}", stats=stats, taken_at=found.taken_at)
    ]
    return rates(samples, step_s=10)


def cpu(rounds):
    """Start and end in seconds after START, and rate, of each step of CPU time."""
    found = steps(rounds)
    metric = found.metrics.index("cpu_millicores")
    return [
        ((start - START_US) / 1e6, (end - START_US) / 1e6, value)
        for which, start, end, value in zip(found.metric, found.start_us, found.end_us, found.value, strict=True)
        if which == metric
    ]


def test_of_virshs_words_it_keeps_all_that_samples_are_made_of_and_nothing_else(tmp_path):
    vms = service.parse(TOLD)
    assert list(vms) == [UUID]
    boot, stats = vms[UUID]
    assert boot == 7
    assert not [key for key in stats if "path" in key or "state" in key or "pkts" in key or key == "net.0.tx.bytes"]
    everything = {}
    for line in TOLD.splitlines():
        key, found, value = line.strip().partition("=")
        if found and key != "net.0.tx.bytes":
            everything[key] = int(value) if value.isdecimal() else value
    everything["cpu.time"] = 8_088_960_000  # the last VM has one too
    (back,) = read(written(tmp_path, sample(4, vms)))
    kept = {"taken_at": START + timedelta(seconds=4)}
    assert back.taken_at == kept["taken_at"]
    assert back.vms == ((UUID, 7, stats),)
    ours = read_samples(ENDPOINT, UUID, boot=7, stats=stats, taken_at=back.taken_at)
    assert ours == read_samples(ENDPOINT, UUID, boot=7, stats=everything, taken_at=back.taken_at)
    assert len(ours) == 2  # the host's and the balloon's
    assert "cpu_delay_millicores" in ours[0].counters


def test_ten_seconds_of_work_are_the_maximum_of_their_interval(tmp_path):
    busy_s = [10 if second in {100, 110} else 1 for second in range(0, 301, 10)]
    totals = [sum(busy_s[:count]) for count in range(31)]
    path = written(tmp_path, *(sample(10 * n, of(total * 10**9)) for n, total in enumerate(totals)))
    service.seal(path)
    (row,) = intervals(steps(read(service.whole(path))), interval_s=300).to_pylist()
    assert (row["mean"], row["maximum"], row["samples"], row["coverage_ppm"]) == (160.0, 1000.0, 30, 1_000_000)
    assert row["p95"] == 1000.0


def test_files_go_on_from_one_another_and_the_sample_between_them_counts_once(tmp_path):
    numbers = [of(n * 10**9) for n in range(5)]
    samples = [sample(10 * n, one) for n, one in enumerate(numbers)]
    paths = [written(tmp_path, *samples[:3]), written(tmp_path, *samples[2:])]
    assert cpu(read(*paths)) == [(10.0 * n, 10.0 * n + 10, 100.0) for n in range(4)]


@pytest.mark.parametrize(
    ("third", "why"),
    [
        (sample(20, of(10**9, boot=9)), "it began anew"),
        (sample(20, of(5)), "its counter fell"),
        (sample(3600, of(3 * 10**9), boot_s=20), "the clock was set"),
        (sample(5, of(3 * 10**9), boot_s=20), "the clock was set back"),
        (sample(20.5, of(3 * 10**9), boot_s=20), "the clock was set a little"),
        (sample(20, of(3 * 10**9), boot_s=2), "the host began anew"),
        (sample(50, of(3 * 10**9)), "samples are missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_a_rate_is_none(tmp_path, third, why):
    after = sample((third.wall_us - START_US) / 1e6 + 10, of(10**10, boot=third.vms[UUID][0]))
    after = service.Sample(after.wall_us, third.boot_us + 10_000_000, after.vms)
    found = cpu(read(written(tmp_path, sample(0, of(0)), sample(10, of(10**9)), third, after)))
    assert len(found) == 2, why
    assert found[0] == (0.0, 10.0, 100.0)
    assert found[1][0] == (third.wall_us - START_US) / 1e6


def test_a_clock_that_is_slewed_is_no_jump(tmp_path):
    samples = [sample(10.005 * n, of(n * 10**9), boot_s=10 * n) for n in range(4)]
    assert len(cpu(read(written(tmp_path, *samples)))) == 3


def test_two_lost_samples_are_bridged(tmp_path):
    assert cpu(read(written(tmp_path, sample(0, of(0)), sample(30, of(3 * 10**9))))) == [(0.0, 30.0, 100.0)]


def test_a_device_that_comes_leaves_a_gap_of_its_metric_alone(tmp_path):
    disk = {"block.count": 1, "block.0.name": "vda", "block.0.rd.bytes": 5}
    both = {**disk, "block.count": 2, "block.1.name": "vdb", "block.1.rd.bytes": 99}
    path = written(tmp_path, sample(0, of(0, **disk)), sample(10, of(10**9, **both)), sample(20, of(2 * 10**9, **both)))
    found = steps(read(path))
    count = {metric: int((found.metric == n).sum()) for n, metric in enumerate(found.metrics)}
    assert (count["cpu_millicores"], count["disk_read_bytes_per_s"]) == (2, 1)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_last_line_that_was_not_finished_is_no_fault(tmp_path, sealed):
    path = written(tmp_path, *(sample(10 * n, of(n * 10**9)) for n in range(4)))
    path.write_bytes(path.read_bytes()[:-9])
    if sealed:
        service.seal(path)
        path = service.whole(path)
    tally = Tally()
    assert len(read(path, tally=tally)) == 3
    assert (tally.files, tally.damaged) == (1, 0)


def test_after_damage_the_rest_of_its_file_is_unknown_and_the_next_file_is_read(tmp_path):
    samples = [sample(10 * n, of(n * 10**9)) for n in range(6)]
    paths = [written(tmp_path, *samples[:4]), written(tmp_path, *samples[3:])]
    lines = paths[0].read_bytes().splitlines(keepends=True)
    paths[0].write_bytes(b"".join([*lines[:4], b"\0\0\0\n", *lines[4:]]))
    tally = Tally()
    assert cpu(read(*paths, tally=tally)) == [
        (0.0, 10.0, 100.0),
        (10.0, 30.0, 100.0),
        (30.0, 40.0, 100.0),
        (40.0, 50.0, 100.0),
    ]
    assert (tally.files, tally.damaged) == (2, 1)


HEAD = {"headroom_samples": 1, "step_s": 10}
OF_VM = {"vm": 0, "uuid": UUID, "boot": 1, "names": {}, "keys": ["cpu.time"]}
ROUND = {"t": START_US, "m": 5, "v": {"0": [1]}}


@pytest.mark.parametrize(
    "lines",
    [
        [ROUND],
        [{**HEAD, "headroom_samples": 2}],
        [{**HEAD, "step_s": 0}],
        [{**HEAD, "step_s": True}],
        [HEAD, {**OF_VM, "vm": 1}],
        [HEAD, {**OF_VM, "uuid": "../../etc"}],
        [HEAD, {**OF_VM, "keys": ["a", "a"]}],
        [HEAD, {**OF_VM, "keys": [1]}],
        [HEAD, {**OF_VM, "keys": ["x"] * 20_000}],
        [HEAD, {**OF_VM, "boot": 2.5}],
        [HEAD, OF_VM, {**ROUND, "v": {"1": [1]}}],
        [HEAD, OF_VM, {**ROUND, "v": {"-0": [1]}}],
        [HEAD, OF_VM, {**ROUND, "v": {"0": [1, 2]}}],
        [HEAD, OF_VM, {**ROUND, "v": {"0": [1.5]}}],
        [HEAD, OF_VM, {**ROUND, "v": {"0": [-1]}}],
        [HEAD, OF_VM, {**ROUND, "v": {"0": [2**63]}}],
        [HEAD, OF_VM, {**ROUND, "t": 5}],
        [HEAD, OF_VM, {**ROUND, "t": 10**30}],
        [HEAD, OF_VM, {**ROUND, "m": -1}],
        [[1]],
        [HEAD, 7],
    ],
)
def test_what_no_sampler_writes_is_damage(lines):
    tally = Tally()
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    assert list(SamplerReader(tally).read(io.BytesIO(data))) == []
    assert tally.damaged == 1


def test_a_small_file_that_grows_without_end_is_damage(monkeypatch):
    monkeypatch.setattr(module, "MOST_LINE_BYTES", 1000)
    monkeypatch.setattr(module, "MOST_BYTES", 5000)
    head = json.dumps(HEAD).encode() + b"\n"
    for more in (b" " * 10_000, head * 1000):
        tally = Tally()
        list(SamplerReader(tally).read(io.BytesIO(gzip.compress(head + more))))
        assert tally.damaged == 1


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def files(draw):
    """Bytes like those of a sampler, with some of them exchanged for anything."""
    lines = [dict(HEAD), dict(OF_VM), *(dict(ROUND, m=n) for n in range(1, 4))]
    for line in draw(st.lists(st.sampled_from(lines), max_size=2)):
        line[draw(st.sampled_from(sorted(line)))] = draw(values)
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    if draw(st.booleans()):
        data = gzip.compress(data, mtime=0)
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.binary(max_size=8)) + data[at + draw(st.integers(0, 8)) :]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | files())
def test_whatever_a_file_holds_it_is_read_or_damaged(data):
    tally = Tally()
    rounds = list(SamplerReader(tally).read(io.BytesIO(data)))
    assert tally.damaged <= tally.files == 1
    steps(rounds)  # and nothing of it breaks what follows


def test_folders_of_endpoints_are_below_their_parent():
    names = ["rack1", "..", ".", "a/b", "../x", "ä b", "a%2Fb"]
    found = [folder_of(name) for name in names]
    assert len(set(found)) == len(names)
    assert found[0] == "rack1"
    assert not [name for name in found if "/" in name or name.startswith(".")]


def test_files_since_a_time_are_given_in_order(tmp_path):
    for name in ("20260301T120500Z.jsonl", "20260301T120000Z.jsonl.gz", "20260301T115500Z.jsonl.gz", "lock", "x.jsonl"):
        (tmp_path / name).touch()
    assert [path.name[9:13] for path in files_in(tmp_path, since=START)] == ["1200", "1205"]


# --- the files themselves ---------------------------------------------------------------------------------------------


def test_the_oldest_files_go_first(tmp_path):
    for minute in range(6):
        (tmp_path / f"20260301T12{minute:02}00Z.jsonl.gz").write_bytes(b"x" * 100)
    (tmp_path / "20250101T000000Z.jsonl.gz").touch()
    (tmp_path / "mine").write_bytes(b"x" * 10_000)
    service.trim(tmp_path, most_bytes=350, oldest_s=START_US / 1e6)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"20260301T12{minute:02}00Z.jsonl.gz" for minute in (3, 4, 5)),
        "mine",
    ]
    service.trim(tmp_path, most_bytes=1000, oldest_s=START_US / 1e6 + 300)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_of_that_name_is_never_written_over(tmp_path):
    path = written(tmp_path, sample(0, of(0)))
    with pytest.raises(FileExistsError):
        service.File(tmp_path, sample(0.5, of(0)), step_s=10)
    service.seal(path)
    before = service.whole(path).read_bytes()
    with pytest.raises(FileExistsError):
        service.File(tmp_path, sample(0.5, of(0)), step_s=10)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [before]


def test_a_name_is_the_time_of_the_first_sample(tmp_path):
    path = written(tmp_path, sample(3.7, of(0)))
    assert path.name == "20260301T120003Z.jsonl"
    assert time.strftime(module.NAME, time.gmtime(START_US // 1_000_000 + 3)) in path.name


def test_an_empty_file_that_a_crash_left_is_removed(tmp_path):
    path = tmp_path / "20260301T120000Z.jsonl"
    path.write_bytes(b'{"headroom_sa')
    service.seal(path)
    assert list(tmp_path.iterdir()) == []
