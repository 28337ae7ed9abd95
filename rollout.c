/* rollout.c - policies and the rewards of their own texts: RLOO, GRPO, PPO.
 *
 *     draw         n completions of each prompt of the step by the policy as it is: log pi_old
 *     judge        their rewards r (rewards.c), and log pi_ref of their tokens
 *     advantages   of a prompt's n completions beside each other: A (rl_loss.c)
 *     update       forward, the loss of each token from log pi, log pi_old, log pi_ref and A,
 *                  backward; with --ppo_epochs again on the same texts, each time a step
 *
 * Texts are drawn at temperature 1, from all tokens, so that they are the policy's own, and the
 * log-probabilities that generate.c drew by are those of the training forward to the last bit
 * (NUMERICS.md): every first update checks that.  A drawn text depends on the weights, its prompt,
 * the seed and its place in the plan, not on what is computed beside it.  */
#ifndef ROLLOUT_C
#define ROLLOUT_C
#include "critic.c"
#include "prompts.c"
#include "rewards.c"

enum { DRAWING, JUDGING, REFERRING, NUM_PHASES };

// Texts that were drawn, and what is known of them.
typedef struct {
    Dataset d;                          // a record for each prompt, an answer for each completion
    float *old_logp;                    // (d.num_tokens) log pi when they were drawn
    float *ref_logp;                    // (d.num_tokens) log pi_ref
    size_t capacity;
    Buffer texts;                       // prompts and completions, which `text` points into
    RewardText *text;                   // (d.num_answers)
    unsigned char *ended;               // (d.num_answers) by an end of text or a --stop string
    double *each;                       // (folders, d.num_answers) rewards
    double *reward;                     // (d.num_answers) r
    double *logp, *ref_sum, *kl;        // (d.num_answers) log pi_old, log pi_ref; sum of kl_term
    double *advantage;                  // (d.num_answers)
    float *token_advantage;             // (d.num_tokens) the same, or the critic's
    float *old_value, *target;          // (d.num_tokens) the critic's, and what it is to be
} Rollouts;

// What a step's texts are on average.
typedef struct {
    double all_tokens;                  // the one number that is no mean
    double reward, kl, tokens, ended;   // of a text
    double entropy, kl_per_token;       // of a token
    double each[MAX_FILES];             // reward by folder
} RolloutMeans;

// Of the texts of one rollout: how reward goes with length.
typedef struct {
    double reward, length;              // means
    double length_reward, length_length;    // within prompts, products of deviations from means
} LengthSums;

// The trainer's own part of a run.
typedef struct RolloutRun {
    Rewards rewards;
    Model reference;                    // empty: that of adapters is the policy without them
    int begin;                          // what is given for an empty prompt; -1: nothing can be
    Rollouts x;                         // of the running step
    Item *item;                         // (num_items) of the plan, for which x was drawn
    size_t num_items, item_capacity;
    int pass;                           // which update on x: 0 .. --ppo_epochs - 1
    double clipped;                     // share of tokens whose ratio is beyond the clip
    float *old_logp, *ref_logp;         // (T) of the micro-batch's token rows
    float *advantage, *weight;          // (T)
    float *old_value, *target;          // (T)
    size_t row_capacity[6];
    Critic critic;                      // of --critic
    int updates;                        // so far
    RolloutMeans means;
    LengthSums *history;                // (rollouts)
    double *kl_history;                 // (rollouts)
    size_t rollouts, history_capacity, kl_capacity;
    double seconds[NUM_PHASES], start;   // what the parts took so far; when the first step began
    size_t checked;                     // drawn tokens whose log-probabilities training had too
} RolloutRun;

// hooks of the trainer
int  rollout_open(Run *run);
void rollout_close(Run *run);
int  rollout_plan(Run *run);
int  rollout_rows(const Run *run, int steps);
int  rollout_beside(const Run *run, int T, double *needed, double *held);
int  rollout_step(Run *run, size_t at, size_t end, double *loss);
int  rollout_evaluate(Run *run, const Dataset *d, int step, double metric[NUM_METRICS]);
void rollout_log(const Run *run, FILE *f);
void rollout_show(const Run *run, FILE *f);
int  rollout_enough(Run *run);
void rollout_finish(const Run *run);
int  rollout_state(Run *run, State *s);
int  rollout_goes_on(const Run *run);

// does the reward rise by length alone?
double length_share(const LengthSums *history, size_t n, size_t window);

// --------------------------------------------------------------------------- the trainer's part

static void rollouts_free(Rollouts *x) {
    dataset_free(&x->d);
    free(x->old_logp);
    free(x->ref_logp);
    buffer_free(&x->texts);
    free(x->text);
    free(x->ended);
    free(x->each);
    free(x->reward);
    free(x->logp);
    free(x->ref_sum);
    free(x->kl);
    free(x->advantage);
    free(x->token_advantage);
    free(x->old_value);
    free(x->target);
    *x = (Rollouts){0};
}

// The model m of the folder dir reads the policy's texts as they are: has it the same tokens, and
// positions for all of them?  0, or -1 after fail() that names the option.
static int check_beside(const Run *run, const Model *m, const char *option, const char *dir) {
    const char *start = opt.model.item[0];
    char policy[65], other[65];
    if (tokenizer_identity(policy, start) < 0 || tokenizer_identity(other, dir) < 0) return -1;
    if (strcmp(policy, other) != 0) {
        return fail(EX_DATAERR, "--%s %s: another tokenizer than that of %s, whose tokens it is to "
                    "read", option, dir, start);
    }
    if (check_fit(m, &run->tokenizer, dir, 0) < 0) return -1;
    if (m->config.max_positions >= run->model.config.max_positions) return 0;
    return fail(EX_DATAERR, "--%s %s: %d positions, %s has %d", option, dir,
                m->config.max_positions, start, run->model.config.max_positions);
}

// Is the policy without its adapters the reference?
static int reference_is_base(void) { return opt.lora_r && !opt.reference; }

// The model of --reference, or the policy's own start.  0, or -1 after fail().
static int load_reference(Run *run) {
    RolloutRun *x = run->rollout;
    const char *dir = opt.reference ? opt.reference : opt.model.item[0];
    const LoraOptions none = {.r = 0};
    const int narrow = narrow_asked();
    if (checkpoint_load_as(&x->reference, dir, LOAD_LANGUAGE_MODEL, &none, narrow) < 0) return -1;
    return check_beside(run, &x->reference, "reference", dir);
}

// The reference and the critic, if there is one.  0, or -1 after fail().
static int load_beside(Run *run) {
    RolloutRun *x = run->rollout;
    if (!reference_is_base() && load_reference(run) < 0) return -1;
    if (!opt.critic) return 0;
    if (critic_open(&x->critic, opt.critic) < 0) return -1;
    return check_beside(run, &x->critic.model, "critic", opt.critic);
}

int rollout_open(Run *run) {
    RolloutRun *x = allocate(1, sizeof *x);
    run->rollout = x;
    if (!x) return -1;
    if (!opt.reward.n) return fail(EX_USAGE, "--reward is needed: folders of reward models");
    if (opt.n < 2 || opt.n > MAX_ANSWERS) {
        return fail(EX_USAGE, "--n %d: from 2 to %d completions of a prompt are compared", opt.n,
                    MAX_ANSWERS);
    }
    if (opt.reduction == REDUCE_CLASS_MEANS) {
        return fail(EX_USAGE, "--reduction class-means: drawn texts have no classes; choose joint "
                    "or tokens");
    }
    if (opt.logp == LOGP_MEAN && opt.reduction == REDUCE_TOKENS) {
        return fail(EX_USAGE, "--logp mean with --reduction tokens divides by the tokens twice; "
                    "choose --reduction joint, or --logp sum");
    }
    x->begin = run->tokenizer.bos >= 0 ? run->tokenizer.bos : run->tokenizer.eos;
    const int length = opt.reward_max_length ? opt.reward_max_length : opt.max_length;
    int prompt_length = opt.reward_max_prompt_length;
    if (!prompt_length) prompt_length = opt.max_prompt_length;
    if (rewards_check(&opt.reward, "reward") < 0) return -1;
    if (rewards_open(&x->rewards, &opt.reward, length, prompt_length) < 0) return -1;
    return load_beside(run);
}

void rollout_close(Run *run) {
    RolloutRun *x = run->rollout;
    if (!x) return;
    rewards_free(&x->rewards);
    model_free(&x->reference);
    critic_free(&x->critic);
    rollouts_free(&x->x);
    free(x->item);
    free(x->old_logp);
    free(x->ref_logp);
    free(x->advantage);
    free(x->weight);
    free(x->old_value);
    free(x->target);
    free(x->history);
    free(x->kl_history);
    free(x);
    run->rollout = NULL;
}

// Each prompt of the training files once an epoch, in steps of --per_step_rows, each step repeated
// --ppo_epochs times.
int rollout_plan(Run *run) {
    run->full = (size_t)opt.per_step_rows;
    run->repeat = opt.ppo_epochs;
    for (int s = 0; s < run->num_train; s++) {
        Dataset *d = &run->data[s];
        Prompts prompts = {0};
        if (dataset_keep_fold(d, 0) < 0) return -1;
        int result = prompts_init(&prompts, d, &run->tokenizer, 1);
        for (int i = 0; result == 0 && i < prompts.n; i++) {
            const int positions = run->model.config.max_positions;
            const size_t record = prompts.cut[i].id;
            if (prompts.cut[i].len < positions) {
                result = plan_item(run, (Item){s, (int)record, 0});
                continue;
            }
            result = -1;
            fail(EX_DATAERR, "%s:%zu: the prompt has %d tokens, the model %d positions; "
                 "--max_prompt_length cuts prompts", d->path, d->record[record].line,
                 prompts.cut[i].len, positions);
        }
        prompts_free(&prompts);
        if (result < 0) return -1;
    }
    return plan_epochs(run, 0, 0, 1);
}

// ------------------------------------------------------------------------------------- memory

// Token rows of the prompt of a record as it is given to the policy.
static int prompt_rows(const Run *run, const Dataset *d, const Record *r) {
    const Span whole = dataset_prompt(d, r);
    return prompt_cut(d, &whole, 0, &run->rollout->begin).len;
}

/* Rows are of whole prompts with n texts each, no more than --micro_batch_tokens but for one
 * prompt; of an evaluation with one.  Prompts are computed for drawing by themselves.            */
int rollout_rows(const Run *run, int steps) {
    const int positions = run->model.config.max_positions;
    size_t most = 0, prompts = 0, longest = 0, begin = 0;
    for (int s = 0; s < steps; s++) {
        size_t rows = 0, of_prompts = 0;
        for (; begin < run->step_end[s]; begin++) {
            const Item *i = &run->item[begin];
            const int len = prompt_rows(run, &run->data[i->set], item_record(run, i));
            const int drawn = min_int(opt.max_new_tokens, positions - len);
            const size_t unit = (size_t)(len + opt.n * drawn);
            longest = max_size(longest, unit);
            rows += unit;
            of_prompts += (size_t)len;
        }
        most = max_size(most, rows);
        prompts = max_size(prompts, of_prompts);
    }
    const Dataset *first = run->data + run->num_train + run->num_then;
    for (const Dataset *d = first; d < first + run->num_eval; d++) {
        size_t of_prompts = 0;
        for (const Record *r = d->record; r < d->record + d->num_records; r++) {
            of_prompts += (size_t)prompt_rows(run, d, r);
        }
        prompts = max_size(prompts, of_prompts);
        most = max_size(most, of_prompts + d->num_records * (size_t)opt.max_new_tokens);
    }
    const size_t micro_batch = (size_t)opt.micro_batch_tokens;
    most = max_size(most < micro_batch ? most : micro_batch, longest);
    return (int)max_size(most, prompts < PROMPT_ROWS ? prompts : PROMPT_ROWS);
}

// Token rows of the longest prompt of the plan; before there is one, what prompts may have.
static int longest_prompt(const Run *run, const Config *c) {
    int longest = 0;
    if (!run->rollout) return min_int(opt.max_prompt_length, c->max_positions);
    for (size_t i = 0; i < run->num_items; i++) {
        const Item *item = &run->item[i];
        const Record *r = item_record(run, item);
        longest = max_int(longest, prompt_rows(run, &run->data[item->set], r));
    }
    return longest;
}

// The reference, the critic, reward models; and what drawing takes.
int rollout_beside(const Run *run, int T, double *needed, double *held) {
    const RolloutRun *x = run->rollout;                 // NULL before they are loaded
    const char *policy = opt.model.item[0], *dir = opt.reference ? opt.reference : policy;
    double bytes;
    Config c;
    if (!reference_is_base()) {
        const int kind = LOAD_LANGUAGE_MODEL;
        if (memory_model(&bytes, dir, kind, narrow_asked(), T, T, SCORING) < 0) return -1;
        *needed += bytes;
    }
    if (opt.critic) {
        if (memory_model(&bytes, opt.critic, LOAD_REWARD_MODEL, 0, T, T, TRAINING) < 0) return -1;
        *needed += bytes;
    }
    if (rewards_bytes(&bytes, &opt.reward, T) < 0 || config_load(&c, policy) < 0) return -1;
    const int new_rows = min_int(opt.max_new_tokens, c.max_positions);
    const int of_prompt = longest_prompt(run, &c);
    *needed += bytes;
    *needed += (double)generate_bytes(&c, opt.batch, opt.batch / opt.n + 1, of_prompt, new_rows);
    if (!x) return 0;
    *held += (double)(model_held(&x->reference) + model_held(&x->critic.model));
    for (int i = 0; i < x->rewards.n; i++) *held += (double)model_held(&x->rewards.model[i].model);
    return 0;
}

// ---------------------------------------------------------------------------- drawing and judging

// The prompts that are drawn for, and a drawing at work.
typedef struct {
    int n;                              // prompts
    Prompt *prompt;                     // (n) as the policy is given them
    const Dataset **file;               // (n) where each is from
    size_t *record;                     // (n)
    int samples;                        // texts of each
    size_t *prompt_at, *answer_at;      // (n samples) where they begin in Rollouts.texts
    const Tokenizer *t;
    Rollouts *x;
} Drawing;

static void drawing_free(Drawing *w) {
    free(w->prompt);
    free(w->file);
    free(w->record);
    free(w->prompt_at);
    free(w->answer_at);
}

// Room for so many texts of each of `most` prompts, of which there are none so far, and for what is
// known of them.  0, or -1 after fail().
static int drawing_init(Drawing *w, Rollouts *x, const Tokenizer *t, size_t most, int samples) {
    const size_t texts = most * (size_t)samples, folders = (size_t)opt.reward.n;
    *w = (Drawing){.samples = samples, .t = t, .x = x};
    rollouts_free(x);
    if (!(w->prompt = allocate(most, sizeof *w->prompt))) return -1;
    if (!(w->file = allocate(most, sizeof *w->file))) return -1;
    if (!(w->record = allocate(most, sizeof *w->record))) return -1;
    if (!(w->prompt_at = allocate(texts, sizeof *w->prompt_at))) return -1;
    if (!(w->answer_at = allocate(texts, sizeof *w->answer_at))) return -1;
    if (!(x->text = allocate(texts, sizeof *x->text))) return -1;
    if (!(x->ended = allocate(texts, sizeof *x->ended))) return -1;
    if (!(x->each = allocate(texts * folders, sizeof *x->each))) return -1;
    if (!(x->reward = allocate(texts, sizeof *x->reward))) return -1;
    if (!(x->logp = allocate(texts, sizeof *x->logp))) return -1;
    if (!(x->ref_sum = allocate(texts, sizeof *x->ref_sum))) return -1;
    if (!(x->kl = allocate(texts, sizeof *x->kl))) return -1;
    if (!(x->advantage = allocate(texts, sizeof *x->advantage))) return -1;
    return 0;
}

// Adds the prompt of a record, whose texts get the random numbers of `id`.
static void drawing_add(Drawing *w, const Dataset *file, size_t record, uint64_t id,
                        const int *begin) {
    const Span whole = dataset_prompt(file, &file->record[record]);
    w->prompt[w->n] = prompt_cut(file, &whole, (size_t)id, begin);
    w->prompt[w->n].id = id;
    w->file[w->n] = file;
    w->record[w->n] = record;
    w->n++;
}

// TakeCompletion of draw_texts.
static int keep_drawn(void *context, const Completion *c) {
    Drawing *w = context;
    Rollouts *x = w->x;
    const size_t k = x->d.num_answers;
    if (c->finish == GOING) return 0;

    // the prompt, whole, once for all of its texts
    if (c->sample == 0) {
        const Dataset *file = w->file[c->prompt];
        const Record *r = &file->record[w->record[c->prompt]];
        const Span whole = dataset_prompt(file, r);
        const int *token = file->token + whole.start;
        w->prompt_at[k] = x->texts.len;
        if (tokenizer_decode(w->t, token, (size_t)whole.len, &x->texts) < 0) return -1;
        x->text[k].prompt_len = x->texts.len - w->prompt_at[k];
        if (drawn_add_prompt(&x->d, r, &w->prompt[c->prompt]) < 0) return -1;
    } else {
        w->prompt_at[k] = w->prompt_at[k - 1];
        x->text[k].prompt_len = x->text[k - 1].prompt_len;
    }

    w->answer_at[k] = x->texts.len;
    x->text[k].answer_len = c->len;
    x->ended[k] = c->finish == FINISH_EOS || c->finish == FINISH_STOP;
    x->logp[k] = c->logp;
    if (buffer_append(&x->texts, c->text, c->len) < 0) return -1;
    return drawn_add_answer(&x->d, &x->old_logp, &x->capacity, c);
}

// The texts of w by the policy as it is.  0, or -1 after fail().
static int draw_texts(Run *run, Drawing *w) {
    Rollouts *x = w->x;
    const Sampling s = {
        .folder = "the policy", .temperature = 1, .top_p = 1, .repetition_penalty = 1,
        .seed = (uint64_t)opt.seed, .n = w->samples, .max_new_tokens = opt.max_new_tokens,
        .batch = opt.batch, .num_eos = w->t->num_ends, .eos = w->t->ends,
        .num_stop = opt.stop.n, .stop = opt.stop.item,
    };
    if (generate(&run->model, w->t, w->prompt, w->n, &s, keep_drawn, w) < 0) return -1;
    for (size_t k = 0; k < x->d.num_answers; k++) {
        x->text[k].prompt = x->texts.data + w->prompt_at[k];
        x->text[k].answer = x->texts.data + w->answer_at[k];
    }
    return 0;
}

// What the reference says of the texts.  0, or -1 after fail().
static int refer_texts(Run *run, Rollouts *x) {
    const Dataset *d = &x->d;
    const size_t tokens = d->num_tokens + d->num_answers;
    if (!(x->ref_logp = allocate(tokens, sizeof *x->ref_logp))) return -1;
    const int is_base = reference_is_base();
    Model *reference = is_base ? &run->model : &run->rollout->reference;
    reference->adapters_off = is_base;
    const int status = evaluate_tokens(reference, run->tokenizer.eos, d, x->ref_sum, x->ref_logp);
    reference->adapters_off = 0;
    if (status < 0) return -1;
    for (size_t k = 0; k < d->num_answers; k++) {
        const Span span = d->answer[k].tokens;
        if (!isfinite(x->ref_sum[k])) {
            return fail(EX_DATAERR, "the reference gives a drawn text no finite log-probability: "
                        "its weights are damaged or too large");
        }
        for (size_t i = span.start; i < span.start + (size_t)span.len; i++) {
            x->kl[k] += kl_term(x->old_logp[i], x->ref_logp[i]);
        }
    }
    return 0;
}

// Draws the texts of w and asks for their rewards and the reference.  0, or -1 after fail().
static int draw_and_judge(Run *run, Drawing *w) {
    RolloutRun *p = run->rollout;
    Rollouts *x = w->x;
    const double start = now();
    if (draw_texts(run, w) < 0) return -1;
    const double drawn = now();
    const size_t n = x->d.num_answers;
    if (rewards_score(&p->rewards, x->text, n, x->each, x->reward) < 0) return -1;
    const double judged = now();
    if (refer_texts(run, x) < 0) return -1;
    p->seconds[DRAWING] += drawn - start;
    p->seconds[JUDGING] += judged - drawn;
    p->seconds[REFERRING] += now() - judged;
    return 0;
}

// Means over the texts and tokens of x.
static RolloutMeans rollout_means(const Rollouts *x) {
    const size_t n = x->d.num_answers;
    const double texts = (double)n;
    RolloutMeans m = {0};
    double kl = 0;
    for (size_t k = 0; k < n; k++) {
        m.all_tokens += x->d.answer[k].tokens.len;
        kl += x->kl[k];
        m.reward += x->reward[k] / texts;
        m.ended += x->ended[k] / texts;
        m.entropy -= x->logp[k];
        for (int u = 0; u < opt.reward.n; u++) m.each[u] += x->each[(size_t)u * n + k] / texts;
    }
    m.tokens = m.all_tokens / texts;
    m.kl = kl / texts;
    m.kl_per_token = kl / m.all_tokens;
    m.entropy /= m.all_tokens;
    return m;
}

// ---------------------------------------------------------------- does it rise by length alone?

// Adds to s the products of deviations of a prompt's texts from their means.
static void add_products(LengthSums *s, const Rollouts *x, const Record *r) {
    double reward = 0, length = 0;
    for (int k = r->first; k < r->first + r->count; k++) {
        reward += x->reward[k] / r->count;
        length += (double)x->d.answer[k].tokens.len / r->count;
    }
    for (int k = r->first; k < r->first + r->count; k++) {
        const double longer = x->d.answer[k].tokens.len - length;
        s->length_reward += longer * (x->reward[k] - reward);
        s->length_length += longer * longer;
    }
}

// The mean over a window, and the variance of that mean, of rewards or of lengths.
static double window_mean(double *variance, const LengthSums *s, size_t window, int of_length) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < window; i++) {
        mean += (of_length ? s[i].length : s[i].reward) / (double)window;
    }
    for (size_t i = 0; i < window; i++) {
        const double from_mean = (of_length ? s[i].length : s[i].reward) - mean;
        squares += from_mean * from_mean;
    }
    *variance = squares / (double)(window * (window - 1));
    return mean;
}

/* How much of the reward's rise is that of length, from the first `window` of n rollouts to the
 * last:
 *
 *     share = b (L_last - L_first) / (R_last - R_first)
 *
 * with b what a token more brings among texts of one prompt, by least squares over both windows.
 * 0 where reward or length does not clearly rise: by three standard errors.                     */
double length_share(const LengthSums *history, size_t n, size_t window) {
    double reward_first, reward_last, length_first, length_last, products = 0, squares = 0;
    if (n < 2 * window) return 0;
    const LengthSums *last = history + (n - window);
    const double reward = window_mean(&reward_last, last, window, 0)
                          - window_mean(&reward_first, history, window, 0);
    const double length = window_mean(&length_last, last, window, 1)
                          - window_mean(&length_first, history, window, 1);
    if (!(reward > 3 * sqrt(reward_first + reward_last))) return 0;
    if (!(length > 3 * sqrt(length_first + length_last))) return 0;
    for (size_t i = 0; i < window; i++) {
        products += history[i].length_reward + last[i].length_reward;
        squares += history[i].length_length + last[i].length_length;
    }
    return squares > 0 ? products / squares * length / reward : 0;
}

// The last rollout's numbers go to the history.  0, or -1 after fail().
static int keep_history(RolloutRun *p) {
    const Dataset *d = &p->x.d;
    const size_t n = p->rollouts + 1;
    if (reserve(&p->history, &p->history_capacity, n, sizeof *p->history) < 0) return -1;
    if (reserve(&p->kl_history, &p->kl_capacity, n, sizeof *p->kl_history) < 0) return -1;
    LengthSums s = {.reward = p->means.reward, .length = p->means.tokens};
    for (size_t i = 0; i < d->num_records; i++) add_products(&s, &p->x, &d->record[i]);
    p->history[p->rollouts] = s;
    p->kl_history[p->rollouts] = p->means.kl;
    p->rollouts++;
    return 0;
}

int rollout_enough(Run *run) {
    enum { WINDOW = 10 };
    const RolloutRun *p = run->rollout;
    const LengthSums *first = p->history, *last = p->history + p->rollouts - 1;
    if (opt.length_share == 0) return 0;
    const double share = length_share(p->history, p->rollouts, WINDOW);
    if (share < opt.length_share) return 0;
    fprintf(stderr, "stopped after %zu rollouts: length alone explains %.0f %% of the reward's "
            "rise, by what a token more brings among texts of one prompt.  The first rollout has "
            "the reward %.3f and %.1f tokens a text, the last %.3f and %.1f.  A reward that does "
            "not pay for length is needed, or a higher --beta; --length_share 0 goes on\n",
            p->rollouts, 100 * share, first->reward, first->length, last->reward, last->length);
    if (run->log) fprintf(run->log, "{\"event\":\"length\",\"share\":%.6g}\n", share);
    return 1;
}

// ------------------------------------------------------------------------------------- the step

// The advantages of all texts, prompt by prompt, each that of all its tokens.
static void compare_texts(const Run *run, Rollouts *x) {
    const int deviations = run->objective->deviations;
    for (const Record *r = x->d.record; r < x->d.record + x->d.num_records; r++) {
        double shaped[MAX_ANSWERS];
        for (int k = 0; k < r->count; k++) {
            const int a = r->first + k;
            shaped[k] = x->reward[a];
            if (!deviations) shaped[k] -= opt.loss.beta * (x->logp[a] - x->ref_sum[a]);
        }
        if (deviations) group_deviations(x->advantage + r->first, shaped, r->count);
        else leave_one_out(x->advantage + r->first, shaped, r->count);
    }
    for (size_t k = 0; k < x->d.num_answers; k++) {
        const Span span = x->d.answer[k].tokens;
        for (int t = 0; t < span.len; t++) {
            x->token_advantage[span.start + (size_t)t] = (float)x->advantage[k];
        }
    }
}

// The critic's values of the drawn tokens; [at, end) are their records.  0, or -1 after fail().
static int ask_critic(Run *run, size_t at, size_t end) {
    RolloutRun *p = run->rollout;
    Rollouts *x = &p->x;
    run->limit = micro_batch_limit(run, at, end);
    while (at < end) {
        const size_t begin = at;
        at = next_micro_batch(run, at, end);
        if (!at) return -1;
        const Batch b = pack_batch(&run->pack);
        if (critic_values(&p->critic, &b, run->value) < 0) return -1;

        // the row before a token has its value
        const Text *text = b.text;
        for (size_t i = begin; i < at; i++) {
            const Record *r = &x->d.record[run->item[i].record];
            for (int a = r->first; a < r->first + r->count; a++, text++) {
                const Span span = x->d.answer[a].tokens;
                const float *value = run->value + text->first - 1;
                memcpy(x->old_value + span.start, value, (size_t)span.len * sizeof *value);
            }
        }
    }
    return 0;
}

// The critic's: a token's reward is -beta (log pi - log pi_ref), the last one's also r.  0, or -1
// after fail().
static int compare_with_critic(Run *run, size_t at, size_t end) {
    Rollouts *x = &run->rollout->x;
    const size_t n = x->d.num_tokens, room = (size_t)run->model.config.max_positions;
    size_t drawn = 0;
    double *reward = allocate(room, sizeof *reward);        // of one text's tokens, as value is
    double *value = allocate(room, sizeof *value);
    double *advantage = allocate(n, sizeof *advantage);     // of all drawn tokens, text by text
    int result = -1;
    if (!reward || !value || !advantage) goto done;
    if (ask_critic(run, at, end) < 0) goto done;

    for (size_t k = 0; k < x->d.num_answers; k++) {
        const Span span = x->d.answer[k].tokens;
        const float *old_logp = x->old_logp + span.start, *ref_logp = x->ref_logp + span.start;
        for (int t = 0; t < span.len; t++) {
            reward[t] = -opt.loss.beta * ((double)old_logp[t] - ref_logp[t]);
            value[t] = x->old_value[span.start + (size_t)t];
        }
        reward[span.len - 1] += x->reward[k];
        gae(advantage + drawn, reward, value, span.len, opt.discount, opt.gae_lambda);
        for (int t = 0; t < span.len; t++) {
            x->target[span.start + (size_t)t] = (float)(advantage[drawn + (size_t)t] + value[t]);
        }
        drawn += (size_t)span.len;
    }

    normalise(advantage, drawn);
    drawn = 0;
    for (size_t k = 0; k < x->d.num_answers; k++) {
        const Span span = x->d.answer[k].tokens;
        for (int t = 0; t < span.len; t++) {
            x->token_advantage[span.start + (size_t)t] = (float)advantage[drawn + (size_t)t];
        }
        drawn += (size_t)span.len;
    }
    result = 0;
done:
    free(reward);
    free(value);
    free(advantage);
    return result;
}

// The advantages of what was drawn; [at, end) are its records.  0, or -1 after fail().
static int find_advantages(Run *run, size_t at, size_t end) {
    Rollouts *x = &run->rollout->x;
    const size_t n = x->d.num_tokens;
    if (!(x->token_advantage = allocate(n, sizeof *x->token_advantage))) return -1;
    if (!(x->old_value = allocate(n, sizeof *x->old_value))) return -1;
    if (!(x->target = allocate(n, sizeof *x->target))) return -1;
    if (opt.critic) return compare_with_critic(run, at, end);
    compare_texts(run, x);
    return 0;
}

// The texts for the items [at, end): those that are there, if another update on them is due, or new
// ones.  0, or -1 after fail().
static int take_texts(Run *run, size_t at, size_t end) {
    RolloutRun *p = run->rollout;
    const size_t n = end - at, bytes = n * sizeof *p->item;
    const int same = p->num_items == n && memcmp(p->item, run->item + at, bytes) == 0;
    if (same && p->pass + 1 < opt.ppo_epochs) {
        p->pass++;
        return 0;
    }
    p->pass = 0;
    p->num_items = 0;
    if (reserve(&p->item, &p->item_capacity, n, sizeof *p->item) < 0) return -1;

    Drawing w;
    int result = -1;
    if (drawing_init(&w, &p->x, &run->tokenizer, n, opt.n) < 0) goto done;
    for (size_t i = at; i < end; i++) {
        const Item *item = &run->item[i];
        drawing_add(&w, &run->data[item->set], (size_t)item->record, i, &p->begin);
    }
    if (draw_and_judge(run, &w) < 0) goto done;
    p->means = rollout_means(&p->x);
    memcpy(p->item, run->item + at, bytes);
    p->num_items = n;
    result = keep_history(p);
done:
    drawing_free(&w);
    return result;
}

// What a token of text a counts for in the loss: texts alike, or tokens (--reduction, --logp).
static float token_weight(const Rollouts *x, const Record *r, int a, double tokens) {
    double w = r->weight / (opt.reduction == REDUCE_TOKENS ? tokens : (double)x->d.num_answers);
    if (opt.logp == LOGP_MEAN) w /= x->d.answer[a].tokens.len;
    return (float)w;
}

// Of the micro-batch's token rows what is known of their targets; rows without one weigh 0.
// [begin, end): its items, records of what was drawn.  0, or -1 after fail().
static int fill_rows(Run *run, const Batch *b, size_t begin, size_t end) {
    RolloutRun *p = run->rollout;
    const Rollouts *x = &p->x;
    float **const row[6] = {&p->old_logp, &p->ref_logp, &p->advantage, &p->weight,
                            &p->old_value, &p->target};
    for (int k = 0; k < 6; k++) {
        if (reserve(row[k], &p->row_capacity[k], (size_t)b->T, sizeof **row[k]) < 0) return -1;
        for (int t = 0; t < b->T; t++) (*row[k])[t] = 0;
    }

    const Text *text = b->text;
    for (size_t i = begin; i < end; i++) {
        const Record *r = &x->d.record[run->item[i].record];
        for (int a = r->first; a < r->first + r->count; a++, text++) {
            const Span span = x->d.answer[a].tokens;
            const float weight = token_weight(x, r, a, p->means.all_tokens);
            for (int k = 0; k < span.len; k++) {
                const int t = text->first - 1 + k;          // the row that predicts token k
                const size_t token = span.start + (size_t)k;
                p->old_logp[t] = x->old_logp[token];
                p->ref_logp[t] = x->ref_logp[token];
                p->advantage[t] = x->token_advantage[token];
                p->old_value[t] = x->old_value[token];
                p->target[t] = x->target[token];
                p->weight[t] = weight;
            }
        }
    }
    return 0;
}

// The loss of the micro-batch's tokens under logp (T), added to *loss token by token; dL/dlogp to
// run->dvalue.
static void tokens_loss(Run *run, const Batch *b, const float *logp, double *loss) {
    const RolloutRun *p = run->rollout;
    memset(run->dvalue, 0, (size_t)b->T * sizeof *run->dvalue);
    for (int t = 0; t < b->T; t++) {
        const LossBatch one = {.B = 1, .logp = logp + t, .ref_logp = p->ref_logp + t,
                               .old_logp = p->old_logp + t, .weight = p->weight + t,
                               .label = p->advantage + t, .dlogp = run->dvalue + t};
        if (b->target[t] >= 0) *loss += run->objective->loss(&one, &opt.loss);
    }
}

// On-policy: what backward computed is what the texts were drawn by, to the last bit.  0, or -1
// after fail().
static int check_on_policy(const Run *run, const Batch *b) {
    RolloutRun *p = run->rollout;
    for (int t = 0; t < b->T; t++) {
        if (b->target[t] < 0) continue;
        p->checked++;
        if (run->value[t] == p->old_logp[t]) continue;
        return fail(EX_DATAERR, "a token was drawn with the log-probability %.9g and has %.9g in "
                    "training: this machine's bits vary; see more selftest",
                    (double)p->old_logp[t], (double)run->value[t]);
    }
    return 0;
}

// The part of a micro-batch's tokens, of `all`, whose ratio is beyond the clip.
static double clipped_part(const Run *run, const Batch *b, double all) {
    double part = 0;
    for (int t = 0; t < b->T; t++) {
        if (b->target[t] < 0) continue;
        const double ratio = more_exp((double)run->value[t] - run->rollout->old_logp[t]);
        if (fabs(ratio - 1) > opt.loss.clip_range) part += 1 / all;
    }
    return part;
}

/* An update on the texts that are there; the items [at, end) are the drawn records.  The first one
 * knows the log-probabilities already, by which they were drawn; backward computes them, so that
 * the vocabulary's product is not computed twice.                                               */
static int update_on_texts(Run *run, size_t at, size_t end, double *loss) {
    RolloutRun *p = run->rollout;
    p->clipped = 0;
    run->drawn_rows = 0;
    if (opt.critic) critic_begin(&p->critic);
    run->limit = micro_batch_limit(run, at, end);
    while (at < end) {
        const size_t begin = at;
        at = next_micro_batch(run, at, end);
        if (!at) return -1;
        Batch b = pack_batch(&run->pack);
        if (fill_rows(run, &b, begin, at) < 0) return -1;
        if (model_reserve(&run->model, b.T, b.B) < 0) return -1;
        run->drawn_rows += (size_t)b.T;
        model_forward(&run->model, &b);
        if (p->pass == 0) {
            tokens_loss(run, &b, p->old_logp, loss);
            memset(run->value, 0, (size_t)b.T * sizeof *run->value);
            if (model_backward(&run->model, &b, NULL, run->dvalue, run->value) < 0) return -1;
            if (check_on_policy(run, &b) < 0) return -1;
        } else {
            if (model_logp(&run->model, &b, run->value) < 0) return -1;
            tokens_loss(run, &b, run->value, loss);
            if (model_backward(&run->model, &b, NULL, run->dvalue, NULL) < 0) return -1;
            p->clipped += clipped_part(run, &b, p->means.all_tokens);
        }
        if (!opt.critic) continue;
        if (critic_learn(&p->critic, &b, p->old_value, p->target, p->weight) < 0) return -1;
    }
    p->updates++;
    if (!opt.critic) return 0;
    const int steps = (int)run->num_steps;
    const double rate = opt.learning_rate * train_schedule(p->updates - 1, steps);
    return critic_update(&p->critic, rate * opt.critic_rate, p->updates);
}

// The step: while it is computed, the drawn texts stand in the places of its prompts.
int rollout_step(Run *run, size_t at, size_t end, double *loss) {
    RolloutRun *p = run->rollout;
    const int drawn = drawn_set(run);
    if (p->start == 0) p->start = now();
    if (take_texts(run, at, end) < 0) return -1;
    run->data[drawn] = p->x.d;
    for (size_t i = at; i < end; i++) run->item[i] = (Item){drawn, (int)(i - at), 0};
    int result = 0;
    if (p->pass == 0) result = find_advantages(run, at, end);
    if (result == 0) result = update_on_texts(run, at, end, loss);
    memcpy(run->item + at, p->item, (end - at) * sizeof *p->item);
    run->data[drawn] = (Dataset){0};
    return result;
}

// Is another update on the texts that are there due?
int rollout_goes_on(const Run *run) { return run->rollout->pass + 1 < opt.ppo_epochs; }

// What is kept from step to step, to be saved or read (Trainer.state); texts are drawn anew.  0, or
// -1 after fail().
int rollout_state(Run *run, State *s) {
    RolloutRun *p = run->rollout;
    const size_t numbers = sizeof *p->history / sizeof(double);
    Model *critic = &p->critic.model;
    uint64_t rollouts = p->rollouts, checked = p->checked;
    state_number(s, &rollouts);
    state_number(s, &checked);
    state_count(s, &p->updates, (int)run->num_steps);
    if (s->result < 0) return -1;
    if (rollouts > run->num_steps) return fail(EX_DATAERR, "%s: too many rollouts", s->path);
    p->rollouts = (size_t)rollouts;
    p->checked = (size_t)checked;
    const size_t n = p->rollouts;
    if (reserve(&p->history, &p->history_capacity, n, sizeof *p->history) < 0) return -1;
    if (reserve(&p->kl_history, &p->kl_capacity, n, sizeof *p->kl_history) < 0) return -1;
    state_doubles(s, (double *)p->history, n * numbers);
    state_doubles(s, p->kl_history, n);
    state_reals(s, critic->params_memory, critic->num_params);
    state_reals(s, critic->moments_memory, 2 * critic->num_trained);
    return s->result;
}

// ----------------------------------------------------------------------------- what is reported

static void write_means(FILE *f, const RolloutMeans *m, const char *prefix) {
    fprintf(f, ",\"%sreward\":%.9g,\"%skl\":%.9g,\"%skl_per_token\":%.9g,\"%sentropy\":%.9g,"
            "\"%slength\":%.9g,\"%sended\":%.6g", prefix, m->reward, prefix, m->kl, prefix,
            m->kl_per_token, prefix, m->entropy, prefix, m->tokens, prefix, m->ended);
    for (int u = 0; opt.reward.n > 1 && u < opt.reward.n; u++) {
        fprintf(f, ",\"%sreward_%d\":%.9g", prefix, u + 1, m->each[u]);
    }
}

void rollout_log(const Run *run, FILE *f) {
    const RolloutRun *p = run->rollout;
    fprintf(f, ",\"rollout\":%zu", p->rollouts);
    write_means(f, &p->means, "");
    if (opt.ppo_epochs > 1) {
        fprintf(f, ",\"ppo_epoch\":%d,\"clipped\":%.6g", p->pass + 1, p->clipped);
    }
    if (opt.critic) fprintf(f, ",\"value_loss\":%.9g", p->critic.loss);
    fprintf(f, ",\"drawing_s\":%.2f,\"rewards_s\":%.2f,\"reference_s\":%.2f",
            p->seconds[DRAWING], p->seconds[JUDGING], p->seconds[REFERRING]);
}

void rollout_show(const Run *run, FILE *f) {
    const RolloutMeans *m = &run->rollout->means;
    fprintf(f, "  reward %.4f  KL %.3f  entropy %.3f  length %.1f", m->reward, m->kl, m->entropy,
            m->tokens);
}

// What became of reward, KL and length; where the time went.
void rollout_finish(const Run *run) {
    const RolloutRun *p = run->rollout;
    const size_t n = p->rollouts, tenth = (n + 9) / 10;
    const double wall = now() - p->start;
    double first[3] = {0}, last[3] = {0};
    for (size_t i = 0; i < tenth; i++) {
        const LengthSums *a = &p->history[i], *b = &p->history[n - 1 - i];
        first[0] += a->reward / (double)tenth;
        last[0] += b->reward / (double)tenth;
        first[1] += p->kl_history[i] / (double)tenth;
        last[1] += p->kl_history[n - 1 - i] / (double)tenth;
        first[2] += a->length / (double)tenth;
        last[2] += b->length / (double)tenth;
    }
    fprintf(stderr, "from the first tenth of %zu rollouts to the last: reward %.4f to %.4f, KL a "
            "text %.3f to %.3f, tokens %.1f to %.1f\n", n, first[0], last[0], first[1], last[1],
            first[2], last[2]);
    fprintf(stderr, "all %zu log-probabilities of drawn tokens were those of training to the last "
            "bit; drawing took %.0f %% of the time, rewards %.0f %%, the reference %.0f %%\n",
            p->checked, 100 * p->seconds[DRAWING] / wall, 100 * p->seconds[JUDGING] / wall,
            100 * p->seconds[REFERRING] / wall);
}

// The reward of one text of each of d's prompts, printed and logged; its negative to metric.  0, or
// -1 after fail().
int rollout_evaluate(Run *run, const Dataset *d, int step, double metric[NUM_METRICS]) {
    const uint64_t elsewhere = (uint64_t)1 << 40;           // random numbers of no step's prompt
    RolloutRun *p = run->rollout;
    Prompts prompts = {0};
    Rollouts x = {0};
    Drawing w = {0};
    int result = -1;
    if (prompts_init(&prompts, d, &run->tokenizer, 1) < 0) goto done;
    if (drawing_init(&w, &x, &run->tokenizer, (size_t)prompts.n, 1) < 0) goto done;
    for (int i = 0; i < prompts.n; i++) {
        const size_t record = (size_t)prompts.cut[i].id;
        drawing_add(&w, d, record, elsewhere + record, &p->begin);
    }
    if (draw_and_judge(run, &w) < 0) goto done;

    const RolloutMeans m = rollout_means(&x);
    metric[METRIC_LOSS] = -m.reward;
    fprintf(stderr, "%s: reward %.4f  KL %.3f  entropy %.3f  length %.1f  (one text of each of %d "
            "prompts)\n", d->name, m.reward, m.kl, m.entropy, m.tokens, prompts.n);
    if (run->log) {
        char prefix[72];
        snprintf(prefix, sizeof prefix, "eval_%s_", d->name);
        fprintf(run->log, "{\"event\":\"eval\",\"step\":%d", step);
        write_means(run->log, &m, prefix);
        fprintf(run->log, "}\n");
    }
    result = 0;
done:
    prompts_free(&prompts);
    rollouts_free(&x);
    drawing_free(&w);
    return result;
}
#endif
