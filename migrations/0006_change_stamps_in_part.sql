-- Cache: the stamps that have changed since those in `stamp` were written. Where a twentieth of them changes all over a root,
-- every row of `stamp` was written again.

CREATE TABLE newer_stamp (
    root_id INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    first   BLOB NOT NULL,      -- as in `stamp`
    sum     INTEGER NOT NULL,   -- as in `stamp`; that of the root covers these sums as well
    stamps  BLOB NOT NULL,      -- see docs/format.md
    PRIMARY KEY (root_id, first)
) STRICT, WITHOUT ROWID;

-- Where little has changed, a plan is made of that alone; this is what it needs to know of the rest.
ALTER TABLE root ADD COLUMN dead_bytes INTEGER; -- of the base or delta of the snapshot's stage; NULL where nobody knows
