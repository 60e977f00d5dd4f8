# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin on synthetic fleets: processor seconds, how they grow, and a static inventory beside it.

"load" is the whole of ``ansible all --list-hosts``: what every command on the fleet pays before it does anything.
"list" is ``ansible-inventory --list``, which besides gathers and writes out the variables of each host, whatever
inventory they come from. The peer has the same hosts, groups and variables in a static YAML inventory, in its fastest
form: as JSON, which Ansible reads without its YAML parser. "bare" is a static list of as many hosts without any
variable, what Ansible itself takes. Exits 1 when the load of the largest fleet misses its target.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

SIZES = (1_000, 5_000, 20_000)
TARGET_VMS, TARGET_S = 20_000, 6
VMS_PER_HOST = 40
LISTING = ("ansible-inventory", "--list", "--output", os.devnull)
LOADING = ("ansible", "all", "--list-hosts")


def main() -> int:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vms", type=int, action="append", help="a fleet's size; may be given again")
    arguments = parser.parse_args()
    titles = ("VMs", "load CPU s", "growth", "list CPU s", "peer: load", "list", "bare: load", "list")
    print("  ".join(titles))
    met, last = True, 0.0
    for vms in arguments.vms or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            sources = write_fleet(root, vms), write_peer(root), write_bare(root, vms)
            load, *rest = [cpu_s(root, source, *command) for source in sources for command in (LOADING, LISTING)]
        growth = f"x{load / last:.1f}" if last else ""
        cells = (str(vms), f"{load:.1f}", growth, *(f"{seconds:.1f}" for seconds in rest))
        print("  ".join(cell.rjust(len(title)) for cell, title in zip(cells, titles, strict=True)), flush=True)
        met, last = met and (vms != TARGET_VMS or load <= TARGET_S), load
    print(f"target for {TARGET_VMS} VMs: a load of at most {TARGET_S} CPU s: {'met' if met else 'MISSED'}")
    return 0 if met else 1


def write_fleet(root: Path, vms: int) -> Path:
    """A fake fleet with tenants and modes, and the plugin's source for it."""
    fleet = {
        "hosts": [{"name": f"host{n}", "vcpus": 128, "memory_mib": 524_288} for n in range(-(-vms // VMS_PER_HOST))],
        "vms": {f"{n:08x}-0000-4000-8000-000000000000": _vm(n) for n in range(vms)},
    }
    (root / "fleet.json").write_text(json.dumps(fleet))
    source = root / "headroom.yml"
    endpoints = [{"name": "fake", "uri": f"fake://{root}/fleet.json"}]
    source.write_text(yaml.safe_dump({"plugin": "headroom.fleet.fleet", "endpoints": endpoints}))
    return source


def _vm(number: int) -> dict[str, Any]:
    return {
        "name": f"vm{number}",
        "host": f"host{number // VMS_PER_HOST}",
        "tenant": f"tenant{number % 50}",
        "owner": f"team{number % 200}",
        "mode": ("auto", "recommend", None)[number % 3],
        "power": "running" if number % 20 else "off",
        "fields": {"guest.vcpus": 2, "live.vcpus": 4, "live.memory_mib": 1024},
        "maxima": {"vcpus": 8, "memory_mib": 4096},
    }


def write_peer(root: Path) -> Path:
    """What the plugin made of the fleet, as a static inventory."""
    listed = root / "listed.json"
    run(root, root / "headroom.yml", "ansible-inventory", "--list", "--export", "--output", str(listed))
    found = json.loads(listed.read_bytes())
    of_host, groups = found.pop("_meta")["hostvars"], {}
    for name, group in found.items():
        if name not in ("all", "ungrouped"):
            groups[name] = {
                "hosts": dict.fromkeys(group.get("hosts", ())),
                "children": {child: {} for child in group.get("children", ())},
                "vars": group.get("vars", {}),
            }
    source = root / "peer.yml"
    source.write_text(json.dumps({"all": {"hosts": of_host, "children": groups}}))
    return source


def write_bare(root: Path, hosts: int) -> Path:
    """As many hosts, and nothing else."""
    source = root / "bare.yml"
    source.write_text(json.dumps({"all": {"hosts": {f"vm{n}": None for n in range(hosts)}}}))
    return source


def cpu_s(root: Path, source: Path, *command: str) -> float:
    """Processor seconds of a command on an inventory, its children's too."""
    before = os.times()
    run(root, source, *command)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def run(root: Path, source: Path, command: str, *options: str) -> None:
    """Run one of ansible's commands."""
    words = [Path(sys.executable).with_name(command), "-i", source, *options]
    environment = {**os.environ, "HOME": str(root), "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1"}
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
