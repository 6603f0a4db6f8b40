//! Installed packages of dpkg, from the database as text files (dpkg(1), "FILES"; deb-control(5)).
//!
//! Pure, and lenient: malformed packages are passed over. The files are as hostile as any file in a root.

use crate::model::packages::file_list::{CONFIG, DigestAlgorithm, FileList, OwnedFile};
use crate::model::packages::owners::Installed;
use crate::model::packages::package::Package;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The database, relative to the root.
pub(crate) const STATUS: &str = "var/lib/dpkg/status";
/// A directory with a part of the database in each file, as in images without dpkg.
pub(crate) const STATUS_PARTS: &str = "var/lib/dpkg/status.d";
/// The directory with `PACKAGE.list` and `PACKAGE.md5sums`.
pub(crate) const INFO: &str = "var/lib/dpkg/info";

/// Returns the installed packages of `status`, sorted. `info` are the files of [`INFO`] by name.
pub fn read(status: &[u8], info: &HashMap<Vec<u8>, Vec<u8>>) -> Vec<Installed> {
    let mut all: Vec<Installed> = paragraphs(status)
        .filter_map(|fields| installed(&fields, info))
        .collect();
    all.sort_by(|a, b| a.package.cmp(&b.package));
    all
}

type Fields<'t> = BTreeMap<&'t [u8], Vec<&'t [u8]>>;

/// Paragraphs of fields; continuation lines follow the first line of a field.
fn paragraphs(text: &[u8]) -> impl Iterator<Item = Fields<'_>> {
    let mut lines = text.split(|b| *b == b'\n').peekable();
    std::iter::from_fn(move || {
        lines.peek()?;
        let mut fields = Fields::new();
        let mut last: &[u8] = b"";
        for line in lines
            .by_ref()
            .take_while(|line| !line.trim_ascii().is_empty())
        {
            if line.starts_with(b" ") || line.starts_with(b"\t") {
                fields.entry(last).or_default().push(line.trim_ascii());
            } else if let Some(colon) = line.iter().position(|b| *b == b':') {
                last = &line[..colon];
                fields.insert(last, vec![line[colon + 1..].trim_ascii()]);
            }
        }
        Some(fields)
    })
}

fn installed(fields: &Fields, info: &HashMap<Vec<u8>, Vec<u8>>) -> Option<Installed> {
    let first = |name: &str| {
        fields
            .get(name.as_bytes())
            .and_then(|lines| lines.first())
            .copied()
    };
    let text = |name: &str| first(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let (name, version) = (text("Package")?, text("Version")?);
    // A paragraph without a status is of an image without dpkg, where all packages are installed.
    if first("Status")
        .is_some_and(|status| status.rsplit(|b| *b == b' ').next() != Some(b"installed"))
    {
        return None;
    }
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().ok(), rest),
        None => (None, version.as_str()),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    let arch = text("Architecture").unwrap_or_default();
    let source = text("Source").and_then(|source| source.split(' ').next().map(str::to_owned));
    let file = |ending: &str| {
        let plain = format!("{name}.{ending}");
        let of_arch = format!("{name}:{arch}.{ending}"); // where several architectures are installed side by side
        info.get(plain.as_bytes())
            .or_else(|| info.get(of_arch.as_bytes()))
    };
    let conffiles = fields
        .get(&b"Conffiles"[..])
        .map(Vec::as_slice)
        .unwrap_or_default();
    let files = file("list").map(|list| Arc::new(files(list, file("md5sums"), conffiles)));
    let package = Package {
        epoch,
        version: upstream.to_owned(),
        release: revision.to_owned(),
        source_rpm: source.unwrap_or_else(|| name.clone()),
        name,
        arch,
        build_time_s: 0,
    };
    Some(Installed { package, files })
}

/// Returns the paths of a list, with known digests: dpkg keeps neither modes nor sizes.
fn files(list: &[u8], md5sums: Option<&Vec<u8>>, conffiles: &[&[u8]]) -> FileList {
    let mut digests: HashMap<&[u8], [u8; 16]> = HashMap::new();
    let sums = md5sums
        .map(|sums| sums.split(|b| *b == b'\n'))
        .into_iter()
        .flatten();
    for line in sums {
        if let Some((digest, path)) = line.split_first_chunk::<32>()
            && let Some(digest) = unhex(digest)
        {
            digests.insert(path.trim_ascii(), digest);
        }
    }
    let mut is_config: HashMap<&[u8], Option<[u8; 16]>> = HashMap::new();
    for line in conffiles {
        let mut words = line.split(|b| *b == b' ');
        if let Some(path) = words.next().filter(|path| path.starts_with(b"/")) {
            let digest = words.next().and_then(|digest| unhex(digest.first_chunk()?));
            is_config.insert(path, digest);
        }
    }
    let paths = || {
        list.split(|b| *b == b'\n')
            .filter(|path| path.starts_with(b"/"))
    };
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut directories: Vec<&[u8]> = Vec::new();
    let split = |path: &'_ [u8]| {
        path.iter()
            .rposition(|b| *b == b'/')
            .map_or(0, |slash| slash + 1)
    };
    for path in paths() {
        let directory = &path[..split(path)];
        places.entry(directory).or_insert_with(|| {
            directories.push(directory);
            directories.len() - 1
        });
    }
    let mut builder = FileList::builder(DigestAlgorithm::MD5, &directories);
    for path in paths() {
        let at = split(path);
        let name = if &path[at..] == b"." {
            b""
        } else {
            &path[at..]
        }; // the root
        let config = is_config.get(path);
        let digest = config
            .copied()
            .flatten()
            .or_else(|| digests.get(&path[1..]).copied());
        builder.push(&OwnedFile {
            directory: places[&path[..at]],
            name,
            mode: 0,
            flags: if config.is_some() { CONFIG } else { 0 },
            mtime_s: 0,
            size_bytes: 0,
            digest: digest.as_ref().map_or(&[], |digest| digest.as_slice()),
            target: b"",
        });
    }
    builder.finish()
}

fn unhex(digits: &[u8; 32]) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| (pair[at] as char).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Package: bash
Status: install ok installed
Architecture: amd64
Source: bash (5.2.15-2)
Version: 5.2.15-2+b7
Conffiles:
 /etc/bash.bashrc 89269e1298235f1b12b4c16e4065ad0d
Description: shell
 The shell: of GNU
 .

Package: gone
Status: deinstall ok config-files
Version: 1

Package: native
Status: install ok installed
Version: 2:12.4

not a field at all
Package: no version
";

    #[test]
    fn installed_packages_come_with_their_files() {
        let list = b"/.\n/etc\n/etc/bash.bashrc\n/bin/bash\n\nrelative\n".to_vec();
        let sums = b"0123456789abcdef0123456789ABCDEF  bin/bash\nshort\n".to_vec();
        let info = HashMap::from([
            (b"bash.list".to_vec(), list),
            (b"bash.md5sums".to_vec(), sums),
        ]);
        let all = read(TEXT.as_bytes(), &info);
        let names: Vec<_> = all.iter().map(|one| one.package.to_string()).collect();
        assert_eq!(names, ["bash-5.2.15-2+b7.amd64", "native-2:12.4"]);
        assert_eq!(
            (
                all[0].package.source_rpm.as_str(),
                all[1].package.source_rpm.as_str()
            ),
            ("bash", "native")
        );
        assert!(all[1].files.is_none());
        let files = all[0].files.as_ref().unwrap();
        let directories: Vec<_> = files.directories().collect();
        let shown: Vec<_> = files
            .files()
            .map(|f| {
                let path = [directories[f.directory], f.name].concat();
                (
                    String::from_utf8(path).unwrap(),
                    f.is_config(),
                    f.digest.len(),
                )
            })
            .collect();
        let expected = [
            ("/", false, 0),
            ("/etc", false, 0),
            ("/etc/bash.bashrc", true, 16),
            ("/bin/bash", false, 16),
        ];
        assert_eq!(
            shown,
            expected.map(|(path, config, digest)| (path.to_owned(), config, digest))
        );
        assert_eq!(
            FileList::from_bytes(files.bytes().to_vec()).as_ref(),
            Some(&**files)
        );
    }

    #[test]
    fn a_package_without_a_status_is_one_of_an_image_without_dpkg() {
        assert_eq!(read(b"Package: a\nVersion: 1-2", &HashMap::new()).len(), 1);
        assert_eq!(read(b"\n\n\xff\n: \n", &HashMap::new()).len(), 0);
    }
}
