#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: sampler_fetch
short_description: Fetch what a hypervisor's sampler kept
version_added: 0.1.0
description:
  - Copies files of the service that the role P(headroom.fleet.sampler#role) installs from the hypervisor to a folder on
    the controller, for the option O(headroom.fleet.telemetry_collect#module:sampler).
  - Only files that are whole are fetched, each once. Files on the controller that are older than O(history_s) are
    removed.
  - It needs nothing but Python on the hypervisor, and changes nothing there.
options:
  endpoint:
    description:
      - Name of the endpoint that this hypervisor is. Its files get a folder of that name in O(dest).
      - By default the variable C(headroom_endpoint) of the host.
    type: str
  folder:
    description: Where the sampler keeps its files on the hypervisor.
    type: path
    default: /var/lib/headroom-sampler
  dest:
    description: Folder on the controller. It is made where it is missing.
    type: path
    required: true
  history_s:
    description: Files that begin more than so many seconds ago are not fetched.
    type: int
    default: 3600
  after:
    description: Only files with a name after this one are fetched. By default the newest that is on the controller.
    type: str
attributes:
  check_mode:
    details:
      - Says what it would fetch.
  action:
    description: Has an action plugin, which writes the files on the controller.
    support: full
extends_documentation_fragment:
  - headroom.fleet.attributes.host
author:
  - Headroom contributors (@headroom)
seealso:
  - module: headroom.fleet.telemetry_collect
"""

EXAMPLES = r"""
- name: Fetch the samples of the last hour
  headroom.fleet.sampler_fetch:
    endpoint: rack1
    dest: /var/cache/headroom/samples
  become: true
"""

RETURN = r"""
files:
  description: How many files were fetched.
  returned: success
  type: int
  sample: 12
bytes:
  description: Their size.
  returned: success
  type: int
  sample: 183204
path:
  description: The folder on the controller that they are in.
  returned: success
  type: str
  sample: /var/cache/headroom/samples/rack1
"""

import base64
import os
import re
import stat
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

WHOLE = re.compile(r"\d{8}T\d{6}Z\.jsonl\.gz")
MOST_BYTES = 2**23  # in one answer; more is asked for again
MOST_FILE_BYTES = 2**27  # a sampler writes none as large


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoint": {"type": "str"},
            "folder": {"type": "path", "default": "/var/lib/headroom-sampler"},
            "dest": {"type": "path", "required": True},
            "history_s": {"type": "int", "default": 3600},
            "after": {"type": "str"},
        },
        supports_check_mode=True,
    )
    folder = module.params["folder"]
    files, total, more = [], 0, False
    try:
        for path in sorted(Path(folder).iterdir()):
            wanted = WHOLE.fullmatch(path.name) and path.name > (module.params["after"] or "")
            content = read(path) if wanted else None
            if content is None:
                continue
            if files and total + len(content) > MOST_BYTES:
                more = True
                break
            total += len(content)
            files.append({"name": path.name, "content": base64.b64encode(content).decode()})
    except OSError as error:
        module.fail_json(
            msg=f"The samples in {folder} cannot be read: {error}. Install the role headroom.fleet.sampler, and read "
            "as root (become) or as its user.",
            code="sampler.unreadable",
        )
    module.exit_json(changed=False, found=files, more=more)


def read(path: Path) -> bytes | None:
    """None: it was removed meanwhile, or is none of a sampler's files. Raises OSError."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(number, "rb") as file:
        about = os.fstat(number)
        if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_FILE_BYTES:
            return None
        return file.read(MOST_FILE_BYTES)


if __name__ == "__main__":
    main()
