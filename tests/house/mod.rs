//! Measures a checkout of the project: the figures that `scripts/figures` prints, and that the tests of tidy hold.
//!
//! Tests, that is items under `#[cfg(test)]` and files of such modules, are left out of all figures.

pub(crate) mod comments;
pub(crate) mod functions;
pub(crate) mod imports;
pub(crate) mod names;

use std::path::{Path, PathBuf};
use syn::{Attribute, Item};

/// A source file of the library or the command.
pub(crate) struct Source {
    /// Path below `src/`, with slashes.
    pub(crate) name: String,
    /// Names of the modules that lead to the file: `store`, `records`; empty for lib.rs and main.rs.
    pub(crate) module: Vec<String>,
    /// The whole text.
    pub(crate) text: String,
    /// Byte offset at which each line begins.
    starts: Vec<usize>,
    /// The items outside of tests.
    pub(crate) items: Vec<Item>,
    /// For each line, counted from 0, whether the line belongs to a test.
    is_test: Vec<bool>,
}

impl Source {
    /// Returns the number of the line at a byte offset, from 1.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Returns the lines outside of tests with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().zip(&self.is_test).enumerate();
        lines.filter_map(|(at, (line, is_test))| (!is_test).then_some((at + 1, line)))
    }
}

/// Reads all source files of a checkout, in the order of their names.
pub(crate) fn sources(checkout: &Path) -> Vec<Source> {
    let src = checkout.join("src");
    let mut found = Vec::new();
    let mut test_files = Vec::new();
    for path in files(&src, "rs") {
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path
            .strip_prefix(&src)
            .map(Path::to_owned)
            .unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let starts = line_starts(&text);
        let mut is_test = vec![false; starts.len()];
        let mut items = Vec::new();
        for item in file.items {
            if !is_for_tests(attributes(&item)) {
                items.push(item);
                continue;
            }
            let range = syn::spanned::Spanned::span(&item).byte_range();
            let first = starts.partition_point(|start| *start <= range.start) - 1;
            let last = starts.partition_point(|start| *start < range.end);
            is_test[first..last].fill(true);
            if let Item::Mod(module) = &item
                && module.content.is_none()
            {
                test_files.push(test_file(&name, module));
            }
        }
        let module = module_of(&name);
        found.push(Source {
            name,
            module,
            text,
            starts,
            items,
            is_test,
        });
    }
    let is_of = |name: &str, file: &String| {
        let folder = format!("{}/", file.trim_end_matches(".rs"));
        name == file || name.starts_with(&folder)
    };
    found.retain(|source| !test_files.iter().any(|file| is_of(&source.name, file)));
    found
}

/// Returns all files with this extension below a directory, sorted.
pub(crate) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let below = paths.into_iter().flat_map(|path| {
        if path.is_dir() && !path.ends_with("target") {
            files(&path, extension)
        } else {
            Vec::from_iter(
                path.extension()
                    .is_some_and(|e| e == extension)
                    .then_some(path),
            )
        }
    });
    below.collect()
}

fn line_starts(text: &str) -> Vec<usize> {
    let mut starts = vec![0];
    starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
    starts
}

fn module_of(name: &str) -> Vec<String> {
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    match stem {
        "lib" | "main" => Vec::new(),
        _ => stem.split('/').map(str::to_owned).collect(),
    }
}

/// Returns the file of a module for tests that `name` declares.
fn test_file(name: &str, module: &syn::ItemMod) -> String {
    let directory = match name.rsplit_once('/') {
        Some((directory, "mod.rs")) => format!("{directory}/"),
        Some((directory, file)) => format!("{directory}/{}/", file.trim_end_matches(".rs")),
        None if name == "lib.rs" => String::new(),
        None => format!("{}/", name.trim_end_matches(".rs")),
    };
    let beside = name
        .rsplit_once('/')
        .map_or(String::new(), |(directory, _)| format!("{directory}/"));
    for attribute in module.attrs.iter().filter(|a| a.path().is_ident("path")) {
        if let syn::Meta::NameValue(pair) = &attribute.meta
            && let syn::Expr::Lit(literal) = &pair.value
            && let syn::Lit::Str(path) = &literal.lit
        {
            return format!("{beside}{}", path.value());
        }
    }
    format!("{directory}{}.rs", module.ident)
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_test = |meta: &syn::Meta| match meta {
            syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
            _ => false,
        };
        is_test(&attribute.meta)
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
