# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The named fields and the digest of all that is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import fields
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.description import Agent, parse
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.vcpus import effective_vcpus

from .libvirt_domains import domain_xml, powered_off, running


def test_every_field_has_its_own_source() -> None:
    seen = running(vcpus=3, online=1, config={"vcpus": 2, "current_memory": 300 * 1024}, current_memory=280 * 1024)
    found = fields.read_fields(seen)
    assert found == {
        "config.vcpus": 2,
        "live.vcpus": 3,
        "guest.vcpus": 1,
        "config.memory_mib": 300,
        "live.memory_mib": 280,
        "config.maximum_vcpus": 4,
        "config.maximum_memory_mib": 512,
        "live.memory_stats_period_s": 5,
        "config.memory_stats_period_s": 5,
        "live.cpu_limit_millicores": 0,
        "config.cpu_limit_millicores": 0,
    }
    assert (effective_vcpus(found), fields.effective_memory_mib(found)) == (1, 280)


def test_what_cannot_be_read_is_absent() -> None:
    silent = fields.read_fields(running(vcpus=3, config={"vcpus": 2}, agent=Agent("agent.silent", "no answer")))
    assert "guest.vcpus" not in silent
    assert effective_vcpus(silent) == 3
    off = fields.read_fields(powered_off(vcpus=2))
    assert {name.partition(".")[0] for name in off} == {"config"}
    assert (off["config.vcpus"], off["config.memory_mib"]) == (2, 256)
    assert (effective_vcpus(off), fields.effective_memory_mib(off)) == (2, 256)


def test_an_absent_current_is_the_maximum() -> None:
    whole = domain_xml(vcpus=4)
    assert "current=" not in whole
    assert fields.read_fields(powered_off(vcpus=4))["config.vcpus"] == 4
    without = whole.replace("<currentMemory unit='KiB'>262144</currentMemory>", "")
    assert without != whole
    assert fields.read_fields(replace(powered_off(), inactive=parse(without)))["config.memory_mib"] == 512


def test_broken_figures_are_an_error_and_not_a_field_less() -> None:
    broken = parse(domain_xml(vcpus=2).replace("current='2'", "current='two'"))
    with pytest.raises(HeadroomError) as error:
        fields.read_fields(replace(powered_off(), inactive=broken))
    assert error.value.code == "vm.unreadable"


@pytest.mark.safety(rule=6)
def test_the_generation_leaves_out_our_fields_and_nothing_else() -> None:
    def of(text: str) -> str:
        return fields.generation(replace(powered_off(), inactive=parse(text)))

    text = domain_xml(vcpus=2)
    first = of(text)
    assert first.startswith("sha256:")
    same = {
        "another vCPU count": domain_xml(vcpus=1),
        "an absent current": domain_xml(vcpus=4),
        "another balloon": domain_xml(vcpus=2, current_memory=300 * 1024),
        "no balloon target": text.replace("<currentMemory unit='KiB'>262144</currentMemory>", ""),
        "more vCPUs at most": text.replace(">4</vcpu>", ">5</vcpu>"),
        "more memory at most": domain_xml(vcpus=2, memory=513 * 1024),
        "another period": text.replace("period='5'", "period='6'"),
        "no period": text.replace("<stats period='5'/>", ""),
        "a CPU limit": domain_xml(vcpus=2, more="<cputune><global_quota>50000</global_quota></cputune>"),
        "other white space": text.replace(">\n", ">\n\n   "),
        "attributes in another order": text.replace(
            "arch='x86_64' machine='pc-q35-7.2'", "machine='pc-q35-7.2' arch='x86_64'"
        ),
        "a comment": text.replace("<devices>", "<!-- by hand --><devices>"),
    }
    other = {
        "a CPU limit of another kind": domain_xml(vcpus=2, more="<cputune><quota>50000</quota></cputune>"),
        "shares where there were none": domain_xml(vcpus=2, more="<cputune><shares>1024</shares></cputune>"),
        "another placement": text.replace("placement='static'", "placement='auto'"),
        "a device more": domain_xml(vcpus=2, devices="<rng model='virtio'/>"),
        "another tag": domain_xml(vcpus=2, metadata="<x:y xmlns:x='urn:x'/>"),
        "another name": text.replace("web1", "web2"),
    }
    assert {what: of(variant) == first for what, variant in same.items()} == dict.fromkeys(same, True)
    assert {what: of(variant) == first for what, variant in other.items()} == dict.fromkeys(other, False)
    assert all(variant != text for variant in (*same.values(), *other.values()))


@pytest.mark.safety(rule=6)
def test_the_generation_tells_whether_the_vm_runs() -> None:
    seen = running(vcpus=2)
    assert fields.generation(replace(seen, power="off", live=None)) != fields.generation(seen)


def test_taking_the_generation_leaves_the_description_whole() -> None:
    seen = running(vcpus=2)
    before = fields.read_fields(seen)
    fields.generation(seen)
    assert fields.read_fields(seen) == before


def test_every_row_stands_once_and_every_definition_field_is_masked() -> None:
    assert len(fields.FIELD_BY_NAME) == len(fields.FIELDS)
    assert len(fields.FAMILY_BY_NAME) == len(fields.FAMILIES)
    rows = (*fields.FIELDS, *fields.FAMILIES)
    assert [row.name for row in rows if row.name.startswith("config.") and row.mask is None] == []
