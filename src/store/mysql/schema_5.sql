-- From schema version 4 to 5: a row for each lane, which every transaction of the lane updates.

CREATE TABLE IF NOT EXISTS lanes (
    lane  SMALLINT UNSIGNED NOT NULL COMMENT '0 counts signs of life, the last one those of a standby, each other is of one connection',
    epoch BIGINT UNSIGNED   NOT NULL COMMENT 'drawn at random by the server that writes: a transaction of another one changes no row here and ends; 0: that server has stopped',
    n     BIGINT UNSIGNED   NOT NULL COMMENT 'counted up by every transaction of the lane',
    PRIMARY KEY (lane)
) ENGINE = InnoDB COMMENT = 'the fence: which server writes, for every transaction to change';

UPDATE schema_version SET version = 5 WHERE one = 1;
