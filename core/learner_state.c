/* The state of learning as bytes, little endian, without gaps:
 *
 *     magic           8  "soma\0st1"; "soma\0st2" by rules from 1 on
 *     trainable       8  floats that SGD changes
 *     settings       48  soma_learning_pack
 *     velocity?       8  0 or 1
 *     kept            8  examples of the base memory
 *     offered         8  examples that the stream's sample is of
 *     stream          8  examples in it
 *     stream bytes?   8  1: their values are bytes, 0: float32
 *     weights            trainable float32
 *     velocity           trainable float32, if there is one
 *     votes              kept int32
 *     opinions           st2: classes x 3 int32, if there is a base memory and
 *                        each class has a score (meaning.h)
 *     progressive        as it stands in memory
 *     hashes             stream uint64
 *     labels             stream int32
 *     values             stream x size bytes or float32
 *
 * Mean and std of the input are not in it: no step changes them.
 */
#include "core/learner_parts.h"

#include <math.h>
#include <string.h>

static const unsigned char MAGICS[2][8] = {
    {'s', 'o', 'm', 'a', 0, 's', 't', '1'},
    {'s', 'o', 'm', 'a', 0, 's', 't', '2'}};

_Static_assert(sizeof(soma_progressive) ==
                   8 * 8 + SOMA_WINDOW * sizeof(soma_prediction),
               "soma_progressive is saved as it stands");
_Static_assert(sizeof(soma_prediction) == 16,
               "soma_prediction is saved as it stands");
_Static_assert(sizeof(soma_opinion) == 12, "soma_opinion is saved as it "
                                           "stands");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the state is little endian");

/* ---- Settings ---- */

void
soma_learning_pack(const soma_learning *settings,
                   unsigned char bytes[SOMA_LEARNING_BYTES])
{
    memset(bytes, 0, SOMA_LEARNING_BYTES);
    bytes[0] = 1; /* format */
    bytes[1] = settings->sgd.nesterov;
    bytes[2] = (unsigned char)settings->rule;
    memcpy(bytes + 4, &settings->sgd.rate, 4);
    memcpy(bytes + 8, &settings->sgd.momentum, 4);
    memcpy(bytes + 12, &settings->sgd.l2, 4);
    memcpy(bytes + 16, &settings->sgd.clip, 4);
    memcpy(bytes + 20, &settings->rehearse, 4);
    memcpy(bytes + 24, &settings->memory, 4);
    memcpy(bytes + 28, &settings->max_steps, 4);
    memcpy(bytes + 32, &settings->hold, 4);
    memcpy(bytes + 36, &settings->pull, 4);
}

soma_status
soma_learning_unpack(const void *from, size_t size, soma_learning *settings,
                     soma_error *err)
{
    const unsigned char *bytes = from;
    if (size != SOMA_LEARNING_BYTES || bytes[0] != 1)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "learning settings: expected %d bytes of format "
                              "1, got %zu",
                              SOMA_LEARNING_BYTES, size);
    *settings =
        (soma_learning){.rule = bytes[2], .sgd = {.nesterov = bytes[1]}};
    memcpy(&settings->sgd.rate, bytes + 4, 4);
    memcpy(&settings->sgd.momentum, bytes + 8, 4);
    memcpy(&settings->sgd.l2, bytes + 12, 4);
    memcpy(&settings->sgd.clip, bytes + 16, 4);
    memcpy(&settings->rehearse, bytes + 20, 4);
    memcpy(&settings->memory, bytes + 24, 4);
    memcpy(&settings->max_steps, bytes + 28, 4);
    memcpy(&settings->hold, bytes + 32, 4);
    memcpy(&settings->pull, bytes + 36, 4);
    return soma_learning_check(settings, err);
}

/* ---- The state ---- */

typedef struct head {
    unsigned char magic[8];
    uint64_t trainable;
    unsigned char settings[SOMA_LEARNING_BYTES];
    uint64_t velocity, kept, offered, stream, bytes;
} head;

_Static_assert(sizeof(head) == 56 + SOMA_LEARNING_BYTES, "no gaps");

static head
head_of(const soma_learner *learner)
{
    const soma_rehearsal *rehearsal = &learner->rehearsal;
    head h = {.trainable = learner->model->spec.trainable,
              .velocity = learner->velocity != NULL,
              .kept = rehearsal->kept ? (uint64_t)rehearsal->kept->count : 0,
              .offered = rehearsal->offered,
              .stream = (uint64_t)rehearsal->stream.count,
              .bytes = rehearsal->stream.bytes != NULL};
    memcpy(h.magic, MAGICS[learner->settings.rule], sizeof h.magic);
    soma_learning_pack(&learner->settings, h.settings);
    return h;
}

/* How many opinions a state by this rule has. */
static size_t
opinions_of(const soma_learner *learner, int rule)
{
    return rule > 0 ? (size_t)learner->rehearsal.meaning.classes : 0;
}

static size_t
size_of(const head *h, size_t opinions, size_t values)
{
    size_t each = h->bytes ? 1 : sizeof(float);
    return sizeof *h + opinions * sizeof(soma_opinion) +
           h->trainable * (1 + h->velocity) * sizeof(float) +
           h->kept * sizeof(int32_t) + sizeof(soma_progressive) +
           h->stream * (sizeof(uint64_t) + sizeof(int32_t) + values * each);
}

size_t
soma_learner_state_size(const soma_learner *learner)
{
    head h = head_of(learner);
    return size_of(&h, opinions_of(learner, learner->settings.rule),
                   (size_t)learner->model->spec.input.size);
}

static unsigned char *
put(unsigned char *to, const void *from, size_t size)
{
    if (size)
        memcpy(to, from, size);
    return to + size;
}

void
soma_learner_save(const soma_learner *learner, unsigned char *to)
{
    const soma_rehearsal *rehearsal = &learner->rehearsal;
    const soma_memory *stream = &rehearsal->stream;
    size_t values = (size_t)learner->model->spec.input.size;
    head h = head_of(learner);
    to = put(to, &h, sizeof h);
    to = put(to, learner->model->params, h.trainable * sizeof(float));
    if (learner->velocity)
        to = put(to, learner->velocity, h.trainable * sizeof(float));
    to = put(to, rehearsal->votes, h.kept * sizeof(int32_t));
    to = put(to, rehearsal->meaning.opinions,
             opinions_of(learner, learner->settings.rule) *
                 sizeof(soma_opinion));
    to = put(to, &learner->progressive, sizeof learner->progressive);
    to = put(to, rehearsal->hashes, h.stream * sizeof(uint64_t));
    to = put(to, stream->labels, h.stream * sizeof(int32_t));
    if (stream->bytes)
        put(to, stream->bytes, h.stream * values);
    else
        put(to, stream->floats, h.stream * values * sizeof(float));
}

static soma_status
check_head(const soma_learner *learner, const head *h, size_t size,
           soma_learning *settings, soma_error *err)
{
    const soma_memory *kept = learner->rehearsal.kept;
    size_t values = (size_t)learner->model->spec.input.size;
    soma_status status =
        soma_learning_unpack(h->settings, sizeof h->settings, settings, err);
    if (status)
        return status;
    if (memcmp(h->magic, MAGICS[settings->rule], sizeof h->magic) ||
        h->trainable != learner->model->spec.trainable || h->velocity > 1 ||
        h->bytes > 1 || h->velocity != (settings->sgd.momentum > 0) ||
        h->kept != (kept ? (uint64_t)kept->count : 0) ||
        h->stream > (uint64_t)settings->memory || h->offered < h->stream ||
        h->offered > INT64_MAX ||
        size != size_of(h, opinions_of(learner, settings->rule), values))
        return soma_error_set(err, SOMA_E_FORMAT,
                              "these %zu bytes are no state of learning of "
                              "this model",
                              size);
    return SOMA_OK;
}

static const unsigned char *
take(const unsigned char *from, void *to, size_t size)
{
    if (size)
        memcpy(to, from, size);
    return from + size;
}

static bool
all_finite(const float *values, size_t count)
{
    for (size_t i = 0; values && i < count; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

/* The state comes from a file whose digest was right, which whoever made the
 * file can see to: no label may be used as an index unseen, and no number that
 * is not finite may come into force. */
static soma_status
check_values(const soma_learner *learner, soma_error *err)
{
    const soma_memory *stream = &learner->rehearsal.stream;
    size_t trainable = learner->model->spec.trainable;
    if (!all_finite(learner->model->params, trainable) ||
        !all_finite(learner->velocity, trainable) ||
        !all_finite(stream->floats,
                    (size_t)stream->count * (size_t)stream->size))
        return soma_error_set(err, SOMA_E_FORMAT,
                              "state of learning: a number that is not finite");
    for (int i = 0; i < stream->count; i++)
        if (stream->labels[i] < 0 ||
            stream->labels[i] >= learner->model->spec.classes)
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "state of learning: label %d, there are %d "
                                  "classes",
                                  stream->labels[i],
                                  learner->model->spec.classes);
    return SOMA_OK;
}

static soma_status
take_stream(soma_rehearsal *rehearsal, const head *h, const unsigned char *from,
            int room, soma_error *err)
{
    soma_memory *stream = &rehearsal->stream;
    stream->count = 0; /* what is there need not be moved */
    soma_status status = soma_rehearsal_resize(rehearsal, room, err);
    if (!status && !h->bytes && stream->bytes)
        status = soma_memory_as_floats(stream, err);
    if (!status && h->bytes && !stream->bytes) {
        int size = stream->size;
        soma_memory_free(stream);
        status = soma_memory_create(stream, size, room, err);
    }
    if (status)
        return status;
    rehearsal->offered = h->offered;
    stream->count = (int)h->stream;
    size_t values = h->stream * (size_t)stream->size;
    from = take(from, rehearsal->hashes, h->stream * sizeof(uint64_t));
    from = take(from, stream->labels, h->stream * sizeof(int32_t));
    if (h->bytes)
        take(from, stream->bytes, values);
    else
        take(from, stream->floats, values * sizeof(float));
    return SOMA_OK;
}

soma_status
soma_learner_load(soma_learner *learner, const unsigned char *from, size_t size,
                  soma_error *err)
{
    head h;
    soma_learning settings = {.rehearse = 0};
    if (size < sizeof h)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%zu bytes are no state of learning", size);
    from = take(from, &h, sizeof h);
    soma_status status = check_head(learner, &h, size, &settings, err);
    if (!status)
        status = soma_learner_configure(learner, &settings, err);
    if (status)
        return status;
    from = take(from, learner->model->params, h.trainable * sizeof(float));
    if (h.velocity)
        from = take(from, learner->velocity, h.trainable * sizeof(float));
    from = take(from, learner->rehearsal.votes, h.kept * sizeof(int32_t));
    from = take(from, learner->rehearsal.meaning.opinions,
                opinions_of(learner, settings.rule) * sizeof(soma_opinion));
    from = take(from, &learner->progressive, sizeof learner->progressive);
    learner->step = (soma_step){0};
    status = take_stream(&learner->rehearsal, &h, from, settings.memory, err);
    soma_rehearsal_recount(&learner->rehearsal);
    if (!status && !soma_meaning_recount(&learner->rehearsal.meaning))
        status = soma_error_set(err, SOMA_E_FORMAT,
                                "state of learning: a class is called by a "
                                "number that is none");
    return status ? status : check_values(learner, err);
}
