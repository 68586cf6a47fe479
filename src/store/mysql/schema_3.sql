-- From schema version 2 to 3: which server writes, and requests found by their push.

ALTER TABLE friend_requests ADD KEY by_push (push_seq);

CREATE TABLE IF NOT EXISTS fence (
    one    TINYINT       NOT NULL DEFAULT 1 COMMENT 'there is one row',
    server VARBINARY(64) NOT NULL           COMMENT 'the process that took the lock last: every transaction of another one fails',
    PRIMARY KEY (one)
) ENGINE = InnoDB COMMENT = 'which server writes';

UPDATE schema_version SET version = 3 WHERE one = 1;
