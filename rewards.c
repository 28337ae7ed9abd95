/* rewards.c - what gives a number to a text: one reward model, or several together.
 *
 * Texts come as characters, so each model reads them with its own tokenizer, cut to lengths that
 * are its own.  Whoever has texts and wants rewards comes here: `more bestof` and `more compare`
 * (the judge), `more train rloo` and its relatives (--reward).
 *
 *     each (folders, n)     the reward of text k by folder i: that of `more score` for the same row
 *                           a network of features counts them from the text (text_features.c)
 *     out (n)               of several folders their mean, their least, or MaxMin's: REWARD_MIX_..
 */
#ifndef REWARDS_C
#define REWARDS_C
#include "load.c"
#include "heldout.c"

// An answer with its prompt, not ended by zeros.
typedef struct {
    const char *prompt;
    size_t prompt_len;
    const char *answer;
    size_t answer_len;
} RewardText;

typedef struct {
    const char *folder;
    Model model;
    Tokenizer tokenizer;
    FeatureNet net;                     // in place of these; layers 0: none
} RewardModel;

typedef struct {
    int n;
    RewardModel *model;                 // (n)
    int mix;                            // REWARD_MIX_..
    int max_length, max_prompt_length;  // texts are cut to these, in the models' tokens
} Rewards;

int  rewards_check(const List *folders, const char *option);    // before hours of work: are they?
int  rewards_bytes(double *bytes, const List *folders, int T);     // of memory, all together
int  rewards_open(Rewards *x, const List *folders, int max_length, int max_prompt_length);
int  rewards_score(Rewards *x, const RewardText *text, size_t n, double *each, double *out);
void rewards_free(Rewards *x);
void rewards_mix(double *out, const double *each, int folders, size_t n, int mix);

// A reward model of features can score a text that was just written where all of them are counted
// from it.  0, or -1 after fail().
static int check_features_counted(const char *folder, const char *option) {
    FeatureNet net;
    int result = feature_folder_load(&net, NULL, folder);
    for (int i = 0; result == 0 && i < net.features.n; i++) {
        const char *name = net.features.name[i];
        const int k = text_feature_find(name);
        if (feature_is_counted(&net.features, i) && text_feature_table[k].need == NEEDS_NOTHING) {
            continue;
        }
        result = -1;
        fail(EX_DATAERR, "--%s %s: feature \"%s\" is not counted from a text alone, and texts "
             "that are written here bring no features; train it with --features of those that "
             "more judge --help lists", option, folder, name);
    }
    feature_net_free(&net);
    return result;
}

// *bytes: what they take together, with micro-batches of T token rows.  0, or -1 after fail().
int rewards_bytes(double *bytes, const List *folders, int T) {
    const int narrow = opt.base_dtype == BASE_FILE;
    double one;
    *bytes = 0;
    for (int i = 0; i < folders->n; i++) {
        const char *dir = folders->item[i];
        if (memory_model(&one, dir, LOAD_REWARD_MODEL, narrow, T, T, SCORING) < 0) return -1;
        *bytes += one;
    }
    return 0;
}

// Is there a reward model in each folder that the option names, and memory for all of them?  0, or
// -1 after fail().
int rewards_check(const List *folders, const char *option) {
    char who[64];
    double bytes;
    for (int i = 0; i < folders->n; i++) {
        Config c;
        if (feature_folder_is(folders->item[i])) {
            if (check_features_counted(folders->item[i], option) < 0) return -1;
            continue;
        }
        if (config_load(&c, folders->item[i]) < 0) return -1;
        if (c.reward) continue;
        return fail(EX_DATAERR, "--%s %s: a language model; a reward model is needed", option,
                    folders->item[i]);
    }
    if (rewards_bytes(&bytes, folders, 1) < 0) return -1;
    snprintf(who, sizeof who, "--%s", option);
    return memory_check(bytes, who);
}

// Loads them.  0, or -1 after fail(); rewards_free follows either.
int rewards_open(Rewards *x, const List *folders, int max_length, int max_prompt_length) {
    *x = (Rewards){.mix = opt.reward_mix, .max_length = max_length,
                   .max_prompt_length = max_prompt_length};
    x->model = allocate((size_t)folders->n, sizeof *x->model);
    if (!x->model) return -1;
    for (int i = 0; i < folders->n; i++) {
        RewardModel *r = &x->model[x->n++];
        r->folder = folders->item[i];
        if (feature_folder_is(r->folder)) {
            if (feature_folder_load(&r->net, NULL, r->folder) < 0) return -1;
            continue;
        }
        if (load_model(&r->model, &r->tokenizer, r->folder, LOAD_REWARD_MODEL, max_length) < 0) {
            return -1;
        }
    }
    return 0;
}

void rewards_free(Rewards *x) {
    for (int i = 0; i < x->n; i++) {
        model_free(&x->model[i].model);
        tokenizer_free(&x->model[i].tokenizer);
        feature_net_free(&x->model[i].net);
    }
    free(x->model);
    *x = (Rewards){0};
}

// The texts as data rows.  An empty answer, which is no row of data, becomes one space.
static int append_reward_rows(Buffer *rows, const RewardText *text, size_t n) {
    for (const RewardText *t = text; t < text + n; t++) {
        const char *answer = t->answer_len ? t->answer : " ";
        const size_t answer_len = t->answer_len ? t->answer_len : 1;
        if (buffer_printf(rows, "{\"prompt\":") < 0) return -1;
        if (json_quote(rows, t->prompt_len ? t->prompt : "", t->prompt_len) < 0) return -1;
        if (buffer_printf(rows, ",\"completion\":") < 0) return -1;
        if (json_quote(rows, answer, answer_len) < 0) return -1;
        if (buffer_printf(rows, "}\n") < 0) return -1;
    }
    return 0;
}

// Records one after the other that have one prompt become one, so that it is computed once.
static void join_prompts(Dataset *d) {
    size_t kept = 0;
    for (size_t i = 0; i < d->num_records; i++) {
        const Record *r = &d->record[i];
        Record *last = kept ? &d->record[kept - 1] : NULL;
        if (last && dataset_same_tokens(d, last->prompt, r->prompt)) last->count += r->count;
        else d->record[kept++] = *r;
    }
    d->num_records = kept;
}

// The rewards by one model of the rows, which are n texts.  0, or -1 after fail().
static int score_rows(RewardModel *r, const Rewards *x, const Buffer *rows, size_t n,
                      double *reward) {
    Dataset d = {0};
    DataOptions o = data_options();
    o.max_length = x->max_length;
    o.max_prompt_length = x->max_prompt_length;
    o.over_length = OVER_TRUNCATE;
    o.as_given = 1;
    o.all_turns = 0;
    o.bad_row = NULL;
    o.prompt_key = NULL;
    o.chosen_key = NULL;
    o.rejected_key = NULL;
    o.rows = rows;
    int result = -1;
    if (r->net.layers) {
        if (load_features(&d, "completions", &r->net.features, &o) < 0) goto done;
        assert(d.num_answers == n);
        feature_rewards(&r->net, &d, reward);
    } else {
        if (dataset_load(&d, "completions", &r->tokenizer, &o) < 0) goto done;
        assert(d.num_answers == n);
        join_prompts(&d);
        if (evaluate_texts(&r->model, r->tokenizer.eos, &d, reward) < 0) goto done;
    }
    for (size_t k = 0; k < n; k++) {
        if (isfinite(reward[k])) continue;
        fail(EX_DATAERR, "%s: the reward of completion %zu is not finite", r->folder, k + 1);
        goto done;
    }
    result = 0;
done:
    dataset_free(&d);
    return result;
}

// Rewards of n texts: each (folders, n), or NULL, and out (n).  The prompt of texts that stand one
// after the other is computed once, which changes no bit.  0, or -1 after fail().
int rewards_score(Rewards *x, const RewardText *text, size_t n, double *each, double *out) {
    double *own = each ? NULL : allocate((size_t)x->n * n, sizeof *own);
    double *all = each ? each : own;
    Buffer rows = {0};
    int result = -1;
    if (!all) goto done;
    if (append_reward_rows(&rows, text, n) < 0) goto done;
    for (int i = 0; i < x->n; i++) {
        if (score_rows(&x->model[i], x, &rows, n, all + (size_t)i * n) < 0) goto done;
    }
    rewards_mix(out, all, x->n, n, x->mix);
    result = 0;
done:
    free(own);
    buffer_free(&rows);
    return result;
}

/* The rewards r_u of several folders u, each (folders, n), to one for each text, out (n):
 *
 *     mean      the mean over u
 *     min       the least over u, text by text
 *     maxmin    those of the u whose mean over the n texts is least: MaxMin-RLHF's estimate of
 *               max min_u E[r_u] (Chakraborty et al., arXiv:2402.08925); of equal ones the first */
void rewards_mix(double *out, const double *each, int folders, size_t n, int mix) {
    int worst = 0;
    double least = INFINITY;
    for (int u = 0; u < folders; u++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++) sum += each[(size_t)u * n + k];
        if (sum < least) {
            worst = u;
            least = sum;
        }
    }
    for (size_t k = 0; k < n; k++) {
        double sum = 0, lowest = each[k];
        for (int u = 0; u < folders; u++) {
            const double r = each[(size_t)u * n + k];
            sum += r;
            if (r < lowest) lowest = r;
        }
        if (mix == REWARD_MIX_MEAN) out[k] = sum / folders;
        if (mix == REWARD_MIX_MIN) out[k] = lowest;
        if (mix == REWARD_MIX_MAXMIN) out[k] = each[(size_t)worst * n + k];
    }
}
#endif
