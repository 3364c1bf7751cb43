/* Fuzz targets: one file each, with the entry point that libFuzzer calls.
 * main.c gives a target an ordinary main, which runs it over files and
 * folders (the corpus, in `make test`) or standard input (AFL++). */
#ifndef SOMA_TESTS_FUZZ_H
#define SOMA_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
