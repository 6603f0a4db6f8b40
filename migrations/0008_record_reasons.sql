-- Records: why a snapshot has its layers. All of this is NULL for a snapshot that was recorded before, and for one that was
-- imported; its seal is then that of format 4. See docs/format.md.

ALTER TABLE snapshot ADD COLUMN planner TEXT;           -- which planner has listed the layers
ALTER TABLE snapshot ADD COLUMN update_percent INTEGER; -- the limits of that run, as its options gave them
ALTER TABLE snapshot ADD COLUMN dead_percent INTEGER;
ALTER TABLE snapshot ADD COLUMN most_layers INTEGER;

ALTER TABLE snapshot_layer ADD COLUMN label TEXT;       -- a name for readers
ALTER TABLE snapshot_layer ADD COLUMN reason TEXT;      -- a name, then numbers or a path
ALTER TABLE snapshot_layer ADD COLUMN inherited INTEGER; -- 1 for a layer of the stage before
