# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each artifact refers to, noted by the first prune that reads it: it never changes, and may be hundreds of MB."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.canonical import canonical_bytes, parse_json
from .._records.series import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

# Every digest but those in fields named ``generation``, which stand for a state of a VM: a plan has one for each act.
_DIGEST = re.compile(rb'sha256:(?<!"generation":"sha256:)[0-9a-f]{64}')
_SERIES = f'"schema":"headroom.{Series.KIND}/'.encode()


@dataclass(frozen=True)
class Lineage:
    """The artifacts that one refers to, be they there or not; of a series header also the telemetry it names."""

    refers_to: frozenset[str] = frozenset()
    table: str = ""
    table_version: int = 0


def read(data: bytes) -> Lineage:
    """The lineage of an artifact; also of one that a later release wrote, for these forms stay."""
    header = parse_json(data) if _SERIES in data else {}
    found = frozenset(digest.decode() for digest in _DIGEST.findall(data))
    return Lineage(found, header.get("table", ""), header.get("table_version", 0))


def known(connection: Connection) -> dict[str, Lineage]:
    """All that was noted, by the artifact's digest."""
    import sqlalchemy

    rows = connection.execute(sqlalchemy.text("SELECT artifact, refers_to, table_url, table_version FROM lineage"))
    return {row.artifact: Lineage(frozenset(json.loads(row[1])), row.table_url, row.table_version) for row in rows}


def note(connection: Connection, found: Mapping[str, Lineage]) -> None:
    """Keep it, by the artifact's digest; where another prune was quicker, it is the same."""
    import sqlalchemy

    query = "INSERT INTO lineage VALUES (:artifact, :refers_to, :table, :version) ON CONFLICT DO NOTHING"
    rows = [
        {
            "artifact": artifact,
            "refers_to": canonical_bytes(sorted(one.refers_to)).decode(),
            "table": one.table,
            "version": one.table_version,
        }
        for artifact, one in found.items()
    ]
    if rows:
        connection.execute(sqlalchemy.text(query), rows)


def forget(connection: Connection, artifacts: Iterable[str]) -> None:
    """Of artifacts that are gone."""
    import sqlalchemy

    if gone := [{"artifact": one} for one in artifacts]:
        connection.execute(sqlalchemy.text("DELETE FROM lineage WHERE artifact = :artifact"), gone)
