-- Cache: layers that were joined for images of fewer layers. A row counts only with the sum that it was written with.
CREATE TABLE joined_layer (
    stack      BLOB    NOT NULL PRIMARY KEY, -- BLAKE3 of the layers of the image, and of which of them are joined
    key        BLOB    NOT NULL,
    diff_id    BLOB    NOT NULL,
    tar_bytes  INTEGER NOT NULL,
    digest     BLOB    NOT NULL,
    media_type TEXT    NOT NULL,
    size_bytes INTEGER NOT NULL,
    parts      BLOB    NOT NULL, -- keys of the joined layers, 32 bytes each, the lowest first
    sum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
