# SPDX-License-Identifier: GPL-2.0-or-later
"""What the plugin makes of its options."""

import ast
import os
import unittest

import standin

INJECTED = {"basedir": "/b", "cache_topdir": "/var/cache/mock", "cachedir": "/c", "root": "r", "resultdir": "/x"}


def read(*arguments, **conf):
    """Returns the options as read from --plugin-option arguments and from a configuration file."""
    given = dict(standin.parse_plugin_options("rootstrata:" + argument for argument in arguments), **conf)
    return standin.load_plugin().read_options(dict(INJECTED, **given))


class Options(unittest.TestCase):
    def refused(self, *arguments, **conf):
        with self.assertRaises(standin.ConfigError) as caught:
            read(*arguments, **conf)
        return str(caught.exception)

    def test_the_python_of_the_oldest_host_reads_the_plugin(self):
        with open(standin.PLUGIN, encoding="utf-8") as plugin:
            source = plugin.read()
        ast.parse(source, feature_version=(3, 9))
        with self.assertRaises(SyntaxError):
            ast.parse(source + "\nmatch 1:\n    case _:\n        pass\n", feature_version=(3, 9))

    def test_without_options_both_stages_go_to_a_store_under_the_cache_and_trouble_does_not_end_a_build(self):
        self.assertEqual(vars(read()), {
            "binary": "rootstrata", "store": "/var/cache/mock/rootstrata", "series": None, "compression": None, "labels": {}, "layers": None,
            "state": None, "fresh": False, "source_date_epoch": None, "max_layers": None, "parent": None,
            "from": None, "to": None, "registry_optional": True,
            "stages": ("bootstrap", "deps-installed"), "all_stages": False, "on_failure": False,
            "bootstrap_chroot": False, "required": False, "restore_bootstrap": False, "prune": True, "keep_last": 20,
            "keep_daily": 14, "keep_within": None})

    def test_flags_may_be_words_numbers_or_python(self):
        for word in ("True", "true", "yes", "on", "1"):
            self.assertIs(read("required=" + word).required, True, word)
        for word in ("False", "false", "No", "off", "0"):
            self.assertIs(read("required=" + word).required, False, word)
        self.assertIs(read(required=True).required, True)

    def test_stages_may_be_one_word_several_words_or_a_list(self):
        both = ("bootstrap", "deps-installed")
        self.assertEqual(read("stages=bootstrap").stages, ("bootstrap",))
        self.assertEqual(read("stages=bootstrap,deps-installed").stages, both)
        self.assertEqual(read("stages=bootstrap deps-installed").stages, both)
        self.assertEqual(read("stages=['bootstrap', 'deps-installed']").stages, both)
        self.assertEqual(read(stages=["deps-installed"]).stages, ("deps-installed",))
        self.assertEqual(read(stages=[]).stages, ())

    def test_none_means_the_default(self):
        self.assertEqual(read("store=None", compression=None).store, "/var/cache/mock/rootstrata")

    def test_an_unknown_option_is_named_with_those_that_exist(self):
        self.assertEqual(
            self.refused("stoer=/x"),
            "rootstrata: unknown option stoer; the options are all_stages, binary, bootstrap_chroot, compression, "
            "fresh, from, keep_daily, keep_last, keep_within, labels, layers, max_layers, on_failure, parent, prune, registry_optional, required, "
            "restore_bootstrap, series, source_date_epoch, stages, state, store, to")

    def test_an_unusable_value_is_named_with_what_was_expected(self):
        self.assertEqual(self.refused("required=maybe"),
                         "rootstrata: option required is 'maybe', expected True or False")
        self.assertEqual(self.refused("stages=prep"),
                         "rootstrata: option stages is 'prep', expected a list out of bootstrap, deps-installed, built")
        self.assertEqual(self.refused("stages=1"),
                         "rootstrata: option stages is 1, expected a list out of bootstrap, deps-installed, built")

        for value in "0", "-1", "many", "True":
            self.assertIn("expected a number from 1 up", self.refused("keep_last=" + value))
        for value in "-1", "now", "True":
            self.assertIn("expected a number of seconds since 1970", self.refused("source_date_epoch=" + value))
        self.assertEqual(read("source_date_epoch=0").source_date_epoch, 0)
        self.assertEqual((read("keep_last=3").keep_last, read(keep_daily="5").keep_daily), (3, 5))

    def test_labels_are_a_dictionary_or_pairs(self):
        self.assertEqual(read(labels={"task": 7}).labels, {"task": "7"})
        self.assertEqual(read("labels=task=7,a=b=c").labels, {"task": "7", "a": "b=c"})
        for value in "labels==7", "labels=1":
            self.assertIn("expected a dictionary of texts", self.refused(value))

    def test_a_name_that_reads_as_a_number_is_refused_rather_than_changed(self):
        self.assertEqual(self.refused("series=1.10"), "rootstrata: option series is 1.1, expected a non-empty string")
        self.assertEqual(read("series='1.10'").series, "1.10")

    def test_every_option_has_a_row_in_the_readme(self):
        path = os.path.join(os.path.dirname(standin.PLUGIN), "README.md")
        with open(path, encoding="utf-8") as file:
            rows = [line.split("`")[1] for line in file if line.startswith("| `")]
        options = list(standin.load_plugin().OPTIONS)
        self.assertEqual([row for row in rows if row in options], options)
