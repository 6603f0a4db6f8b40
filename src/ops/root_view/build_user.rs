//! What an image says of a root beyond its layers, and who owns the build user's home in it.

use crate::error::Result;
use crate::fs::root::Root;
use crate::model::packages::package::Package;
use crate::model::policy::normalise::Home;
use crate::model::policy::{MOCK_GROUP, MOCK_USER, Policy, Profile};
use crate::model::tree::path::EntryPath;
use crate::oci::image::{Settings, goarch};
use crate::ops::root_view::observe::Observation;
use crate::ops::root_view::package_files::{GROUP, PASSWD};
use std::collections::HashMap;

/// What runs in a Mock chroot where nothing is asked for.
const SHELL: &str = "/bin/bash";

/// Mock's user in the root, where it has one.
#[derive(Debug)]
pub(crate) struct BuildUser {
    pub(crate) home: Option<Home>,
    has_group: bool,
}

/// Looks Mock's user up in the root's own passwd and group, under the `mock` profile.
pub(crate) fn build_user(
    root: &Root,
    observed: &Observation,
    policy: &Policy,
) -> Result<Option<BuildUser>> {
    if policy.profile != Profile::Mock {
        return Ok(None);
    }
    let passwd = observed.read_configuration(root, &path(PASSWD))?;
    let group = observed.read_configuration(root, &path(GROUP))?;
    Ok(passwd.and_then(|passwd| build_user_in(&passwd, group.as_deref())))
}

/// Looks Mock's user up in passwd and group.
pub(crate) fn build_user_in(passwd: &[u8], group: Option<&[u8]>) -> Option<BuildUser> {
    let user = line_of(passwd, MOCK_USER)?;
    let group = group.and_then(|group| line_of(group, MOCK_GROUP));
    let number =
        |line: &[&[u8]], at: usize| std::str::from_utf8(line.get(at)?).ok()?.parse::<u32>().ok();
    let home = || {
        Some(Home {
            path: EntryPath::from_slashed(user.get(5)?).filter(|home| !home.is_root())?,
            uid: number(&user, 2)?,
            gid: group
                .as_deref()
                .and_then(|group| number(group, 2))
                .or_else(|| number(&user, 3))?,
        })
    };
    Some(BuildUser {
        home: home(),
        has_group: group.is_some(),
    })
}

/// Returns where the files are that are read here.
pub(crate) fn configuration_files() -> impl Iterator<Item = EntryPath> {
    [PASSWD, GROUP].into_iter().map(path)
}

fn path(at: &str) -> EntryPath {
    EntryPath::from_slashed(at.as_bytes()).unwrap_or_default()
}

/// The fields of the line that begins with `name:` (passwd(5), group(5)).
fn line_of<'a>(file: &'a [u8], name: &str) -> Option<Vec<&'a [u8]>> {
    let lines = file
        .split(|b| *b == b'\n')
        .map(|line| line.split(|b| *b == b':').collect::<Vec<_>>());
    lines
        .into_iter()
        .find(|fields| fields.len() > 1 && fields[0] == name.as_bytes())
}

/// Returns what the image's configuration says.
pub(crate) fn settings(
    user: Option<&BuildUser>,
    packages: Option<&[Package]>,
    policy: &Policy,
) -> Settings {
    let shell = (policy.profile == Profile::Mock).then(|| SHELL.to_owned());
    Settings {
        architecture: architecture(packages.unwrap_or_default()).to_owned(),
        user: user.map(|user| {
            if user.has_group {
                format!("{MOCK_USER}:{MOCK_GROUP}")
            } else {
                MOCK_USER.to_owned()
            }
        }),
        command: shell.into_iter().collect(),
        created_s: policy.epoch_s(),
    }
}

/// The architecture that most packages have, in GOARCH's terms; where there are none, that of this machine.
fn architecture(packages: &[Package]) -> &str {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for package in packages
        .iter()
        .filter(|package| !matches!(package.arch.as_str(), "" | "noarch"))
    {
        *counts.entry(goarch(&package.arch)).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .max_by_key(|(arch, count)| (*count, *arch));
    most.map_or(goarch(std::env::consts::ARCH), |(arch, _)| arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(arch: &str) -> Package {
        Package {
            name: "a".to_owned(),
            epoch: None,
            version: "1".to_owned(),
            release: "1".to_owned(),
            arch: arch.to_owned(),
            source_rpm: String::new(),
            build_time_s: 0,
        }
    }

    #[test]
    fn an_image_has_the_architecture_of_most_packages() {
        let packages = [
            "noarch", "noarch", "noarch", "i686", "aarch64", "aarch64", "",
        ]
        .map(package);
        assert_eq!(architecture(&packages), "arm64");
    }

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = b"mockbuilder:x:1:1::/:/x\nmockbuild:x:1000:135:Mock:/builddir:/bin/bash\n";
        let fields = line_of(passwd, "mockbuild").unwrap();
        assert_eq!((fields[2], fields[5]), (&b"1000"[..], &b"/builddir"[..]));
        assert_eq!(line_of(passwd, "mock"), None);
    }
}
