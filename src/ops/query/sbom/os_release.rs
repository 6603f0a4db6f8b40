//! os-release(5): which distribution a root is of.

/// The distribution; empty where nothing tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OsRelease {
    /// `ID`, such as `fedora`.
    pub id: String,
    /// `VERSION_ID`, such as `44`.
    pub version_id: String,
}

impl OsRelease {
    /// Reads the assignments of a shell; a value may be quoted. A value with other characters than names have counts as none.
    pub(super) fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut found = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.trim().split_once('=') else {
                continue;
            };
            let value = value.trim_matches(['"', '\'']);
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if !value.chars().all(is_plain) {
                continue;
            }
            match name {
                "ID" => found.id = value.to_owned(),
                "VERSION_ID" => found.version_id = value.to_owned(),
                _ => {}
            }
        }
        found
    }

    /// Returns `ID-VERSION_ID`; `None` without an ID.
    pub(super) fn distro(&self) -> Option<String> {
        match (self.id.as_str(), self.version_id.as_str()) {
            ("", _) => None,
            (id, "") => Some(id.to_owned()),
            (id, version) => Some(format!("{id}-{version}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_and_without_quotes() {
        let found = OsRelease::parse(b"NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID='44'\n# x\n");
        assert_eq!(found.distro().as_deref(), Some("fedora-44"));
        assert_eq!(
            OsRelease::parse(b"ID=a b\nVERSION_ID=1"),
            OsRelease {
                id: String::new(),
                version_id: "1".to_owned()
            }
        );
        assert_eq!(
            OsRelease::parse(b"ID=debian\n").distro().as_deref(),
            Some("debian")
        );
        assert_eq!(OsRelease::parse(b"").distro(), None);
    }
}
