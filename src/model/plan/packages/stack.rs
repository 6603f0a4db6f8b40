//! The layers of a plan while packages take their places among the layers of the remainder. Pure.

use crate::model::plan::layer::Role;
use crate::model::plan::limits::Limits;
use crate::model::plan::planned::{LayerOrigin, Plan, PlannedLayer};

/// A plan of the remainder, to which package layers are added.
pub(super) struct Stack {
    /// Layers of the remainder, the lowest first.
    remainder: Vec<PlannedLayer>,
    state: Option<PlannedLayer>,
    /// Package layers, each with the number of the remainder's layers below.
    packages: Vec<(usize, PlannedLayer)>,
    dead_bytes: Option<u64>,
}

impl Stack {
    /// Takes the plan of a remainder whose entries are at `places` of the tree.
    pub(super) fn of(plan: Plan, places: &[u32]) -> Self {
        let mut remainder = plan.layers;
        let state = remainder.pop_if(|top| top.purpose.role == Role::State);
        for layer in &mut remainder {
            if let LayerOrigin::Stable(outline) = &mut layer.origin {
                outline.move_to(places);
            }
        }
        Self {
            remainder,
            state,
            packages: Vec::new(),
            dead_bytes: plan.dead_bytes,
        }
    }

    /// Adds a package layer over so many layers of the remainder, or over all.
    pub(super) fn push(&mut self, height: Option<usize>, layer: PlannedLayer) {
        let inherited = self.remainder.iter();
        let inherited = inherited.take_while(|layer| layer.purpose.is_inherited);
        let inherited = inherited.count();
        // Without the layers of the stage before, no package layer lies between two of the remainder's.
        let height = height.filter(|height| *height <= inherited);
        self.packages
            .push((height.unwrap_or(self.remainder.len()), layer));
    }

    pub(super) fn into_plan(self) -> Plan {
        let mut layers = Vec::with_capacity(self.remainder.len() + self.packages.len() + 1);
        let mut packages = self.packages;
        packages.sort_by_key(|(height, _)| *height); // stable: in the order of the packages
        let mut packages = packages.into_iter().peekable();
        for (at, layer) in self.remainder.into_iter().enumerate() {
            while let Some((_, package)) = packages.next_if(|(height, _)| *height == at) {
                layers.push(package);
            }
            layers.push(layer);
        }
        layers.extend(packages.map(|(_, package)| package));
        layers.extend(self.state);
        Plan {
            layers,
            dead_bytes: self.dead_bytes,
        }
    }
}

/// Returns the limits of the remainder beside so many package layers.
pub(super) fn limits_beside(limits: &Limits, packages: usize) -> Limits {
    Limits {
        most_layers: limits.most_layers.saturating_sub(packages),
        ..*limits
    }
}
