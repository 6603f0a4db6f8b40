//! Stamps that hold although the machine may have lost its power since.
//!
//! The kernel writes inodes and contents to the disk when the kernel sees fit. After a power cut an inode may have the
//! size and times of its stamp, and another content. So a root's row has the boot of the last change of stamps, and
//! the time up to which every change on the filesystem is known to be on the disk (docs/design.md, "A power cut").

use crate::model::stamp::{Lasting, Time};
use crate::store::records::seal::sum;
use rusqlite::{Connection, Row, params};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

/// Another after each boot (proc_sys_kernel(5)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Returns the mark of this boot; empty where the kernel gives no mark.
pub(crate) fn current() -> &'static [u8] {
    static BOOT: OnceLock<Vec<u8>> = OnceLock::new();
    BOOT.get_or_init(|| {
        std::fs::read(BOOT_ID)
            .unwrap_or_default()
            .trim_ascii()
            .to_owned()
    })
}

/// The boot and the sync in a root's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Boot {
    /// The boot of the last change of stamps; empty where nobody knows.
    id: Vec<u8>,
    /// See [`Lasting::durable_until`].
    pub durable_until: Option<Time>,
}

impl Boot {
    /// Returns the knowledge about stamps that change in the boot `id`.
    pub(crate) fn new(id: &[u8], durable_until: Option<Time>) -> Self {
        Self {
            id: id.to_owned(),
            durable_until,
        }
    }

    /// Reads four columns, `at` the first. A damaged row tells nothing. Fails if a column has another type than its
    /// table says.
    pub(crate) fn load(root_path: &Path, row: &Row, at: usize) -> rusqlite::Result<Self> {
        let id: Option<Vec<u8>> = row.get(at)?;
        let time: (Option<i64>, Option<i64>) = (row.get(at + 1)?, row.get(at + 2)?);
        let durable_until = match time {
            (Some(seconds), Some(nanos)) => u32::try_from(nanos)
                .ok()
                .map(|nanos| Time { seconds, nanos }),
            _ => None,
        };
        let found = Self {
            id: id.unwrap_or_default(),
            durable_until,
        };
        let is_sound = row.get::<_, Option<i64>>(at + 3)? == Some(found.sum(root_path));
        Ok(if is_sound { found } else { Self::default() })
    }

    /// Writes the columns of a root's row. Fails if SQLite cannot change the row, such as on a full disk.
    pub(crate) fn save(
        &self,
        connection: &Connection,
        root_id: i64,
        root_path: &Path,
    ) -> rusqlite::Result<()> {
        let Self { id, durable_until } = self;
        let query =
            "UPDATE root SET boot = ?, durable_s = ?, durable_nanos = ?, boot_sum = ? WHERE id = ?";
        let (seconds, nanos) = (
            durable_until.map(|time| time.seconds),
            durable_until.map(|time| time.nanos),
        );
        connection
            .prepare_cached(query)?
            .execute(params![id, seconds, nanos, self.sum(root_path), root_id])
            .map(drop)
    }

    /// Tells whether this is the boot `id`, if the boot is known.
    pub(crate) fn is(&self, id: &[u8]) -> bool {
        !id.is_empty() && self.id == id
    }

    /// Returns which stamps hold in the boot `id`.
    pub(crate) fn lasting(&self, id: &[u8]) -> Lasting {
        Lasting {
            is_this_boot: self.is(id),
            durable_until: self.durable_until,
        }
    }

    fn sum(&self, root_path: &Path) -> i64 {
        let time = self.durable_until.map(|Time { seconds, nanos }| {
            [&seconds.to_le_bytes()[..], &nanos.to_le_bytes()].concat()
        });
        let parts = [root_path.as_os_str().as_bytes(), self.id.as_slice()];
        sum(parts.into_iter().chain(time.as_deref()))
    }
}
