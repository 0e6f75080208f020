-- What may be looked at behind broken glass: who logged in when, and never what proves or encrypts anything.
SELECT rls.behind_glass('auth', ARRAY[
    'accounts', 'factors', 'sessions', 'grants', 'upstreams', 'upstream_links', 'events'
]);
