/* mixture.c - a mixture of policies in place of a model: mixture.json, which more regret writes.
 *
 *     {"models":["p1","p2"],"weights":[0.571,0.429]}          other keys do not matter here
 *
 * For each prompt one policy is drawn and writes the whole completion (Chidambaram et al., arXiv
 * 2510.15716): texts are mixed, never the probabilities of a next token.  A text's probability is
 *
 *     log pi_w(y|x) = log sum_k w_k pi_k(y|x)
 *
 * Folders are as --model takes them, seen from where the program runs.  A folder of a model is a
 * mixture of one here, so that whoever asks need not tell them apart.
 *
 * One policy is in memory at a time: the caller loads the first and hands it in.  All have one
 * tokenizer.                                                                                     */
#ifndef MIXTURE_C
#define MIXTURE_C
#include "setup.c"
#include "../memory.c"
#include "../prompts.c"
#include "../heldout.c"
#include "../regret.c"
#include "../files/checkpoint.c"
#include "../files/safetensors.c"

typedef struct {
    int n;
    const char *folder[MAX_POLICIES];   // (n)
    double weight[MAX_POLICIES];        // (n) not negative, with the sum 1 but for rounding
    int now;                            // which policy the caller's model is
    Json json;                          // holds the folders' names
} Mixture;

int  mixture_open(Mixture *x, const char *path);               // of a folder or a mixture.json
void mixture_free(Mixture *x);
int  mixture_draw(const Mixture *x, uint64_t seed, uint64_t id);
int  mixture_generate(Mixture *x, Model *m, const Tokenizer *t, const Prompt *prompt,
                      int num_prompts, int n, TakeCompletion *take, void *context);
int  mixture_tokens(Mixture *x, Model *m, int eos, const Dataset *d, double *value,
                    float *token_logp);

// ------------------------------------------------------------------------------------ mixture.json

void mixture_free(Mixture *x) {
    json_free(&x->json);
}

// "models" and "weights" of the file.  0, or -1 after fail().
static int read_mixture(Mixture *x, const char *path) {
    const Json *j = &x->json;
    const int models = json_get(j, 0, "models"), weights = json_get(j, 0, "weights");
    const int lists = json_type(j, models) == JSON_ARRAY && json_type(j, weights) == JSON_ARRAY;
    if (!lists || json_count(j, models) != json_count(j, weights) || !json_count(j, models)) {
        return fail(EX_DATAERR, "%s: no mixture: \"models\", a list of folders, and \"weights\", "
                    "one for each, are needed, as more regret writes them", path);
    }
    if (json_count(j, models) > MAX_POLICIES) {
        return fail(EX_DATAERR, "%s: %d policies; a mixture has at most %d", path,
                    json_count(j, models), MAX_POLICIES);
    }
    double sum = 0;
    int weight = json_first(j, weights);
    for (int i = json_first(j, models); i >= 0; i = json_next(j, i)) {
        x->folder[x->n] = json_string(j, i);
        x->weight[x->n] = json_number(j, weight);
        if (json_type(j, i) != JSON_STRING || json_type(j, weight) != JSON_NUMBER
            || x->weight[x->n] < 0) {
            return fail(EX_DATAERR, "%s: policy %d: a folder and a weight that is not negative are "
                        "needed", path, x->n + 1);
        }
        sum += x->weight[x->n];
        weight = json_next(j, weight);
        x->n++;
    }
    if (fabs(sum - 1) <= 1e-6) return 0;
    return fail(EX_DATAERR, "%s: the weights' sum is %.9g, not 1", path, sum);
}

// Are all of them language models with one tokenizer?  0, or -1 after fail().
static int check_policies(const Mixture *x, const char *path) {
    char first[65], sha256[65];
    for (int k = 0; k < x->n; k++) {
        struct stat st;
        Config c;
        if (stat(x->folder[k], &st) < 0) {
            return fail(EX_NOINPUT, "%s: no folder %s here; a mixture's folders are seen from "
                        "where more runs", path, x->folder[k]);
        }
        if (config_load(&c, x->folder[k]) < 0) return -1;
        if (c.reward) {
            return fail(EX_DATAERR, "%s: %s is a reward model; policies are mixed", path,
                        x->folder[k]);
        }
        if (tokenizer_identity(k ? sha256 : first, x->folder[k]) < 0) return -1;
        if (k && strcmp(sha256, first)) {
            return fail(EX_DATAERR, "%s: %s has another tokenizer than %s; mix policies of one "
                        "model", path, x->folder[k], x->folder[0]);
        }
    }
    return 0;
}

// A file whose name ends in .json, which no folder of a model is.
static int is_mixture(const char *path) {
    struct stat st;
    if (!name_ends_with(path, ".json")) return 0;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

// What --model names.  0, or -1 after fail(); mixture_free follows either.
int mixture_open(Mixture *x, const char *path) {
    *x = (Mixture){0};
    if (!is_mixture(path)) {
        x->n = 1;
        x->folder[0] = path;
        x->weight[0] = 1;
        return 0;
    }
    if (json_load(&x->json, path) < 0 || read_mixture(x, path) < 0) return -1;
    return check_policies(x, path);
}

// Policy k takes the place of the one in m, whose texts it must have room for.
static int turn_to(Mixture *x, Model *m, int k) {
    const int positions = m->config.max_positions, vocab_size = m->config.vocab_size;
    if (x->now == k) return 0;
    model_free(m);
    if (checkpoint_load(m, x->folder[k], LOAD_LANGUAGE_MODEL) < 0) return -1;
    x->now = k;
    if (m->config.max_positions == positions && m->config.vocab_size == vocab_size) return 0;
    return fail(EX_DATAERR, "%s: %d positions and %d pieces, another policy of the mixture %d and "
                "%d; mix policies of one model", x->folder[k], m->config.max_positions,
                m->config.vocab_size, positions, vocab_size);
}

// ------------------------------------------------------------------------------ what it writes

// The policy for the prompt of that id: a draw by w from a stream of its own.
int mixture_draw(const Mixture *x, uint64_t seed, uint64_t id) {
    const uint64_t u = random_u64(seed, STREAM_MIXTURE, id, 0);
    double total = 0, sum = 0;
    int drawn = 0;
    for (int k = 0; k < x->n; k++) total += x->weight[k];
    const double target = (double)(u >> 11) * 0x1p-53 * total;
    for (int k = 0; k < x->n && sum <= target; k++) {
        sum += x->weight[k];
        if (x->weight[k] > 0) drawn = k;
    }
    return drawn;
}

// Completions of one policy's prompts that wait for those of the others.
typedef struct {
    Completion *kept;                   // (prompts, n) each with memory of its own
    int n;
    const int *number;                  // of the policy's prompts among all
} Waiting;

// TakeCompletion of one policy of several.
static int keep_waiting(void *context, const Completion *c) {
    const Waiting *x = context;
    if (c->finish == GOING) return 0;
    const size_t tokens = (size_t)c->n;
    int *token = allocate(tokens, sizeof *token);
    float *token_logp = allocate(tokens, sizeof *token_logp);
    char *text = allocate(c->len + 1, 1);

    const int prompt = x->number[c->prompt];
    Completion *kept = &x->kept[(size_t)prompt * (size_t)x->n + (size_t)c->sample];
    *kept = *c;
    kept->prompt = prompt;
    kept->token = token;
    kept->token_logp = token_logp;
    kept->text = text;
    if (!token || !token_logp || !text) return -1;
    memcpy(token, c->token, tokens * sizeof *token);
    memcpy(token_logp, c->token_logp, tokens * sizeof *token_logp);
    memcpy(text, c->text, c->len);
    return 0;
}

// generate, which says first, unless quiet, what it takes of memory; too little ends it.  0, or -1
// after fail().
static int generate_announced(Model *m, const Tokenizer *t, const Prompt *prompt, int num_prompts,
                              const Sampling *s, TakeCompletion *take, void *context) {
    const double needed = (double)generate_room(&m->config, prompt, num_prompts, s);
    if (memory_announce(m, needed, "a lower --batch or --max_new_tokens takes", opt.quiet) < 0) {
        return -1;
    }
    return generate(m, t, prompt, num_prompts, s, take, context);
}

/* n completions of each prompt, given to `take` in order: of a model as they come (generate), of a
 * mixture when all are there, policy by policy.  Those of a prompt are all by the policy drawn for
 * it, and what that policy alone would write.  m is the policy that x has `now`, at first the first
 * one; t its tokenizer.  0, or -1 after fail().                                                  */
int mixture_generate(Mixture *x, Model *m, const Tokenizer *t, const Prompt *prompt,
                     int num_prompts, int n, TakeCompletion *take, void *context) {
    if (x->n == 1) {
        const Sampling s = sampling_options(t, n, x->folder[0]);
        return generate_announced(m, t, prompt, num_prompts, &s, take, context);
    }
    const size_t total = (size_t)num_prompts * (size_t)n;
    Completion *kept = allocate(total, sizeof *kept);
    Prompt *own = allocate((size_t)num_prompts, sizeof *own);
    int *number = allocate((size_t)num_prompts, sizeof *number);
    Waiting waiting = {.kept = kept, .n = n, .number = number};
    int result = -1;
    if (!kept || !own || !number) goto done;

    for (int k = 0; k < x->n; k++) {
        int count = 0;
        for (int i = 0; i < num_prompts; i++) {
            if (mixture_draw(x, (uint64_t)opt.seed, prompt[i].id) != k) continue;
            own[count] = prompt[i];
            number[count] = i;
            count++;
        }
        if (!count) continue;
        if (!opt.quiet) {
            fprintf(stderr, "%s: %d of %d prompts\n", x->folder[k], count, num_prompts);
        }
        if (turn_to(x, m, k) < 0) goto done;
        const Sampling s = sampling_options(t, n, x->folder[k]);
        if (generate_announced(m, t, own, count, &s, keep_waiting, &waiting) < 0) goto done;
    }
    for (size_t i = 0; i < total; i++) {
        if (take(context, &kept[i]) < 0) goto done;
    }
    result = 0;
done:
    for (size_t i = 0; kept && i < total; i++) {
        free((void *)kept[i].token);
        free((void *)kept[i].token_logp);
        free((void *)kept[i].text);
    }
    free(kept);
    free(own);
    free(number);
    return result;
}

// ------------------------------------------------------------------------ how probable texts are

// token_logp of one answer's tokens [start, end) from those of the policies, `all` (n, stride):
// what log pi_w of the answer grows by with each token.
static void mix_tokens(const Mixture *x, float *token_logp, const float *all, size_t stride,
                       const size_t *token, int n) {
    double sum[MAX_POLICIES] = {0}, before = 0;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < x->n; k++) sum[k] += (double)all[(size_t)k * stride + token[i]];
        const double now_logp = mixture_logp(x->weight, sum, 1, x->n);
        token_logp[token[i]] = (float)(now_logp - before);
        before = now_logp;
    }
}

// The places of all of answer a's tokens in token_logp, with its end of text if it has one.
static int places_of(size_t *token, const Dataset *d, int a) {
    const Answer *answer = &d->answer[a];
    for (int i = 0; i < answer->tokens.len; i++) token[i] = answer->tokens.start + (size_t)i;
    if (answer->cut) return answer->tokens.len;
    token[answer->tokens.len] = d->num_tokens + (size_t)a;
    return answer->tokens.len + 1;
}

/* evaluate_tokens for a mixture of language models: log pi_w of d's answers, and, if token_logp is
 * not NULL, what each token adds to it; of one model, which may be a reward model, it is that.  m
 * as in mixture_generate.  0, or -1 after fail().                                                */
int mixture_tokens(Mixture *x, Model *m, int eos, const Dataset *d, double *value,
                   float *token_logp) {
    if (x->n == 1) return evaluate_tokens(m, eos, d, value, token_logp);
    const size_t answers = d->num_answers, stride = d->num_tokens + answers, n = (size_t)x->n;
    double *all = allocate(n * answers, sizeof *all);
    float *all_tokens = token_logp ? allocate(n * stride, sizeof *all_tokens) : NULL;
    size_t *token = allocate(stride, sizeof *token);
    int result = -1;
    if (!all || !token || (token_logp && !all_tokens)) goto done;
    for (int k = 0; k < x->n; k++) {
        float *tokens = token_logp ? all_tokens + (size_t)k * stride : NULL;
        if (x->weight[k] == 0) continue;
        if (turn_to(x, m, k) < 0) goto done;
        if (evaluate_tokens(m, eos, d, all + (size_t)k * answers, tokens) < 0) goto done;
    }
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        for (int a = r->first; a < r->first + r->count; a++) {
            value[a] = mixture_logp(x->weight, all + a, answers, x->n);
            if (!token_logp) continue;
            mix_tokens(x, token_logp, all_tokens, stride, token, places_of(token, d, a));
        }
    }
    result = 0;
done:
    free(all);
    free(all_tokens);
    free(token);
    return result;
}
#endif
