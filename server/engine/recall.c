#include "server/engine/recall.h"

#include "core/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* 96 random bits. */
typedef struct id {
    uint32_t words[3];
} id;

typedef struct soma_recall_slot {
    id id;
    int64_t since;
    soma_recalled answer;
    bool labelled;
    bool bytes; /* the values are one byte each, else float32 */
    void *x;    /* [size], malloc'ed */
} slot;

int64_t
soma_recall_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void
soma_recall_init(soma_recall *recall, int size, int room, long seconds)
{
    *recall = (soma_recall){.size = size, .room = room, .age = seconds};
    pthread_mutex_init(&recall->lock, NULL);
}

void
soma_recall_free(soma_recall *recall)
{
    for (uint64_t i = recall->oldest; i < recall->next; i++)
        free(recall->slots[i % (uint64_t)recall->room].x);
    free(recall->slots);
    free(recall->index);
    if (recall->size)
        pthread_mutex_destroy(&recall->lock);
    *recall = (soma_recall){.size = 0};
}

/* ---- Ids ---- */

static void
print_id(const id *from, char text[SOMA_RECALL_ID + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < SOMA_RECALL_ID; i++)
        text[i] = digits[from->words[i / 8] >> (28 - i % 8 * 4) & 15];
    text[SOMA_RECALL_ID] = '\0';
}

static bool
parse_id(const char *text, id *to)
{
    *to = (id){{0, 0, 0}};
    if (strlen(text) != SOMA_RECALL_ID)
        return false;
    for (int i = 0; i < SOMA_RECALL_ID; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        uint32_t digit = (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        to->words[i / 8] = to->words[i / 8] << 4 | digit;
    }
    return true;
}

/* ---- The index: twice as many places as slots, so that chains are short ----
 */

static int
places(const soma_recall *recall)
{
    return 2 * recall->room + 1;
}

/* Where the id stands, or the free place where it would. */
static int
place_of(const soma_recall *recall, const id *wanted)
{
    int all = places(recall);
    int at = (int)(wanted->words[0] % (uint32_t)all);
    while (recall->index[at] >= 0 &&
           memcmp(&recall->slots[recall->index[at]].id, wanted, sizeof *wanted))
        at = (at + 1) % all;
    return at;
}

/* Takes an id out, and moves back what its absence would hide. */
static void
take_out(soma_recall *recall, const id *gone)
{
    int all = places(recall), free_place = place_of(recall, gone);
    recall->index[free_place] = -1;
    for (int at = (free_place + 1) % all; recall->index[at] >= 0;
         at = (at + 1) % all) {
        int moved = recall->index[at];
        recall->index[at] = -1;
        recall->index[place_of(recall, &recall->slots[moved].id)] = moved;
    }
}

static slot *
find(soma_recall *recall, const char *text)
{
    id wanted;
    if (!recall->slots || !parse_id(text, &wanted))
        return NULL;
    int at = recall->index[place_of(recall, &wanted)];
    return at < 0 ? NULL : &recall->slots[at];
}

/* ---- Remembering and forgetting ---- */

static slot *
slot_at(soma_recall *recall, uint64_t number)
{
    return &recall->slots[number % (uint64_t)recall->room];
}

/* The oldest, while there are too many of them or they are too old. */
static void
forget(soma_recall *recall, int64_t now, bool make_room)
{
    while (recall->oldest < recall->next) {
        slot *s = slot_at(recall, recall->oldest);
        bool full = make_room &&
                    recall->next - recall->oldest == (uint64_t)recall->room;
        if (!full && now - s->since <= recall->age)
            return;
        take_out(recall, &s->id);
        free(s->x);
        s->x = NULL;
        recall->oldest++;
    }
}

static bool
make_slots(soma_recall *recall)
{
    if (recall->slots)
        return true;
    size_t count = (size_t)places(recall);
    recall->slots = calloc((size_t)recall->room, sizeof *recall->slots);
    recall->index = malloc(count * sizeof *recall->index);
    if (recall->slots && recall->index) {
        memset(recall->index, 0xff, count * sizeof *recall->index);
        return true;
    }
    free(recall->slots);
    free(recall->index);
    recall->slots = NULL;
    recall->index = NULL;
    return false;
}

static void *
pack(const float *x, int size, bool *bytes)
{
    float *copy = malloc((size_t)size * sizeof *copy);
    *bytes = copy && soma_memory_pack(x, (size_t)size, (uint8_t *)copy);
    if (*bytes) {
        void *less = realloc(copy, (size_t)size);
        return less ? less : copy;
    }
    if (copy)
        memcpy(copy, x, (size_t)size * sizeof *x);
    return copy;
}

soma_status
soma_recall_put(soma_recall *recall, const float *x,
                const soma_recalled *answer, int64_t now,
                char text[SOMA_RECALL_ID + 1], soma_error *err)
{
    if (recall->room <= 0)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "this server remembers no inputs (--remember)");
    slot fresh = {.since = now, .answer = *answer};
    fresh.x = pack(x, recall->size, &fresh.bytes);
    if (!fresh.x ||
        getrandom(&fresh.id, sizeof fresh.id, 0) != (ssize_t)sizeof fresh.id) {
        free(fresh.x);
        return soma_error_memory(err, "remembering an input");
    }
    pthread_mutex_lock(&recall->lock);
    bool made = make_slots(recall);
    if (made) {
        forget(recall, now, true);
        *slot_at(recall, recall->next) = fresh;
        recall->index[place_of(recall, &fresh.id)] =
            (int)(recall->next % (uint64_t)recall->room);
        recall->next++;
    }
    pthread_mutex_unlock(&recall->lock);
    if (!made) {
        free(fresh.x);
        return soma_error_memory(err, "remembering an input");
    }
    print_id(&fresh.id, text);
    return SOMA_OK;
}

soma_status
soma_recall_get(soma_recall *recall, const char *text, int64_t now, float *x,
                soma_recalled *answer, soma_error *err)
{
    pthread_mutex_lock(&recall->lock);
    forget(recall, now, false);
    const slot *s = find(recall, text);
    if (s) {
        const uint8_t *bytes = s->x;
        *answer = s->answer;
        if (s->bytes)
            for (int i = 0; i < recall->size; i++)
                x[i] = bytes[i];
        else
            memcpy(x, s->x, (size_t)recall->size * sizeof *x);
    }
    pthread_mutex_unlock(&recall->lock);
    if (s)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_NOT_FOUND,
                          "no input \"%.64s\" is remembered: %d are kept, for "
                          "%lld seconds, until the server ends",
                          text, recall->room, (long long)recall->age);
}

void
soma_recall_label(soma_recall *recall, const char *text, int label)
{
    pthread_mutex_lock(&recall->lock);
    slot *s = find(recall, text);
    if (s && !s->labelled) {
        s->labelled = true;
        recall->labelled++;
        recall->right += s->answer.label == label;
    }
    pthread_mutex_unlock(&recall->lock);
}

soma_recall_counts
soma_recall_count(soma_recall *recall, int64_t now)
{
    pthread_mutex_lock(&recall->lock);
    forget(recall, now, false);
    soma_recall_counts counts = {recall->next - recall->oldest,
                                 recall->labelled, recall->right};
    pthread_mutex_unlock(&recall->lock);
    return counts;
}
