//! Installed packages as bytes, for a registry to keep. Pure.
//!
//! ```text
//! packages u32; of each: name, version, release, arch, source package: bytes; epoch i64, -1 for none; build time i64;
//!                        1 and the list of files as bytes, or 0
//! in version 2, of each: 1 and the details, size u64, then licence, vendor, key, checksum and MD5: bytes; or 0
//! bytes = length u32 and that many bytes; all numbers are little-endian
//! ```

use crate::model::packages::details::Details;
use crate::model::packages::file_list::FileList;
use crate::model::packages::owners::Installed;
use crate::model::packages::package::Package;
use std::sync::Arc;

/// Returns the bytes of packages, in their order, in version 2.
pub fn write_installed(installed: &[Installed]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&(installed.len() as u32).to_le_bytes());
    for Installed { package, files, .. } in installed {
        let Package {
            name,
            epoch,
            version,
            release,
            arch,
            source_rpm,
            build_time_s,
        } = package;
        for text in [name, version, release, arch, source_rpm] {
            push(&mut bytes, text.as_bytes());
        }
        let epoch = epoch.map_or(-1, i64::from);
        bytes.extend_from_slice(&epoch.to_le_bytes());
        bytes.extend_from_slice(&build_time_s.to_le_bytes());
        match files {
            None => bytes.push(0),
            Some(files) => {
                bytes.push(1);
                push(&mut bytes, files.bytes());
            }
        }
    }
    for Installed { details, .. } in installed {
        match details {
            None => bytes.push(0),
            Some(details) => {
                bytes.push(1);
                bytes.extend_from_slice(&details.size_bytes.to_le_bytes());
                for text in details.texts() {
                    push(&mut bytes, text.as_bytes());
                }
            }
        }
    }
    bytes
}

fn push(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text);
}

/// Reads packages back, of either version, sorted by name, each once; `None` where the bytes are none.
pub fn read_installed(bytes: &[u8]) -> Option<Vec<Installed>> {
    let mut reading = Reading(bytes);
    let count = u32::from_le_bytes(reading.array()?);
    let mut installed = Vec::new();
    for _ in 0..count {
        let (name, version, release) = (reading.text()?, reading.text()?, reading.text()?);
        let (arch, source_rpm) = (reading.text()?, reading.text()?);
        let epoch = i64::from_le_bytes(reading.array()?);
        let package = Package {
            name,
            epoch: u32::try_from(epoch).ok(),
            version,
            release,
            arch,
            source_rpm,
            build_time_s: i64::from_le_bytes(reading.array()?),
        };
        let files = match reading.array()? {
            [0] => None,
            [1] => Some(Arc::new(FileList::from_bytes(reading.bytes()?.to_vec())?)),
            _ => return None,
        };
        installed.push(Installed {
            package,
            files,
            details: None,
        });
    }
    if !reading.0.is_empty() {
        for one in &mut installed {
            one.details = reading.details()?.map(Arc::new);
        }
    }
    installed.sort_by(|a, b| a.package.cmp(&b.package));
    installed.dedup_by(|a, b| a.package == b.package);
    reading.0.is_empty().then_some(installed)
}

struct Reading<'b>(&'b [u8]);

impl<'b> Reading<'b> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self) -> Option<String> {
        let text = std::str::from_utf8(self.bytes()?);
        text.map(str::to_owned).ok()
    }

    /// Reads details, if there are any. Fails for what is no flag, and for a size that no row takes.
    fn details(&mut self) -> Option<Option<Details>> {
        match self.array()? {
            [0] => Some(None),
            [1] => Some(Some(Details {
                size_bytes: i64::from_le_bytes(self.array()?).try_into().ok()?,
                license: self.text()?,
                vendor: self.text()?,
                signature_key: self.text()?,
                header_checksum: self.text()?,
                md5: self.text()?,
            })),
            _ => None,
        }
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        let (bytes, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_as_they_are_written() {
        let package = |name: &str, epoch| Package {
            name: name.to_owned(),
            epoch,
            version: "1".to_owned(),
            release: "2".to_owned(),
            arch: "noarch".to_owned(),
            source_rpm: String::new(),
            build_time_s: -5,
        };
        let list = FileList::from_bytes([&[8][..], &[0; 8]].concat()).unwrap();
        let installed = [
            Installed {
                package: package("a", None),
                files: Some(Arc::new(list)),
                details: Some(Arc::new(Details {
                    size_bytes: 7,
                    license: "MIT".to_owned(),
                    ..Details::default()
                })),
            },
            Installed {
                package: package("b", Some(0)),
                files: None,
                details: None,
            },
        ];
        let bytes = write_installed(&installed);
        let again = read_installed(&bytes).unwrap();
        assert_eq!(write_installed(&again), bytes);
        assert_eq!(again[1].package.epoch, Some(0));
        assert_eq!(again[0].details.as_ref().unwrap().license, "MIT");
        // Without the details, the bytes are those of version 1.
        let details_bytes = 1 + 8 + 5 * 4 + 3 + 1;
        let first = bytes.len() - details_bytes;
        for end in (0..bytes.len()).filter(|end| *end != first) {
            assert!(read_installed(&bytes[..end]).is_none(), "{end}");
        }
        let of_1 = read_installed(&bytes[..first]).unwrap();
        assert!(of_1.iter().all(|one| one.details.is_none()));
    }
}
