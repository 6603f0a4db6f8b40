-- Records: what users say of snapshots.
ALTER TABLE snapshot ADD COLUMN labels TEXT;                        -- JSON object of texts, keys in order; NULL without any
ALTER TABLE snapshot ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;  -- 1 where neither rm nor prune removes it
