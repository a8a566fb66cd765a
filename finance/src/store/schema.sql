-- The books of one Stockmesh finance service. Any SQL tool may read this file; only the service may write to it.
--
-- Amounts are integers in minor units of their currency (cents, pence, yen): currency.digits says how many digits follow
-- the decimal point. Debits are positive, credits negative. Dates are ISO 8601 text. Nothing in `entry` and `posting` is
-- ever updated or deleted. Accountants start from the views at the end: trial_balance, journal, stock_value,
-- suspense_list.

-- Where the books are. One row.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    finance_id TEXT NOT NULL,
    head_number INTEGER NOT NULL,      -- last journal entry
    head_hash BLOB NOT NULL,           -- its chain hash
    first_entity TEXT,                 -- legal entity of the first node registered
    last_suspense INTEGER NOT NULL,    -- number of the last fact that went to suspense
    suspended INTEGER NOT NULL         -- facts in suspense now
) STRICT;

CREATE TABLE currency (
    code TEXT PRIMARY KEY,             -- ISO 4217
    digits INTEGER NOT NULL            -- digits after the decimal point
) STRICT, WITHOUT ROWID;

-- Feeds that facts come from, and how far each is posted: the cursor.
CREATE TABLE feed (
    id INTEGER PRIMARY KEY,
    participant TEXT NOT NULL,         -- node/<id>, coordinator/<group>
    destination TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,              -- last entry that took effect
    hash BLOB NOT NULL,                -- chain hash of the feed up to it
    -- The archive of raw entries begins behind this one: 0, but for what an earlier release posted.
    archive_base_seq INTEGER NOT NULL DEFAULT 0,
    archive_base_hash BLOB NOT NULL DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000',
    archived_bytes INTEGER NOT NULL DEFAULT 0, -- bytes of the bodies in it
    UNIQUE (participant, destination, epoch)
) STRICT;

-- Accounts of each legal entity and currency, with their balances.
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    entity TEXT NOT NULL,
    name TEXT NOT NULL,                -- Assets:Inventory:Dc-1
    currency TEXT NOT NULL REFERENCES currency (code),
    debit_minor INTEGER NOT NULL,
    credit_minor INTEGER NOT NULL,
    UNIQUE (entity, name, currency)
) STRICT;

-- Journal entries, hash-chained: see stockmesh_finance_core::Entry::chain_hash for the bytes.
CREATE TABLE entry (
    number INTEGER PRIMARY KEY,        -- from 1, gapless
    entity TEXT NOT NULL,
    currency TEXT NOT NULL,
    effective_date TEXT NOT NULL,
    posting_date TEXT NOT NULL,
    rule TEXT NOT NULL,                -- posting rule with its version
    feed INTEGER NOT NULL REFERENCES feed (id),
    source_seq INTEGER NOT NULL,       -- entry of that feed
    part INTEGER NOT NULL,             -- which entry of this rule of that fact, from 0
    description TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
-- No fact is posted twice. A write that tries to is a fault, and takes nothing with it.
CREATE UNIQUE INDEX posted_once ON entry (feed, source_seq, rule, part);

CREATE TABLE posting (
    entry INTEGER NOT NULL REFERENCES entry (number),
    line INTEGER NOT NULL,             -- from 0
    account INTEGER NOT NULL REFERENCES account (id),
    amount_minor INTEGER NOT NULL,     -- positive debit, negative credit
    node TEXT NOT NULL,                -- dimensions; empty: none
    item TEXT NOT NULL,
    channel TEXT NOT NULL,
    order_id TEXT NOT NULL,
    jurisdiction TEXT NOT NULL,        -- of a tax; of sales, discounts and returns whose line has exactly one
    tax_rate_ppm INTEGER NOT NULL,     -- parts per million, 200000 is 20 %; only with a jurisdiction
    PRIMARY KEY (entry, line)
) STRICT, WITHOUT ROWID;

-- Entries by order or till document.
CREATE TABLE order_entry (
    order_id TEXT NOT NULL,
    entry INTEGER NOT NULL REFERENCES entry (number),
    PRIMARY KEY (order_id, entry)
) STRICT, WITHOUT ROWID;

-- Facts that wait for a partner, or for a person.
CREATE TABLE suspense (
    id INTEGER PRIMARY KEY,            -- in the order of arrival
    feed INTEGER NOT NULL REFERENCES feed (id),
    seq INTEGER NOT NULL,
    stage TEXT NOT NULL,               -- what of the fact waits: whole, revenue, return-origin, return-cost
    reason TEXT NOT NULL,              -- ORDER_NOT_KNOWN, ...
    waits_for TEXT NOT NULL,           -- empty: a person
    description TEXT NOT NULL,
    body BLOB NOT NULL,                -- the fact, as received (stockmesh.feed.v1.EntryBody)
    arrived_time_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX suspense_by_partner ON suspense (waits_for, id);

-- Business documents that are posted, with the SHA-256 of their content: a repeat is passed over.
CREATE TABLE document (
    key TEXT PRIMARY KEY,              -- receipt:<node>:<id>, shipment:<node>:<id>, order:<id>, ...
    fingerprint BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What posting needs to remember; `state` is JSON (structures of stockmesh_finance_core::records).
CREATE TABLE node (id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sale (id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sale_line (
    sale TEXT NOT NULL, line INTEGER NOT NULL, state TEXT NOT NULL, PRIMARY KEY (sale, line)
) STRICT, WITHOUT ROWID;
CREATE TABLE issue (id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE customer_return (id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Stock at cost, one row for each stock key at each node. The layers are in `state`.
CREATE TABLE stock (
    node TEXT NOT NULL,
    item TEXT NOT NULL,
    grade INTEGER NOT NULL,            -- 1 new, 2 refurbished
    owner TEXT NOT NULL,
    shelf_life_class TEXT NOT NULL,
    currency TEXT NOT NULL,            -- empty: no cost known yet
    quantity INTEGER NOT NULL,         -- units in layers
    value_minor INTEGER NOT NULL,
    pending_quantity INTEGER NOT NULL, -- units returned, not inspected
    pending_value_minor INTEGER NOT NULL,
    unreceived_quantity INTEGER NOT NULL, -- units that left before their receipt
    unreceived_value_minor INTEGER NOT NULL,
    state TEXT NOT NULL,
    held_quantity INTEGER NOT NULL DEFAULT 0,        -- units that arrived and are held in receiving
    held_value_minor INTEGER NOT NULL DEFAULT 0,
    set_aside_quantity INTEGER NOT NULL DEFAULT 0,   -- units returned that wait to be refurbished, sold off, sent back
    set_aside_value_minor INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (node, item, grade, owner, shelf_life_class)
) STRICT, WITHOUT ROWID;

-- Views for accountants.

CREATE VIEW trial_balance AS
SELECT entity, name AS account, currency, debit_minor, credit_minor, debit_minor - credit_minor AS balance_minor,
       digits
FROM account JOIN currency ON currency.code = account.currency
ORDER BY entity, name, currency;

CREATE VIEW journal AS
SELECT entry.number, entry.entity, entry.effective_date, entry.posting_date, entry.rule, entry.description,
       posting.line, account.name AS account, entry.currency, posting.amount_minor, currency.digits,
       posting.node, posting.item, posting.channel, posting.order_id, posting.jurisdiction,
       posting.tax_rate_ppm,
       feed.participant AS source, feed.epoch AS source_epoch, entry.source_seq
FROM posting
JOIN entry ON entry.number = posting.entry
JOIN account ON account.id = posting.account
JOIN currency ON currency.code = entry.currency
JOIN feed ON feed.id = entry.feed;

CREATE VIEW stock_value AS
SELECT node, item, grade, owner, shelf_life_class, currency, quantity, value_minor, pending_quantity,
       pending_value_minor, unreceived_quantity, unreceived_value_minor, held_quantity, held_value_minor,
       set_aside_quantity, set_aside_value_minor
FROM stock;

CREATE VIEW stock_layer AS
SELECT stock.node, stock.item, stock.currency,
       layer.value ->> 'number' AS layer, layer.value ->> 'quantity' AS quantity_received,
       (layer.value ->> 'quantity') - (layer.value ->> 'taken') AS quantity_left,
       layer.value ->> 'value_minor' AS value_received_minor, layer.value ->> 'settled' AS settled
FROM stock, json_each(stock.state, '$.layers') AS layer;

CREATE VIEW suspense_list AS
SELECT suspense.id, feed.participant, feed.destination, feed.epoch, suspense.seq, suspense.stage, suspense.reason,
       suspense.waits_for, suspense.description, suspense.arrived_time_ms
FROM suspense JOIN feed ON feed.id = suspense.feed;
