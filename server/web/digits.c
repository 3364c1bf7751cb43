/* Why not a loop over the digits: the branches on each number's length are
 * mispredicted for every other pixel, and cost more than all the rest. Here
 * 64 bytes are classified at once into bit masks (the way of simdjson,
 * Langdale and Lemire, "Parsing gigabytes of JSON per second", 2019), and for
 * each byte is computed what number it would end if it were the comma behind
 * one; then those that are commas are picked out. A row of 3072 pixels takes
 * 0.6 of the loop's time with AVX2, which picks them one by one, and 0.35 with
 * AVX-512 (VBMI2), which has an instruction for it.
 *
 * What is taken here is taken by the rules of JSON: one to three digits, no
 * zero in front of others, a comma directly behind, at most one space behind
 * that. Anything else ends it. */
#include "server/web/digits.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <stdint.h>

enum {
    BLOCK = 64,
    BEFORE = 4, /* bytes before a block that are looked at */
    PICKED = 8, /* numbers picked out without asking how many there are */
    WORDS = 512 /* picked before they are made floats: at once, that would
                   wait for the stores of single ones */
};

#define AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))
#define AVX512                                                                 \
    __attribute__((target("avx512f,avx512bw,avx512vbmi2,bmi,bmi2,popcnt,"      \
                          "lzcnt")))

typedef struct masks {
    uint64_t digits, zeros, commas, spaces;
} masks;

AVX2 static inline __m256i
load(const char *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

AVX2 static inline uint64_t
bits(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

/* Bytes that are digits: all ones. `value` is theirs less '0'. */
AVX2 static inline __m256i
are_digits(__m256i value)
{
    return _mm256_cmpeq_epi8(_mm256_min_epu8(value, _mm256_set1_epi8(9)),
                             value);
}

AVX2 static inline masks
classify(const char *at)
{
    const __m256i zero = _mm256_set1_epi8('0');
    const __m256i comma = _mm256_set1_epi8(',');
    const __m256i space = _mm256_set1_epi8(' ');
    __m256i a = load(at), b = load(at + BLOCK / 2);
    return (masks){
        .digits = bits(are_digits(_mm256_sub_epi8(a, zero)),
                       are_digits(_mm256_sub_epi8(b, zero))),
        .zeros = bits(_mm256_cmpeq_epi8(a, zero), _mm256_cmpeq_epi8(b, zero)),
        .commas =
            bits(_mm256_cmpeq_epi8(a, comma), _mm256_cmpeq_epi8(b, comma)),
        .spaces =
            bits(_mm256_cmpeq_epi8(a, space), _mm256_cmpeq_epi8(b, space))};
}

/* The mask moved on by n bytes; what the block before ended with comes in. */
static inline uint64_t
moved(uint64_t mask, uint64_t before, int n)
{
    return mask << n | before >> (BLOCK - n);
}

/* Bytes that are not as the head of this file says: a number's at the comma
 * behind it. */
static inline uint64_t
violations(const masks *m, const masks *before)
{
    uint64_t d1 = moved(m->digits, before->digits, 1);
    uint64_t d2 = moved(m->digits, before->digits, 2);
    uint64_t d3 = moved(m->digits, before->digits, 3);
    uint64_t d4 = moved(m->digits, before->digits, 4);
    uint64_t z2 = moved(m->zeros, before->zeros, 2);
    uint64_t z3 = moved(m->zeros, before->zeros, 3);
    uint64_t long_one = d2 & d3 & d4;
    uint64_t zero_first = (z2 & ~d3) | (d2 & z3 & ~d4);
    return ~(m->digits | m->commas | m->spaces) |
           (m->commas & (~d1 | long_one | zero_first)) |
           (m->spaces & ~moved(m->commas, before->commas, 1));
}

/* For each of 32 bytes the number of up to three digits that stands before
 * it, if at least one does. */
AVX2 static inline void
values_before(const char *at, uint16_t values[32])
{
    const __m256i zero = _mm256_set1_epi8('0');
    const __m256i tens = _mm256_setr_epi8(0, 10, 20, 30, 40, 50, 60, 70, 80, 90,
                                          0, 0, 0, 0, 0, 0, 0, 10, 20, 30, 40,
                                          50, 60, 70, 80, 90, 0, 0, 0, 0, 0, 0);
    const __m256i weights = _mm256_set1_epi16(100 << 8 | 1);
    __m256i d1 = _mm256_sub_epi8(load(at - 1), zero);
    __m256i d2 = _mm256_sub_epi8(load(at - 2), zero);
    __m256i d3 = _mm256_sub_epi8(load(at - 3), zero);
    __m256i two = are_digits(d2);
    __m256i three = _mm256_and_si256(two, are_digits(d3));
    d2 = _mm256_shuffle_epi8(tens, _mm256_and_si256(d2, two));
    d3 = _mm256_and_si256(d3, three);
    __m256i low = _mm256_add_epi8(d1, d2);
    __m256i a = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(low, d3), weights);
    __m256i b = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(low, d3), weights);
    __m256i *to = (__m256i *)(void *)values;
    _mm256_storeu_si256(to, _mm256_permute2x128_si256(a, b, 0x20));
    _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(a, b, 0x31));
}

/* The values at these places. May write PICKED too many. */
AVX2 static inline void
pick(const uint16_t *values, uint64_t places, uint16_t *words)
{
    for (; places; words += PICKED)
        for (int i = 0; i < PICKED; i++) {
            words[i] = values[_tzcnt_u64(places) & (BLOCK - 1)];
            places = _blsr_u64(places);
        }
}

AVX2 static inline void
to_floats(const uint16_t *words, size_t count, float *to)
{
    for (size_t i = 0; i < count; i += 8) {
        __m128i eight =
            _mm_loadu_si128((const __m128i *)(const void *)(words + i));
        _mm256_storeu_ps(to + i,
                         _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(eight)));
    }
}

/* The commas before the first violation, if there is one. */
static inline uint64_t
good_commas(const masks *m, uint64_t bad)
{
    return m->commas & ((bad & -bad) - 1);
}

AVX2 static const char *
read_avx2(const char *at, const char *end, float *to, size_t room,
          size_t *count)
{
    uint16_t words[WORDS + PICKED + BLOCK / 2], values[BLOCK];
    masks before = {0, 0, 0, 0}; /* no digit, and no space may follow */
    const char *taken = at;      /* behind the last comma */
    size_t used = 0, done = 0;
    for (uint64_t bad = 0; !bad && end - at >= BLOCK; at += BLOCK) {
        if (room - done < used + BLOCK / 2 + 8)
            break;
        if (used > WORDS - BLOCK / 2) {
            to_floats(words, used, to + done);
            done += used;
            used = 0;
        }
        masks m = classify(at);
        bad = violations(&m, &before);
        uint64_t commas = good_commas(&m, bad);
        values_before(at, values);
        values_before(at + BLOCK / 2, values + BLOCK / 2);
        pick(values, commas, words + used);
        used += (size_t)_mm_popcnt_u64(commas);
        if (commas)
            taken = at + BLOCK - _lzcnt_u64(commas);
        before = m;
    }
    to_floats(words, used, to + done);
    *count = done + used;
    return taken;
}

/* ---- The same with AVX-512 ---- */

AVX512 static inline __m512i
load_block(const char *at)
{
    return _mm512_loadu_si512((const void *)at);
}

/* The same from masked comparisons of the bytes before each, read again at
 * their places: half the instructions of shifting masks. Writes the numbers
 * that end in a block before its first violation, and more behind them: as
 * many as a block can have. Of each the last two digits, and the first of
 * three, are picked out as a byte. Returns the commas behind them. */
AVX512 static inline uint64_t
read_block(const char *at, float *to, uint64_t *bad)
{
    const __m512i zero = _mm512_set1_epi8('0'), nine = _mm512_set1_epi8(9);
    const __m512i comma = _mm512_set1_epi8(',');
    const __m512i tens = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 0, 0, 0, 0, 0, 0));
    __m512i here = load_block(at), last = load_block(at - 1);
    __m512i d1 = _mm512_sub_epi8(last, zero);
    __m512i d2 = _mm512_sub_epi8(load_block(at - 2), zero);
    __m512i d3 = _mm512_sub_epi8(load_block(at - 3), zero);
    __m512i d4 = _mm512_sub_epi8(load_block(at - 4), zero);

    __mmask64 commas = _mm512_cmpeq_epi8_mask(here, comma);
    __mmask64 spaces = _mm512_cmpeq_epi8_mask(here, _mm512_set1_epi8(' '));
    __mmask64 others = _mm512_mask_cmpgt_epu8_mask(
        ~(commas | spaces), _mm512_sub_epi8(here, zero), nine);
    __mmask64 stray = _mm512_mask_cmpneq_epi8_mask(spaces, last, comma);
    __mmask64 empty = _mm512_mask_cmpgt_epu8_mask(commas, d1, nine);
    __mmask64 two = _mm512_mask_cmple_epu8_mask(commas, d2, nine);
    __mmask64 three = _mm512_mask_cmple_epu8_mask(two, d3, nine);
    __mmask64 four = _mm512_mask_cmple_epu8_mask(three, d4, nine);
    __mmask64 zero2 = _mm512_mask_testn_epi8_mask(two & ~three, d2, d2);
    __mmask64 zero3 = _mm512_mask_testn_epi8_mask(three, d3, d3);
    *bad = others | stray | empty | four | zero2 | zero3;
    commas &= (*bad & -*bad) - 1;

    __m512i low = _mm512_add_epi8(d1, _mm512_maskz_shuffle_epi8(two, tens, d2));
    __m512i high = _mm512_maskz_mov_epi8(three, d3);
    low = _mm512_maskz_compress_epi8(commas, low);
    high = _mm512_maskz_compress_epi8(commas, high);
    __m512i value = _mm512_add_epi16(
        _mm512_cvtepu8_epi16(_mm512_castsi512_si256(low)),
        _mm512_maddubs_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(high)),
                             _mm512_set1_epi16(100)));
    __m512i first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(value));
    __m512i second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(value, 1));
    _mm512_storeu_ps(to, _mm512_cvtepi32_ps(first));
    /* Rare behind spaces, and these stores are the dearest part. */
    if (_mm_popcnt_u64(commas) > BLOCK / 4)
        _mm512_storeu_ps(to + BLOCK / 4, _mm512_cvtepi32_ps(second));
    return commas;
}

AVX512 static const char *
read_avx512(const char *at, const char *end, float *to, size_t room,
            size_t *count)
{
    const char *taken = at;
    size_t done = 0;
    for (uint64_t bad = 0; !bad && end - at >= BLOCK; at += BLOCK) {
        if (room - done < BLOCK / 2)
            break;
        uint64_t commas = read_block(at, to + done, &bad);
        done += (size_t)_mm_popcnt_u64(commas);
        if (commas)
            taken = at + BLOCK - _lzcnt_u64(commas);
    }
    *count = done;
    return taken;
}

/* ---- Which of them ---- */

static soma_digits_way most = SOMA_DIGITS_AVX512;

void
soma_digits_limit(soma_digits_way way)
{
    most = way;
}

soma_digits_way
soma_digits_best(void)
{
    /* Every CPU with these has the bit instructions too. */
    if (__builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vbmi2"))
        return SOMA_DIGITS_AVX512;
    return __builtin_cpu_supports("avx2") ? SOMA_DIGITS_AVX2 : SOMA_DIGITS_NONE;
}

const char *
soma_digits_read(const char *begin, const char *at, const char *end, float *to,
                 size_t room, size_t *count)
{
    soma_digits_way best = soma_digits_best(), way = best < most ? best : most;
    *count = 0;
    if (way == SOMA_DIGITS_NONE || at - begin < BEFORE)
        return at;
    at = way == SOMA_DIGITS_AVX512 ? read_avx512(at, end, to, room, count)
                                   : read_avx2(at, end, to, room, count);
    return at + (*count && *at == ' ');
}

#else

void
soma_digits_limit(soma_digits_way way)
{
    (void)way;
}

soma_digits_way
soma_digits_best(void)
{
    return SOMA_DIGITS_NONE;
}

const char *
soma_digits_read(const char *begin, const char *at, const char *end, float *to,
                 size_t room, size_t *count)
{
    (void)begin, (void)end, (void)to, (void)room;
    *count = 0;
    return at;
}

#endif
