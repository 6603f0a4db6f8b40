//! Why a layer is in a snapshot: decided by the planner, recorded with the snapshot. Pure.

use crate::model::plan::weight::Weight;
use crate::model::tree::path::EntryPath;
use std::fmt;

/// Why a layer of a plan is reused or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A layer that exists gives what it gave before.
    Unchanged,
    /// An update: paths have changed since, and base or delta weigh this with all updates.
    Changed(Weight),
    /// A delta: the stage differs from the stage before.
    Differs,
    /// A package layer: the package had none before.
    Package,
    /// A package layer: the package with this label had one before.
    Upgraded(String),
    /// A package layer: the package had another, with other files or other directories above them.
    Touched,
    /// A state: volatile files are never reused by plan.
    Volatile,
    /// A base: nothing was recorded before.
    First,
    /// A base: the snapshot of this number, which could be built upon, has another policy.
    OtherPolicy(i64),
    /// A base: the snapshot of this number, which could be built upon, is cut into layers by another rule.
    OtherRule(i64),
    /// A base: the snapshot was planned as if there were no other.
    Fresh,
    /// A blob of a layer below is lost.
    LostBlob,
    /// A single update would have had too large a share of the last base or delta.
    LargeUpdate {
        /// Bytes of the single update.
        update_bytes: u64,
        /// Bytes of the last base or delta.
        base_bytes: u64,
    },
    /// Too large a share of the last base or delta is no longer used.
    DeadBase {
        /// Bytes that are not used.
        dead_bytes: u64,
        /// Bytes of the last base or delta.
        base_bytes: u64,
    },
    /// The last base or delta removes this path, which is no longer below.
    DanglingWhiteout(EntryPath),
    /// The image would have had too many layers.
    ManyLayers,
    /// A base with all that the layers of the snapshot of this number give.
    Squashed(i64),
}

impl Reason {
    /// Returns the name that database and JSON use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed(_) => "changed",
            Self::Differs => "differs",
            Self::Package => "package",
            Self::Upgraded(_) => "upgraded",
            Self::Touched => "touched",
            Self::Volatile => "volatile",
            Self::First => "first",
            Self::OtherPolicy(_) => "other-policy",
            Self::OtherRule(_) => "other-rule",
            Self::Fresh => "fresh",
            Self::LostBlob => "lost-blob",
            Self::LargeUpdate { .. } => "large-update",
            Self::DeadBase { .. } => "dead-base",
            Self::DanglingWhiteout(_) => "dangling-whiteout",
            Self::ManyLayers => "many-layers",
            Self::Squashed(_) => "squashed",
        }
    }

    /// Reads the recorded form back; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let name = words.next()?;
        let rest: Vec<&str> = words.collect();
        let number = |at: usize| rest.get(at)?.parse::<u64>().ok();
        let id = || rest.first()?.parse::<i64>().ok();
        let found = match name {
            "unchanged" => Self::Unchanged,
            "changed" => Self::Changed(Weight {
                base_bytes: number(0)?,
                update_bytes: number(1)?,
                dead_bytes: number(2)?,
            }),
            "differs" => Self::Differs,
            "package" => Self::Package,
            "touched" => Self::Touched,
            "upgraded" => Self::Upgraded(String::from_utf8(parse_hex(rest.first()?)?).ok()?),
            "volatile" => Self::Volatile,
            "first" => Self::First,
            "other-policy" => Self::OtherPolicy(id()?),
            "other-rule" => Self::OtherRule(id()?),
            "fresh" => Self::Fresh,
            "lost-blob" => Self::LostBlob,
            "large-update" => Self::LargeUpdate {
                update_bytes: number(0)?,
                base_bytes: number(1)?,
            },
            "dead-base" => Self::DeadBase {
                dead_bytes: number(0)?,
                base_bytes: number(1)?,
            },
            "dangling-whiteout" => {
                Self::DanglingWhiteout(EntryPath::from_key(&parse_hex(rest.first()?)?)?)
            }
            "many-layers" => Self::ManyLayers,
            "squashed" => Self::Squashed(id()?),
            _ => return None,
        };
        (found.to_string() == text).then_some(found)
    }
}

/// The recorded form: name, then numbers in decimal, or a path's key or a label in hexadecimal, with spaces between.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Changed(weight) => write!(
                f,
                " {} {} {}",
                weight.base_bytes, weight.update_bytes, weight.dead_bytes
            ),
            Self::OtherPolicy(id) | Self::OtherRule(id) | Self::Squashed(id) => write!(f, " {id}"),
            Self::LargeUpdate {
                update_bytes: bytes,
                base_bytes,
            }
            | Self::DeadBase {
                dead_bytes: bytes,
                base_bytes,
            } => write!(f, " {bytes} {base_bytes}"),
            Self::DanglingWhiteout(path) => write_hex(f, path.key()),
            Self::Upgraded(label) => write_hex(f, label.as_bytes()),
            _ => Ok(()),
        }
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str(" ")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::path;

    #[test]
    fn the_recorded_form_of_a_reason_reads_back_and_no_other_does() {
        let weight = Weight {
            base_bytes: u64::MAX,
            update_bytes: 2,
            dead_bytes: 0,
        };
        for reason in [
            Reason::Unchanged,
            Reason::Changed(weight),
            Reason::Differs,
            Reason::Package,
            Reason::Touched,
            Reason::Upgraded("a-1-1.x86_64 b".to_owned()),
            Reason::Volatile,
            Reason::First,
            Reason::OtherPolicy(3),
            Reason::OtherRule(4),
            Reason::Fresh,
            Reason::LostBlob,
            Reason::LargeUpdate {
                update_bytes: 5,
                base_bytes: 4,
            },
            Reason::DeadBase {
                dead_bytes: 7,
                base_bytes: 9,
            },
            Reason::DanglingWhiteout(path("a b/c")),
            Reason::ManyLayers,
            Reason::Squashed(1),
        ] {
            assert_eq!(Reason::parse(&reason.to_string()), Some(reason));
        }
        for text in [
            "",
            "first 1",
            "squashed",
            "changed 1 2",
            "large-update 1 02",
            "x",
        ] {
            assert_eq!(Reason::parse(text), None, "{text:?}");
        }
    }
}
