-- From schema version 6 to 7: blocked users, and pending requests with their text. The first
-- statement makes all of its changes or none; the second finds no text for a request whose push was
-- acked before.

ALTER TABLE friend_requests
    ADD COLUMN hidden TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT '1: the receiver blocks the sender, and is not shown it',
    ADD COLUMN content MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'its text',
    DROP KEY by_sender,
    ADD KEY by_sender (sender, push_seq),
    ADD KEY by_hidden (hidden, receiver, push_seq);

UPDATE friend_requests JOIN pushes ON pushes.seq = friend_requests.push_seq AND pushes.receiver = friend_requests.receiver
    AND pushes.sender = friend_requests.sender
    SET friend_requests.content = pushes.content;

CREATE TABLE IF NOT EXISTS blocks (
    user_name    VARBINARY(256) NOT NULL,
    blocked_name VARBINARY(256) NOT NULL,
    PRIMARY KEY (user_name, blocked_name),
    KEY by_blocked (blocked_name, user_name)
) ENGINE = InnoDB COMMENT = 'who blocks whom';

UPDATE schema_version SET version = 7 WHERE one = 1;
