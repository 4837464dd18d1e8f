-- The ledger's tables. Outcomes are only ever added: what was answered once is never overwritten.
-- Keys are the 16 bytes of records.Call.key; times are Unix seconds; costs are USD; NULL is unknown.

-- One row for each run of this pipeline.
CREATE TABLE IF NOT EXISTS runs (
    id        INTEGER PRIMARY KEY,
    started   REAL    NOT NULL,
    origin    TEXT    NOT NULL,  -- the gateway whose answers it asked for
    ended     REAL,
    exit_code INTEGER,
    published INTEGER NOT NULL DEFAULT 0,
    step      TEXT,              -- the step it is at, or ended at,
    done      INTEGER NOT NULL DEFAULT 0,  -- how many rows are settled there
    rows      INTEGER NOT NULL DEFAULT 0,  -- of how many
    options   TEXT    NOT NULL,
    summary   TEXT
);

-- One row for each prompt a step was ever run with: everything a call sends but its input, and the gateway.
CREATE TABLE IF NOT EXISTS templates (
    id     INTEGER PRIMARY KEY,
    digest BLOB    NOT NULL UNIQUE,
    step   TEXT    NOT NULL,
    fields TEXT    NOT NULL
);

-- Every answer that was paid for and every way a call ended without one.
CREATE TABLE IF NOT EXISTS outcomes (
    id            INTEGER PRIMARY KEY,
    key           BLOB    NOT NULL,
    run           INTEGER NOT NULL,
    template      INTEGER NOT NULL,
    ok            INTEGER NOT NULL,
    final         INTEGER NOT NULL,  -- 0: an attempt that was asked again
    error         TEXT,
    reply         BLOB,
    model         TEXT,
    cost          REAL,
    input_tokens  INTEGER,
    output_tokens INTEGER,
    latency_ms    INTEGER,
    attempts      INTEGER NOT NULL,
    throttled     INTEGER NOT NULL,
    trace         TEXT,
    artifacts     TEXT,
    at            REAL    NOT NULL
);
-- Holds all that the look-up of a batch needs to choose an outcome without reading its reply.
CREATE INDEX IF NOT EXISTS outcomes_by_key ON outcomes (key, ok, final, run);

-- Calls that left and whose end is not known: after a crash, what may have been paid. One that is asked
-- again by a later run stays, since what the earlier one paid is not known any better.
CREATE TABLE IF NOT EXISTS intents (
    key BLOB    NOT NULL,
    run INTEGER NOT NULL,
    at  REAL    NOT NULL,
    PRIMARY KEY (key, run)
) WITHOUT ROWID;

-- Calls answered by a 202 whose operations have not ended; the reply names them. They are polled again
-- after a restart and never posted again.
CREATE TABLE IF NOT EXISTS pending (
    key   BLOB PRIMARY KEY,
    reply BLOB NOT NULL,
    at    REAL NOT NULL
) WITHOUT ROWID;

-- Running totals, kept in the transaction of what they count, so that nobody has to scan.
CREATE TABLE IF NOT EXISTS totals (
    run           INTEGER NOT NULL,
    template      INTEGER NOT NULL,
    ok            INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    calls         INTEGER NOT NULL DEFAULT 0,
    throttled     INTEGER NOT NULL DEFAULT 0,
    unpriced      INTEGER NOT NULL DEFAULT 0,
    cost          REAL    NOT NULL DEFAULT 0,
    input_tokens  INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    latency_ms    INTEGER NOT NULL DEFAULT 0,  -- of the answers that fit
    PRIMARY KEY (run, template)
) WITHOUT ROWID;

-- What a run told of itself at its end, as JSON; the next one compares its columns with those.
CREATE TABLE IF NOT EXISTS reports (
    run    INTEGER PRIMARY KEY,
    whole  INTEGER NOT NULL,  -- 1: the run came to its result, so its columns are known
    report TEXT    NOT NULL
);
