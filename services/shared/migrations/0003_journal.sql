-- Two rules that tie state to its domain events, the same in every service's schema.
CREATE SCHEMA journal;

-- Events are appended and never touched again, by nobody: the grants say it, and this says it to the owner too.
CREATE FUNCTION journal.append_only() RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'write a new event with origin ''correction'' instead';
END
$$;

-- A row may change only together with the event that says so, checked when the transaction commits.
--
-- As a deferred constraint trigger FOR EACH ROW: require_event(aggregate type, id column, version column).
-- The row's version rises with each change, and an event of that aggregate and version must be there. SQL run by hand
-- that forgets it is refused at its commit. A deletion needs the event of the version after the last.
CREATE FUNCTION journal.require_event() RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
    aggregate uuid := changed ->> TG_ARGV[1];
    wanted bigint := (changed ->> TG_ARGV[2])::bigint + CASE TG_OP WHEN 'DELETE' THEN 1 ELSE 0 END;
    told boolean;
BEGIN
    IF TG_OP = 'UPDATE' AND wanted <= (to_jsonb(OLD) ->> TG_ARGV[2])::bigint THEN
        told := false;
    ELSE
        EXECUTE format(
            'SELECT EXISTS (SELECT FROM %I.events WHERE tenant_id = $1 AND aggregate_type = $2 '
            'AND aggregate_id = $3 AND aggregate_version = $4)', TG_TABLE_SCHEMA
        ) INTO told USING (changed ->> 'tenant_id')::uuid, TG_ARGV[0], aggregate, wanted;
    END IF;
    IF NOT told THEN
        RAISE EXCEPTION '% on %.% has no event for % % version %',
            TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0], aggregate, wanted
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'change it through the service''s command, or raise its version and insert the event in the same transaction';
    END IF;
    RETURN NULL;
END
$$;

-- TRUNCATE fires no row triggers, so it would slip past the rule above.
CREATE FUNCTION journal.no_truncate() RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE of %.% refused: its rows change only with their events', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'end each row through its command';
END
$$;
