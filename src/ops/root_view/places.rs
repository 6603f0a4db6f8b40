//! Where a root has the files that tell of its packages and of the build user, and how large each may be.

use crate::apk;
use crate::dnf;
use crate::dpkg;
use crate::model::tree::path::EntryPath;
use crate::ops::root_view::user_numbers::Accounts;
use crate::rpm::{self, Backend};

/// A larger file is no rpm database.
pub(super) const LARGEST_DATABASE_BYTES: u64 = 2 << 30;
/// A larger file is none of dpkg's or apk's.
pub(super) const LARGEST_TEXT_BYTES: u64 = 64 << 20;
/// All files of dpkg together, which are read into memory.
pub(super) const LARGEST_TEXTS_BYTES: u64 = 512 << 20;
/// A larger file is no passwd and no group.
pub(super) const LARGEST_CONFIGURATION_BYTES: u64 = 4 << 20;

/// passwd(5).
const PASSWD: &str = "etc/passwd";
/// group(5).
const GROUP: &str = "etc/group";

/// shadow(5).
const SHADOW: &str = "etc/shadow";
/// Where dnf5 keeps why packages are installed.
const DNF5_STATE: &str = "usr/lib/sysimage/libdnf5";
/// Where dnf 4 keeps its history.
const DNF_STATE: &str = "var/lib/dnf";

/// Returns the place of a file that a constant names.
pub(super) fn path(text: &str) -> EntryPath {
    EntryPath::from_slashed(text.as_bytes()).unwrap_or_default()
}

/// Returns the directories where an rpm database may be.
pub(super) fn rpm_places() -> impl Iterator<Item = EntryPath> {
    rpm::PLACES.iter().copied().map(path)
}

/// Returns the names of all files of databases.
fn database_names() -> impl Iterator<Item = &'static str> {
    let backends = Backend::ALL.into_iter();
    backends.flat_map(|backend| backend.file_names()).copied()
}

/// Returns where the files of an rpm database may be.
pub(crate) fn database_files() -> impl Iterator<Item = EntryPath> {
    rpm_places().flat_map(|place| database_names().map(move |name| place.join(name.as_bytes())))
}

/// Returns the macro files with the place of the rpm database.
pub(super) fn macro_files() -> impl Iterator<Item = EntryPath> {
    rpm::MACRO_FILES.into_iter().map(path)
}

/// Returns the files that tell of the packages of rpm.
pub(crate) fn package_sources() -> impl Iterator<Item = EntryPath> {
    database_files().chain(macro_files())
}

/// Returns the history of dnf 4, and its log.
pub(crate) fn dnf_history_files() -> impl Iterator<Item = EntryPath> {
    let place = path(DNF_STATE);
    [dnf::HISTORY, dnf::HISTORY_WAL]
        .into_iter()
        .map(move |name| place.join(name.as_bytes()))
}

/// Returns the files with the numbers of users, or of groups: as they are, and as they were before the last change.
pub(super) fn account_files(of: Accounts) -> [EntryPath; 2] {
    match of {
        Accounts::Users => [PASSWD, "etc/passwd-"].map(path),
        Accounts::Groups => [GROUP, "etc/group-"].map(path),
    }
}

/// Returns the files whose content decides about other entries, or about their own.
pub(crate) fn deciding_files() -> impl Iterator<Item = EntryPath> {
    let accounts = [Accounts::Users, Accounts::Groups];
    package_sources().chain(accounts.into_iter().flat_map(account_files))
}

/// Returns passwd and group.
pub(crate) fn user_files() -> [EntryPath; 2] {
    [path(PASSWD), path(GROUP)]
}

/// Tells whether a file with this name in dpkg's directory tells of a package's files.
pub(super) fn is_dpkg_info(name: &[u8]) -> bool {
    name.ends_with(b".list") || name.ends_with(b".md5sums")
}

/// A kind of file that tells something of its root.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TellingFile {
    /// An rpm database or its log.
    Database,
    /// A file of dpkg's or apk's, or of rpm's macros.
    Text,
    /// passwd or group.
    User,
    /// Another file that a normalised state is made of.
    State,
}

impl TellingFile {
    /// Returns the kind of a file of this length; `None` for all others.
    pub(super) fn of(at: &EntryPath, size_bytes: u64) -> Option<Self> {
        let (kind, most_bytes) = if is_database(at) {
            (Self::Database, LARGEST_DATABASE_BYTES)
        } else if is_text(at) {
            (Self::Text, LARGEST_TEXT_BYTES)
        } else if user_files().contains(at) {
            (Self::User, LARGEST_CONFIGURATION_BYTES)
        } else if is_state(at) {
            (Self::State, LARGEST_TEXT_BYTES)
        } else {
            return None;
        };
        (size_bytes <= most_bytes).then_some(kind)
    }
}

/// Tells whether a file of this length tells of packages or users.
pub(crate) fn is_telling(at: &EntryPath, size_bytes: u64) -> bool {
    TellingFile::of(at, size_bytes).is_some()
}

/// Tells whether a file of this length tells of packages.
pub(crate) fn tells_of_packages(at: &EntryPath, size_bytes: u64) -> bool {
    matches!(
        TellingFile::of(at, size_bytes),
        Some(TellingFile::Database | TellingFile::Text)
    )
}

/// Tells whether a normalised state is made of a file of this length.
pub(crate) fn tells_of_state(at: &EntryPath, size_bytes: u64) -> bool {
    matches!(
        TellingFile::of(at, size_bytes),
        Some(TellingFile::Database | TellingFile::State)
    )
}

fn is_database(at: &EntryPath) -> bool {
    database_names().any(|name| at.name() == name.as_bytes())
        && at
            .parent()
            .is_some_and(|parent| rpm_places().any(|place| place == parent))
}

fn is_state(at: &EntryPath) -> bool {
    let accounts = [Accounts::Users, Accounts::Groups];
    *at == path(SHADOW)
        || accounts
            .into_iter()
            .flat_map(account_files)
            .any(|file| file == *at)
        || dnf_history_files().any(|file| file == *at)
        || at.parent() == Some(path(DNF5_STATE)) && at.name().ends_with(b".toml")
}

fn is_text(at: &EntryPath) -> bool {
    let parent = at.parent().unwrap_or_default();
    let mut known = apk::INSTALLED.iter().chain([&dpkg::STATUS]);
    known.any(|known| *at == path(known))
        || parent == path(dpkg::STATUS_PARTS)
        || parent == path(dpkg::INFO) && is_dpkg_info(at.name())
        || macro_files().any(|file| file == *at)
}
