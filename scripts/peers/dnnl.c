/* dnnl.c - oneDNN's speed on the products of a transformer, to set beside ours.
 *
 *     cc -O2 dnnl.c -o dnnl -ldnnl
 *     echo "forward 1024 2304 768" | OMP_NUM_THREADS=2 ./dnnl fp32|bf16 [packed|rounding]
 *
 * bf16 reads two bf16 matrices and writes fp32.  With "rounding" both are made from fp32 ones while the clock runs, as
 * we do; else nobody converts.  With "packed" oneDNN also lays
 * the second matrix out as it likes, before the clock starts: not what a training step can do for free.     */
#include "product.h"
#include <oneapi/dnnl/dnnl.h>

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void ok(dnnl_status_t status, const char *what) {
    if (status == dnnl_success) return;
    fprintf(stderr, "dnnl: %s: status %d\n", what, (int)status);
    exit(1);
}

// a (rows, cols) matrix; stored by columns when transposed
static dnnl_memory_desc_t matrix(int rows, int cols, dnnl_data_type_t type, int transposed) {
    dnnl_memory_desc_t d;
    dnnl_dims_t size = {rows, cols}, row_major = {cols, 1}, column_major = {1, rows};
    ok(dnnl_memory_desc_init_by_strides(&d, 2, size, type, transposed ? column_major : row_major), "layout");
    return d;
}

static dnnl_memory_t memory(const dnnl_memory_desc_t *d, void *data) {
    dnnl_memory_t m;
    ok(dnnl_memory_create(&m, d, engine, data), "memory");
    return m;
}

// m in the layout to: a new memory whose array is *data
static dnnl_memory_t reorder(const dnnl_memory_desc_t *from, dnnl_memory_t m, const dnnl_memory_desc_t *to, void **data) {
    dnnl_memory_t new = memory(to, *data = huge(dnnl_memory_desc_get_size(to)));
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t p;
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, m}, {DNNL_ARG_TO, new}};
    ok(dnnl_reorder_primitive_desc_create(&pd, from, engine, to, engine, NULL), "reorder");
    ok(dnnl_primitive_create(&p, pd), "reorder");
    ok(dnnl_primitive_execute(p, stream, 2, args), "reorder");
    ok(dnnl_stream_wait(stream), "reorder");
    dnnl_primitive_destroy(p), dnnl_primitive_desc_destroy(pd);
    return new;
}

typedef struct {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[3];
    int rounds;                                                       // run the next two first
    dnnl_primitive_t reorder[2];
    dnnl_exec_arg_t reorder_args[2][2];
} Product;

static void run(void *arg) {
    Product *p = arg;
    for (int i = 0; i < p->rounds; i++) {
        ok(dnnl_primitive_execute(p->reorder[i], stream, 2, p->reorder_args[i]), "reorder");
    }
    ok(dnnl_primitive_execute(p->primitive, stream, 3, p->args), "product");
    ok(dnnl_stream_wait(stream), "product");
}

// operand i is made anew before each product
static void round_first(Product *p, int i, const dnnl_memory_desc_t *from, dnnl_memory_t source,
                        const dnnl_memory_desc_t *to, dnnl_memory_t target) {
    dnnl_primitive_desc_t pd;
    ok(dnnl_reorder_primitive_desc_create(&pd, from, engine, to, engine, NULL), "reorder");
    ok(dnnl_primitive_create(&p->reorder[i], pd), "reorder");
    dnnl_primitive_desc_destroy(pd);
    p->reorder_args[i][0] = (dnnl_exec_arg_t){DNNL_ARG_FROM, source};
    p->reorder_args[i][1] = (dnnl_exec_arg_t){DNNL_ARG_TO, target};
    p->rounds = i + 1;
}

static void product(Shape s, int bf16, int packed, int rounding) {
    dnnl_data_type_t type = bf16 ? dnnl_bf16 : dnnl_f32;
    size_t M = (size_t)s.M, N = (size_t)s.N, K = (size_t)s.K;
    float *a = random_floats(M * K), *b = random_floats(K * N), *out = random_floats(M * N);
    void *a_data, *b_data;
    dnnl_memory_desc_t ad = matrix(s.M, s.K, type, s.kind == DW), bd = matrix(s.K, s.N, type, s.kind == FORWARD);
    dnnl_memory_desc_t od = matrix(s.M, s.N, dnnl_f32, 0), b_any = bd;
    dnnl_memory_desc_t ad32 = matrix(s.M, s.K, dnnl_f32, s.kind == DW), bd32 = matrix(s.K, s.N, dnnl_f32, s.kind == FORWARD);
    if (packed) ok(dnnl_memory_desc_init_by_tag(&b_any, 2, bd.dims, type, dnnl_format_tag_any), "layout");

    dnnl_post_ops_t add;                                              // dW adds to what is there
    dnnl_primitive_attr_t attr;
    ok(dnnl_primitive_attr_create(&attr), "attributes");
    ok(dnnl_post_ops_create(&add), "attributes");
    if (s.kind == DW) ok(dnnl_post_ops_append_sum(add, 1), "attributes");
    ok(dnnl_primitive_attr_set_post_ops(attr, add), "attributes");

    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t pd;
    Product p = {0};
    ok(dnnl_matmul_desc_init(&desc, &ad, &b_any, NULL, &od), "product");
    ok(dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL), "product");
    ok(dnnl_primitive_create(&p.primitive, pd), "product");
    if (packed) bd = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    if (getenv("DNNL_SAY")) {
        const char *name;
        dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
        fprintf(stderr, "%s %dx%dx%d: %s\n", kinds[s.kind], s.M, s.N, s.K, name);
    }
    dnnl_memory_t a32 = memory(&ad32, a), b32 = memory(&bd32, b), o = memory(&od, out);
    dnnl_memory_t am = reorder(&ad32, a32, &ad, &a_data), bm = reorder(&bd32, b32, &bd, &b_data);
    p.args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, am};
    p.args[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, bm};
    p.args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, o};

    if (rounding) round_first(&p, 0, &ad32, a32, &ad, am);
    if (rounding) round_first(&p, 1, &bd32, b32, &bd, bm);

    double sum = 0;                                                   // one number of it in double: is it the product we mean?
    for (size_t k = 0; k < K; k++) sum += (double)a[k * (s.kind == DW ? M : 1)] * b[k * (s.kind == FORWARD ? 1 : N)];
    out[0] = 0;
    run(&p);
    if (!(sum - out[0] < 0.1 && out[0] - sum < 0.1)) fprintf(stderr, "wrong product: %g, not %g\n", out[0], sum), exit(1);

    report(packed ? "onednn-packed" : rounding ? "onednn-rounding" : "onednn", bf16 ? "bf16" : "fp32", s, run, &p);
    dnnl_memory_destroy(am), dnnl_memory_destroy(bm), dnnl_memory_destroy(o);
    dnnl_memory_destroy(a32), dnnl_memory_destroy(b32);
    for (int i = 0; i < p.rounds; i++) dnnl_primitive_destroy(p.reorder[i]);
    dnnl_primitive_destroy(p.primitive), dnnl_primitive_desc_destroy(pd);
    dnnl_post_ops_destroy(add), dnnl_primitive_attr_destroy(attr);
    free(a), free(b), free(out), free(a_data), free(b_data);
}

int main(int argc, char **argv) {
    Shape s;
    int bf16 = argc > 1 && !strcmp(argv[1], "bf16");
    if (argc < 2 || (!bf16 && strcmp(argv[1], "fp32"))) return fprintf(stderr, "usage: dnnl fp32|bf16 [packed|rounding] < shapes\n"), 1;
    ok(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
    ok(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "stream");
    while (next_shape(&s)) {
        product(s, bf16, argc > 2 && !strcmp(argv[2], "packed"), argc > 2 && !strcmp(argv[2], "rounding"));
    }
    dnnl_stream_destroy(stream), dnnl_engine_destroy(engine);
    return 0;
}
