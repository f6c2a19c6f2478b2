# Verbs of the project; `make` alone lists them.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
REFERENCE_ENV := .venv-reference
AIRFLOW_ENV := .venv-airflow
STAMP := $(VENV)/.installed
UV := uv==0.9.9
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-docker test-airflow airflow lint types engine engine-down images sbom few-labels control \
	reference-env benchmarks benchmarks-gpu requirements clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the virtual environment in .venv

$(STAMP): requirements/dev.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: needs Python 3.11 or newer; set PYTHON" >&2; exit 2; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements/dev.txt || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --offline --no-deps --no-build-isolation --python $(BIN)/python --editable . || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: $(STAMP) ## run the whole job on the sample set: videos in, model and report out
	@python -m pipelines.dvc_repro
	@cavmae results

test: $(STAMP) ## run the fast tests
	pytest -q -n 2

test-slow: $(STAMP) ## run the slow tests, and those over real media where there are any
	pytest -q -n 2 -m '(slow or media) and not docker and not airflow and not gpu'

test-docker: $(STAMP) ## run the tests in containers (after `make engine images`)
	pytest -q -m docker

test-airflow: $(STAMP) $(AIRFLOW_ENV)/.installed ## run the tests with a real Airflow
	pytest -q -n 2 --dist loadfile -m airflow

airflow: $(STAMP) $(AIRFLOW_ENV)/.installed ## start Airflow here with the DAGs: http://localhost:8080, password shown once, Ctrl-C ends it
	$(AIRFLOW_ENV)/bin/python -m dags.standalone

$(AIRFLOW_ENV)/.installed: requirements/airflow.txt | $(STAMP)
	test -x $(AIRFLOW_ENV)/bin/python || "$(PYTHON)" -m venv $(AIRFLOW_ENV)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(AIRFLOW_ENV)/bin/python -r requirements/airflow.txt || \
		$(AIRFLOW_ENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/airflow.txt
	touch $@

engine: ## start a container engine where none answers
	docker/engine.sh up

engine-down: ## stop the container engine that `make engine` started
	docker/engine.sh down

images: ## build the images cavmae-data and cavmae-train of this commit
	"$(PYTHON)" docker/build.py

sbom: $(STAMP) ## write what is in the images to build/sbom, as CycloneDX (after `make images`)
	python docker/sbom.py

lint: $(STAMP) ## look for faults of style
	ruff check .
	ruff format --check .

types: $(STAMP) ## check the types
	mypy
	mypy docker/*.py

few-labels: $(STAMP) ## measure what pretraining buys with 10 % of the labels (after `make demo`)
	python -m benchmarks.few_labels

control: $(STAMP) ## measure retrieval on the control set, where sound and picture share no facts
	python -m benchmarks.control

reference-env: $(REFERENCE_ENV)/.installed ## make .venv-reference, which runs the original (timm 0.4.5) for the benchmarks

$(REFERENCE_ENV)/.installed: requirements/reference.txt | $(STAMP)
	test -x $(REFERENCE_ENV)/bin/python || "$(PYTHON)" -m venv $(REFERENCE_ENV)
	$(BIN)/uv pip install --quiet --no-deps --python $(REFERENCE_ENV)/bin/python -r requirements/reference.txt || \
		$(REFERENCE_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/reference.txt
	touch $@

benchmarks: $(STAMP) ## measure against the original (CAVMAE_REFERENCE names its checkout), each figure kept in benchmarks/results
	python -m benchmarks.all

benchmarks-gpu: $(STAMP) ## the same for the training step on a GPU: both precisions, batch 48 to 256, loss curves, profile
	python -m benchmarks.all --gpu

requirements: $(STAMP) ## pin the requirements anew from requirements/*.in
	uv pip compile --quiet --no-header --python-version 3.11 requirements/dev.in -o requirements/dev.txt
	for group in data train pipelines image-data image-train; do \
		uv pip compile --quiet --no-header --python-version 3.11 -c requirements/dev.txt requirements/$$group.in \
			-o requirements/$$group.txt || exit 1; \
	done
	uv pip compile --quiet --no-header --python-version 3.11 requirements/airflow.in -o requirements/airflow.txt
	uv pip compile --quiet --no-header --python-version 3.11 -c requirements/dev.txt requirements/reference.in \
		-o requirements/reference.txt

clean: ## remove what the project made, but for the virtual environment
	rm -rf data/ingest data/shards data/validated models metrics reports runs .cavmae dvc.lock .dvc/cache .dvc/tmp build
