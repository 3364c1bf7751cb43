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
	libopenblas-serial-dev libpng-dev libturbojpeg0-dev zlib1g-dev \
	nettle-dev
TEST_PACKAGES := libcmocka-dev libcurl4-openssl-dev dataset-fashion-mnist \
	python3-numpy
DATA ?=
PREFIX ?= /usr/local

LIBS := libmicrohttpd jansson openblas libpng libturbojpeg zlib nettle
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wconversion -Wno-sign-conversion -Wpointer-arith -Wundef \
	-Wwrite-strings -Wformat=2
OPT := $(if $(SAN),-O1 -fno-omit-frame-pointer,-O2)
HARDEN := -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2)
CFLAGS ?= $(OPT) -g $(HARDEN)
CPPFLAGS += -I. -D_GNU_SOURCE
# pkg-config is asked when something is compiled, so that `make deps` works
# before the libraries are there.
LIB_CFLAGS = $(eval LIB_CFLAGS := $(shell pkg-config --cflags $(LIBS)))$(LIB_CFLAGS)
LIB_LIBS = $(eval LIB_LIBS := $(shell pkg-config --libs $(LIBS)))$(LIB_LIBS)
COMPILE = $(CC) -std=gnu11 $(CPPFLAGS) $(CFLAGS) $(WARN) -pthread \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined) \
	$(LIB_CFLAGS) -MMD -MP
LINK = $(CC) $(CFLAGS) $(LDFLAGS) -pthread -Wl,-z,relro,-z,now \
	$(if $(SAN),-fsanitize=$(SAN))

MAIN_SOURCES := server/main.c $(wildcard server/cmd_*.c)
LIB_SOURCES := $(wildcard core/*.c core/io/*.c server/engine/*.c \
	server/web/*.c) $(filter-out $(MAIN_SOURCES),$(wildcard server/*.c))
MAIN_OBJECTS := $(MAIN_SOURCES:%.c=$(BUILD)/%.o)
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/%.o)
UNIT_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
HTTP_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/http/test_*.c))

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
.PHONY: deps test-deps
deps:
	$(Q)sh tests/install.sh $(PACKAGES)

test-deps: deps
	$(Q)sh tests/install.sh $(TEST_PACKAGES)

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

-include $(MAIN_OBJECTS:.o=.d) $(LIB_OBJECTS:.o=.d) $(UNIT_TESTS:=.d) \
	$(wildcard $(BUILD)/tests/*/*.d)

## clean: remove build/
.PHONY: clean
clean:
	$(Q)rm -rf build
