# Needs Python 3.11 to 3.14; fetches everything else into this folder (.tools, .venv).
#   make demo ARGS=--json          ARGS is passed on to the target's program
#   make test PYTHON=/opt/py/bin/python3
.DEFAULT_GOAL := help
.PHONY: help demo up test test-oidc soak storm replay lint format bench bench-capture bench-lake bench-services drill browser clean

RUN := .venv/bin
ENV := .venv/.synced
STATE := .rireki
UV_VERSION := 0.13.9

export PYTHON
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
export DO_NOT_TRACK := 1
# Certificates that this machine, or the user's pip, trusts (a company's proxy), uv trusts too.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem),)
export UV_SYSTEM_CERTS ?= true
endif
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif
ifneq ($(shell test -w "$$HOME" && echo yes),yes)  # a service account's home
export UV_CACHE_DIR ?= $(CURDIR)/.tools/cache
endif

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 10

demo: $(ENV)  ## the whole way in two minutes: database, services, capture, questions about the past; then stops
	$(RUN)/rireki demo $(ARGS)

up: $(ENV)  ## the same stack, kept running, with the Dagster UI; Ctrl-C stops it
	$(RUN)/rireki up $(ARGS)

test: lint  ## lint, then every test on real PostgreSQL, Delta and S3
	$(RUN)/python -m pytest -q $(ARGS)

soak: $(ENV)  ## half an hour of random work and random crashes, compared with the source by value
	$(RUN)/python -m tests.soak $(ARGS)

storm: $(ENV)  ## 10,000 commands of 32 clients while the service is killed; then fold(events) = state
	$(RUN)/python -m tests.services.storm $(ARGS)

replay: $(ENV)  ## a million events folded, compared with the state tables; and as of half-way
	$(RUN)/python -m tests.services.million $(ARGS)

test-spark: $(ENV)  ## every table read by a real Apache Spark; needs Java 17 or 21, fetches 550 MB the first time
	@uv="$$($(FIND_UV))" && "$$uv" sync --frozen --quiet --inexact --group spark
	RIREKI_SPARK=1 $(RUN)/python -m pytest -q tests/spark $(ARGS)

test-oidc: $(ENV) browser  ## certified OpenID Connect programs against auth, in a real browser; fetches what is missing
	@$(NODE_20) || { uv="$$($(FIND_UV))" && "$$uv" sync --frozen --quiet --inexact --group oidc; }
	PATH="$(CURDIR)/$(RUN):$$PATH" npm ci --prefix tests/oidc --ignore-scripts --no-audit --no-fund --loglevel=error
	PATH="$(CURDIR)/$(RUN):$$PATH" RIREKI_OIDC=1 $(RUN)/python -m pytest -q tests/oidc $(ARGS)

lint: $(ENV)  ## formatting, ruff, strict types, who may import whom, SQL
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	find services -name '*.sql' | sort | xargs $(RUN)/squawk

format: $(ENV)  ## rewrite what ruff can rewrite
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

bench: bench-capture bench-lake bench-services  ## all of these three

bench-capture: $(ENV)  ## capture beside pg_recvlogical and COPY; prints ratios (ARGS='--only inserts --rows 200000')
	$(RUN)/python -m tests.benchmarks.capture $(ARGS)

bench-lake: $(ENV)  ## 10,000 and 100,000 changes of ten million rows beside MERGE, and asking as of the past
	$(RUN)/python -m tests.benchmarks.lake $(ARGS)

bench-services: $(ENV)  ## the license check under 200 clients, beside a bare SELECT
	$(RUN)/python -m tests.benchmarks.services $(ARGS)

drill: $(ENV)  ## people log in while directory's process is killed for a minute (ARGS='--outage 10 --calm 10')
	$(RUN)/python -m tests.benchmarks.drill $(ARGS)

browser:  ## install what the tests of pages need, where it is missing: Chromium and its driver, from Debian's packages
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  command -v apt-get >/dev/null || { echo "Only Debian's packages are known here: install chromium and chromedriver" >&2; exit 1; }; \
	  as_root="$$(test "$$(id -u)" = 0 || echo sudo)"; \
	  $$as_root apt-get update -q && $$as_root apt-get install -qy --no-install-recommends chromium chromium-driver; }

clean:  ## delete the embedded stack's data and all caches; the environment stays
	@if test -e $(STATE); then $(MAKE) --no-print-directory $(ENV) && $(RUN)/python -m infra destroy $(STATE); fi
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune ! -path './.venv/*' ! -path './.tools/*' -exec rm -rf {} +

# The environment follows the lock file.
$(ENV): uv.lock pyproject.toml
	@python="$$($(FIND_PYTHON))" && uv="$$($(FIND_UV))" && echo "Installing the locked packages into .venv" && \
	  "$$uv" sync --frozen --quiet --python "$$python"
	@touch $(ENV)

NODE_20 := command -v npm >/dev/null && node -e 'process.exit(process.versions.node.split(".")[0] < 20)' 2>/dev/null

# Candidates are run, not only found: version managers leave stand-ins that end in an error.
define FIND_PYTHON
for python in "$${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do \
  "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && \
  command -v "$$python" && exit 0; \
done; \
echo 'No Python 3.11 to 3.14 here. Install one, or say where it is: make PYTHON=/path/to/python3' >&2; exit 1
endef

# uv from the PATH, else by pip, as pip is configured here. A bare Debian has pip without venv, or venv without pip.
define FIND_UV
command -v uv && exit 0; uv=.tools/uv/bin/uv; \
if ! $$uv --version >/dev/null 2>&1; then \
  echo 'Fetching uv into .tools' >&2; rm -rf .tools/uv; \
  { "$$python" -m venv .tools/uv && .tools/uv/bin/python -m pip install --quiet uv==$(UV_VERSION); } >&2 || \
  { rm -rf .tools/uv; "$$python" -m pip install --quiet --target .tools/uv uv==$(UV_VERSION); } >&2 || \
  { echo "uv can't be fetched: install it, or the venv module of $$python (Debian: python3-venv)" >&2; exit 1; }; \
fi; echo $$uv
endef
