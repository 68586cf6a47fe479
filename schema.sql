-- The tables of hongyan in MySQL (5.7 or newer) or MariaDB (10.5 or newer), version 1.
--
-- The server applies this file when it starts on an empty database. An administrator who does not want to give it the right to
-- create tables applies it by hand before the first start; applying it twice changes nothing. The server itself needs
-- SELECT, INSERT, UPDATE and DELETE.
--
-- Names and ids are compared byte for byte, which no collation does (utf8mb4_bin takes 'a' and 'a ' for equal): they are
-- VARBINARY and hold UTF-8. To read them: SELECT CONVERT(user_name USING utf8mb4) FROM accounts.
-- All times are in ms since the epoch, as clients are shown them. One running server per database.

-- What is in this database; its one row comes last, when all else is there.
CREATE TABLE IF NOT EXISTS hongyan_schema (
    only_row TINYINT UNSIGNED NOT NULL PRIMARY KEY,
    version  INT UNSIGNED     NOT NULL COMMENT 'a server that knows less does not start'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS accounts (
    user_name            VARBINARY(256) NOT NULL PRIMARY KEY COMMENT 'up to 64 characters',
    password_hash        VARBINARY(512) NOT NULL COMMENT 'Argon2id, as a PHC string',
    email_address        VARCHAR(255)   NOT NULL,
    nick_name            VARCHAR(255)   NOT NULL,
    profile_picture      VARCHAR(2048)  NOT NULL,
    location             VARCHAR(255)   NOT NULL,
    personal_description TEXT           NOT NULL COMMENT 'up to 8192 bytes',
    rsa_public_key       TEXT           NOT NULL COMMENT 'up to 8192 bytes',
    created_at           TIMESTAMP      NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Both ways: a friendship is two rows.
CREATE TABLE IF NOT EXISTS friendships (
    user_name   VARBINARY(256) NOT NULL,
    friend_name VARBINARY(256) NOT NULL,
    PRIMARY KEY (user_name, friend_name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Pending until accepted or rejected; at most one from one person to another.
CREATE TABLE IF NOT EXISTS friend_requests (
    receiver   VARBINARY(256)  NOT NULL COMMENT 'who was asked',
    sender     VARBINARY(256)  NOT NULL COMMENT 'who asked',
    message_id VARBINARY(128)  NOT NULL,
    time_ms    BIGINT UNSIGNED NOT NULL,
    push_seq   BIGINT UNSIGNED NOT NULL COMMENT 'its push, which may have been acked and be gone',
    PRIMARY KEY (receiver, sender)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What was taken and not acked: rows come and go, an old one belongs to somebody who has been away for long. Several devices of
-- one user, or several servers, will each need a column more here; the key then grows by it.
CREATE TABLE IF NOT EXISTS pushes (
    seq        BIGINT UNSIGNED  NOT NULL PRIMARY KEY COMMENT 'the order in which the server took it',
    receiver   VARBINARY(256)   NOT NULL,
    sender     VARBINARY(256)   NOT NULL,
    message_id VARBINARY(128)   NOT NULL,
    kind       TINYINT UNSIGNED NOT NULL COMMENT '0 message, 1 friend request, 2 accept, 3 reject',
    once       BIGINT UNSIGNED  NOT NULL COMMENT '0 for a message, which is kept once under its id - seq for all else',
    time_ms    BIGINT UNSIGNED  NOT NULL,
    content    LONGTEXT         NOT NULL,
    UNIQUE KEY pushes_once (receiver, sender, message_id, once),
    KEY pushes_by_receiver (receiver, seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO hongyan_schema (only_row, version) VALUES (1, 1) ON DUPLICATE KEY UPDATE version = version;
