-- From schema version 8 to 9: columns that nodes need to speak over a bus, and with newer nodes. An
-- older node does not look at either.

ALTER TABLE cluster
    ADD COLUMN mac_key VARBINARY(32) NOT NULL DEFAULT '' COMMENT 'the key by which nodes know each other on the bus; empty: none was made yet' AFTER hash_key;

ALTER TABLE nodes
    ADD COLUMN frame_max SMALLINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'the newest version of what nodes say to each other that it understands' AFTER build;

UPDATE schema_version SET version = 9 WHERE one = 1;
