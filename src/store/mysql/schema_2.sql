-- From schema version 1 to 2: resume tokens, and requests counted by who asked.

ALTER TABLE friend_requests ADD KEY by_sender (sender);

CREATE TABLE IF NOT EXISTS resume_tokens (
    user_name  VARBINARY(256)  NOT NULL,
    token_hash VARBINARY(64)   NOT NULL COMMENT 'of the token, the name and the password hash of the user: the token itself is not kept',
    expires_ms BIGINT UNSIGNED NOT NULL COMMENT 'ms since the epoch',
    PRIMARY KEY (user_name, token_hash)
) ENGINE = InnoDB COMMENT = 'what a client may log in with instead of its password';

UPDATE schema_version SET version = 2 WHERE one = 1;
