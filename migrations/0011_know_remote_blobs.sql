-- Records: the repositories that have blobs. Outside the seals: a row counts only with the sum that it was written with.
CREATE TABLE remote_blob (
    digest     BLOB    NOT NULL,
    repository TEXT    NOT NULL, -- HOST/NAME
    proven     INTEGER NOT NULL, -- whether the diff_id of the layer was computed here; else a record claims it
    sum        INTEGER NOT NULL,
    PRIMARY KEY (digest, repository)
) STRICT, WITHOUT ROWID;
