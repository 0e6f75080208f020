-- Somebody who is logged in may show a second factor later, or show the first again: the same session, proved anew.
ALTER TABLE auth.sessions ADD COLUMN authenticated_at timestamptz NOT NULL DEFAULT now();

GRANT UPDATE (amr, acr, authenticated_at) ON auth.sessions TO auth;
-- What the browser holds changes whenever the session comes to be worth more.
GRANT UPDATE (secret_hash) ON auth.session_handles TO auth;
