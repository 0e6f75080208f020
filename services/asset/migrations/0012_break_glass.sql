-- What may be looked at behind broken glass.
SELECT rls.behind_glass('asset', ARRAY['contracts', 'licenses', 'devices', 'assignments', 'events']);
