-- From schema version 7 to 8: several servers over one database. A server alone uses node 0 of the
-- table lanes.

ALTER TABLE lanes
    ADD COLUMN node SMALLINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of a cluster; 0: of the server that uses the database alone' FIRST,
    DROP PRIMARY KEY,
    ADD PRIMARY KEY (node, lane);

CREATE TABLE IF NOT EXISTS cluster (
    one      TINYINT         NOT NULL DEFAULT 1 COMMENT 'there is one row, or none: then the database is that of one server alone',
    view     BIGINT UNSIGNED NOT NULL           COMMENT 'counted up whenever a node comes, leaves or is fenced',
    hash_key VARBINARY(16)   NOT NULL           COMMENT 'the key under which all nodes remember messages',
    PRIMARY KEY (one)
) ENGINE = InnoDB COMMENT = 'that several servers use this database';

CREATE TABLE IF NOT EXISTS nodes (
    node      SMALLINT UNSIGNED NOT NULL COMMENT '1 to 1023, the last bits of every number that it gives to a push',
    name      VARBINARY(64)     NOT NULL COMMENT 'as its operator calls it',
    epoch     BIGINT UNSIGNED   NOT NULL COMMENT 'counted up when it starts, and to fence it',
    renewed   BIGINT UNSIGNED   NOT NULL COMMENT 'counts its signs of life; 0: it has stopped, or was fenced',
    hlc_limit BIGINT UNSIGNED   NOT NULL COMMENT 'it gives no greater number to a push',
    build     VARBINARY(64)     NOT NULL COMMENT 'the version of its program',
    PRIMARY KEY (node),
    UNIQUE KEY by_name (name)
) ENGINE = InnoDB COMMENT = 'the servers of a cluster';

CREATE TABLE IF NOT EXISTS whereabouts (
    user_name  VARBINARY(256)    NOT NULL,
    device     VARBINARY(64)     NOT NULL DEFAULT '' COMMENT 'empty: users have one',
    node       SMALLINT UNSIGNED NOT NULL COMMENT 'where the user logged in last',
    node_epoch BIGINT UNSIGNED   NOT NULL COMMENT 'the epoch of that node then: if it has another one, the user is nowhere',
    epoch      BIGINT UNSIGNED   NOT NULL COMMENT 'counted up each time the user moves',
    floor      BIGINT UNSIGNED   NOT NULL COMMENT 'the user''s next push has a greater number',
    PRIMARY KEY (user_name, device)
) ENGINE = InnoDB COMMENT = 'which node of a cluster has which user';

CREATE TABLE IF NOT EXISTS mail (
    node   SMALLINT UNSIGNED NOT NULL COMMENT 'to this one',
    id     BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT,
    record MEDIUMBLOB        NOT NULL,
    PRIMARY KEY (node, id),
    KEY by_id (id)
) ENGINE = InnoDB COMMENT = 'what nodes tell each other by way of the database';

UPDATE schema_version SET version = 8 WHERE one = 1;
