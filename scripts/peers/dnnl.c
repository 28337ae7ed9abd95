/* dnnl.c - oneDNN's speed on the products of a transformer, to set beside ours.
 *
 *     cc -O2 dnnl.c -o dnnl -ldnnl
 *     echo "forward 1024 2304 768" | OMP_NUM_THREADS=2 ./dnnl fp32|bf16 [packed|rounding]
 *
 * bf16 reads two bf16 matrices and writes fp32.  With "rounding" both are made from fp32 ones while
 * the clock runs, as we do; else nobody converts.  With "packed" oneDNN also lays the second matrix
 * out as it likes, before the clock starts: not what a training step can do for free. */
#include "product.h"
#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_version.h>

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void ok(dnnl_status_t status, const char *what) {
    if (status == dnnl_success) return;
    fprintf(stderr, "dnnl: %s: status %d\n", what, (int)status);
    exit(1);
}

// ------------------------------------------------------------------ what oneDNN 2 and 3 say differently

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t Layout;
static Layout layout(const dnnl_dims_t size, dnnl_data_type_t type, const dnnl_dims_t strides) {
    dnnl_memory_desc_t d;
    ok(dnnl_memory_desc_create_with_strides(&d, 2, size, type, strides), "layout");
    return d;
}
static Layout any_layout(const dnnl_dims_t size, dnnl_data_type_t type) {
    dnnl_memory_desc_t d;
    ok(dnnl_memory_desc_create_with_tag(&d, 2, size, type, dnnl_format_tag_any), "layout");
    return d;
}
static void free_layout(Layout d) { dnnl_memory_desc_destroy((dnnl_memory_desc_t)d); }
static void append_sum(dnnl_post_ops_t ops) {
    ok(dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef), "attributes");
}
static dnnl_primitive_desc_t matmul_desc(Layout a, Layout b, Layout c, dnnl_primitive_attr_t attr) {
    dnnl_primitive_desc_t pd;
    ok(dnnl_matmul_primitive_desc_create(&pd, engine, a, b, NULL, c, attr), "product");
    return pd;
}
#else
typedef const dnnl_memory_desc_t *Layout;
static dnnl_memory_desc_t *new_layout(void) {
    dnnl_memory_desc_t *d = malloc(sizeof *d);
    if (!d) abort();
    return d;
}
static Layout layout(const dnnl_dims_t size, dnnl_data_type_t type, const dnnl_dims_t strides) {
    dnnl_memory_desc_t *d = new_layout();
    ok(dnnl_memory_desc_init_by_strides(d, 2, size, type, strides), "layout");
    return d;
}
static Layout any_layout(const dnnl_dims_t size, dnnl_data_type_t type) {
    dnnl_memory_desc_t *d = new_layout();
    ok(dnnl_memory_desc_init_by_tag(d, 2, size, type, dnnl_format_tag_any), "layout");
    return d;
}
static void free_layout(Layout d) { free((void *)d); }
static void append_sum(dnnl_post_ops_t ops) { ok(dnnl_post_ops_append_sum(ops, 1), "attributes"); }
static dnnl_primitive_desc_t matmul_desc(Layout a, Layout b, Layout c, dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t pd;
    ok(dnnl_matmul_desc_init(&desc, a, b, NULL, c), "product");
    ok(dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL), "product");
    return pd;
}
#endif

// ----------------------------------------------------------------------------------------- the product

// a (rows, cols) matrix; stored by columns when transposed
static Layout matrix(int rows, int cols, dnnl_data_type_t type, int transposed) {
    const dnnl_dims_t size = {rows, cols}, row_major = {cols, 1}, column_major = {1, rows};
    return layout(size, type, transposed ? column_major : row_major);
}

static dnnl_memory_t memory(Layout d, void *data) {
    dnnl_memory_t m;
    ok(dnnl_memory_create(&m, d, engine, data), "memory");
    return m;
}

// what brings a matrix from one layout to the other
static dnnl_primitive_t reorder_primitive(Layout from, Layout to) {
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t p;
    ok(dnnl_reorder_primitive_desc_create(&pd, from, engine, to, engine, NULL), "reorder");
    ok(dnnl_primitive_create(&p, pd), "reorder");
    dnnl_primitive_desc_destroy(pd);
    return p;
}

// m in the layout to: a new memory whose array is *data
static dnnl_memory_t reorder(Layout from, dnnl_memory_t m, Layout to, void **data) {
    *data = huge(dnnl_memory_desc_get_size(to));
    dnnl_memory_t new = memory(to, *data);
    dnnl_primitive_t p = reorder_primitive(from, to);
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, m}, {DNNL_ARG_TO, new}};
    ok(dnnl_primitive_execute(p, stream, 2, args), "reorder");
    ok(dnnl_stream_wait(stream), "reorder");
    dnnl_primitive_destroy(p);
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
static void round_first(Product *p, int i, Layout from, dnnl_memory_t source, Layout to,
                        dnnl_memory_t target) {
    p->reorder[i] = reorder_primitive(from, to);
    p->reorder_args[i][0] = (dnnl_exec_arg_t){DNNL_ARG_FROM, source};
    p->reorder_args[i][1] = (dnnl_exec_arg_t){DNNL_ARG_TO, target};
    p->rounds = i + 1;
}

static void product(Shape s, int bf16, int packed, int rounding) {
    const dnnl_data_type_t type = bf16 ? dnnl_bf16 : dnnl_f32;
    const int a_columns = s.kind == DW, b_columns = s.kind == FORWARD;     // stored by columns
    const size_t M = (size_t)s.M, N = (size_t)s.N, K = (size_t)s.K;
    const dnnl_dims_t b_size = {s.K, s.N};
    float *a = random_floats(M * K), *b = random_floats(K * N), *out = random_floats(M * N);
    void *a_data, *b_data;
    Layout a32 = matrix(s.M, s.K, dnnl_f32, a_columns), b32 = matrix(s.K, s.N, dnnl_f32, b_columns);
    Layout ad = matrix(s.M, s.K, type, a_columns), od = matrix(s.M, s.N, dnnl_f32, 0);
    Layout bd = packed ? any_layout(b_size, type) : matrix(s.K, s.N, type, b_columns);

    dnnl_post_ops_t add;                                    // dW adds to what is there
    dnnl_primitive_attr_t attr;
    ok(dnnl_primitive_attr_create(&attr), "attributes");
    ok(dnnl_post_ops_create(&add), "attributes");
    if (s.kind == DW) append_sum(add);
    ok(dnnl_primitive_attr_set_post_ops(attr, add), "attributes");

    Product p = {0};
    dnnl_primitive_desc_t pd = matmul_desc(ad, bd, od, attr);
    Layout chosen = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    ok(dnnl_primitive_create(&p.primitive, pd), "product");
    if (getenv("DNNL_SAY")) {
        const char *name;
        dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
        fprintf(stderr, "%s %dx%dx%d: %s\n", kinds[s.kind], s.M, s.N, s.K, name);
    }
    dnnl_memory_t a_float = memory(a32, a), b_float = memory(b32, b), o = memory(od, out);
    dnnl_memory_t am = reorder(a32, a_float, ad, &a_data);
    dnnl_memory_t bm = reorder(b32, b_float, chosen, &b_data);
    p.args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, am};
    p.args[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, bm};
    p.args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, o};
    if (rounding) {
        round_first(&p, 0, a32, a_float, ad, am);
        round_first(&p, 1, b32, b_float, chosen, bm);
    }

    // one number of it in double: is it the product we mean?
    double sum = 0;
    for (size_t k = 0; k < K; k++) {
        sum += (double)a[k * (a_columns ? M : 1)] * b[k * (b_columns ? 1 : N)];
    }
    out[0] = 0;
    run(&p);
    if (!(sum - out[0] < 0.1 && out[0] - sum < 0.1)) {
        fprintf(stderr, "wrong product: %g, not %g\n", out[0], sum);
        exit(1);
    }

    report(packed ? "onednn-packed" : rounding ? "onednn-rounding" : "onednn",
           bf16 ? "bf16" : "fp32", s, run, &p);
    dnnl_memory_t memories[] = {am, bm, o, a_float, b_float};
    Layout layouts[] = {a32, b32, ad, bd, od};
    for (int i = 0; i < 5; i++) {
        dnnl_memory_destroy(memories[i]);
        free_layout(layouts[i]);
    }
    for (int i = 0; i < p.rounds; i++) dnnl_primitive_destroy(p.reorder[i]);
    dnnl_primitive_destroy(p.primitive);
    dnnl_primitive_desc_destroy(pd);
    dnnl_post_ops_destroy(add);
    dnnl_primitive_attr_destroy(attr);
    free(a);
    free(b);
    free(out);
    free(a_data);
    free(b_data);
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
