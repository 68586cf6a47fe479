-- The tables of the embedded store, version 1. Names and ids compare byte for byte (BINARY is
-- SQLite's own collation).

CREATE TABLE accounts (
    user_name            TEXT PRIMARY KEY NOT NULL,
    password_hash        TEXT NOT NULL,  -- Argon2id, as a PHC string
    email_address        TEXT NOT NULL,
    nick_name            TEXT NOT NULL,
    profile_picture      TEXT NOT NULL,
    location             TEXT NOT NULL,
    personal_description TEXT NOT NULL,
    rsa_public_key       TEXT NOT NULL,
    created_ms           INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);

-- Both ways: a friendship is two rows.
CREATE TABLE friendships (
    user_name   TEXT NOT NULL,
    friend_name TEXT NOT NULL,
    PRIMARY KEY (user_name, friend_name)
) WITHOUT ROWID;

-- Pending until accepted or rejected; at most one from one person to another.
CREATE TABLE friend_requests (
    receiver   TEXT NOT NULL,
    sender     TEXT NOT NULL,
    message_id TEXT NOT NULL,
    time_ms    INTEGER NOT NULL,
    push_seq   INTEGER NOT NULL,
    PRIMARY KEY (receiver, sender)
) WITHOUT ROWID;

-- Pushes that were taken and are not acked. seq is the order in which the server took them. Several
-- devices of one user, or several servers, will each need a column more here; the key then grows by
-- it.
CREATE TABLE pushes (
    seq        INTEGER PRIMARY KEY NOT NULL,
    receiver   TEXT NOT NULL,
    sender     TEXT NOT NULL,
    message_id TEXT NOT NULL,
    kind       INTEGER NOT NULL,  -- 0 message, 1 friend request, 2 accept, 3 reject
    -- 0 for a message, which is kept once under its id; otherwise seq.
    once       INTEGER NOT NULL,
    time_ms    INTEGER NOT NULL,
    content    TEXT NOT NULL,
    UNIQUE (receiver, sender, message_id, once)
);
CREATE INDEX pushes_by_receiver ON pushes (receiver, seq);
