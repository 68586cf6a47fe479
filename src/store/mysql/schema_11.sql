-- From schema version 10 to 11: a node says that it drains or has stopped, and that it was fenced.
-- Builds that know version 10 go on with these tables.

ALTER TABLE nodes
    ADD COLUMN state TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT '1 it drains, 2 it has stopped, 3 it was fenced, 0 neither' AFTER schema_max,
    ADD COLUMN state_epoch BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'the epoch of that: with another one it is out of date' AFTER state;

UPDATE schema_version SET version = 11, compatible = 10 WHERE one = 1 AND version < 11;
