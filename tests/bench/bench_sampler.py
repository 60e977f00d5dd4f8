# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time and disk that the sampler takes on a hypervisor, and what it costs to store its files.

python tests/bench/bench_sampler.py [VMs ...]

Each VM has two vCPUs, a disk and an interface, and is busy. What virsh prints is made up; virsh, libvirtd and QEMU
themselves are not counted.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
STEP_S, ROUNDS, DAY_S = 10, 30, 86_400
RISES = {  # of one VM in a step, at most
    "cpu.time": 20_000_000_000,
    "vcpu.0.delay": 10_000_000,
    "vcpu.0.wait": 1_000_000,
    "vcpu.1.delay": 10_000_000,
    "vcpu.1.wait": 1_000_000,
    "net.0.rx.bytes": 1_000_000,
    "net.0.tx.bytes": 1_000_000,
    "block.0.rd.reqs": 100,
    "block.0.rd.bytes": 1_000_000,
    "block.0.wr.reqs": 100,
    "block.0.wr.bytes": 1_000_000,
    "balloon.swap_in": 1,
    "balloon.swap_out": 1,
    "balloon.major_fault": 10,
    "balloon.rss": 1000,
    "balloon.usable": 1000,
}
STILL = {
    "net.count": "1",
    "net.0.name": "vnet0",
    "block.count": "1",
    "block.0.name": "vda",
    "balloon.current": "4194304",
    "balloon.available": "4000000",
    **{f"block.0.other{number}": "5" for number in range(30)},  # what virsh prints beside
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("vms", nargs="*", type=int, default=[50, 500])
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        namespace = Path(scratch, "ansible_collections/headroom")
        namespace.mkdir(parents=True)
        (namespace / "fleet").symlink_to(CHECKOUT)
        sys.path[:0] = [scratch, str(CHECKOUT)]
        for vms in chosen.vms:
            measure(vms, Path(scratch, str(vms)))


def measure(vms: int, root: Path) -> None:
    from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sampled import read_samplers
    from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint
    from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
    from tests.tooling.sampler import load

    service = load()
    folder = root / "samples/bench"
    folder.mkdir(parents=True)
    rng = random.Random(1)  # noqa: S311 - not a secret
    counts = [{key: rng.randrange(10**12) for key in RISES} for _unused in range(vms)]
    spent, file = 0.0, None
    for number in range(ROUNDS + 1):
        at_us = round(BEGIN.timestamp() + number * STEP_S) * 1_000_000
        text = told(counts, rng, at_s=at_us // 1_000_000)
        begin = time.process_time()
        sample = service.Sample(at_us, at_us, service.parse(text))
        file = file or service.File(folder, sample, step_s=STEP_S)
        file.write(sample)
        spent += time.process_time() - begin
    begin = time.process_time()
    file.close()
    live = file.size
    service.seal(file.path)
    sealing = time.process_time() - begin
    size = service.whole(file.path).stat().st_size
    a_day = DAY_S / STEP_S / ROUNDS
    print(
        f"sampler {vms:,} VMs: {1000 * spent / (ROUNDS + 1):.1f} ms of CPU a step, {1000 * sealing:.0f} ms a file of"
        f" {live / 2**20:.1f} MiB: {100 * (spent + sealing) / (ROUNDS * STEP_S):.2f} % of one core;"
        f" {size * a_day / 2**20:.0f} MiB a day"
    )
    begin = time.process_time()
    found = read_samplers(
        str(root / "samples"),
        [Endpoint("bench", "qemu:///system")],
        series=SeriesStore(str(root / "telemetry")),
        now=datetime.fromtimestamp(BEGIN.timestamp() + DAY_S, UTC),
        history_s=DAY_S,
    )
    reading = time.process_time() - begin
    print(
        f"reading {vms:,} VMs x 5 minutes: {found.rows:,} rows in {reading:.2f} CPU-s,"
        f" {1e6 * reading / found.samples:.0f} us a sample"
    )


def told(counts: list[dict[str, int]], rng: random.Random, *, at_s: int) -> str:
    lines = [f"{vm:08x}-0000-4000-8000-000000000000 {vm + 1} vm{vm}" for vm in range(len(counts))]
    for vm, count in enumerate(counts):
        for key, most in RISES.items():
            count[key] += rng.randrange(most)
        stats = {**STILL, **count, "balloon.last-update": at_s, "balloon.usable": count["balloon.usable"] % 4_000_000}
        lines += ["", f"Domain: 'vm{vm}'", *(f"  {key}={value}" for key, value in stats.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
