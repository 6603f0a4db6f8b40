//! What is installed, as far as dnf 4 wants to know it later.

/// The version of the schema known (table `config`).
pub(super) const VERSION: &str = "1.2";

/// Why an item is installed: `TransactionItemReason` of libdnf.
pub(super) type Reason = i64;

/// What is installed, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Installed {
    pub packages: Vec<InstalledPackage>,
    pub groups: Vec<Group>,
    pub environments: Vec<Group>,
}

/// A package of which the history knows something.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InstalledPackage {
    pub name: String,
    pub epoch: i64,
    pub version: String,
    pub release: String,
    pub arch: String,
    pub reason: Reason,
    pub repository: Option<String>,
}

/// A group of packages, or an environment of groups.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub id: String,
    pub name: String,
    pub translated_name: String,
    /// Which kinds of members were asked for.
    pub kinds: i64,
    pub reason: Reason,
    pub repository: Option<String>,
    pub members: Vec<Member>,
}

/// A member of a group: the name of a package, or the id of a group.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub name: String,
    pub is_installed: i64,
    pub kind: i64,
}
