# SPDX-License-Identifier: GPL-2.0-or-later
"""How the command is called, and what becomes of failures that the real command cannot be made to give."""

import json
import logging
import os
import platform
import unittest.mock

import cases
import standin

REPORT = json.dumps({
    "version": 1, "id": 12, "series": "s", "stage": "t", "run": "r", "entries": 9, "files_read": 3,
    "bytes_read": 2500000, "packages": None, "seconds": {"scan": 0.25, "pack": 0.5},
    "layers": [{"role": "base", "reused": True, "size_bytes": 1},
               {"role": "state", "reused": False, "size_bytes": 60000}]})
HOST = "host=" + platform.node()
REPORTS = "echo '%s'\n" % REPORT


class Arguments(cases.ScriptCase):
    def test_a_first_run_takes_a_snapshot_and_then_an_export(self):
        mock = self.mock(REPORTS)
        mock.run("first")
        root = mock.buildroot.make_chroot_path()
        common = ["--series", "fedora-rawhide-x86_64", "--stage"]
        run = ["--run", mock.uuid + ".1", "--label", HOST, "--profile", "mock", "--registry-optional", "--json"]
        self.assertEqual(self.calls(), [
            ["--store", self.store, "-q", "snapshot", root] + common + ["bootstrap"] + run,
            ["--store", self.store, "-q", "export", "--root", root, "-o", self.result + "/buildroot-oci.tar"]
            + common + ["deps-installed"] + run, self.prune("20", "14")])

    def prune(self, last, daily, store=None, series="fedora-rawhide-x86_64", more=()):
        return (["--store", store or self.store, "-q", "prune", "--series", series, "--keep-last", last, "--keep-daily", daily]
                + list(more) + ["--no-wait", "--json"])

    def test_options_become_arguments(self):
        options = {"store": "/s", "series": "rawhide", "compression": "zstd:19", "all_stages": "yes",
                   "layers": "packages:40", "state": "normalized", "fresh": "yes", "max_layers": "30", "keep_last": "3", "keep_daily": 2, "keep_within": "36h",
                   "labels": {"task": 7}}
        mock = self.mock(REPORTS, options)
        mock.run("first")
        root = mock.buildroot.make_chroot_path()
        common = ["--series", "rawhide", "--stage"]
        run = ["--run", mock.uuid + ".1", "--label", HOST, "--label", "task=7", "--profile", "mock", "--compression", "zstd:19", "--layers",
               "packages:40", "--state", "normalized", "--fresh", "--registry-optional"]
        self.assertEqual(self.calls(), [
            ["--store", "/s", "-q", "snapshot", root] + common + ["bootstrap"] + run + ["--json"],
            ["--store", "/s", "-q", "export", "--root", root, "-o", self.result + "/buildroot-oci.tar"]
            + common + ["deps-installed"] + run + ["--max-layers", "30", "--all-stages", "--json"],
            self.prune("3", "2", "/s", "rawhide", ["--keep-within", "36h"])])

    def test_a_parent_is_that_of_the_first_stage_and_one_that_would_spare_much_is_named(self):
        report = json.dumps(dict(json.loads(REPORT), nearly={"parent": "fedora-41@bootstrap", "spared_bytes": 74600000}))
        mock = self.mock("echo '%s'\n" % report, {"prune": "no", "parent": "fedora-41@bootstrap"})
        mock.run("first")
        given = [call[call.index("--parent") + 1] if "--parent" in call else None for call in self.calls()]
        self.assertEqual(given, ["fedora-41@bootstrap", None])
        said = self.logged(logging.INFO)[0]
        self.assertIn("; --parent fedora-41@bootstrap would spare 74.6 MB; ", said)

    def test_the_package_and_the_result_of_its_build_are_labels(self):
        put = 'if [ "$4" = snapshot ]; then mkdir -p "$5/builddir/build/originals"; : > "$5/builddir/build/originals/hello-1-1.src.rpm"; fi\n'
        mock = self.mock(put + REPORTS, {"prune": "no", "labels": "host=,a=b"})
        mock.run("first")
        given = [[word for before, word in zip(call, call[1:]) if before == "--label"] for call in self.calls()]
        self.assertEqual(given, [["a=b", "host="], ["a=b", "host=", "package=hello-1-1"]])

    def test_registries_become_arguments_and_their_trouble_is_none_of_the_build_unless_that_is_wanted(self):
        registries = {"from": "docker://r.example:5000/all", "to": "docker://r.example:5000/mine"}
        asked = ["--from", registries["from"], "--to", registries["to"]]
        for more, end in (({}, ["--registry-optional", "--json"]), ({"registry_optional": "no"}, ["--json"])):
            self.mock(REPORTS, {"stages": "bootstrap", "prune": "no", **registries, **more}).run("init")
            self.assertEqual(self.calls()[-1][-len(asked + end):], asked + end)

    def test_the_package_manager_alone_gets_the_epoch_that_is_asked_for(self):
        mock = self.mock(REPORTS, {"source_date_epoch": "1700000000"})
        mock.run("first")
        self.assertEqual(mock.buildroot.epochs, ["1700000000", "1700000000", None])

    def test_an_epoch_that_mock_was_configured_with_is_put_back(self):
        mock = self.mock(REPORTS, {"source_date_epoch": 1}, environment={"SOURCE_DATE_EPOCH": "2"})
        mock.run("first")
        self.assertEqual(mock.buildroot.epochs, ["1", "1", "2"])
        mock = self.mock(REPORTS, environment={"SOURCE_DATE_EPOCH": "2"})
        mock.run("first")
        self.assertEqual(mock.buildroot.epochs, ["2", "2", "2"])

    def test_a_store_that_is_not_to_be_pruned_is_left_alone(self):
        self.mock(REPORTS, {"prune": "no"}).run("first")
        self.assertEqual([call[3] for call in self.calls()], ["snapshot", "export"])

    def test_a_stage_that_is_recorded_alone_is_pruned_too(self):
        self.mock(REPORTS, {"stages": "bootstrap"}).run("init")
        self.assertEqual([call[3] for call in self.calls()], ["snapshot", "prune"])

    def test_what_hinders_pruning_fails_no_build(self):
        for code, level in (75, logging.DEBUG), (2, logging.WARNING):
            body = "case $4 in prune) echo 'rootstrata: error: no luck' >&2; exit %d;; esac\n" % code
            self.mock(body + REPORTS, {"required": True}).run("first")
            self.assertTrue([said for said in self.logged(level) if "prune" in said or "no luck" in said])
        self.assertEqual(len(self.logged(logging.WARNING)), 1)

    def test_a_failed_build_is_exported_into_an_archive_of_its_own(self):
        mock = self.mock(REPORTS, {"on_failure": True, "stages": []})
        with self.assertRaises(standin.BuildError):
            mock.run("failing")
        self.assertEqual(self.calls(), [
            ["--store", self.store, "-q", "export", "--root", mock.buildroot.make_chroot_path(), "-o",
             self.result + "/buildroot-built-oci.tar", "--series", "fedora-rawhide-x86_64", "--stage", "built",
             "--run", mock.uuid + ".1", "--label", HOST, "--label", "result=failed", "--profile", "mock",
             "--registry-optional", "--json"],
            self.prune("20", "14")])

    def test_the_command_runs_as_root_in_mocks_clean_environment(self):
        with unittest.mock.patch.dict(os.environ, {"ROOTSTRATA_STORE": "/wrong", "SOURCE_DATE_EPOCH": "1"}):
            self.mock(REPORTS).run("first")
        names = {line.split("=")[0] for line in self.recorded("env")} - {"PWD", "SHLVL", "OLDPWD", "_"}
        self.assertEqual(names, set(standin.clean_env()))
        self.assertEqual(self.recorded("uids"), ["0", "0"])

    def test_the_command_is_looked_up_in_the_clean_path(self):
        self.mock(REPORTS)
        with unittest.mock.patch.dict(os.environ, {"PATH": self.directory}):
            standin.Mock(self.directory, {"binary": "command-that-is-not-in-usr-bin"}).run("init")
        self.assertIn("rootstrata: stage bootstrap: cannot run command-that-is-not-in-usr-bin: "
                      "No such file or directory", self.logged(logging.WARNING))


class Report(cases.ScriptCase):
    def test_the_report_becomes_one_line(self):
        self.mock(REPORTS).run("init")
        self.assertEqual(self.logged(logging.INFO), [
            "rootstrata: s@t is snapshot 12; reused base; new state 60.0 kB; read 3 files, 2.5 MB; 0.8 s"])

    def test_layers_of_packages_are_counted_and_not_listed(self):
        report = json.loads(REPORT)
        packages = [{"role": "package", "reused": place > 2, "size_bytes": 1000000} for place in range(60)]
        report["layers"][1:1] = packages + [{"role": "delta", "reused": True, "size_bytes": 1}] + packages[3:]
        self.mock("echo '%s'\n" % json.dumps(report)).run("init")
        self.assertEqual(self.logged(logging.INFO), [
            "rootstrata: s@t is snapshot 12; reused base, 114 packages, delta; new 3 packages 3.0 MB, state 60.0 kB; "
            "read 3 files, 2.5 MB; 0.8 s"])
        report["layers"] = [dict(packages[0], label="a-1-1.x86_64")]
        self.mock("echo '%s'\n" % json.dumps(report)).run("init")
        self.assertIn("reused nothing; new package 1.0 MB;", self.logged(logging.INFO)[1])

    def test_what_the_command_says_beside_its_report_is_logged(self):
        self.mock("echo 'rootstrata: warning: packages are unknown' >&2\n" + REPORTS).run("init")
        self.assertEqual(self.logged(logging.INFO)[0], "rootstrata: warning: packages are unknown")

    def test_the_command_line_and_its_output_are_in_root_log_at_debug(self):
        self.mock("echo 'a note' >&2\n" + REPORTS).run("init")
        running, ended = self.logged(logging.DEBUG)
        command = "rootstrata: running %s --store %s -q snapshot " % (self.script, self.store)
        self.assertTrue(running.startswith(command), running)
        self.assertTrue(ended.startswith("rootstrata: exit status 0, stdout "))
        self.assertIn("'a note\\n'", ended)


class Failures(cases.ScriptCase):
    def warning(self, body, **kwargs):
        """Returns the one warning of a --init over `body`; the run itself must go well."""
        self.mock(body, **kwargs).run("init")
        (warning,) = self.logged(logging.WARNING)
        return warning

    def test_the_commands_error_lines_are_the_message(self):
        body = "echo 'a note' >&2; echo 'rootstrata: error: one' >&2; echo 'rootstrata: error: two' >&2; exit 2\n"
        self.assertEqual(self.warning(body), "rootstrata: stage bootstrap: one; two")

    def test_a_failure_without_an_error_line_gives_the_exit_status_and_what_was_said(self):
        self.assertEqual(self.warning("echo 'error: unexpected argument' >&2; exit 2\n"),
                         "rootstrata: stage bootstrap: exit status 2: error: unexpected argument")

    def test_a_silent_failure_gives_the_exit_status(self):
        self.assertEqual(self.warning("exit 101\n"), "rootstrata: stage bootstrap: exit status 101: no message")

    def test_death_by_a_signal_gives_its_number(self):
        self.assertEqual(self.warning("kill -9 $$\n"), "rootstrata: stage bootstrap: killed by signal 9")

    def test_output_that_is_no_report_is_trouble(self):
        for body in ("echo garbage\n", "echo '[]'\n", "exit 0\n", "echo '{\"version\": 1}'\n", "printf '\\377'\n"):
            with self.subTest(body):
                self.records.clear()
                self.assertIn("rootstrata: stage bootstrap: the report is not understood (", self.warning(body))

    def test_a_report_of_another_version_is_trouble(self):
        body = REPORTS.replace('"version": 1', '"version": 2')
        self.assertIn("the report is not understood (version 2): ", self.warning(body))

    def test_a_command_that_outlasts_opstimeout_is_killed(self):
        os.mkfifo(os.path.join(self.directory, "command.never"))
        self.assertEqual(self.warning('read line < "$0.never"\n', opstimeout=0.2),
                         "rootstrata: stage bootstrap: no end after 0.2 seconds (opstimeout)")

    def test_trouble_is_raised_as_mocks_error_if_the_archive_is_required_and_the_states_balance(self):
        mock = self.mock("exit 101\n", {"required": True, "stages": "deps-installed"})
        with self.assertRaises(standin.Error) as caught:
            mock.run("first")
        self.assertEqual(str(caught.exception), "rootstrata: stage deps-installed: exit status 101: no message")
        self.assertEqual(mock.buildroot.state.lines, [
            "Start: producing buildroot as OCI image", "Finish: producing buildroot as OCI image"])

    def test_trouble_never_hides_why_a_build_failed(self):
        mock = self.mock("exit 101\n", {"required": True, "on_failure": True, "stages": []})
        with self.assertRaises(standin.BuildError):
            mock.run("failing")
        self.assertEqual(self.logged(logging.WARNING), ["rootstrata: stage built: exit status 101: no message"])

    def test_an_archive_that_cannot_be_given_to_the_user_is_trouble(self):
        mock = self.mock(REPORTS, {"stages": "deps-installed"})
        refusal = PermissionError(1, "not permitted")
        with unittest.mock.patch.object(mock.uid_manager, "changeOwner", side_effect=refusal):
            mock.run("first")
        self.assertEqual(self.logged(logging.WARNING), ["rootstrata: stage deps-installed: [Errno 1] not permitted"])
