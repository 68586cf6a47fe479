-- From schema version 3 to 4: a TIMESTAMP ends in 2038. Its values stay what they were, since the
-- connection reckons in UTC.

ALTER TABLE accounts MODIFY created_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) COMMENT 'UTC, as the server''s connections reckon';

UPDATE schema_version SET version = 4 WHERE one = 1;
