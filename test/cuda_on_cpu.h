/* cuda_on_cpu.h - a GPU that is one thread of a CPU: what kernels.cu needs of CUDA, so that a C++
 * compiler makes of it layers that run here and can be tested without a GPU.
 *
 *     g++ -std=c++17 -x c++ -include test/cuda_on_cpu.h -DMORE_OBJECT -c kernels.cu
 *
 * A launch runs its blocks one after the other.  A block's threads are fibers: each has a stack of
 * its own and runs until it waits for the others, at __syncthreads, __syncwarp or a shuffle.  One
 * that never waits is nothing but a call.
 *
 *     ready --first turn--> running --waits--> at a barrier --all there are there--> running
 *                                 \--returns--> done
 *
 * What goes wrong on a GPU at one run of a thousand goes wrong here at every run:
 *
 * - Launches and copies from pinned memory are noted, and done when the program waits for the GPU:
 *   a host array that was changed too early is seen as it is then.
 * - While none runs, memory of the GPU can be neither read nor written: whoever looks into a tensor
 *   gets a segmentation fault.  Managed memory (MORE_CUDA_OPEN) is always open.
 * - Threads that wait at different barriers are an error; so are arguments of a launch that point
 *   neither to the GPU's memory nor nowhere.
 * - Memory of the GPU that was not written holds NaN and -1; shared memory does at the start of
 *   each block, unless threads run in order.
 * - CUDA_ON_CPU in the environment: "reverse" has threads and blocks run in the other order,
 *   "shuffle" has threads run in a random one: a race gives other numbers; "none" has no GPU, "old"
 *   too old a driver, "sm_75" a GPU whose tensor cores do not know bf16; a number is the GPU's
 *   memory in MiB.  CUDA_ON_CPU_SMS: how many multiprocessors it says it has. */
#ifndef CUDA_ON_CPU_H
#define CUDA_ON_CPU_H
#include "../common.h"
#include <link.h>
#include <new>
#include <sys/mman.h>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __shared__ static thread_local            // one piece of memory has them all
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct float4 { float x, y, z, w; };
struct uint4 { unsigned x, y, z, w; };
static dim3 gridDim, blockDim, blockIdx, threadIdx;

struct Memory { char *at; size_t size; };

// Says what is wrong with the program, and ends it.
[[noreturn]] static void emulator_stop(const char *kernel, const char *what) {
    fprintf(stderr, "cuda_on_cpu.h: %s: %s\n", kernel, what);
    abort();
}

static int emulator_says(const char *word) {
    const char *said = getenv("CUDA_ON_CPU");
    return said && !strcmp(said, word);
}

// ------------------------------------------------------------------------------------ fibers

/* fiber_switch(save, sp) goes to the stack at sp and notes in *save where this one was left.  What
 * a function must keep for its caller lies on the stack meanwhile. */
#if defined __x86_64__
extern "C" void fiber_switch(void **save, void *sp);
__asm__(".text\n.type fiber_switch, @function\nfiber_switch:\n"
        "    push %rbp\n    push %rbx\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n"
        "    mov %rsp, (%rdi)\n    mov %rsi, %rsp\n"
        "    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbx\n    pop %rbp\n"
        "    ret\n.size fiber_switch, .-fiber_switch\n");
static void *fiber_first(char *stack, size_t size, void (*run)(void)) {
    void **top = (void **)(stack + size) - 2;   // run finds the stack as after a call
    top[0] = (void *)run;
    memset(top - 6, 0, 6 * sizeof *top);
    return top - 6;
}
#else
#include <ucontext.h>
static void fiber_switch(void **save, void *sp) {
    ucontext_t here;
    *save = &here;
    swapcontext(&here, (ucontext_t *)sp);
}
static void *fiber_first(char *stack, size_t size, void (*run)(void)) {
    ucontext_t *first = (ucontext_t *)stack;    // at the far end of the stack
    getcontext(first);
    first->uc_stack.ss_sp = stack + sizeof *first;
    first->uc_stack.ss_size = size - sizeof *first;
    first->uc_link = NULL;
    makecontext(first, run, 0);
    return first;
}
#endif

enum { MAX_THREADS = 1024, WARP = 32, STACK = 1 << 16 };

enum Order { FORWARD_ORDER, REVERSE_ORDER, SHUFFLED_ORDER };

// A place where threads wait for one another: the last to come lets the others go on.
struct Barrier {
    unsigned live, there;                       // threads that are not done; that wait
    unsigned round;                             // how often all were there
};
struct Fiber {
    void *sp;
    unsigned thread;                            // of the block
    dim3 index;                                 // its threadIdx
    Barrier *at;                                // where it waits, NULL: it has no thread
    unsigned round;                             // that it waits for the end of
};
static struct {
    Fiber fiber[MAX_THREADS];
    int fibers;                                 // that have a stack
    int current;
    void *caller;                               // the stack of who runs the block
    unsigned started, done, threads;
    Barrier all, warp[MAX_THREADS / WARP];
    void (*call)(void *context);
    void *context;
    const char *kernel;
    Order order;
    uint64_t launches;
    unsigned shuffled[MAX_THREADS];             // the threads in the order in which they begin
} block;

static dim3 index_of(unsigned thread) {
    if (thread < blockDim.x) return dim3(thread, 0, 0);
    return dim3(thread % blockDim.x, thread / blockDim.x % blockDim.y,
                thread / (blockDim.x * blockDim.y));
}
static unsigned this_thread() { return block.fiber[block.current].thread; }

static int fiber_can_run(const Fiber *f) {
    if (!f->at) return block.started < block.threads;
    return f->at->round != f->round;
}

static void fiber_run();
static void fiber_new() {
    const int i = block.fibers++;
    const size_t size = STACK - (size_t)(i % 32) * 576;     // so that stacks differ in cache lines
    void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) emulator_stop(block.kernel, "no memory for the stack of a thread");
    block.fiber[i].at = NULL;
    block.fiber[i].sp = fiber_first((char *)stack, size, fiber_run);
}

// Goes from the current fiber to the next that can run; a new one, while threads have not begun.
static void fiber_leave() {
    Fiber *from = &block.fiber[block.current];
    int next = block.current, tried = 0;
    if (block.done == block.threads) {
        fiber_switch(&from->sp, block.caller);
        return;
    }
    do {
        next++;
        if (next == block.fibers && block.started < block.threads && block.fibers < MAX_THREADS) {
            fiber_new();
        }
        next %= block.fibers;
        tried++;
    } while (!fiber_can_run(&block.fiber[next]) && tried <= block.fibers);
    if (!fiber_can_run(&block.fiber[next])) {
        emulator_stop(block.kernel, "its threads wait for one another at different barriers");
    }
    block.current = next;
    if (from != &block.fiber[next]) fiber_switch(&from->sp, block.fiber[next].sp);
}

static void barrier_end_round(Barrier *b) {
    b->there = 0;
    b->round++;
}
static void barrier_wait(Barrier *b) {
    Fiber *f = &block.fiber[block.current];
    b->there++;
    if (b->there == b->live) {
        barrier_end_round(b);
        return;
    }
    f->at = b;
    f->round = b->round;
    fiber_leave();
    f->at = b;
    threadIdx = f->index;
}
// a thread is done: those that wait no longer wait for it
static void barrier_leave(Barrier *b) {
    b->live--;
    if (b->live > 0 && b->there == b->live) barrier_end_round(b);
}

// A fiber runs one thread after the other, from where no other fiber has begun.
static void fiber_run() {
    for (;;) {
        Fiber *f = &block.fiber[block.current];
        while (block.started < block.threads) {
            f->thread = block.shuffled[block.started];
            f->at = &block.all;
            block.started++;
            f->index = index_of(f->thread);
            threadIdx = f->index;
            block.call(block.context);
            block.done++;
            barrier_leave(&block.all);
            barrier_leave(&block.warp[f->thread / WARP]);
        }
        f->at = NULL;
        fiber_leave();
    }
}

static void run_block() {
    block.started = 0;
    block.done = 0;
    block.all = Barrier{block.threads, 0, 0};
    for (unsigned w = 0; w * WARP < block.threads; w++) {
        const unsigned left = block.threads - w * WARP;
        block.warp[w] = Barrier{left < WARP ? left : (unsigned)WARP, 0, 0};
    }
    if (block.fibers == 0) fiber_new();
    block.current = 0;
    fiber_switch(&block.caller, block.fiber[0].sp);
}

/* Shared memory is all that the program has of the thread's own: nothing else of it is
 * thread_local.  It lies where the loader put it. */
static int find_shared(dl_phdr_info *info, size_t, void *found) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_TLS) continue;
        *(Memory *)found = {(char *)info->dlpi_tls_data, info->dlpi_phdr[i].p_memsz};
    }
    return 1;                                   // the first is the program
}
static void poison_shared() {
    static Memory shared;
    if (!shared.at) dl_iterate_phdr(find_shared, &shared);
    if (shared.at) memset(shared.at, 0xff, shared.size);
}

// the i-th of n in the launch's order
static unsigned in_order(unsigned i, unsigned n) {
    return block.order == REVERSE_ORDER ? n - 1 - i : i;
}
static void order_threads() {
    for (unsigned i = 0; i < block.threads; i++) block.shuffled[i] = in_order(i, block.threads);
    for (unsigned i = block.threads; i > 1 && block.order == SHUFFLED_ORDER; i--) {
        const unsigned k = random_below(i, 1, STREAM_TEST, block.launches, i);
        const unsigned last = block.shuffled[i-1];
        block.shuffled[i-1] = block.shuffled[k];
        block.shuffled[k] = last;
    }
}

static void run_launch(const char *kernel, dim3 grid, dim3 threads, void (*call)(void *context),
                       void *context) {
    const unsigned blocks = grid.x * grid.y * grid.z;
    block.kernel = kernel;
    block.call = call;
    block.context = context;
    block.threads = threads.x * threads.y * threads.z;
    block.order = FORWARD_ORDER;
    if (emulator_says("reverse")) block.order = REVERSE_ORDER;
    if (emulator_says("shuffle")) block.order = SHUFFLED_ORDER;
    block.launches++;
    gridDim = grid;
    blockDim = threads;
    order_threads();
    for (unsigned n = 0; n < blocks; n++) {
        const unsigned b = in_order(n, blocks);
        blockIdx = dim3(b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y));
        if (block.order != FORWARD_ORDER) poison_shared();
        run_block();
    }
}

// --------------------------------------------------------------- what a kernel's threads call

static void __syncthreads() { barrier_wait(&block.all); }
static void __syncwarp() { barrier_wait(&block.warp[this_thread() / WARP]); }

// Every thread of the warp puts its x down, and takes that of another: two sets of places in turn,
// so that one barrier is enough.
template <class X> static X shuffle(X x, unsigned other) {
    static char place[2][MAX_THREADS][8];
    static unsigned char turn[MAX_THREADS];
    const unsigned me = this_thread();
    const int set = turn[me] ^= 1;
    static_assert(sizeof x <= sizeof place[0][0], "a number");
    memcpy(place[set][me], &x, sizeof x);
    __syncwarp();
    memcpy(&x, place[set][other], sizeof x);
    return x;
}
template <class X> static X __shfl_sync(unsigned, X x, int lane, int width = WARP) {
    return shuffle(x, this_thread() / width * width + lane);
}
template <class X> static X __shfl_down_sync(unsigned, X x, int by, int width = WARP) {
    const unsigned me = this_thread();
    return shuffle(x, me % width + by < (unsigned)width ? me + by : me);
}
template <class X> static X __shfl_xor_sync(unsigned, X x, int mask, int width = WARP) {
    (void)width;
    return shuffle(x, this_thread() ^ mask);
}

// Every thread of the warp puts n numbers down: returns those of all, one thread after the other.
template <class X> static const X *of_warp(const X *x, int n) {
    static X place[2][MAX_THREADS / WARP][WARP * 8];
    static unsigned char turn[MAX_THREADS];
    const unsigned me = this_thread(), warp = me / WARP;
    X *all = place[turn[me] ^= 1][warp];
    memcpy(all + me % WARP * n, x, n * sizeof *x);
    if (block.warp[warp].live < WARP) emulator_stop(block.kernel, "a warp is not complete");
    __syncwarp();
    return all;
}

/* The tensor cores, as tensor_cores.cu describes them.  A GPU adds 16 products and c with a few
 * bits more than a float's and cuts the rest off; here they are added in double and cut off. */
static float towards_zero(double x) {
    const float f = (float)x;
    return fabs((double)f) > fabs(x) ? nextafterf(f, 0) : f;
}
static float bf16_half(unsigned two, int upper) {
    return float_of(upper ? two & 0xffff0000u : two << 16);
}
static void mma(float c[4], const unsigned a[4], const unsigned b[2]) {
    const unsigned mine[] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const unsigned *all = of_warp(mine, 6);
    const int lane = this_thread() % WARP;
    for (int e = 0; e < 4; e++) {
        const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
        double sum = c[e];
        for (int k = 0; k < 16; k++) {
            const unsigned *row_has = all + (row % 8 * 4 + k % 8 / 2) * 6;
            const unsigned *column_has = all + (column * 4 + k % 8 / 2) * 6;
            sum += (double)bf16_half(row_has[row / 8 + k / 8 * 2], k % 2)
                 * (double)bf16_half(column_has[4 + k / 8], k % 2);
        }
        c[e] = towards_zero(sum);
    }
}

static const uint16_t *const *lines_of_warp(const uint16_t *line) {
    if ((uintptr_t)line % 16) emulator_stop(block.kernel, "ldmatrix of a line that is not aligned");
    return of_warp(&line, 1);
}
static void ldmatrix(unsigned r[4], const uint16_t *line) {
    const uint16_t *const *all = lines_of_warp(line);
    const int lane = this_thread() % WARP, g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) memcpy(r + i, all[8*i + g] + 2*t, sizeof *r);
}
static void ldmatrix_trans(unsigned r[4], const uint16_t *line) {
    const uint16_t *const *all = lines_of_warp(line);
    const int lane = this_thread() % WARP, g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) {
        r[i] = all[8*i + 2*t][g] | (unsigned)all[8*i + 2*t + 1][g] << 16;
    }
}
static unsigned to_bf16(float x) {
    const uint32_t u = bits_of(x);
    if (x != x) return u >> 16 | 0x40;
    return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
static unsigned two_bf16(float lower, float upper) {
    return to_bf16(lower) | to_bf16(upper) << 16;
}

// ----------------------------------------------------------------- memory, and what is noted

enum cudaError_t {
    cudaSuccess, cudaErrorMemoryAllocation, cudaErrorNoDevice, cudaErrorInsufficientDriver,
    cudaErrorInvalidConfiguration
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
struct cudaDeviceProp {
    char name[256];
    int major;                                  // generation
};

static cudaError_t last_error;
static cudaError_t note_error(cudaError_t e) {
    if (e != cudaSuccess) last_error = e;
    return e;
}
static cudaError_t cudaGetLastError() {
    const cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}
static const char *cudaGetErrorString(cudaError_t e) {
    switch (e) {
    case cudaErrorMemoryAllocation:     return "out of memory";
    case cudaErrorNoDevice:             return "no CUDA-capable device is detected";
    case cudaErrorInsufficientDriver:   return "CUDA driver version is insufficient";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    default:                            return "no error";
    }
}

/* The GPU's memory is one range of addresses, handed out from its beginning and never twice; behind
 * each piece lies a page that belongs to nobody. */
enum { PAGE = 4096 };
static const size_t RANGE = (size_t)1 << 40;
static struct {
    char *base;
    size_t used;                                // of the range
    size_t held;                                // bytes that are allocated
} memory;
struct Piece { size_t at, size; };
static Piece *piece;
static size_t pieces, piece_capacity;

static size_t memory_size() {
    const char *said = getenv("CUDA_ON_CPU");
    const size_t MiB = said ? (size_t)atol(said) : 0;
    return (MiB ? MiB : (size_t)1 << 16) << 20;
}
static int is_on_gpu(const void *p) {
    return (const char *)p >= memory.base && (const char *)p < memory.base + RANGE;
}
static void memory_protect(int how) {
    for (size_t i = 0; i < pieces; i++) mprotect(memory.base + piece[i].at, piece[i].size, how);
}

static cudaError_t cudaMalloc(void **p, size_t n) {
    const size_t size = (n / PAGE + 1) * PAGE;
    if (!memory.base) {
        memory.base = (char *)mmap(NULL, RANGE, PROT_NONE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory.base == MAP_FAILED) emulator_stop("cudaMalloc", "no range of addresses");
    }
    if (n > memory_size() || memory.held + size > memory_size()) {
        return note_error(cudaErrorMemoryAllocation);
    }
    if (reserve(&piece, &piece_capacity, pieces + 1, sizeof *piece) < 0) {
        return note_error(cudaErrorMemoryAllocation);
    }
    piece[pieces++] = Piece{memory.used, size};
    *p = memory.base + memory.used;
    mprotect(*p, size, PROT_READ | PROT_WRITE);
    memset(*p, 0xff, size);
    mprotect(*p, size, PROT_NONE);
    memory.used += size + PAGE;
    memory.held += size;
    return cudaSuccess;
}

// What is noted: a closure, and what makes it and itself go away.
struct Noted {
    void (*act)(void *closure);
    void *closure;
};
static Noted *noted;
static size_t num_noted, noted_capacity;

static void emulator_wait() {
    if (num_noted == 0) return;
    memory_protect(PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < num_noted; i++) {
        noted[i].act(noted[i].closure);
        free(noted[i].closure);
    }
    num_noted = 0;
    memory_protect(PROT_NONE);
}
template <class F> static void emulator_note(F f) {
    void *closure = malloc(sizeof f);
    if (!closure || reserve(&noted, &noted_capacity, num_noted + 1, sizeof *noted) < 0) {
        emulator_stop("a launch", "out of memory");
    }
    new (closure) F(f);
    noted[num_noted++] = Noted{[](void *c) { (*(F *)c)(); }, closure};
    if (num_noted > 5000) emulator_wait();
}

static cudaError_t cudaDeviceSynchronize() {
    emulator_wait();
    return cudaSuccess;
}
static cudaError_t cudaFree(void *p) {
    emulator_wait();
    for (size_t i = 0; i < pieces && p; i++) {
        if (memory.base + piece[i].at != p) continue;
        memory.held -= piece[i].size;
        munmap(p, piece[i].size);
        mmap(p, piece[i].size, PROT_NONE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
             -1, 0);
        piece[i] = piece[--pieces];
        return cudaSuccess;
    }
    if (p) free(p);                             // managed
    return cudaSuccess;
}
static cudaError_t cudaMallocManaged(void **p, size_t n) {
    if (n > memory_size()) return note_error(cudaErrorMemoryAllocation);
    *p = aligned_alloc(256, (n / 256 + 1) * 256);
    if (!*p) return note_error(cudaErrorMemoryAllocation);
    memset(*p, 0xff, (n / 256 + 1) * 256);
    return cudaSuccess;
}
static cudaError_t cudaMallocHost(void **p, size_t n) {
    *p = malloc(n);
    return *p ? cudaSuccess : note_error(cudaErrorMemoryAllocation);
}
static cudaError_t cudaFreeHost(void *p) {
    free(p);
    return cudaSuccess;
}
static cudaError_t cudaMemGetInfo(size_t *left, size_t *all) {
    *all = memory_size();
    *left = *all - memory.held;
    return cudaSuccess;
}
static cudaError_t cudaMemsetAsync(void *p, int value, size_t n) {
    emulator_note([=] { memset(p, value, n); });
    return cudaSuccess;
}
// from pinned memory, as kernels.cu uses it: read when it is done
static cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind) {
    emulator_note([=] { memcpy(to, from, n); });
    return cudaSuccess;
}
static cudaError_t cudaMemcpy(void *to, const void *from, size_t n, cudaMemcpyKind kind) {
    cudaMemcpyAsync(to, from, n, kind);
    emulator_wait();
    return cudaSuccess;
}
static cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                                     size_t width, size_t height, cudaMemcpyKind) {
    emulator_note([=] {
        for (size_t i = 0; i < height; i++) {
            memcpy((char *)to + i*to_pitch, (const char *)from + i*from_pitch, width);
        }
    });
    return cudaSuccess;
}

static cudaError_t cudaGetDeviceCount(int *n) {
    *n = 0;
    if (emulator_says("none")) return cudaErrorNoDevice;
    if (emulator_says("old")) return cudaErrorInsufficientDriver;
    *n = 1;
    return cudaSuccess;
}
static cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int) {
    strcpy(p->name, "GPU on a CPU");
    p->major = emulator_says("sm_75") ? 7 : 9;
    return cudaSuccess;
}
static cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int) {
    const char *said = getenv("CUDA_ON_CPU_SMS");
    *value = said ? atoi(said) : 4;
    return cudaSuccess;
}
static cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}

// ---------------------------------------------------------------------------------- a launch

template <class A> static void check_argument(const char *kernel, A a) {
#ifndef MORE_CUDA_OPEN
    if constexpr (std::is_pointer_v<A>) {
        if (a && !is_on_gpu(a)) emulator_stop(kernel, "an argument points to the host's memory");
    }
#endif
    (void)kernel;
    (void)a;
}

template <class... P, class... A>
static void launch(const char *name, dim3 grid, dim3 threads, void (*kernel)(P...), A... args) {
    if (threads.x * threads.y * threads.z > MAX_THREADS || grid.y > 65535 || grid.z > 65535) {
        note_error(cudaErrorInvalidConfiguration);
        return;
    }
    (check_argument(name, P(args)), ...);
    emulator_note([=] {
        auto call = [=] { kernel(P(args)...); };
        run_launch(name, grid, threads, [](void *c) { (*(decltype(call) *)c)(); }, &call);
    });
}
#define START_KERNEL(kernel, grid, threads, ...) launch(#kernel, grid, threads, kernel, __VA_ARGS__)
#endif
