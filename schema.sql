-- The tables of hongyan on MySQL 8 and later or MariaDB 10.6 and later, schema version 11.
--
-- The server applies this file when it starts on an empty database. To run it without the right to
-- create tables, apply the file by hand before the first start: the server itself needs SELECT,
-- INSERT, UPDATE and DELETE. Harmless when applied twice. The embedded SQLite store has the same
-- tables (src/store/schema_sqlite.sql).
--
-- Names and ids are VARBINARY: they compare byte for byte, and unlike any text collation a byte
-- string is not padded, so 'bob', 'Bob' and 'bob ' stay three. A user name has at most 64
-- characters (256 bytes of UTF-8), an id 128 bytes. Texts of users are utf8mb4, four-byte
-- characters included.

CREATE TABLE IF NOT EXISTS schema_version (
    one     TINYINT  NOT NULL DEFAULT 1 COMMENT 'there is one row',
    version INT      NOT NULL           COMMENT 'which tables these are',
    compatible INT   NOT NULL DEFAULT 10 COMMENT 'the least version that a server must know to use these tables',
    PRIMARY KEY (one)
) ENGINE = InnoDB COMMENT = 'which builds may use these tables';

CREATE TABLE IF NOT EXISTS accounts (
    user_name            VARBINARY(256) NOT NULL,
    password_hash        VARBINARY(512) NOT NULL COMMENT 'Argon2id with its salt, as a PHC string',
    email_address        VARCHAR(255)   NOT NULL,
    nick_name            VARCHAR(255)   NOT NULL,
    profile_picture      VARCHAR(2048)  NOT NULL,
    location             VARCHAR(255)   NOT NULL,
    personal_description TEXT           NOT NULL COMMENT 'at most 8,192 bytes',
    rsa_public_key       TEXT           NOT NULL COMMENT 'at most 8,192 bytes',
    created_at           DATETIME(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP(3) COMMENT 'UTC, as the server''s connections reckon',
    state                TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT '0 active, 1 banned, 2 deleted: the row keeps the name',
    PRIMARY KEY (user_name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'who may log in';

CREATE TABLE IF NOT EXISTS friendships (
    user_name   VARBINARY(256) NOT NULL,
    friend_name VARBINARY(256) NOT NULL,
    PRIMARY KEY (user_name, friend_name)
) ENGINE = InnoDB COMMENT = 'two rows each: both ways';

CREATE TABLE IF NOT EXISTS friend_requests (
    receiver   VARBINARY(256)  NOT NULL,
    sender     VARBINARY(256)  NOT NULL,
    message_id VARBINARY(128)  NOT NULL COMMENT 'the asker''s id of it, which the answer names',
    time_ms    BIGINT UNSIGNED NOT NULL COMMENT 'when it was taken, ms since the epoch',
    push_seq   BIGINT UNSIGNED NOT NULL COMMENT 'its push, which may have been acked and be gone',
    hidden     TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT '1: the receiver blocks the sender, and is not shown it',
    content    MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'its text',
    PRIMARY KEY (receiver, sender),
    KEY by_sender (sender, push_seq),
    KEY by_push (push_seq),
    KEY by_hidden (hidden, receiver, push_seq)
) ENGINE = InnoDB COMMENT = 'pending until answered, at most one from one to another';

CREATE TABLE IF NOT EXISTS pushes (
    seq        BIGINT UNSIGNED  NOT NULL COMMENT 'the order in which the server took them',
    receiver   VARBINARY(256)   NOT NULL,
    sender     VARBINARY(256)   NOT NULL,
    message_id VARBINARY(128)   NOT NULL,
    kind       TINYINT UNSIGNED NOT NULL COMMENT '0 message, 1 friend request, 2 accept, 3 reject',
    once       BIGINT UNSIGNED  NOT NULL COMMENT '0 for a message, which is kept once under its id; seq for all else',
    time_ms    BIGINT UNSIGNED  NOT NULL COMMENT 'ms since the epoch',
    content    MEDIUMTEXT       NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE KEY kept_once (receiver, sender, message_id, once),
    KEY by_receiver (receiver, seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'taken and not acked';

CREATE TABLE IF NOT EXISTS resume_tokens (
    user_name  VARBINARY(256)  NOT NULL,
    token_hash VARBINARY(64)   NOT NULL COMMENT 'of the token, the name and the password hash of the user: the token itself is not kept',
    expires_ms BIGINT UNSIGNED NOT NULL COMMENT 'ms since the epoch',
    PRIMARY KEY (user_name, token_hash)
) ENGINE = InnoDB COMMENT = 'what a client may log in with instead of its password';

CREATE TABLE IF NOT EXISTS blocks (
    user_name    VARBINARY(256) NOT NULL,
    blocked_name VARBINARY(256) NOT NULL,
    PRIMARY KEY (user_name, blocked_name),
    KEY by_blocked (blocked_name, user_name)
) ENGINE = InnoDB COMMENT = 'who blocks whom';

CREATE TABLE IF NOT EXISTS deletions (
    user_name VARBINARY(256) NOT NULL,
    PRIMARY KEY (user_name)
) ENGINE = InnoDB COMMENT = 'deleted accounts of which something is left';

CREATE TABLE IF NOT EXISTS fence (
    one    TINYINT       NOT NULL DEFAULT 1 COMMENT 'there is one row',
    server VARBINARY(64) NOT NULL           COMMENT 'the process that took the lock last: every transaction of another one fails',
    PRIMARY KEY (one)
) ENGINE = InnoDB COMMENT = 'which server writes';

CREATE TABLE IF NOT EXISTS lanes (
    node  SMALLINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of a cluster; 0: of the server that uses the database alone',
    lane  SMALLINT UNSIGNED NOT NULL COMMENT '0 counts signs of life, the last one those of a standby, each other is of one connection',
    epoch BIGINT UNSIGNED   NOT NULL COMMENT 'of a node as in nodes; of a server alone drawn at random, and 0 when it has stopped: a transaction of any other changes no row here and ends',
    n     BIGINT UNSIGNED   NOT NULL COMMENT 'counted up by every transaction of the lane',
    PRIMARY KEY (node, lane)
) ENGINE = InnoDB COMMENT = 'the fence: which server writes, for every transaction to change';

CREATE TABLE IF NOT EXISTS cluster (
    one      TINYINT         NOT NULL DEFAULT 1 COMMENT 'there is one row, or none: then the database is that of one server alone',
    view     BIGINT UNSIGNED NOT NULL           COMMENT 'counted up whenever a node comes, leaves or is fenced',
    hash_key VARBINARY(16)   NOT NULL           COMMENT 'the key under which all nodes remember messages',
    mac_key  VARBINARY(32)   NOT NULL DEFAULT '' COMMENT 'the key by which nodes know each other on the bus; empty: none was made yet',
    epoch_floor BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'no node that was forgotten had a greater epoch: a new one begins above it',
    seq_floor   BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'no node that was forgotten gave a greater number to a push',
    PRIMARY KEY (one)
) ENGINE = InnoDB COMMENT = 'that several servers use this database';

CREATE TABLE IF NOT EXISTS nodes (
    node      SMALLINT UNSIGNED NOT NULL COMMENT '1 to 1023, the last bits of every number that it gives to a push',
    name      VARBINARY(64)     NOT NULL COMMENT 'as its operator calls it',
    epoch     BIGINT UNSIGNED   NOT NULL COMMENT 'counted up when it starts, and to fence it',
    renewed   BIGINT UNSIGNED   NOT NULL COMMENT 'counts its signs of life; 0: it has stopped, or was fenced',
    hlc_limit BIGINT UNSIGNED   NOT NULL COMMENT 'it gives no greater number to a push',
    build     VARBINARY(64)     NOT NULL COMMENT 'the version of its program',
    frame_min SMALLINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'the oldest version of what nodes say to each other that it understands',
    frame_max SMALLINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'the newest version of what nodes say to each other that it understands',
    schema_max SMALLINT UNSIGNED NOT NULL DEFAULT 9 COMMENT 'the newest version of these tables that its program knows',
    state     TINYINT UNSIGNED  NOT NULL DEFAULT 0 COMMENT '1 it drains, 2 it has stopped, 3 it was fenced, 0 neither',
    state_epoch BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'the epoch of that: with another one it is out of date',
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

-- Last, when all of the above is there.
INSERT IGNORE INTO schema_version (one, version, compatible) VALUES (1, 11, 10);
