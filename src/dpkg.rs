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
    let package = package(fields)?;
    // A paragraph without a status is of an image without dpkg, where all packages are installed.
    let status = first_line(fields, "Status");
    if status.is_some_and(|status| status.rsplit(|b| *b == b' ').next() != Some(b"installed")) {
        return None;
    }
    let file = |ending: &str| {
        let Package { name, arch, .. } = &package;
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
    Some(Installed {
        package,
        files,
        details: None,
    })
}

/// Returns the package of a paragraph; `None` without a name or a version.
fn package(fields: &Fields) -> Option<Package> {
    let name = text(fields, "Package")?;
    let version = text(fields, "Version")?;
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().ok(), rest),
        None => (None, version.as_str()),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    let source = text(fields, "Source");
    let source = source.and_then(|source| source.split(' ').next().map(str::to_owned));
    Some(Package {
        epoch,
        version: upstream.to_owned(),
        release: revision.to_owned(),
        source_rpm: source.unwrap_or_else(|| name.clone()),
        name,
        arch: text(fields, "Architecture").unwrap_or_default(),
        build_time_s: 0,
    })
}

fn first_line<'t>(fields: &Fields<'t>, name: &str) -> Option<&'t [u8]> {
    fields.get(name.as_bytes())?.first().copied()
}

fn text(fields: &Fields, name: &str) -> Option<String> {
    first_line(fields, name).map(|value| String::from_utf8_lossy(value).into_owned())
}

/// Returns the paths of a list, with known digests: dpkg keeps neither modes nor sizes.
fn files(list: &[u8], md5sums: Option<&Vec<u8>>, conffiles: &[&[u8]]) -> FileList {
    let digests = digests_in(md5sums.map(Vec::as_slice).unwrap_or_default());
    let configs = digests_of_configs(conffiles);
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut directories: Vec<&[u8]> = Vec::new();
    for path in paths_in(list) {
        let (directory, _) = split(path);
        places.entry(directory).or_insert_with(|| {
            directories.push(directory);
            directories.len() - 1
        });
    }
    let mut builder = FileList::builder(DigestAlgorithm::MD5, &directories);
    for path in paths_in(list) {
        let (directory, name) = split(path);
        let config = configs.get(path);
        let digest = config
            .copied()
            .flatten()
            .or_else(|| digests.get(&path[1..]).copied());
        builder.push(&OwnedFile {
            directory: places[directory],
            name: if name == b"." { b"" } else { name }, // the root
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

/// Returns the absolute paths of a list, a line each.
fn paths_in(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|b| *b == b'\n')
        .filter(|path| path.starts_with(b"/"))
}

/// Returns the directory of a path, with the slash, and the name in the directory.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|b| *b == b'/');
    path.split_at(slash.map_or(0, |slash| slash + 1))
}

/// Returns the digests in `PACKAGE.md5sums`, by paths without the first slash.
fn digests_in(md5sums: &[u8]) -> HashMap<&[u8], [u8; 16]> {
    let mut digests = HashMap::new();
    for line in md5sums.split(|b| *b == b'\n') {
        if let Some((digest, path)) = line.split_first_chunk::<32>()
            && let Some(digest) = unhex(digest)
        {
            digests.insert(path.trim_ascii(), digest);
        }
    }
    digests
}

/// Returns the paths of configuration files, each with the digest as the package has the file, where known.
fn digests_of_configs<'t>(conffiles: &[&'t [u8]]) -> HashMap<&'t [u8], Option<[u8; 16]>> {
    let mut digests = HashMap::new();
    for line in conffiles {
        let mut words = line.split(|b| *b == b' ');
        if let Some(path) = words.next().filter(|path| path.starts_with(b"/")) {
            let digest = words.next().and_then(|digest| unhex(digest.first_chunk()?));
            digests.insert(path, digest);
        }
    }
    digests
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
