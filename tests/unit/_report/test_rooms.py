# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import decode_artifact, encode_artifact
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import Forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.host import Host
from ansible_collections.headroom.fleet.plugins.module_utils._records.hostset import (
    FULL,
    GROWING,
    HOST,
    HOST_SET,
    NEVER,
    Growth,
    usable,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import Capability
from ansible_collections.headroom.fleet.plugins.module_utils._report.markup import visible
from ansible_collections.headroom.fleet.plugins.module_utils._report.page import page
from ansible_collections.headroom.fleet.plugins.module_utils._report.rooms import advice, rooms
from ansible_collections.headroom.fleet.plugins.module_utils._report.view import build_view

from .samples import joint, plan, small, vm


def host(name, *, vcpus=8, ratio=4_000_000):
    return Host(f"lab/{name}", "lab", name, "lab", vcpus, 0, ratio, 16384, 0, 1_000_000)


def of(*hosts, places=None, **values):
    """The small run on these hosts."""
    facts = small()
    places = places or tuple(joint(kind, place) for kind, place in ((HOST, hosts[0].host_id), (HOST_SET, "lab")))
    return replace(
        facts,
        snapshot=replace(facts.snapshot, hosts=hosts, **values),
        forecast=replace(facts.forecast, places=places),
        plan=plan(()),
    )


def test_what_is_promised_twice_is_not_there_twice():
    assert usable([host("a")], "vcpus") == 8000
    assert usable([host("a", ratio=500_000)], "vcpus") == 4000
    assert usable([host("a"), host("b", vcpus=16)], "vcpus", lost=1) == 8000
    assert usable([host("a")], "memory_mib") == 16384
    assert usable([], "vcpus") == 0


def test_a_host_set_keeps_the_room_of_its_largest_host():
    found = {one.joint.kind: one for one in rooms(of(host("a"), host("b"), host("c", vcpus=16)))}
    assert (found[HOST_SET].usable, found[HOST_SET].lost) == (16_000, 1)
    assert (found[HOST_SET].expected, found[HOST_SET].level) == (5000, "0.95")
    assert found[HOST_SET].left == 11_000
    assert (found[HOST].usable, found[HOST].lost, found[HOST].name) == (8000, 0, "a")


def test_days_until_full_are_those_of_what_is_usable():
    found = {one.joint.kind: one for one in rooms(of(host("a"), host("b")))}
    ends = found[HOST_SET].outlook
    assert (ends.state, ends.days, ends.earliest, ends.latest) == (GROWING, 30, 12, 62)


@pytest.mark.parametrize(
    ("growth", "what", "by"),
    [
        (Growth(27, (50_000, 100_000, 200_000), (4900, 5000, 5100)), "Add 1 host", "2026-03-13"),
        (Growth(27, (350_000, 400_000, 450_000), (4900, 5000, 5100)), "Add 5 hosts", "2026-03-07"),
        (Growth(27, (0, 0, 0), (9000, 9000, 9000)), "Add 1 host", ""),
    ],
)
def test_a_host_set_that_runs_full_wants_hosts(growth, what, by):
    facts = of(host("a"), host("b"), places=(joint(HOST_SET, "lab", growth=growth),))
    (one,) = advice(facts, rooms(facts))
    assert one.what.startswith(f"{what} to host set lab")
    assert one.by[:10] == by


@pytest.mark.parametrize("growth", [None, Growth(27, (-1000, 0, 1000), (5000, 5000, 5000))])
def test_a_host_set_that_does_not_grow_wants_none(growth):
    facts = of(host("a"), host("b"), places=(joint(HOST_SET, "lab", growth=growth),))
    assert advice(facts, rooms(facts)) == ()
    assert growth is None or rooms(facts)[0].outlook.state == NEVER


def test_a_full_host_in_a_set_with_room_wants_fewer_vms():
    places = (joint(HOST, "lab/a", quantiles=(1, 2, 9000, 9000)), joint(HOST_SET, "lab", growth=None))
    facts = of(host("a"), host("b"), host("c"), places=places)
    (one,) = advice(facts, rooms(facts))
    assert one.what == "Move VMs from a to other hosts of lab"


def test_a_vm_at_its_maximum_wants_instances():
    way = Capability("vcpus.hotplug", "vcpus", "grow", allowed=True, minimum=1, maximum=4)
    stopped = replace(way, allowed=False, code="vm.locked")
    at_most = replace(way, allowed=False, code="vcpus.at_maximum")

    def told(*ways, wanted):
        (decision,) = [one for one in small().plan.decisions if one.unique_id == "lab/web2" and one.resource == "vcpus"]
        facts = of(host("a"), host("b"), vms=(vm("web2", vcpus=2, capabilities=ways),), places=(joint(HOST_SET, "no"),))
        facts = replace(facts, plan=plan((), (replace(decision, size_now=2, size_wanted=wanted),)))
        return [one.what for one in advice(facts, rooms(facts))]

    assert told(way, wanted=4) == []
    assert told(way, wanted=9) == ["web2: spread its work over 3 instances, or raise its maximum"]
    assert told(at_most, wanted=4) == ["web2: spread its work over 2 instances, or raise its maximum"]
    assert told(stopped, wanted=9) == []  # what stands in its way is no maximum


def test_the_page_shows_room_and_advice():
    html = page(build_view(of(host("a"), host("b"))))
    assert "Add 1 host to host set lab" in html
    assert "30 d (12 to 62)" in html
    assert "3.00 vCPU (38 %)" in html  # 8 less 5
    full = of(host("a"), host("b"), places=(joint(HOST_SET, "lab", growth=Growth(27, (0, 0, 0), (9000,) * 3)),))
    assert rooms(full)[0].outlook.state == FULL
    assert "full now" in page(build_view(full))
    assert "unknown" in page(build_view(of(host("a"), places=(joint(HOST_SET, "lab", growth=None, peaks=()),))))


def test_names_are_text():
    evil = "<script>alert(1)</script>"
    facts = of(replace(host("a"), host_set=evil), places=(joint(HOST_SET, evil),))
    assert evil not in page(build_view(facts))
    assert visible(evil)


def test_a_forecast_with_places_is_read_back_and_one_without_them_too():
    made = small().forecast
    data = encode_artifact(made)
    assert decode_artifact(Forecast, data) == made
    del data["places"]
    assert decode_artifact(Forecast, data).places == ()
