/* States of learning, as checkpoints and adoptions hold them, whose digests
 * are right but which no soma has written: a good one, patched as the input
 * says (learners.h). It is refused, or learning goes on with finite weights. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/learners.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static soma_model *base;
    static soma_memory kept;
    static unsigned char *good;
    static size_t good_size;
    if (!good) {
        base = learners_model();
        kept = learners_memory();
        soma_learner *learner = learners_taught(base, &kept, 10);
        good_size = soma_learner_state_size(learner);
        good = malloc(good_size);
        must(good);
        soma_learner_save(learner, good);
        soma_learner_free(learner);
    }
    soma_error err = {SOMA_OK, ""};
    soma_bytes state = files_bytes(good, good_size);
    state.size = learners_patch(data, size, state.data, state.size);
    soma_learner *learner = learners_taught(base, &kept, 0);
    /* An allocation of just this size, so that ASan sees a byte too far. */
    state.data = realloc(state.data, state.size ? state.size : 1);
    must(state.data);
    soma_status status =
        soma_learner_load(learner, state.data, state.size, &err);
    files_explained(status, &err);
    if (!status)
        learners_go_on(learner, 11);
    soma_learner_free(learner);
    soma_bytes_free(&state);
    return 0;
}
