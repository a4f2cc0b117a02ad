# Every target sets up what it needs; a machine needs make and either bun or npm.
# The targets wrap the scripts of package.json, which CI calls the same way.
run = node_modules/.bin/bun --no-env-file --silent run
ready = node_modules/.installed
image = router

.PHONY: dev test check format build bench bench-routing chaos faults fuzz image clean

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
	@$(run) bench

bench-routing: dist/router
	@$(run) bench-routing

chaos: dist/router
	@$(run) chaos

fuzz: dist/router
	@$(run) fuzz

faults: $(ready)
	@$(run) faults

image:
	@docker build --tag $(image) .

clean:
	rm -rf dist node_modules

dist/router: $(ready) package.json $(shell find src -type f)
	@$(run) build

$(ready): package.json bun.lock .ci/setup
	@sh .ci/setup
