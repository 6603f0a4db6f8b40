# SPDX-License-Identifier: GPL-2.0-or-later
"""Test cases with a directory of their own: over the real command, and over a script that stands for its failures."""

import json
import logging
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
import unittest

import standin


class MockCase(unittest.TestCase):
    """A directory for Mock to work in, and the log that the plugin wrote to."""

    def setUp(self):
        if os.getresuid() != (0, 0, 0):
            self.fail("these tests switch uids: run them as root")
        self.directory = tempfile.mkdtemp(prefix="rootstrata-mock-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory)
        self.addCleanup(standin.UidManager().elevate)
        self.store = os.path.join(self.directory, "cache", "rootstrata")
        self.result = os.path.join(self.directory, "lib", "fedora-rawhide-x86_64", "result")
        self.records = []
        handler = logging.Handler()
        handler.emit = self.records.append
        logger = logging.getLogger("mockbuild")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)

    def logged(self, level):
        """Returns the messages at `level`."""
        return [record.getMessage() for record in self.records if record.levelno == level]


class CommandCase(MockCase):
    """The plugin over the real command."""

    def setUp(self):
        super().setUp()
        binary = os.environ.get("ROOTSTRATA_BIN")
        if not binary:
            self.fail("set ROOTSTRATA_BIN to the rootstrata command under test")
        self.binary = os.path.abspath(binary)

    def mock(self, options=None, **kwargs):
        return standin.Mock(self.directory, dict({"binary": self.binary}, **(options or {})), **kwargs)

    def snapshots(self, store=None):
        """Returns what `rootstrata log --json` lists, oldest first."""
        argv = [self.binary, "--store", store or self.store, "log", "--json"]
        report = json.loads(subprocess.check_output(argv, env=standin.clean_env()))
        self.assertEqual(report["version"], 1)
        return sorted(report["snapshots"], key=lambda snapshot: snapshot["id"])

    def stages(self):
        """Returns (series, stage) of each snapshot in the store, oldest first."""
        return [(snapshot["series"], snapshot["stage"]) for snapshot in self.snapshots()]

    def report(self, number):
        """Returns the command's report that the plugin put into its `number`th summary line."""
        return [line for line in self.logged(logging.INFO) if " is snapshot " in line][number]


class ScriptCase(MockCase):
    """The plugin over a shell script that records how it was called and then does what the test says."""

    def setUp(self):
        super().setUp()
        self.script = os.path.join(self.directory, "command")

    def mock(self, body, options=None, **kwargs):
        with open(self.script, "w", encoding="ascii") as file:
            file.write('#!/bin/sh\nfor argument; do echo "$argument"; done >> "$0.args"\necho >> "$0.args"\n'
                       'env > "$0.env"\n(id -ru; id -u) > "$0.uids"\n' + body)
        os.chmod(self.script, stat.S_IRWXU)
        return standin.Mock(self.directory, dict({"binary": self.script}, **(options or {})), **kwargs)

    def calls(self):
        """Returns the argument list of each call."""
        with open(self.script + ".args", encoding="ascii") as file:
            return [call.split("\n") for call in file.read().rstrip("\n").split("\n\n")]

    def recorded(self, what):
        """Returns the lines of the last call's `env` or `uids`."""
        with open(self.script + "." + what, encoding="ascii") as file:
            return file.read().splitlines()


def archive_json(archive, name):
    """Returns a JSON member of an OCI archive."""
    with tarfile.open(archive) as tar:
        return json.load(tar.extractfile(name))


def image_names(archive):
    """Returns the names of the images in an OCI archive, None for one without a name."""
    manifests = archive_json(archive, "index.json")["manifests"]
    return [manifest.get("annotations", {}).get("org.opencontainers.image.ref.name") for manifest in manifests]
