# SPDX-License-Identifier: GPL-2.0-or-later
"""
Mock plugin: record the chroot stage by stage with rootstrata, and export it as an OCI archive.

It turns Mock's hooks into argument lists, runs the command and logs its report.  What is recorded, left
out or written again is decided by the command alone.  README.md describes the options.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
import types
import uuid

from mockbuild.exception import ConfigError, Error
from mockbuild.trace_decorator import traceLog
from mockbuild.util import clean_env

requires_api_version = "1.1"
run_in_bootstrap = True

STAGES = ("bootstrap", "deps-installed", "built")
EPOCH = "SOURCE_DATE_EPOCH"
LOCKED = 75  # EX_TEMPFAIL in sysexits.h
INJECTED_BY_MOCK = ("basedir", "cache_topdir", "cachedir", "root", "resultdir")


@traceLog()
def init(plugins, conf, buildroot):
    """Mock's entry point, called once for the main chroot and once for Mock's bootstrap chroot."""
    options = read_options(conf)
    if options.bootstrap_chroot or not buildroot.is_bootstrap:
        Recorder(plugins, options, buildroot)


def _text(value):
    if not isinstance(value, str) or not value:
        raise ValueError("a non-empty string")
    return value


def _flag(value):
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    try:
        return words[str(value).lower()]
    except KeyError:
        raise ValueError("True or False") from None


def _count(value):
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1 or isinstance(value, bool):
        raise ValueError("a number from 1 up")
    return number


def _seconds(value):
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if number < 0 or isinstance(value, bool):
        raise ValueError("a number of seconds since 1970")
    return number


def _stages(value):
    names = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or any(name not in STAGES for name in names):
        raise ValueError("a list out of " + ", ".join(STAGES))
    return tuple(names)


def _labels(value):
    pairs = value
    if isinstance(value, str):
        pairs = dict(part.partition("=")[::2] for part in value.split(","))
    if not isinstance(pairs, dict) or not all(key and isinstance(key, str) for key in pairs):
        raise ValueError("a dictionary of texts, or KEY=VALUE,KEY=VALUE")
    return {key: str(text) for key, text in pairs.items()}


OPTIONS = {  # name: (reader, default)
    "binary": (_text, "rootstrata"),
    "store": (_text, None),
    "series": (_text, None),
    "compression": (_text, None),
    "layers": (_text, None),
    "state": (_text, None),
    "fresh": (_flag, False),
    "source_date_epoch": (_seconds, None),
    "max_layers": (_count, None),
    "parent": (_text, None),
    "from": (_text, None),
    "to": (_text, None),
    "registry_optional": (_flag, True),
    "labels": (_labels, {}),
    "stages": (_stages, STAGES[:2]),
    "all_stages": (_flag, False),
    "on_failure": (_flag, False),
    "bootstrap_chroot": (_flag, False),
    "required": (_flag, False),
    "restore_bootstrap": (_flag, False),
    "prune": (_flag, True),
    "keep_last": (_count, 20),
    "keep_daily": (_count, 14),
    "keep_within": (_text, None),
}


def read_options(conf):
    """
    Returns the options as attributes; one that is absent or None has its default.

    Values from --plugin-option may be strings.  An unknown name or an unusable value is a ConfigError, whatever
    `required` says: nothing has been built yet.
    """
    unknown = sorted(set(conf) - set(OPTIONS) - set(INJECTED_BY_MOCK))
    if unknown:
        raise ConfigError("rootstrata: unknown option %s; the options are %s"
                          % (", ".join(unknown), ", ".join(sorted(OPTIONS))))
    options = types.SimpleNamespace()
    for name, (reader, default) in OPTIONS.items():
        value = conf.get(name)
        try:
            setattr(options, name, default if value is None else reader(value))
        except ValueError as expected:
            raise ConfigError("rootstrata: option %s is %r, expected %s" % (name, value, expected)) from None
    if options.store is None:
        options.store = os.path.join(conf["cache_topdir"], "rootstrata")
    return options


class Trouble(Exception):
    """The command could not be run, failed, or reported what this plugin does not understand."""


class InUse(Trouble):
    """The store is locked by another process."""


class Recorder:
    """Records one chroot at the stages that Mock's hooks announce; Mock's bootstrap chroot gets as far as postinit."""

    def __init__(self, plugins, options, buildroot):
        self.buildroot = buildroot
        self.options = options
        self.log = buildroot.root_log  # reaches root.log and, from info up, the terminal
        self.series = buildroot.shared_root_name  # without --uniqueext; ends in -bootstrap where it is due
        if options.series is not None:
            self.series = options.series + ("-bootstrap" if buildroot.is_bootstrap else "")
        self.run_uuid = buildroot.config.get("mock_run_uuid") or str(uuid.uuid4())
        self.run_number = 0
        self.was_initialized = True
        self.epoch_before = None
        self.has_deps = False
        plugins.add_hook("mount_root", self.look_at_root)
        if options.source_date_epoch is not None:
            plugins.add_hook("preyum", self.set_epoch)
            plugins.add_hook("postyum", self.reset_epoch)
        plugins.add_hook("preinit", self.restore_bootstrap)
        plugins.add_hook("postinit", self.begin_run)
        plugins.add_hook("postdeps", self.export_deps)
        plugins.add_hook("postbuild", self.export_built)

    @traceLog()
    def look_at_root(self):
        """
        Notes whether the chroot is left from earlier, before the root cache or an image fills it.

        Mock's own `chrootWasCached` is never cleared: in a `--no-clean` run of two packages that began from the
        root cache, it is still set when the second package finds the first one's dependencies.
        """
        self.was_initialized = self.buildroot.chroot_is_initialized()

    @traceLog()
    def set_epoch(self):
        """
        Gives the package manager the time that it is to take for now: rpm notes it as the time of installation.

        Only while the package manager runs: rpmbuild would take the variable for the time of the build.
        """
        environment = self.buildroot.config["environment"]
        self.epoch_before = environment.get(EPOCH)
        environment[EPOCH] = str(self.options.source_date_epoch)

    @traceLog()
    def reset_epoch(self):
        """Puts the variable back to what it was."""
        environment = self.buildroot.config["environment"]
        environment.pop(EPOCH, None)
        if self.epoch_before is not None:
            environment[EPOCH] = self.epoch_before

    @traceLog()
    def restore_bootstrap(self):
        """
        Makes a cleaned chroot the recorded stage `bootstrap`, if asked to, and under `--no-clean` also a used one.

        Other runs that find a used chroot, such as `--shell`, want it as it is.  A chroot that was restored in part
        would pass for one that is initialized, so trouble ends the build, whatever `required` says.
        """
        is_used = self.was_initialized and self.buildroot.config.get("clean", True)
        if not self.options.restore_bootstrap or is_used or self.buildroot.use_chroot_image:
            return
        state = "restoring buildroot stage bootstrap"
        self.buildroot.state.start(state)
        try:
            with self.buildroot.uid_manager.elevated_privileges():
                reason = self.reason_not_to_restore()
                if reason is None:
                    root = self.buildroot.make_chroot_path()
                    stdout = self.run(self.command("restore", self.series + "@bootstrap", root, "--exact"), (0, 1))
                    self.log.info("rootstrata: %s", restored(stdout))
                    self.was_initialized = False  # it holds the base packages alone again
                else:
                    self.log.info("rootstrata: stage bootstrap is not restored: %s", reason)
        except (Trouble, OSError) as trouble:
            raise Error("rootstrata: restoring stage bootstrap: %s" % trouble) from trouble
        finally:
            self.buildroot.state.finish(state)

    def reason_not_to_restore(self):
        """Returns why the last recorded stage `bootstrap` is of no use, None where it is."""
        try:
            report = json.loads(self.run(self.command("show", self.series + "@bootstrap")))
            recorded = report["time"]
        except Trouble as trouble:
            return str(trouble)  # there is none yet
        except (ValueError, KeyError, TypeError) as error:
            raise Trouble("the report is not understood: %s" % error) from error
        for path in self.buildroot.config.get("config_paths", ()):
            if os.stat(path).st_mtime > recorded:
                return "%s is newer" % path
        return None

    @traceLog()
    def begin_run(self):
        """Begins a run, a new one for each build of one Mock process, and records a clean base."""
        self.run_number += 1
        self.has_deps = False
        if "bootstrap" not in self.options.stages:
            return
        if self.is_clean_base():
            self.record("bootstrap", "recording buildroot stage bootstrap", self.options.required)
        else:
            self.log.info("rootstrata: the chroot is not a clean base, stage bootstrap is not recorded")

    def is_clean_base(self):
        """
        Says whether the chroot holds the base packages alone.

        A buildroot image may hold some package's dependencies; an image of Mock's bootstrap chroot does not.
        """
        from_buildroot_image = self.buildroot.use_chroot_image and not self.buildroot.is_bootstrap
        return not self.was_initialized and not from_buildroot_image

    @traceLog()
    def export_deps(self):
        """Records the chroot with the build dependencies in it, and exports it."""
        self.has_deps = True
        if "deps-installed" in self.options.stages:
            self.record("deps-installed", "producing buildroot as OCI image", self.options.required,
                        "buildroot-oci.tar")

    @traceLog()
    def export_built(self):
        """
        Records and exports the chroot as the build left it, if asked to; an interrupted build has not ended.

        Mock calls postbuild while the build's exception passes by.  `state.result` would not do: it stays
        "success" for a package that fails after one that did not.  The build's own error must reach the user,
        so no trouble is raised beside it.

        Mock calls postbuild also after a source package was made, and where the dependencies alone were asked for.
        """
        cause = sys.exc_info()[0]
        is_wanted = "built" in self.options.stages
        if cause is None:
            is_build = self.has_deps and not self.buildroot.config.get("calculatedeps")
            if is_wanted and is_build:
                self.record("built", "producing finished buildroot as OCI image", self.options.required,
                            "buildroot-built-oci.tar")
        elif (is_wanted or self.options.on_failure) and issubclass(cause, Exception):
            self.record("built", "producing failed buildroot as OCI image", False, "buildroot-built-oci.tar")

    def record(self, stage, state, required, archive_name=None):
        """Records `stage` under Mock's state line `state`, with an archive in the result directory if named."""
        archive = archive_name and os.path.join(self.buildroot.resultdir, archive_name)
        self.buildroot.state.start(state)
        try:
            with self.buildroot.uid_manager.elevated_privileges():
                stdout = self.run(self.arguments(stage, archive))
                if archive:
                    self.buildroot.uid_manager.changeOwner(archive)
            self.log.info("rootstrata: %s", summary(stdout))
            if self.options.prune and stage in self.last_stages():
                self.prune()
        except (Trouble, OSError) as trouble:
            message = "rootstrata: stage %s: %s" % (stage, trouble)
            if required:
                raise Error(message) from trouble
            self.log.warning("%s", message)
        finally:
            self.buildroot.state.finish(state)

    def last_stages(self):
        """Returns the stages after which nothing more of a run is recorded."""
        return {"built"} | set([stage for stage in STAGES if stage in self.options.stages][-1:])

    def prune(self):
        """
        Removes what the store need not keep of this series.

        Nothing depends on it: where another build is using the store, or it fails, the next one does it.
        """
        argv = [self.options.binary, "--store", self.options.store, "-q", "prune", "--series", self.series]
        argv += ["--keep-last", str(self.options.keep_last), "--keep-daily", str(self.options.keep_daily)]
        if self.options.keep_within:
            argv += ["--keep-within", self.options.keep_within]
        try:
            with self.buildroot.uid_manager.elevated_privileges():
                self.run(argv + ["--no-wait", "--json"])
        except InUse:
            self.log.debug("rootstrata: the store is in use, the next build prunes it")
        except (Trouble, OSError) as trouble:
            self.log.warning("rootstrata: prune: %s", trouble)

    def arguments(self, stage, archive):
        """Returns the command line that records `stage`, and exports it to `archive` if there is one."""
        root = self.buildroot.make_chroot_path()
        argv = ["export", "--root", root, "-o", archive] if archive else ["snapshot", root]
        argv += ["--series", self.series, "--stage", stage, "--run", "%s.%d" % (self.run_uuid, self.run_number)]
        for key, value in sorted(self.labels(stage).items()):
            argv += ["--label", "%s=%s" % (key, value)]
        argv += ["--profile", "mock"]
        if self.options.compression:
            argv += ["--compression", self.options.compression]
        if self.options.layers:
            argv += ["--layers", self.options.layers]
        if self.options.state:
            argv += ["--state", self.options.state]
        if self.options.fresh:
            argv.append("--fresh")
        if self.options.parent and stage == "bootstrap" and not self.buildroot.is_bootstrap:
            argv += ["--parent", self.options.parent]
        for option in ("from", "to"):
            repository = getattr(self.options, option)
            if repository:
                argv += ["--" + option, repository]
        if self.options.registry_optional:  # the configuration may name a registry
            argv.append("--registry-optional")
        if archive and self.options.max_layers:
            argv += ["--max-layers", str(self.options.max_layers)]
        if archive and self.options.all_stages:
            argv.append("--all-stages")
        return self.command(*argv)

    def labels(self, stage):
        """Returns what log --label finds: the host, the package that is built, the result of its build, and the labels of the options."""
        labels = {"host": platform.node()}
        if stage != "bootstrap":
            labels["package"] = self.package()
        if stage == "built":
            labels["result"] = "success" if sys.exc_info()[0] is None else "failed"
        labels = {key: value for key, value in labels.items() if value}
        labels.update(self.options.labels)
        return labels

    def package(self):
        """Returns NAME-VERSION-RELEASE of the source package that Mock has put into the chroot, None without one, or with several."""
        directory = self.buildroot.make_chroot_path(self.buildroot.builddir, "originals")
        try:
            names = [name for name in os.listdir(directory) if name.endswith(".src.rpm")]
        except OSError:
            return None
        return names[0][:-len(".src.rpm")] if len(names) == 1 and names[0].isprintable() else None

    def command(self, *arguments):
        """Returns a command line on the store, with a report as JSON."""
        return [self.options.binary, "--store", self.options.store, "-q", *arguments, "--json"]

    def run(self, argv, statuses=(0,)):
        """
        Runs the command in Mock's clean environment, logs what it says and returns its stdout.

        Not by mockbuild.util.do(): that stops reading at the end of stdout and may drop what stderr still holds,
        which is where a command that fails at once says why.
        """
        self.log.debug("rootstrata: running %s", " ".join(map(shlex.quote, argv)))
        timeout = self.buildroot.config.get("opstimeout") or None
        try:
            done = subprocess.run(argv, env=clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, encoding="utf-8", errors="replace", timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Trouble("no end after %s seconds (opstimeout)" % timeout) from None
        except OSError as error:
            raise Trouble("cannot run %s: %s" % (argv[0], os.strerror(error.errno))) from error
        self.log.debug("rootstrata: exit status %d, stdout %r, stderr %r", done.returncode, done.stdout, done.stderr)
        if done.returncode == LOCKED:
            raise InUse(failure(done))
        if done.returncode not in statuses:
            raise Trouble(failure(done))
        for line in done.stderr.splitlines():
            self.log.info("%s", line)
        return done.stdout


def failure(done):
    """Says why a command failed: its error lines, else how it ended."""
    prefix = "rootstrata: error: "
    errors = [line[len(prefix):] for line in done.stderr.splitlines() if line.startswith(prefix)]
    if errors:
        return "; ".join(errors)
    if done.returncode < 0:
        return "killed by signal %d" % -done.returncode
    return "exit status %d: %.500s" % (done.returncode, " ".join(done.stderr.split()) or "no message")


def summary(stdout):
    """Says in one line what the command's report holds: what was reused, written and read, and how long it took."""
    try:
        report = json.loads(stdout)
        if report["version"] != 1:
            raise ValueError("version %r" % report["version"])
        reused = [name for name, _ in by_role(layer for layer in report["layers"] if layer["reused"])]
        new = ["%s %s" % (name, size(count_bytes))
               for name, count_bytes in by_role(layer for layer in report["layers"] if not layer["reused"])]
        parts = ["%(series)s@%(stage)s is snapshot %(id)d" % report,
                 "reused " + (", ".join(reused) or "nothing"),
                 "new " + (", ".join(new) or "nothing"),
                 "read %(files_read)d files" % report + ", " + size(report["bytes_read"])]
        if report.get("nearly"):
            parts.append("--parent %(parent)s would spare " % report["nearly"] + size(report["nearly"]["spared_bytes"]))
        if "path" in report:
            written = report["bytes_written"]
            parts.append("%s %s" % (report["path"], size(written) + " written" if written else "is up to date"))
        return "; ".join(parts + ["%.1f s" % sum(report["seconds"].values())])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Trouble("the report is not understood (%s): %.200r" % (error, stdout)) from error


def by_role(layers):
    """Returns the role and the bytes of each layer; those of packages are one entry with their number, where the first is."""
    listed = {}
    for place, layer in enumerate(layers):
        of_role = listed.setdefault("package" if layer["role"] == "package" else place, (layer["role"], []))
        of_role[1].append(layer["size_bytes"])
    return [(role if len(sizes) == 1 else "%d packages" % len(sizes), sum(sizes)) for role, sizes in listed.values()]


def restored(stdout):
    """Says in one line what the command's report of a restore holds."""
    try:
        report = json.loads(stdout)
        parts = ["restored %(series)s@%(stage)s, snapshot %(id)d" % report,
                 "%(made)d entries made, %(adjusted)d adjusted, %(removed)d removed" % report,
                 size(report["bytes_written"]) + " written", "%.1f s" % sum(report["seconds"].values())]
        return "; ".join(parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Trouble("the report is not understood (%s): %.200r" % (error, stdout)) from error


def size(count_bytes):
    """Formats a size, in decimal megabytes from one up, else in kilobytes."""
    return "%.1f MB" % (count_bytes / 1e6) if count_bytes >= 1e6 else "%.1f kB" % (count_bytes / 1e3)
