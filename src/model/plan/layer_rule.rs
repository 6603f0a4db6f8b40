//! How a user asks for a tree to be cut into layers. Pure.

use crate::model::plan::limits::Limits;
use std::fmt;

/// The most layers of packages that the stages above the first may add, by default.
const USUAL_PACKAGE_LAYERS: usize = 60;

/// A smaller package has no layer of its own, by default: a layer costs each reader more than its bytes.
pub(crate) const SMALLEST_PACKAGE_BYTES: u64 = 200_000;

/// Layers of an image that no package may take: remainders, their updates and the state.
pub(crate) const RESERVED_LAYERS: usize = 10;

/// The planner of a snapshot squashed, which no user asks for as a rule.
pub(crate) const SQUASH: &str = "squash";

/// How a tree is cut into layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerRule {
    /// One layer for each stage, and updates.
    #[default]
    Stages,
    /// Layers of their own for the largest packages, at most so many above the first stage; stages and updates for the
    /// remainder.
    Packages(usize),
}

impl LayerRule {
    /// The usual packages.
    pub(crate) const USUAL_PACKAGES: Self = Self::Packages(USUAL_PACKAGE_LAYERS);

    /// Returns the usual limits. Where packages have layers, base and delta are a small part of the image, and updates of
    /// their size cost its readers little.
    pub(crate) fn usual_limits(self) -> Limits {
        let mut limits = Limits::default();
        if self.is_by_packages() {
            limits.update_percent = 100;
        }
        limits
    }

    /// Tells whether layers of one rule can be continued by the other.
    pub(crate) fn is_like(self, other: Self) -> bool {
        self.is_by_packages() == other.is_by_packages()
    }

    /// Tells whether packages have layers of their own.
    pub(crate) fn is_by_packages(self) -> bool {
        matches!(self, Self::Packages(_))
    }

    /// Reads `stages` or `packages[:N]`; `None` for any other text, and for more layers than an image may have.
    pub fn parse(text: &str) -> Option<Self> {
        let most = super::MOST_LAYERS - RESERVED_LAYERS;
        match text.split_once(':') {
            None if text == "stages" => Some(Self::Stages),
            None if text == "packages" => Some(Self::USUAL_PACKAGES),
            Some(("packages", number)) => {
                let number: usize = number.parse().ok()?;
                (1..=most)
                    .contains(&number)
                    .then_some(Self::Packages(number))
            }
            _ => None,
        }
    }
}

/// The recorded form, which [`LayerRule::parse`] reads back.
impl fmt::Display for LayerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stages => f.write_str("stages"),
            Self::Packages(most) => write!(f, "packages:{most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_back_and_no_other_text_is_one() {
        for rule in [
            LayerRule::Stages,
            LayerRule::Packages(1),
            LayerRule::Packages(90),
        ] {
            assert_eq!(LayerRule::parse(&rule.to_string()), Some(rule));
        }
        assert_eq!(LayerRule::parse("packages"), Some(LayerRule::Packages(60)));
        for text in [
            "",
            "package",
            "packages:",
            "packages:0",
            "packages:91",
            "packages:-1",
            "stages:3",
        ] {
            assert_eq!(LayerRule::parse(text), None, "{text:?}");
        }
    }
}
