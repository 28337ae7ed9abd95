/* regret.c - min-max regret: the mixture of policies with which no type of people is left far
 * behind (Chidambaram, Seetharaman and Syrgkanis, arXiv 2510.15716).
 *
 * Policy k was trained for the people of type k, from one reference.  Their reward is what DPO says
 * it is, r_k = beta log(pi_k / pi_ref), but for a constant of the prompt.  A mixture draws policy j
 * with the probability w_j for a whole answer, so that all it is worth is linear in w:
 *
 *     L[i][j] = mean of log pi_i(y|x) - log pi_ref(y|x) over answers y of policy j
 *     R_i(w)  = beta sum_j w_j (L[i][i] - L[i][j])        what type i loses: its regret
 *
 * The least that the worst off can lose, min_w max(0, max_i c_i R_i(w)), is the value of a matrix
 * game.  The mixer chooses a column, a policy; the adversary a row, a type, or row 0 where nobody
 * loses anything.  c are weights of fairness, and beta scales the value, not w:
 *
 *     M[0][j] = 0,  M[i][j] = c_i (L[i][i] - L[i][j])     (K + 1 rows, K columns)
 *
 * Whatever solves it, two numbers prove how well: no mixture loses less than min_j (p^T M)_j, with
 * p the adversary's weights, and w loses max_i (M w)_i.  Their difference is the duality gap.
 *
 * In place of what its answers are worth, a policy can be measured by the value that DPO maximises,
 * which takes beta KL(pi || pi_ref) off.  A type then loses beta KL(pi || pi_k), and for mixtures
 *
 *     KL(pi_w || pi_k) = sum_j w_j KL(pi_j || pi_k) - I(w)
 *
 * I(w), between 0 and log K, is what a text says of who wrote it.  It is the same for all types;
 * the rest is the game above, with log pi_j of the writer in the place of log pi_ref.
 *
 * All is in double and in one fixed order, with our own exp and log.                             */
#ifndef REGRET_C
#define REGRET_C
#include "common.h"
#include "metrics.c"

enum { MAX_POLICIES = 32, MAX_WRITERS = 2 * MAX_POLICIES, MAX_WAYS = MAX_WRITERS + 3 };
enum { GAME_ROUNDS = 100000 };

// A game's solution.
typedef struct {
    double w[MAX_POLICIES];             // (K) of the policies
    double p[MAX_POLICIES + 1];         // (K + 1) of row 0 and of the types
    double value;                       // max_i (M w)_i
    double bound;                       // min_j (p^T M)_j <= the least value <= value
} Game;

// the game of mixtures
void regret_game(double *M, const double *L, const double *fairness, int K);
void game_play(Game *g, const double *M, int K, int rounds);           // optimistic weights
int  game_solve(Game *g, const double *M, int K);                      // exactly
void game_certify(Game *g, const double *M, int K);                    // value and bound of w, p
double game_gap(const Game *g);                                        // value - bound

// A way to answer, whose regrets are asked for: a policy, or a mixture of them.
typedef struct {
    const char *name;
    double w[MAX_WRITERS];              // (N) of the writers
    double regret[MAX_POLICIES];        // (K) of the types, beta sum_j w_j (L[i][i] - L[i][j])
    double worst;                       // max(0, max_i c_i regret_i)
    double information;                 // of REGRET_KL: beta I(w), which is to be taken off all
    Interval regret_95[MAX_POLICIES], worst_95;
} Way;

// What is measured on prompts.  Writers 0 .. K-1 are the types' own policies, those after them are
// no part of the mixture.
typedef struct {
    int K, N, n;                        // types, writers, prompts
    double *ratio;                      // (K, N, n) log pi_i - log pi_ref (REGRET_KL: - log pi_j)
                                        // of what writer j wrote
    double fairness[MAX_POLICIES];      // (K) c
    double eta[MAX_POLICIES];           // (K) how common the types are; sum 0: not known
    double beta;
    const char *name[MAX_WRITERS];      // (N)

    // set by regrets_measure
    Estimate L[MAX_POLICIES * MAX_WRITERS];     // (K, N) means of ratio
    Game exact, played;                 // without beta
    Interval w_95[MAX_POLICIES];        // (K) of exact.w
    Way way[MAX_WAYS];                  // each policy, uniform, eta, min-max, the other writers
    int ways, minmax;                   // how many; the number of min-max
} Regrets;
int    regrets_measure(Regrets *r, uint64_t seed);
double mixture_logp(const double *w, const double *logp, size_t stride, int n);
double mixture_information(const double *w, const double *logp, int K, int N, size_t each);

// ----------------------------------------------------------------------------------- the mixtures

// M (K + 1, K) from L (K, K) and the types' weights of fairness (K).
void regret_game(double *M, const double *L, const double *fairness, int K) {
    for (int j = 0; j < K; j++) M[j] = 0;
    for (int i = 0; i < K; i++) {
        for (int j = 0; j < K; j++) {
            M[(i + 1)*K + j] = fairness[i] * (L[i*K + i] - L[i*K + j]);
        }
    }
}

// out (K + 1) = M w: what each row takes from the mixture w.
static void loss_of_rows(double *out, const double *M, const double *w, int K) {
    for (int i = 0; i <= K; i++) {
        out[i] = 0;
        for (int j = 0; j < K; j++) out[i] += M[i*K + j] * w[j];
    }
}

// out (K) = p^T M: what each policy loses to the adversary p.
static void loss_of_columns(double *out, const double *M, const double *p, int K) {
    for (int j = 0; j < K; j++) out[j] = 0;
    for (int i = 0; i <= K; i++) {
        for (int j = 0; j < K; j++) out[j] += p[i] * M[i*K + j];
    }
}

// The duality gap's two ends.
void game_certify(Game *g, const double *M, int K) {
    double row[MAX_POLICIES + 1] = {0}, column[MAX_POLICIES] = {0};
    loss_of_rows(row, M, g->w, K);
    loss_of_columns(column, M, g->p, K);
    g->value = row[0];
    g->bound = column[0];
    for (int i = 1; i <= K; i++) g->value = row[i] > g->value ? row[i] : g->value;
    for (int j = 1; j < K; j++) g->bound = column[j] < g->bound ? column[j] : g->bound;
}

// Never negative, but for rounding, which is taken away.
double game_gap(const Game *g) {
    return g->value > g->bound ? g->value - g->bound : 0;
}

// x (n) = softmax(a); takes the maximum away from a.
static void softmax(double *x, double *a, int n) {
    double max = a[0], sum = 0;
    for (int i = 1; i < n; i++) max = a[i] > max ? a[i] : max;
    for (int i = 0; i < n; i++) {
        a[i] -= max;
        x[i] = more_exp(a[i]);
        sum += x[i];
    }
    for (int i = 0; i < n; i++) x[i] /= sum;
}

/* Optimistic multiplicative weights (Rakhlin and Sridharan 2013) of both players, T rounds from the
 * uniform weights:
 *
 *     u_t = M y_t,  v_t = M^T x_t
 *     x_t+1 ~ x_t exp(2 e u_t - e u_t-1),  y_t+1 ~ y_t exp(-2 e v_t + e v_t-1),  e = 5 / sqrt(T)
 *
 * with u_-1 = u_0, v_-1 = v_0; p and w are the means of x_0 .. x_T-1 and y_0 .. y_T-1.  The weights
 * are kept as logarithms, which do not underflow.                                                */
void game_play(Game *g, const double *M, int K, int rounds) {
    const double e = 5 / sqrt(rounds);
    double x[MAX_POLICIES + 1], log_x[MAX_POLICIES + 1] = {0};
    double y[MAX_POLICIES], log_y[MAX_POLICIES] = {0};
    double u[MAX_POLICIES + 1], u_before[MAX_POLICIES + 1] = {0};
    double v[MAX_POLICIES], v_before[MAX_POLICIES] = {0};
    *g = (Game){.value = 0};
    for (int t = 0; t < rounds; t++) {
        softmax(x, log_x, K + 1);
        softmax(y, log_y, K);
        for (int i = 0; i <= K; i++) g->p[i] += x[i];
        for (int j = 0; j < K; j++) g->w[j] += y[j];

        // both see what the other did now and, once more, how that differs from the round before
        loss_of_rows(u, M, y, K);
        loss_of_columns(v, M, x, K);
        for (int i = 0; i <= K; i++) {
            log_x[i] += e * (2 * u[i] - (t ? u_before[i] : u[i]));
            u_before[i] = u[i];
        }
        for (int j = 0; j < K; j++) {
            log_y[j] -= e * (2 * v[j] - (t ? v_before[j] : v[j]));
            v_before[j] = v[j];
        }
    }
    for (int i = 0; i <= K; i++) g->p[i] /= rounds;
    for (int j = 0; j < K; j++) g->w[j] /= rounds;
    game_certify(g, M, K);
}

/* A linear program's tableau in Tucker's form: basic variables are rows, the others columns.
 *
 *                  free variables    right-hand side
 *     basic            a[r][c]            a[r][K]
 *     objective        a[K+1][c]          a[K+1][K]     the larger the better                    */
typedef struct {
    int K;                              // K + 1 constraints, K variables
    double a[(MAX_POLICIES + 2) * (MAX_POLICIES + 1)];
    int basic[MAX_POLICIES + 1];        // numbers of variables: 0 .. K-1 are y, then slacks
    int outside[MAX_POLICIES];
} Tableau;

// The basic variable of row r and the free one of column c change places.
static void tableau_pivot(Tableau *t, int r, int c) {
    const int K = t->K, width = K + 1;
    double *row = t->a + r*width;
    const double pivot = row[c];
    for (int k = 0; k <= K; k++) row[k] = k == c ? 1 / pivot : row[k] / pivot;
    for (int i = 0; i <= K + 1; i++) {
        double *other = t->a + i*width;
        const double factor = other[c];
        if (i == r) continue;
        for (int k = 0; k <= K; k++) {
            other[k] = (k == c ? 0 : other[k]) - factor * row[k];
        }
    }
    const int entering = t->outside[c];
    t->outside[c] = t->basic[r];
    t->basic[r] = entering;
}

// Bland's rule (1977), which never cycles: of the columns that make the objective grow the one with
// the least variable; -1: there is none, the optimum.
static int entering_column(const Tableau *t, double least) {
    int best = -1;
    for (int c = 0; c < t->K; c++) {
        if (!(t->a[(t->K + 1)*(t->K + 1) + c] < -least)) continue;
        if (best < 0 || t->outside[c] < t->outside[best]) best = c;
    }
    return best;
}

// Of the rows that let column c grow least, that with the least variable; -1: none holds it.
static int leaving_row(const Tableau *t, int c, double least) {
    const int width = t->K + 1;
    double shortest = 0;
    int best = -1;
    for (int r = 0; r <= t->K; r++) {
        const double slope = t->a[r*width + c];
        if (!(slope > least)) continue;
        const double step = t->a[r*width + t->K] / slope;
        const int shorter = best < 0 || step < shortest;
        if (!shorter && !(step == shortest && t->basic[r] < t->basic[best])) continue;
        shortest = step;
        best = r;
    }
    return best;
}

/* The exact solution, by the simplex method on Dantzig's program: with all entries of A positive,
 *
 *     maximise sum y,  A y <= 1,  y >= 0     its dual:  minimise sum x,  A^T x >= 1,  x >= 0
 *
 * both have the optimum 1/value, w = y / sum y and p = x / sum x.  A is M / max |M| + 2, which has
 * the same solutions: scale and shift of a game change neither player's weights.  0, or -1 after
 * fail(): M is not finite.                                                                       */
int game_solve(Game *g, const double *M, int K) {
    enum { MOST_PIVOTS = 10000 };
    const double least = 1e-12;
    const int width = K + 1;
    Tableau t = {.K = K};
    double scale = 0, sum = 0;
    for (int i = 0; i < (K + 1)*K; i++) {
        if (!isfinite(M[i])) return fail(EX_DATAERR, "a regret is not finite; are the weights?");
        scale = fabs(M[i]) > scale ? fabs(M[i]) : scale;
    }

    // at first all y are 0 and each constraint has its slack
    for (int r = 0; r <= K; r++) {
        for (int c = 0; c < K; c++) t.a[r*width + c] = (scale > 0 ? M[r*K + c] / scale : 0) + 2;
        t.a[r*width + K] = 1;
        t.basic[r] = K + r;
    }
    for (int c = 0; c < K; c++) {
        t.a[(K + 1)*width + c] = -1;
        t.outside[c] = c;
    }
    for (int pivots = 0; pivots < MOST_PIVOTS; pivots++) {
        const int c = entering_column(&t, least);
        if (c < 0) break;
        const int r = leaving_row(&t, c, least);
        if (r < 0) break;                                  // rounding alone: A is positive
        tableau_pivot(&t, r, c);
    }

    // y are the right-hand sides, x what is left of the objective under the slacks
    *g = (Game){.value = 0};
    for (int r = 0; r <= K; r++) {
        const double y = t.a[r*width + K];
        if (t.basic[r] < K) g->w[t.basic[r]] = y > 0 ? y : 0;
    }
    for (int c = 0; c < K; c++) {
        const double x = t.a[(K + 1)*width + c];
        if (t.outside[c] >= K) g->p[t.outside[c] - K] = x > 0 ? x : 0;
    }
    for (int j = 0; j < K; j++) sum += g->w[j];
    for (int j = 0; j < K; j++) g->w[j] /= sum;
    sum = 0;
    for (int i = 0; i <= K; i++) sum += g->p[i];
    for (int i = 0; i <= K; i++) g->p[i] /= sum;
    game_certify(g, M, K);
    return 0;
}

// ----------------------------------------------------------------------------- what is measured

// L (K, N): means over prompts of r->ratio, of those that draw (n) names, or of all.
static void mean_ratios(double *L, const Regrets *r, const uint32_t *draw) {
    for (int cell = 0; cell < r->K * r->N; cell++) {
        const double *ratio = r->ratio + (size_t)cell * (size_t)r->n;
        double sum = 0;
        for (int x = 0; x < r->n; x++) sum += ratio[draw ? draw[x] : (uint32_t)x];
        L[cell] = sum / r->n;
    }
}

// regret (K) of the types and what is returned, of the worst off, where writers have the weights w
// (N).
static double regrets_of(double *regret, const Regrets *r, const double *L, const double *w) {
    double worst = 0;
    for (int i = 0; i < r->K; i++) {
        double sum = 0;
        for (int j = 0; j < r->N; j++) sum += w[j] * (L[i * r->N + i] - L[i * r->N + j]);
        regret[i] = r->beta * sum;
        worst = r->fairness[i] * regret[i] > worst ? r->fairness[i] * regret[i] : worst;
    }
    return worst;
}

// The game of the types' own policies.
static void game_of(double *M, const Regrets *r, const double *L) {
    double own[MAX_POLICIES * MAX_POLICIES];
    for (int i = 0; i < r->K; i++) {
        for (int j = 0; j < r->K; j++) own[i * r->K + j] = L[i * r->N + j];
    }
    regret_game(M, own, r->fairness, r->K);
}

static Way *add_way(Regrets *r, const char *name) {
    Way *way = &r->way[r->ways++];
    *way = (Way){.name = name};
    return way;
}

// All ways, in the order in which they are shown.
static void make_ways(Regrets *r) {
    double known = 0;
    for (int k = 0; k < r->K; k++) known += r->eta[k];
    r->ways = 0;
    for (int k = 0; k < r->K; k++) add_way(r, r->name[k])->w[k] = 1;
    Way *uniform = add_way(r, "uniform");
    for (int k = 0; k < r->K; k++) uniform->w[k] = 1.0 / r->K;
    if (known > 0) memcpy(add_way(r, "eta")->w, r->eta, sizeof r->eta);
    r->minmax = r->ways;
    memcpy(add_way(r, "min-max")->w, r->exact.w, sizeof r->exact.w);
    for (int j = r->K; j < r->N; j++) add_way(r, r->name[j])->w[j] = 1;
}

/* The intervals, by bootstrap over prompts: of the weights those of the games that the replicates
 * make; of the regrets, with the weights as they are, those under the replicates' L.             */
static int bootstrap(Regrets *r, uint64_t seed) {
    const int K = r->K;
    const size_t columns = (size_t)K + (size_t)r->ways * ((size_t)K + 1);
    double *value = allocate(columns * REPLICATES, sizeof *value);     // (columns, REPLICATES)
    double *L = allocate((size_t)(K * r->N), sizeof *L);
    double *M = allocate((size_t)((K + 1) * K), sizeof *M);
    uint32_t *draw = allocate((size_t)r->n, sizeof *draw);
    int result = -1;
    if (!value || !L || !M || !draw) goto done;
    for (size_t b = 0; b < REPLICATES; b++) {
        double *at = value + b, number[MAX_POLICIES + 1];
        Game g;
        for (int x = 0; x < r->n; x++) {
            draw[x] = random_below((uint32_t)r->n, seed, STREAM_BOOTSTRAP, b, (uint64_t)x);
        }
        mean_ratios(L, r, draw);
        game_of(M, r, L);
        if (game_solve(&g, M, K) < 0) goto done;
        for (int k = 0; k < K; k++) {
            *at = g.w[k];
            at += REPLICATES;
        }
        for (int d = 0; d < r->ways; d++) {
            number[K] = regrets_of(number, r, L, r->way[d].w);
            for (int k = 0; k <= K; k++) {
                *at = number[k];
                at += REPLICATES;
            }
        }
    }

    double *column = value;
    for (int k = 0; k < K; k++) {
        r->w_95[k] = percentile_interval(column, REPLICATES);
        column += REPLICATES;
    }
    for (Way *way = r->way; way < r->way + r->ways; way++) {
        for (int k = 0; k < K; k++) {
            way->regret_95[k] = percentile_interval(column, REPLICATES);
            column += REPLICATES;
        }
        way->worst_95 = percentile_interval(column, REPLICATES);
        column += REPLICATES;
    }
    result = 0;
done:
    free(value);
    free(L);
    free(M);
    free(draw);
    return result;
}

// From r->ratio all that is asked.  0, or -1 after fail().
int regrets_measure(Regrets *r, uint64_t seed) {
    const int cells = r->K * r->N;
    double *L = allocate((size_t)cells, sizeof *L);
    double *M = allocate((size_t)((r->K + 1) * r->K), sizeof *M);
    int result = -1;
    if (!L || !M) goto done;
    for (int cell = 0; cell < cells; cell++) {
        const double *ratio = r->ratio + (size_t)cell * (size_t)r->n;
        if (estimate_ratio(&r->L[cell], ratio, NULL, NULL, r->n, seed) < 0) goto done;
    }
    mean_ratios(L, r, NULL);
    game_of(M, r, L);
    if (game_solve(&r->exact, M, r->K) < 0) goto done;
    game_play(&r->played, M, r->K, GAME_ROUNDS);
    make_ways(r);
    for (Way *way = r->way; way < r->way + r->ways; way++) {
        way->worst = regrets_of(way->regret, r, L, way->w);
    }
    result = bootstrap(r, seed);
done:
    free(L);
    free(M);
    return result;
}

// log pi_w(y|x) = log sum_k w_k exp(logp[k * stride]) of n policies, those without weight left out.
double mixture_logp(const double *w, const double *logp, size_t stride, int n) {
    double term[MAX_POLICIES], max = -HUGE_VAL, sum = 0;
    for (int k = 0; k < n; k++) {
        if (w[k] > 0) term[k] = more_log(w[k]) + logp[(size_t)k * stride];
        else term[k] = -HUGE_VAL;
        max = term[k] > max ? term[k] : max;
    }
    for (int k = 0; k < n; k++) sum += more_exp(term[k] - max);
    return max + more_log(sum);
}

/* I(w) = sum_j w_j E_{y ~ pi_j} [log pi_j(y) - log pi_w(y)], from logp (K, N, each): log pi_k of
 * the texts of writer j, of which the first K are the policies.                                  */
double mixture_information(const double *w, const double *logp, int K, int N, size_t each) {
    const size_t policy = (size_t)N * each;             // from one policy's to the next
    double information = 0;
    for (int j = 0; j < K; j++) {
        const double *own = logp + (size_t)j * (policy + each), *all = logp + (size_t)j * each;
        double sum = 0;
        if (!(w[j] > 0)) continue;
        for (size_t i = 0; i < each; i++) sum += own[i] - mixture_logp(w, all + i, policy, K);
        information += w[j] * sum / (double)each;
    }
    return information;
}
#endif
