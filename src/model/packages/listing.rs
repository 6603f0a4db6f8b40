//! Lists of packages that other tools have printed: Mock's and Koji's `installed_pkgs.log`, Mock's `buildroot_lock.json`, and
//! `rpm -qa`. Pure.

use crate::model::limits::MOST_PACKAGES;
use crate::model::packages::details::Details;
use crate::model::packages::owners::Installed;
use crate::model::packages::package::Package;
use crate::model::packages::upgrade::KEYS;
use serde::Deserialize;
use std::sync::Arc;

/// rpm's text for a field that a package has not.
const NONE: &str = "(none)";

/// What a list tells of each package, beside name, version, release and architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The epoch.
    pub epochs: bool,
    /// The build time.
    pub build_times: bool,
    /// The source package.
    pub source_rpms: bool,
    /// The keys given to rpm.
    pub keys: bool,
}

impl Told {
    /// What the database of a root tells.
    pub(crate) const ALL: Self = Self {
        epochs: true,
        build_times: true,
        source_rpms: true,
        keys: true,
    };

    /// Returns what both tell.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            epochs: self.epochs && other.epochs,
            build_times: self.build_times && other.build_times,
            source_rpms: self.source_rpms && other.source_rpms,
            keys: self.keys && other.keys,
        }
    }
}

/// A list that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The packages, sorted.
    pub packages: Vec<Installed>,
    /// What the list tells of each.
    pub told: Told,
}

/// Why a list is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadListing {
    /// The number of the line, from 1; `None` for JSON.
    pub line: Option<usize>,
    /// The reason.
    pub reason: String,
}

impl Listing {
    /// Reads a list: JSON of a lock file, or a package in each line. Lines in which rpm warns, comments and empty lines count for nothing. Fails
    /// at the first line that names no package, and for a list of none.
    pub fn parse(text: &[u8]) -> Result<Self, BadListing> {
        let text = std::str::from_utf8(text).map_err(|_| bad(None, "it is not UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut listing = if text.trim_start().starts_with(['{', '[']) {
            of_lock(text)?
        } else {
            of_lines(text)?
        };
        if listing.packages.is_empty() {
            return Err(bad(None, "it names no package"));
        }
        listing.packages.sort_by(|a, b| a.package.cmp(&b.package));
        Ok(listing)
    }
}

fn bad(line: Option<usize>, reason: impl Into<String>) -> BadListing {
    BadListing {
        line,
        reason: reason.into(),
    }
}

/// Reads lines of `NEVRA`, or of `NEVRA BUILDTIME SIZE …`.
fn of_lines(text: &str) -> Result<Listing, BadListing> {
    let mut packages = Vec::new();
    let (mut epochs, mut logged) = (false, 0);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let is_said = ["#", "warning:", "error:"]
            .iter()
            .any(|said| line.starts_with(said));
        if line.is_empty() || is_said {
            continue;
        }
        let mut fields = line.split_ascii_whitespace();
        let package = fields.next().and_then(package_of);
        let Some(mut package) = package else {
            let line = line.chars().take(60).collect::<String>();
            return Err(bad(
                Some(number),
                format!("{line:?} is no NAME-VERSION-RELEASE.ARCH"),
            ));
        };
        let mut next = || fields.next().and_then(|field| field.parse::<u32>().ok());
        let mut details = None;
        if let Some(build_time_s) = next() {
            package.build_time_s = build_time_s.into();
            details = next().map(|size_bytes| Details {
                size_bytes: size_bytes.into(),
                ..Details::default()
            });
            logged += 1;
        }
        epochs |= package.epoch.is_some();
        if packages.len() == MOST_PACKAGES {
            return Err(bad(Some(number), "it has more packages than any root"));
        }
        packages.push(Installed {
            package,
            files: None,
            details: details.map(Arc::new),
        });
    }
    let is_log = logged == packages.len();
    let told = Told {
        // rpm -qa leaves epochs out of all lines; a list with build times was printed with NEVRAs.
        epochs: epochs || is_log,
        build_times: is_log,
        source_rpms: false,
        keys: true,
    };
    Ok(Listing { packages, told })
}

/// Reads `NAME-[EPOCH:]VERSION-RELEASE[.ARCH]`; a key of rpm's has no architecture.
fn package_of(text: &str) -> Option<Package> {
    let text = text.strip_suffix(".(none)").unwrap_or(text);
    let (name, release) = text.rsplit_once('-')?;
    let (name, version) = name.rsplit_once('-')?;
    let (release, arch) = match release.rsplit_once('.') {
        Some((release, arch)) if is_arch(arch) => (release, arch),
        _ if name == KEYS => (release, ""),
        _ => return None,
    };
    let (epoch, version) = match version.split_once(':') {
        Some((NONE, version)) => (None, version),
        Some((epoch, version)) => (Some(epoch.parse().ok()?), version),
        None => (None, version),
    };
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_package = [name, version, release].into_iter().all(is_word)
        && !name.contains(['/', '<', '>', '=', ':']);
    is_package.then(|| Package {
        name: name.to_owned(),
        epoch,
        version: version.to_owned(),
        release: release.to_owned(),
        arch: arch.to_owned(),
        source_rpm: String::new(),
        build_time_s: 0,
    })
}

/// Tells whether a word is an architecture of rpm's (rpmrc.in): a release ends otherwise, such as in `fc44`.
fn is_arch(word: &str) -> bool {
    const NAMES: [&str; 9] = [
        "noarch", "src", "nosrc", "amd64", "ia32e", "athlon", "geode", "aarch64", "m68k",
    ];
    const FAMILIES: [&str; 17] = [
        "x86_64",
        "i386",
        "i486",
        "i586",
        "i686",
        "arm",
        "ppc",
        "s390",
        "riscv",
        "loongarch",
        "mips",
        "sparc",
        "alpha",
        "ia64",
        "sh4",
        "pentium",
        "e2k",
    ];
    NAMES.contains(&word) || FAMILIES.iter().any(|family| word.starts_with(family))
}

/// Mock's `buildroot_lock.json`.
#[derive(Deserialize)]
struct Lock {
    buildroot: Buildroot,
}

#[derive(Deserialize)]
struct Buildroot {
    rpms: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    release: String,
    arch: String,
    #[serde(default)]
    epoch: Option<Epoch>,
    #[serde(default)]
    license: Option<String>,
    #[serde(default)]
    sigmd5: Option<String>,
}

/// Mock writes epochs as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Epoch {
    Number(u32),
    Text(String),
}

fn of_lock(text: &str) -> Result<Listing, BadListing> {
    let lock: Lock = serde_json::from_str(text)
        .map_err(|error| bad(None, format!("it is no lock file of Mock's: {error}")))?;
    if lock.buildroot.rpms.len() > MOST_PACKAGES {
        return Err(bad(None, "it has more packages than any root"));
    }
    let packages = lock
        .buildroot
        .rpms
        .into_iter()
        .map(LockedPackage::installed);
    Ok(Listing {
        packages: packages.collect::<Result<_, _>>()?,
        told: Told {
            epochs: true,
            build_times: false,
            source_rpms: false,
            keys: false,
        },
    })
}

impl LockedPackage {
    fn installed(self) -> Result<Installed, BadListing> {
        let epoch = match self.epoch {
            None => None,
            Some(Epoch::Number(epoch)) => Some(epoch),
            Some(Epoch::Text(epoch)) if epoch == NONE => None,
            Some(Epoch::Text(epoch)) => Some(
                epoch
                    .parse()
                    .map_err(|_| bad(None, format!("{:?} has the epoch {epoch:?}", self.name)))?,
            ),
        };
        let details = Details {
            license: self.license.unwrap_or_default(),
            md5: self.sigmd5.unwrap_or_default(),
            ..Details::default()
        };
        Ok(Installed {
            package: Package {
                name: self.name,
                epoch,
                version: self.version,
                release: self.release,
                arch: self.arch,
                source_rpm: String::new(),
                build_time_s: 0,
            },
            files: None,
            details: Some(Arc::new(details)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let listing = Listing::parse(text.as_bytes()).unwrap();
        listing
            .packages
            .iter()
            .map(|one| one.package.to_string())
            .collect()
    }

    #[test]
    fn a_log_of_mock_has_epochs_and_build_times() {
        let log = "warning: Found SQLITE rpmdb.sqlite database while attempting bdb backend\n\
                   zlib-1.2.11-10.el8.x86_64 1545051093 195551 installed\n\
                   openssl-libs-1:1.1.1-8.el8.x86_64 1555500000 3745542 installed\n\
                   gpg-pubkey-fd431d51-4ae0493b.(none) 1257261371 0 installed\n";
        assert_eq!(
            names(log),
            [
                "gpg-pubkey-fd431d51-4ae0493b",
                "openssl-libs-1:1.1.1-8.el8.x86_64",
                "zlib-1.2.11-10.el8.x86_64"
            ]
        );
        let listing = Listing::parse(log.as_bytes()).unwrap();
        let Told {
            epochs,
            build_times,
            source_rpms,
            keys,
        } = listing.told;
        assert_eq!(
            (epochs, build_times, source_rpms, keys),
            (true, true, false, true)
        );
        assert_eq!(listing.packages[2].package.build_time_s, 1_545_051_093);
        assert_eq!(
            listing.packages[2].details.as_ref().unwrap().size_bytes,
            195_551
        );
    }

    #[test]
    fn a_query_of_rpm_has_epochs_if_any_line_has() {
        let of = |text: &str| Listing::parse(text.as_bytes()).unwrap().told;
        assert!(!of("bash-5.2-1.fc44.x86_64\ngpg-pubkey-fd431d51-4ae0493b\n").epochs);
        assert!(of("bash-5.2-1.fc44.x86_64\nvim-2:9-1.fc44.x86_64\n").epochs);
        assert!(!of("bash-5.2-1.fc44.x86_64\n").build_times);
        assert_eq!(names("a-b-c-1-2.noarch"), ["a-b-c-1-2.noarch"]);
        assert_eq!(names("a-(none):1-2.noarch"), ["a-1-2.noarch"]);
    }

    #[test]
    fn a_lock_file_has_checksums_and_no_keys() {
        let lock = r#"{"version": "1.1.0", "config": {}, "buildroot": {"rpms": [
            {"name": "b", "arch": "noarch", "version": "1", "release": "2", "epoch": "3", "license": "MIT", "sigmd5": "aa", "signature": null},
            {"name": "a", "arch": "noarch", "version": "1", "release": "2", "epoch": null}]}}"#;
        assert_eq!(names(lock), ["a-1-2.noarch", "b-3:1-2.noarch"]);
        let listing = Listing::parse(lock.as_bytes()).unwrap();
        assert!(!listing.told.keys && listing.told.epochs);
        assert_eq!(listing.packages[1].details.as_ref().unwrap().md5, "aa");
    }

    #[test]
    fn what_names_no_package_is_refused_with_its_line() {
        for (text, line) in [
            ("", None),
            ("# nothing\n", None),
            ("bash-5-1.noarch\n\nno package\n", Some(3)),
            ("bash-5-1.fc44\n", Some(1)),
            ("0:bash-5-1.noarch\n", Some(1)),
            ("[]", None),
            ("bash", Some(1)),
            ("a-x:1-2.noarch", Some(1)),
            ("/usr/bin/a-1-2.x", Some(1)),
            ("{}", None),
            (r#"{"buildroot": {"rpms": [{"name": "a"}]}}"#, None),
            (r#"{"buildroot": {"rpms": []}}"#, None),
        ] {
            let error = Listing::parse(text.as_bytes()).expect_err(text);
            assert_eq!(error.line, line, "{text}");
        }
        assert!(Listing::parse(b"\xff").is_err());
        assert_eq!(
            names("\u{feff}a-1-2.armv7hl\r\nb-1-2.ppc64le\r\n"),
            ["a-1-2.armv7hl", "b-1-2.ppc64le"]
        );
    }
}
