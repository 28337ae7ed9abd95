/* rows.cu - sums along a row on a GPU, in the order that NUMERICS.md gives: 16 lanes, lane j with
 * the elements j, 16+j, 32+j, ..; then the lanes are folded. */
#ifndef ROWS_CU
#define ROWS_CU
#include "machine.cu"

/* A sum along a row has 16 lanes, lane j with the elements j, 16+j, ..: so 16 neighbouring threads
 * have a row, ROWS_TOGETHER rows a block. */
enum { LANES = 16, ROWS_TOGETHER = THREADS / LANES };
#define LAUNCH_ROWS(kernel, rows, ...) \
    LAUNCH(kernel, blocks_of(rows, ROWS_TOGETHER), THREADS, __VA_ARGS__, rows)

__device__ static int my_lane(void) { return threadIdx.x % LANES; }
__device__ static int my_row(void)  { return (int)(my_number() / LANES); }

// lane[j] += lane[j+h] for h = 8, 4, 2, 1; all threads of the warp call it, all have the sum.
template <class X> __device__ static X fold(X lane) {
    for (int h = LANES / 2; h > 0; h /= 2) lane += __shfl_down_sync(~0u, lane, h, LANES);
    return __shfl_sync(~0u, lane, 0, LANES);
}
#endif
