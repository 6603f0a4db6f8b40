//! Installed packages as bytes, for a registry to keep. Pure.
//!
//! ```text
//! packages u32; of each: name, version, release, arch, source package: bytes; epoch i64, -1 for none; build time i64;
//!                        1 and the list of files as bytes, or 0
//! bytes = length u32 and that many bytes; all numbers are little-endian
//! ```

use crate::model::packages::file_list::FileList;
use crate::model::packages::owners::Installed;
use crate::model::packages::package::Package;
use std::sync::Arc;

/// Returns the bytes of packages, in their order.
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
    bytes
}

fn push(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text);
}

/// Reads packages back, sorted by name; `None` where the bytes are none.
pub fn read_installed(bytes: &[u8]) -> Option<Vec<Installed>> {
    let mut reading = Reading(bytes);
    let count = u32::from_le_bytes(reading.array()?);
    let mut installed = Vec::new();
    for _ in 0..count {
        let mut text = || {
            let text = std::str::from_utf8(reading.bytes()?);
            text.map(str::to_owned).ok()
        };
        let (name, version, release) = (text()?, text()?, text()?);
        let (arch, source_rpm) = (text()?, text()?);
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
    installed.sort_by(|a, b| a.package.cmp(&b.package));
    reading.0.is_empty().then_some(installed)
}

struct Reading<'b>(&'b [u8]);

impl<'b> Reading<'b> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
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
                details: None,
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
        for end in 0..bytes.len() {
            assert!(read_installed(&bytes[..end]).is_none());
        }
    }
}
