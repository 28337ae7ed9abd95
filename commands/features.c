/* features.c - more train features: a reward model of named features from pairs or rankings (Nath
 * et al., arXiv 2402.15473; the network is ../features.c).
 *
 *     --train      rows with features -> (--search: settings, on folds) -> weights -> --out
 *     --eval       files whose loss and accuracy are printed at the end; nothing is chosen by them
 *
 * What more score, eval and inspect do with such a folder is here too.                           */
#ifndef COMMAND_FEATURES_C
#define COMMAND_FEATURES_C
#include "options.c"
#include "../receipt.c"
#include "../feature_search.c"
#include "../files/surroundings.c"
#include "../heldout.c"
#include "setup.c"

#define FEATURES_READS \
    "train eval out template prompt_key chosen_key rejected_key bad_rows pairs features " \
    "feature_range layers activation num_train_epochs=100 per_step_pairs=32 " \
    "learning_rate=0.02 warmup_ratio=0.3 weight_decay=0.05 max_grad_norm adam_beta1 adam_beta2 " \
    "adam_epsilon top seed search search_folds folds fold "

int command_features(void);                                     // more train features
int features_inspect(const char *dir);                          // what the folder holds
int features_read(FeatureNet *net, Dataset *d, const char *dir, const char *file, int as_given);
int features_load_choices(Dataset *d, const char *file, const FeatureNames *asked);

// ------------------------------------------------------------------------------------ the settings

static FeatureFit fit_of_settings(void) {
    return (FeatureFit){
        .learning_rate = opt.learning_rate, .warmup_ratio = opt.warmup_ratio,
        .weight_decay = opt.weight_decay, .max_grad_norm = opt.max_grad_norm, .beta1 = opt.beta1,
        .beta2 = opt.beta2, .eps = opt.eps, .epochs = opt.epochs, .rows = opt.per_step_rows,
        .top = opt.loss.top, .seed = (uint64_t)opt.seed,
    };
}

// The features that the command line asks for, with the range that it says, or that of those that
// are counted from texts; n 0: the features of the file.
static int asked_features(FeatureNames *f) {
    *f = feature_names_none();
    if (opt.features && feature_names_parse(f, opt.features) < 0) return -1;
    feature_ranges_counted(f);
    return opt.feature_range ? feature_range_parse(f, opt.feature_range) : 0;
}

// What was read, and what of it says nothing: a feature that no row's answers differ in.
static int tell_features(const Dataset *d) {
    Buffer line = {0};
    char names[256];
    const int D = d->features.n;
    feature_names_text(&d->features, names);
    if (dataset_report(d, &line) < 0) return -1;
    fprintf(stderr, "%s%d features: %s\n", line.data, D, names);
    buffer_free(&line);
    for (int i = 0; i < D; i++) {
        int differs = 0;
        for (const Record *r = d->record; r < d->record + d->num_records; r++) {
            const double *x = feature_of_answer(d, r->first) + i;
            for (int j = 1; j < r->count; j++) differs |= x[j * D] != x[0];
        }
        if (differs) continue;
        fprintf(stderr, "%s: all answers of each row have one value of %s: nothing is learned of "
                "it\n", d->name, d->features.name[i]);
    }
    return 0;
}

// Are these choices that can be learned from?  0, or -1 after fail().
static int check_choices(const Dataset *d) {
    double weight = 0;
    if (d->kind != DATA_PAIR && d->kind != DATA_RANKING) {
        return fail_kind(d, "pairs or rankings are needed: features of two answers or more, the "
                         "better one first");
    }
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        weight += r->weight;
        if (r->margin == 0) continue;
        return fail(EX_DATAERR, "%s:%zu: a margin, which train features does not use: remove it, "
                    "or train a reward model of texts", d->path, r->line);
    }
    if (!d->num_records) {
        return fail(EX_DATAERR, "%s: nothing is left of %zu rows: %zu ties", d->path, d->rows,
                    d->tied);
    }
    if (weight > 0) return 0;
    return fail(EX_DATAERR, "%s: the weight of every row is 0: nothing can be learned", d->path);
}

// Pairs or rankings with these features (n 0: those of the first row).  0, or -1 after fail().
int features_load_choices(Dataset *d, const char *file, const FeatureNames *asked) {
    const DataOptions o = data_options();
    if (load_features(d, file, asked, &o) < 0) return -1;
    return check_choices(d);
}

// ---------------------------------------------------------------------------------------- training

static void print_trial(const FeatureTrial *t) {
    fprintf(stderr, "layers %s%s%s, rate %.4f, warm-up %.2f, %g epochs, %d rows an update",
            t->layers, t->units ? " " : "", t->units ? t->units : "", t->fit.learning_rate,
            t->fit.warmup_ratio, t->fit.epochs, t->fit.rows);
    if (t->fit.stop) fprintf(stderr, ", until step %d", t->fit.stop);
    fprintf(stderr, ": held-out loss %.4f\n", t->loss);
}

// FeatureSearch.tell
static int tell_trial(void *to, int trial, const FeatureTrial *t) {
    (void)to;
    if (!opt.quiet) {
        fprintf(stderr, "trial %d of %d: ", trial + 1, opt.search);
        print_trial(t);
    }
    if (!stop_asked()) return 0;
    return fail(EX_TEMPFAIL, "stopped in the search; nothing is written");
}

static int search_settings(FeatureTrial *t, const Dataset *d) {
    const FeatureSearch s = {
        .trials = opt.search, .folds = opt.search_folds, .tell = tell_trial,
        .draw_rate = !option_given(option_find("learning_rate")),
        .draw_warmup = !option_given(option_find("warmup_ratio")),
        .draw_epochs = !option_given(option_find("num_train_epochs")),
        .draw_rows = !option_given(option_find("per_step_pairs")),
        .draw_layers = !option_given(option_find("layers")), .draw_units = !opt.activation,
    };
    if (feature_search(t, d, &s) < 0) return -1;
    fprintf(stderr, "chosen: ");
    print_trial(t);
    return 0;
}

static void print_measure(const char *name, const FeatureMeasure *m) {
    fprintf(stderr, "%s: loss %.6f  accuracy %.4f  ties %.4f  of %zu pairs\n", name, m->loss,
            m->accuracy, m->ties, m->pairs);
}

// What the numbers of the training rows say of a model that cannot be right.
static void print_faults(const FeatureNet *net, const FeatureFit *fit, const FeatureMeasure *m) {
    if (m->ties == 1) {
        fprintf(stderr, "the model is dead: all pairs are tied, the loss is log 2: %s\n",
                feature_net_may_die(net)
                ? "its output, a relu, is 0 for every answer; another --seed, or a linear output, "
                  "which is the default"
                : "every answer has the same reward; are features missing that tell them apart?");
    }
    if (feature_is_exact(net, fit) && m->loss < 1e-3) {
        fprintf(stderr, "the weights tell all pairs apart and would grow without end: "
                "--weight_decay keeps them small\n");
    }
}

// The held-out numbers of each file of --eval.
static int measure_files(const FeatureNet *net) {
    for (int i = 0; i < opt.eval.n; i++) {
        Dataset d = {0};
        FeatureMeasure m;
        int result = features_load_choices(&d, opt.eval.item[i], &net->features);
        if (result == 0) result = feature_measure(&m, net, &d, opt.loss.top);
        if (result == 0) print_measure(d.name, &m);
        dataset_free(&d);
        if (result < 0) return -1;
    }
    return 0;
}

static const Command features_command = {.name = "train", .object = "features",
                                         .options = {FEATURES_READS}};

// The receipt of the training on d, of which `recipe` and `command` are; sha256: of its weights.
// 0, or -1 after fail().
static int features_receipt(const Buffer *recipe, const Buffer *command, const char *sha256) {
    const Receipt r = {.dir = opt.out, .recipe = recipe, .command = command, .num_weights = 1,
                       .file = {"model.safetensors"}, .sha256 = {sha256}};
    return receipt_write(&r);
}

// What decides the bits, and what was asked for.  Is it what opt.expected says?  EXPECT_.., -1 also
// after fail().
static int features_recipe(Buffer *recipe, Buffer *command, const Dataset *d) {
    char sha256[65];
    sha256_hex(sha256, d->contents.data, d->contents.len);
    if (buffer_printf(recipe, "train=features\n") < 0) return -1;
    if (options_text(recipe, &features_command, 0) < 0) return -1;
    if (buffer_printf(recipe, "sha256 of file 1 of --train=%s\n", sha256) < 0) return -1;
    if (options_words(command, &features_command) < 0) return -1;
    return receipt_expect(recipe);
}

// Trains the network on d and writes it.
static int train_features(FeatureNet *net, const Dataset *d, char sha256[65]) {
    FeatureTrial t = {.fit = fit_of_settings(), .layers = opt.layers, .units = opt.activation};
    FeatureMeasure m;
    if (opt.search && search_settings(&t, d) < 0) return -1;
    if (feature_net_init(net, &d->features, t.layers, t.units) < 0) return -1;
    if (feature_net_may_die(net)) {
        fprintf(stderr, "the output is a relu: where it is 0 for every answer at first, nothing is "
                "ever learned\n");
    }
    feature_net_scale(net, d);
    if (feature_fit(net, d, &t.fit) < 0) return -1;
    if (feature_measure(&m, net, d, t.fit.top) < 0) return -1;
    if (feature_folder_save(net, &t.fit, opt.out, sha256) < 0) return -1;
    fprintf(stderr, "layers %s: %zu parameters, %s\n", net->layout, net->num_weights,
            feature_is_exact(net, &t.fit) ? "the exact minimum" : "trained by AdamW");
    print_measure(d->name, &m);
    print_faults(net, &t.fit, &m);
    if (measure_files(net) < 0) return -1;
    printf("weights sha256 %s\n", sha256);
    return 0;
}

// All of a training on d but reading it.
static int run_features(FeatureNet *net, const Dataset *d) {
    Buffer recipe = {0}, command = {0};
    char sha256[65];
    int result = features_recipe(&recipe, &command, d);
    if (result == EXPECT_GO_ON) {
        result = receipt_forget(opt.out);
        if (result == 0) result = train_features(net, d, sha256);
        if (result == 0) result = features_receipt(&recipe, &command, sha256);
    }
    buffer_free(&recipe);
    buffer_free(&command);
    return result;
}

int command_features(void) {
    FeatureNames asked;
    FeatureNet net = {.layers = 0};
    Dataset d = {0};
    Folder out = {.lock = -1};
    if (opt.train.n != 1 || !opt.out) {
        return fail(EX_USAGE, "one file of --train and --out are needed");
    }
    stop_catch(&out);
    int status = asked_features(&asked);
    if (status == 0) status = folder_enter(&out, opt.out);
    if (status == 0) status = features_load_choices(&d, opt.train.item[0], &asked);
    if (status == 0) status = dataset_keep_fold(&d, 0);
    if (status == 0) status = tell_features(&d);
    if (status == 0) status = run_features(&net, &d);
    stop_hold();                                    // the folder is left here, not by a signal
    feature_net_free(&net);
    dataset_free(&d);
    folder_leave(&out);
    return status;
}

// ---------------------------------------------------------------------------------- other commands

// The network in dir, and a file that is read with its features.  0, or -1 after fail();
// feature_net_free and dataset_free follow either.
int features_read(FeatureNet *net, Dataset *d, const char *dir, const char *file, int as_given) {
    DataOptions o = data_options();
    *d = (Dataset){0};
    o.as_given = as_given;
    if (feature_folder_load(net, NULL, dir) < 0) return -1;
    return load_features(d, file, &net->features, &o);
}

// The layers' weights, a line for each unit: its inputs, the first layer's by name, and its bias.
static void print_layers(const FeatureNet *net) {
    const double *w = net->weight;
    for (int l = 0; l < net->layers; l++) {
        const int in = net->size[l], size = net->size[l + 1];
        printf("layer %d of %d: %d -> %d, %s\n", l + 1, net->layers, in, size,
               net->unit[l] == UNIT_NONE ? "linear" : unit_names[net->unit[l]]);
        for (int o = 0; o < size; o++) {
            for (int i = 0; i < in; i++) {
                printf("  %9.6f%s%s", w[o*in + i], l ? "" : " ", l ? "" : net->features.name[i]);
            }
            printf("  %9.6f bias\n", w[in*size + o]);
        }
        w += (in + 1) * size;
    }
}

int features_inspect(const char *dir) {
    FeatureNet net;
    int result = feature_folder_load(&net, NULL, dir);
    if (result == 0) {
        const FeatureNames *f = &net.features;
        printf("a reward model of %d features, layers %s: %zu parameters\n", f->n, net.layout,
               net.num_weights);
        for (int i = 0; i < f->n; i++) {
            printf("    %s, ", f->name[i]);
            if (f->low[i] > -HUGE_VAL || f->high[i] < HUGE_VAL) {
                printf("from %g to %g, ", f->low[i], f->high[i]);
            }
            printf("divided by %g\n", net.scale[i]);
        }
        print_layers(&net);
    }
    feature_net_free(&net);
    return result;
}
#endif
