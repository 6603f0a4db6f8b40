//! The limits of a plan. Pure.

/// The most layers of an image; some engines refuse images of more than 127.
pub(crate) const MOST_LAYERS: usize = 100;

/// When a base or a delta is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// When the updates have more than this share, in percent of the base or delta's bytes of content.
    pub update_percent: u64,
    /// When more than this share is dead, likewise.
    pub dead_percent: u64,
    /// When an image would have more layers; at most [`MOST_LAYERS`].
    pub most_layers: usize,
}

/// Limits that a user may leave open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenLimits {
    /// See [`Limits::update_percent`].
    pub update_percent: Option<u64>,
    /// See [`Limits::dead_percent`].
    pub dead_percent: Option<u64>,
    /// See [`Limits::most_layers`].
    pub most_layers: Option<usize>,
}

impl OpenLimits {
    /// Closes the limits with the usual ones.
    pub(crate) fn or(self, usual: Limits) -> Limits {
        Limits {
            update_percent: self.update_percent.unwrap_or(usual.update_percent),
            dead_percent: self.dead_percent.unwrap_or(usual.dead_percent),
            most_layers: self.most_layers.unwrap_or(usual.most_layers),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            update_percent: 30,
            dead_percent: 25,
            most_layers: MOST_LAYERS,
        }
    }
}
