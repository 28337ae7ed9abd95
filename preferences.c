/* preferences.c - learning from preferences on one page: a reward model, DPO, point-wise DPO, MORE.
 *
 *     cc -O2 preferences.c -o preferences -lm && ./preferences
 *
 * What `more` does to transformers is done here to two tables: the reward of an answer is the sum
 * of a number for each of its words, and the policy is a bigram model, which draws a word given the
 * one before.  The equations are those of loss.c, and so are the numbers: test/test_preferences.c.
 * It includes nothing of `more`.                                                                 */
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { V = 64, MAX_WORDS = 12, SETS = 3, PAIRS = 4, END = 0 };

// ---------------------------------------------------------------------------------------- the data
// A prompt x, the answer y that somebody preferred, and the other one.  The three sets want
// different things: kind answers, short ones, and honest ones.

static const char *const set_names[SETS] = {"kind", "brief", "honest"};
static const struct { const char *prompt, *chosen, *rejected; } sets[SETS][PAIRS] = {
    {{"can you help me",   "yes of course what do you need", "no"},
     {"i am sad",          "i am sorry do tell me more",     "so what"},
     {"is this question silly", "no it is a good question",  "yes"},
     {"thank you",         "you are welcome",                "what"}},
    {{"capital of france", "paris",                     "of course it is paris i am sure"},
     {"two and two",       "four",                      "that is a good question it is four"},
     {"color of snow",     "white",                     "well i am sure that it is white"},
     {"is water wet",      "yes",                       "yes of course it is very wet"}},
    {{"who wins tomorrow", "i do not know",             "red wins of course"},
     {"will it rain",      "it may rain i do not know", "no it will not rain i am sure"},
     {"what do i think",   "i do not know",             "i am sure you think of paris"},
     {"is he at home",     "he may be at home",         "yes of course"}},
};

typedef struct { int n, word[MAX_WORDS]; } Text;
typedef struct { Text prompt, chosen, rejected; } Pair;

// The words of a string as numbers 1 .. V-1, in the order in which they are first seen; the sets
// have fewer than V, and their texts no more than MAX_WORDS.
static Text text_of(char words[V][16], const char *s) {
    Text text = {0};
    while (*s) {
        int length = (int)strcspn(s, " "), id = 1;
        while (words[id][0] && (strncmp(words[id], s, (size_t)length) || words[id][length])) id++;
        memcpy(words[id], s, (size_t)length);
        text.word[text.n++] = id;
        s += length + (s[length] == ' ');
    }
    return text;
}

// sigma(x) = 1 / (1 + e^-x) and its logarithm, for any x
static double sigma(double x) { return 1 / (1 + exp(-x)); }
static double log_sigma(double x) { return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x)); }

// ---------------------------------------------------------------------------------- a reward model

// r(y) = sum_t w[y_t], and the gradient of it: dr/dw[v] is how often v is in y
static double reward(const double w[V], const Text *y) {
    double sum = 0;
    for (int t = 0; t < y->n; t++) sum += w[y->word[t]];
    return sum;
}
static void reward_backward(double dw[V], const Text *y, double dr) {
    for (int t = 0; t < y->n; t++) dw[y->word[t]] += dr;
}

// Bradley and Terry 1952: p(chosen is better) = sigma(d),  d = r(chosen) - r(rejected)
//     L = -log sigma(d),     dL/dr(chosen) = -sigma(-d) = -dL/dr(rejected)
static double bradley_terry(double *slope, double chosen, double rejected) {
    double d = chosen - rejected;
    *slope = -sigma(-d);
    return -log_sigma(d);
}

// The mean loss of n pairs; its gradient is added to dw.
static double reward_loss(double dw[V], const double w[V], const Pair *pair, int n) {
    double loss = 0, slope;
    for (int j = 0; j < n; j++) {
        loss += bradley_terry(&slope, reward(w, &pair[j].chosen), reward(w, &pair[j].rejected)) / n;
        reward_backward(dw, &pair[j].chosen,    slope / n);
        reward_backward(dw, &pair[j].rejected, -slope / n);
    }
    return loss;
}

// ---------------------------------------------------------------------------------------- a policy

// z[u][v] is the logit of word v after word u; an answer ends with END.
typedef struct { double z[V][V]; } Policy;

// log sum_v e^z[v]
static double log_sum_exp(const double z[V]) {
    double sum = 0;
    for (int v = 0; v < V; v++) sum += exp(z[v]);
    return log(sum);
}

// log pi(y|x) = sum_t log p(y_t | the word before),   p = softmax of a row of z.
// With dp, dL/dlog pi times the gradient is added to it:  dlog p(y_t)/dz[v] = [v = y_t] - p(v)
static double logp(Policy *dp, const Policy *p, const Text *x, const Text *y, double dlogp) {
    double sum = 0;
    int before = x->word[x->n - 1];
    for (int t = 0; t <= y->n; t++) {
        const int next = t < y->n ? y->word[t] : END;
        const double *z = p->z[before];
        const double log_total = log_sum_exp(z);
        sum += z[next] - log_total;
        for (int v = 0; dp && v < V; v++) {
            dp->z[before][v] += dlogp * ((v == next) - exp(z[v] - log_total));
        }
        before = next;
    }
    return sum;
}

// DPO, Rafailov et al. 2023 eq. (7): a policy is a reward model, r = beta log pi(y|x)/pi_ref(y|x)
//     L = -log sigma(u),  u = r(chosen) - r(rejected);    dL/dlog pi(chosen) = -beta sigma(-u)
static double dpo(double *slope, double beta, double chosen, double rejected, double ref_chosen,
                  double ref_rejected) {
    double loss = bradley_terry(slope, beta * (chosen - ref_chosen),
                                beta * (rejected - ref_rejected));
    *slope *= beta;
    return loss;
}

// Point-wise DPO, Cai et al. 2023: one answer that is good (z = 1), bad (0) or between
//     L = -z log sigma(r) - (1-z) log sigma(-r);          dL/dlog pi(y) = beta (sigma(r) - z)
static double pointwise_dpo(double *slope, double beta, double logp_y, double ref_y, double z) {
    double r = beta * (logp_y - ref_y);
    *slope = beta * (sigma(r) - z);
    return -z * log_sigma(r) - (1 - z) * log_sigma(-r);
}

// The mean loss of n pairs, or of their 2n answers one by one; its gradient is added to dp.
static double policy_loss(Policy *dp, const Policy *p, const Policy *ref, const Pair *pair, int n,
                          double beta, int pointwise) {
    double loss = 0, slope, slope_rejected;
    for (int j = 0; j < n; j++) {
        const Text *x = &pair[j].prompt, *good = &pair[j].chosen, *bad = &pair[j].rejected;
        double chosen     = logp(NULL, p,   x, good, 0), rejected     = logp(NULL, p,   x, bad, 0);
        double ref_chosen = logp(NULL, ref, x, good, 0), ref_rejected = logp(NULL, ref, x, bad, 0);
        if (pointwise) {
            loss += pointwise_dpo(&slope,          beta, chosen,   ref_chosen,   1) / (2*n);
            loss += pointwise_dpo(&slope_rejected, beta, rejected, ref_rejected, 0) / (2*n);
            slope /= 2;
            slope_rejected /= 2;
        } else {
            loss += dpo(&slope, beta, chosen, rejected, ref_chosen, ref_rejected) / n;
            slope_rejected = -slope;
        }
        logp(dp, p, x, good, slope / n);
        logp(dp, p, x, bad, slope_rejected / n);
    }
    return loss;
}

// ------------------------------------------------------------------------------------------- MORE

// MORE, Zeng et al. 2023: the sets' weights are those whose combined gradient is the shortest,
//     lambda = argmin |sum_i lambda_i g_i|^2,   lambda_i >= 0,   sum_i lambda_i = 1
// by Frank and Wolfe's method with M_ij = g_i . g_j: go towards the corner i where M lambda is
// smallest, as far as makes the length least.
static void min_norm(double lambda[SETS], double g[SETS][V]) {
    double M[SETS][SETS] = {{0}};
    for (int i = 0; i < SETS; i++) {
        for (int j = 0; j < SETS; j++) {
            for (int v = 0; v < V; v++) M[i][j] += g[i][v] * g[j][v];
        }
        lambda[i] = 1.0 / SETS;
    }
    for (int round = 0; round < 1000; round++) {
        double Ml[SETS] = {0}, length2 = 0;               // M lambda and lambda' M lambda
        int i = 0;
        for (int k = 0; k < SETS; k++) {
            for (int j = 0; j < SETS; j++) Ml[k] += M[k][j] * lambda[j];
            length2 += lambda[k] * Ml[k];
            if (Ml[k] < Ml[i]) i = k;
        }
        if (length2 - Ml[i] < 1e-12) return;              // no corner is better
        double step = (length2 - Ml[i]) / (length2 - 2 * Ml[i] + M[i][i]);
        if (step > 1) step = 1;                           // not beyond it
        for (int k = 0; k < SETS; k++) lambda[k] += step * ((k == i) - lambda[k]);
    }
}

// ----------------------------------------------------------------------------------- the trainings
// All go downhill with a constant rate: w -= rate dL/dw.

static void train_reward(double w[V], const Pair *pair) {
    for (int step = 0; step <= 100; step++) {
        double dw[V] = {0};
        double loss = reward_loss(dw, w, pair, SETS * PAIRS);
        if (step % 25 == 0) printf("  step %3d  loss %.4f\n", step, loss);
        for (int v = 0; v < V; v++) w[v] -= 0.5 * dw[v];
    }
}

static void train_more(double w[V], const Pair *pair) {
    for (int step = 0; step <= 100; step++) {
        double g[SETS][V] = {{0}}, lambda[SETS], loss[SETS];
        for (int i = 0; i < SETS; i++) loss[i] = reward_loss(g[i], w, &pair[i * PAIRS], PAIRS);
        min_norm(lambda, g);
        if (step % 25 == 0) {
            printf("  step %3d ", step);
            for (int i = 0; i < SETS; i++) {
                printf("  %s: loss %.4f lambda %.3f", set_names[i], loss[i], lambda[i]);
            }
            printf("\n");
        }
        for (int i = 0; i < SETS; i++) {
            for (int v = 0; v < V; v++) w[v] -= 0.5 * lambda[i] * g[i][v];
        }
    }
}

static void train_policy(Policy *p, const Policy *ref, const Pair *pair, int pointwise) {
    for (int step = 0; step <= 100; step++) {
        Policy dp = {{{0}}};
        double loss = policy_loss(&dp, p, ref, pair, SETS * PAIRS, 0.5, pointwise);
        if (step % 25 == 0) printf("  step %3d  loss %.4f\n", step, loss);
        for (int v = 0; v < V * V; v++) (&p->z[0][0])[v] -= 2 * (&dp.z[0][0])[v];
    }
}

int main(void) {
    char words[V][16] = {"."};                            // END
    Pair pair[SETS * PAIRS];
    double w[V] = {0}, w_more[V] = {0};
    const Policy ref = {{{0}}};                           // every word is as likely as any other
    Policy policy = ref, pointwise = ref;
    for (int j = 0; j < SETS * PAIRS; j++) {
        pair[j].prompt   = text_of(words, sets[j / PAIRS][j % PAIRS].prompt);
        pair[j].chosen   = text_of(words, sets[j / PAIRS][j % PAIRS].chosen);
        pair[j].rejected = text_of(words, sets[j / PAIRS][j % PAIRS].rejected);
    }

    printf("a reward model, Bradley-Terry\n");
    train_reward(w, pair);
    printf("  rewards of words:");
    for (int v = 1; words[v][0]; v++) {
        if (fabs(w[v]) > 0.5) printf("  %s %+.2f", words[v], w[v]);
    }
    printf("\n\nthe same with MORE's weights\n");
    train_more(w_more, pair);
    printf("\na policy, DPO\n");
    train_policy(&policy, &ref, pair, 0);
    printf("\na policy, point-wise DPO: each answer by itself\n");
    train_policy(&pointwise, &ref, pair, 1);

    printf("\nto \"%s\"                 reward    MORE   p: before      DPO  point-wise\n",
           sets[1][0].prompt);
    for (int k = 0; k < 2; k++) {
        const Text *x = &pair[PAIRS].prompt;
        const Text *y = k == 0 ? &pair[PAIRS].chosen : &pair[PAIRS].rejected;
        printf("  %-32s  %7.2f %7.2f  %9.1e %8.1e  %10.1e\n",
               k == 0 ? sets[1][0].chosen : sets[1][0].rejected, reward(w, y), reward(w_more, y),
               exp(logp(NULL, &ref, x, y, 0)), exp(logp(NULL, &policy, x, y, 0)),
               exp(logp(NULL, &pointwise, x, y, 0)));
    }
    return 0;
}
