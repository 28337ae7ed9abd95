/* objectives.c - the one table of all that can be trained.
 *
 * Commands, their options, help, doctor's checks and the tests over all objectives come from it.
 * To add an objective for policies: its loss in loss.c, its row here, its row in
 * test/losses.h, the gradient test's table; CONTRIBUTING.md walks through it.  */
#ifndef OBJECTIVES_C
#define OBJECTIVES_C
#include "reward.c"
#include "policy.c"
#include "rollout.c"

// How a file is used: which kinds of data an objective takes differs.
typedef enum { FOR_TRAIN, FOR_THEN, FOR_EVAL } DataUse;

const Objective *objective_find(const char *name);
int objective_takes(const Objective *o, const Dataset *d, DataUse use);
int fail_kind(const Dataset *d, const char *what);

// ------------------------------------------------------------------------------------- trainers

// Options that several of them read.  "name=value": with this default instead of the table's.
#define TRAINING "tokenizer over_length " ALL_TRAINING
#define ALL_TRAINING \
    "model train eval out dtype "                                                        \
    "template prompt_key chosen_key rejected_key max_length max_prompt_length "          \
    "bad_rows num_train_epochs max_steps micro_batch_tokens recompute "                           \
    "learning_rate lr_scheduler_type warmup_ratio max_grad_norm weight_decay "           \
    "adam_beta1 adam_beta2 adam_epsilon logging_steps eval_steps save_steps "            \
    "save_minutes keep resume diary "                                                        \
    "load_best best_metric early_stopping_patience "                                     \
    "lora_r lora_alpha lora_targets base_dtype "                                                    \
    "seed precision force threads quiet help "
#define OF_POINTS "reduction labels score_scale "
#define OF_REFERENCE "beta reference_cache "
#define OF_REFERENCES OF_REFERENCE "references reference_mix reference_weights reference_clip "
#define OF_BASE "bapo_base bapo_lambda "
#define OF_COPIES "spo_gamma spo_levels spo_head_rate "
#define OF_GROUPS "group_robust groups group_step group_loss group_adjust "

static const Trainer language_models = {
    .options = TRAINING "then per_step_tokens vocab_size hidden_size num_hidden_layers "
               "num_attention_heads",
    .plan = plan_documents,
    .step = lm_step,
    .evaluate = lm_evaluate,
};

static const Trainer reward_models = {
    .options = TRAINING "pairs per_step_pairs head_rate freeze pooling raw_head random_weights "
               "folds fold",
    .open = reward_open,
    .close = reward_close,
    .plan = reward_plan,
    .step = reward_step,
    .evaluate = reward_evaluate,
    .log = reward_log,
    .show = reward_show,
    .state = reward_state,
};

static const Trainer policies = {
    .options = TRAINING "pairs per_step_rows folds fold logp learning_rate=1e-5 over_length=drop",
    .open = policy_open,
    .close = policy_close,
    .plan = policy_plan,
    .beside = policy_beside,
    .start = policy_start,
    .step = policy_step,
    .evaluate = policy_evaluate,
    .log = policy_log,
    .show = policy_show,
    .finish = policy_finish,
    .state = policy_state,
};

static const Trainer rollouts = {
    .options = ALL_TRAINING "prompts per_step_rows=8 folds fold logp reduction learning_rate=1e-5 "
               "reward reward_mix reward_max_length reward_max_prompt_length reference beta=0.05 "
               "n=4 max_new_tokens stop batch length_share",
    .open = rollout_open,
    .close = rollout_close,
    .plan = rollout_plan,
    .rows = rollout_rows,
    .beside = rollout_beside,
    .step = rollout_step,
    .evaluate = rollout_evaluate,
    .log = rollout_log,
    .show = rollout_show,
    .enough = rollout_enough,
    .finish = rollout_finish,
    .state = rollout_state,
    .goes_on = rollout_goes_on,
};

// ------------------------------------------------------------------------------------ the table

static const Objective objectives[] = {
    {
        .name = "lm", .trainer = &language_models, .data = DOCUMENTS,
        .help = "train a language model",
    }, {
        .name = "reward", .trainer = &reward_models, .data = PAIRS, .reward = 1, .rankings = 1,
        .options = OF_GROUPS "top",
        .help = "train a reward model on one file, or on several mixed",
    }, {
        .name = "more", .trainer = &reward_models, .data = PAIRS, .reward = 1, .rankings = 1,
        .bundles = 1,
        .options = "more normalize alpha top",
        .help = "train one reward model on several files with MORE's weights",
    }, {
        .name = "sft", .trainer = &policies, .data = DEMONSTRATIONS, .loss = sft_loss,
        .linear = 1, .imitates = 1,
        .options = "reduction=tokens sft_on train_turns=all learning_rate=1e-4",
        .help = "imitate completions, chosen answers, or points with a true label",
    }, {
        .name = "dpo", .trainer = &policies, .data = PAIRS, .loss = dpo_loss, .reference = 1,
        .rankings = 1,
        .options = OF_REFERENCES OF_BASE OF_COPIES OF_GROUPS "label_smoothing top",
        .help = "align a policy with pairs or rankings: Rafailov et al. 2023",
    }, {
        .name = "ipo", .trainer = &policies, .data = PAIRS, .loss = ipo_loss, .reference = 1,
        .options = OF_REFERENCES OF_BASE OF_COPIES OF_GROUPS,
        .help = "with pairs: Azar et al. 2023",
    }, {
        .name = "pointwise-dpo", .trainer = &policies, .data = POINTS, .loss = pointwise_dpo_loss,
        .reference = 1, .takes_scores = 1,
        .options = OF_POINTS OF_REFERENCE "log_z",
        .help = "with labelled or scored answers: Cai et al. 2023",
    }, {
        .name = "ulma", .trainer = &policies, .data = POINTS, .loss = ulma_loss,
        .reference = 1, .takes_scores = 1, .imitates = 1,
        .options = OF_POINTS OF_REFERENCE "log_z demo demos sft_on compat",
        .help = "the same, with demonstrations imitated: Cai et al. 2023",
    }, {
        .name = "unlikelihood", .trainer = &policies, .data = POINTS, .loss = unlikelihood_loss,
        .linear = 1,
        .options = OF_POINTS,
        .help = "with labelled answers: up the true, down the false",
    }, {
        .name = "kto", .trainer = &policies, .data = POINTS, .loss = kto_loss, .reference = 1,
        .mismatched = 1,
        .options = OF_POINTS OF_REFERENCE "desirable_weight undesirable_weight",
        .help = "with labelled answers: Ethayarajh et al. 2024",
    }, {
        .name = "orpo", .trainer = &policies, .data = PAIRS, .loss = orpo_loss, .imitates = 1,
        .options = "orpo_lambda logp=mean",
        .help = "with pairs, no reference: Hong et al. 2024",
    }, {
        .name = "simpo", .trainer = &policies, .data = PAIRS, .loss = simpo_loss,
        .options = "beta=2 simpo_gamma logp=mean",
        .help = "with pairs, no reference: Meng et al. 2024",
    }, {
        .name = "stored", .trainer = &policies, .data = POINTS, .loss = stored_loss,
        .takes_scores = 1, .imitates = 1, .linear = 1,
        .options = OF_POINTS "labels=continuous reduction=class-means logp=mean demo sft_on "
                   "demo_share",
        .help = "with stored answers and rewards: Nath et al. 2024",
    }, {
        .name = "rloo", .trainer = &rollouts, .data = PROMPTS, .loss = rloo_loss,
        .help = "with rewards of its own texts: Ahmadian et al. 2024",
    }, {
        .name = "grpo", .trainer = &rollouts, .data = PROMPTS, .loss = grpo_loss, .deviations = 1,
        .options = "ppo_epochs clip_range beta=0.04 logp=mean",
        .help = "with rewards of its own texts: Shao et al. 2024",
    }, {
        .name = "ppo", .trainer = &rollouts, .data = PROMPTS, .loss = ppo_loss,
        .options = "ppo_epochs=4 clip_range reduction=tokens critic discount gae_lambda "
                   "critic_rate",
        .help = "with rewards of its own texts: Schulman et al. 2017",
    },
};
enum { NUM_OBJECTIVES = sizeof objectives / sizeof *objectives };

// NULL where there is none of that name.
const Objective *objective_find(const char *name) {
    for (int i = 0; i < NUM_OBJECTIVES; i++) {
        if (!strcmp(objectives[i].name, name)) return &objectives[i];
    }
    return NULL;
}

// Says of which kind d is and what is needed; returns -1.
int fail_kind(const Dataset *d, const char *what) {
    if (d->kind == DATA_RANKING) {
        return fail(EX_DATAERR, "%s: rankings of three and more answers; %s; --pairs makes a pair "
                    "of each two answers of which one is better", d->path, what);
    }
    // answers may have names that nobody knows
    const int keys = d->kind == DATA_PROMPT || d->kind == DATA_COMPLETION;
    return fail(EX_DATAERR, "%s: %s data%s%s; %s", d->path, data_kind_name[d->kind],
                keys ? ": " : "", keys ? d->keys : "", what);
}

// Can the objective use the rankings of d?  0, or -1 after fail().
static int takes_rankings(const Objective *o, const Dataset *d, DataUse use) {
    if (o->data == DOCUMENTS) {
        return fail(EX_DATAERR, "%s: rankings; train lm takes texts, or prompts with completions: "
                    "write the best answers as such", d->path);
    }
    if (!o->rankings) return fail_kind(d, "train reward, more and dpo take them whole");
    if (use == FOR_TRAIN && opt.loss.label_smoothing > 0) {
        return fail(EX_USAGE, "--label_smoothing: %s holds rankings, and it is of pairs: leave it "
                    "out, or make pairs of them with --pairs", d->path);
    }
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        if (r->margin == 0) continue;
        return fail(EX_DATAERR, "%s:%zu: a margin is of pairs, not of a ranking: remove it, or "
                    "make pairs of rankings with --pairs", d->path, r->line);
    }
    return 0;
}

// Is d of a kind that the objective takes for this use?  0, or -1 after fail().
int objective_takes(const Objective *o, const Dataset *d, DataUse use) {
    const int document = d->kind == DATA_DOCUMENT, completion = d->kind == DATA_COMPLETION;
    const int pair = d->kind == DATA_PAIR, point = d->kind == DATA_POINT;

    if (d->kind == DATA_RANKING && o->data != PROMPTS) return takes_rankings(o, d, use);
    if (o->data == DOCUMENTS) {
        if (document || completion) return 0;
        return fail_kind(d, "texts or prompts with completions are needed");
    }
    if (o->data == PROMPTS) {
        return document ? fail_kind(d, "prompts are needed, with or without answers") : 0;
    }
    if (o->reward || (o->data == PAIRS && use == FOR_TRAIN)) {
        const char *kinds = o->rankings ? "pairs or rankings are needed (chosen and rejected, or "
                                          "what --chosen_key and --rejected_key name; completions)"
                                        : "pairs are needed (chosen and rejected, or what "
                                          "--chosen_key and --rejected_key name)";
        return pair ? 0 : fail_kind(d, kinds);
    }
    if (o->data == POINTS && use == FOR_TRAIN) {
        if (pair || point) return 0;
        return fail_kind(d, "points (a completion with label or score) or pairs are needed");
    }
    if (pair || point || completion) return 0;
    if (use == FOR_EVAL) return fail_kind(d, "pairs, points or completions are needed");
    return fail_kind(d, "completions, pairs or points are needed (train lm takes texts)");
}
#undef TRAINING
#undef ALL_TRAINING
#undef OF_POINTS
#undef OF_REFERENCE
#undef OF_REFERENCES
#undef OF_BASE
#undef OF_COPIES
#undef OF_GROUPS
#endif
