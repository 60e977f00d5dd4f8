# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of one action at which a process is killed, and the ways of killing it."""

from __future__ import annotations

ENGINE = "_apply/engine.py"
JOURNAL = "_store/journal.py"

# Name -> where tests/kills/hook stops. An action of these tests has two fields, so two writes, or one.
STEPS = {
    "before the intent": f"{ENGINE}:begin:call:1",
    "the intent written, not committed": f"{JOURNAL}:begin:return:1",
    "begun": f"{ENGINE}:begin:return:1",
    "one field about to be written": f"{ENGINE}:set_fields:call:1",
    "one field written, not read back": f"{ENGINE}:_reads:call:1",
    "one field read back": f"{ENGINE}:_reads:return:1",
    "all fields written, not read back": f"{ENGINE}:_reads:call:2",
    "acted": f"{ENGINE}:act:return:1",
    "the end written, not committed": f"{JOURNAL}:move:return:2",
    "done": f"{ENGINE}:commit:return:1",
}
OF_TWO_FIELDS = ("all fields written, not read back",)
KILLERS = ("module", "playbook", "both")
