/* critic.c - PPO's critic: a model of its own that says of each beginning of a text what is still
 * to come, and is trained to.
 *
 * It is a reward model whose head is read at every token row with a target, not at the text's last
 * one: each such row is a text of one token to it.  Values and their targets, and the advantages
 * that they are for, are in rl_loss.c (gae, value_loss).  */
#ifndef CRITIC_C
#define CRITIC_C
#include "train.c"
#include "rl_loss.c"
#include "load.c"

typedef struct {
    Model model;
    Text *text;                         // (T) of the micro-batch: a text for each row with a target
    float *value, *dvalue;              // (T) likewise, of these texts
    size_t text_capacity, value_capacity, dvalue_capacity;
    double loss;                        // of the running step
} Critic;

int  critic_open(Critic *c, const char *dir);
void critic_free(Critic *c);
int  critic_values(Critic *c, const Batch *b, float *value);        // of a micro-batch's rows

// a step: it begins; each micro-batch adds its gradient; the update
void critic_begin(Critic *c);
int  critic_learn(Critic *c, const Batch *b, const float *old_value, const float *target,
                  const float *weight);
int  critic_update(Critic *c, double rate, int step);

// From the reward model of the folder dir; whoever calls sees that it has the policy's tokens and
// positions.  0, or -1 after fail().
int critic_open(Critic *c, const char *dir) {
    Config config;
    if (config_load(&config, dir) < 0) return -1;
    if (!config.reward) {
        return fail(EX_DATAERR, "--critic %s: a language model; a reward model is needed, as of "
                    "--reward", dir);
    }
    if (checkpoint_load(&c->model, dir, LOAD_REWARD_MODEL) < 0) return -1;
    c->model.config.pooling = POOL_LAST;
    return model_init_training(&c->model);
}

void critic_free(Critic *c) {
    model_free(&c->model);
    free(c->text);
    free(c->value);
    free(c->dvalue);
}

// Forward of the micro-batch's rows with targets, in order, to c->value; *texts is b with these as
// its texts.  0, or -1 after fail().
static int value_rows(Critic *c, const Batch *b, Batch *texts) {
    const size_t T = (size_t)b->T;
    if (reserve(&c->text, &c->text_capacity, T, sizeof *c->text) < 0) return -1;
    if (reserve(&c->value, &c->value_capacity, T, sizeof *c->value) < 0) return -1;
    if (reserve(&c->dvalue, &c->dvalue_capacity, T, sizeof *c->dvalue) < 0) return -1;
    *texts = *b;
    texts->B = 0;
    texts->text = c->text;
    for (int t = 0; t < b->T; t++) {
        if (b->target[t] < 0) continue;
        c->text[texts->B++] = (Text){.first = t, .len = 1, .pooled = t};
    }
    if (model_reserve(&c->model, b->T, texts->B) < 0) return -1;
    model_forward(&c->model, texts);
    model_rewards(&c->model, texts, c->value, NULL);
    return 0;
}

// value (T): of the rows with a target; of the others it stays.  0, or -1 after fail().
int critic_values(Critic *c, const Batch *b, float *value) {
    Batch texts;
    if (value_rows(c, b, &texts) < 0) return -1;
    for (int i = 0; i < texts.B; i++) value[texts.text[i].pooled] = c->value[i];
    return 0;
}

// A step begins.
void critic_begin(Critic *c) {
    model_zero_grads(&c->model);
    c->loss = 0;
}

// Adds the gradient of the micro-batch's values; old_value, target and weight are (T).  0, or -1
// after fail().
int critic_learn(Critic *c, const Batch *b, const float *old_value, const float *target,
                 const float *weight) {
    Batch texts;
    if (value_rows(c, b, &texts) < 0) return -1;
    for (int i = 0; i < texts.B; i++) {
        const int t = texts.text[i].pooled;
        double slope;
        c->loss += weight[t] * value_loss(&slope, c->value[i], old_value[t], target[t],
                                          opt.loss.clip_range);
        c->dvalue[i] = (float)(weight[t] * slope);
    }
    return model_backward(&c->model, &texts, c->dvalue, NULL, NULL);
}

// The update of step number `step`, from 1.  0, or -1 after fail().
int critic_update(Critic *c, double rate, int step) {
    model_finish_grads(&c->model);
    const double norm = model_grad_norm(&c->model);
    if (!isfinite(c->loss) || !isfinite(norm)) {
        return fail(EX_DATAERR, "step %d: the critic's loss or a gradient is not finite; a lower "
                    "--critic_rate may help", step);
    }
    const AdamW adamw = train_adamw(rate, 1, norm, step);
    model_update(&c->model, &adamw);
    return 0;
}
#endif
