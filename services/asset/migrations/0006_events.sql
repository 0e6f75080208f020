-- What happened, when, by whom and why, and the state after it. Append-only.
--
-- effective_at: from when it counts in the world (a designation may be back-dated). occurred_at: when the command
-- reached us. recorded_at: when this row was written. The order of events is that of the commits (their LSN); recorded_at
-- only comes close to it.
CREATE TABLE asset.events (
    event_id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
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
CREATE INDEX events_correlation ON asset.events (tenant_id, correlation_id);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON asset.events
    FOR EACH STATEMENT EXECUTE FUNCTION journal.append_only();
ALTER TABLE asset.events ENABLE ALWAYS TRIGGER append_only;
