-- Cache: what tells which stamps still hold after a power cut. An inode may then have the size and times that it had, and not
-- the content.

ALTER TABLE root ADD COLUMN boot BLOB;          -- in which its stamps were last changed (proc_sys_kernel(5), `boot_id`)
ALTER TABLE root ADD COLUMN durable_s INTEGER;  -- what has not changed since is on the disk; NULL where nobody knows
ALTER TABLE root ADD COLUMN durable_nanos INTEGER; -- beyond the second; NULL where nobody knows
ALTER TABLE root ADD COLUMN boot_sum INTEGER;   -- 8 bytes of BLAKE3 of path and these, as a signed number
