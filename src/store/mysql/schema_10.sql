-- From schema version 9 to 10: rolling upgrades, and names of nodes that are forgotten. The tables
-- say from now on which builds may use them.

ALTER TABLE schema_version
    ADD COLUMN compatible INT NOT NULL DEFAULT 10 COMMENT 'the least version that a server must know to use these tables' AFTER version;

ALTER TABLE cluster
    ADD COLUMN epoch_floor BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'no node that was forgotten had a greater epoch: a new one begins above it' AFTER mac_key,
    ADD COLUMN seq_floor BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'no node that was forgotten gave a greater number to a push' AFTER epoch_floor;

ALTER TABLE nodes
    ADD COLUMN frame_min SMALLINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'the oldest version of what nodes say to each other that it understands' AFTER build,
    ADD COLUMN schema_max SMALLINT UNSIGNED NOT NULL DEFAULT 9 COMMENT 'the newest version of these tables that its program knows' AFTER frame_max;

UPDATE schema_version SET version = 10, compatible = 10 WHERE one = 1 AND version < 10;
