-- Cache: the digests of trees that were asked for. A row counts only with the sum that it was written with.
CREATE TABLE tree (
    manifest BLOB    NOT NULL, -- digest of the manifest of a snapshot with the tree
    policy   BLOB    NOT NULL, -- key of the policy of the snapshot
    digest   BLOB    NOT NULL, -- BLAKE3 of the policy and of the entries
    sum      INTEGER NOT NULL,
    PRIMARY KEY (manifest, policy)
) STRICT, WITHOUT ROWID;
