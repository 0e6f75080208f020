-- What a command answered, under the key its caller chose: a retry gets the same answer and changes nothing.
-- Written in the command's own transaction. Never published: it is no state of the business.
CREATE TABLE asset.idempotency_keys (
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    key text NOT NULL CHECK (length(key) BETWEEN 8 AND 200),
    request_digest text NOT NULL, -- SHA-256 of method, path and body
    status smallint NOT NULL,
    answer jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
