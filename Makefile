# Every word installs what it needs first; `make demo` and `make test` are all a new user has to type.
PYTHON = .venv/bin/python

.PHONY: demo run test test-full lint audit bench chaos openapi setup lock clean

demo: setup          ## move a running guest between three local libvirt hosts, and show it
	$(PYTHON) -m app.lab.demo

run: setup           ## leave three hosts, PostgreSQL, the API and its workers running; Ctrl-C stops it all
	exec .venv/bin/drover run --nodes 3

test: setup          ## the tests; as root also the lab's once more as an ordinary user
	sh tools/test.sh

test-full: setup     ## everything, the long ones too; they need a load generator and containers
	@sh tools/setup.sh wrk podman runc netavark aardvark-dns debootstrap
	sh tools/test.sh --full

lint: setup          ## ruff, mypy --strict, the walls between the rooms; bandit, secrets and pins
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PYTHON) tools/scan.py

audit: setup         ## known holes in the pinned versions
	$(PYTHON) tools/scan.py --audit

bench: setup         ## figures, as ratios measured side by side
	@sh tools/setup.sh wrk
	$(PYTHON) -m benchmarks.migration
	$(PYTHON) -m benchmarks.placement
	$(PYTHON) -m benchmarks.api
	$(PYTHON) -m benchmarks.drain
	$(PYTHON) -m benchmarks.steering
	$(PYTHON) -m benchmarks.fairness

chaos: setup         ## kill and stop whatever moves guests, at every step; ARGS="--seed 1 --faults 500"
	$(PYTHON) -m tests.chaos $(ARGS)

openapi: setup       ## write openapi/ anew from the declared kinds
	.venv/bin/drover openapi --write openapi

setup:
	@sh tools/setup.sh

lock:                ## write requirements.lock anew
	.venv/bin/pip-compile -q --extra dev --strip-extras --no-emit-index-url --no-emit-find-links \
	  --generate-hashes --allow-unsafe -o requirements.lock pyproject.toml

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
