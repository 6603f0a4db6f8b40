//! What of a root is recorded, and how: what is left out, whose times and owners are kept, what is volatile.
//!
//! Pure. A policy is declared once for a snapshot; its canonical form is hashed into the key of every layer, so a
//! layer made under another policy is never taken for one of this. What a policy means for one root (who
//! `mockbuild` is there) is not part of it: that shows in the entries themselves.

pub(crate) mod build_configuration;
pub mod globs;
pub mod normalise;
pub mod package_mtimes;
pub mod stable_volatile;
pub mod state;

use crate::error::Result;
use crate::model::digest::PolicyKey;
use crate::model::names::BUILT;
use crate::model::policy::globs::Globs;
use crate::model::policy::state::{Derivations, StateRule};
use crate::model::tree::path::EntryPath;
use std::collections::HashSet;

/// Counts up when a rule changes what the same declaration records.
const VERSION: u32 = 1;

/// The time that stands for "no time of its own": 1980-01-02. zip cannot hold earlier dates, and make takes 0
/// for "unknown".
pub(crate) const DEFAULT_EPOCH_S: i64 = 315_619_200;

/// Mock's user and group inside a chroot, and where its home is unless the chroot's passwd says otherwise.
pub(crate) const MOCK_USER: &str = "mockbuild";
/// The group of [`MOCK_USER`].
pub(crate) const MOCK_GROUP: &str = "mock";

/// Directories that the `mock` profile keeps empty, whatever is mounted on them: kernel interfaces, and caches of
/// the package manager.
const MOCK_HOLLOW: &[&str] = &[
    "proc",
    "sys",
    "dev",
    "var/cache/dnf",
    "var/cache/yum",
    "var/cache/libdnf5",
    "var/cache/PackageKit",
];

/// What the `mock` profile leaves out: the build itself, until it is over.
const MOCK_EXCLUDED: &[&str] = &["/builddir/build"];

/// What two installs of the same packages have differently: the records of the package managers, logs, what Mock writes
/// there from its configuration and the host's, and other files made on the machine.
const MOCK_VOLATILE: &[&str] = &[
    "/var/lib/rpm/**",
    "/usr/lib/sysimage/rpm/**",
    "/var/lib/dnf/**",
    "/usr/lib/sysimage/libdnf5/**",
    "/var/lib/yum/**",
    "/var/log/**",
    "/var/cache/ldconfig/**",
    "/etc/ld.so.cache",
    "/etc/dnf/dnf.conf",
    "/etc/hosts",
    "/etc/localtime",
    "/etc/resolv.conf",
    "/etc/machine-id",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/.updated",
    "/var/.updated",
    "/var/lib/systemd/random-seed",
];

/// A named set of defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A Mock chroot: without its build, mounts and caches, with Mock's user as the owner of its home.
    Mock,
    /// Any directory, as it is.
    Plain,
}

/// Whose modification times are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MtimeRule {
    /// Files that the rpm database vouches for keep theirs, everything else gets the epoch. Without packages, as [`MtimeRule::Fixed`].
    Package,
    /// Everything gets the epoch but `*.py`, whose times their `.pyc` files hold.
    Fixed,
    /// As they are; where an epoch was asked for, later ones become it.
    Keep,
}

/// The declaration: a profile and what options added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The set of defaults.
    pub profile: Profile,
    /// Globs of paths left out, beyond the profile's.
    pub exclude: Vec<String>,
    /// Globs of volatile paths, beyond the profile's.
    pub volatile: Vec<String>,
    /// How times are kept.
    pub mtime: MtimeRule,
    /// The epoch in seconds, where one was asked for.
    pub epoch_s: Option<i64>,
    /// What is recorded of volatile files.
    pub state: StateRule,
}

impl Profile {
    /// Returns the name used on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mock => "mock",
            Self::Plain => "plain",
        }
    }
}

impl MtimeRule {
    /// Returns the name used on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Fixed => "fixed",
            Self::Keep => "keep",
        }
    }
}

impl Policy {
    /// Returns the `mock` profile without additions.
    pub fn mock() -> Self {
        Self::of(Profile::Mock, MtimeRule::Package)
    }

    /// Returns the `plain` profile without additions.
    pub fn plain() -> Self {
        Self::of(Profile::Plain, MtimeRule::Keep)
    }

    fn of(profile: Profile, mtime: MtimeRule) -> Self {
        Self {
            profile,
            exclude: Vec::new(),
            volatile: Vec::new(),
            mtime,
            epoch_s: None,
            state: StateRule::Recorded,
        }
    }

    /// Returns the policy in the keys of all layers but the state: what is recorded of volatile files makes no difference to
    /// them.
    pub(crate) fn of_stable_layers(&self) -> Self {
        self.with_state(StateRule::Recorded)
    }

    /// Returns the keys of the policies under which all layers but the state have the same keys.
    pub(crate) fn keys_alike(&self) -> [PolicyKey; 2] {
        [StateRule::Recorded, StateRule::Normalized].map(|state| self.with_state(state).key())
    }

    fn with_state(&self, state: StateRule) -> Self {
        Self {
            state,
            ..self.clone()
        }
    }

    /// Returns the time in seconds that files without one of their own get, and images as `created`.
    pub fn epoch_s(&self) -> i64 {
        self.epoch_s.unwrap_or(DEFAULT_EPOCH_S)
    }

    /// Returns the canonical form: one line of JSON with sorted keys and sorted, unique globs.
    pub(crate) fn canonical(&self) -> String {
        let sorted = |globs: &[String]| {
            let mut globs = globs.to_vec();
            globs.sort();
            globs.dedup();
            globs
        };
        let mut form = serde_json::json!({
            "version": VERSION,
            "profile": self.profile.name(),
            "exclude": sorted(&self.exclude),
            "volatile": sorted(&self.volatile),
            "mtime": self.mtime.name(),
            "epoch": self.epoch_s,
        });
        if let Some(state) = self.state.canonical() {
            form["state"] = state.into();
        }
        form.to_string()
    }

    /// Reads the canonical form back; `None` where it is of a version that this one does not know.
    pub(crate) fn from_canonical(text: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let is = |field: &str, name: &str| value[field].as_str() == Some(name);
        let globs = |field: &str| {
            value[field]
                .as_array()?
                .iter()
                .map(|glob| glob.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        };
        let policy = Self {
            profile: [Profile::Mock, Profile::Plain]
                .into_iter()
                .find(|p| is("profile", p.name()))?,
            exclude: globs("exclude")?,
            volatile: globs("volatile")?,
            mtime: [MtimeRule::Package, MtimeRule::Fixed, MtimeRule::Keep]
                .into_iter()
                .find(|rule| is("mtime", rule.name()))?,
            epoch_s: value["epoch"].as_i64(),
            state: StateRule::from_canonical(value["state"].as_str())?,
        };
        (policy.canonical() == text).then_some(policy)
    }

    /// Returns the hash of the canonical form.
    pub fn key(&self) -> PolicyKey {
        PolicyKey(*blake3::hash(self.canonical().as_bytes()).as_bytes())
    }

    /// Compiles the globs, for a root at this stage. Fails where one does not parse.
    pub fn rules(&self, stage: &str) -> Result<Rules> {
        let (kept_empty, excluded, volatile) = match self.profile {
            Profile::Mock if stage == BUILT => (MOCK_HOLLOW, &[][..], MOCK_VOLATILE),
            Profile::Mock => (MOCK_HOLLOW, MOCK_EXCLUDED, MOCK_VOLATILE),
            Profile::Plain => (&[][..], &[][..], &[][..]),
        };
        let all = |own: &[&str], added: &[String]| {
            Globs::new(own.iter().copied().chain(added.iter().map(String::as_str)))
        };
        Ok(Rules {
            kept_empty: kept_empty
                .iter()
                .filter_map(|path| EntryPath::from_slashed(path.as_bytes()))
                .collect(),
            excluded: all(excluded, &self.exclude)?,
            volatile: all(volatile, &self.volatile)?,
            leaves_build: stage != BUILT,
            derivations: match self.state {
                StateRule::Recorded => None,
                StateRule::Normalized => Some(Derivations::new()?),
            },
        })
    }
}

/// A policy's globs, ready to match.
#[derive(Debug)]
pub struct Rules {
    kept_empty: HashSet<EntryPath>,
    excluded: Globs,
    volatile: Globs,
    leaves_build: bool,
    derivations: Option<Derivations>,
}

impl Rules {
    /// Tells whether the path and all beneath it are left out.
    pub fn excludes(&self, path: &EntryPath) -> bool {
        self.excluded.matches(path)
    }

    /// Tells whether the build in the build user's home is left out.
    pub(crate) fn leaves_build(&self) -> bool {
        self.leaves_build
    }

    /// Tells whether the directory is kept, but empty and with fixed metadata.
    pub fn keeps_empty(&self, path: &EntryPath) -> bool {
        self.kept_empty.contains(path)
    }

    /// Returns what becomes of volatile paths; `None` where they are recorded as found.
    pub(crate) fn derivations(&self) -> Option<&Derivations> {
        self.derivations.as_ref()
    }

    /// Tells whether a path is volatile: it, or what it is beneath.
    pub fn is_volatile(&self, path: &EntryPath) -> bool {
        let mut at = Some(path.clone());
        while let Some(here) = at {
            if self.volatile.matches(&here) {
                return true;
            }
            at = here.parent();
        }
        false
    }

    /// Returns what tells of paths, one after another in order, whether they are volatile.
    pub fn volatility(&self) -> Volatility<'_> {
        Volatility {
            rules: self,
            top: None,
        }
    }
}

/// Which paths are volatile: those that a glob names, and all that is beneath them.
#[derive(Debug)]
pub struct Volatility<'a> {
    rules: &'a Rules,
    /// The last path that a glob named, above which none was.
    top: Option<EntryPath>,
}

impl Volatility<'_> {
    /// Tells whether the next path is volatile.
    pub fn holds(&mut self, path: &EntryPath) -> bool {
        if self.top.as_ref().is_some_and(|top| path.is_beneath(top)) {
            return true;
        }
        let globs = &self.rules.volatile;
        let is_named = globs.matches(path);
        if is_named {
            self.top = Some(path.clone());
        }
        is_named
    }
}

/// Tells whether an extended attribute belongs to the tree. Labels and measurements of the machine, and
/// overlayfs's own marks, do not.
pub(crate) fn keeps_xattr(name: &[u8]) -> bool {
    const DROPPED: &[&[u8]] = &[b"security.selinux", b"security.ima", b"security.evm"];
    const DROPPED_PREFIXES: &[&[u8]] = &[b"trusted.", b"user.overlay."];
    !DROPPED.contains(&name)
        && !DROPPED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

impl Profile {
    /// Tells whether an extended attribute that belongs to the tree is nevertheless a cache: librepo's note of a file's
    /// checksum holds the time at which it was fetched.
    pub(crate) fn is_cache_xattr(self, name: &[u8]) -> bool {
        self == Self::Mock && name.starts_with(b"user.Librepo.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::path;

    fn excluding(glob: &str) -> Rules {
        Policy {
            exclude: vec![glob.to_owned()],
            ..Policy::plain()
        }
        .rules("x")
        .unwrap()
    }

    #[test]
    fn a_glob_with_a_slash_is_anchored_and_one_without_is_not() {
        assert!(excluding("*.log").excludes(&path("var/log/x.log")));
        assert!(excluding("/var/*").excludes(&path("var/log")));
        assert!(!excluding("/var/*").excludes(&path("var/log/x")));
        assert!(!excluding("log/x").excludes(&path("var/log/x")));
        assert!(excluding("/var/**").excludes(&path("var/log/x")));
        assert!(!excluding("/var/**").excludes(&path("var")));
        assert!(excluding("tmp/").excludes(&path("var/tmp")));
    }

    #[test]
    fn a_glob_that_does_not_parse_is_named() {
        let error = Policy {
            exclude: vec!["a[".to_owned()],
            ..Policy::plain()
        }
        .rules("x")
        .unwrap_err();
        assert!(error.to_string().contains("a["), "{error}");
        assert!(
            Policy {
                volatile: vec!["/".to_owned()],
                ..Policy::plain()
            }
            .rules("x")
            .is_err()
        );
    }

    #[test]
    fn the_order_of_globs_does_not_change_the_key() {
        let of = |globs: &[&str]| Policy {
            exclude: globs.iter().map(|g| (*g).to_owned()).collect(),
            ..Policy::mock()
        };
        assert_eq!(of(&["a", "b"]).key(), of(&["b", "a", "b"]).key());
        assert_ne!(of(&["a"]).key(), of(&["b"]).key());
    }

    #[test]
    fn the_canonical_form_reads_back_and_one_of_another_version_does_not() {
        let policy = Policy {
            exclude: vec!["a".to_owned(), "b\"".to_owned()],
            epoch_s: Some(-1),
            mtime: MtimeRule::Fixed,
            ..Policy::mock()
        };
        assert_eq!(Policy::from_canonical(&policy.canonical()), Some(policy));
        assert_eq!(
            Policy::from_canonical(&Policy::plain().canonical()),
            Some(Policy::plain())
        );
        let newer = Policy::plain()
            .canonical()
            .replace("\"version\":1", "\"version\":2");
        assert_eq!(Policy::from_canonical(&newer), None);
        assert_eq!(Policy::from_canonical("{"), None);
    }

    #[test]
    fn a_normalised_state_is_in_the_canonical_form_and_a_recorded_one_is_not() {
        let normalized = Policy::mock().with_state(StateRule::Normalized);
        assert!(!Policy::mock().canonical().contains("state"));
        assert!(normalized.canonical().contains(r#""state":"normalized-1""#));
        let read = Policy::from_canonical(&normalized.canonical());
        assert_eq!(read, Some(normalized.clone()));
        assert_eq!(normalized.of_stable_layers(), Policy::mock());
        assert_eq!(
            normalized.keys_alike(),
            [Policy::mock().key(), normalized.key()]
        );
        let newer = normalized
            .canonical()
            .replace("normalized-1", "normalized-2");
        assert_eq!(Policy::from_canonical(&newer), None);
    }

    #[test]
    fn mock_keeps_the_rpm_database_directory_and_counts_its_files_as_volatile() {
        let rules = Policy::mock().rules("bootstrap").unwrap();
        assert!(!rules.volatility().holds(&path("var/lib/rpm")));
        assert!(rules.volatility().holds(&path("var/lib/rpm/rpmdb.sqlite")));
        assert!(rules.keeps_empty(&path("proc")) && rules.excludes(&path("builddir/build")));
    }

    #[test]
    fn the_build_is_recorded_when_it_is_over() {
        let rules = Policy::mock().rules(BUILT).unwrap();
        assert!(!rules.excludes(&path("builddir/build")) && !rules.leaves_build());
    }

    #[test]
    fn labels_of_the_machine_are_no_attributes_of_the_tree() {
        assert!(keeps_xattr(b"security.capability") && keeps_xattr(b"system.posix_acl_access"));
        assert!(keeps_xattr(b"user.mime") && !keeps_xattr(b"security.selinux"));
        assert!(!keeps_xattr(b"trusted.overlay.opaque") && !keeps_xattr(b"user.overlay.opaque"));
    }
}
