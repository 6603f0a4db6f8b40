-- Records: what tells that rows are those that were recorded. The caches are made anew, with their own sums.

-- BLAKE3 of all that makes a snapshot; see docs/format.md. NULL for one that was recorded before.
ALTER TABLE snapshot ADD COLUMN seal BLOB;

-- 8 bytes of BLAKE3 of the row alone, as a signed number; NULL for one that was recorded before. All rows are read and
-- compared when a store is opened, since a row that is not found is not missed. So none may be looked up by an index, which
-- may be damaged by itself.
ALTER TABLE snapshot ADD COLUMN sum INTEGER;
DROP INDEX snapshot_of_series;

-- Cache, which may be emptied at any time: the blobs that are known to be what their digests say.
CREATE TABLE blob_stamp (
    digest      BLOB PRIMARY KEY,   -- SHA-256 of the file when it was last read or written
    inode       INTEGER NOT NULL,   -- the 64 bits as a signed number
    size_bytes  INTEGER NOT NULL,
    mtime_s     INTEGER NOT NULL,
    mtime_nanos INTEGER NOT NULL,
    ctime_s     INTEGER NOT NULL,
    ctime_nanos INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Cache: 8 bytes of BLAKE3 of the row, as a signed number. A row whose sum is another counts for nothing.
ALTER TABLE root ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;     -- of path, generation and snapshot
ALTER TABLE stamp ADD COLUMN sum INTEGER;   -- of path, target and attributes; NULL where there are none of these two
