/* The inner product for one instruction set: kernel_<set>.c includes it behind
 * kernel_product.h, of whose names it needs also
 *
 *     DOT              what the product is called
 *
 * SUMS sums, sum k of the elements k, k + SUMS, ..., each by fused multiply-
 * adds; then the upper half of the sums is added to the lower until one is
 * left, and last what does not fill all SUMS. The set does not change that.
 */
enum { SUMS = 32 };

TARGET float
DOT(const float *a, const float *b, int count)
{
    lanes sum[SUMS / LANES];
    float last[LANES], rest = 0;
    int i = 0;
    UNROLLED
    for (int k = 0; k < SUMS / LANES; k++)
        sum[k] = spread(0);
    for (; i + SUMS <= count; i += SUMS)
        UNROLLED
    for (int k = 0; k < SUMS / LANES; k++)
        sum[k] =
            fused(load(a + i + k * LANES), load(b + i + k * LANES), sum[k]);
    for (; i < count; i++)
        rest = fused_one(a[i], b[i], rest);
    UNROLLED
    for (int half = SUMS / LANES / 2; half > 0; half /= 2)
        UNROLLED
    for (int k = 0; k < half; k++)
        sum[k] = sum[k] + sum[k + half];
    store(last, sum[0]);
    UNROLLED
    for (int half = LANES / 2; half > 0; half /= 2)
        UNROLLED
    for (int k = 0; k < half; k++)
        last[k] += last[k + half];
    return last[0] + rest;
}
