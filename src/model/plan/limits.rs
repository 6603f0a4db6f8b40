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

impl Default for Limits {
    fn default() -> Self {
        Self {
            update_percent: 30,
            dead_percent: 25,
            most_layers: MOST_LAYERS,
        }
    }
}
