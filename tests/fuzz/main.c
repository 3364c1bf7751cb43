#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST = 16 << 20 };

static int inputs;

static void
run_stream(FILE *from, const char *name)
{
    uint8_t *data = malloc(MOST);
    if (!data || !from) {
        fprintf(stderr, "%s: cannot be read\n", name);
        exit(1);
    }
    size_t size = fread(data, 1, MOST, from);
    /* An allocation of just this size, so that ASan sees a byte too far. */
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        exit(1);
    memcpy(exact, data, size);
    free(data);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    inputs++;
}

static void
run_path(const char *path)
{
    struct stat st;
    struct dirent **entries;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        int count = scandir(path, &entries, NULL, alphasort);
        for (int i = 0; i < count; i++) {
            char inside[PATH_MAX];
            snprintf(inside, sizeof inside, "%s/%s", path, entries[i]->d_name);
            if (entries[i]->d_name[0] != '.')
                run_path(inside);
            free(entries[i]);
        }
        if (count >= 0)
            free(entries);
        return;
    }
    FILE *file = fopen(path, "rb");
    run_stream(file, path);
    fclose(file);
}

int
main(int argc, char **argv)
{
    if (argc < 2)
        run_stream(stdin, "standard input");
    for (int i = 1; i < argc; i++)
        run_path(argv[i]);
    printf("%d inputs\n", inputs);
    return inputs == 0;
}
