-- From schema version 11 to 12, for the tests of a rolling upgrade only: tables that older builds
-- use get columns and an index that they do not know, and there is a new table.

ALTER TABLE pushes
    ADD COLUMN of_next BIGINT UNSIGNED NOT NULL DEFAULT 7 COMMENT 'of the build for tests',
    ADD KEY by_next (of_next);

ALTER TABLE whereabouts
    ADD COLUMN of_next VARBINARY(64) NOT NULL DEFAULT 'next' COMMENT 'of the build for tests' AFTER device;

ALTER TABLE nodes
    ADD COLUMN of_next INT NULL COMMENT 'of the build for tests';

CREATE TABLE IF NOT EXISTS next_table (
    one TINYINT NOT NULL,
    PRIMARY KEY (one)
) ENGINE = InnoDB COMMENT = 'of the build for tests';

UPDATE schema_version SET version = 12, compatible = 10 WHERE one = 1 AND version < 12;
