//! Installed packages of apk, from the database as a text file (apk-tools, `lib/apk/db/installed`).
//!
//! Pure, and lenient: malformed packages are passed over. The file is as hostile as any file in a root.

use crate::model::packages::file_list::{DigestAlgorithm, FileList, OwnedFile};
use crate::model::packages::owners::Installed;
use crate::model::packages::package::Package;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::sync::Arc;

/// The database, relative to the root; the newer place first.
pub(crate) const INSTALLED: &[&str] = &["usr/lib/apk/db/installed", "lib/apk/db/installed"];

const SHA1_BYTES: usize = 20;

/// Returns the packages, sorted.
pub fn read(installed: &[u8]) -> Vec<Installed> {
    let mut all = Vec::new();
    let mut lines: Vec<(u8, &[u8])> = Vec::new();
    for line in installed.split(|b| *b == b'\n').chain([&b""[..]]) {
        match line {
            [field, b':', value @ ..] => lines.push((*field, value)),
            _ => {
                all.extend(package(&lines));
                lines.clear();
            }
        }
    }
    all.sort_by(|a: &Installed, b| a.package.cmp(&b.package));
    all
}

fn package(lines: &[(u8, &[u8])]) -> Option<Installed> {
    let field = |wanted: u8| {
        let found = lines.iter().find(|(field, _)| *field == wanted);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let version = field(b'V')?;
    let (version, release) = version.rsplit_once('-').unwrap_or((&version, ""));
    let package = Package {
        name: field(b'P')?,
        epoch: None,
        version: version.to_owned(),
        release: release.to_owned(),
        arch: field(b'A').unwrap_or_default(),
        source_rpm: field(b'o').unwrap_or_default(),
        build_time_s: field(b't')
            .and_then(|time| time.parse().ok())
            .unwrap_or_default(),
    };
    Some(Installed {
        package,
        files: Some(Arc::new(files(lines))),
        details: None,
    })
}

/// `F:` is a directory, a following `R:` is a file in the directory, and a following `Z:` is the digest of the file.
fn files(lines: &[(u8, &[u8])]) -> FileList {
    let named: Vec<Vec<u8>> = lines
        .iter()
        .filter(|(field, _)| *field == b'F')
        .map(|(_, name)| [b"/", *name, b"/"].concat())
        .collect();
    let directories: Vec<&[u8]> = named.iter().map(Vec::as_slice).collect();
    let mut builder = FileList::builder(DigestAlgorithm::SHA1, &directories);
    let mut directory = None;
    let mut lines = lines.iter().peekable();
    while let Some((field, value)) = lines.next() {
        match field {
            b'F' => directory = Some(directory.map_or(0, |at| at + 1)),
            b'R' => {
                let mut digest = Vec::new();
                while let Some((field, value)) =
                    lines.next_if(|(field, _)| matches!(field, b'a' | b'Z'))
                {
                    if let (b'Z', Some(text)) = (field, value.strip_prefix(b"Q1")) {
                        digest = unbase64(text);
                    }
                }
                if let Some(directory) = directory {
                    builder.push(&OwnedFile {
                        directory,
                        name: value,
                        mode: 0,
                        flags: 0,
                        mtime_s: 0,
                        size_bytes: 0,
                        digest: &digest,
                        target: b"",
                    });
                }
            }
            _ => {}
        }
    }
    builder.finish()
}

/// Decodes a SHA-1 (RFC 4648, section 4); empty for other text.
fn unbase64(text: &[u8]) -> Vec<u8> {
    let bytes = BASE64.decode(text).ok();
    bytes
        .filter(|bytes| bytes.len() == SHA1_BYTES)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_come_with_their_files() {
        let text = b"C:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\no:musl\nt:1690000000\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n\
Z:Q1qUuLvHUqfVR+cyU1C7Gyjvzwmsc=\nF:usr/lib\nR:libc.so\n\nP:no-version\n\nP:last\nV:3";
        let all = read(text);
        let names: Vec<_> = all.iter().map(|one| one.package.to_string()).collect();
        assert_eq!(names, ["last-3", "musl-1.2.4-r2.x86_64"]);
        assert_eq!(all[1].package.build_time_s, 1_690_000_000);
        let files = all[1].files.as_ref().unwrap();
        let directories: Vec<_> = files.directories().collect();
        let shown: Vec<_> = files
            .files()
            .map(|f| (directories[f.directory], f.name, f.digest.len()))
            .collect();
        assert_eq!(
            shown,
            [
                (&b"/lib/"[..], &b"ld-musl-x86_64.so.1"[..], 20),
                (b"/usr/lib/", b"libc.so", 0)
            ]
        );
    }

    #[test]
    fn base64_is_read_as_it_is_defined() {
        assert_eq!(
            unbase64(b"AAECAwQFBgcICQoLDA0ODxAREhM=")[..],
            (0..20).collect::<Vec<u8>>()[..]
        );
        assert_eq!(unbase64(b"????"), Vec::<u8>::new());
        assert_eq!(unbase64(b"AAEC"), Vec::<u8>::new());
    }
}
