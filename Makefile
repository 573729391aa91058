# Two commands matter: `make demo` (nine failures, live) and `make test`. Both set everything up first.
.PHONY: demo test lint setup unit live soak fuzz seeds compiled bench format clean

H := .venv/bin
SECONDS ?= 600
SEED ?= 1
FUZZ_SECONDS ?= 60
FUZZ ?=
SEEDS ?= 1..500
REPEAT ?= 20

demo: setup
	$(H)/holdfast lab run uc1 uc2 uc3 uc4 uc5 uc6 uc7 uc8 uc9 --charts

test: lint unit live

setup:
	@scripts/setup

lint: setup
	$(H)/ruff check src tests
	$(H)/ruff format --check src tests
	$(H)/mypy
	$(H)/pytest tests/tidy

unit: setup
	$(H)/pytest tests --ignore tests/live --ignore tests/tidy

live: setup
	$(H)/pytest tests/live

# Whatever comes from outside, as bytes, led by coverage, for so many seconds: docs/bad-input.md
fuzz: setup
	$(H)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ)

# The same, and then random faults of every kind on five live hosts, for so many seconds: docs/soak.md
soak: fuzz
	$(H)/holdfast lab soak --seconds $(SECONDS) --seed $(SEED)

# A compiled copy of the sources, for drawn runs alone: docs/simulation.md
compiled: setup
	$(H)/python scripts/compile

# Drawn deployments under drawn faults, simulated: docs/simulation.md
seeds: compiled
	$(H)/holdfast lab sim --seeds $(SEEDS)

# Holdfast beside keepalived, about two hours; what is in bench.json is not measured again: docs/performance.md
bench: setup
	$(H)/holdfast bench failover --repeat $(REPEAT) --json bench.json --markdown bench.md

format: setup
	$(H)/ruff format src tests
	$(H)/ruff check --fix src tests

clean:
	rm -rf .venv runs build .mypy_cache .ruff_cache .pytest_cache .hypothesis
