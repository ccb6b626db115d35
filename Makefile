# Everything works from a fresh clone with Python 3.12 to 3.14, make and a network. PYTHON=... names one.
PYTHON ?=
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Test files side by side: most of them wait for servers half of the time.
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile
IF_SET_UP = test -x $(BIN)/python || { echo "stack: not set up; 'make up' does it"; exit 0; };

.PHONY: demo up down status logs test test-slow check audit bench clean help

help:            ## this list
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(READY)   ## set up, make the reference scene, map it
	@echo "== the reference scene: 12 months x 5 bands, 1800 x 1135 pixels"
	@test -f data/demo/truth.tif || $(BIN)/geoseg synth data/demo
	@echo "== train, predict, stitch, vectorize, score, report"
	@$(BIN)/geoseg run configs/demo.yaml --output out/demo

up: $(READY)     ## Prefect server and worker, Dask scheduler and workers, on this machine (python -m geoseg.stack --help)
	@$(BIN)/python -m geoseg.stack up

down:            ## stop them; DRAIN=1 lets the runs under way end first
	@$(IF_SET_UP) $(BIN)/python -m geoseg.stack down $(if $(DRAIN),--drain)

status:          ## are they healthy? That none runs is an answer too; 'python -m geoseg.stack status' exits with 3
	@$(IF_SET_UP) said=$$($(BIN)/python -m geoseg.stack status); code=$$?; echo "$$said"; \
	case "$$said" in *"does not run"*) ;; *) exit $$code;; esac

logs:            ## what they say; Ctrl-C ends it
	@$(IF_SET_UP) $(BIN)/python -m geoseg.stack logs

test: $(READY)   ## set up and run the fast tests
	@echo "== the fast tests; make test-slow runs the rest"
	@$(BIN)/pytest -m "not slow" $(SIDE_BY_SIDE) --durations=5

test-slow: $(READY) ## the long tests: real data, faults, QGIS
	@$(BIN)/pytest -m slow $(SIDE_BY_SIDE) --durations=10

check: $(READY)  ## ruff, mypy --strict, declared dependencies, the floors test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/deptry src
	@$(BIN)/pytest -q tests/test_floors.py

audit: $(READY)  ## known vulnerabilities of the pinned versions; asks api.osv.dev
	@$(BIN)/pip-audit -r constraints.txt --no-deps --disable-pip -s osv --progress-spinner off \
	    2> .audit.log; code=$$?; \
	if grep -q "requests.exceptions" .audit.log; then \
	    echo "audit: api.osv.dev cannot be reached, so NOTHING was checked; run it with a network"; \
	else cat .audit.log; fi; rm -f .audit.log; exit $$code

bench: $(READY)  ## geoseg against its peers at 2048 px; docs/benchmarks.md has more
	@$(BIN)/python -m benchmarks.predict --size 2048 --peers all --json .bench/predict.json

$(READY): pyproject.toml constraints.txt
	@echo "== set up: a virtual environment in $(VENV) (about 6 GB with torch; 2 to 4 minutes)"
	@test -x $(BIN)/python || { python=$$(.ci/find-python $(PYTHON)) && \
	    echo "   with $$python, $$($$python --version)" && $$python -m venv $(VENV); }
	@.ci/find-python $(BIN)/python > /dev/null || { echo "remove $(VENV), and it is made anew"; exit 1; }
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off -q -c constraints.txt -e ".[dev]"
	@touch $(READY)

clean:           ## remove what was made, not the environment
	rm -rf data/demo out .pytest_cache .mypy_cache .ruff_cache .hypothesis
