# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel and initramfs of the lab's guests, built from Debian packages into the cache; nothing is installed."""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from command import run, say
from settings import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
KERNEL = "linux-image-cloud-amd64"  # a meta package: small kernel, virtio and nothing else
AGENT = "qemu-guest-agent"
BUSYBOX = Path("/bin/busybox")
# In the order of their dependencies; what the package does not have as a module is built into the kernel.
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_balloon",
    "virtio_console",
    "virtio_mem",
)
FOLDERS = ("bin", "dev", "lib", "modules", "proc", "run", "sbin", "sys", "tmp", "var")
LINKS = {"var/run": "/run"}


@dataclass(frozen=True)
class Image:
    """What a guest boots."""

    kernel: Path
    initramfs: Path


def ensure(cache: Path) -> Image:
    """Return the image of today's packages and sources; build it (3 s, 27 MB to download) if the cache has none."""
    packages = _packages()
    folder = cache / ("image-" + _digest(packages))
    image = Image(kernel=folder / "vmlinuz", initramfs=folder / "initramfs.cpio")
    if folder.is_dir():
        return image
    say(f"image: building from {', '.join(f'{name} {version}' for name, version in packages.items())}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".build-") as scratch:
        build = Path(scratch)
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=build, timeout_s=300)
        for archive in build.glob("*.deb"):
            run("dpkg", "-x", archive, build / "tree")
        run("gcc", "-O2", "-pthread", "-o", build / "guest-load", HERE / "guest-load.c")
        (build / "image").mkdir()
        shutil.copy(_only(build / "tree", "boot/vmlinuz-*"), build / "image" / "vmlinuz")
        (build / "image" / "initramfs.cpio").write_bytes(_initramfs(build / "tree", load=build / "guest-load"))
        for old in cache.glob("image-*"):  # a running lab has its own copy
            shutil.rmtree(old)
        (build / "image").rename(folder)  # last and atomic: a folder in the cache is complete
    return image


def _packages() -> dict[str, str]:
    """Names and versions of the packages that apt would download, the kernel's meta package resolved."""
    shown = run("apt-cache", "show", "--no-all-versions", KERNEL, AGENT)
    kernel = re.search(r"^Depends: (linux-image-\S+) \(= (\S+)\)", shown, re.MULTILINE)
    agent = re.search(rf"^Package: {AGENT}$.*?^Version: (\S+)", shown, re.MULTILINE | re.DOTALL)
    if not kernel or not agent:
        raise LabError(f"apt knows no {KERNEL} or {AGENT}: run apt-get update (the lab needs Debian on amd64)", code=3)
    return {kernel[1]: kernel[2], AGENT: agent[1]}


def _digest(packages: dict[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(packages.items())).encode())
    for source in (HERE / "guest-init", HERE / "guest-load.c", HERE / "image.py", BUSYBOX):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _only(tree: Path, pattern: str) -> Path:
    found = list(tree.glob(pattern))
    if len(found) != 1:
        raise LabError(f"expected one {pattern} in the packages, found {len(found)}")
    return found[0]


def _initramfs(tree: Path, *, load: Path) -> bytes:
    """Return the archive (newc format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel)."""
    agent = _only(tree, "usr/sbin/qemu-ga")
    files = {"init": HERE / "guest-init", "bin/busybox": BUSYBOX, "bin/qemu-ga": agent, "bin/guest-load": load}
    for library in sorted({*_libraries(agent), *_libraries(load)}):
        files[library.lstrip("/")] = Path(library)
    content = {name: path.read_bytes() for name, path in files.items()}
    content |= {f"modules/{name}": module for name, module in _modules(tree)}
    links = {f"bin/{applet}": "busybox" for applet in run(BUSYBOX, "--list").split() if applet != "busybox"} | LINKS
    folders = {str(parent) for name in (*content, *links) for parent in Path(name).parents} | set(FOLDERS)
    records = [
        *(_record(name, stat.S_IFDIR | 0o755) for name in sorted(folders - {"."})),
        *(_record(name, stat.S_IFREG | 0o755, data) for name, data in content.items()),
        *(_record(name, stat.S_IFLNK | 0o777, os.fsencode(target)) for name, target in links.items()),
        _record("TRAILER!!!", 0),
    ]
    return b"".join(records)


def _libraries(program: Path) -> list[str]:
    listing = run("ldd", program)
    if "not found" in listing:
        raise LabError(f"libraries of {program.name} are not installed: {listing}", code=3)
    return re.findall(r"(/\S+) \(0x", listing)


def _modules(tree: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the modules under names that sort in the order of loading."""
    for position, module in enumerate(MODULES):
        for path in tree.glob(f"lib/modules/*/kernel/**/{module}.ko*"):
            data = path.read_bytes()
            yield f"{position:02}-{module}.ko", lzma.decompress(data) if path.suffix == ".xz" else data


def _record(name: str, mode: int, data: bytes = b"") -> bytes:
    encoded = os.fsencode(name) + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name length, checksum
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
