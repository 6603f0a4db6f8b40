//! The numbers of Mock's build user: those of whoever runs Mock. A normalised state has fixed ones.

use crate::model::policy::normalise::Home;
use crate::model::policy::{MOCK_GROUP, MOCK_USER};

/// The first user of a machine, as whom Mock usually runs.
const UID: u32 = 1000;
/// The group `mock` of Fedora.
const GID: u32 = 135;

/// The place of the number in a line of passwd(5) or group(5), and that of the group in one of passwd(5).
const NUMBER: usize = 2;
const GROUP: usize = 3;

/// The rest of a line is one field.
const MOST_FIELDS: usize = 7;

/// Accounts: passwd(5) and group(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accounts {
    Users,
    Groups,
}

impl Accounts {
    fn name(self) -> &'static str {
        match self {
            Self::Users => MOCK_USER,
            Self::Groups => MOCK_GROUP,
        }
    }

    fn fixed(self) -> u32 {
        match self {
            Self::Users => UID,
            Self::Groups => GID,
        }
    }

    /// Tells whether no other account has the fixed number.
    pub(super) fn is_free(self, text: &[u8]) -> bool {
        let fixed = self.fixed().to_string();
        let mut lines = text.split(|byte| *byte == b'\n');
        !lines.any(|line| {
            let fields = fields(line);
            let is_other = fields[0] != self.name().as_bytes();
            is_other && fields.get(NUMBER) == Some(&fixed.as_bytes())
        })
    }

    /// Returns the text with the fixed numbers in the line of the build user, or of the group. `home` tells the group that is
    /// the build user's.
    pub(super) fn renumbered(self, text: &[u8], home: &Home) -> Vec<u8> {
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let of_group = home.gid.to_string();
        let (fixed, group) = (self.fixed().to_string(), GID.to_string());
        let lines = lines.map(|line| {
            let mut fields = fields(line);
            if fields[0] == self.name().as_bytes() && fields.len() > GROUP {
                fields[NUMBER] = fixed.as_bytes();
                if self == Self::Users && fields[GROUP] == of_group.as_bytes() {
                    fields[GROUP] = group.as_bytes();
                }
            }
            fields.join(&b':')
        });
        lines.collect::<Vec<_>>().concat()
    }
}

fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.splitn(MOST_FIELDS, |byte| *byte == b':').collect()
}

/// Tells whether the build user has other numbers.
pub(super) fn are_others(home: &Home) -> bool {
    (home.uid, home.gid) != (UID, GID)
}

/// Returns the fixed numbers in the place of those of the build user, for the owner and the group of a file.
pub(super) fn owner(home: &Home, (uid, gid): (u32, u32)) -> (u32, u32) {
    (
        if uid == home.uid { UID } else { uid },
        if gid == home.gid { GID } else { gid },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::path;

    fn home() -> Home {
        Home {
            path: path("builddir"),
            uid: 1001,
            gid: 995,
        }
    }

    #[test]
    fn the_build_user_alone_gets_other_numbers() {
        let passwd = b"root:x:0:0::/root:/bin/sh\nmockbuild:x:1001:995::/builddir:/bin/sh\n";
        let expected = b"root:x:0:0::/root:/bin/sh\nmockbuild:x:1000:135::/builddir:/bin/sh\n";
        assert_eq!(Accounts::Users.renumbered(passwd, &home()), expected);
        let group = b"mock:x:995:\nmocker:x:995:\n";
        let expected = b"mock:x:135:\nmocker:x:995:\n";
        assert_eq!(Accounts::Groups.renumbered(group, &home()), expected);
        let without = b"root:x:0:0::/root:/bin/sh\n\nmockbuild:x\n";
        assert_eq!(Accounts::Users.renumbered(without, &home()), without);
        assert_eq!(owner(&home(), (1001, 0)), (1000, 0));
    }

    #[test]
    fn a_number_of_somebody_else_is_not_free() {
        assert!(Accounts::Users.is_free(b"a:x:1:2:\nmockbuild:x:1000:135:\n\n"));
        assert!(!Accounts::Users.is_free(b"a:x:1000:2:\n"));
        assert!(!Accounts::Groups.is_free(b"libvirt:x:135:\n"));
    }
}
