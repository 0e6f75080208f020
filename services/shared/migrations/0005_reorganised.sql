-- Reorganisations move rows between two tenants. Only the function of each schema that does so sees both: it runs as
-- <service>_reorg, whose policies ask rls.reorganised() and not rls.tenant().
CREATE FUNCTION rls.reorganised() RETURNS uuid[]
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = ''
AS $$ SELECT nullif(current_setting('app.reorganised', true), '')::uuid[] $$;

COMMENT ON FUNCTION rls.reorganised() IS 'the two tenants of the reorganisation that this transaction carries out, or NULL';

-- Whoever writes in a tenant holds it (many at once), before any of its rows; a reorganisation holds both of its tenants
-- alone. So what is written is there before the reorganisation looks, or comes after it and finds things moved.
CREATE FUNCTION rls.hold_tenant(tenant uuid) RETURNS void
LANGUAGE sql
SET search_path = ''
AS $$ SELECT pg_advisory_xact_lock_shared(hashtextextended('tenant/' || tenant, 0)) $$;

CREATE FUNCTION rls.begin_reorganisation(giving uuid, taking uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tenant/' || least(giving, taking), 0));
    PERFORM pg_advisory_xact_lock(hashtextextended('tenant/' || greatest(giving, taking), 0));
    PERFORM set_config('app.reorganised', ARRAY[giving, taking]::text, true);
    SET CONSTRAINTS ALL DEFERRED;
END
$$;

-- Two rows that refer to each other belong to one tenant, as long as the referring one is open. Once it has ended it
-- stays where that happened, though what it refers to may move on to another tenant; a foreign key of (tenant_id, id)
-- knows no such difference, so it asks for the id alone, and this for the tenant.
--
-- As a constraint trigger: same_tenant(column that says "ended" or '', referring column, schema, table, its key).
CREATE FUNCTION rls.same_tenant() RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    row_now jsonb := to_jsonb(NEW);
    referred uuid := row_now ->> TG_ARGV[1];
    found boolean;
BEGIN
    IF referred IS NULL OR row_now ->> TG_ARGV[0] IS NOT NULL THEN
        RETURN NULL;
    END IF;
    PERFORM rls.hold_tenant(NEW.tenant_id);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I WHERE tenant_id = $1 AND %I = $2)', TG_ARGV[2], TG_ARGV[3], TG_ARGV[4])
        INTO found USING NEW.tenant_id, referred;
    IF NOT found THEN
        RAISE EXCEPTION '%.% refers by % to %, which tenant % has not',
            TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[1], referred, NEW.tenant_id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END
$$;

-- The events of rows that a reorganisation has just changed: each as it is now, and what differs from its last event.
-- ``plan`` says who, why and from when. Runs with its caller's rights.
CREATE FUNCTION journal.tell(
    plan jsonb, service text, relation text, key_column text, aggregate text, schema_version integer, event_type text,
    ids uuid[]
) RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    EXECUTE format(
        $insert$
        INSERT INTO %1$I.events (
            event_id, tenant_id, aggregate_type, aggregate_id, aggregate_version, event_type, schema_version,
            after, changed, effective_at, occurred_at,
            actor_type, actor_id, on_behalf_of, reason, correlation_id, causation_id, request_id
        )
        SELECT
            gen_random_uuid(), state.tenant_id, $2, state.%3$I, state.version, $3, $4,
            to_jsonb(state),
            (
                SELECT jsonb_object_agg(n.key, jsonb_build_object('from', before.after -> n.key, 'to', n.value))
                FROM jsonb_each(to_jsonb(state)) AS n
                WHERE before.after IS NOT NULL AND n.value IS DISTINCT FROM coalesce(before.after -> n.key, 'null')
            ),
            coalesce(($1 ->> 'effective_at')::timestamptz, now()), now(),
            $1 ->> 'actor_type', $1 ->> 'actor_id', $1 ->> 'on_behalf_of', $1 ->> 'reason',
            ($1 ->> 'correlation_id')::uuid, ($1 ->> 'causation_id')::uuid, $1 ->> 'request_id'
        FROM %1$I.%2$I AS state
        LEFT JOIN %1$I.events AS before
            ON before.tenant_id = ANY(rls.reorganised()) AND before.aggregate_type = $2
            AND before.aggregate_id = state.%3$I AND before.aggregate_version = state.version - 1
        WHERE state.%3$I = ANY($5)
        $insert$,
        service, relation, key_column
    ) USING plan, aggregate, event_type, schema_version, ids;
END
$$;
