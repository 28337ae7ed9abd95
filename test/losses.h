// losses.h - the gradient test's table, for test_loss.c, which runs over it, and test_objectives.c,
// which says when a loss of the table of objectives has no row here.
#ifndef LOSSES_H
#define LOSSES_H
/* Every loss of policies with the range of each of its settings; the tests below run over all rows.
 * A new loss needs its row here: then its gradient is compared with finite differences.          */
static const struct LossRow {
    const char *name;
    PolicyLoss *loss;
    int pairs;                                             // of pairs, or of single texts
    int advantages;                                        // labels have either sign
    LossSettings low, high;
} losses[] = {
    {.name = "sft", .loss = sft_loss},
    {.name = "dpo", .loss = dpo_loss, .pairs = 1,
     .low = {.beta = .1}, .high = {.beta = 2, .label_smoothing = .4}},
    {.name = "ipo", .loss = ipo_loss, .pairs = 1,
     .low = {.beta = .1}, .high = {.beta = 1}},
    {.name = "simpo", .loss = simpo_loss, .pairs = 1,
     .low = {.beta = .5}, .high = {.beta = 3, .simpo_gamma = 2}},
    {.name = "orpo", .loss = orpo_loss, .pairs = 1,
     .low = {.beta = .1}, .high = {.beta = 1}},
    {.name = "pointwise_dpo", .loss = pointwise_dpo_loss,
     .low = {.beta = .1, .log_z = -1}, .high = {.beta = 1, .log_z = 1, .continuous = 1}},
    {.name = "ulma", .loss = ulma_loss,
     .low = {.beta = .1, .log_z = -1}, .high = {.beta = 1, .log_z = 1, .continuous = 1}},
    {.name = "unlikelihood", .loss = unlikelihood_loss},
    {.name = "kto", .loss = kto_loss,
     .low = {.beta = .1, .desirable_weight = .5, .undesirable_weight = .5},
     .high = {.beta = 1, .desirable_weight = 2, .undesirable_weight = 2, .kl = 2}},
    {.name = "stored", .loss = stored_loss, .advantages = 1, .high = {.demo_share = 1}},
    {.name = "rloo", .loss = rloo_loss, .advantages = 1},
    {.name = "ppo", .loss = ppo_loss, .advantages = 1,
     .low = {.clip_range = .1}, .high = {.clip_range = .9}},
    {.name = "grpo", .loss = grpo_loss, .advantages = 1,
     .low = {.clip_range = .1}, .high = {.clip_range = .9, .beta = 1}},
};
enum { NUM_LOSSES = sizeof losses / sizeof *losses };
#endif
