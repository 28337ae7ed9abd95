/* agreement.c - clusters of annotators by whom they agree with: a start for people.c that needs no
 * model.
 *
 *     P_ij   share of the questions that both i and j answered on which they agree
 *     D_ij   = 1 - P_ij; both are 0 where i = j, or no question is common to i and j
 *     C_ij   = P_ij - p_i p_j / p - (D_ij - d_i d_j / d),     p_i = sum_j P_ij,  p = sum_i p_i
 *     x_h    = (lambda_1 v_1h, .., lambda_K-1 v_K-1,h)        C v_e = lambda_e v_e, largest lambda
 *
 * and the K-means of x, the best of 50 restarts.  C is signed modularity (Gomez, Jensen and Arenas
 * 2009): agreement and disagreement beyond what the two have with everybody; of whom nothing is
 * known in common, it is about 0.  K groups of people differ in K - 1 such directions.  A policy
 * for each cluster is Cluster-DPO, the first iteration of EM-DPO (arXiv 2510.15716); by which
 * features its authors cluster is not known, agreement is our choice.                            */
#ifndef AGREEMENT_C
#define AGREEMENT_C
#include "common.h"

// cluster (H): 0 .. K-1, none of them empty.  annotator, question and answer are (N): who answered
// in a row, which question and how, any numbers that are equal for equal ones.  0, or -1 after
// fail().
int agreement_cluster(int *cluster, int H, int K, size_t N, const int *annotator,
                      const uint64_t *question, const uint64_t *answer, uint64_t seed);

// ------------------------------------------------------------------------------------- the matrix

enum { AGREEMENT_MOST = 10000 };  // annotators; the matrix has the square of that

typedef struct {
    uint64_t question, answer;
    int annotator;
} Vote;

static int compare_votes(const void *a, const void *b) {
    const Vote *x = a, *y = b;
    return (x->question > y->question) - (x->question < y->question);
}

// Adds to common (H,H) how many answers i and j have to the same questions, to same (H,H) how many
// of these are the same.  vote (N) is sorted by question.
static void count_agreement(double *same, double *common, size_t H, const Vote *vote, size_t N) {
    size_t first = 0;
    while (first < N) {
        size_t end = first;
        while (end < N && vote[end].question == vote[first].question) end++;
        for (size_t a = first; a < end; a++) {
            for (size_t b = first; b < end; b++) {
                const size_t at = (size_t)vote[a].annotator * H + (size_t)vote[b].annotator;
                same[at] += vote[a].answer == vote[b].answer;
                common[at]++;
            }
        }
        first = end;
    }
}

// same (H,H), how many answers are the same, becomes C.  p and d (H) are scratch.  Returns how many
// pairs (i,j) have a question in common.
static double centre_agreement(double *same, const double *common, double *p, double *d, size_t H) {
    double sum_p = 0, sum_d = 0;
    for (size_t i = 0; i < H; i++) {
        p[i] = d[i] = 0;
        for (size_t j = 0; j < H; j++) {
            if (i == j || common[i*H + j] == 0) continue;
            const double share = same[i*H + j] / common[i*H + j];
            p[i] += share;
            d[i] += 1 - share;
        }
        sum_p += p[i];
        sum_d += d[i];
    }
    for (size_t i = 0; i < H; i++) {
        for (size_t j = 0; j < H; j++) {
            const double share = common[i*H + j] > 0 ? same[i*H + j] / common[i*H + j] : 0;
            double C = common[i*H + j] > 0 ? share - (1 - share) : 0;      // P - D
            if (sum_p > 0) C -= p[i] * p[j] / sum_p;
            if (sum_d > 0) C += d[i] * d[j] / sum_d;
            same[i*H + j] = i == j ? 0 : C;
        }
    }
    return sum_p + sum_d;
}

// ------------------------------------------------------------------------------------ eigenvectors

// v less its parts along the `before` unit vectors of V (before,H), with length 1.
static void make_orthonormal(double *v, const double *V, int before, size_t H) {
    for (int e = 0; e < before; e++) {
        const double *u = V + (size_t)e * H;
        double dot = 0;
        for (size_t i = 0; i < H; i++) dot += u[i] * v[i];
        for (size_t i = 0; i < H; i++) v[i] -= dot * u[i];
    }
    double square = 0;
    for (size_t i = 0; i < H; i++) square += v[i] * v[i];
    for (size_t i = 0; i < H; i++) v[i] /= square > 0 ? sqrt(square) : 1;
}

// w = (C + shift) v; returns v' C v.
static double matrix_times(double *w, const double *C, const double *v, double shift, size_t H) {
    double quotient = 0;
    for (size_t i = 0; i < H; i++) {
        double sum = 0;
        for (size_t j = 0; j < H; j++) sum += C[i*H + j] * v[j];
        w[i] = sum + shift * v[i];
        quotient += sum * v[i];
    }
    return quotient;
}

/* V (n,H): the unit eigenvectors of the n largest eigenvalues of C (H,H), symmetric, each times its
 * eigenvalue.  The power method, one vector after the other, on C + shift I: with a shift of the
 * largest sum of a row's absolute values no eigenvalue is negative (Gershgorin 1931), so that the
 * largest also has the largest absolute value.  w (H) is scratch.                                */
static void largest_eigenvectors(double *V, int n, const double *C, double *w, size_t H,
                                 uint64_t seed) {
    double shift = 0;
    for (size_t i = 0; i < H; i++) {
        double sum = 0;
        for (size_t j = 0; j < H; j++) sum += fabs(C[i*H + j]);
        if (sum > shift) shift = sum;
    }
    for (int e = 0; e < n; e++) {
        double *v = V + (size_t)e * H, change = 1;
        for (size_t i = 0; i < H; i++) v[i] = random_normal(seed, STREAM_CLUSTER, (uint64_t)e, i);
        make_orthonormal(v, V, e, H);
        for (int i = 0; i < 2000 && change > 1e-20; i++) {
            matrix_times(w, C, v, shift, H);
            make_orthonormal(w, V, e, H);
            change = 0;
            for (size_t h = 0; h < H; h++) change += (w[h] - v[h]) * (w[h] - v[h]);
            memcpy(v, w, H * sizeof *v);
        }
    }
    for (int e = 0; e < n; e++) {
        double *v = V + (size_t)e * H;
        const double lambda = matrix_times(w, C, v, 0, H);
        for (size_t i = 0; i < H; i++) v[i] *= lambda;
    }
}

// ----------------------------------------------------------------------------------------- K-means

enum { CLUSTER_RESTARTS = 50 };

typedef struct {
    const double *x;              // (n,H): coordinate e of h is x[e H + h]
    int n, H, K;
    double *centre;               // (K,n)
    int *cluster, *size;          // (H); (K)
} KMeans;

static double distance(const KMeans *m, int h, int k) {
    double square = 0;
    for (int e = 0; e < m->n; e++) {
        const double d = m->x[(size_t)e * (size_t)m->H + (size_t)h] - m->centre[k * m->n + e];
        square += d * d;
    }
    return square;
}

// Puts everybody to the nearest centre, of which the first; returns whether somebody moved.
static int assign_to_centres(const KMeans *m) {
    int moved = 0;
    for (int k = 0; k < m->K; k++) m->size[k] = 0;
    for (int h = 0; h < m->H; h++) {
        int nearest = 0;
        for (int k = 1; k < m->K; k++) {
            if (distance(m, h, k) < distance(m, h, nearest)) nearest = k;
        }
        moved |= m->cluster[h] != nearest;
        m->cluster[h] = nearest;
        m->size[nearest]++;
    }
    return moved;
}

// Gives an empty cluster whoever is farthest from the own centre and not alone there.
static void fill_empty_clusters(const KMeans *m) {
    for (int k = 0; k < m->K; k++) {
        int farthest = -1;
        if (m->size[k] > 0) continue;
        for (int h = 0; h < m->H; h++) {
            if (m->size[m->cluster[h]] < 2) continue;
            if (farthest >= 0 && distance(m, h, m->cluster[h])
                                 <= distance(m, farthest, m->cluster[farthest])) continue;
            farthest = h;
        }
        m->size[m->cluster[farthest]]--;
        m->cluster[farthest] = k;
        m->size[k] = 1;
    }
}

static void move_centres(const KMeans *m) {
    for (int i = 0; i < m->K * m->n; i++) m->centre[i] = 0;
    for (int h = 0; h < m->H; h++) {
        double *centre = m->centre + m->cluster[h] * m->n;
        for (int e = 0; e < m->n; e++) centre[e] += m->x[(size_t)e * (size_t)m->H + (size_t)h];
    }
    for (int k = 0; k < m->K; k++) {
        for (int e = 0; e < m->n; e++) m->centre[k * m->n + e] /= m->size[k];
    }
}

// Lloyd's algorithm (1982) from K annotators by lot; returns the sum of squared distances.  order
// (H) is scratch.
static double k_means(const KMeans *m, uint32_t *order, uint64_t seed, int restart) {
    const uint64_t step = CLUSTER_RESTARTS + (uint64_t)restart;
    random_permutation(order, (uint32_t)m->H, seed, STREAM_CLUSTER, step);
    for (int k = 0; k < m->K; k++) {
        for (int e = 0; e < m->n; e++) {
            m->centre[k * m->n + e] = m->x[(size_t)e * (size_t)m->H + order[k]];
        }
    }
    for (int h = 0; h < m->H; h++) m->cluster[h] = -1;
    for (int i = 0; i < 100; i++) {
        if (!assign_to_centres(m)) break;
        fill_empty_clusters(m);
        move_centres(m);
    }
    fill_empty_clusters(m);
    double sum = 0;
    for (int h = 0; h < m->H; h++) sum += distance(m, h, m->cluster[h]);
    return sum;
}

// The best of all restarts, to cluster (H).
static void best_k_means(int *cluster, const KMeans *m, uint32_t *order, uint64_t seed) {
    double least = HUGE_VAL;
    for (int restart = 0; restart < CLUSTER_RESTARTS; restart++) {
        const double sum = k_means(m, order, seed, restart);
        if (sum >= least) continue;
        least = sum;
        memcpy(cluster, m->cluster, (size_t)m->H * sizeof *cluster);
    }
}

// ----------------------------------------------------------------------------------- the interface

// C (H,H) of the rows; scratch is (2,H).  0, or -1 after fail().
static int agreement_matrix(double *C, double *scratch, size_t H, size_t N, const int *annotator,
                            const uint64_t *question, const uint64_t *answer) {
    Vote *vote = allocate(N, sizeof *vote);
    double *common = allocate(H * H, sizeof *common);
    int result = -1;
    if (!vote || !common) goto done;
    for (size_t n = 0; n < N; n++) vote[n] = (Vote){question[n], answer[n], annotator[n]};
    qsort(vote, N, sizeof *vote, compare_votes);
    count_agreement(C, common, H, vote, N);
    if (centre_agreement(C, common, scratch, scratch + H, H) == 0) {
        fail(EX_DATAERR, "no two annotators answered the same question, so that nobody agrees with "
             "anybody; take another start");
        goto done;
    }
    result = 0;
done:
    free(vote);
    free(common);
    return result;
}

int agreement_cluster(int *cluster, int H, int K, size_t N, const int *annotator,
                      const uint64_t *question, const uint64_t *answer, uint64_t seed) {
    const size_t people = (size_t)H, n = (size_t)(K > 1 ? K - 1 : 1);
    assert(K >= 1 && K <= H);
    if (H > AGREEMENT_MOST) {
        return fail(EX_DATAERR, "%d annotators: agreement compares each with each, at most %d; "
                    "take another start", H, AGREEMENT_MOST);
    }
    double *C = allocate(people * people, sizeof *C);
    double *scratch = allocate(2 * people, sizeof *scratch);
    double *x = allocate(n * people, sizeof *x);
    double *centre = allocate((size_t)K * n, sizeof *centre);
    int *trial = allocate(people, sizeof *trial);
    int *size = allocate((size_t)K, sizeof *size);
    uint32_t *order = allocate(people, sizeof *order);
    int result = -1;
    if (!C || !scratch || !x || !centre || !trial || !size || !order) goto done;
    if (agreement_matrix(C, scratch, people, N, annotator, question, answer) < 0) goto done;
    largest_eigenvectors(x, K - 1, C, scratch, people, seed);
    const KMeans m = {.x = x, .n = K - 1, .H = H, .K = K, .centre = centre, .cluster = trial,
                      .size = size};
    best_k_means(cluster, &m, order, seed);
    result = 0;
done:
    free(C);
    free(scratch);
    free(x);
    free(centre);
    free(trial);
    free(size);
    free(order);
    return result;
}
#endif
