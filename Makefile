# make run    train on the built-in data and write a report
# make test   everything that is checked, notebooks included
# make lab    the course in JupyterLab
# Each sets up what it needs first (scripts/setup.sh says what it installs) and is fast when nothing is to do.

# One profile and one target folder for all: nothing is built twice. Each package is built on its own, because the two
# together would agree on other features of the crates they share, and build those again.
CARGO_FLAGS := --release --locked
LIBRARY := $(CARGO_FLAGS) -p genailab
KERNEL := $(CARGO_FLAGS) -p genailab-kernel

.PHONY: run test lab setup check unit notebooks help

help:
	@sed -n '1,4s/^# //p' Makefile

run:
	@scripts/setup.sh run
	cargo run $(LIBRARY) --bin genailab -- run $(ARGS)

test: setup check unit notebooks

lab:
	@scripts/setup.sh lab
	target/release/genailab-kernel --prepare
	cd notebooks && JUPYTER_PREFER_ENV_PATH=1 ../.venv/bin/jupyter-lab $(ARGS)

setup:
	@scripts/setup.sh test

check:
	cargo fmt --all --check
	cargo clippy $(LIBRARY) --all-targets -- -D warnings
	cargo clippy $(KERNEL) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(LIBRARY) --lib --no-deps
	RUSTDOCFLAGS="-D warnings" cargo doc $(KERNEL) --lib --no-deps
	cargo check $(LIBRARY) --features cuda-check

unit:
	GENAILAB_PYTHON=$(CURDIR)/.venv/bin/python GENAILAB_REQUIRE_PYTHON=1 cargo test $(LIBRARY)

# ONLY=01 runs the notebooks whose name contains 01.
notebooks:
	GENAILAB_PYTHON=$(CURDIR)/.venv/bin/python GENAILAB_REQUIRE_PYTHON=1 cargo test $(KERNEL) $(if $(ONLY),--test notebooks -- $(ONLY))
