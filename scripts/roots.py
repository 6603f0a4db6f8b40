"""What measuring scripts share: snapshots with their layers, and the packages of a root with what each takes.

Nothing here writes into a root. The rpm database is copied before rpm opens it.
"""
import json
import os
import subprocess
import tempfile

DATABASES = ("var/lib/rpm", "usr/lib/sysimage/rpm")


class Store:
    """A store of its own, in which every snapshot is cut by one rule."""

    def __init__(self, binary, path, rule, *options):
        self.command = [binary, "--store", path, "-q", "--json", "snapshot", "--layers", rule, *options]
        self.known, self.roles = set(), {}

    def layers(self, root, *options):
        """Records a root, and returns the layers."""
        if "--series" not in options:
            options += ("--series", "s")
        done = subprocess.run(self.command + [root, *options], check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)["layers"]

    def new_bytes(self, layers):
        """Returns the bytes of those layers that were not there before, and of those states; `roles` has the sums."""
        new, states = 0, 0
        for layer in layers:
            if layer["digest"] in self.known:
                continue
            self.known.add(layer["digest"])
            self.roles[layer["role"]] = self.roles.get(layer["role"], 0) + layer["size_bytes"]
            if layer["role"] == "state":
                states += layer["size_bytes"]
            else:
                new += layer["size_bytes"]
        return new, states


def packages_of(root):
    """Returns for each package, as rpm names it, the paths that the root has of it."""
    with tempfile.TemporaryDirectory() as copy:
        for place in DATABASES:
            directory = os.path.join(root, place)
            if os.path.isdir(directory) and not os.path.islink(directory):
                subprocess.run(["cp", "-a", directory + "/.", copy], check=True)
        query = "[%{=NEVRA}\\t%{FILENAMES}\\n]"
        done = subprocess.run(["rpm", "--dbpath", copy, "-qa", "--qf", query], check=True, stdout=subprocess.PIPE)
        names = subprocess.run(["rpm", "--dbpath", copy, "-qa", "--qf", "%{NEVRA}\\n"], check=True,
                               stdout=subprocess.PIPE)
    packages = {os.fsdecode(name): [] for name in names.stdout.splitlines()}
    for line in done.stdout.splitlines():
        name, _, path = os.fsdecode(line).partition("\t")
        if path and os.path.lexists(root + path):
            packages[name].append(path)
    return packages


def packed_bytes(root, paths):
    """Returns the bytes of a tar of these paths, compressed by zstd at level 3."""
    with tempfile.TemporaryFile() as names:
        names.write(b"".join(os.fsencode("." + path) + b"\0" for path in sorted(paths)))
        names.seek(0)
        tar = subprocess.Popen(["tar", "-C", root, "--no-recursion", "--null", "-T", "-", "-cf", "-"],
                               stdin=names, stdout=subprocess.PIPE)
    packed = subprocess.Popen(["zstd", "-q", "-3", "-c"], stdin=tar.stdout, stdout=subprocess.PIPE)
    tar.stdout.close()
    count = 0
    while block := packed.stdout.read(1 << 20):
        count += len(block)
    if tar.wait() or packed.wait():
        raise OSError("tar or zstd failed in " + root)
    return count


def packages_once(roots, known):
    """Returns what each package of the roots that is not `known` takes by itself, in packed bytes."""
    once = {}
    for root in roots:
        for name, paths in packages_of(root).items():
            if name not in known and name not in once:
                once[name] = packed_bytes(root, paths) if paths else 0
    return once
