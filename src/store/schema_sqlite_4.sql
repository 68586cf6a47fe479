-- Version 4 of the embedded store: accounts that are banned or deleted.

-- 0 active, 1 banned, 2 deleted: the row keeps the name.
ALTER TABLE accounts ADD COLUMN state INTEGER NOT NULL DEFAULT 0;

-- Deleted accounts of which something is left. Empty nearly always.
CREATE TABLE deletions (
    user_name TEXT PRIMARY KEY NOT NULL
) WITHOUT ROWID;
