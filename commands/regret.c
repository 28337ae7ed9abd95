/* regret.c - more regret: the mixture of policies whose worst off type of people loses least.
 *
 *     each policy      writes completions of all prompts, at temperature 1 without filters
 *     each policy      scores those of all the others; so does the reference
 *     ../regret.c      makes of the log ratios the game, its solutions, regrets and intervals
 *
 * Completions are written and scored as more compare does it (writer.c).  What comes of it is
 * printed as tables, and written as one JSON object, which is a mixture for other commands.      */
#ifndef COMMAND_REGRET_C
#define COMMAND_REGRET_C
#include "writer.c"

int command_regret(void);

// ------------------------------------------------------------------------------- what is asked for

// The numbers of --fairness or --eta, one for each policy, none negative.  0, or -1 after fail().
static int read_weights(double *weight, const char *option, const List *list) {
    double sum = 0;
    if (list->n != opt.model.n) {
        return fail(EX_USAGE, "--%s: %d numbers for %d policies of --model", option, list->n,
                    opt.model.n);
    }
    for (int k = 0; k < list->n; k++) {
        char *end;
        weight[k] = strtod(list->item[k], &end);
        if (*end || !(weight[k] >= 0 && weight[k] <= 1e6)) {
            return fail(EX_USAGE, "--%s %s: a number from 0 to 1000000 is needed", option,
                        list->item[k]);
        }
        sum += weight[k];
    }
    return sum > 0 ? 0 : fail(EX_USAGE, "--%s: all are 0", option);
}

// Fairness is 1 if nothing is said.  eta are parts of 1, perhaps rounded where they were printed.
static int read_settings(Regrets *r) {
    r->K = opt.model.n;
    r->N = opt.model.n + opt.also.n;
    r->beta = opt.loss.beta;
    for (int k = 0; k < r->K; k++) r->fairness[k] = 1;
    if (opt.fairness.n && read_weights(r->fairness, "fairness", &opt.fairness) < 0) return -1;
    if (!opt.eta.n) return 0;
    if (read_weights(r->eta, "eta", &opt.eta) < 0) return -1;
    double sum = 0;
    for (int k = 0; k < r->K; k++) sum += r->eta[k];
    if (fabs(sum - 1) > 0.01) return fail(EX_USAGE, "--eta: the sum is %.9g, not 1", sum);
    for (int k = 0; k < r->K; k++) r->eta[k] /= sum;
    return 0;
}

// Is it a language model with that tokenizer?  The first one that is asked for says which.
static int check_policy(const char *option, const char *dir, char tokenizer[65]) {
    Config c;
    char sha256[65];
    if (config_load(&c, dir) < 0) return -1;
    if (c.reward) {
        return fail(EX_DATAERR, "--%s %s: a reward model; regret is of policies, language models "
                    "trained from one reference", option, dir);
    }
    if (tokenizer_identity(sha256, dir) < 0) return -1;
    if (!*tokenizer) strcpy(tokenizer, sha256);
    if (!strcmp(tokenizer, sha256)) return 0;
    return fail(EX_DATAERR, "--%s %s: another tokenizer than %s has; log-probabilities of other "
                "tokens do not compare: give policies of one base", option, dir, opt.reference);
}

// The same of what --also names, which may be a mixture.
static int check_other(const char *path, char tokenizer[65]) {
    Mixture mixture;
    int result = mixture_open(&mixture, path);
    if (result == 0) result = check_policy("also", mixture.folder[0], tokenizer);
    mixture_free(&mixture);
    return result;
}

// What can be known before anything is computed.
static int check_regret(void) {
    char tokenizer[65] = "", name[64];
    const char *dir;
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed: a policy for each type of people");
    if (opt.model.n == 1) {
        return fail(EX_USAGE, "--model: one policy has nothing to lose to others; give two or "
                    "more, one for each type of people");
    }
    if (opt.model.n > MAX_POLICIES || opt.also.n > MAX_POLICIES) {
        return fail(EX_USAGE, "--model, --also: at most %d policies", MAX_POLICIES);
    }
    if (!opt.reference) {
        return fail(EX_USAGE, "--reference is needed: the model that the policies started from");
    }
    if (!opt.prompts || !strcmp(opt.prompts, "-")) {
        return fail(EX_USAGE, "--prompts is needed: a file of rows with prompts, which is read for "
                    "each policy");
    }
    if (check_policy("reference", opt.reference, tokenizer) < 0) return -1;
    for (int i = 0; i < opt.model.n; i++) {
        split_model(opt.model.item[i], name, &dir);
        if (check_policy("model", dir, tokenizer) < 0) return -1;
    }
    for (int i = 0; i < opt.also.n; i++) {
        split_model(opt.also.item[i], name, &dir);
        if (check_other(dir, tokenizer) < 0) return -1;
    }
    if (!opt.out) return 0;
    if (!name_ends_with(opt.out, ".json")) {
        return fail(EX_USAGE, "--out %s: the name must end in .json, by which --model knows a "
                    "mixture", opt.out);
    }
    return file_check(opt.out);
}

// ---------------------------------------------------------------------------- written and scored

// What writer j is: of --model, then of --also.
static const char *spec_of(int j) {
    return j < opt.model.n ? opt.model.item[j] : opt.also.item[j - opt.model.n];
}

// All writers' completions.
static int write_for_regret(Writer *writer, Regrets *r) {
    for (int j = 0; j < r->N; j++) {
        const char *path;
        split_model(spec_of(j), writer[j].name, &path);
        r->name[j] = writer[j].name;
        if (writer_write(&writer[j], path, opt.n, 0) < 0) return -1;
        if (writer[j].num_prompts != writer[0].num_prompts) {
            return fail(EX_DATAERR, "%s: other prompts than of %s", writer[j].name,
                        writer[0].name);
        }
    }
    r->n = writer[0].num_prompts;
    return 0;
}

// logp (N, writers' completions) of all that was written, under the model in dir.  of: its own
// number, whose completions have their log-probabilities already; -1: none are its own.
static int score_all(double *logp, const Writer *writer, int N, const char *dir, int of) {
    const double start = now();
    const size_t each = writer->num_written;
    char name[64];
    const char *folder;
    Model m = {0};
    Tokenizer t = {0};
    int result = -1;
    split_model(dir, name, &folder);
    if (load_model(&m, &t, folder, LOAD_LANGUAGE_MODEL, opt.max_length) < 0) goto done;
    for (int j = 0; j < N; j++) {
        double *out = logp + (size_t)j * each;
        if (j != of && writer_logps(&writer[j], &m, t.eos, name, out, NULL) < 0) goto done;
        for (size_t i = 0; j == of && i < each; i++) out[i] = writer[j].written[i].logp;
    }
    if (!opt.quiet) {
        fprintf(stderr, "%s: scored %zu completions in %.1f s\n", name,
                each * (size_t)(N - (of >= 0)), now() - start);
    }
    result = 0;
done:
    model_free(&m);
    tokenizer_free(&t);
    return result;
}

// logp (K, N, completions) under the policies, reference (N, completions) what they are compared
// with: the reference, or with --kl the writer itself.
static int read_logps(double *logp, double *reference, const Regrets *r, const Writer *writer) {
    const size_t each = writer->num_written, all = (size_t)r->N * each;
    for (int i = 0; i < r->K; i++) {
        double *out = logp + (size_t)i * all;
        if (score_all(out, writer, r->N, opt.model.item[i], i) < 0) return -1;
    }
    if (!opt.kl) return score_all(reference, writer, r->N, opt.reference, -1);
    for (size_t c = 0; c < all; c++) reference[c] = writer[c / each].written[c % each].logp;
    return 0;
}

// Scores what was written; sets r->ratio, means over a prompt's completions, and what follows.
static int score_and_measure(Regrets *r, const Writer *writer) {
    const size_t each = writer->num_written, all = (size_t)r->N * each;
    const size_t K = (size_t)r->K, prompts = (size_t)r->n;
    double *reference = allocate(all, sizeof *reference);
    double *logp = allocate(K * all, sizeof *logp);
    int result = -1;
    r->ratio = allocate(K * (size_t)r->N * prompts, sizeof *r->ratio);
    if (!reference || !logp || !r->ratio) goto done;
    if (read_logps(logp, reference, r, writer) < 0) goto done;
    for (size_t c = 0; c < K * all; c++) {
        const size_t prompt = (size_t)writer->written[c % each].prompt;
        r->ratio[c / each * prompts + prompt] += (logp[c] - reference[c % all]) / opt.n;
    }
    if (regrets_measure(r, (uint64_t)opt.seed) < 0) goto done;
    for (Way *way = r->way; opt.kl && way < r->way + r->ways; way++) {
        way->information = r->beta * mixture_information(way->w, logp, r->K, r->N, each);
    }
    result = 0;
done:
    free(reference);
    free(logp);
    return result;
}

// --------------------------------------------------------------------------------- for people

enum { REGRET_COLUMNS = 3 };            // of a panel

static void print_interval(double value, const Interval *x) {
    char text[96];
    snprintf(text, sizeof text, "%.3f (%.3f .. %.3f)", value, x->low, x->high);
    printf(" %27s", text);
}

static double mean_tokens(const Writer *w) {
    double tokens = 0;
    for (size_t i = 0; i < w->num_written; i++) tokens += w->written[i].tokens;
    return tokens / (double)w->num_written;
}

// L, a line for each writer, so that a line says what the policies and the writer's length are.
static void print_ratios(const Regrets *r, const Writer *writer) {
    printf("\nlog pi - log %s, mean +- one standard error\n%-16s %8s",
           opt.kl ? "pi of the writer" : "ref", "written by", "tokens");
    for (int i = 0; i < r->K; i++) printf(" %20.13s", r->name[i]);
    printf("\n");
    for (int j = 0; j < r->N; j++) {
        printf("%-16.16s %8.1f", r->name[j], mean_tokens(&writer[j]));
        for (int i = 0; i < r->K; i++) {
            const Estimate *L = &r->L[i * r->N + j];
            char text[64];
            snprintf(text, sizeof text, "%.3f +- %.3f", L->value, L->error);
            printf(" %20s", text);
        }
        printf("\n");
    }
}

// Both solutions with their gaps.
static void print_weights(const Regrets *r) {
    printf("\n%-16s %27s %15s\n", "min-max weights", "exact (95 %)", "multiplicative");
    for (int k = 0; k < r->K; k++) {
        printf("%-16.16s", r->name[k]);
        print_interval(r->exact.w[k], &r->w_95[k]);
        printf(" %15.5f\n", r->played.w[k]);
    }
    printf("%-16s %27.6f %15.6f\n", "worst regret", r->beta * r->exact.value,
           r->beta * r->played.value);
    printf("%-16s %27.1e %15.1e\n", "duality gap", r->beta * game_gap(&r->exact),
           r->beta * game_gap(&r->played));
}

// Regrets, a line for each way, in panels; column 0 is that of the worst off.
static void print_regrets(const Regrets *r) {
    for (int first = 0; first <= r->K; first += REGRET_COLUMNS) {
        const int end = min_int(first + REGRET_COLUMNS, r->K + 1);
        printf("\n%-16s", "regret (95 %)");
        for (int c = first; c < end; c++) {
            char head[80];
            if (c > 0) snprintf(head, sizeof head, "of %.20s", r->name[c - 1]);
            printf(" %27s", c > 0 ? head : "worst");
        }
        printf("\n");
        for (const Way *way = r->way; way < r->way + r->ways; way++) {
            printf("%-16.16s", way->name);
            for (int c = first; c < end; c++) {
                if (c == 0) print_interval(way->worst, &way->worst_95);
                else print_interval(way->regret[c - 1], &way->regret_95[c - 1]);
            }
            printf("\n");
        }
    }
}

// Two policies neither of whose types loses anything by the other are of one type, it seems.
static void print_twins(const Regrets *r) {
    for (int i = 0; i < r->K; i++) {
        for (int j = 0; j < i; j++) {
            const Interval *x = &r->way[j].regret_95[i], *y = &r->way[i].regret_95[j];
            if (x->low > 0 || x->high < 0 || y->low > 0 || y->high < 0) continue;
            printf("\n%s and %s: neither type loses by the other's policy more than chance; they "
                   "may be one\n", r->name[j], r->name[i]);
        }
    }
}

static void print_all(const Regrets *r, const Writer *writer) {
    printf("%d policies on %d prompts of %s, %d completion%s each at temperature 1; reference %s, "
           "beta %g\n", r->K, r->n, opt.prompts, opt.n, opt.n > 1 ? "s" : "", opt.reference,
           r->beta);
    print_ratios(r, writer);
    print_weights(r);
    print_regrets(r);
    if (opt.fairness.n) {
        printf("\nworst is of the regrets by their weights of fairness:");
        for (int k = 0; k < r->K; k++) printf(" %s %g", r->name[k], r->fairness[k]);
        printf("\n");
    }
    if (opt.kl) {
        printf("\nto be taken off all regrets of a mixture, beta I(w):");
        for (const Way *way = r->way + r->K; way <= r->way + r->minmax; way++) {
            printf(" %s %.3f", way->name, way->information);
        }
        printf("\n");
    }
    print_twins(r);
}

// ------------------------------------------------------------------------------- for programs

// What stands before a list, and the list of n numbers.
static int append_list(Buffer *out, const char *before, const double *x, int n) {
    if (buffer_printf(out, "%s[", before) < 0) return -1;
    for (int k = 0; k < n; k++) {
        if (buffer_printf(out, "%s%.17g", k ? "," : "", x[k]) < 0) return -1;
    }
    return buffer_printf(out, "]");
}

static int append_intervals(Buffer *out, const char *before, const Interval *x, int n) {
    if (buffer_printf(out, "%s[", before) < 0) return -1;
    for (int k = 0; k < n; k++) {
        if (buffer_printf(out, "%s[%.9g,%.9g]", k ? "," : "", x[k].low, x[k].high) < 0) return -1;
    }
    return buffer_printf(out, "]");
}

static int append_string(Buffer *out, const char *before, const char *s) {
    if (buffer_printf(out, "%s", before) < 0) return -1;
    return json_quote(out, s, strlen(s));
}

// "L" or "L_error": a list for each type of lists by writer.
static int append_ratios(Buffer *out, const Regrets *r, int errors) {
    if (buffer_printf(out, ",\n\"%s\":[", errors ? "L_error" : "L") < 0) return -1;
    for (int cell = 0; cell < r->K * r->N; cell++) {
        const int j = cell % r->N;
        const Estimate *L = &r->L[cell];
        const char *before = ",";
        if (j == 0) before = cell ? "],[" : "[";
        if (buffer_printf(out, "%s%.17g", before, errors ? L->error : L->value) < 0) return -1;
    }
    return buffer_printf(out, "]]");
}

// "ways": their weights and regrets.
static int append_ways(Buffer *out, const Regrets *r) {
    if (buffer_printf(out, ",\n\"ways\":[") < 0) return -1;
    for (const Way *way = r->way; way < r->way + r->ways; way++) {
        if (append_string(out, way == r->way ? "\n{\"name\":" : ",\n{\"name\":", way->name) < 0) {
            return -1;
        }
        if (append_list(out, ",\"writer_weights\":", way->w, r->N) < 0) return -1;
        if (append_list(out, ",\"regret\":", way->regret, r->K) < 0) return -1;
        if (append_intervals(out, ",\"regret_95\":", way->regret_95, r->K) < 0) return -1;
        if (buffer_printf(out, ",\"worst\":%.17g,\"worst_95\":[%.9g,%.9g]", way->worst,
                          way->worst_95.low, way->worst_95.high) < 0) {
            return -1;
        }
        if (opt.kl && buffer_printf(out, ",\"information\":%.9g", way->information) < 0) return -1;
        if (buffer_printf(out, "}") < 0) return -1;
    }
    return buffer_printf(out, "]");
}

// mixture.json: first what mixture.c reads.  Gaps and values have beta, as the tables.
static int append_mixture(Buffer *out, const Regrets *r) {
    const Game *exact = &r->exact, *played = &r->played;
    for (int k = 0; k < r->K; k++) {
        char name[64];
        const char *folder;
        split_model(opt.model.item[k], name, &folder);
        if (append_string(out, k ? "," : "{\"models\":[", folder) < 0) return -1;
    }
    if (buffer_printf(out, "]") < 0) return -1;
    if (append_list(out, ",\n\"weights\":", exact->w, r->K) < 0) return -1;
    if (append_intervals(out, ",\n\"weights_95\":", r->w_95, r->K) < 0) return -1;
    if (append_list(out, ",\n\"weights_multiplicative\":", played->w, r->K) < 0) return -1;
    if (append_list(out, ",\n\"adversary\":", exact->p, r->K + 1) < 0) return -1;
    if (buffer_printf(out, ",\n\"value\":%.17g,\"gap\":%.9g,\"value_multiplicative\":%.17g,"
                      "\"gap_multiplicative\":%.9g", r->beta * exact->value,
                      r->beta * game_gap(exact), r->beta * played->value,
                      r->beta * game_gap(played)) < 0) {
        return -1;
    }
    if (append_list(out, ",\n\"fairness\":", r->fairness, r->K) < 0) return -1;
    if (opt.eta.n && append_list(out, ",\n\"eta\":", r->eta, r->K) < 0) return -1;
    if (append_string(out, ",\n\"reference\":", opt.reference) < 0) return -1;
    if (append_string(out, ",\n\"prompts\":", opt.prompts) < 0) return -1;
    if (buffer_printf(out, ",\n\"num_prompts\":%d,\"n\":%d,\"max_new_tokens\":%d,\"seed\":%d,"
                      "\"beta\":%.17g,\"kl\":%s", r->n, opt.n, opt.max_new_tokens, opt.seed,
                      r->beta, opt.kl ? "true" : "false") < 0) {
        return -1;
    }
    for (int j = 0; j < r->N; j++) {
        if (append_string(out, j ? "," : ",\n\"writers\":[", r->name[j]) < 0) return -1;
    }
    if (buffer_printf(out, "]") < 0) return -1;
    if (append_ratios(out, r, 0) < 0 || append_ratios(out, r, 1) < 0) return -1;
    if (append_ways(out, r) < 0) return -1;
    return buffer_printf(out, "}\n");
}

// -------------------------------------------------------------------------------- more regret

// The formula asks for y ~ pi_j: temperature 1, no filter.  Only prompts are cut to a length.
static void settle_sampling(void) {
    opt.temperature = 1;
    opt.top_k = 0;
    opt.top_p = 1;
    opt.min_p = 0;
    opt.repetition_penalty = 1;
    opt.max_length = 0;
}

int command_regret(void) {
    Buffer out = {0};
    Writer *writer = NULL;
    Regrets *r = allocate(1, sizeof *r);
    int result = -1;
    if (!r) return -1;
    if (check_regret() < 0 || read_settings(r) < 0) goto done;
    if (names_differ(&opt.model) < 0 || names_differ(&opt.also) < 0) goto done;
    settle_sampling();
    writer = allocate((size_t)r->N, sizeof *writer);
    if (!writer) goto done;
    if (write_for_regret(writer, r) < 0) goto done;
    if (score_and_measure(r, writer) < 0) goto done;
    print_all(r, writer);
    if (opt.out && append_mixture(&out, r) < 0) goto done;
    if (opt.out && file_write(opt.out, out.data, out.len) < 0) goto done;
    result = 0;
done:
    for (int j = 0; writer && j < r->N; j++) writer_free(&writer[j]);
    free(writer);
    free(r->ratio);
    free(r);
    buffer_free(&out);
    return result;
}
#endif
