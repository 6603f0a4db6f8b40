//! What is recorded of the volatile files of a root: the files as found, or without what differs between two installations of one
//! set of packages. Pure.

use crate::error::Result;
use crate::model::policy::globs::Globs;
use crate::model::tree::path::EntryPath;

/// Counts up when a rule, or the bytes that a rule gives, change.
const VERSION: u32 = 1;

/// What is recorded of the volatile files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateRule {
    /// The files as found.
    #[default]
    Recorded,
    /// What follows from the set of packages alone.
    Normalized,
}

impl StateRule {
    /// Returns the name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Normalized => "normalized",
        }
    }

    /// Returns the name in the canonical form of a policy; `None` for the rule that the form does not mention.
    pub(super) fn canonical(self) -> Option<String> {
        match self {
            Self::Recorded => None,
            Self::Normalized => Some(format!("{}-{VERSION}", self.name())),
        }
    }

    /// Reads the name in a canonical form; `None` for another version.
    pub(super) fn from_canonical(name: Option<&str>) -> Option<Self> {
        [Self::Recorded, Self::Normalized]
            .into_iter()
            .find(|rule| rule.canonical().as_deref() == name)
    }
}

/// What a normalised state has of a volatile path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Derivation {
    /// The path as found.
    Found,
    /// Nothing.
    LeftOut,
    /// Of a file that a package has installed, an empty file; of any other path, nothing.
    Log,
    /// Of a file, an empty file.
    Empty,
    /// Of the rpm database in SQLite, one made anew of the headers.
    RpmDatabase,
    /// Nothing is known of an rpm database of another backend.
    OtherRpmDatabase,
    /// Of dnf 4's history, one transaction with the reason of each package.
    DnfHistory,
    /// Of a file of dnf5 (TOML), the tables and lists sorted.
    SortedToml,
    /// Of shadow(5), the lines without the day of the last change, where the password is locked.
    LockedDays,
}

/// Globs, each list with what becomes of the paths; the first list with a match counts.
const RULES: &[(Derivation, &[&str])] = &[
    (
        Derivation::RpmDatabase,
        &[
            "/usr/lib/sysimage/rpm/rpmdb.sqlite",
            "/var/lib/rpm/rpmdb.sqlite",
        ],
    ),
    (
        Derivation::OtherRpmDatabase,
        &[
            "/usr/lib/sysimage/rpm/Packages",
            "/usr/lib/sysimage/rpm/Packages.db",
            "/var/lib/rpm/Packages",
            "/var/lib/rpm/Packages.db",
        ],
    ),
    (Derivation::DnfHistory, &["/var/lib/dnf/history.sqlite"]),
    (
        Derivation::SortedToml,
        &["/usr/lib/sysimage/libdnf5/*.toml"],
    ),
    (Derivation::LockedDays, &["/etc/shadow"]),
    (
        Derivation::Empty,
        &["/etc/hosts", "/etc/machine-id", "/etc/resolv.conf"],
    ),
    (Derivation::Log, &["/var/log/**"]),
    (
        Derivation::LeftOut,
        &[
            "/usr/lib/sysimage/rpm/rpmdb.sqlite-*",
            "/usr/lib/sysimage/rpm/.rpm.lock",
            "/var/lib/rpm/rpmdb.sqlite-*",
            "/var/lib/rpm/.rpm.lock",
            "/var/lib/dnf/history.sqlite-*",
            "/var/lib/dnf/repos/*/countme",
            "/usr/lib/sysimage/libdnf5/transaction_history.sqlite*",
            "/var/lib/yum/history/**",
            "/var/lib/yum/uuid",
            "/var/cache/ldconfig/**",
            "/etc/shadow-",
            "/etc/gshadow-",
            "/etc/.updated",
            "/var/.updated",
            "/var/lib/systemd/random-seed",
        ],
    ),
];

/// The rules of a normalised state, ready to match.
#[derive(Debug)]
pub(crate) struct Derivations(Vec<(Derivation, Globs)>);

impl Derivations {
    /// Compiles the rules. Fails where a glob does not parse.
    pub(super) fn new() -> Result<Self> {
        let compiled = RULES
            .iter()
            .map(|(derivation, globs)| Ok((*derivation, Globs::new(globs.iter().copied())?)));
        Ok(Self(compiled.collect::<Result<_>>()?))
    }

    /// Returns what becomes of a volatile path; what is beneath a path that is left out is left out too.
    pub(crate) fn of(&self, path: &EntryPath) -> Derivation {
        let named = self.named(path);
        let is_left_out = |above| self.named(&above) == Derivation::LeftOut;
        if named == Derivation::Found && path.ancestors().any(is_left_out) {
            return Derivation::LeftOut;
        }
        named
    }

    fn named(&self, path: &EntryPath) -> Derivation {
        let found = self.0.iter().find(|(_, globs)| globs.matches(path));
        found.map_or(Derivation::Found, |(derivation, _)| *derivation)
    }

    /// Tells whether the state may have nothing of a path that the root has.
    pub(crate) fn may_leave_out(&self, path: &EntryPath) -> bool {
        matches!(self.of(path), Derivation::LeftOut | Derivation::Log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::policy::Policy;
    use crate::model::testing::path;

    #[test]
    fn every_path_that_a_rule_names_is_volatile() {
        let rules = Policy::mock().rules("bootstrap").unwrap();
        for glob in RULES.iter().flat_map(|(_, globs)| *globs) {
            let named = glob.replace("**", "x/y").replace('*', "x");
            assert!(rules.is_volatile(&path(&named)), "{glob}");
        }
    }

    #[test]
    fn the_first_rule_counts_and_no_rule_leaves_a_path_as_found() {
        let derivations = Derivations::new().unwrap();
        let of = |at: &str| derivations.of(&path(at));
        assert_eq!(of("var/lib/rpm/rpmdb.sqlite"), Derivation::RpmDatabase);
        assert_eq!(of("var/lib/rpm/rpmdb.sqlite-shm"), Derivation::LeftOut);
        assert_eq!(of("var/lib/dnf/history.sqlite"), Derivation::DnfHistory);
        assert_eq!(of("var/lib/rpm/rpmdb.sqlite-x/y/z"), Derivation::LeftOut);
        assert_eq!(of("var/log/a/b"), Derivation::Log);
        assert_eq!(of("var/log"), Derivation::Found);
        assert_eq!(of("etc/ld.so.cache"), Derivation::Found);
    }
}
