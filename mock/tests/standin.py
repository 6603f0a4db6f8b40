# SPDX-License-Identifier: GPL-2.0-or-later
"""
A stand-in for `mockbuild`: the modules that the plugin imports, and a Mock process that calls its hooks.

Owns the semantics that the plugin relies on, as observed on Mock 6.7: hook order, effective uids, what is
stale when.  The order of each kind of run is data, in RUNS.  Uids are switched for real, so it needs root.
"""

import ast
import contextlib
import importlib.util
import logging
import os
import shutil
import sys
import types
import uuid
from typing import NamedTuple, Tuple

import trees

PLUGIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "rootstrata.py")
USER_UID = 4711
USER_GID = 4712


class Error(Exception):
    """mockbuild.exception.Error: Mock prints the message and exits with the code."""

    resultcode = 1

    def __init__(self, msg, resultcode=None):
        super().__init__(msg)
        if resultcode is not None:
            self.resultcode = resultcode


class ConfigError(Error):
    resultcode = 3


class BuildError(Error):
    resultcode = 10


def clean_env():
    """mockbuild.util.clean_env: what commands on the host get instead of the caller's environment."""
    return {"TERM": "vt100", "SHELL": "/bin/sh", "HOME": "/builddir", "HOSTNAME": "mock",
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}


def trace_log(*_args):
    return lambda function: function


def install():
    """Makes `import mockbuild...` find the stand-in."""
    members = {
        "mockbuild": {},
        "mockbuild.exception": {"Error": Error, "ConfigError": ConfigError},
        "mockbuild.trace_decorator": {"traceLog": trace_log},
        "mockbuild.util": {"clean_env": clean_env},
    }
    for name, attributes in members.items():
        module = types.ModuleType(name)
        vars(module).update(attributes)
        sys.modules[name] = module


def load_plugin():
    """Executes the plugin's file as a new module, the way Mock does for each chroot."""
    install()
    spec = importlib.util.spec_from_file_location("rootstrata", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse_plugin_options(arguments):
    """Returns the options of `--plugin-option rootstrata:KEY=VALUE`: Python literals where they parse, else strings."""
    options = {}
    for argument in arguments:
        key, value = argument.split(":", 1)[1].split("=", 1)
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value)
        options[key] = value
    return options


class State:
    """The stack of state lines; `result` is set by the first build and only ever improves."""

    def __init__(self):
        self.stack = []
        self.lines = []
        self.result = "unknown"

    def start(self, line):
        self.stack.append(line)
        self.lines.append("Start: " + line)

    def finish(self, line):
        current = self.stack.pop()
        assert current == line, "state finish mismatch: current: %s, state: %s" % (current, line)
        self.lines.append("Finish: " + line)


class UidManager:
    """Switches uids for real; root stays reachable through the saved uid."""

    def __init__(self):
        self.saved = []

    def elevate(self):
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)

    def becomeUser(self, uid, gid):
        self.saved.append((os.getresuid(), os.getresgid()))
        self.elevate()
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, 0)

    def restorePrivs(self):
        uids, gids = self.saved.pop()
        self.elevate()
        os.setresgid(*gids)
        os.setresuid(*uids)

    @contextlib.contextmanager
    def elevated_privileges(self):
        self.saved.append((os.getresuid(), os.getresgid()))
        self.elevate()
        try:
            yield
        finally:
            self.restorePrivs()

    def changeOwner(self, path):
        """Gives `path` to the user; leaves the process elevated."""
        self.elevate()
        with contextlib.suppress(FileNotFoundError):
            os.lchown(path, USER_UID, USER_GID)


class Plugins:
    """The hooks of one chroot, and the one plugin that is enabled."""

    def __init__(self, options):
        self.options = options
        self.hooks = {}
        self.uids_at = {}

    def add_hook(self, name, function):
        self.hooks.setdefault(name, []).append(function)

    def init_plugins(self, buildroot):
        conf = dict(self.options, basedir=buildroot.basedir, cache_topdir=buildroot.cache_topdir,
                    cachedir=buildroot.cachedir, root=buildroot.shared_root_name, resultdir=buildroot.resultdir)
        module = load_plugin()
        assert module.requires_api_version == "1.1"
        if module.run_in_bootstrap or not buildroot.is_bootstrap:
            module.init(self, conf, buildroot)

    def call_hooks(self, name):
        """Calls the hooks in order; a hook that leaves the uids changed would corrupt Mock's build."""
        uids = self.uids_at[name] = os.getresuid()
        for hook in self.hooks.get(name, []):
            try:
                hook()
            finally:
                assert os.getresuid() == uids, "%s left the uids at %s" % (name, os.getresuid())


class Buildroot:
    """One chroot.  Its methods whose names RUNS holds are what Mock and root_cache do between the hooks."""

    def __init__(self, mock, is_bootstrap=False):
        self.mock = mock
        self.config = {"mock_run_uuid": mock.uuid, "chroothome": "/builddir", "opstimeout": mock.opstimeout,
                       "clean": mock.clean, "config_paths": mock.config_paths,
                       "environment": dict(mock.environment)}
        self.epochs = []  # SOURCE_DATE_EPOCH as the package manager and the compiler have seen it
        self.is_bootstrap = is_bootstrap
        self.shared_root_name = mock.root + ("-bootstrap" if is_bootstrap else "")
        self.root_name = self.shared_root_name + ("-" + mock.uniqueext if mock.uniqueext else "")
        self.basedir = os.path.join(mock.directory, "lib", self.root_name)
        self.cache_topdir = os.path.join(mock.directory, "cache")
        self.cachedir = os.path.join(self.cache_topdir, self.shared_root_name)
        self.resultdir = os.path.join(self.basedir, "result")
        self.builddir = "/builddir/build"
        self.chroot_was_initialized = False
        self.installs = 0
        self.use_chroot_image = mock.bootstrap_image if is_bootstrap else mock.buildroot_image
        self.state = State()
        self.uid_manager = mock.uid_manager
        self.root_log = logging.getLogger("mockbuild")
        self.plugins = Plugins(mock.options)
        self.plugins.init_plugins(self)

    def make_chroot_path(self, *paths):
        return os.path.join(self.basedir, "root", *[path.lstrip("/") for path in paths])

    def chroot_is_initialized(self):
        return os.path.exists(self.make_chroot_path(".initialized"))

    def delete(self):
        shutil.rmtree(self.basedir, ignore_errors=True)
        self.chroot_was_initialized = False

    def look(self):
        os.makedirs(self.make_chroot_path(), exist_ok=True)
        os.makedirs(self.resultdir, exist_ok=True)
        os.chown(self.resultdir, USER_UID, USER_GID)
        self.chroot_was_initialized = self.chroot_is_initialized()

    def unpack_cache(self):
        """root_cache at preinit.  It sets chrootWasCached, and nothing ever clears it."""
        if not self.chroot_was_initialized:
            trees.write_base(self.make_chroot_path())
            self.mark_initialized()
            self.chrootWasCached = True

    def unpack_image(self):
        """--buildroot-image: the image holds some package's dependencies."""
        trees.write_base(self.make_chroot_path())
        trees.write_dependencies(self.make_chroot_path(), "imaged")

    def install_missing(self):
        """Mock installs the base into a chroot that nobody has filled."""
        if not self.chroot_was_initialized:
            trees.write_base(self.make_chroot_path())
            self.installs += 1

    def see_epoch(self):
        self.epochs.append(self.config["environment"].get("SOURCE_DATE_EPOCH"))

    def install_base(self):
        self.see_epoch()
        trees.write_base(self.make_chroot_path())

    def mark_initialized(self):
        trees.write(self.make_chroot_path(".initialized"), b"")

    def become_user(self):
        self.uid_manager.becomeUser(USER_UID, USER_GID)

    def install_dependencies(self):
        self.see_epoch()
        with self.uid_manager.elevated_privileges():
            trees.write_dependencies(self.make_chroot_path(), self.mock.package)

    def compile(self):
        self.see_epoch()
        self.state.result = "success"

    def fail(self):
        if self.state.result != "success":
            self.state.result = "fail"
        raise BuildError("rpmbuild failed")

    def interrupt(self):
        raise KeyboardInterrupt


class Phase(NamedTuple):
    """
    Part of a run: steps in order, and steps that follow as root whatever happened to those.

    A step is a hook's name, or "=" and the name of a Buildroot method.  `package` sets what is built from here on;
    under --chain each has a result directory of its own.
    """

    steps: Tuple[str, ...]
    then: Tuple[str, ...] = ()
    bootstrap: bool = False
    package: str = ""


CLEAN = Phase(("=delete", "postclean"))
FRESH = Phase(("mount_root", "=look", "preinit", "=look", "preyum", "=install_base", "postyum", "=mark_initialized",
               "postinit"))
CACHED = Phase(("mount_root", "=look", "=unpack_cache", "preinit", "=look", "preyum", "postyum", "=mark_initialized",
                "postinit"))
DIRTY = Phase(("mount_root", "=look", "=unpack_cache", "preinit", "=look", "=mark_initialized", "postinit"))
RESTORED = Phase(("mount_root", "=look", "preinit", "=look", "=install_missing", "=mark_initialized", "postinit"))
IMAGE = Phase(("mount_root", "=look", "preinit", "=look", "=unpack_image", "preyum", "postyum", "=mark_initialized",
               "postinit"))
TO_POSTDEPS = ("earlyprebuild", "=become_user", "preyum", "=install_dependencies", "postyum", "preyum", "postyum",
               "prebuild", "postdeps")
AFTER = ("postbuild", "process_logs")
BUILD_SRPM = Phase(("earlyprebuild", "=become_user", "pre_srpm_build"), AFTER)
BUILD = Phase(TO_POSTDEPS + ("=compile",), AFTER)
FAILING_BUILD = Phase(TO_POSTDEPS + ("=fail",), AFTER)
INTERRUPTED_BUILD = Phase(TO_POSTDEPS + ("=interrupt",), AFTER)
MISSING_DEPENDENCY = Phase(("earlyprebuild", "=become_user", "preyum", "postyum", "=fail"), AFTER)
BOOTSTRAP_FRESH = FRESH._replace(bootstrap=True)
BOOTSTRAP_DIRTY = DIRTY._replace(bootstrap=True)
FIRST, SECOND = Phase((), package="first"), Phase((), package="second")

RUNS = {
    "first": (CLEAN, FRESH, BUILD),
    "no-clean": (DIRTY, BUILD),
    "root-cache": (CLEAN, CACHED, BUILD),
    "restored": (CLEAN, RESTORED, BUILD),
    "no-clean, restored": (RESTORED, BUILD),
    "shell": (RESTORED,),
    "bootstrap-chroot": (CLEAN, BOOTSTRAP_FRESH, FRESH, BUILD),
    "bootstrap-chroot again": (CLEAN, BOOTSTRAP_DIRTY, CACHED, BUILD),
    "init": (CLEAN, FRESH),
    "chroot": (DIRTY,),
    "chain": (DIRTY, FIRST, CLEAN, CACHED, BUILD, SECOND, CLEAN, CACHED, BUILD),
    "chain, the second fails": (DIRTY, FIRST, CLEAN, CACHED, BUILD, SECOND, CLEAN, CACHED, FAILING_BUILD),
    "no-clean of two packages, from the root cache": (CACHED, BUILD, DIRTY, BUILD),
    "calculate-build-dependencies": (CLEAN, FRESH, BUILD),  # rpmbuild is not run, the hooks are the same
    "spec and sources": (CLEAN, FRESH, BUILD_SRPM, DIRTY, BUILD),
    "buildroot-image": (CLEAN, IMAGE, BUILD),
    "failing": (CLEAN, FRESH, FAILING_BUILD),
    "missing dependency": (CLEAN, FRESH, MISSING_DEPENDENCY),
    "interrupted": (CLEAN, FRESH, INTERRUPTED_BUILD),
}


class Mock:
    """One Mock process with the plugin enabled."""

    def __init__(self, directory, options=None, root="fedora-rawhide-x86_64", uniqueext="", with_bootstrap=False,
                 buildroot_image=False, bootstrap_image=False, opstimeout=0, clean=True, config_paths=(), environment=()):
        self.directory = directory
        self.options = options or {}
        self.root = root
        self.uniqueext = uniqueext
        self.buildroot_image = buildroot_image
        self.bootstrap_image = bootstrap_image
        self.opstimeout = opstimeout
        self.clean = clean
        self.config_paths = config_paths
        self.environment = environment
        self.uuid = str(uuid.uuid4())
        self.package = "hello"
        self.uid_manager = UidManager()
        self.bootstrap_buildroot = Buildroot(self, is_bootstrap=True) if with_bootstrap else None
        self.buildroot = Buildroot(self)

    def run(self, kind):
        """Plays the run; the error that ends it, if any, is raised.  The states balance in any case."""
        self.buildroot.config["calculatedeps"] = True if kind == "calculate-build-dependencies" else None
        try:
            for phase in RUNS[kind]:
                self.play(phase)
        finally:
            self.buildroot.plugins.call_hooks("postumount")
            for buildroot in filter(None, (self.bootstrap_buildroot, self.buildroot)):
                assert buildroot.state.stack == [], "pending states: %s" % buildroot.state.stack

    def play(self, phase):
        buildroot = self.bootstrap_buildroot if phase.bootstrap else self.buildroot
        if phase.package:
            self.package = phase.package
            buildroot.resultdir = os.path.join(self.directory, "results", phase.package)
        try:
            self.steps(buildroot, phase.steps)
        finally:
            while self.uid_manager.saved:
                self.uid_manager.restorePrivs()
            self.steps(buildroot, phase.then)

    def steps(self, buildroot, steps):
        for step in steps:
            if step.startswith("="):
                getattr(buildroot, step[1:])()
            else:
                buildroot.plugins.call_hooks(step)
