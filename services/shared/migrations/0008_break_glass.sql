-- Breaking the glass: somebody has to see a tenant's rows by hand. They log in as themselves, are members of
-- platform_breakglass without inheriting it, name a ticket and a reason, and every statement is on record. They read only.
CREATE TABLE rls.glass (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    login_role text NOT NULL,
    ticket text NOT NULL CHECK (ticket ~ '^[A-Za-z]+-?[0-9]+$'),
    reason text NOT NULL CHECK (length(reason) BETWEEN 5 AND 500),
    backend_pid integer NOT NULL,
    client text,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (id)
);
COMMENT ON TABLE rls.glass IS 'rls:exempt who broke the glass, when and why; belongs to no tenant';
CREATE INDEX glass_backend ON rls.glass (login_role, backend_pid);

CREATE TABLE rls.glass_log (
    id bigint GENERATED ALWAYS AS IDENTITY,
    glass_id uuid NOT NULL REFERENCES rls.glass (id),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    query text NOT NULL,
    PRIMARY KEY (id)
);
COMMENT ON TABLE rls.glass_log IS 'rls:exempt what was asked behind broken glass; belongs to no tenant';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rls.glass
    FOR EACH STATEMENT EXECUTE FUNCTION journal.append_only();
ALTER TABLE rls.glass ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rls.glass_log
    FOR EACH STATEMENT EXECUTE FUNCTION journal.append_only();
ALTER TABLE rls.glass_log ENABLE ALWAYS TRIGGER append_only;

CREATE FUNCTION rls.break_glass(ticket text, reason text, minutes integer DEFAULT 30) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    ends timestamptz := clock_timestamp() + make_interval(mins => minutes);
BEGIN
    IF NOT pg_has_role(session_user, 'platform_breakglass', 'MEMBER') THEN
        RAISE EXCEPTION '% may not break the glass', session_user USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF minutes NOT BETWEEN 1 AND 240 THEN
        RAISE EXCEPTION 'for 1 to 240 minutes, not %', minutes USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO rls.glass (login_role, ticket, reason, backend_pid, client, expires_at)
    VALUES (session_user, ticket, reason, pg_backend_pid(), inet_client_addr()::text, ends);
    RAISE LOG 'break glass: % for ticket %, until %: %', session_user, ticket, ends, reason;
    RETURN ends;
END
$$;
REVOKE ALL ON FUNCTION rls.break_glass(text, text, integer) FROM PUBLIC;
GRANT USAGE ON SCHEMA rls TO platform_breakglass;
GRANT EXECUTE ON FUNCTION rls.break_glass(text, text, integer) TO platform_breakglass;

-- Whether this session may look, asked once per table of a statement; puts the statement on record. The server's log
-- keeps it even when the transaction is rolled back.
CREATE FUNCTION rls.glass_broken() RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    opened uuid := (
        SELECT g.id FROM rls.glass AS g
        WHERE g.login_role = session_user AND g.backend_pid = pg_backend_pid() AND g.expires_at > clock_timestamp()
        ORDER BY g.opened_at DESC LIMIT 1
    );
BEGIN
    IF opened IS NULL THEN
        RETURN false;
    END IF;
    IF current_setting('transaction_read_only') = 'on' THEN
        RAISE EXCEPTION 'behind broken glass every statement is recorded: not in a read-only transaction'
            USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    INSERT INTO rls.glass_log (glass_id, query) VALUES (opened, left(current_query(), 10000));
    RAISE LOG 'behind broken glass: %: %', session_user, current_query();
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION rls.glass_broken() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rls.glass_broken() TO platform_breakglass;

-- Lets platform_breakglass read these tables of a schema, behind broken glass. Called by each schema's own migration.
CREATE FUNCTION rls.behind_glass(service text, tables text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    name text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO platform_breakglass', service);
    FOREACH name IN ARRAY tables LOOP
        EXECUTE format('GRANT SELECT ON %I.%I TO platform_breakglass', service, name);
        EXECUTE format(
            'CREATE POLICY break_glass ON %I.%I FOR SELECT TO platform_breakglass USING ((SELECT rls.glass_broken()))',
            service, name
        );
        EXECUTE format(
            'COMMENT ON POLICY break_glass ON %I.%I IS %L', service, name,
            'rls:exempt nobody inherits platform_breakglass, and it sees nothing without a ticket'
        );
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION rls.behind_glass(text, text[]) FROM PUBLIC;
