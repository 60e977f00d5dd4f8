# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of a schedule name what there is, and what reads them understands them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._report.metrics import LAST_SUCCESS

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLES = CHECKOUT / "docs/examples/schedule"


@pytest.mark.parametrize(
    "name", ["headroom-cycle.service", "headroom-guard.service", "headroom-train.service", "headroom.cron"]
)
def test_the_command_names_what_there_is(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    playbooks = re.findall(r"ansible-playbook headroom\.fleet\.(\w+)", text)
    assert playbooks
    assert all((CHECKOUT / f"playbooks/{playbook}.yml").exists() for playbook in playbooks)
    specs = "".join(path.read_text(encoding="utf-8") for path in CHECKOUT.glob("roles/*/meta/argument_specs.yml"))
    for variable in re.findall(r"-e (\w+)=", text):
        assert f"\n      {variable}:\n" in specs


def test_the_timers_and_the_services_are_understood(tmp_path: Path) -> None:
    """By systemd itself where it is installed; the program is put where the unit says it is."""
    for path in [*EXAMPLES.glob("*.service"), *EXAMPLES.glob("*.timer")]:
        text = path.read_text(encoding="utf-8").replace("/opt/headroom/bin/ansible-playbook", shutil.which("true"))
        (tmp_path / path.name).write_text(re.sub(r"(?m)^User=.*$", "User=root", text), encoding="utf-8")
    verify = shutil.which("systemd-analyze")
    if verify:
        units = sorted(tmp_path.iterdir())
        done = subprocess.run([verify, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
        assert "headroom" not in done.stderr, done.stderr
    assert all("OnCalendar=" in path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.timer"))


def test_the_alert_is_about_a_metric_of_the_report() -> None:
    alerts = EXAMPLES / "headroom-alerts.yml"
    assert LAST_SUCCESS in alerts.read_text(encoding="utf-8")
    done = subprocess.run(["promtool", "check", "rules", alerts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
