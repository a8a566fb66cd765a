-- Format 3: the raw feeds behind the books, signed heads, goods on their way. Run behind schema.sql, and by the migration from
-- format 2.

-- Feed entries as received, in the order in which they took effect: the books are what follows from these rows, and from
-- nothing else. A row holds consecutive entries of one feed, at most 1 MiB of them or one entry. Size: the bodies
-- themselves, 4 bytes for each, and some 80 for a row.
CREATE TABLE archive (
    id INTEGER PRIMARY KEY,            -- from 1, gapless
    feed INTEGER NOT NULL REFERENCES feed (id),
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    hash BLOB NOT NULL,                -- chain hash of the feed up to last_seq
    arrived_time_ms INTEGER NOT NULL,  -- milliseconds since 1970-01-01T00:00:00Z
    bodies BLOB NOT NULL               -- each body (stockmesh.feed.v1.EntryBody) behind its length in 4 bytes, big-endian
) STRICT;
CREATE UNIQUE INDEX archive_by_feed ON archive (feed, first_seq);

-- Settings by which facts were posted, from a row of the archive on.
CREATE TABLE posting_settings (
    from_archive INTEGER PRIMARY KEY,
    settings TEXT NOT NULL             -- JSON (stockmesh_finance_core::Settings)
) STRICT;

-- Heads of the journal's chain that were signed: see SignedHead in stockmesh/finance/v1/heads.proto for the bytes.
CREATE TABLE signed_head (
    number INTEGER PRIMARY KEY,        -- last entry that is covered
    hash BLOB NOT NULL,                -- its chain hash
    signed_time_ms INTEGER NOT NULL,
    public_key BLOB NOT NULL,          -- Ed25519, 32 bytes
    signature BLOB NOT NULL            -- 64 bytes
) STRICT;

-- Units that left stock and arrived in stock with their value (transfers, kits, voided sales); JSON as above.
CREATE TABLE passage (id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- Lines of transfers: <source node>:<transfer>:<line>.
CREATE TABLE transit (id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- Goods held in receiving: <node>:<exception>.
CREATE TABLE held (id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Units in transit by lane and line of a transfer.
CREATE VIEW in_transit AS
SELECT transit.id, transit.state ->> 'lane' AS lane,
       (SELECT sum(supply.value ->> 'quantity') FROM json_each(transit.state, '$.supplies') AS supply) AS quantity_left,
       transit.state ->> 'booked' AS quantity_booked
FROM transit;

-- Goods held in receiving, and their value.
CREATE VIEW goods_held AS
SELECT held.id, held.state ->> '$.cell.node' AS node, held.state ->> '$.cell.stock_key.item' AS item,
       held.state ->> 'quantity' AS quantity, held.state ->> 'value_minor' AS value_minor
FROM held;
