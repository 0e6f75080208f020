-- What may be looked at behind broken glass. Not the keys of idempotent requests: they repeat answers.
SELECT rls.behind_glass('directory', ARRAY[
    'tenants', 'organisations', 'pharmacies', 'pharmacy_codes', 'users', 'login_identifiers', 'memberships',
    'role_grants', 'events'
]);
