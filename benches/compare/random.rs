//! Numbers that look random and are the same each time.

/// SplitMix64.
pub(crate) struct Random(u64);

const SYLLABLES: [&str; 32] = [
    "al", "ba", "con", "der", "es", "fo", "gen", "hi", "in", "jo", "ker", "lib", "me", "net", "or",
    "pro", "qu", "re", "sys", "ta", "un", "ver", "wi", "xa", "ym", "ze", "ator", "ble", "ing",
    "ous", "str", "th",
];

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// At least 0, below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// By its median and the standard deviation of its logarithm (Box and Muller).
    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        median * (sigma * radius * (std::f64::consts::TAU * self.unit()).cos()).exp()
    }

    /// An index, as often as its weight says.
    pub(crate) fn weighted<const N: usize>(&mut self, weights: [u64; N]) -> usize {
        let mut at = self.below(weights.iter().sum());
        weights
            .iter()
            .position(|weight| at.checked_sub(*weight).map(|left| at = left).is_none())
            .unwrap_or(0)
    }

    pub(crate) fn word(&mut self) -> String {
        (0..2 + self.below(2))
            .map(|_| SYLLABLES[self.below(SYLLABLES.len() as u64) as usize])
            .collect()
    }

    /// A word with a number, which keeps it apart from others.
    pub(crate) fn name(&mut self, number: usize) -> String {
        format!("{}{number}", self.word())
    }
}
