# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""State URLs, and places where no store can be: one clear error each, and no password in any."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import traceback

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, killswitch, references
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database, parse_url
from ansible_collections.headroom.fleet.plugins.module_utils._store.overlay import open_rehearsal


def error_of(call):
    with pytest.raises(HeadroomError) as caught:
        call()
    assert caught.value.advice
    return caught.value


@pytest.mark.parametrize(
    ("url", "code"),
    {
        "nobody listens": ("postgresql://ann:canary@127.0.0.1:1/none", "store.unreachable"),
        "no such host": ("postgresql://ann:canary@no.such.host.invalid/none", "store.unreachable"),
        "an @ in the password": ("postgresql://ann:can@canary@127.0.0.1/none", "store.url"),
        "an @ and a : in the password": ("postgresql://ann:can@x:canary@127.0.0.1/none", "store.url"),
        "an @ and a / in the password": ("postgresql://ann:can@x/canary@127.0.0.1/none", "store.url"),
        "another database": ("mysql://ann:canary@127.0.0.1/none", "store.url"),
        "no such database": ("no such thing://canary", "store.url"),
        "a database in memory": ("sqlite://", "store.url"),
    }.values(),
)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_url_that_leads_nowhere(url, code, read_only):
    error = error_of(lambda: Database(url, read_only=read_only))
    assert error.code == code
    assert "canary" not in "".join(traceback.format_exception(error))


def test_a_percent_sign_writes_what_a_url_cannot_hold():
    assert parse_url("postgresql://ann:p%40ss%2F@db/x").password == "p@ss/"


@pytest.mark.parametrize("name", ["a b?c#d%20.db", "ä.db"])
def test_a_path_may_hold_any_character(tmp_path, name):
    url = str(tmp_path / "folder" / name)
    Database(url).close()
    Database(url, read_only=True).close()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [name]


@pytest.mark.parametrize("place", ["file/state.db", "file/folder/state.db", "folder"])
def test_a_place_that_cannot_hold_a_file(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    error = error_of(lambda: Database(str(tmp_path / place)))
    assert (error.code, str(tmp_path) in error.message) == ("store.unreachable", True)


def test_a_folder_that_cannot_be_written():
    assert error_of(lambda: Database("/proc/headroom/state.db")).code == "store.unreachable"


def test_a_file_that_is_something_else(tmp_path):
    (tmp_path / "state.db").write_bytes(b"This was never a database." * 100)
    for read_only in (False, True):
        error = error_of(lambda read_only=read_only: Database(str(tmp_path / "state.db"), read_only=read_only))
        assert error.code == "store.unreachable"


def test_a_rehearsal_that_broke_off_is_made_anew(tmp_path):
    store = tmp_path / "state.db"
    store.write_bytes(b"This was never a database." * 100)
    assert error_of(lambda: open_rehearsal(str(store), path=tmp_path / "copy.db")).code == "store.unreachable"
    store.unlink()
    killswitch.turn(Database(str(store)), on=True, who="ann", reason="fire")
    rehearsal = open_rehearsal(str(store), path=tmp_path / "copy.db")
    with rehearsal.transaction() as connection:
        assert killswitch.read(connection).on


FILL = """
import sys
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, references
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
database, count = Database(sys.argv[1]), 0
try:
    while True:
        with database.transaction() as connection:
            references.put(database, connection, f"row/{count}", "x" * 500)
            audit.append(database, connection, run_id="r", who="ann", event="e", body={"count": count})
        count += 1
except HeadroomError as error:
    print(error.code, count)
"""


def test_a_full_disk_in_the_middle_of_a_transaction_keeps_none_of_it(tmp_path):
    store = tmp_path / "state.db"
    Database(str(store)).close()

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit is an error, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = subprocess.run(
        [sys.executable, "-B", "-c", FILL, store],  # bytecode would be cut short as well, and kept for others
        preexec_fn=limit, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
    )  # fmt: skip
    code, count = done.stdout.split() or pytest.fail(done.stderr)
    assert code == "store.unreachable"
    database = Database(str(store))  # with room again, the next run goes on
    assert audit.verify(database)[0] == int(count) > 10
    with database.transaction() as connection:
        assert references.get(connection, f"row/{int(count) - 1}")
        assert not references.get(connection, f"row/{count}")
        audit.append(database, connection, run_id="r", who="ann", event="e", body={})
    assert audit.verify(database)[0] == int(count) + 1
