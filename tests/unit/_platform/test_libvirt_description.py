# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading XML that may be hostile, and the VM's own tag."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import description

from .libvirt_domains import running

TAG = "<headroom:vm xmlns:headroom='https://headroom.fleet/xmlns/vm/{version}' {attributes}/>"
BOMB = "<!DOCTYPE domain [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]><domain><name>&b;</name></domain>"


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>",
        "<domain><name>&undefined;</name></domain>",
        "<domain>" * (description.MAX_DEPTH + 1) + "</domain>" * (description.MAX_DEPTH + 1),
        "<domain>" + " " * description.MAX_CHARACTERS + "</domain>",
        "<domain><name></domain>",
        "",
    ],
)
def test_what_is_not_plain_bounded_xml_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as error:
        description.parse(text)
    assert error.value.code == "vm.unreadable"


def test_a_document_of_the_greatest_depth_is_read() -> None:
    depth = description.MAX_DEPTH
    assert description.parse("<domain>" * depth + "</domain>" * depth).tag == "domain"


@pytest.mark.parametrize(
    "text", ["<d><m unit='MiB'>4</m></d>", "<d><m>four</m></d>", "<d><m>-4</m></d>", "<d><m/></d>"]
)
def test_a_size_that_is_no_number_of_kib_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as error:
        description.kib(description.parse(text), "m")
    assert error.value.code == "vm.unreadable"


def tagged(*attributes: str, version: str = "1") -> description.Description:
    metadata = "".join(TAG.format(attributes=each, version=version) for each in attributes)
    made: description.Description = running(metadata=metadata)
    return made


def test_a_tag_is_read() -> None:
    tag = description.read_tag(tagged("tenant='blue' owner='ann' mode='approve' host_set='east'"))
    assert tag == description.Tag("blue", "ann", "approve", "east")


def test_no_tag_and_no_mode_say_nothing() -> None:
    assert description.read_tag(running()).mode is None
    assert description.read_tag(tagged("tenant='blue'")) == description.Tag("blue")


@pytest.mark.safety(rule=9)
@pytest.mark.parametrize("mode", ["off", "false", "False", "no", "", "AUTO", "auto ", "automatic", "1"])
def test_a_mode_that_is_none_makes_the_vm_ignored_with_a_warning(mode: str) -> None:
    tag = description.read_tag(tagged(f"tenant='blue' mode='{mode}'"))
    assert (tag.mode, tag.tenant) == ("ignore", "blue")
    assert "web1 is ignored" in tag.warnings[0]


@pytest.mark.safety(rule=9)
@pytest.mark.parametrize(
    ("attributes", "version"),
    [
        (("modus='ignore'",), "1"),
        (("mode='auto'", "mode='recommend'"), "1"),
        (("mode='auto'",), "2"),
    ],
)
def test_a_tag_that_cannot_be_understood_makes_the_vm_ignored(attributes: tuple[str, ...], version: str) -> None:
    tag = description.read_tag(tagged(*attributes, version=version))
    assert tag.mode == "ignore"
    assert len(tag.warnings) == 1


@pytest.mark.safety(rule=9)
def test_a_running_vm_whose_definition_says_otherwise_is_ignored() -> None:
    auto, ignore = tagged("mode='auto'"), tagged("mode='ignore'")
    assert description.read_tag(replace(auto, inactive=ignore.inactive)).mode == "ignore"
    assert description.read_tag(replace(auto, inactive=ignore.inactive)).warnings
