//! Which file needs which other one, and where files need each other in a circle.
//!
//! A file needs the files that define the names which it takes from other modules. A re-export is a signpost, not a need.

use super::Source;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use syn::visit::{self, Visit};
use syn::{Item, UseTree, Visibility};

type Module = Vec<String>;

/// For each file the files that it needs, by name.
pub(crate) fn needs(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let house = House::new(sources);
    let mut needs = BTreeMap::new();
    for source in sources {
        let mut finder = Finder {
            house: &house,
            module: source.module.clone(),
            found: BTreeSet::new(),
        };
        source.items.iter().for_each(|item| finder.visit_item(item));
        let mut found = finder.found;
        found.remove(&source.name);
        needs.insert(source.name.clone(), found);
    }
    needs
}

/// Returns the circles of files that need each other, each with its files in order: the strongly connected components.
pub(crate) fn circles(needs: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = needs
        .keys()
        .map(|file| (file, reachable(needs, file)))
        .collect();
    let mut circles = BTreeSet::new();
    for file in needs.keys().filter(|file| reach[*file].contains(*file)) {
        let both = reach[file]
            .iter()
            .filter(|other| reach[**other].contains(file));
        circles.insert(both.map(|other| (*other).clone()).collect::<Vec<_>>());
    }
    circles.into_iter().collect()
}

fn reachable<'n>(
    needs: &'n BTreeMap<String, BTreeSet<String>>,
    from: &String,
) -> BTreeSet<&'n String> {
    let mut seen = BTreeSet::new();
    let mut left: Vec<&String> = needs.get(from).into_iter().flatten().collect();
    while let Some(file) = left.pop() {
        if seen.insert(file) {
            left.extend(needs.get(file).into_iter().flatten());
        }
    }
    seen
}

/// All modules with their files, and what they re-export.
struct House {
    files: HashMap<Module, String>,
    /// Path of a re-exported name, and where the name comes from.
    exports: HashMap<Module, Module>,
}

impl House {
    fn new(sources: &[Source]) -> Self {
        let library = sources.iter().filter(|source| source.name != "main.rs");
        let files: HashMap<Module, String> = library
            .clone()
            .map(|source| (source.module.clone(), source.name.clone()))
            .collect();
        let mut house = Self {
            files,
            exports: HashMap::new(),
        };
        for source in library {
            for item in &source.items {
                if let Item::Use(item) = item
                    && !matches!(item.vis, Visibility::Inherited)
                {
                    for path in leaves(&item.tree) {
                        let Some(from) = house.absolute(&source.module, &path) else {
                            continue;
                        };
                        let name = path.last().cloned().unwrap_or_default();
                        house
                            .exports
                            .insert([&source.module[..], &[name]].concat(), from);
                    }
                }
            }
        }
        house
    }

    /// Makes a path absolute that is used in `module`; `None` where the path leads out of the crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let mut from = match first.as_str() {
            "crate" | "rootstrata" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            _ => {
                let child = [module, std::slice::from_ref(first)].concat();
                self.files.contains_key(&child).then_some(child)?
            }
        };
        for name in rest {
            match name.as_str() {
                "super" => drop(from.pop()),
                "self" => {}
                _ => from.push(name.clone()),
            }
        }
        Some(from)
    }

    /// Returns the file that defines what an absolute path names.
    fn file_of(&self, path: &[String]) -> Option<&String> {
        for length in (1..=path.len()).rev() {
            let from = self.exports.get(&path[..length]);
            // A module may re-export a name of its child that is called as the child is.
            if let Some(from) = from.filter(|from| !from.starts_with(&path[..length])) {
                return self.file_of(&[&from[..], &path[length..]].concat());
            }
            if let Some(file) = self.files.get(&path[..length]) {
                return Some(file);
            }
        }
        self.files.get(&Vec::new())
    }
}

fn leaves(tree: &UseTree) -> Vec<Module> {
    match tree {
        UseTree::Path(path) => {
            let rest = leaves(&path.tree).into_iter();
            rest.map(|rest| [&[path.ident.to_string()], &rest[..]].concat())
                .collect()
        }
        UseTree::Name(name) => vec![vec![name.ident.to_string()]],
        UseTree::Rename(name) => vec![vec![name.ident.to_string()]],
        UseTree::Glob(_) => vec![Vec::new()],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

struct Finder<'h> {
    house: &'h House,
    module: Module,
    found: BTreeSet<String>,
}

impl Finder<'_> {
    fn add(&mut self, path: &[String]) {
        let absolute = self.house.absolute(&self.module, path);
        let file = absolute.and_then(|path| self.house.file_of(&path).cloned());
        self.found.extend(file);
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if matches!(item.vis, Visibility::Inherited) {
            leaves(&item.tree).iter().for_each(|path| self.add(path));
        }
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Module = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if names.len() > 1 && path.leading_colon.is_none() {
            self.add(&names);
        }
        visit::visit_path(self, path);
    }
}
