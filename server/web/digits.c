/* Why not a loop over the digits: the branches on each number's length are
 * mispredicted for every other pixel, and cost more than all the rest. Here
 * 64 bytes are classified at once into bit masks, in which a number's start
 * and the comma behind it are found without a branch (the way of simdjson,
 * Langdale and Lemire, "Parsing gigabytes of JSON per second", 2019); its
 * digits are then shifted to one place and weighed four numbers at a time.
 *
 * What is taken here is taken by the rules of JSON: digits, no zero in front,
 * one comma directly behind. Everything else ends the block before it. */
#include "server/web/digits.h"

#ifdef __SSE2__

#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

enum {
    BLOCK = 64,
    MOST = BLOCK / 2, /* numbers that end within a block */
    WORDS = 512,      /* gathered before they are weighed: weighing at once
                         would wait for the stores of single words */
    AHEAD = 8,        /* gathered without asking how many there are */
};

#define INLINE static inline __attribute__((always_inline))

typedef struct masks {
    uint64_t digits, zeros, commas, spaces;
} masks;

INLINE masks
classify(const char *at)
{
    masks m = {0, 0, 0, 0};
    for (int i = 0; i < BLOCK; i += 16) {
        __m128i bytes =
            _mm_loadu_si128((const __m128i *)(const void *)(at + i));
        __m128i value = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
        __m128i digit =
            _mm_cmpeq_epi8(_mm_min_epu8(value, _mm_set1_epi8(9)), value);
        __m128i zero = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('0'));
        __m128i comma = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(','));
        __m128i space = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(' '));
        m.digits |= (uint64_t)(unsigned)_mm_movemask_epi8(digit) << i;
        m.zeros |= (uint64_t)(unsigned)_mm_movemask_epi8(zero) << i;
        m.commas |= (uint64_t)(unsigned)_mm_movemask_epi8(comma) << i;
        m.spaces |= (uint64_t)(unsigned)_mm_movemask_epi8(space) << i;
    }
    return m;
}

/* Bits of bytes that are not as the head of digits.h says. */
INLINE uint64_t
violations(const masks *m, uint64_t starts)
{
    uint64_t known = m->digits | m->commas | m->spaces;
    uint64_t second = m->digits >> 1;
    uint64_t fourth = second & m->digits >> 2 & m->digits >> 3;
    return ~known | (m->commas & ~(m->digits << 1)) |
           (m->spaces & ~(m->commas << 1)) | (~m->digits & 1) |
           (starts & ((m->zeros & second) | fourth));
}

/* The digits of each number as bytes 0, hundreds, tens, ones of a word. May
 * write AHEAD words too many. */
INLINE void
gather(const char *at, uint64_t starts, uint64_t ends, uint32_t *words)
{
    const uint64_t last = (uint64_t)1 << (BLOCK - 1);
    while (ends) {
        for (int i = 0; i < AHEAD; i++) {
            unsigned start = (unsigned)__builtin_ctzll(starts | last);
            unsigned end = (unsigned)__builtin_ctzll(ends | last);
            uint32_t word;
            memcpy(&word, at + start, sizeof word);
            words[i] = word << ((32 - 8 * (end - start)) & 31) & 0x0f0f0f0f;
            starts &= starts - 1;
            ends &= ends - 1;
        }
        words += AHEAD;
    }
}

INLINE void
weigh(const uint32_t *words, size_t count, float *to)
{
    const __m128i low = _mm_set1_epi32(0x00ff00ff);
    for (size_t i = 0; i < count; i += 4) {
        __m128i w = _mm_loadu_si128((const __m128i *)(const void *)(words + i));
        __m128i tens =
            _mm_madd_epi16(_mm_and_si128(w, low), _mm_set1_epi32(10 << 16));
        __m128i rest =
            _mm_madd_epi16(_mm_srli_epi16(w, 8), _mm_set1_epi32(1 << 16 | 100));
        _mm_storeu_ps(to + i, _mm_cvtepi32_ps(_mm_add_epi32(tens, rest)));
    }
}

/* Fills `words` as far as the text and the room go. */
INLINE const char *
gather_blocks(const char *at, const char *end, size_t most, uint32_t *words,
              size_t *count)
{
    size_t used = 0;
    /* A word is read at a number's start: up to three bytes behind. */
    while (end - at >= BLOCK + 4 && used + MOST <= most) {
        masks m = classify(at);
        uint64_t starts = m.digits & ~(m.digits << 1);
        uint64_t bad = violations(&m, starts);
        uint64_t ends = m.commas & (bad ? (bad & -bad) - 1 : ~(uint64_t)0);
        if (!ends)
            break;
        gather(at, starts, ends, words + used);
        used += (size_t)__builtin_popcountll(ends);
        at += BLOCK - __builtin_clzll(ends);
        at += *at == ' ';
    }
    *count = used;
    return at;
}

INLINE const char *
read_all(const char *at, const char *end, float *to, size_t room, size_t *count)
{
    uint32_t words[WORDS + AHEAD + 4] = {0};
    size_t used = 0, found;
    do {
        size_t left = room - used < 4 ? 0 : room - used - 4;
        at = gather_blocks(at, end, left < WORDS ? left : WORDS, words, &found);
        weigh(words, found, to + used);
        used += found;
    } while (found);
    *count = used;
    return at;
}

__attribute__((target("bmi,popcnt,lzcnt,avx2"))) static const char *
read_avx2(const char *at, const char *end, float *to, size_t room,
          size_t *count)
{
    return read_all(at, end, to, room, count);
}

const char *
soma_digits_read(const char *at, const char *end, float *to, size_t room,
                 size_t *count)
{
    /* Every CPU with AVX2 has the bit instructions, which this is about. */
    if (__builtin_cpu_supports("avx2"))
        return read_avx2(at, end, to, room, count);
    return read_all(at, end, to, room, count);
}

#else

const char *
soma_digits_read(const char *at, const char *end, float *to, size_t room,
                 size_t *count)
{
    (void)end, (void)to, (void)room;
    *count = 0;
    return at;
}

#endif
