-- The secret of an identity provider that has ended has to be gone, not marked.
GRANT DELETE ON auth.upstream_secrets TO auth_secrets;
