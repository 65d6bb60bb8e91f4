# Two commands for a newcomer: `make demo` and `make test`. Both set up everything themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The tests start Python a hundred times: each would compile the source anew if none could keep it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check format clean

demo: $(VENV)/installed
	$(BIN)/alexnet train digits --recipe digits

test: check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name one: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (torch is large: this can take some minutes)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV)
