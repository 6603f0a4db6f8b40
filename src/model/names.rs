//! Names that users give: series, stages, runs and references to snapshots.
//!
//! Pure. A series and a stage are one component of an image name in the OCI layout's annotation
//! `org.opencontainers.image.ref.name` (image-spec, annotations.md), so `SERIES:STAGE` is one too but
//! for what [`image_name`] replaces.

use crate::error::{Error, Result};
use crate::model::moment::Moment;
use std::fmt;

/// The stage of an initialised chroot, the first of a run.
pub(crate) const BOOTSTRAP: &str = "bootstrap";
/// The stage after a build, whose results are still there.
pub(crate) const BUILT: &str = "built";
/// The stages of a build in order, for a default.
pub(crate) const STAGES: &[&str] = &[BOOTSTRAP, "deps-installed", BUILT];

/// The content of the file `oci-layout` (image-spec, image-layout.md).
pub(crate) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The content of an index.json that names no image.
pub(crate) const EMPTY_INDEX: &[u8] =
    br#"{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#;

const LONGEST_NAME: usize = 128;

/// Checks a series' name: letters, digits and single `.`, `_`, `-`, `+` between them, and not digits alone, which
/// would be taken for a snapshot's id. Fails with [`Error::BadName`] at a name of digits alone, and as [`check_name`] does.
pub fn check_series(name: &str) -> Result<()> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) {
        Err(bad("series", name, "digits alone are a snapshot's id"))
    } else {
        check_name("series", name)
    }
}

/// Checks a stage's or a run's name: letters, digits and single `.`, `_`, `-`, `+` between them. Fails with
/// [`Error::BadName`] at an empty name, a name of more than 128 bytes, or any other character.
pub fn check_name(what: &'static str, name: &str) -> Result<()> {
    let bytes = name.as_bytes();
    let sound = |at: usize| match bytes[at] {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => true,
        b'.' | b'_' | b'-' | b'+' => {
            at > 0
                && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric)
                && bytes[at - 1].is_ascii_alphanumeric()
        }
        _ => false,
    };
    match name.len() {
        0 => Err(bad(what, name, "it is empty")),
        length if length > LONGEST_NAME => Err(bad(what, name, "it is too long, beyond 128 bytes")),
        length if !(0..length).all(sound) => Err(bad(
            what,
            name,
            "use letters, digits and single . _ - + between them",
        )),
        _ => Ok(()),
    }
}

fn bad(what: &'static str, name: &str, rule: &'static str) -> Error {
    Error::BadName {
        what,
        name: name.to_owned(),
        rule,
    }
}

/// Makes a series' name out of a directory's: what a name cannot hold becomes `-`. `None` where nothing is left.
pub fn series_from(directory: &str) -> Option<String> {
    let mut name = String::new();
    for c in directory.chars() {
        let is_separator = !c.is_ascii_alphanumeric();
        if !is_separator {
            name.push(c);
        } else if name.ends_with(|last: char| last.is_ascii_alphanumeric()) {
            name.push(if matches!(c, '.' | '_' | '-' | '+') {
                c
            } else {
                '-'
            });
        }
    }
    let name = name
        .trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned();
    check_series(&name).is_ok().then_some(name)
}

/// Returns the image name of a stage in the store's layout and in archives. Engines read it as a repository and a tag
/// (distribution-spec, "Pulling manifests"): neither may hold `+`, the former no capital either. Two series that
/// differ in capitals alone have one name.
pub fn image_name(series: &str, stage: &str) -> String {
    format!("{}:{}", series.to_ascii_lowercase(), stage).replace('+', "--")
}

/// What a user calls a snapshot: an id, or `SERIES[@STAGE][@{MOMENT}][~N]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotRef {
    /// By number.
    Id(i64),
    /// The newest of a series, or of one stage of it, up to a moment, or the Nth of its stage before that.
    Latest {
        /// The series.
        series: String,
        /// The stage, or any.
        stage: Option<String>,
        /// The moment whose end no snapshot is newer than.
        at: Option<Moment>,
        /// How many to go back; 0 for the newest.
        back: u32,
    },
}

impl SnapshotRef {
    /// Reads a reference. Fails where it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let unknown = || Error::BadReference {
            text: text.to_owned(),
        };
        if let Ok(id) = text.parse::<i64>() {
            return if id > 0 {
                Ok(Self::Id(id))
            } else {
                Err(unknown())
            };
        }
        let (name, back) = match text.rsplit_once('~') {
            Some((name, "")) => (name, 1),
            Some((name, back)) => (name, back.parse().map_err(|_| unknown())?),
            None => (text, 0),
        };
        let (name, at) = match name.split_once("@{") {
            Some((name, moment)) => {
                let moment = moment.strip_suffix('}').ok_or_else(unknown)?;
                (name, Some(Moment::parse(moment).map_err(|_| unknown())?))
            }
            None => (name, None),
        };
        let (series, stage) = match name.split_once('@') {
            Some((series, stage)) => (series, Some(stage)),
            None => (name, None),
        };
        let sound = check_series(series).is_ok()
            && stage.is_none_or(|stage| check_name("stage", stage).is_ok());
        if !sound {
            return Err(unknown());
        }
        Ok(Self::Latest {
            series: series.to_owned(),
            stage: stage.map(str::to_owned),
            at,
            back,
        })
    }
}

impl fmt::Display for SnapshotRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Latest {
                series,
                stage,
                at,
                back,
            } => {
                f.write_str(series)?;
                stage
                    .as_ref()
                    .map_or(Ok(()), |stage| write!(f, "@{stage}"))?;
                at.as_ref().map_or(Ok(()), |at| write!(f, "@{{{at}}}"))?;
                if *back > 0 {
                    write!(f, "~{back}")
                } else {
                    Ok(())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latest(series: &str, stage: Option<&str>, back: u32) -> SnapshotRef {
        SnapshotRef::Latest {
            series: series.to_owned(),
            stage: stage.map(str::to_owned),
            at: None,
            back,
        }
    }

    #[test]
    fn references_are_read_as_they_are_shown() {
        for (text, reference) in [
            ("12", SnapshotRef::Id(12)),
            (
                "fedora-rawhide-x86_64",
                latest("fedora-rawhide-x86_64", None, 0),
            ),
            (
                "f44@deps-installed~2",
                latest("f44", Some("deps-installed"), 2),
            ),
            ("f44~1", latest("f44", None, 1)),
        ] {
            assert_eq!(SnapshotRef::parse(text).unwrap(), reference);
            assert_eq!(reference.to_string(), text);
        }
        assert_eq!(SnapshotRef::parse("f44~").unwrap(), latest("f44", None, 1));
        for text in [
            "f44@{yesterday}",
            "f44@deps-installed@{2026-11-20}~2",
            "f44@{3d}",
        ] {
            let reference = SnapshotRef::parse(text).unwrap();
            assert_eq!(reference.to_string(), text);
            let SnapshotRef::Latest { at, .. } = reference else {
                panic!("{text} is a number");
            };
            assert!(at.is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            "0",
            "-3",
            "a@",
            "@b",
            "a@b@c",
            "a~x",
            "a b",
            "a/b",
            "a~~",
            "a\n",
            "a@{",
            "a@{}",
            "a@{2026}",
            "a@{today}@b",
            "@{today}",
        ] {
            assert!(SnapshotRef::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_fit_into_an_image_name() {
        for name in ["fedora-rawhide-x86_64", "a", "rhel+epel-9"] {
            assert!(check_series(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "12",
            "-a",
            "a-",
            "a--b",
            "a/b",
            "a:b",
            "a@b",
            "a~b",
            "ä",
            &"x".repeat(200),
        ] {
            assert!(check_series(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_empty_or_too_long_is_called_so() {
        for (name, said) in [
            ("", "empty"),
            (&"1".repeat(200), "digits alone"),
            (&"x".repeat(129), "too long"),
        ] {
            assert!(
                check_series(name).unwrap_err().to_string().contains(said),
                "{name}"
            );
        }
        for what in ["stage", "run"] {
            assert!(
                check_name(what, "")
                    .unwrap_err()
                    .to_string()
                    .ends_with("it is empty")
            );
            assert!(
                check_name(what, &"1".repeat(129))
                    .unwrap_err()
                    .to_string()
                    .contains("too long")
            );
            assert!(check_name(what, &"1".repeat(128)).is_ok());
        }
    }

    #[test]
    fn an_image_name_is_a_repository_and_a_tag() {
        assert_eq!(
            image_name("fedora-44-x86_64", "deps-installed"),
            "fedora-44-x86_64:deps-installed"
        );
        assert_eq!(image_name("rhel+EPEL-9", "A+b"), "rhel--epel-9:A--b");
    }

    #[test]
    fn a_directory_gives_a_series_name() {
        assert_eq!(
            series_from("fedora-rawhide-x86_64").as_deref(),
            Some("fedora-rawhide-x86_64")
        );
        assert_eq!(series_from("--my root (2)").as_deref(), Some("my-root-2"));
        assert_eq!(series_from("12"), None);
        assert_eq!(series_from("/"), None);
    }
}
