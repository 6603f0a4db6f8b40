//! Why a base or a delta was made, for a snapshot that has no recorded reasons: the plan is made again, as far as the records
//! tell, with the default limits.

use crate::error::Result;
use crate::model::names::BOOTSTRAP;
use crate::model::plan::difference::Scope;
use crate::model::plan::layer::Role;
use crate::model::plan::{Below, Limits, Unfit, Upon, Weight, build_upon};
use crate::ops::layers::{inherited_len, known_of, own_layers};
use crate::ops::query::rule::Rule;
use crate::ops::root_view::recorded::tree_of;
use crate::store::{LayerUse, Snapshot, Store};

/// Returns the rule that asked for a base, or for a delta in the place of another. Fails if the store cannot be read.
pub(super) fn derived_rule(
    store: &Store,
    snapshot: &Snapshot,
    layers: &[LayerUse],
    role: Role,
) -> Result<Option<Rule>> {
    match role {
        Role::Base => base_rule(store, snapshot, layers).map(Some),
        Role::Delta => delta_rule(store, snapshot, layers),
        Role::Update | Role::State => Ok(None),
    }
}

fn base_rule(store: &Store, snapshot: &Snapshot, layers: &[LayerUse]) -> Result<Rule> {
    if let Some(parent) = snapshot.parent_id {
        let of = store.snapshot(parent)?;
        if let Some(of) = of.filter(|of| (&of.run, &of.stage) == (&snapshot.run, &snapshot.stage)) {
            return Ok(Rule::Squashed(of.into()));
        }
        let inherited = store
            .layers(parent)?
            .iter()
            .filter(|layer| layer.role != Role::State)
            .count();
        let is_full = inherited + 2 > Limits::default().most_layers;
        return Ok(if is_full {
            Rule::ManyLayers
        } else {
            Rule::LostBlob
        });
    }
    let all = store.snapshots(Some(&snapshot.series))?;
    let earlier: Vec<Snapshot> = all.into_iter().filter(|one| one.id < snapshot.id).collect();
    // A later stage is laid over the stage before of its run, or over the newest first stage.
    let below = earlier.iter().find(|one| {
        snapshot.stage != BOOTSTRAP
            && one.stage != snapshot.stage
            && (one.run == snapshot.run || one.inherited_layers == 0)
    });
    if let Some(below) = below {
        return Ok(if below.policy_key == snapshot.policy_key {
            Rule::LostBlob
        } else {
            Rule::OtherPolicy(below.clone().into())
        });
    }
    let mut of_stage = earlier
        .iter()
        .filter(|one| one.stage == snapshot.stage && one.inherited_layers == 0);
    let same_policy = of_stage
        .clone()
        .find(|one| one.policy_key == snapshot.policy_key);
    match same_policy {
        Some(last) => Ok(rebased(store, layers, last)?.unwrap_or(Rule::First)),
        None => Ok(of_stage
            .next()
            .map_or(Rule::First, |last| Rule::OtherPolicy(last.clone().into()))),
    }
}

/// Which rule asked for a delta in the place of another; `None` where there was no other.
fn delta_rule(store: &Store, snapshot: &Snapshot, layers: &[LayerUse]) -> Result<Option<Rule>> {
    let all = store.snapshots(Some(&snapshot.series))?;
    let last = all.iter().find(|one| {
        one.id < snapshot.id
            && (&one.stage, one.policy_key) == (&snapshot.stage, snapshot.policy_key)
            && one.inherited_layers > 0
    });
    last.map_or(Ok(None), |last| rebased(store, layers, last))
}

/// Why the base or delta of `last` was not kept; `None` where it had none.
fn rebased(store: &Store, layers: &[LayerUse], last: &Snapshot) -> Result<Option<Rule>> {
    let own = own_layers(store.layers(last.id)?);
    let Some(whole) = own.first() else {
        return Ok(None);
    };
    let inherited = known_of(store, &layers[..inherited_len(layers)])?;
    let below = Below::new(inherited, known_of(store, &own[..1])?);
    let stable = layers.iter().filter(|layer| layer.role != Role::State);
    let stable: Vec<i64> = stable.map(|layer| layer.layer.id).collect();
    let now = tree_of(store, &stable)?;
    // What a single update would have weighed, whatever the limits were.
    let none = Limits {
        update_percent: 0,
        dead_percent: 0,
        ..Limits::default()
    };
    let weight = match build_upon(&below, &now, Scope::All, &none) {
        Upon::Rebased(Unfit::Weight(weight)) => weight,
        Upon::Rebased(Unfit::Whiteout(path)) => return Ok(Some(Rule::DanglingWhiteout(path))),
        Upon::Own { .. } | Upon::Nothing => return Ok(Some(Rule::LostBlob)),
    };
    let Weight {
        base_bytes,
        update_bytes,
        dead_bytes,
    } = weight;
    let (large, dead) = (
        Rule::LargeUpdate {
            update_bytes,
            base_bytes,
        },
        Rule::DeadBase {
            dead_bytes,
            base_bytes,
        },
    );
    let limits = Limits::default();
    Ok(Some(if weight.is_large(&limits) {
        large
    } else if weight.is_dead(&limits) {
        dead
    } else if !store.has_layer(whole.layer.id)? {
        Rule::LostBlob
    } else if update_bytes >= dead_bytes {
        large // smaller limits were asked for
    } else {
        dead
    }))
}
