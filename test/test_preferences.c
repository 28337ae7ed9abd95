/* test_preferences.c - the page for beginners says what the program does: preferences.c against
 * loss.c, and its backwards against finite differences.                                        */
#include "../loss.c"
int preferences_main(void);
#define main preferences_main
#include "../preferences.c"
#undef main
#include "test.h"

static Pair all[SETS * PAIRS];

static int read_all(void) {
    char words[V][16] = {"."};
    int n = 1;
    for (int j = 0; j < SETS * PAIRS; j++) {
        all[j].prompt   = text_of(words, sets[j / PAIRS][j % PAIRS].prompt);
        all[j].chosen   = text_of(words, sets[j / PAIRS][j % PAIRS].chosen);
        all[j].rejected = text_of(words, sets[j / PAIRS][j % PAIRS].rejected);
    }
    while (n < V && words[n][0]) n++;
    return n;
}

// Numbers of either sign in (-1,1).
static double wave(int i) { return ((i * 37 + 11) % 101) / 51.0 - 1; }

static void test_its_words_and_texts_fit(void) {
    CHECK(read_all() < V);
    CHECK(all[0].chosen.n == 7 && all[0].rejected.n == 1);
    CHECK(all[0].rejected.word[0] == all[2].chosen.word[0]);       // "no" is one word
}

static void test_bradley_terry_is_reward_bt_loss(void) {
    for (int i = 0; i < 20; i++) {
        const float chosen = (float)(20 * wave(i)), rejected = (float)(20 * wave(i + 7)), one = 1;
        float dchosen = 0, drejected = 0;
        double slope, loss = bradley_terry(&slope, chosen, rejected);
        const double theirs = reward_bt_loss(&dchosen, &drejected, &chosen, &rejected, &one, NULL,
                                             1);
        CHECK_NEAR(loss, theirs, 1e-13 * (1 + fabs(theirs)));
        CHECK_NEAR(slope, dchosen, 1e-7);
    }
}

static void test_dpo_and_pointwise_dpo_are_those_of_loss_c(void) {
    for (int i = 0; i < 20; i++) {
        const float logps[2] = {(float)(-9 + wave(i)), (float)(-7 + 9 * wave(i + 3))};
        const float refs[2]  = {(float)(-8 + wave(i + 5)), (float)(-8 + 9 * wave(i + 11))};
        const float labels[2] = {0.25f, 1};
        const LossSettings settings = {.beta = 0.3};
        float dlogp[2] = {0};
        double slope;
        LossBatch b = {.B = 1, .logp = logps, .ref_logp = refs, .dlogp = dlogp};
        CHECK_NEAR(dpo(&slope, 0.3, logps[0], logps[1], refs[0], refs[1]), dpo_loss(&b, &settings),
                   1e-12);
        CHECK_NEAR(slope, dlogp[0], 1e-7);
        CHECK_NEAR(-slope, dlogp[1], 1e-7);

        b = (LossBatch){.B = 2, .logp = logps, .ref_logp = refs, .label = labels, .dlogp = dlogp};
        memset(dlogp, 0, sizeof dlogp);
        const double theirs = pointwise_dpo_loss(&b, &settings);
        double ours = 0;
        for (int k = 0; k < 2; k++) {
            ours += pointwise_dpo(&slope, 0.3, logps[k], refs[k], labels[k]);
            CHECK_NEAR(slope, dlogp[k], 1e-7);
        }
        CHECK_NEAR(ours, theirs, 1e-12);
    }
}

static void test_its_weights_of_sets_are_the_exact_min_norm_point(void) {
    for (int trial = 0; trial < 20; trial++) {
        double g[SETS][V], lambda[SETS], M[SETS * SETS], exact[SETS];
        float rows[SETS * V];
        for (int i = 0; i < SETS; i++) {
            for (int v = 0; v < V; v++) {
                g[i][v] = (float)((1 + i) * (wave(i * V + v + trial) + 0.2 * wave(trial)));
                rows[i*V + v] = (float)g[i][v];
            }
        }
        min_norm(lambda, g);
        more_gram(M, rows, SETS, V);
        more_min_norm_exact(exact, M, SETS);

        // Frank and Wolfe's way to it is slow: weights to 0.002, squared lengths to 1e-4
        double ours = 0, theirs = 0;
        for (int i = 0; i < SETS; i++) {
            CHECK_NEAR(lambda[i], exact[i], 2e-3);
            for (int j = 0; j < SETS; j++) {
                ours   += lambda[i] * M[i*SETS + j] * lambda[j];
                theirs += exact[i]  * M[i*SETS + j] * exact[j];
            }
        }
        CHECK_NEAR(ours / theirs, 1, 1e-4);
    }
}

static void test_its_backwards_are_the_slopes_of_its_forwards(void) {
    static Policy p, ref, dp;
    double w[V], dw[V] = {0};
    const double h = 1e-5;
    for (int v = 0; v < V; v++) w[v] = wave(v);
    for (int v = 0; v < V * V; v++) (&p.z[0][0])[v] = wave(v + 1);

    reward_loss(dw, w, all, SETS * PAIRS);
    for (int v = 0; v < V; v++) {
        double scrap[V] = {0}, w2[V];
        memcpy(w2, w, sizeof w);
        w2[v] = w[v] + h;
        const double above = reward_loss(scrap, w2, all, SETS * PAIRS);
        w2[v] = w[v] - h;
        const double below = reward_loss(scrap, w2, all, SETS * PAIRS);
        CHECK_NEAR(dw[v], (above - below) / (2*h), 1e-8);
    }
    for (int pointwise = 0; pointwise < 2; pointwise++) {
        memset(&dp, 0, sizeof dp);
        policy_loss(&dp, &p, &ref, all, SETS * PAIRS, 0.5, pointwise);
        for (int v = 0; v < V * V; v += 97) {
            static Policy scrap;
            double *z = &p.z[v / V][v % V], before = *z;
            *z = before + h;
            const double above = policy_loss(&scrap, &p, &ref, all, SETS * PAIRS, 0.5, pointwise);
            *z = before - h;
            const double below = policy_loss(&scrap, &p, &ref, all, SETS * PAIRS, 0.5, pointwise);
            *z = before;
            CHECK_NEAR(dp.z[v / V][v % V], (above - below) / (2*h), 1e-8);
        }
    }
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    read_all();
    RUN(test_its_words_and_texts_fit);
    RUN(test_bradley_terry_is_reward_bt_loss);
    RUN(test_dpo_and_pointwise_dpo_are_those_of_loss_c);
    RUN(test_its_weights_of_sets_are_the_exact_min_norm_point);
    RUN(test_its_backwards_are_the_slopes_of_its_forwards);
    return test_summary();
}
