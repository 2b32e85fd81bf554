# make run    train on the built-in data and write a report
# make test   everything that is checked, notebooks included
# make lab    the course in JupyterLab
# make book   the course as a website, in tutorials/book
# make cuda   the program for NVIDIA GPUs, target/release/genailab-cuda (no GPU is needed to build it)
# Each sets up what it needs first (scripts/setup.sh says what it installs) and is fast when nothing is to do.

# The library and the kernel are built each on its own, because the two together would agree on other features of the
# crates they share, and build those again. The kernel has a profile of its own: see Cargo.toml.
LIBRARY := --release --locked -p genailab
# The tests' build has the GPU backend, so that its shaders are tested; `make run` and the notebooks do without its
# dependencies. Everything that checks has it, because with and without it the crates that both share have other features
# and would be built twice; the notebooks' build is the one that checks the library without it.
TESTED := $(LIBRARY) --features metal
KERNEL := --profile kernel --locked -p genailab-kernel
BOOK := --profile book --locked -p genailab-book

# rust-analyzer is compiled anew, for minutes, whenever CI is set after it was not, or the other way round.
unexport CI

# Tests that need Python, or data that is there, must not be skipped.
required := GENAILAB_PYTHON=$(CURDIR)/.venv/bin/python GENAILAB_REQUIRE_PYTHON=1 \
	$(if $(wildcard ../shared/data),GENAILAB_REQUIRE_DATA=1)

# What is tested or stored was trained now: a checkpoint of an earlier session may be of other code.
notebooks outputs: export GENAILAB_CHECKPOINTS := off

.PHONY: run test lab lab-check checkpoints book cuda test-cuda book-check setup check lint docs build unit kernel kernel-unit fuzz kill \
	notebook-dependencies notebooks outputs help

help:
	@sed -n '1,6s/^# //p' Makefile

run:
	@scripts/setup.sh run
	cargo run $(LIBRARY) --bin genailab -- run $(ARGS)

# Ends with a table of what each phase took.
test:
	@scripts/phases.sh

lab:
	@scripts/setup.sh lab
	target/kernel/genailab-kernel prepare
	cd notebooks && JUPYTER_PREFER_ENV_PATH=1 ../.venv/bin/jupyter-lab $(ARGS)

# Notebook 02 in JupyterLab and a Chromium without a window; not part of `make test`. Skipped, and that is said, where
# there is no Chromium.
lab-check:
	@scripts/lab_check.sh

# Trains what the notebooks 05, 09 and 10 keep (see notebooks/README.md), by executing them once; they stay as they are.
checkpoints:
	@scripts/setup.sh lab
	target/kernel/genailab-kernel prepare
	mkdir -p target/checkpoints
	target/kernel/genailab-kernel run --output target/checkpoints notebooks/05*.ipynb notebooks/09*.ipynb notebooks/10*.ipynb

# Maths is made when the book is built, and nothing in it needs a network.
book:
	@scripts/setup.sh run
	cargo run $(BOOK)

# Linked to NVIDIA's driver, so that it does not start where there is none: `genailab --device cuda` starts it where there is.
# Not a part of `make test`: it takes as long as the tests' own build.
cuda:
	@scripts/setup.sh run
	scripts/cuda.sh

# Every model on the GPU against the CPU, then single operations; says in one line that it cannot where there is no GPU.
test-cuda:
	@python3 scripts/test_cuda.py $(ARGS)
	scripts/cuda.sh test

# The rendered pages: links, anchors, formulas, pictures. (About clippy: see `kernel`.)
book-check:
	RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-Dwarnings cargo build $(BOOK) --all-targets
	cargo test $(BOOK)
	cargo run $(BOOK)

setup:
	@scripts/setup.sh test

check: lint docs

lint:
	cargo fmt --all --check
	cargo clippy $(TESTED) --all-targets -- -D warnings
	cargo check $(TESTED) --features cuda-check --lib --bins --tests

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc $(TESTED) --lib --no-deps
	RUSTDOCFLAGS="-D warnings" cargo doc $(KERNEL) --lib --no-deps --no-default-features

build:
	cargo test $(TESTED) --no-run

unit:
	$(required) cargo test $(TESTED)

# Clippy's usual way would read rust-analyzer's 40 crates a second time, to check them; as the compiler of this one
# crate, it uses what is built anyway.
kernel:
	RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-Dwarnings cargo build $(KERNEL) --all-targets
	cargo build $(KERNEL) --all-targets

# Its own tests, which need no notebook of the course.
kernel-unit:
	$(required) cargo test $(KERNEL) --lib --test headless

# Damaged files, N of each kind (made of SEED), through every reader; a file that is not met with one line is kept in
# target/tmp/fuzz. Hours: N=100000.
N := 10000
SEED := 1
fuzz:
	GENAILAB_FUZZ=$(N) GENAILAB_FUZZ_SEED=$(SEED) $(required) cargo test $(LIBRARY) --test integration fuzz:: -- --nocapture

# Every kind of job, killed at N moments of SEED, and gone on with.
kill: N := 20
kill:
	GENAILAB_KILLS=$(N) GENAILAB_KILL_SEED=$(SEED) $(required) cargo test $(LIBRARY) --test integration kills:: -- --nocapture

# What the notebooks' cells are linked to.
notebook-dependencies:
	target/kernel/genailab-kernel prepare

# Executes the course and stores its outputs in the notebooks; ONLY=01 as below.
outputs: kernel
	target/kernel/genailab-kernel run notebooks/*$(ONLY)*.ipynb

# ONLY=01 runs the notebooks whose name contains 01.
notebooks:
	$(required) cargo test $(KERNEL) --test notebooks $(if $(ONLY),-- $(ONLY))
