-- Version 5 of the embedded store: blocked users, and pending requests with their text.

-- 1: the receiver blocks the sender, and is not shown the request.
ALTER TABLE friend_requests ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
ALTER TABLE friend_requests ADD COLUMN content TEXT NOT NULL DEFAULT '';

-- A request whose push was acked before has no text any more.
UPDATE friend_requests SET content = ifnull((
    SELECT pushes.content
    FROM pushes WHERE pushes.seq = friend_requests.push_seq AND pushes.receiver = friend_requests.receiver
        AND pushes.sender = friend_requests.sender), '');

-- In the order in which they were taken: those of one sender, and those that one receiver is shown.
DROP INDEX friend_requests_by_sender;
CREATE INDEX friend_requests_by_sender ON friend_requests (sender, push_seq);
CREATE INDEX friend_requests_by_hidden ON friend_requests (hidden, receiver, push_seq);

-- The users who are blocked by other users.
CREATE TABLE blocks (
    user_name    TEXT NOT NULL,
    blocked_name TEXT NOT NULL,
    PRIMARY KEY (user_name, blocked_name)
) WITHOUT ROWID;

CREATE INDEX blocks_by_blocked ON blocks (blocked_name);
