# `make validate` and `make test` set up their own environment in .venv and need only Python 3.11+.

PYTHON ?= python3
PIP_QUIET = --quiet --disable-pip-version-check
VENV = .venv
RUN = $(VENV)/bin/python

.PHONY: validate test lint types unit small-validation docs wheel clean

validate: $(VENV)/ready
	$(RUN) -m validation linear
	$(RUN) -m validation published
	$(RUN) -m validation sweep diabetes
	$(RUN) -m validation report diabetes
	$(RUN) -m validation run resnet18-short

test: lint types unit small-validation docs wheel

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install $(PIP_QUIET) --constraint constraints.txt --editable '.[all]'
	touch $@

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/ready
	$(RUN) -m mypy

unit: $(VENV)/ready
	$(RUN) -m pytest --numprocesses 2 --dist loadfile

small-validation: $(VENV)/ready
	$(RUN) -m validation linear --output reports/small --effort.segments 2 --effort.updates 256

docs: $(VENV)/ready
	$(RUN) -m sphinx --builder html --jobs 2 --fail-on-warning --keep-going --quiet docs docs/_build/html

wheel: $(VENV)/ready
	$(RUN) -m build --wheel --sdist --no-isolation --outdir dist . > /dev/null

clean:
	rm -rf $(VENV) reports docs/_build dist
