//! Package layers and remainder give the tree, whatever packages have and whatever there was before.

use super::paths::PackagePaths;
use super::*;
use crate::model::digest::LayerKey;
use crate::model::packages::owners::Times;
use crate::model::plan::difference::Scope;
use crate::model::plan::layer::{LayerContent, Role};
use crate::model::plan::prior_layers::{PriorLayer, PriorLayers};
use crate::model::plan::{Given, Limits, Plan, StagePlanner};
use crate::model::policy::Policy;
use crate::model::policy::normalise::StableVolatile;
use crate::model::testing::{any_tree, directory, file};
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::model::tree::path::EntryPath;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

/// Role, label, whether of the stage before, key, length and items of a layer.
type Layer = (Role, Option<String>, bool, LayerKey, u64, Vec<LayerItem>);

/// How a stage was recorded.
struct Recorded {
    layers: Vec<Layer>,
}

fn sides(stable: Tree) -> StableVolatile {
    StableVolatile {
        stable,
        volatile: Tree::default(),
        mounts: Vec::new(),
    }
}

fn tree(entries: Vec<Entry>) -> Tree {
    Tree::new([vec![directory("")], entries].concat())
}

fn planner(stage: &str, most: usize) -> PackagePlanner<'_> {
    PackagePlanner {
        remainder: StagePlanner { stage },
        most,
        smallest_bytes: 0,
    }
}

/// Plans and records a tree over the stage before and over the stage itself as recorded last.
fn record(
    planner: &PackagePlanner,
    tree: &Tree,
    paths: &[PackagePaths],
    parent: Option<&Recorded>,
    last: Option<&Recorded>,
) -> (Plan, Recorded) {
    let prior = prior(parent, last);
    let sides = sides(tree.clone());
    let plan = planner
        .plan_whole(
            &Given {
                stable: &sides.stable,
                volatile: &sides.volatile,
                packages: &[],
                times: Times::Kept,
                prior: &prior,
                scope: Scope::All,
                limits: &Limits::default(),
            },
            paths,
        )
        .unwrap();
    let before: Vec<_> = parent
        .iter()
        .chain(&last)
        .flat_map(|recorded| &recorded.layers)
        .collect();
    let filled = plan.filled(&sides);
    let layers = filled.iter().map(|layer| {
        let purpose = &layer.planned.purpose;
        let key = layer.key(&Policy::plain());
        let (bytes, items) = match layer.content() {
            Some(content) => (content.content_bytes(), items_of(content)),
            None => {
                let known = before.iter().find(|known| known.3 == key).unwrap();
                (known.4, known.5.clone())
            }
        };
        let label = purpose.label.clone();
        (purpose.role, label, purpose.is_inherited, key, bytes, items)
    });
    let layers = layers.collect();
    drop(filled);
    (plan, Recorded { layers })
}

fn items_of(content: &LayerContent) -> Vec<LayerItem> {
    content.items().map(LayerItem::from).collect()
}

fn prior(parent: Option<&Recorded>, last: Option<&Recorded>) -> PriorLayers {
    let mut prior = PriorLayers::default();
    for (role, label, _, key, bytes, items) in parent.iter().flat_map(|parent| &parent.layers) {
        match role {
            Role::State => {}
            Role::Package => prior.packages.push(PriorPackage {
                label: label.clone().unwrap(),
                key: *key,
                height: Some(prior.inherited.len()),
                is_inherited: true,
            }),
            _ => prior.inherited.push(known(*role, *key, *bytes, items)),
        }
    }
    for (role, _, is_inherited, key, bytes, items) in last.iter().flat_map(|last| &last.layers) {
        if !is_inherited && !matches!(role, Role::State | Role::Package) {
            prior.own.push(known(*role, *key, *bytes, items));
        }
    }
    prior
}

fn known(role: Role, key: LayerKey, content_bytes: u64, items: &[LayerItem]) -> PriorLayer {
    PriorLayer {
        role,
        label: None,
        key,
        content_bytes,
        items: items.to_vec(),
    }
}

/// Returns what the layers of a stage give, applied one over another.
fn given_by(recorded: &Recorded) -> Tree {
    let mut overlay = Overlay::new();
    for (_, _, _, _, _, items) in &recorded.layers {
        overlay.apply(items.iter().cloned());
    }
    overlay.into_tree()
}

/// Returns a whiteout of what is not there, if a layer has one.
fn dangling(recorded: &Recorded) -> Option<EntryPath> {
    let mut overlay = Overlay::new();
    let layers = recorded.layers.iter();
    let mut items = layers.map(|(_, _, _, _, _, items)| items.iter().cloned());
    items.find_map(|items| overlay.apply_telling(items))
}

/// Some paths of a tree for each of three packages; hardlink groups come whole.
fn some_paths(tree: &Tree, choices: &[u8]) -> Vec<PackagePaths> {
    let entries = tree.entries();
    let paths = (0..3).map(|package| {
        let wants = |at: usize| choices[at % choices.len()] >> package & 1 == 1;
        let split: HashSet<Group> = (0..entries.len())
            .filter(|at| !wants(*at))
            .filter_map(|at| entries[at].group)
            .collect();
        let is_whole = |at: &usize| {
            entries[*at]
                .group
                .is_none_or(|group| !split.contains(&group))
        };
        let places = (1..entries.len()).filter(|at| wants(*at)).filter(is_whole);
        PackagePaths {
            label: format!("p{package}-{}-1.x", choices.len() % 2),
            places: places.map(|at| at as u32).collect(),
            content_bytes: package + 1,
        }
    });
    paths.collect()
}

/// Tells what a stage was to give, and what its layers hold.
fn told(number: usize, tree: &Tree, paths: &[PackagePaths], now: &Recorded) -> String {
    let shown = |entry: &Entry| {
        let kind = format!("{:?}", entry.kind);
        let group = entry
            .group
            .map_or(String::new(), |group| format!("={}", group.0));
        let mode = entry.mode;
        format!(
            "{} {}{group} {mode:o}",
            entry.path,
            kind.split(' ').next().unwrap_or_default()
        )
    };
    let mut text = format!("{number}:\n");
    for (at, entry) in tree.entries().iter().enumerate() {
        let of = paths.iter().filter(|of| of.places.contains(&(at as u32)));
        let of: Vec<_> = of.map(|of| of.label.as_str()).collect();
        text.push_str(&format!("  {} {of:?}\n", shown(entry)));
    }
    text.push_str("gives\n");
    for entry in given_by(now).entries() {
        text.push_str(&format!("  {}\n", shown(entry)));
    }
    for (role, label, is_inherited, _, _, items) in &now.layers {
        text.push_str(&format!("{role:?} {label:?} {is_inherited}\n"));
        for item in items {
            let what = item.entry().map_or("gone".to_owned(), shown);
            text.push_str(&format!("  {}: {what}\n", item.path()));
        }
    }
    text
}

fn roles(recorded: &Recorded) -> Vec<(Role, Option<&str>)> {
    let layers = recorded.layers.iter();
    layers
        .map(|(role, label, ..)| (*role, label.as_deref()))
        .collect()
}

fn paths_of(tree: &Tree, label: &str, names: &[&str]) -> PackagePaths {
    let place = |name: &&str| {
        let path = crate::model::testing::path(name);
        tree.position(&path).unwrap() as u32
    };
    let places: Vec<u32> = names.iter().map(place).collect();
    let files = places.iter().map(|at| &tree.entries()[*at as usize]);
    PackagePaths {
        label: label.to_owned(),
        content_bytes: crate::model::tree::content_bytes(files),
        places,
    }
}

#[test]
fn a_package_has_the_same_layer_beside_other_packages() {
    let one = tree(vec![directory("d"), file("d/a", 5), file("x", 1)]);
    let two = tree(vec![directory("d"), file("d/a", 5), file("d/b", 9)]);
    let a = |tree| paths_of(tree, "a-1-1.x", &["d/a"]);
    let (_, first) = record(&planner("s", 9), &one, &[a(&one)], None, None);
    let b = paths_of(&two, "b-1-1.x", &["d/b"]);
    let (_, second) = record(&planner("s", 9), &two, &[a(&two), b], None, None);
    let keys = |recorded: &Recorded| -> HashMap<Option<String>, LayerKey> {
        let layers = recorded.layers.iter();
        layers.map(|layer| (layer.1.clone(), layer.3)).collect()
    };
    let label = Some("a-1-1.x".to_owned());
    assert_eq!(keys(&first)[&label], keys(&second)[&label]);
}

#[test]
fn the_package_layers_of_the_stage_before_lie_below_the_delta_and_an_upgraded_one_is_replaced() {
    let boot = tree(vec![file("a", 5), file("x", 1)]);
    let a = paths_of(&boot, "a-1-1.x", &["a"]);
    let (_, below) = record(&planner("bootstrap", 9), &boot, &[a], None, None);
    let deps = tree(vec![file("a", 6), file("b", 9), file("x", 1), file("y", 2)]);
    let packages = [
        paths_of(&deps, "a-2-1.x", &["a"]),
        paths_of(&deps, "b-1-1.x", &["b"]),
    ];
    let (_, above) = record(&planner("deps", 9), &deps, &packages, Some(&below), None);
    let expected = [
        (Role::Base, None),
        (Role::Package, Some("a-2-1.x")),
        (Role::Delta, Some("deps")),
        (Role::Package, Some("b-1-1.x")),
    ];
    assert_eq!(roles(&above), expected);
    assert_eq!(given_by(&above), deps);
}

#[test]
fn an_edited_file_goes_to_the_remainder_and_back_and_no_whiteout_hides_it() {
    let pristine = tree(vec![file("a", 5), file("b", 7), file("x", 1)]);
    let whole = paths_of(&pristine, "a-1-1.x", &["a", "b"]);
    let stage = planner("s", 9);
    let (_, first) = record(&stage, &pristine, std::slice::from_ref(&whole), None, None);
    let edited = tree(vec![file("a", 6), file("b", 7), file("x", 1)]);
    let part = paths_of(&edited, "a-1-1.x", &["b"]);
    let (_, second) = record(&stage, &edited, &[part], None, Some(&first));
    assert_eq!(given_by(&second), edited);
    let (_, third) = record(&stage, &pristine, &[whole], None, Some(&second));
    assert_eq!(given_by(&third), pristine);
    let has_whiteout = |items: &[LayerItem]| items.iter().any(|item| item.entry().is_none());
    assert!(!third.layers.iter().any(|layer| has_whiteout(&layer.5)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn layers_give_the_tree_over_whatever_was_before(
        trees in prop::collection::vec((any_tree(), prop::collection::vec(0..8u8, 1..5)), 6),
    ) {
        let (boot_planner, deps_planner, built_planner) =
            (planner("bootstrap", 9), planner("deps", 9), planner("built", 9));
        let (mut boot, mut deps, mut built): (Option<Recorded>, Option<Recorded>, Option<Recorded>) =
            (None, None, None);
        for (number, (tree, choices)) in trees.iter().enumerate() {
            let paths = some_paths(tree, choices);
            let (planner, parent, last) = match number % 3 {
                0 => (&boot_planner, None, &mut boot),
                1 => (&deps_planner, boot.as_ref(), &mut deps),
                _ => (&built_planner, deps.as_ref(), &mut built),
            };
            let (plan, now) = record(planner, tree, &paths, parent, last.as_ref());
            prop_assert!(&given_by(&now) == tree, "{}", told(number, tree, &paths, &now));
            prop_assert!(dangling(&now).is_none(), "{}", told(number, tree, &paths, &now));
            let layers = plan.layers.iter();
            let labels: Vec<_> = layers
                .filter(|layer| layer.purpose.role == Role::Package)
                .map(|layer| layer.purpose.label.clone())
                .collect();
            let unique: HashSet<_> = labels.iter().collect();
            prop_assert_eq!(unique.len(), labels.len());
            for (role, _, _, _, _, items) in &now.layers {
                let has_whiteout = items.iter().any(|item| item.entry().is_none());
                prop_assert!(*role != Role::Package || !has_whiteout);
            }
            *last = Some(now);
        }
    }
}
