# SPDX-License-Identifier: GPL-2.0-or-later
"""What each kind of Mock run leaves in the store and in the result directory, with the real command."""

import logging
import multiprocessing
import os
import unittest.mock

import cases
import standin
import trees

SERIES = "fedora-rawhide-x86_64"
BOOTSTRAP, DEPS, BUILT = (SERIES, "bootstrap"), (SERIES, "deps-installed"), (SERIES, "built")
BOOTSTRAP_CHROOT = (SERIES + "-bootstrap", "bootstrap")


class Runs(cases.CommandCase):
    def archive(self, name="buildroot-oci.tar", result=None):
        return os.path.join(result or self.result, name)

    def test_a_first_run_records_two_stages_of_one_run_and_exports_the_second(self):
        mock = self.mock()
        mock.run("first")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS])
        self.assertEqual([snapshot["run"] for snapshot in self.snapshots()], [mock.uuid + ".1"] * 2)
        self.assertEqual(cases.archive_json(self.archive(), "oci-layout"), {"imageLayoutVersion": "1.0.0"})
        self.assertEqual(len(cases.image_names(self.archive())), 1)

    def test_a_second_install_of_the_same_packages_reuses_base_and_delta(self):
        self.mock().run("first")
        self.mock().run("root-cache")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS] * 2)
        self.assertIn("; reused base; new state ", self.report(2))
        self.assertIn("; reused base, delta; new state ", self.report(3))

    def test_a_chroot_that_was_not_cleaned_is_no_base(self):
        self.mock().run("first")
        self.mock().run("no-clean")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS, DEPS])
        self.assertIn("rootstrata: the chroot is not a clean base, stage bootstrap is not recorded",
                      self.logged(logging.INFO))

    def test_the_dependencies_of_the_package_before_are_no_base_though_mock_says_cached(self):
        mock = self.mock()
        mock.run("no-clean of two packages, from the root cache")
        self.assertTrue(mock.buildroot.chrootWasCached)
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS, DEPS])

    def restored(self):
        return [line for line in self.logged(logging.INFO) if "rootstrata: restored " in line]

    def test_a_cleaned_chroot_is_restored_where_that_is_asked_for_and_recorded_again(self):
        options = {"restore_bootstrap": True}
        first = self.mock(options)
        first.run("restored")
        self.assertEqual((first.buildroot.installs, self.restored()), (1, []))
        second = self.mock(options)
        second.run("restored")
        self.assertEqual((second.buildroot.installs, len(self.restored())), (0, 1))
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS] * 2)
        self.assertIn("; reused base", self.report(2))

    def test_a_used_chroot_is_restored_under_no_clean_alone(self):
        options = {"restore_bootstrap": True}
        self.mock(options).run("restored")
        mock = self.mock(options, clean=False)
        root = mock.buildroot.make_chroot_path()
        trees.write(os.path.join(root, "left-over"), b"x")
        self.mock(options).run("shell")
        self.assertTrue(os.path.exists(os.path.join(root, "left-over")))
        mock.run("no-clean, restored")
        self.assertFalse(os.path.exists(os.path.join(root, "left-over")))
        self.assertEqual((mock.buildroot.installs, len(self.restored())), (0, 1))
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS] * 2)

    def test_a_snapshot_that_is_older_than_the_configuration_is_not_restored(self):
        config = os.path.join(self.directory, "newer.cfg")
        trees.write(config, b"")
        os.utime(config, (2 ** 33, 2 ** 33))
        options = {"restore_bootstrap": True}
        self.mock(options).run("restored")
        mock = self.mock(options, config_paths=(config,))
        mock.run("restored")
        self.assertEqual((mock.buildroot.installs, self.restored()), (1, []))
        self.assertIn("rootstrata: stage bootstrap is not restored: %s is newer" % config, self.logged(logging.INFO))

    def test_a_restore_that_fails_ends_the_build(self):
        options = {"restore_bootstrap": True}
        self.mock(options).run("restored")
        base = self.snapshots()[0]["layers"][0]["digest"].split(":")[1]
        os.unlink(os.path.join(self.store, "blobs", "sha256", base))
        with self.assertRaises(standin.Error) as caught:
            self.mock(options).run("restored")
        self.assertIn("the blob is missing", str(caught.exception))

    def test_a_store_keeps_as_many_snapshots_of_a_stage_as_it_is_asked_to(self):
        options = {"keep_last": 2, "keep_daily": 1}
        for package in "first", "root-cache", "root-cache", "root-cache":
            self.mock(options).run(package)
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS] * 2)
        self.assertEqual(self.logged(logging.WARNING), [])

    def test_init_records_the_base_and_exports_nothing(self):
        self.mock().run("init")
        self.assertEqual(self.stages(), [BOOTSTRAP])
        self.assertEqual(os.listdir(self.result), [])

    def test_a_command_in_a_used_chroot_records_nothing(self):
        self.mock().run("first")
        self.mock().run("chroot")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS])

    def test_calculating_build_dependencies_exports_too(self):
        self.mock().run("calculate-build-dependencies")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS])
        self.assertTrue(os.path.exists(self.archive()))

    def test_a_chroot_from_a_buildroot_image_is_no_base(self):
        self.mock(buildroot_image=True).run("buildroot-image")
        self.assertEqual(self.stages(), [DEPS])
        self.assertTrue(os.path.exists(self.archive()))

    def test_mocks_bootstrap_chroot_is_left_alone(self):
        self.mock(with_bootstrap=True).run("bootstrap-chroot")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS])

    def test_mocks_bootstrap_chroot_is_a_series_of_its_own_if_asked_for(self):
        options = {"bootstrap_chroot": True}
        self.mock(options, with_bootstrap=True).run("bootstrap-chroot")
        self.mock(options, with_bootstrap=True).run("bootstrap-chroot again")
        self.assertEqual(self.stages(), [BOOTSTRAP_CHROOT, BOOTSTRAP, DEPS, BOOTSTRAP, DEPS])

    def test_mocks_bootstrap_chroot_from_an_image_is_a_base(self):
        self.mock({"bootstrap_chroot": True}, with_bootstrap=True, bootstrap_image=True).run("bootstrap-chroot")
        self.assertEqual(self.stages(), [BOOTSTRAP_CHROOT, BOOTSTRAP, DEPS])

    def test_a_chain_gives_each_package_a_run_and_an_archive(self):
        self.mock().run("init")
        mock = self.mock()
        mock.run("chain")
        runs = [(snapshot["stage"], snapshot["run"]) for snapshot in self.snapshots()[1:]]
        self.assertEqual(runs, [(stage, "%s.%d" % (mock.uuid, number))
                                for number in (2, 3) for stage in ("bootstrap", "deps-installed")])
        for package in ("first", "second"):
            result = os.path.join(self.directory, "results", package)
            self.assertEqual(os.listdir(result), ["buildroot-oci.tar"])
        self.assertFalse(os.path.exists(self.archive()))

    def test_builds_with_a_uniqueext_share_a_store_and_a_series_at_the_same_time(self):
        context = multiprocessing.get_context("fork")
        barrier = context.Barrier(4)

        def build(extension):
            mock = self.mock(uniqueext=extension, options={"required": True})
            barrier.wait()
            mock.run("first")

        builds = [context.Process(target=build, args=(str(number),)) for number in range(4)]
        for process in builds:
            process.start()
        for process in builds:
            process.join()
        self.assertEqual([process.exitcode for process in builds], [0] * 4)
        self.assertEqual(sorted(self.stages()), [BOOTSTRAP] * 4 + [DEPS] * 4)
        self.assertEqual(len({snapshot["run"] for snapshot in self.snapshots()}), 4)
        for number in range(4):
            result = os.path.join(self.directory, "lib", "%s-%d" % (SERIES, number), "result")
            self.assertEqual(cases.archive_json(self.archive(result=result), "oci-layout"),
                             {"imageLayoutVersion": "1.0.0"})

    def test_a_failed_build_leaves_the_archive_of_its_dependencies(self):
        with self.assertRaises(standin.BuildError):
            self.mock().run("failing")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS])
        self.assertEqual(os.listdir(self.result), ["buildroot-oci.tar"])

    def test_a_good_build_is_exported_as_it_ended_if_its_stage_is_asked_for(self):
        self.mock({"stages": "bootstrap,deps-installed,built"}).run("first")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS, BUILT])
        self.assertEqual(len({snapshot["run"] for snapshot in self.snapshots()}), 1)
        self.assertEqual(sorted(os.listdir(self.result)), ["buildroot-built-oci.tar", "buildroot-oci.tar"])

    def test_a_failed_build_is_exported_too_where_the_stage_is_asked_for(self):
        with self.assertRaises(standin.BuildError):
            self.mock({"stages": ["built"]}).run("failing")
        self.assertEqual(self.stages(), [BUILT])
        with self.assertRaises(KeyboardInterrupt):
            self.mock({"stages": ["built"]}).run("interrupted")
        self.assertEqual(self.stages(), [BUILT])

    def test_what_has_built_nothing_is_not_recorded_as_built(self):
        self.mock({"stages": ["built"]}).run("calculate-build-dependencies")
        self.assertFalse(os.path.exists(self.store))
        self.mock({"stages": ["built"]}).run("spec and sources")
        self.assertEqual([stage for _, stage in self.stages()], ["built"])

    def test_a_failed_build_is_exported_as_it_ended_if_asked_for(self):
        with self.assertRaises(standin.BuildError):
            self.mock({"on_failure": True}).run("failing")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS, BUILT])
        self.assertEqual(len({snapshot["run"] for snapshot in self.snapshots()}), 1)
        self.assertEqual(sorted(os.listdir(self.result)), ["buildroot-built-oci.tar", "buildroot-oci.tar"])

    def test_a_build_that_lacks_a_dependency_is_exported_as_it_ended(self):
        with self.assertRaises(standin.BuildError):
            self.mock({"on_failure": True}).run("missing dependency")
        self.assertEqual(self.stages(), [BOOTSTRAP, BUILT])
        self.assertEqual(os.listdir(self.result), ["buildroot-built-oci.tar"])

    def test_a_package_that_fails_after_one_that_did_not_is_a_failed_build(self):
        mock = self.mock({"on_failure": True})
        with self.assertRaises(standin.BuildError):
            mock.run("chain, the second fails")
        self.assertEqual(mock.buildroot.state.result, "success")
        self.assertEqual([stage for _, stage in self.stages()].count("built"), 1)
        self.assertTrue(os.path.exists(self.archive("buildroot-built-oci.tar", mock.buildroot.resultdir)))

    def test_neither_a_good_build_nor_an_interrupted_one_has_failed(self):
        self.mock({"on_failure": True}).run("first")
        with self.assertRaises(KeyboardInterrupt):
            self.mock({"on_failure": True}).run("interrupted")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS] * 2)

    def test_making_the_source_package_first_is_a_run_of_its_own_and_not_a_failed_one(self):
        mock = self.mock({"on_failure": True})
        mock.run("spec and sources")
        self.assertEqual([(snapshot["stage"], snapshot["run"]) for snapshot in self.snapshots()],
                         [("bootstrap", mock.uuid + ".1"), ("deps-installed", mock.uuid + ".2")])

    def test_only_the_stages_that_are_asked_for_are_recorded(self):
        self.mock({"stages": "bootstrap"}).run("first")
        self.assertEqual(self.stages(), [BOOTSTRAP])
        self.assertEqual(os.listdir(self.result), [])
        self.mock({"stages": "deps-installed"}).run("first")
        self.assertEqual(self.stages(), [BOOTSTRAP, DEPS])
        self.assertEqual(os.listdir(self.result), ["buildroot-oci.tar"])


class Archives(cases.CommandCase):
    def test_the_archive_belongs_to_the_user_and_mocks_states_enclose_its_making(self):
        mock = self.mock()
        mock.run("first")
        archive = os.stat(os.path.join(self.result, "buildroot-oci.tar"))
        self.assertEqual((archive.st_uid, archive.st_gid), (standin.USER_UID, standin.USER_GID))
        self.assertEqual(mock.buildroot.plugins.uids_at["postdeps"], (standin.USER_UID, standin.USER_UID, 0))
        self.assertEqual(mock.buildroot.plugins.uids_at["postbuild"], (0, 0, 0))
        self.assertEqual(mock.buildroot.state.lines, [
            "Start: recording buildroot stage bootstrap", "Finish: recording buildroot stage bootstrap",
            "Start: producing buildroot as OCI image", "Finish: producing buildroot as OCI image"])

    def test_an_archive_holds_one_image_or_one_for_each_stage_of_its_run(self):
        archive = os.path.join(self.result, "buildroot-oci.tar")
        self.mock().run("first")
        self.assertEqual(len(cases.image_names(archive)), 1)
        self.mock({"all_stages": True}).run("root-cache")
        bootstrap, deps = sorted(cases.image_names(archive))
        self.assertIn("bootstrap", bootstrap)
        self.assertIn("deps-installed", deps)

    def test_an_unchanged_chroot_leaves_the_archive_as_it_is(self):
        self.mock().run("first")
        archive = os.path.join(self.result, "buildroot-oci.tar")
        before = os.stat(archive)
        with unittest.mock.patch.object(trees, "write_dependencies"):
            self.mock().run("no-clean")
        after = os.stat(archive)
        self.assertEqual((after.st_ino, after.st_mtime_ns), (before.st_ino, before.st_mtime_ns))
        self.assertIn("%s is up to date" % archive, self.report(2))

    def test_the_store_series_and_compression_are_those_of_the_options(self):
        store = os.path.join(self.directory, "elsewhere")
        self.mock({"store": store, "series": "rawhide", "compression": "gzip:1", "bootstrap_chroot": True},
                  with_bootstrap=True).run("bootstrap-chroot")
        self.assertEqual([(snapshot["series"], snapshot["stage"]) for snapshot in self.snapshots(store)],
                         [("rawhide-bootstrap", "bootstrap"), ("rawhide", "bootstrap"), ("rawhide", "deps-installed")])
        self.assertFalse(os.path.exists(self.store))
        archive = os.path.join(self.result, "buildroot-oci.tar")
        digest = cases.archive_json(archive, "index.json")["manifests"][0]["digest"]
        manifest = cases.archive_json(archive, "blobs/" + digest.replace(":", "/"))
        self.assertEqual({layer["mediaType"] for layer in manifest["layers"]},
                         {"application/vnd.oci.image.layer.v1.tar+gzip"})

    def test_the_summary_tells_what_was_reused_written_and_read(self):
        self.mock().run("first")
        archive = os.path.join(self.result, "buildroot-oci.tar")
        size = r"\d+\.\d [kM]B"
        read = r"read \d+ files, %s; " % size
        self.assertRegex(self.report(0), r"^rootstrata: %s@bootstrap is snapshot \d+; reused nothing; "
                                         r"new base %s, state %s; %s\d+\.\d s$" % (SERIES, size, size, read))
        self.assertRegex(self.report(1), r"^rootstrata: %s@deps-installed is snapshot \d+; reused base; "
                                         r"new delta %s, state %s; %s%s %s written; \d+\.\d s$"
                         % (SERIES, size, size, read, archive, size))


class Trouble(cases.CommandCase):
    """Trouble that the real command can be made to give."""

    def test_a_store_that_cannot_be_made_is_logged_with_the_commands_words_and_the_build_goes_on(self):
        os.makedirs(os.path.dirname(self.store))
        trees.write(self.store, b"")
        self.mock().run("first")
        warnings = self.logged(logging.WARNING)
        self.assertEqual(len(warnings), 2)
        self.assertRegex(warnings[0], "^rootstrata: stage bootstrap: .*" + self.store)
        self.assertRegex(warnings[1], "^rootstrata: stage deps-installed: .*" + self.store)
        self.assertEqual(os.listdir(self.result), [])

    def test_a_store_that_cannot_be_made_ends_the_build_if_the_archive_is_required(self):
        os.makedirs(os.path.dirname(self.store))
        trees.write(self.store, b"")
        with self.assertRaisesRegex(standin.Error, "^rootstrata: stage bootstrap: .*" + self.store):
            self.mock({"required": True}).run("first")

    def test_a_compression_that_the_command_does_not_know_is_named_in_its_words(self):
        self.mock({"compression": "lzma"}).run("init")
        self.assertIn("lzma", self.logged(logging.WARNING)[0])
        self.assertFalse(os.path.exists(self.store) and self.stages())
