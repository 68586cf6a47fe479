-- Version 2 of the embedded store: resume tokens, and requests counted by who asked.

-- Resume tokens: a client may log in with one instead of its password. The store keeps only a hash,
-- of the token together with the stored password hash.
CREATE TABLE resume_tokens (
    user_name  TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (user_name, token_hash)
) WITHOUT ROWID;

CREATE INDEX friend_requests_by_sender ON friend_requests (sender);
