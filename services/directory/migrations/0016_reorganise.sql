-- directory.reorganise(plan): the bound tenant gives, another takes. First of three calls in one transaction: asset and
-- auth then follow what has moved here.
--
-- plan: kind (merge, split, transfer), to; for a split organisations (with all below them), name, kana and
-- corporate_number of the new tenant; for a transfer pharmacy and into (the taking tenant's organisation); who and why:
-- actor_type, actor_id, on_behalf_of, reason, effective_at, correlation_id, causation_id, request_id.
-- Returns the main event. Who works in what moves, and nowhere else, goes along.
CREATE FUNCTION directory.reorganise(plan jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    kind text := plan ->> 'kind';
    giving uuid := rls.tenant();
    taking uuid := plan ->> 'to';
    asked uuid[] := ARRAY(SELECT jsonb_array_elements_text(coalesce(plan -> 'organisations', '[]'))::uuid);
    organisations_moving uuid[] := '{}';
    pharmacies_moving uuid[] := '{}';
    codes_moving uuid[];
    users_moving uuid[] := '{}';
    memberships_moving uuid[];
    roles_moving uuid[];
    roles_ending uuid[];
    parting text;
    main jsonb;
BEGIN
    IF kind IS NULL OR kind NOT IN ('merge', 'split', 'transfer') OR giving IS NULL OR taking IS NULL OR giving = taking THEN
        RAISE EXCEPTION 'not a reorganisation' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM rls.begin_reorganisation(giving, taking);
    IF kind = 'split' THEN
        INSERT INTO directory.tenants (tenant_id, name, kana, corporate_number, version)
        VALUES (taking, plan ->> 'name', plan ->> 'kana', plan ->> 'corporate_number', 1);
        PERFORM journal.tell(plan, 'directory', 'tenants', 'tenant_id', 'tenant', 2, 'tenant.created', ARRAY[taking]);
    END IF;
    IF (
        SELECT count(*) FROM (
            SELECT FROM directory.tenants WHERE tenant_id IN (giving, taking) AND merged_into IS NULL
            ORDER BY tenant_id FOR NO KEY UPDATE
        ) AS there
    ) <> 2 THEN
        RAISE EXCEPTION 'the other tenant isn''t there' USING ERRCODE = 'no_data_found';
    END IF;

    IF kind = 'merge' THEN
        organisations_moving := ARRAY(SELECT id FROM directory.organisations WHERE tenant_id = giving);
        pharmacies_moving := ARRAY(SELECT id FROM directory.pharmacies WHERE tenant_id = giving);
        users_moving := ARRAY(SELECT id FROM directory.users WHERE tenant_id = giving);
    ELSE
        IF kind = 'split' THEN
            organisations_moving := ARRAY(
                WITH RECURSIVE below AS (
                    SELECT id FROM directory.organisations WHERE tenant_id = giving AND id = ANY(asked)
                    UNION
                    SELECT o.id FROM directory.organisations AS o JOIN below ON o.parent_id = below.id
                    WHERE o.tenant_id = giving
                ) SELECT id FROM below
            );
            pharmacies_moving := ARRAY(
                SELECT id FROM directory.pharmacies
                WHERE tenant_id = giving AND organisation_id = ANY(organisations_moving)
            );
        ELSE
            pharmacies_moving := ARRAY(
                SELECT id FROM directory.pharmacies WHERE tenant_id = giving AND id = (plan ->> 'pharmacy')::uuid
            );
        END IF;
        IF NOT asked <@ organisations_moving
            OR kind = 'transfer' AND (cardinality(pharmacies_moving) = 0 OR NOT EXISTS (
                SELECT FROM directory.organisations
                WHERE tenant_id = taking AND id = (plan ->> 'into')::uuid AND closed_on IS NULL
            )) THEN
            RAISE EXCEPTION 'what is to move, or where to, isn''t there' USING ERRCODE = 'no_data_found';
        END IF;
        users_moving := ARRAY(
            SELECT u.id FROM directory.users AS u
            JOIN directory.memberships AS m ON m.tenant_id = giving AND m.user_id = u.id AND m.valid_to IS NULL
            WHERE u.tenant_id = giving
            GROUP BY u.id
            HAVING bool_and(coalesce(
                m.pharmacy_id = ANY(pharmacies_moving), m.organisation_id = ANY(organisations_moving)
            ))
        );
    END IF;

    -- Whoever goes must not be left with a place that stays, nor the other way round.
    SELECT string_agg(DISTINCT user_id::text, ', ') INTO parting FROM (
        SELECT user_id, pharmacy_id, organisation_id FROM directory.memberships
        WHERE tenant_id = giving AND valid_to IS NULL
        UNION ALL
        SELECT user_id, pharmacy_id, organisation_id FROM directory.role_grants
        WHERE tenant_id = giving AND revoked_at IS NULL AND num_nonnulls(pharmacy_id, organisation_id) = 1
    ) AS held
    WHERE (user_id = ANY(users_moving))
        <> coalesce(pharmacy_id = ANY(pharmacies_moving), organisation_id = ANY(organisations_moving));
    IF parting IS NOT NULL THEN
        RAISE EXCEPTION 'belong, or hold a role, on both sides: %', parting USING ERRCODE = 'object_in_use';
    END IF;

    -- In the order in which every command takes its locks: user, membership or role grant, organisation, pharmacy.
    PERFORM FROM directory.users WHERE tenant_id = giving AND id = ANY(users_moving) ORDER BY id FOR UPDATE;
    UPDATE directory.users SET tenant_id = taking, version = version + 1, updated_at = now()
    WHERE tenant_id = giving AND id = ANY(users_moving);
    PERFORM journal.tell(plan, 'directory', 'users', 'id', 'user', 1, 'user.rehomed', users_moving);
    UPDATE directory.login_identifiers AS l SET tenant_id = taking, user_version = u.version
    FROM directory.users AS u WHERE l.tenant_id = giving AND u.id = l.user_id AND u.id = ANY(users_moving);

    WITH moved AS (
        UPDATE directory.memberships SET tenant_id = taking, version = version + 1, updated_at = now()
        WHERE tenant_id = giving AND user_id = ANY(users_moving) AND (kind = 'merge' OR valid_to IS NULL) RETURNING id
    )
    SELECT array_agg(id) INTO memberships_moving FROM moved;
    PERFORM journal.tell(
        plan, 'directory', 'memberships', 'id', 'membership', 1, 'membership.rehomed', memberships_moving
    );

    -- A role in the whole tenant would grow, or point elsewhere, with the tenant: it ends.
    WITH ended AS (
        UPDATE directory.role_grants SET revoked_by = plan ->> 'actor_id', revoked_at = now(), version = version + 1,
            updated_at = now()
        WHERE tenant_id = giving AND user_id = ANY(users_moving) AND revoked_at IS NULL
            AND num_nonnulls(pharmacy_id, organisation_id) = 0 RETURNING id
    )
    SELECT array_agg(id) INTO roles_ending FROM ended;
    PERFORM journal.tell(plan, 'directory', 'role_grants', 'id', 'role_grant', 1, 'role.revoked', roles_ending);
    WITH moved AS (
        UPDATE directory.role_grants SET tenant_id = taking, version = version + 1, updated_at = now()
        WHERE tenant_id = giving AND user_id = ANY(users_moving) AND (kind = 'merge' OR revoked_at IS NULL) RETURNING id
    )
    SELECT array_agg(id) INTO roles_moving FROM moved;
    PERFORM journal.tell(plan, 'directory', 'role_grants', 'id', 'role_grant', 1, 'role.rehomed', roles_moving);

    UPDATE directory.organisations SET tenant_id = taking, version = version + 1, updated_at = now(),
        parent_id = CASE WHEN parent_id = ANY(organisations_moving) THEN parent_id END
    WHERE tenant_id = giving AND id = ANY(organisations_moving);
    PERFORM journal.tell(
        plan, 'directory', 'organisations', 'id', 'organisation', 2, 'organisation.rehomed', organisations_moving
    );
    UPDATE directory.pharmacies SET tenant_id = taking, version = version + 1, updated_at = now(),
        organisation_id = coalesce((plan ->> 'into')::uuid, organisation_id)
    WHERE tenant_id = giving AND id = ANY(pharmacies_moving);
    PERFORM journal.tell(plan, 'directory', 'pharmacies', 'id', 'pharmacy', 2, 'pharmacy.rehomed', pharmacies_moving);
    WITH moved AS (
        UPDATE directory.pharmacy_codes SET tenant_id = taking, version = version + 1, updated_at = now()
        WHERE tenant_id = giving AND pharmacy_id = ANY(pharmacies_moving) RETURNING id
    )
    SELECT array_agg(id) INTO codes_moving FROM moved;
    PERFORM journal.tell(
        plan, 'directory', 'pharmacy_codes', 'id', 'pharmacy_code', 1, 'pharmacy_code.rehomed', codes_moving
    );

    UPDATE directory.tenants SET merged_into = CASE kind WHEN 'merge' THEN taking END, version = version + 1,
        updated_at = now()
    WHERE tenant_id = giving;
    PERFORM journal.tell(
        plan, 'directory', 'tenants', 'tenant_id', 'tenant', 2,
        CASE kind WHEN 'merge' THEN 'tenant.merged' WHEN 'split' THEN 'tenant.split' ELSE 'tenant.ceded' END, ARRAY[giving]
    );
    IF (SELECT count(*) FROM directory.pharmacies WHERE tenant_id = taking AND closed_on IS NULL)
        > (SELECT pharmacy_limit FROM directory.tenants WHERE tenant_id = taking) THEN
        RAISE EXCEPTION 'the other tenant would have more pharmacies than its limit' USING ERRCODE = 'check_violation';
    END IF;
    SELECT to_jsonb(e) INTO main FROM directory.events AS e
    WHERE e.tenant_id IN (giving, taking) AND e.correlation_id = (plan ->> 'correlation_id')::uuid
        AND e.aggregate_id = CASE kind
            WHEN 'merge' THEN giving WHEN 'split' THEN taking ELSE (plan ->> 'pharmacy')::uuid
        END
    ORDER BY e.aggregate_version DESC LIMIT 1;
    -- Here and now: at the commit another role would look, to whom one of the tenants doesn't exist.
    SET CONSTRAINTS
        directory.require_event, directory.same_tenant_user, directory.same_tenant_organisation,
        directory.same_tenant_pharmacy IMMEDIATE;
    PERFORM set_config('app.reorganised', '', true);
    RETURN main;
END
$$;

REVOKE ALL ON FUNCTION directory.reorganise(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION directory.reorganise(jsonb) TO directory;
-- Handing it over needs, for a moment, what directory_reorg must not keep.
GRANT CREATE ON SCHEMA directory TO directory_reorg;
ALTER FUNCTION directory.reorganise(jsonb) OWNER TO directory_reorg;
REVOKE CREATE ON SCHEMA directory FROM directory_reorg;
