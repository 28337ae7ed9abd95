/* narrow.cu - matrices that are not trained and lie in the formats of their file (blocks.h), on a
 * GPU: a matrix is widened to numbers before it is read, so its products have their bits. */
#ifndef NARROW_CU
#define NARROW_CU
#include "machine.cu"

// The values of a block, or the one value, at bytes.
__device__ static void decode_block(float *x, const unsigned char *bytes, Dtype dtype) {
    switch (dtype) {
    case F32:  x[0] = float_of(little_endian_32(bytes));       break;
    case F16:  x[0] = half_at(bytes);                          break;
    case BF16: x[0] = float_of(little_endian_16(bytes) << 16); break;
    case F64:  x[0] = double_at(bytes);                        break;
    case Q8_0: decode_q8_0(x, bytes);                          break;
    case Q4_0: decode_halves(x, bytes, 0, 0);                  break;
    case Q4_1: decode_halves(x, bytes, 1, 0);                  break;
    case Q5_0: decode_halves(x, bytes, 0, 1);                  break;
    case Q5_1: decode_halves(x, bytes, 1, 1);                  break;
    case Q4_K: decode_q4_k(x, bytes);                          break;
    case Q6_K: decode_q6_k(x, bytes);                          break;
    default:   break;
    }
}
// A thread for each of n blocks, of so many bytes and values.
__global__ static void widen_kernel(real *out, const unsigned char *bytes, Dtype dtype, size_t size,
                                    size_t values, size_t n) {
    const size_t i = my_number();
    float x[MAX_BLOCK];
    if (i >= n) return;
    decode_block(x, bytes + i*size, dtype);
    for (size_t k = 0; k < values; k++) out[i*values + k] = x[k];
}

// out(rows,C) = all of w, part after part
static void widen(real *out, const Narrow *w, int C) {
    for (int p = 0; p < MAX_NARROW_PARTS; p++) {
        const Dtype dtype = w->part[p].dtype;
        const size_t numbers = (size_t)w->part[p].rows * (size_t)C, values = dtype_block(dtype);
        const unsigned char *bytes = w->part[p].bytes;
        LAUNCH_EACH(widen_kernel, numbers / values, out, bytes, dtype, dtype_size(dtype), values);
        out += numbers;
    }
}

// w(rows,C) as numbers, until the next narrow matrix is asked for
static const real *widened(const Narrow *w, int C) {
    size_t rows = 0;
    for (int p = 0; p < MAX_NARROW_PARTS; p++) rows += w->part[p].rows;
    real *out = (real *)scratch(SCRATCH_MATRIX, rows * (size_t)C * sizeof *out);
    widen(out, w, C);
    return out;
}

void narrow_write(unsigned char *to, const unsigned char *host, size_t n) {
    if (n == 0) return;
    checked(cudaMemcpy(to, host, n, cudaMemcpyHostToDevice), "cudaMemcpy of %zu bytes to the GPU",
            n);
}

// host(rows,n) = w[row ..][first ..] of w(..,C): the rows come back as they are
void narrow_read(real *host, const Narrow *w, int C, int row, int rows, int first, int n) {
    real *whole = (real *)allocate(C, sizeof *whole);
    unsigned char *bytes = (unsigned char *)allocate(C, sizeof(double));
    if (!whole || !bytes) checked(cudaErrorMemoryAllocation, "a row of %d numbers", C);
    for (int r = row, p = 0, above = 0; r < row + rows; r++, host += n) {
        while (r >= above + w->part[p].rows) {
            above += w->part[p].rows;
            p++;
        }
        const size_t size = dtype_row_size(w->part[p].dtype, C);
        const unsigned char *from = w->part[p].bytes + (size_t)(r - above)*size;
        checked(cudaMemcpy(bytes, from, size, cudaMemcpyDeviceToHost), "cudaMemcpy of %zu bytes",
                size);
        dtype_decode_row(w->part[p].dtype, whole, bytes, C);
        memcpy(host, whole + first, n * sizeof *host);
    }
    free(whole);
    free(bytes);
}
#endif
