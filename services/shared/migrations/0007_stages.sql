-- Row security comes to a table that is in use in three stages: observe (what would be hidden is counted, with the query,
-- and passes), log (each time, with both tenants), enforce. The policy says in which stage a table is.
CREATE TABLE rls.stages (
    relation text NOT NULL,
    stage text NOT NULL CHECK (stage IN ('observe', 'log', 'enforce')),
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    set_by text NOT NULL DEFAULT session_user,
    reason text,
    PRIMARY KEY (relation, since)
);
COMMENT ON TABLE rls.stages IS 'rls:exempt which stage a table was put into, when and by whom; belongs to no tenant';

CREATE TABLE rls.shadow_hits (
    relation text NOT NULL,
    login_role text NOT NULL,
    application text NOT NULL,
    query_digest text NOT NULL,
    query text NOT NULL,
    hits bigint NOT NULL,
    first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (relation, login_role, application, query_digest)
);
COMMENT ON TABLE rls.shadow_hits IS 'rls:exempt statements that row security would have cut short; seen by operators only';

CREATE TABLE rls.shadow_log (
    id bigint GENERATED ALWAYS AS IDENTITY,
    relation text NOT NULL,
    login_role text NOT NULL,
    application text NOT NULL,
    query text NOT NULL,
    bound uuid,
    wanted uuid,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id)
);
COMMENT ON TABLE rls.shadow_log IS 'rls:exempt the same, each time, for tables in stage log; seen by operators only';

CREATE FUNCTION rls.record_hit(hit jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    program text := coalesce(current_setting('application_name', true), '');
    asked text := left(hit ->> 'query', 2000);
BEGIN
    INSERT INTO rls.shadow_hits AS known (relation, login_role, application, query_digest, query, hits)
    VALUES (hit ->> 'relation', session_user, program, md5(asked), asked, 1)
    ON CONFLICT (relation, login_role, application, query_digest)
        DO UPDATE SET hits = known.hits + 1, last_at = clock_timestamp();
    IF (hit ->> 'every')::boolean THEN
        INSERT INTO rls.shadow_log (relation, login_role, application, query, bound, wanted)
        VALUES (
            hit ->> 'relation', session_user, program, asked, (hit ->> 'bound')::uuid, (hit ->> 'wanted')::uuid
        );
    END IF;
END
$$;

-- Lets a row of another tenant pass and records that it would not have: once per statement and table. In a transaction
-- that may not write it says so in a warning, which the services' door to the database records afterwards.
CREATE FUNCTION rls.observe(relation text, wanted uuid, each_time boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = ''
AS $$
DECLARE
    mark text := 'app.rls_seen_' || md5(relation);
    statement text := statement_timestamp()::text;
    hit jsonb;
BEGIN
    IF current_setting(mark, true) = statement THEN
        RETURN true;
    END IF;
    PERFORM set_config(mark, statement, true);
    hit := jsonb_build_object(
        'relation', relation, 'wanted', wanted, 'bound', rls.tenant(), 'every', each_time, 'query', current_query()
    );
    IF current_setting('transaction_read_only') = 'on' THEN
        RAISE WARNING 'row security would have hidden rows of %', relation USING ERRCODE = '01R01', DETAIL = hit::text;
    ELSE
        PERFORM rls.record_hit(hit);
    END IF;
    RETURN true;
END
$$;

-- Puts a table into a stage. Run as the owner, in a transaction; gives up when the table is busy for two seconds.
-- enforce: refused while there were hits within ``quiet``, or the table was observed for a shorter time.
CREATE FUNCTION rls.set_stage(target regclass, wanted text, reason text, quiet interval DEFAULT '7 days') RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    name text := (SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = target);
    own text := 'tenant_id = (SELECT rls.tenant())';
    condition text;
    hits bigint;
    observed_since timestamptz;
BEGIN
    PERFORM set_config('lock_timeout', '2s', true);
    IF wanted = 'enforce' THEN
        SELECT coalesce(sum(h.hits), 0) INTO hits FROM rls.shadow_hits AS h
        WHERE h.relation = name AND h.last_at > now() - quiet;
        SELECT min(s.since) INTO observed_since FROM rls.stages AS s
        WHERE s.relation = name AND s.stage <> 'enforce' AND s.since > coalesce(
            (SELECT max(e.since) FROM rls.stages AS e WHERE e.relation = name AND e.stage = 'enforce'), '-infinity'
        );
        IF hits > 0 OR observed_since > now() - quiet THEN
            RAISE EXCEPTION '% has % hits within %, and is observed since %', name, hits, quiet, observed_since
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        condition := own;
    ELSE
        condition := format('%s OR rls.observe(%L, tenant_id, %L)', own, name, wanted = 'log');
    END IF;
    EXECUTE format('ALTER POLICY tenant ON %s USING (%s) WITH CHECK (%s)', target, condition, condition);
    INSERT INTO rls.stages (relation, stage, reason) VALUES (name, wanted, reason);
END
$$;

-- One row per table with a tenant policy. What was never put into a stage enforces since it was made.
CREATE FUNCTION rls.status()
RETURNS TABLE (relation text, stage text, since timestamptz, hits bigint, last_hit timestamptz)
LANGUAGE sql STABLE
SET search_path = ''
AS $$
    SELECT
        n.nspname || '.' || c.relname,
        CASE
            WHEN NOT (c.relrowsecurity AND c.relforcerowsecurity) THEN 'off'
            WHEN p.told LIKE '%rls.observe(%, true)%' THEN 'log'
            WHEN p.told LIKE '%rls.observe(%' THEN 'observe'
            ELSE 'enforce'
        END,
        (SELECT max(s.since) FROM rls.stages AS s WHERE s.relation = n.nspname || '.' || c.relname),
        coalesce((SELECT sum(h.hits) FROM rls.shadow_hits AS h WHERE h.relation = n.nspname || '.' || c.relname), 0)::bigint,
        (SELECT max(h.last_at) FROM rls.shadow_hits AS h WHERE h.relation = n.nspname || '.' || c.relname)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN (
        SELECT polrelid, pg_catalog.pg_get_expr(polqual, polrelid) AS told FROM pg_catalog.pg_policy WHERE polname = 'tenant'
    ) AS p ON p.polrelid = c.oid
    ORDER BY 1
$$;
