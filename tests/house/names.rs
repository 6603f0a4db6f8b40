//! Which public names nobody outside of `src/` uses or is handed.

use super::{Source, files};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use syn::spanned::Spanned;
use syn::{Fields, ImplItem, Item, Visibility};

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
        words.extend(words_of(&text).map(str::to_owned));
    }
    words
}

/// Returns the words that somebody outside meets: words of outside files, and of the signatures and public fields of all that
/// these words name.
pub(crate) fn words_met(sources: &[Source], checkout: &Path) -> HashSet<String> {
    let mut met = words_outside(checkout);
    let surfaces: Vec<(String, HashSet<String>)> = sources.iter().flat_map(surfaces).collect();
    loop {
        let before = met.len();
        for (name, words) in &surfaces {
            if met.contains(name) {
                met.extend(words.iter().cloned());
            }
        }
        if met.len() == before {
            return met;
        }
    }
}

/// Returns each public name of a file with the words of its signature or its public fields.
fn surfaces(source: &Source) -> Vec<(String, HashSet<String>)> {
    let mut found = Vec::new();
    let mut add = |name: &syn::Ident, parts: Vec<&dyn Spanned>| {
        let words = parts.iter().flat_map(|part| {
            let text = &source.text[part.span().byte_range()];
            words_of(text).map(str::to_owned)
        });
        found.push((name.to_string(), words.collect()));
    };
    for item in &source.items {
        match item {
            Item::Fn(item) if is_public(&item.vis) => add(&item.sig.ident, vec![&item.sig]),
            Item::Enum(item) if is_public(&item.vis) => add(&item.ident, vec![&item.variants]),
            Item::Trait(item) if is_public(&item.vis) => add(&item.ident, vec![item]),
            // A private alias may stand in a public signature.
            Item::Type(item) => add(&item.ident, vec![&item.ty]),
            Item::Const(item) if is_public(&item.vis) => add(&item.ident, vec![&item.ty]),
            Item::Struct(item) if is_public(&item.vis) => {
                add(&item.ident, public_types(&item.fields))
            }
            Item::Impl(item) if item.trait_.is_some() => {
                if let syn::Type::Path(of) = &*item.self_ty
                    && let Some(name) = of.path.segments.last()
                {
                    let types = item.items.iter().filter_map(|member| match member {
                        ImplItem::Type(member) => Some(&member.ty as &dyn Spanned),
                        _ => None,
                    });
                    add(&name.ident, types.collect());
                }
            }
            Item::Impl(item) => {
                for member in &item.items {
                    match member {
                        ImplItem::Fn(member) if is_public(&member.vis) => {
                            add(&member.sig.ident, vec![&member.sig]);
                        }
                        ImplItem::Const(member) if is_public(&member.vis) => {
                            add(&member.ident, vec![&member.ty]);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    found
}

fn public_types(fields: &Fields) -> Vec<&dyn Spanned> {
    let public = fields.iter().filter(|field| is_public(&field.vis));
    public.map(|field| &field.ty as &dyn Spanned).collect()
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
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
