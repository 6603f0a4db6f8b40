//! The configuration of a snapshot's image, beside the layers.

use crate::model::packages::package::Package;
use crate::model::policy::{MOCK_GROUP, MOCK_USER, Policy, Profile};
use crate::oci::image::{Settings, goarch};
use crate::ops::root_view::build_user::BuildUser;
use std::collections::HashMap;

/// The default command in a container of a Mock chroot.
const SHELL: &str = "/bin/bash";

/// Returns the settings of the image of a root with this build user and these packages.
pub(crate) fn image_settings<'p>(
    user: Option<&BuildUser>,
    packages: impl Iterator<Item = &'p Package>,
    policy: &Policy,
) -> Settings {
    let shell = (policy.profile == Profile::Mock).then(|| SHELL.to_owned());
    Settings {
        architecture: architecture(packages).to_owned(),
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

/// Returns the architecture of most packages, in GOARCH's terms; without packages, of this machine.
fn architecture<'p>(packages: impl Iterator<Item = &'p Package>) -> &'p str {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for package in packages.filter(|package| !matches!(package.arch.as_str(), "" | "noarch")) {
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
        assert_eq!(architecture(packages.iter()), "arm64");
    }
}
