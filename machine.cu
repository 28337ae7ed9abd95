/* machine.cu - a GPU as kernels.cu uses it: how a kernel is started, errors, memory, how host
 * arrays get there; and what the commands ask of a machine besides the layers. */
#ifndef MACHINE_CU
#define MACHINE_CU
#include "common.h"
extern "C" {
#include "kernels.h"
#include "pointwise.h"
}
#ifdef _OPENMP
#include <omp.h>
#endif

// START_KERNEL(kernel, grid, threads, arguments ..)
#ifdef __CUDACC__
#define START_KERNEL(kernel, grid, threads, ...) kernel<<<grid, threads>>>(__VA_ARGS__)
#endif

enum { HAS_FMA = 1 };                             // hw of common.h's functions
enum { THREADS = 256 };                           // of a block, where nothing else is said
enum { TENSOR_CORES_SINCE = 8 };                  // sm_80: the first whose tensor cores know bf16

// ------------------------------------------------------------------------------------ errors

// What was started last: an error that shows later is most often its.
static struct {
    const char *name;
    dim3 grid, threads;
} last_kernel;

// Ends the program if a call to CUDA failed; the format says which call, and its sizes.
PRINTF_LIKE(2, 3) static void checked(cudaError_t error, const char *format, ...) {
    if (error == cudaSuccess) return;
    const dim3 g = last_kernel.grid, t = last_kernel.threads;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "more: the GPU failed: ");
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, ": %s", cudaGetErrorString(error));
    if (last_kernel.name) {
        fprintf(stderr, "; started last: %s, %u x %u x %u blocks of %u threads", last_kernel.name,
                g.x, g.y, g.z, t.x);
    }
    fprintf(stderr, " (CUDA_LAUNCH_BLOCKING=1 in the environment shows which kernel it is)\n");
    exit(EX_OSERR);
}

// All that was asked of the GPU is done.
void kernels_wait(void) { checked(cudaDeviceSynchronize(), "cudaDeviceSynchronize"); }

// Tests that look into tensors are compiled so that they may: memory is managed, and nothing is
// under way when a function returns.
#ifdef MORE_CUDA_OPEN
#define MEMORY_CALL cudaMallocManaged
static void started(void) { kernels_wait(); }
#else
#define MEMORY_CALL cudaMalloc
static void started(void) {}
#endif

static void kernel_started(const char *name, dim3 grid, dim3 threads) {
    last_kernel = {name, grid, threads};
    checked(cudaGetLastError(), "%s", name);
    started();
}

// Starts a kernel, unless it has no blocks.
#define LAUNCH(kernel, blocks, threads, ...)                             \
    do {                                                                 \
        const dim3 launched(blocks);                                     \
        if (launched.x > 0 && launched.y > 0 && launched.z > 0) {        \
            START_KERNEL(kernel, launched, threads, __VA_ARGS__);        \
            kernel_started(#kernel, launched, threads);                  \
        }                                                                \
    } while (0)

static unsigned blocks_of(size_t n, size_t size) { return (unsigned)((n + size - 1) / size); }

// One thread for each of n numbers: which is this one's?
__device__ static size_t my_number(void) {
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}
#define LAUNCH_EACH(kernel, n, ...) \
    LAUNCH(kernel, blocks_of(n, THREADS), THREADS, __VA_ARGS__, (size_t)(n))

// ------------------------------------------------------------------------------- the machine

static struct {
    char name[256];                               // empty before kernels_init
    int  multiprocessors;
    int  generation;                              // 8: sm_80 and later, 9: sm_90 ..
    Precision precision;
    int  threads;                                 // of the host
} gpu;

// 0, or -1 after fail(): is there a GPU, and a driver for it?
static int find_gpu(void) {
    int count = 0, version = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorInsufficientDriver) {
        cudaRuntimeGetVersion(&version);
        return fail(EX_OSERR, "no GPU's driver was found, or one older than CUDA %d.%d, with which "
                    "this program was built (make cuda): install a newer one, or build with an "
                    "older CUDA; make clean && make builds for the CPU", version / 1000,
                    version % 1000 / 10);
    }
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
        return fail(EX_OSERR, "no GPU was found, and this program was built for one (make cuda): "
                    "make clean && make builds it for the CPU");
    }
    if (error != cudaSuccess) {
        return fail(EX_OSERR, "the GPU cannot be used: %s", cudaGetErrorString(error));
    }
    return 0;
}

int kernels_init(const char *variant) {
    cudaDeviceProp properties;
    if (!gpu.name[0]) {
        if (find_gpu() < 0) return -1;
        checked(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
        checked(cudaDeviceGetAttribute(&gpu.multiprocessors, cudaDevAttrMultiProcessorCount, 0),
                "cudaDeviceGetAttribute");
        snprintf(gpu.name, sizeof gpu.name, "%s", properties.name);
        gpu.generation = properties.major;
    }
    if (variant && strcmp(variant, "cuda") && strcmp(variant, gpu.name)) {
        return fail(EX_USAGE, "MORE_ISA=%s: unknown here; leave it unset or say cuda", variant);
    }
    return 0;
}

const char *kernels_name(void)         { return gpu.name; }
const char *kernels_variant(int i)     { return i == 0 ? gpu.name : NULL; }
int  kernels_bf16_unit(void)           { return 0; }
const char *kernels_fallback(void)     { return NULL; }
int  kernels_emulate_fma(void)         { return 0; }
void kernels_bound_spinning(char **)   {}

int kernels_precision(Precision precision) {
    if (precision == PRECISION_BF16_FAST && gpu.generation < TENSOR_CORES_SINCE) {
        return fail(EX_USAGE, "--precision bf16-fast is for tensor cores that know bf16, and %s "
                    "has none: --precision bf16 takes the same operands", gpu.name);
    }
    gpu.precision = precision;
    return 0;
}

// The host's threads, for what is not computed on the GPU.
int kernels_threads(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}
void kernels_set_threads(int n) {
#ifdef _OPENMP
    omp_set_num_threads(n);
#else
    (void)n;
#endif
}
void kernels_parallel(int n, size_t numbers, ParallelTask *run, void *context) {
    (void)numbers;
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1) if (numbers > 20000)
    for (int i = 0; i < n; i++) run(context, i, omp_get_thread_num());
#else
    for (int i = 0; i < n; i++) run(context, i, 0);
#endif
}

// ------------------------------------------------------------------------------------ memory

static size_t arena_size(void);

// Bytes that tensors and scratch may still take: a part is kept for what the driver rounds up.
double kernels_memory(void) {
    size_t left, all;
    checked(cudaMemGetInfo(&left, &all), "cudaMemGetInfo");
    return (double)(left - left / 128 + arena_size());
}

real *kernels_alloc(size_t n) {
    const size_t size = n * sizeof(real);
    const int too_many = n > SIZE_MAX / sizeof(real) - 256;         // size has wrapped around
    void *p = NULL;
    if (too_many || MEMORY_CALL(&p, size > 0 ? size : 1) != cudaSuccess) {
        cudaGetLastError();                       // it has been told
        fail(EX_OSERR, "out of memory on the GPU: a tensor of %zu numbers, %.2f GiB are free", n,
             kernels_memory() / 1073741824.0);
        return NULL;
    }
    kernels_zero((real *)p, n);
    return (real *)p;
}

void kernels_free(real *tensor) { checked(cudaFree(tensor), "cudaFree"); }

void kernels_zero(real *tensor, size_t n) {
    const size_t size = n * sizeof *tensor;
    if (n) checked(cudaMemsetAsync(tensor, 0, size), "cudaMemsetAsync of %zu bytes", size);
    started();
}

void kernels_read(real *host, const real *tensor, size_t n) {
    const size_t size = n * sizeof *host;
    if (n == 0) return;
    checked(cudaMemcpy(host, tensor, size, cudaMemcpyDeviceToHost),
            "cudaMemcpy of %zu bytes from the GPU", size);
}

/* Memory of the GPU for what is needed within one call: arrays that came up, numbers, a narrow
 * matrix as numbers, both sides of a product rounded to bf16.  kernels_reserve makes one arena of
 * them before a run; what is larger than it was told, or comes before, has memory of its own. */
enum { SCRATCH_RING, SCRATCH_NUMBERS, SCRATCH_MATRIX, SCRATCH_A, SCRATCH_B, NUM_SCRATCHES };
enum { LINE = 64 };                               // bytes; each part begins with one
static struct {
    char *memory;                                 // the parts', but for those that have their own
    struct { char *at; size_t size; int is_own; } part[NUM_SCRATCHES];
} arena;

static size_t arena_size(void) {
    size_t sum = 0;
    for (int i = 0; i < NUM_SCRATCHES; i++) sum += arena.part[i].size;
    return sum;
}

static void *scratch(int which, size_t size) {
    auto *part = &arena.part[which];
    if (size <= part->size) return part->at;
    size = (size + LINE - 1) / LINE * LINE;
    if (part->is_own) checked(cudaFree(part->at), "cudaFree");
    checked(MEMORY_CALL((void **)&part->at, size), "cudaMalloc of %zu bytes", size);
    part->size = size;
    part->is_own = 1;
    return part->at;
}

/* Arrays of the host (tokens, rows, segments) go up through a ring: pinned memory, and as much on
 * the GPU.  Those of one call lie side by side, and one copy takes them.  The program waits only
 * when the ring has gone round, because the copies that lie there may not have been made.
 *
 *     upload_begin(bytes of all)    upload(array, n) ..    upload_end()    LAUNCH .. */
static struct {
    char *host, *gpu;
    size_t size, used, begin, end;                // the call's arrays lie from begin, to end
} ring;
enum { RING = 4 << 20, UPLOADS = 8, ALIGN = 16 };           // bytes; arrays of a call at most
enum { BLOCK_SIZE = 256 };                        // bytes of a block of attention's, twice

static void upload_begin(size_t bytes) {
    bytes += UPLOADS * ALIGN;
    if (ring.used + bytes > ring.size) {
        kernels_wait();
        ring.used = 0;
    }
    if (bytes > ring.size) {
        checked(cudaFreeHost(ring.host), "cudaFreeHost");
        ring.size = max_size(RING, 2 * bytes);
        checked(cudaMallocHost((void **)&ring.host, ring.size), "cudaMallocHost of %zu bytes",
                ring.size);
        ring.gpu = (char *)scratch(SCRATCH_RING, ring.size);
    }
    ring.begin = ring.used;
    ring.end = ring.used + bytes;
}

// Room for n numbers, which the caller fills before upload_end.
template <class X> static X *upload_room(size_t n) {
    X *room = (X *)(ring.host + ring.used);
    ring.used += (n * sizeof(X) + ALIGN - 1) / ALIGN * ALIGN;
    assert(ring.used <= ring.end);
    return room;
}
// where the GPU will have what lies there
template <class X> static const X *on_gpu(const X *room) {
    return (const X *)(ring.gpu + ((const char *)room - ring.host));
}
template <class X> static const X *upload(const X *host, size_t n) {
    X *room = upload_room<X>(n);
    memcpy(room, host, n * sizeof *host);
    return on_gpu(room);
}

static void upload_end(void) {
    const size_t size = ring.used - ring.begin;
    checked(cudaMemcpyAsync(ring.gpu + ring.begin, ring.host + ring.begin, size,
                            cudaMemcpyHostToDevice), "cudaMemcpyAsync of %zu bytes", size);
}

// Bytes of each part, whole lines, no less than is taken and linear in rows; returns their sum.
static size_t scratch_sizes(size_t size[NUM_SCRATCHES], const Scratch *s) {
    const size_t rows = s->rows, two = gpu.precision == PRECISION_BF16_FAST ? 2 : 0;
    const size_t rounded = two * rows * (s->width + 8);               // a side of a product
    const size_t blocks = rows / 16 + 4 * (size_t)s->texts;           // of attention
    size_t sum = 0;
    size[SCRATCH_RING] = RING + 64 * rows + 2 * blocks * BLOCK_SIZE;
    size[SCRATCH_NUMBERS] = rows * (s->heads + 1) * sizeof(real) + s->matrix / 256;
    size[SCRATCH_MATRIX] = s->narrow * sizeof(real);
    size[SCRATCH_A] = rounded + two * (s->logits + s->logits / 8);
    size[SCRATCH_B] = rounded + two * s->matrix;
    for (int i = 0; i < NUM_SCRATCHES; i++) {
        size[i] = (size[i] + LINE - 1) / LINE * LINE;
        sum += size[i];
    }
    return sum;
}
size_t kernels_scratch(const Scratch *s) {
    size_t size[NUM_SCRATCHES];
    return scratch_sizes(size, s);
}

static void arena_free(void) {
    kernels_wait();
    for (int i = 0; i < NUM_SCRATCHES; i++) {
        if (arena.part[i].is_own) checked(cudaFree(arena.part[i].at), "cudaFree");
        arena.part[i] = {NULL, 0, 0};
    }
    checked(cudaFree(arena.memory), "cudaFree");
    arena.memory = NULL;
    ring.used = 0;
    ring.size = 0;
}

// Not within a call: what lies there is lost.
int kernels_reserve(const Scratch *s) {
    size_t size[NUM_SCRATCHES], all = 0;
    int enough = 1;
    scratch_sizes(size, s);
    for (int i = 0; i < NUM_SCRATCHES; i++) {
        if (size[i] > arena.part[i].size) enough = 0;
        if (!arena.part[i].is_own) size[i] = max_size(size[i], arena.part[i].size);
        all += size[i];
    }
    if (enough) return 0;

    arena_free();
    if (MEMORY_CALL((void **)&arena.memory, all) != cudaSuccess) {
        cudaGetLastError();                       // it has been told
        arena.memory = NULL;
        return fail(EX_OSERR, "out of memory on the GPU: %.2f GiB of scratch, %.2f GiB are free",
                    (double)all / 1073741824.0, kernels_memory() / 1073741824.0);
    }
    char *at = arena.memory;
    for (int i = 0; i < NUM_SCRATCHES; i++) {
        arena.part[i] = {at, size[i], 0};
        at += size[i];
    }
    return 0;
}

// A little goes through the ring, so that nobody waits.
void kernels_write(real *tensor, const real *host, size_t n) {
    const size_t size = n * sizeof *host;
    if (n == 0) return;
    if (size > RING / 8) {
        checked(cudaMemcpy(tensor, host, size, cudaMemcpyHostToDevice),
                "cudaMemcpy of %zu bytes to the GPU", size);
        return;
    }
    upload_begin(size);
    real *room = upload_room<real>(n);
    memcpy(room, host, size);
    checked(cudaMemcpyAsync(tensor, room, size, cudaMemcpyHostToDevice),
            "cudaMemcpyAsync of %zu bytes", size);
    started();
}

// ----------------------------------------------------------------------- operations on host arrays

// One operation on each of n numbers of the host, on the GPU.
__global__ static void probe_kernel(float *out, ProbeOp op, const float *a, const float *b,
                                    const float *c, size_t n) {
    const size_t i = my_number();
    if (i >= n) return;
    switch (op) {
    case PROBE_ADD:             out[i] = a[i] + b[i]; break;
    case PROBE_ADD_SUBTRACT:    out[i] = (a[i] + b[i]) - a[i]; break;
    case PROBE_MULTIPLY:        out[i] = a[i] * b[i]; break;
    case PROBE_MULTIPLY_ADD:    out[i] = a[i] * b[i] + c[i]; break;
    case PROBE_DIVIDE:          out[i] = a[i] / b[i]; break;
    case PROBE_DIVIDE_BY_ONE:   out[i] = a[i] / b[0]; break;
    case PROBE_DIVIDE_SUBTRACT: out[i] = a[i] / b[i] - c[i]; break;
    case PROBE_FMA:             out[i] = fmaf(a[i], b[i], c[i]); break;
    case PROBE_DOUBLE_SMALL:
        out[i] = (float)((double)a[i] * 0x1p-1000 * 0x1p500 * 0x1p500);
        break;
    case PROBE_DOUBLE_FUSED:
        out[i] = (float)((1.0 + a[i]) * (1.0 + a[i]) - (1.0 + 2.0 * a[i]));
        break;
    case PROBE_EXP:             out[i] = expf_hw(HAS_FMA, a[i]); break;
    case PROBE_ERF:             out[i] = erff_hw(HAS_FMA, a[i]); break;
    case PROBE_TANH:            out[i] = tanhf_hw(HAS_FMA, a[i]); break;
    case PROBE_SIGMOID:         out[i] = sigmoidf_hw(HAS_FMA, a[i]); break;
    case PROBE_SQRT:            out[i] = sqrtf(fabsf(a[i])); break;
    }
}
void kernels_probe(float *out, ProbeOp op, const float *a, const float *b, const float *c, int n) {
    float *result = (float *)scratch(SCRATCH_NUMBERS, n * sizeof *result);
    upload_begin(3 * n * sizeof *a);
    const float *x = upload(a, n), *y = upload(b, n), *z = upload(c, n);
    upload_end();
    LAUNCH_EACH(probe_kernel, n, result, op, x, y, z);
    kernels_read(out, result, n);
}

// By the host's threads, each for a text of its own: out(n) = exp((x(n) - max) / temperature).
void sampling_weights(float *out, const float *x, float max, float temperature, int n) {
    for (int i = 0; i < n; i++) out[i] = more_expf((x[i] - max) / temperature);
}
#endif
