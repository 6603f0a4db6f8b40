-- Cache: what lets a file count as unchanged without being read. May be emptied at any time.

CREATE TABLE root (
    id          INTEGER PRIMARY KEY,
    path        BLOB NOT NULL UNIQUE, -- absolute, without symlinks
    generation  INTEGER NOT NULL,   -- counts the changes of its stamps
    snapshot_id INTEGER REFERENCES snapshot (id) ON DELETE SET NULL -- whose tree the stamps are of; NULL for none
) STRICT;

-- A stamp vouches for a path only while inode, size, times, mode and owner are the same. A stamp whose times a later write
-- could leave as they are is never stored.
CREATE TABLE stamp (
    root_id     INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    path        BLOB NOT NULL,      -- as in `entry`
    inode       INTEGER NOT NULL,   -- the 64 bits as a signed number
    size_bytes  INTEGER NOT NULL,
    mtime_s     INTEGER NOT NULL,
    mtime_nanos INTEGER NOT NULL,
    ctime_s     INTEGER NOT NULL,
    ctime_nanos INTEGER NOT NULL,
    mode        INTEGER NOT NULL,   -- permission bits, 0 to 07777
    uid         INTEGER NOT NULL,
    gid         INTEGER NOT NULL,
    content     BLOB,               -- files: BLAKE3 of the content
    target      BLOB,               -- symlinks
    xattrs      BLOB,               -- as in `entry`
    PRIMARY KEY (root_id, path)
) STRICT, WITHOUT ROWID;
