-- Cache: many stamps in a row. To read a row for each was a sixth of the time of a snapshot in which nothing has changed.

DROP TABLE stamp;
DELETE FROM root;

CREATE TABLE stamp (
    root_id INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    first   BLOB NOT NULL,      -- path of the first, as in `entry`; the others come before that of the next row
    sum     INTEGER NOT NULL,   -- 8 bytes of BLAKE3 of `first` and `stamps`, as a signed number
    stamps  BLOB NOT NULL,      -- see docs/format.md
    PRIMARY KEY (root_id, first)
) STRICT, WITHOUT ROWID;
