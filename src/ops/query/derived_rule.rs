//! Why a base or a delta was made, for a snapshot without recorded reasons: the plan is made again from the records, with the
//! default limits.

use crate::error::Result;
use crate::model::names::BOOTSTRAP;
use crate::model::plan::difference::Scope;
use crate::model::plan::layer::Role;
use crate::model::plan::{Limits, PriorLayers, Unfit, Upon, Weight, build_upon};
use crate::ops::layers::{Stack, known_of};
use crate::ops::query::rule::Rule;
use crate::ops::root_view::recorded::tree_of;
use crate::store::{LayerUse, Snapshot, Store};

/// Returns the rule that asked for a base, or for a delta in the place of another. Fails if a row of the snapshot, of its
/// parent or of an earlier snapshot of the series is not as recorded.
pub(super) fn derived_rule(
    store: &Store,
    snapshot: &Snapshot,
    layers: &[LayerUse],
    role: Role,
) -> Result<Option<Rule>> {
    match role {
        Role::Base => base_rule(store, snapshot, layers).map(Some),
        Role::Delta => delta_rule(store, snapshot, layers),
        Role::Update | Role::Package | Role::State => Ok(None),
    }
}

fn base_rule(store: &Store, snapshot: &Snapshot, layers: &[LayerUse]) -> Result<Rule> {
    if let Some(parent) = snapshot.parent_id {
        return over_parent(store, snapshot, parent);
    }
    let earlier = earlier(store, snapshot)?;
    let below = earlier.iter().find(|one| could_lie_below(one, snapshot));
    if below.is_some_and(|below| below.policy_key == snapshot.policy_key) {
        return Ok(Rule::LostBlob);
    }
    if let Some(own) = last_own(store, &earlier, snapshot, Role::Base)? {
        return rebased(store, layers, &own);
    }
    let mut of_stage = earlier
        .iter()
        .filter(|one| one.stage == snapshot.stage && one.inherited_layers == 0);
    let other = below.or_else(|| of_stage.next());
    Ok(match other {
        Some(other) => Rule::OtherPolicy(other.clone().into()),
        None => Rule::First,
    })
}

/// Tells whether a later stage could have been laid over an earlier snapshot: over the stage before of the run, or over the
/// newest first stage.
fn could_lie_below(earlier: &Snapshot, snapshot: &Snapshot) -> bool {
    snapshot.stage != BOOTSTRAP
        && earlier.stage != snapshot.stage
        && (earlier.run == snapshot.run || earlier.inherited_layers == 0)
}

/// The rule of a base planned over a stage before, or squashed from it.
fn over_parent(store: &Store, snapshot: &Snapshot, parent_id: i64) -> Result<Rule> {
    let parent = store.snapshot(parent_id)?;
    let same_stage = parent.filter(|of| (&of.run, &of.stage) == (&snapshot.run, &snapshot.stage));
    if let Some(of) = same_stage {
        return Ok(Rule::Squashed(of.into()));
    }
    let layers = store.layers(parent_id)?;
    let stable = layers.iter().filter(|layer| layer.role != Role::State);
    Ok(if stable.count() + 2 > Limits::default().most_layers {
        Rule::ManyLayers
    } else {
        Rule::LostBlob
    })
}

/// The rule of a delta in the place of another; `None` if there was no other.
fn delta_rule(store: &Store, snapshot: &Snapshot, layers: &[LayerUse]) -> Result<Option<Rule>> {
    let earlier = earlier(store, snapshot)?;
    match last_own(store, &earlier, snapshot, Role::Delta)? {
        Some(own) => rebased(store, layers, &own).map(Some),
        None => Ok(None),
    }
}

/// The earlier snapshots of the series, the newest first.
fn earlier(store: &Store, snapshot: &Snapshot) -> Result<Vec<Snapshot>> {
    let mut all = store.snapshots(Some(&snapshot.series))?;
    all.retain(|one| one.id < snapshot.id);
    Ok(all)
}

/// Returns the base or delta, then the updates, of the last snapshot of the stage with a base or delta under the same policy.
fn last_own(
    store: &Store,
    earlier: &[Snapshot],
    snapshot: &Snapshot,
    role: Role,
) -> Result<Option<Vec<LayerUse>>> {
    let of_stage = earlier.iter().filter(|one| {
        (&one.stage, one.policy_key) == (&snapshot.stage, snapshot.policy_key)
            && (one.inherited_layers == 0) == (role == Role::Base)
    });
    for one in of_stage {
        let own = Stack::of(store.layers(one.id)?).own;
        if own.first().is_some_and(|first| first.role == role) {
            return Ok(Some(own));
        }
    }
    Ok(None)
}

/// Why the base or delta that is the first of `own` was not kept.
fn rebased(store: &Store, layers: &[LayerUse], own: &[LayerUse]) -> Result<Rule> {
    match single_update(store, layers, own)? {
        Upon::Rebased(Unfit::Weight(weight)) => weight_rule(store, &own[0], &weight),
        Upon::Rebased(Unfit::Whiteout(path)) => Ok(Rule::DanglingWhiteout(path)),
        Upon::Own { .. } | Upon::Nothing => Ok(Rule::LostBlob),
    }
}

/// Plans a single update over the first of `own`, with limits that refuse any update for the weight.
fn single_update(store: &Store, layers: &[LayerUse], own: &[LayerUse]) -> Result<Upon> {
    let inherited = known_of(store, &Stack::of(layers.to_vec()).inherited)?;
    let first = known_of(store, &own[..1])?;
    let below = PriorLayers::new(inherited, first);
    let mut stable = Vec::new();
    for layer in layers {
        if layer.role != Role::State {
            stable.push(layer.layer.id);
        }
    }
    let now = tree_of(store, &stable)?;
    let none = Limits {
        update_percent: 0,
        dead_percent: 0,
        ..Limits::default()
    };
    Ok(build_upon(&below, &now, Scope::All, &none))
}

/// The rule that a weight meets; of smaller limits than the default, the rule with more bytes.
fn weight_rule(store: &Store, old: &LayerUse, weight: &Weight) -> Result<Rule> {
    let Weight {
        base_bytes,
        update_bytes,
        dead_bytes,
    } = *weight;
    let large = Rule::LargeUpdate {
        update_bytes,
        base_bytes,
    };
    let dead = Rule::DeadBase {
        dead_bytes,
        base_bytes,
    };
    let limits = Limits::default();
    Ok(if weight.is_large(&limits) {
        large
    } else if weight.is_dead(&limits) {
        dead
    } else if !store.has_layer(old.layer.id)? {
        Rule::LostBlob
    } else if update_bytes >= dead_bytes {
        large
    } else {
        dead
    })
}
