# SPDX-License-Identifier: GPL-2.0-or-later
"""Small chroots, written file by file.  Two installs differ in inodes, times, /etc/machine-id and a log alone."""

import os
import stat
import uuid

HOME_OWNER = (4711, 4712)


def write(path, content, mode=0o644):
    """Writes a file, with the directories above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def write_base(root):
    """Writes what a chroot holds at postinit."""
    for directory in ("proc", "sys", "dev", "tmp", "usr/bin", "usr/lib", "builddir/build/SRPMS"):
        os.makedirs(os.path.join(root, directory), exist_ok=True)
    os.chown(os.path.join(root, "builddir"), *HOME_OWNER)
    os.symlink("usr/bin", os.path.join(root, "bin"))
    os.mknod(os.path.join(root, "dev/null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    write(os.path.join(root, "etc/passwd"), b"root:x:0:0::/root:/bin/sh\nmockbuild:x:4711:4712::/builddir:/bin/sh\n")
    write(os.path.join(root, "etc/group"), b"root:x:0:\nmock:x:4712:\n")
    write(os.path.join(root, "etc/machine-id"), uuid.uuid4().hex.encode() + b"\n")
    write_log(root)
    write(os.path.join(root, "usr/bin/tool"), b"#!/bin/sh\nexit 0\n", 0o755)
    write(os.path.join(root, "usr/lib/libbase.so"), b"\x7fELF" + b"base" * 50000)


def write_dependencies(root, package):
    """Adds what a chroot holds more at postdeps of `package`."""
    write(os.path.join(root, "usr/lib", package, "libdep.so"), b"\x7fELF" + package.encode() * 50000)
    write(os.path.join(root, "builddir/build/SRPMS", package + ".src.rpm"), uuid.uuid4().bytes)
    write_log(root)


def write_log(root):
    """Writes the package manager's log, which no two installs have in common."""
    write(os.path.join(root, "var/log/dnf.log"), uuid.uuid4().hex.encode() + b"\n")
