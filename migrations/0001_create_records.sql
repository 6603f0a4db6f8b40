-- Records: what was recorded and cannot be found out again. Never dropped.
--
-- Hashes are 32 bytes. Times are seconds since 1970. Paths are bytes without a leading slash, their components
-- joined by NUL in place of a slash, so that the order of the key is depth-first and a subtree is one range.

CREATE TABLE series (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE       -- also the first part of its images' names in index.json
) STRICT;

CREATE TABLE policy (
    key       BLOB PRIMARY KEY,     -- BLAKE3 of `canonical`
    canonical TEXT NOT NULL         -- JSON with sorted keys; see docs/format.md
) STRICT, WITHOUT ROWID;

CREATE TABLE layer (
    id            INTEGER PRIMARY KEY,
    key           BLOB NOT NULL UNIQUE,                     -- BLAKE3 of policy, entries and whiteouts
    policy_key    BLOB NOT NULL REFERENCES policy (key),
    diff_id       BLOB NOT NULL,                            -- SHA-256 of the uncompressed tar
    tar_bytes     INTEGER NOT NULL,                         -- length of the uncompressed tar
    content_bytes INTEGER NOT NULL,                         -- length of all files, a hardlinked inode once
    entries       INTEGER NOT NULL,                         -- rows of `entry` that are no whiteouts
    whiteouts     INTEGER NOT NULL                          -- rows of `entry` that are
) STRICT;

-- What a layer holds. A snapshot's tree is what its layers give, laid over one another in order.
CREATE TABLE entry (
    layer_id     INTEGER NOT NULL REFERENCES layer (id) ON DELETE CASCADE,
    path         BLOB NOT NULL,     -- empty for the root itself
    kind         INTEGER NOT NULL,  -- 0 whiteout, 1 directory, 2 file, 3 symlink, 4 FIFO, 5 char, 6 block device
    mode         INTEGER NOT NULL,  -- permission bits, 0 to 07777
    uid          INTEGER NOT NULL,
    gid          INTEGER NOT NULL,
    mtime_s      INTEGER NOT NULL,  -- as the policy has it
    size_bytes   INTEGER,           -- files
    content      BLOB,              -- files: BLAKE3 of the content
    target       BLOB,              -- symlinks
    device_major INTEGER,           -- devices
    device_minor INTEGER,           -- devices
    link_group   INTEGER,           -- names of one inode have one number within the layer; NULL for a single name
    xattrs       BLOB,              -- pairs of name and value, each after its length as 4 bytes little-endian
    PRIMARY KEY (layer_id, path)
) STRICT, WITHOUT ROWID;

-- The compressed forms in which a layer is kept, as files under blobs/sha256.
CREATE TABLE blob (
    digest     BLOB NOT NULL,       -- SHA-256 of the file; layers of two policies may have the same bytes
    layer_id   INTEGER NOT NULL REFERENCES layer (id) ON DELETE CASCADE,
    media_type TEXT NOT NULL,       -- image-spec, layer.md
    size_bytes INTEGER NOT NULL,    -- length of the file
    PRIMARY KEY (digest, layer_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX blob_of_layer ON blob (layer_id);

CREATE TABLE package (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL,
    epoch        INTEGER NOT NULL,  -- -1 for none
    version      TEXT NOT NULL,
    release      TEXT NOT NULL,
    arch         TEXT NOT NULL,     -- empty for none
    source_rpm   TEXT NOT NULL,     -- empty where it is not known
    build_time_s INTEGER NOT NULL,
    UNIQUE (name, epoch, version, release, arch, source_rpm, build_time_s)
) STRICT;

-- The installed packages of a root; snapshots with the same ones share a set.
CREATE TABLE package_set (
    id  INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE        -- BLAKE3 of all fields of all packages, sorted
) STRICT;

CREATE TABLE package_set_member (
    package_set_id INTEGER NOT NULL REFERENCES package_set (id) ON DELETE CASCADE,
    package_id     INTEGER NOT NULL REFERENCES package (id),
    PRIMARY KEY (package_set_id, package_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshot (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice
    series_id           INTEGER NOT NULL REFERENCES series (id),
    stage               TEXT NOT NULL,
    run                 TEXT NOT NULL,     -- the build that it is of
    parent_id           INTEGER REFERENCES snapshot (id) ON DELETE SET NULL, -- the stage that it was planned over
    policy_key          BLOB NOT NULL REFERENCES policy (key),
    created_s           INTEGER NOT NULL,
    inherited_layers    INTEGER NOT NULL,  -- how many of its first layers are the parent's
    package_set_id      INTEGER REFERENCES package_set (id), -- NULL where packages are unknown
    manifest_digest     BLOB NOT NULL,     -- SHA-256, a file under blobs/sha256
    manifest_size_bytes INTEGER NOT NULL,
    config_digest       BLOB NOT NULL,     -- SHA-256, a file under blobs/sha256
    config_size_bytes   INTEGER NOT NULL,
    entries             INTEGER NOT NULL,  -- entries of the tree
    content_bytes       INTEGER NOT NULL,  -- length of all its files, a hardlinked inode once
    sockets             INTEGER NOT NULL   -- passed over: a layer cannot hold them
) STRICT;

CREATE INDEX snapshot_of_series ON snapshot (series_id, stage, id);

CREATE TABLE snapshot_layer (
    snapshot_id INTEGER NOT NULL REFERENCES snapshot (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,   -- 0 is the lowest
    layer_id    INTEGER NOT NULL REFERENCES layer (id),
    blob_digest BLOB NOT NULL,      -- the form of the layer that the manifest has
    role        TEXT NOT NULL,      -- base, update, delta or state
    reused      INTEGER NOT NULL,   -- 1 where the layer was there before the snapshot
    PRIMARY KEY (snapshot_id, position),
    FOREIGN KEY (blob_digest, layer_id) REFERENCES blob (digest, layer_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX snapshot_layer_of_layer ON snapshot_layer (layer_id);
CREATE INDEX snapshot_layer_of_blob ON snapshot_layer (blob_digest);
