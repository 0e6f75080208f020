-- What happened, when, by whom and why, and the state after it. Append-only. The columns are those of directory.events.
CREATE TABLE auth.events (
    event_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id uuid NOT NULL,
    aggregate_version bigint NOT NULL CHECK (aggregate_version >= 1),
    event_type text NOT NULL,
    schema_version integer NOT NULL CHECK (schema_version >= 1),
    after jsonb NOT NULL, -- the whole row as this event left it
    changed jsonb, -- {"column": {"from": …, "to": …}}; NULL for an aggregate's first event
    effective_at timestamptz NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_type text NOT NULL CHECK (actor_type IN ('user', 'operator', 'system')),
    actor_id text NOT NULL,
    on_behalf_of text,
    reason text,
    correlation_id uuid NOT NULL,
    causation_id uuid,
    request_id text NOT NULL,
    origin text NOT NULL DEFAULT 'live' CHECK (origin IN ('live', 'backfill', 'correction')),
    PRIMARY KEY (event_id),
    UNIQUE (tenant_id, aggregate_type, aggregate_id, aggregate_version)
);
CREATE INDEX events_correlation ON auth.events (tenant_id, correlation_id);
CREATE INDEX events_recorded ON auth.events (tenant_id, recorded_at);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON auth.events
    FOR EACH STATEMENT EXECUTE FUNCTION journal.append_only();
ALTER TABLE auth.events ENABLE ALWAYS TRIGGER append_only;

-- What an operator's command answered, under the key its caller chose: a retry gets the same answer and changes nothing.
CREATE TABLE auth.idempotency_keys (
    tenant_id uuid NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 8 AND 200),
    request_digest text NOT NULL, -- SHA-256 of method, path and body
    status smallint NOT NULL,
    answer jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
