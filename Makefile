# soma: build, run, test. `make help` lists the targets.
#
# Each combination of compiler and sanitizers builds in a folder of its own,
# build/<variant>/, so that objects of different flags never mix:
#
#     make                              gcc, optimised, build/gcc/
#     make CC=clang                     build/clang/
#     make SAN=address,undefined test   build/gcc-address-undefined/
#     make SAN=thread test              build/gcc-thread/

ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
comma := ,
VARIANT := $(notdir $(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
BUILD ?= build/$(VARIANT)
VERBOSE ?= 0
Q := $(if $(filter 0,$(VERBOSE)),@)

PACKAGES := gcc make pkg-config libmicrohttpd-dev libjansson-dev \
	libopenblas-pthread-dev libpng-dev libturbojpeg0-dev zlib1g-dev \
	nettle-dev libsqlite3-dev libprotobuf-c-dev protobuf-c-compiler \
	libminizip-dev libgnutls28-dev libhiredis-dev
TEST_PACKAGES := libcmocka-dev libcurl4-openssl-dev dataset-fashion-mnist \
	curl jq sqlite3 util-linux openssl redis-server liblua5.1-0-dev
LINT_PACKAGES := clang clang-format clang-tidy cppcheck shellcheck
DATA ?=
PREFIX ?= /usr/local

LIBS := libmicrohttpd jansson openblas libpng libturbojpeg zlib nettle \
	sqlite3 gnutls libprotobuf-c minizip hiredis
WERROR ?=
WARN := $(if $(WERROR),-Werror) -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wconversion -Wno-sign-conversion -Wpointer-arith -Wundef \
	-Wwrite-strings -Wformat=2
OPT := $(if $(SAN),-O1 -fno-omit-frame-pointer,-O2)
CFLAGS ?= $(OPT) -g
# tests/hardened.sh holds the program against these. The sanitizers bring their
# own checks of what _FORTIFY_SOURCE looks at.
FORTIFY = $(eval FORTIFY := $(shell $(CC) -E -x c tests/fortify.h 2>/dev/null \
	| tail -n1))$(FORTIFY)
HARDEN := -fPIE -fstack-protector-strong -fstack-clash-protection \
	$(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
HARDEN_LINK := -pie -Wl,-z,relro,-z,now,-z,noexecstack
# No multiply-add is fused but where the code says so: compilers differ in it,
# and what is learned has the same bits by all of them.
FLOATS := -ffp-contract=off
CPPFLAGS += -I. -I$(BUILD) -D_GNU_SOURCE
# pkg-config is asked when something is compiled, so that `make deps` works
# before the libraries are there.
LIB_CFLAGS = $(eval LIB_CFLAGS := $(shell pkg-config --cflags $(LIBS)))$(LIB_CFLAGS)
LIB_LIBS = $(eval LIB_LIBS := $(shell pkg-config --libs $(LIBS)))$(LIB_LIBS)
SANITIZE = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined)
COMPILE = $(CC) -std=gnu11 $(CPPFLAGS) $(CFLAGS) $(FLOATS) $(HARDEN) \
	$(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(FORTIFY)) \
	$(WARN) -pthread \
	$(SANITIZE) \
	$(LIB_CFLAGS) -MMD -MP
LINK = $(CC) $(CFLAGS) $(LDFLAGS) -pthread $(HARDEN_LINK) \
	$(if $(SAN),-fsanitize=$(SAN))

MAIN_SOURCES := server/main.c $(wildcard server/cmd_*.c)
LIB_SOURCES := $(wildcard core/*.c core/io/*.c server/engine/*.c \
	server/web/*.c) $(filter-out $(MAIN_SOURCES),$(wildcard server/*.c))
MAIN_OBJECTS := $(MAIN_SOURCES:%.c=$(BUILD)/%.o)
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/%.o) $(BUILD)/core/io/onnx.pb-c.o
UNIT_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_TARGETS := $(FUZZ_NAMES:%=$(BUILD)/tests/fuzz/fuzz_%)
HTTP_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/http/test_*.c \
	tests/crash/test_*.c tests/replicas/test_*.c tests/faults/test_*.c \
	tests/simulation/test_*.c))

.DELETE_ON_ERROR:
.SECONDARY:

## build: compile the program to build/<variant>/soma (the default)
.PHONY: build
build: $(BUILD)/soma

## help: list the targets
.PHONY: help
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## deps: install the Debian packages that building and running need
.PHONY: deps test-deps lint-deps
deps:
	$(Q)sh tests/install.sh $(PACKAGES)

test-deps:
	$(Q)sh tests/install.sh $(PACKAGES) $(TEST_PACKAGES)

lint-deps:
	$(Q)sh tests/install.sh $(PACKAGES) $(TEST_PACKAGES) $(LINT_PACKAGES)

# The loops over floats are worth vectors, and the kernel's blocks stand in
# registers only when their loops are unrolled.
ifeq ($(SAN),)
$(filter $(BUILD)/core/%.o $(BUILD)/server/web/input.o,$(LIB_OBJECTS)): CFLAGS += -O3
endif

# Watched by ThreadSanitizer, each load of the kernel's inner loops is a call:
# the full test sets would take a quarter of an hour. They read what their
# callers gave them, which is watched, and share nothing.
ifeq ($(SAN),thread)
KERNELS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard core/kernel*.c))
$(KERNELS): SANITIZE :=
$(KERNELS): CFLAGS += -O3
endif

$(BUILD)/server/web/assets.o: server/web/openapi.json \
	$(wildcard server/web/page/* models/samples/*.png)

# The messages of ONNX files, from our schema. What protoc-c writes is not
# held to our warnings.
$(BUILD)/core/io/onnx.pb-c.c $(BUILD)/core/io/onnx.pb-c.h &: core/io/onnx.proto
	@mkdir -p $(@D)
	@echo "  PROTO $<"
	$(Q)protoc-c --c_out=$(BUILD) $<

$(BUILD)/core/io/onnx.pb-c.o: $(BUILD)/core/io/onnx.pb-c.c
	@echo "  CC    $<"
	$(Q)$(COMPILE) -w -c -o $@ $<

$(patsubst %.c,$(BUILD)/%.o,$(wildcard core/io/onnx*.c)) \
	$(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/unit/test_onnx*.c)): \
	| $(BUILD)/core/io/onnx.pb-c.h

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(COMPILE) -c -o $@ $<

$(BUILD)/libsoma.a: $(LIB_OBJECTS)
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/soma: $(MAIN_OBJECTS) $(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $^ $(LIB_LIBS) -lm

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $^ $(LIB_LIBS) -lcmocka -lm

# What they allocate is counted, and fails when they say so.
SCARCE := malloc calloc realloc aligned_alloc free strdup strndup asprintf \
	__asprintf_chk scandir scandir64
$(BUILD)/tests/unit/test_scarce_%: $(BUILD)/tests/unit/test_scarce_%.o \
		$(BUILD)/tests/unit/scarce.o $(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) $(SCARCE:%=-Wl,--wrap=%) -o $@ $^ $(LIB_LIBS) -lcmocka -lm

$(BUILD)/tests/http/test_%: $(BUILD)/tests/http/test_%.o \
		$(BUILD)/tests/http/server.o $(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $^ $(LIB_LIBS) -lcurl -lcmocka -lm

$(BUILD)/tests/crash/test_%: $(BUILD)/tests/crash/test_%.o \
		$(BUILD)/tests/http/server.o $(BUILD)/libsoma.a \
		$(if $(SAN),,$(BUILD)/tests/crash/faults.so)
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $(filter %.o %.a,$^) $(LIB_LIBS) -lcurl -lcmocka -lm

$(BUILD)/tests/replicas/test_%: $(BUILD)/tests/replicas/test_%.o \
		$(BUILD)/tests/replicas/redis.o \
		$(BUILD)/tests/replicas/lessons.o $(BUILD)/tests/http/server.o \
		$(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $^ $(LIB_LIBS) -lcurl -lcmocka -lm

# Its own threads, clock and Redis stand in for the real ones, and scripts run
# by the interpreter that Redis has in it.
SIMULATED := pthread_create pthread_join pthread_cond_wait \
	pthread_cond_timedwait nanosleep clock_gettime getrandom
SIMULATION := $(patsubst %.c,$(BUILD)/%.o,$(filter-out \
	tests/simulation/test_%,$(wildcard tests/simulation/*.c)))
LUA_CFLAGS = $(eval LUA_CFLAGS := $(shell pkg-config --cflags lua5.1))$(LUA_CFLAGS)
LUA_LIBS = $(eval LUA_LIBS := $(shell pkg-config --libs lua5.1))$(LUA_LIBS)
$(BUILD)/tests/simulation/%.o: CPPFLAGS += $(LUA_CFLAGS)

$(BUILD)/tests/simulation/test_%: $(BUILD)/tests/simulation/test_%.o \
		$(SIMULATION) $(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) $(SIMULATED:%=-Wl,--wrap=%) -o $@ $^ $(LIB_LIBS) $(LUA_LIBS) \
		-lcmocka -lm

# The store beside a real Redis, and so with the real hiredis.
$(BUILD)/tests/simulation/test_store: $(BUILD)/tests/simulation/test_store.o \
		$(addprefix $(BUILD)/tests/simulation/,store.o commands.o values.o \
			script.o) \
		$(BUILD)/tests/replicas/redis.o $(BUILD)/tests/http/server.o \
		$(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $^ $(LIB_LIBS) $(LUA_LIBS) -lcurl -lcmocka -lm

$(BUILD)/tests/faults/test_%: $(BUILD)/tests/faults/test_%.o \
		$(BUILD)/tests/faults/shimmed.o \
		$(BUILD)/tests/http/server.o $(BUILD)/libsoma.a \
		$(BUILD)/tests/faults/shim.so
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $(filter %.o %.a,$^) $(LIB_LIBS) -lcurl -lcmocka -lm

# What stands in for the C library's functions must not be given its checked
# or its 64-bit ones in their place, as hiredis's flags ask for.
STANDS_IN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0 -U_FILE_OFFSET_BITS

# Preloaded into the program by the tests. What malloc's is cannot be built as
# if malloc were the compiler's; nor watched by the sanitizers that it calls.
$(BUILD)/tests/faults/shim.so: SANITIZE :=
$(BUILD)/tests/faults/shim.so: tests/faults/shim.c tests/faults/shim.h
	@mkdir -p $(@D)
	$(Q)$(COMPILE) $(STANDS_IN) -fno-builtin -fPIC -shared -o $@ $< -ldl

$(BUILD)/tests/crash/faults.so: tests/crash/faults.c tests/crash/faults.h
	@mkdir -p $(@D)
	$(Q)$(COMPILE) $(STANDS_IN) -fPIC -shared -o $@ $< -ldl

$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $^ $(LIB_LIBS) -lm

$(BUILD)/tests/learning/%: $(BUILD)/tests/learning/%.o $(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $^ $(LIB_LIBS) -lm

# What the bench alone compares with, and the machine's own limits.
$(BUILD)/tests/bench/product: $(BUILD)/tests/bench/product.o \
		$(BUILD)/tests/bench/onednn.o $(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $^ $(LIB_LIBS) -ldnnl -lm

$(BUILD)/tests/bench/peak.o: CFLAGS += -O3 -march=native

# Fuzz targets: with an ordinary main for the corpus and AFL++, and for
# libFuzzer, which brings a main of its own.
$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o \
		$(BUILD)/tests/fuzz/main.o $(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIB_LIBS) -lm

$(BUILD)/tests/fuzz/libfuzzer_%: $(BUILD)/tests/fuzz/fuzz_%.o \
		$(BUILD)/libsoma.a
	@echo "  LINK  $@"
	$(Q)$(LINK) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIB_LIBS) -lm

# These bring their own end of server/web, in place of http.c.
$(foreach name,request oip tfs,$(BUILD)/tests/fuzz/fuzz_$(name) \
	$(BUILD)/tests/fuzz/libfuzzer_$(name)): $(BUILD)/tests/fuzz/web.o

-include $(MAIN_OBJECTS:.o=.d) $(LIB_OBJECTS:.o=.d) \
	$(wildcard $(BUILD)/tests/*/*.d)

## run: build, and serve the shipped models on http://localhost:8080
.PHONY: run
run: deps
	$(Q)$(MAKE) --no-print-directory build
	@echo
	@echo "Paste this into another terminal to get a prediction:"
	@echo
	@echo "  curl -H 'Content-Type: image/png' --data-binary @$(CURDIR)/models/samples/ankle-boot.png http://localhost:8080/models/fashion/predict"
	@echo
	$(Q)$(BUILD)/soma serve --listen $(or $(LISTEN),127.0.0.1:8080) \
		--models models --default-model mnist --data build/data

## test: build and run every test (SAN=address,undefined or SAN=thread too)
.PHONY: test tests
test: test-deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)BUILD=$(BUILD) sh tests/run.sh

# Everything that tests/run.sh runs.
tests: $(BUILD)/soma $(UNIT_TESTS) $(HTTP_TESTS) $(FUZZ_TARGETS)

## formats: files of the real exporters (PyTorch, scikit-learn, Keras), from PyPI
.PHONY: formats
formats: test-deps
	$(Q)sh tests/install.sh python3 python3-venv binutils
	$(Q)$(MAKE) --no-print-directory build
	$(Q)sh tests/formats/run.sh $(BUILD)/soma build/formats

# Prometheus is 100 MB, and the rest comes from PyPI.
build/tools-venv/installed: tests/tools/requirements.txt
	@rm -rf $(@D) && mkdir -p build
	$(Q)python3 -m venv $(@D) && $(@D)/bin/pip install -q -r $<
	@touch $@

## tools: Prometheus, schemathesis and others against the real program
.PHONY: tools
tools: test-deps
	$(Q)sh tests/install.sh python3 python3-venv prometheus docker-compose \
		iproute2
	$(Q)$(MAKE) --no-print-directory build build/tools-venv/installed
	$(Q)BUILD=$(BUILD) sh tests/tools/run.sh build/tools-venv/bin/python

## crash: kill -9 for ROUNDS=n (100), then each system call failing in turn
.PHONY: crash
ROUNDS ?= 100
crash: test-deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)SOMA=$(BUILD)/soma SOMA_PRELOAD=$(BUILD)/tests/crash/faults.so \
		SOMA_CRASH_ROUNDS=$(ROUNDS) $(BUILD)/tests/crash/test_crash
	$(Q)SOMA=$(BUILD)/soma SOMA_PRELOAD=$(BUILD)/tests/crash/faults.so \
		SOMA_FAULT_STEP=1 $(BUILD)/tests/crash/test_storage

## simulation: replicas in a simulated world, SEEDS=n (100000) runs
.PHONY: simulation
SEEDS ?= 100000
simulation: test-deps
	$(Q)$(MAKE) --no-print-directory $(BUILD)/tests/simulation/test_simulation
	$(Q)SOMA_SIMULATION_SEEDS=$(SEEDS) $(BUILD)/tests/simulation/test_simulation

## experiment: what learning from a stream does to what a model knew
.PHONY: experiment
experiment: test-deps
	$(Q)sh tests/install.sh python3 python3-venv
	$(Q)$(MAKE) --no-print-directory build $(BUILD)/tests/learning/experiment
	$(Q)BUILD=$(BUILD) python3 tests/learning/experiment.py

## fuzz: libFuzzer on every target, MINUTES=n (10) shared among them
.PHONY: fuzz fuzz-brief
MINUTES ?= 10
FUZZ_SAN := address,undefined,fuzzer-no-link
FUZZ_FOLDER := build/clang-$(subst $(comma),-,$(FUZZ_SAN))/tests/fuzz
FUZZ_SECONDS ?= $(shell echo $$(($(MINUTES) * 60 * $$(nproc) / $(words $(FUZZ_NAMES)))))
fuzz: lint-deps
	$(Q)sh tests/install.sh libclang-rt-dev
	$(Q)$(MAKE) --no-print-directory CC=clang SAN=$(FUZZ_SAN) \
		$(FUZZ_NAMES:%=$(FUZZ_FOLDER)/libfuzzer_%)
	$(Q)sh tests/fuzz/run.sh $(FUZZ_FOLDER) $(FUZZ_SECONDS) $(FUZZ_NAMES)

# 5 seconds each from the same seed, for continuous integration.
fuzz-brief:
	$(Q)SEED=1 $(MAKE) --no-print-directory fuzz FUZZ_SECONDS=5

## chaos: replicas, Redis and what is between them broken at random, SECONDS=n
.PHONY: chaos chaos-brief
chaos: SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),600)
chaos: test-deps
	$(Q)sh tests/install.sh python3
	$(Q)$(MAKE) --no-print-directory build
	$(Q)BUILD=$(BUILD) sh tests/replicas/chaos/run.sh $(SECONDS) $(SEED)

# For continuous integration.
chaos-brief:
	$(Q)$(MAKE) --no-print-directory chaos SECONDS=8

## valgrind: memcheck over the unit tests and a server
.PHONY: valgrind
valgrind: test-deps
	$(Q)sh tests/install.sh valgrind
	$(Q)$(MAKE) --no-print-directory build tests
	$(Q)sh tests/valgrind.sh $(BUILD)

## soak: mixed traffic, reloads, pauses and kills for SECONDS=n (3600) at one server
.PHONY: soak soak-brief
soak: SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),3600)
soak: test-deps
	$(Q)sh tests/install.sh python3
	$(Q)$(MAKE) --no-print-directory build
	$(Q)BUILD=$(BUILD) PYTHONPATH=tests/tools \
		python3 tests/soak/soak.py $(SECONDS) $(SEED)

# For continuous integration.
soak-brief:
	$(Q)$(MAKE) --no-print-directory soak SECONDS=20

## fuzz-afl: AFL++ on the JSON target for MINUTES=n
.PHONY: fuzz-afl
AFL_FOLDER := build/afl-clang-fast/tests/fuzz
fuzz-afl: test-deps
	$(Q)sh tests/install.sh afl++
	$(Q)$(MAKE) --no-print-directory CC=afl-clang-fast $(AFL_FOLDER)/fuzz_document
	$(Q)AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 \
		afl-fuzz -V $$(($(MINUTES) * 60)) -t 2000 \
		-i tests/fuzz/corpus/document -o build/fuzz/afl -- \
		$(AFL_FOLDER)/fuzz_document >build/afl.log
	$(Q)grep -E '^(execs_done|edges_found|saved_crashes|saved_hangs) ' \
		build/fuzz/afl/default/fuzzer_stats
	$(Q)grep -q '^saved_crashes *: 0$$' build/fuzz/afl/default/fuzzer_stats

## coverage: lines and branches of core and server that `make test` reaches
.PHONY: coverage
coverage: test-deps
	$(Q)sh tests/install.sh gcovr
	$(Q)$(MAKE) --no-print-directory BUILD=build/coverage \
		CFLAGS="-O1 -g --coverage -fprofile-update=atomic" tests
	$(Q)find build/coverage -name '*.gcda' -delete
	$(Q)BUILD=build/coverage sh tests/run.sh || \
		echo "(another user's program cannot write what it has covered)"
	$(Q)gcovr -r . -f core/ -f server/ --gcov-ignore-parse-errors -j 2 \
		--exclude-throw-branches --print-summary -o build/coverage.txt \
		build/coverage
	@echo "each file, and the lines that are not reached: build/coverage.txt"

## bench: all of the parts below, and one report (ROUNDS=n SECONDS=n)
.PHONY: bench
BENCH_PARTS := bench-limits bench-learning bench-replicas bench-peers \
	bench-training
bench:
	$(Q)for part in $(BENCH_PARTS); do \
		$(MAKE) --no-print-directory $$part || exit 1; \
	done
	$(Q)python3 tests/bench/report.py

## bench-report: what the parts have written to build/, as one report
.PHONY: bench-report
bench-report:
	$(Q)sh tests/install.sh python3
	$(Q)python3 tests/bench/report.py

## bench-limits: serving beside a floor, products beside other libraries
.PHONY: bench-limits
BENCH_PROGRAMS := $(addprefix $(BUILD)/tests/bench/,floor product peak)
bench-limits: test-deps
	$(Q)sh tests/install.sh wrk python3 util-linux libdnnl-dev
	$(Q)$(MAKE) --no-print-directory build $(BENCH_PROGRAMS)
	$(Q)BUILD=$(BUILD) python3 tests/bench/limits.py

## bench-learning: durable teaching over HTTP, and recovery
.PHONY: bench-learning
bench-learning: test-deps
	$(Q)sh tests/install.sh wrk python3 util-linux
	$(Q)$(MAKE) --no-print-directory build $(BUILD)/tests/bench/record
	$(Q)BUILD=$(BUILD) python3 tests/bench/learning.py

## bench-attacks: what good clients notice of bad ones and of overload
.PHONY: bench-attacks
bench-attacks: test-deps
	$(Q)sh tests/install.sh wrk python3 util-linux
	$(Q)$(MAKE) --no-print-directory build
	$(Q)BUILD=$(BUILD) python3 tests/bench/attacks.py

## bench-replicas: replicas on one journal in Redis, what they give and cost
.PHONY: bench-replicas
bench-replicas: test-deps
	$(Q)sh tests/install.sh wrk python3 util-linux
	$(Q)$(MAKE) --no-print-directory build
	$(Q)BUILD=$(BUILD) python3 tests/bench/replicas.py

# Two environments: MLServer wants an older FastAPI than the others.
build/peers-venv/installed: tests/bench/peers/requirements.txt
build/mlserver-venv/installed: tests/bench/peers/mlserver-requirements.txt
build/peers-venv/installed build/mlserver-venv/installed:
	@rm -rf $(@D) && mkdir -p build
	$(Q)python3 -m venv $(@D) && $(@D)/bin/pip install -q -r $<
	@touch $@

build/clients-venv/installed: tests/clients/requirements.txt \
		tests/clients/perf-requirements.txt
	@rm -rf $(@D) && mkdir -p build
	$(Q)python3 -m venv $(@D)
	$(Q)$(@D)/bin/pip install -q -r tests/clients/requirements.txt
	$(Q)$(@D)/bin/pip install -q --no-deps --target $(@D)/perf \
		-r tests/clients/perf-requirements.txt
	@touch $@

## page: the page in a headless Chromium; screenshots in build/page/
.PHONY: page page-deps
PAGE_PACKAGES := chromium chromium-driver python3 python3-venv python3-selenium \
	fonts-dejavu-core
page-deps:
	$(Q)sh tests/install.sh $(PACKAGES) $(PAGE_PACKAGES)

# For axe-core, which the package brings; the rest is Debian's.
build/page-venv/installed: tests/page/requirements.txt
	@rm -rf $(@D) && mkdir -p build
	$(Q)/usr/bin/python3 -m venv $(@D) && \
		$(@D)/bin/pip install -q --no-deps -r $<
	@touch $@

page: page-deps
	$(Q)$(MAKE) --no-print-directory build build/page-venv/installed
	$(Q)BUILD=$(BUILD) /usr/bin/python3 tests/page/test_page.py

## clients: tritonclient, kserve and perf_analyzer, from PyPI, against soma
.PHONY: clients
clients: test-deps
	$(Q)sh tests/install.sh python3 python3-venv libb64-0d
	$(Q)$(MAKE) --no-print-directory build build/clients-venv/installed
	$(Q)sh tests/clients/run.sh $(BUILD) build/clients-venv

## bench-peers: the same requests to other servers, from PyPI
.PHONY: bench-peers
bench-peers: test-deps
	$(Q)sh tests/install.sh wrk python3 python3-venv util-linux
	$(Q)$(MAKE) --no-print-directory build
	$(Q)$(MAKE) --no-print-directory build/peers-venv/installed \
		build/mlserver-venv/installed
	$(Q)BUILD=$(BUILD) python3 tests/bench/peers.py

## bench-training: steps and epochs beside PyTorch, scikit-learn and others
.PHONY: bench-training
bench-training: test-deps
	$(Q)sh tests/install.sh python3 python3-venv python3-torch python3-sklearn
	$(Q)$(MAKE) --no-print-directory build $(BUILD)/tests/bench/step
	$(Q)[ -x build/training-venv/bin/pip ] || { \
		python3 -m venv build/training-venv && \
		build/training-venv/bin/pip install -q numpy river vowpalwabbit; }
	$(Q)BUILD=$(BUILD) python3 tests/bench/training.py

## data: fetch MNIST and CIFAR-10 to data/ (DATA=folder: from there)
.PHONY: data
data:
	$(Q)sh tests/install.sh curl xz-utils
	$(Q)sh models/fetch-data.sh $(DATA)

## models: train all shipped models again (needs `make data`)
.PHONY: models
models: deps
	$(Q)sh tests/install.sh dataset-fashion-mnist opencv-doc \
		python3-pil
	$(Q)$(MAKE) --no-print-directory build
	$(Q)SOMA=$(BUILD)/soma sh models/train.sh

## docker: build the container image soma
.PHONY: docker
docker:
	docker build -f docker/Dockerfile -t soma .

## format: lay out all sources by .clang-format
.PHONY: format lint
SOURCES = $(shell git ls-files '*.c' '*.h')
format: lint-deps
	$(Q)clang-format -i $(SOURCES)

## lint: clang-format, cppcheck, clang-tidy, gcc -fanalyzer, shellcheck, layers
lint: lint-deps
	$(Q)$(MAKE) --no-print-directory $(BUILD)/libsoma.a
	$(Q)CPPFLAGS="$(CPPFLAGS) $(LIB_CFLAGS)" BUILD=$(BUILD) sh tests/lint.sh

## install: copy the program and the models below PREFIX (/usr/local)
.PHONY: install
install: build
	install -D -m 755 $(BUILD)/soma $(DESTDIR)$(PREFIX)/bin/soma
	install -d $(DESTDIR)$(PREFIX)/share/soma/models
	install -m 644 models/*.safetensors $(DESTDIR)$(PREFIX)/share/soma/models

## clean: remove build/
.PHONY: clean
clean:
	$(Q)rm -rf build
