//! Mock's build user, out of the passwd and group of the root.

use crate::error::Result;
use crate::model::policy::normalise::Home;
use crate::model::policy::{MOCK_GROUP, MOCK_USER, Profile};
use crate::model::tree::path::EntryPath;
use crate::ops::root_view::facts::RootFiles;
use crate::ops::root_view::places::{LARGEST_CONFIGURATION_BYTES, user_files};

/// The build user of a root.
#[derive(Debug)]
pub(crate) struct BuildUser {
    /// The user's home directory; `None` where passwd names none below the root.
    pub home: Option<Home>,
    /// Whether the root has the build user's group.
    pub has_group: bool,
}

impl BuildUser {
    /// Looks the user up; `None` in a root or under a profile without a build user. Fails if passwd or group cannot be read, and
    /// with [`crate::error::Error::Changed`] if a live passwd or group has changed since observed.
    pub(crate) fn find(files: &impl RootFiles, profile: Profile) -> Result<Option<Self>> {
        if profile != Profile::Mock {
            return Ok(None);
        }
        let [passwd, group] = user_files();
        let Some(passwd) = files.bytes(&passwd, LARGEST_CONFIGURATION_BYTES)? else {
            return Ok(None);
        };
        let group = files.bytes(&group, LARGEST_CONFIGURATION_BYTES)?;
        Ok(Self::parse(&passwd, group.as_deref()))
    }

    fn parse(passwd: &[u8], group: Option<&[u8]>) -> Option<Self> {
        let user = line_of(passwd, MOCK_USER)?;
        let group = group.and_then(|group| line_of(group, MOCK_GROUP));
        Some(Self {
            home: home_of(&user, group.as_deref()),
            has_group: group.is_some(),
        })
    }
}

fn home_of(user: &[&[u8]], group: Option<&[&[u8]]>) -> Option<Home> {
    let path = EntryPath::from_slashed(user.get(5)?)?;
    let gid = group.and_then(|group| number(group, 2));
    (!path.is_root()).then_some(Home {
        path,
        uid: number(user, 2)?,
        gid: gid.or_else(|| number(user, 3))?,
    })
}

fn number(line: &[&[u8]], at: usize) -> Option<u32> {
    std::str::from_utf8(line.get(at)?).ok()?.parse().ok()
}

/// Returns the fields of the line that begins with `name:` (passwd(5), group(5)).
fn line_of<'a>(file: &'a [u8], name: &str) -> Option<Vec<&'a [u8]>> {
    file.split(|b| *b == b'\n')
        .map(|line| line.split(|b| *b == b':').collect::<Vec<_>>())
        .find(|fields| fields.len() > 1 && fields[0] == name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = b"mockbuilder:x:1:1::/:/x\nmockbuild:x:1000:135:Mock:/builddir:/bin/bash\n";
        let fields = line_of(passwd, "mockbuild").unwrap();
        assert_eq!((fields[2], fields[5]), (&b"1000"[..], &b"/builddir"[..]));
        assert_eq!(line_of(passwd, "mock"), None);
    }
}
