-- Records: which package owns which path. Sets of packages that were recorded before have no rows here.

-- What a package's header says of its files, each list once. Nothing of it depends on the root: paths are as the package
-- spells them.
CREATE TABLE file_list (
    id    INTEGER PRIMARY KEY,
    key   BLOB NOT NULL UNIQUE,     -- BLAKE3 of `list`
    files INTEGER NOT NULL,         -- how many it has
    list  BLOB NOT NULL             -- see docs/format.md
) STRICT;

-- The list that each package of a set has. Two roots may have a package of one name and another list.
CREATE TABLE package_set_files (
    package_set_id INTEGER NOT NULL REFERENCES package_set (id) ON DELETE CASCADE,
    package_id     INTEGER NOT NULL REFERENCES package (id),
    file_list_id   INTEGER NOT NULL REFERENCES file_list (id),
    PRIMARY KEY (package_set_id, package_id)
) STRICT, WITHOUT ROWID;
