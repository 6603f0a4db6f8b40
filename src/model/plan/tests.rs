//! Which layers are kept, laid over one another and made anew.

use super::*;
use crate::model::digest::LayerKey;
use crate::model::packages::owners::Times;
use crate::model::plan::difference::Scope;
use crate::model::plan::layer::{LayerContent, Role};
use crate::model::policy::Policy;
use crate::model::policy::normalise::StableVolatile;
use crate::model::testing::{any_tree, directory, file, linked};
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::{LayerItem, Overlay};
use proptest::prelude::*;
use std::collections::HashMap;

fn sides(stable: &[Entry], volatile: &[Entry]) -> StableVolatile {
    let tree = |entries: &[Entry]| Tree::new([&[directory("")], entries].concat());
    StableVolatile {
        stable: tree(stable),
        volatile: Tree::new(volatile.to_vec()),
        mounts: Vec::new(),
    }
}

/// A layer that holds `content`, as it is recorded.
fn recorded(role: Role, content: &LayerContent, policy: &Policy) -> PriorLayer {
    let items = content.items().map(LayerItem::from).collect();
    PriorLayer {
        role,
        label: None,
        key: content.key(policy),
        content_bytes: content.content_bytes(),
        items,
    }
}

fn base(tree: &Tree) -> PriorLayers {
    let own = vec![recorded(
        Role::Base,
        &LayerContent::whole(tree),
        &Policy::plain(),
    )];
    PriorLayers::new(Vec::new(), own)
}

/// What the plan of a snapshot leaves to the next one of the stage.
fn follow(plan: &[FilledLayer], before: &PriorLayers) -> PriorLayers {
    let all: HashMap<LayerKey, &PriorLayer> =
        before.layers().map(|layer| (layer.key, layer)).collect();
    let again = |known: &PriorLayer| PriorLayer {
        items: known.items.clone(),
        label: known.label.clone(),
        ..*known
    };
    let known = |layer: &FilledLayer| match layer.content() {
        Some(content) => recorded(layer.planned.purpose.role, content, &Policy::plain()),
        None => again(all[&layer.key(&Policy::plain())]),
    };
    let own = plan.iter().filter(|layer| {
        !layer.planned.purpose.is_inherited && layer.planned.purpose.role != Role::State
    });
    PriorLayers::new(
        before.inherited.iter().map(again).collect(),
        own.map(known).collect(),
    )
}

fn listed(sides: &StableVolatile, below: &PriorLayers, limits: &Limits) -> Plan {
    let planner = StagePlanner { stage: "s" };
    let plan = planner.plan(&Given {
        stable: &sides.stable,
        volatile: &sides.volatile,
        packages: &[],
        times: Times::Kept,
        prior: below,
        scope: Scope::All,
        limits,
    });
    plan.unwrap()
}

fn plan<'t>(
    sides: &'t StableVolatile,
    below: &PriorLayers,
    limits: &Limits,
) -> Vec<FilledLayer<'t>> {
    Box::leak(Box::new(listed(sides, below, limits))).filled(sides)
}

fn reasons(sides: &StableVolatile, below: &PriorLayers, limits: &Limits) -> Vec<Reason> {
    let plan = plan(sides, below, limits);
    let reasons = plan.iter().map(|layer| &layer.planned.purpose.reason);
    reasons.cloned().map(Option::unwrap).collect()
}

fn roles(plan: &[FilledLayer]) -> Vec<(Role, bool)> {
    plan.iter()
        .map(|layer| (layer.planned.purpose.role, layer.content().is_some()))
        .collect()
}

#[test]
fn a_first_tree_is_base_and_state() {
    let sides = sides(&[file("a", 9)], &[file("log", 1)]);
    let plan = plan(&sides, &PriorLayers::default(), &Limits::default());
    assert_eq!(roles(&plan), [(Role::Base, true), (Role::State, true)]);
}

#[test]
fn a_tree_without_volatile_files_has_no_state() {
    let sides = sides(&[file("a", 9)], &[]);
    assert_eq!(
        roles(&plan(&sides, &PriorLayers::default(), &Limits::default())),
        [(Role::Base, true)]
    );
}

#[test]
fn the_same_tree_needs_no_update_and_a_changed_one_an_update() {
    let old = sides(&[file("a", 90), file("b", 9)], &[]);
    let below = base(&old.stable);
    assert_eq!(
        roles(&plan(&old, &below, &Limits::default())),
        [(Role::Base, false)]
    );
    let new = sides(&[file("a", 90), file("b", 8)], &[]);
    assert_eq!(
        roles(&plan(&new, &below, &Limits::default())),
        [(Role::Base, false), (Role::Update, true)]
    );
}

#[test]
fn a_large_update_and_a_dead_base_are_made_anew() {
    let old = sides(&[file("a", 90), file("b", 80)], &[]);
    let below = base(&old.stable);
    for new in [
        sides(&[file("a", 91), file("b", 80)], &[]),
        sides(&[file("b", 80)], &[]),
    ] {
        assert_eq!(
            roles(&plan(&new, &below, &Limits::default())),
            [(Role::Base, true)]
        );
    }
}

#[test]
fn a_file_with_another_time_is_no_dead_one_and_a_hardlinked_one_dies_with_its_last_name() {
    let old = sides(&[file("a", 90), linked("b", 1), linked("c", 1)], &[]).stable;
    let touched = Entry {
        mtime_s: file("a", 90).mtime_s + 1,
        ..file("a", 90)
    };
    let dead = |now: &[Entry]| {
        weigh(&base(&old), &sides(now, &[]).stable)
            .unwrap()
            .dead_bytes
    };
    assert_eq!(dead(&[touched, linked("b", 1), linked("c", 1)]), 0);
    let one = Entry {
        group: None,
        ..linked("c", 1)
    };
    assert_eq!(dead(&[file("a", 90), one]), 0);
    assert_eq!(dead(&[file("a", 91)]), 90 + linked("b", 1).size_bytes());
}

#[test]
fn every_layer_of_a_plan_has_its_reason() {
    let defaults = Limits::default();
    let tight = |update_percent, dead_percent| Limits {
        update_percent,
        dead_percent,
        ..defaults
    };
    let old = sides(&[file("a", 900), file("b", 100)], &[]);
    let new = sides(&[file("a", 900), file("b", 110)], &[file("log", 1)]);
    let mut below = base(&old.stable);
    let changed = Reason::Changed(Weight {
        base_bytes: 1000,
        update_bytes: 110,
        dead_bytes: 100,
    });
    assert_eq!(
        reasons(&new, &below, &defaults),
        [Reason::Unchanged, changed, Reason::Volatile]
    );
    let large = Reason::LargeUpdate {
        update_bytes: 110,
        base_bytes: 1000,
    };
    assert_eq!(reasons(&new, &below, &tight(10, 90))[0], large);
    let dead = Reason::DeadBase {
        dead_bytes: 100,
        base_bytes: 1000,
    };
    assert_eq!(reasons(&new, &below, &tight(90, 9))[0], dead);
    below.inherited = below.own.split_off(0);
    assert_eq!(
        reasons(&new, &below, &defaults)[..2],
        [Reason::Unchanged, Reason::Differs]
    );
    let two = Limits {
        most_layers: 2,
        ..defaults
    };
    assert_eq!(reasons(&new, &below, &two)[0], Reason::ManyLayers);
    for (absence, reason) in [
        (Absence::None, Reason::First),
        (Absence::OtherPolicy(3), Reason::OtherPolicy(3)),
        (Absence::LostBlob, Reason::LostBlob),
    ] {
        let nothing = PriorLayers {
            absence,
            ..PriorLayers::default()
        };
        assert_eq!(reasons(&new, &nothing, &defaults)[0], reason);
    }
}

/// A delta over `below` for `now`.
fn delta_over(below: &[Entry], now: &[Entry]) -> PriorLayers {
    let (below, now) = (sides(below, &[]).stable, sides(now, &[]).stable);
    let delta = recorded(
        Role::Delta,
        &difference::delta(below.entries(), &now),
        &Policy::plain(),
    );
    PriorLayers::new(base(&below).own, vec![delta])
}

#[test]
fn the_delta_of_a_stage_does_not_depend_on_what_lies_below() {
    let policy = Policy::plain();
    let delta = |old: &[Entry]| {
        let after = sides(&[old, &[file("new", 3)]].concat(), &[]);
        let below = PriorLayers::new(base(&sides(old, &[]).stable).own, Vec::new());
        let plan = plan(&after, &below, &Limits::default());
        assert_eq!(roles(&plan), [(Role::Base, false), (Role::Delta, true)]);
        plan[1].key(&policy)
    };
    assert_eq!(delta(&[file("a", 1)]), delta(&[file("a", 2)]));
}

#[test]
fn a_delta_is_kept_with_an_update_also_where_what_lies_below_has_changed() {
    let (day0, deps) = (file("a", 5), [file("x", 900), file("y", 100)]);
    let below = delta_over(
        std::slice::from_ref(&day0),
        &[&[day0.clone()][..], &deps].concat(),
    );
    let day1 = PriorLayers {
        inherited: base(&sides(&[file("a", 6)], &[]).stable).own,
        ..below
    };
    let plan_of = |now: &[Entry]| {
        let sides = sides(now, &[]);
        roles(&plan(&sides, &day1, &Limits::default()))
    };
    let [kept, update, anew] = [
        (Role::Delta, false),
        (Role::Update, true),
        (Role::Delta, true),
    ]
    .map(|last| [(Role::Base, false), last]);
    assert_eq!(plan_of(&[&[file("a", 6)][..], &deps].concat()), kept);
    let all = [kept.as_slice(), &update[1..]].concat();
    assert_eq!(
        plan_of(&[file("a", 6), deps[0].clone(), file("y", 101)]),
        all
    );
    assert_eq!(
        plan_of(&[file("a", 6), file("x", 901), deps[1].clone()]),
        anew
    );
    // What lies below by now is of no use in the delta.
    let merged = PriorLayers {
        inherited: base(&sides(&[&[day0.clone()][..], &deps].concat(), &[]).stable).own,
        ..day1
    };
    let same = sides(&[&[day0][..], &deps].concat(), &[]);
    assert_eq!(
        roles(&plan(&same, &merged, &Limits::default())),
        [(Role::Base, false)]
    );
}

/// The bytes of each layer of the stage, day after day, where `change` says which files have another content.
fn days(count: u64, change: impl Fn(u64) -> std::ops::Range<u64>) -> Vec<Vec<u64>> {
    let mut lengths = vec![100_000; 1_000];
    let mut below = PriorLayers::default();
    let mut days = Vec::new();
    for day in 0..count {
        change(day).for_each(|at| lengths[at as usize] += 1);
        let named = lengths
            .iter()
            .enumerate()
            .map(|(at, length)| file(&format!("{at:04}"), *length));
        let now = sides(&named.collect::<Vec<_>>(), &[]);
        below = follow(&plan(&now, &below, &Limits::default()), &below);
        days.push(
            below
                .own
                .iter()
                .map(|layer| layer.content_bytes / 1_000_000)
                .collect(),
        );
    }
    days
}

#[test]
fn an_update_takes_in_those_that_are_not_half_as_large_again() {
    let days = days(14, |day| day * 20..day * 20 + 20);
    let first: Vec<&[u64]> = days[..9].iter().map(Vec::as_slice).collect();
    let expected: [&[u64]; 9] = [
        &[100],
        &[100, 2],
        &[100, 4],
        &[100, 4, 2],
        &[100, 8],
        &[100, 8, 2],
        &[100, 8, 4],
        &[100, 8, 4, 2],
        &[100, 16],
    ];
    assert_eq!(first, expected);
    // A quarter of the base is dead on the fourteenth day.
    assert_eq!(days[12..], [vec![100, 16, 8], vec![100]]);
}

#[test]
fn what_changes_every_day_is_one_update() {
    assert!(
        days(60, |_| 0..20)
            .iter()
            .skip(1)
            .all(|day| *day == [100, 2])
    );
}

#[test]
fn what_takes_away_what_is_no_longer_there_is_made_anew() {
    let (a, b, x) = (file("a", 5), file("b", 5), file("x", 900));
    let below = delta_over(&[a.clone(), b.clone()], &[b.clone(), x.clone()]);
    let now = sides(&[b.clone(), x], &[]);
    assert_eq!(
        roles(&plan(&now, &below, &Limits::default())),
        [(Role::Base, false), (Role::Delta, false)]
    );
    let below = PriorLayers {
        inherited: base(&sides(&[b], &[]).stable).own,
        ..below
    };
    let why = build_upon(&below, &now.stable, Scope::All, &Limits::default());
    assert!(matches!(why, Upon::Rebased(Unfit::Whiteout(path)) if path == a.path));
    assert_eq!(
        roles(&plan(&now, &below, &Limits::default())),
        [(Role::Base, false), (Role::Delta, true)]
    );
}

#[test]
fn what_is_as_it_was_before_needs_no_update() {
    let [one, two] = [1, 2].map(|length| sides(&[file("a", 1_000), file("b", length)], &[]));
    let below = base(&one.stable);
    let below = follow(&plan(&two, &below, &Limits::default()), &below);
    assert_eq!(below.own.len(), 2);
    assert_eq!(
        roles(&plan(&one, &below, &Limits::default())),
        [(Role::Base, false)]
    );
}

#[test]
fn an_image_never_has_more_than_the_most_layers() {
    let now = sides(&[file("a", 1)], &[file("s", 1)]);
    let empty = |n| PriorLayer {
        role: Role::Delta,
        label: None,
        key: LayerKey([n; 32]),
        content_bytes: 0,
        items: Vec::new(),
    };
    let inherited = (0..99).map(empty).collect();
    let planned = plan(
        &now,
        &PriorLayers::new(inherited, Vec::new()),
        &Limits::default(),
    );
    assert_eq!(roles(&planned), [(Role::Base, true), (Role::State, true)]);
    // Updates are put together rather than that there are too many.
    let day = |n: usize| {
        sides(
            &[
                file("a", 99_000_000),
                file("b", 8_000_000 >> n),
                file("c", n as u64),
            ],
            &[file("s", 1)],
        )
    };
    for (most, updates) in [(100, 3), (4, 2), (3, 1), (2, 0)] {
        let limits = Limits {
            most_layers: most,
            ..Limits::default()
        };
        let mut below = base(&day(9).stable);
        for n in [0, 2, 4] {
            let now = day(n);
            let plan = plan(&now, &below, &limits);
            assert!(plan.len() <= most);
            below = follow(&plan, &below);
        }
        assert_eq!(below.own.len(), 1 + updates, "{most}");
    }
}

proptest! {
    /// Whatever was recorded before, the layers of a plan give the tree.
    #[test]
    fn the_layers_of_a_plan_give_the_tree(
        first in prop::collection::vec(any_tree(), 1..6), second in prop::collection::vec(any_tree(), 1..6)
    ) {
        let limits = Limits { update_percent: 10_000, dead_percent: 10_000, ..Limits::default() };
        // Of lengths that matter, so updates are laid over updates.
        let large = |tree: &Tree| {
            let mut entries = tree.entries().to_vec();
            for entry in &mut entries {
                if let Kind::File { size_bytes, .. } = &mut entry.kind {
                    *size_bytes <<= 20;
                }
            }
            Tree::new(entries)
        };
        let (first, second): (Vec<Tree>, Vec<Tree>) =
            (first.iter().map(large).collect(), second.iter().map(large).collect());
        let mut of_first = PriorLayers::default();
        let mut of_second = PriorLayers::default();
        let with = |stable: &Tree| StableVolatile { stable: stable.clone(), ..sides(&[], &[]) };
        let gives = |below: &PriorLayers, tree: &Tree| {
            let mut overlay = Overlay::new();
            let dangling = below.layers().find_map(|layer| overlay.apply_telling(layer.items.iter().cloned()));
            dangling.is_none() && overlay.into_tree() == *tree
        };
        for (first, second) in first.iter().zip(&second) {
            let now = with(first);
            of_first = follow(&plan(&now, &of_first, &limits), &of_first);
            prop_assert!(gives(&of_first, first));
            let again = |layer: &PriorLayer| PriorLayer { items: layer.items.clone(), label: None, ..*layer };
            of_second.inherited = of_first.own.iter().map(again).collect();
            let now = with(second);
            of_second = follow(&plan(&now, &of_second, &limits), &of_second);
            prop_assert!(gives(&of_second, second));
        }
    }
}
