-- Records: what a package's header says of the package beside name and files, each combination once.
CREATE TABLE package_detail (
    id              INTEGER PRIMARY KEY,
    key             BLOB    NOT NULL UNIQUE, -- BLAKE3 of the other columns
    size_bytes      INTEGER NOT NULL,        -- of all files
    license         TEXT    NOT NULL,        -- empty where there is none, as all that follow
    vendor          TEXT    NOT NULL,
    signature_key   TEXT    NOT NULL,        -- 16 hexadecimal digits
    header_checksum TEXT    NOT NULL,        -- sha256:HEX or sha1:HEX
    md5             TEXT    NOT NULL         -- of header and payload, in hexadecimal digits
) STRICT;

-- NULL in sets that were recorded before, and where a package of the set has no details.
ALTER TABLE package_set_files ADD COLUMN package_detail_id INTEGER REFERENCES package_detail (id);

-- Packages, and the times that follow from them, are now read of more roots and in more detail: what a root was recorded as
-- is no more what the same files are recorded as now. Roots are read again once.
DELETE FROM stamp;
DELETE FROM newer_stamp;
DELETE FROM root;
