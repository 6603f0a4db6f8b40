//! The planner of stages: `[base] [update...] [delta] [update...] ... [state]`. Pure.
//!
//! The base is the whole first stage as of the last rebase, a delta leads from a stage to the next, updates lead from base or
//! delta to today's tree, the state holds the volatile files, last and whole. So a rebuild with the same packages writes the
//! state alone.
//!
//! Changed paths become one more update, which takes in the updates below that are not half as large again, or small. So equal
//! changes day by day count like a binary number: few layers, and each layer is seldom written again.

use crate::model::plan::difference::{self, Scope};
use crate::model::plan::layer::{Outline, Role};
use crate::model::plan::limits::Limits;
use crate::model::plan::planned::{LayerOrigin, LayerPurpose, Plan, PlannedLayer};
use crate::model::plan::planner::{Given, NeedsWhole, Planner};
use crate::model::plan::prior_layers::{Absence, PriorLayer, PriorLayers, apply_layer};
use crate::model::plan::reason::Reason;
use crate::model::plan::weight::{Weight, dead_bytes};
use crate::model::tree::Tree;
use crate::model::tree::entry::Content;
use crate::model::tree::path::EntryPath;

/// The planner of one stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StagePlanner<'a> {
    /// The stage, which is the label of new layers.
    pub stage: &'a str,
}

impl Planner for StagePlanner<'_> {
    fn plan<C: Content>(&self, given: &Given<C>) -> Result<Plan, NeedsWhole> {
        let Given {
            prior,
            scope,
            limits,
            ..
        } = *given;
        if prior.inherited.len() + 2 > limits.most_layers {
            return match scope {
                Scope::Changed(_) => Err(NeedsWhole),
                Scope::All => Ok(self.base(given, Reason::ManyLayers)),
            };
        }
        let reason = match build_upon(prior, given.stable, scope, limits) {
            Upon::Own {
                kept,
                update,
                weight,
            } => return Ok(self.updated(given, kept, update, weight)),
            // The first delta of a stage takes changed paths alone.
            Upon::Nothing if !prior.inherited.is_empty() => {
                return Ok(self.delta(given, prior.absence.of_delta()));
            }
            Upon::Nothing => prior.absence.of_base(),
            Upon::Rebased(unfit) => unfit.reason(limits),
        };
        match scope {
            Scope::Changed(_) => Err(NeedsWhole),
            Scope::All if prior.inherited.is_empty() => Ok(self.base(given, reason)),
            Scope::All => Ok(self.delta(given, reason)),
        }
    }
}

impl StagePlanner<'_> {
    fn updated<C: Content>(
        &self,
        given: &Given<C>,
        kept: usize,
        update: Outline,
        weight: Weight,
    ) -> Plan {
        let mut layers = reused(&given.prior.inherited, true);
        layers.extend(reused(&given.prior.own[..kept], false));
        self.push(
            &mut layers,
            given,
            (Role::Update, update),
            Reason::Changed(weight),
        );
        Plan {
            layers,
            dead_bytes: Some(weight.dead_bytes),
        }
    }

    fn base<C: Content>(&self, given: &Given<C>, reason: Reason) -> Plan {
        let mut layers = Vec::new();
        self.push(&mut layers, given, (Role::Base, Outline::whole()), reason);
        Plan {
            layers,
            dead_bytes: Some(0),
        }
    }

    fn delta<C: Content>(&self, given: &Given<C>, reason: Reason) -> Plan {
        let Given { prior, stable, .. } = given;
        let ground = prior.ground();
        let outline = difference::outline(ground.entries(), stable, given.scope);
        let entries = outline.of(stable);
        // A hardlink group comes whole, though some names may lie below unchanged.
        let dead_bytes = dead_bytes(entries.entries(), ground.entries(), stable);
        let mut layers = reused(&prior.inherited, true);
        self.push(&mut layers, given, (Role::Delta, outline), reason);
        Plan {
            layers,
            dead_bytes: Some(dead_bytes),
        }
    }

    /// Adds the new layer and the state, unless empty.
    fn push<C>(
        &self,
        layers: &mut Vec<PlannedLayer>,
        given: &Given<C>,
        (role, outline): (Role, Outline),
        reason: Reason,
    ) {
        if !outline.of(given.stable).is_empty() {
            layers.push(PlannedLayer {
                purpose: self.purpose(role, reason),
                origin: LayerOrigin::Stable(outline),
            });
        }
        if !given.volatile.entries().is_empty() {
            layers.push(PlannedLayer {
                purpose: self.purpose(Role::State, Reason::Volatile),
                origin: LayerOrigin::Volatile,
            });
        }
    }

    fn purpose(&self, role: Role, reason: Reason) -> LayerPurpose {
        LayerPurpose {
            role,
            label: Some(self.stage.to_owned()),
            is_inherited: false,
            reason: Some(reason),
        }
    }
}

fn reused(layers: &[PriorLayer], is_inherited: bool) -> Vec<PlannedLayer> {
    let reused = layers.iter().map(|layer| PlannedLayer {
        purpose: LayerPurpose {
            role: layer.role,
            label: layer.label.clone(),
            is_inherited,
            reason: Some(Reason::Unchanged),
        },
        origin: LayerOrigin::Reused(layer.key),
    });
    reused.collect()
}

impl Absence {
    fn of_base(self) -> Reason {
        match self {
            Self::None => Reason::First,
            Self::OtherPolicy(id) => Reason::OtherPolicy(id),
            Self::OtherRule(id) => Reason::OtherRule(id),
            Self::Fresh => Reason::Fresh,
            Self::LostBlob => Reason::LostBlob,
        }
    }

    fn of_delta(self) -> Reason {
        match self {
            Self::None | Self::OtherPolicy(_) | Self::OtherRule(_) | Self::Fresh => Reason::Differs,
            Self::LostBlob => Reason::LostBlob,
        }
    }
}

impl Unfit {
    /// Returns the limit that the last base or delta has passed.
    pub(crate) fn reason(self, limits: &Limits) -> Reason {
        let weight = match self {
            Self::Whiteout(path) => return Reason::DanglingWhiteout(path),
            Self::Weight(weight) => weight,
        };
        let Weight {
            base_bytes,
            update_bytes,
            dead_bytes,
        } = weight;
        if weight.is_large(limits) || base_bytes == 0 {
            Reason::LargeUpdate {
                update_bytes,
                base_bytes,
            }
        } else if weight.is_dead(limits) {
            Reason::DeadBase {
                dead_bytes,
                base_bytes,
            }
        } else {
            Reason::ManyLayers
        }
    }
}

/// The use of a stage's own layers.
#[derive(Debug)]
pub(crate) enum Upon {
    /// The stage had no layers.
    Nothing,
    /// The first `kept` layers stay.
    Own {
        /// The number of layers that stay.
        kept: usize,
        /// The update on top; empty where nothing has changed.
        update: Outline,
        /// The weight of the layers with the update.
        weight: Weight,
    },
    /// No layer stays.
    Rebased(Unfit),
}

/// Why a base or delta is made anew.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// The weight with a single update is past a limit.
    Weight(Weight),
    /// A whiteout has no path below any more.
    Whiteout(EntryPath),
}

/// Decides how many own layers a stage keeps.
pub(crate) fn build_upon<C: Content>(
    below: &PriorLayers,
    now: &Tree<C>,
    scope: Scope,
    limits: &Limits,
) -> Upon {
    let Some(whole) = below.own.first() else {
        return Upon::Nothing;
    };
    let ground = below.ground();
    let mut weight = Weight {
        base_bytes: whole.content_bytes,
        update_bytes: 0,
        dead_bytes: below.dead_bytes(whole, ground.entries(), now),
    };
    let mut kept = below.own.len();
    loop {
        let mut overlay = ground.clone();
        let mut laid = below.own[..kept].iter().enumerate();
        // Engines may refuse a whiteout of a missing path.
        if let Some((at, path)) =
            laid.find_map(|(at, layer)| Some((at, apply_layer(layer, &mut overlay)?)))
        {
            if at == 0 {
                return Upon::Rebased(Unfit::Whiteout(path));
            }
            kept = at;
            continue;
        }
        let outline = difference::outline(overlay.entries(), now, scope);
        let update = outline.of(now);
        let kept_bytes: u64 = below.own[1..kept]
            .iter()
            .map(|layer| layer.content_bytes)
            .sum();
        weight.update_bytes = kept_bytes + update.content_bytes();
        // With the update and the state.
        let layers = below.inherited.len() + kept + usize::from(!update.is_empty()) + 1;
        let is_on_top = kept == 1 || update.is_empty() || below.own[kept - 1].carries(&update);
        if layers <= limits.most_layers && weight.is_worth_keeping(limits) && is_on_top {
            return Upon::Own {
                kept,
                update: outline,
                weight,
            };
        }
        if kept > 1 && weight.is_dead(limits) {
            // No update helps. The reason tells the weight with a single update.
            kept = 1;
            continue;
        }
        if kept == 1 {
            return Upon::Rebased(Unfit::Weight(weight));
        }
        kept -= 1;
    }
}
