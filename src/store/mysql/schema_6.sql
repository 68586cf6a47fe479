-- From schema version 5 to 6: accounts that are banned or deleted.

ALTER TABLE accounts ADD COLUMN state TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT '0 active, 1 banned, 2 deleted: the row keeps the name';

CREATE TABLE IF NOT EXISTS deletions (
    user_name VARBINARY(256) NOT NULL,
    PRIMARY KEY (user_name)
) ENGINE = InnoDB COMMENT = 'deleted accounts of which something is left';

UPDATE schema_version SET version = 6 WHERE one = 1;
