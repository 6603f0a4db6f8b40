//! Which public names nobody uses outside of `src/`.

use super::{Source, files};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use syn::{ImplItem, Item, Visibility};

/// Returns each public name of the library as `FILE: NAME`: items, methods and constants of types.
pub(crate) fn public(sources: &[Source]) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for source in sources.iter().filter(|source| source.name != "main.rs") {
        for item in &source.items {
            let names = names_of(item);
            found.extend(names.into_iter().map(|name| (source.name.clone(), name)));
        }
    }
    found
}

/// Returns all words of the files that use the library from outside: tests, benchmarks, fuzzing, and the command.
pub(crate) fn words_outside(checkout: &Path) -> HashSet<String> {
    let folders = ["tests", "benches", "fuzz"].map(|name| files(&checkout.join(name), "rs"));
    let command = checkout.join("src/main.rs");
    let mut words = HashSet::new();
    for path in folders.into_iter().flatten().chain([command]) {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        words.extend(
            text.split(|c: char| !c.is_alphanumeric() && c != '_')
                .map(str::to_owned),
        );
    }
    words
}

fn names_of(item: &Item) -> Vec<String> {
    let (visibility, name) = match item {
        Item::Const(item) => (&item.vis, &item.ident),
        Item::Enum(item) => (&item.vis, &item.ident),
        Item::Fn(item) => (&item.vis, &item.sig.ident),
        Item::Static(item) => (&item.vis, &item.ident),
        Item::Struct(item) => (&item.vis, &item.ident),
        Item::Trait(item) => (&item.vis, &item.ident),
        Item::Type(item) => (&item.vis, &item.ident),
        Item::Impl(item) if item.trait_.is_none() => {
            return item.items.iter().filter_map(member).collect();
        }
        _ => return Vec::new(),
    };
    Vec::from_iter(is_public(visibility).then(|| name.to_string()))
}

fn member(item: &ImplItem) -> Option<String> {
    let (visibility, name) = match item {
        ImplItem::Fn(item) => (&item.vis, &item.sig.ident),
        ImplItem::Const(item) => (&item.vis, &item.ident),
        _ => return None,
    };
    is_public(visibility).then(|| name.to_string())
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}
