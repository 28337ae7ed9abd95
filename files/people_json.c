/* people_json.c - people.json: what is known of annotators and their types, beside the models of
 * the types.
 *
 *     {"format": "more people 1", "by": "annotator", "objective": "dpo", "beta": 0.1, ...
 *      "types": 2, "models": ["type-1", "type-2"], "eta": [0.52, 0.48], "log_likelihood": -812.3,
 *      "history": [{"start": 1, "iteration": 1, "log_likelihood": ..., "gamma": [[0.6, 0.4],
 *                   ...]}, ...],                          of all annotators as in "people"
 *      "people": [{"annotator": "a05", "rows": 46, "gamma": [0.99, 0.01],
 *                  "log_likelihood": [-20.1, -44.7]}, ...],
 *      "best": ...}
 *
 * It is also where an interrupted run of train em goes on: `key` says of which data, weights and
 * options; `best` is the best start so far.  Numbers are written with all their digits.          */
#ifndef PEOPLE_JSON_C
#define PEOPLE_JSON_C
#include "../people.c"
#include "json.c"

enum { MAX_TYPES = MAX_MATCHED };       // of which every matching with known groups is tried

// After an iteration.
typedef struct {
    int start, iteration;
    double loglik, entropy;
    size_t rows;                        // the likelihood is of so many
    double eta[MAX_TYPES];
    double *gamma;                      // (H,K)
} PeopleStep;

typedef struct {
    const char *by, *objective;         // the key of rows that names annotators; dpo, reward
    double beta;                        // of implicit rewards; 0: rewards
    char key[65];                       // SHA-256 of what decides the numbers
    int finished;
    People people;
    const char **name;                  // (H) of the annotators
    int *count;                         // (H) their rows
    PeopleStep *step;
    size_t num_steps, step_capacity;
    int best_iteration, best_start;     // whose models are those of people.best
    double bic;
    char sha256[MAX_TYPES][65];         // of the types' weights
    Json json;                          // of a file that was read: the strings
} PeopleFile;

int  people_file_write(const PeopleFile *f, const char *path);
int  people_file_read(PeopleFile *f, const char *path);
void people_file_free(PeopleFile *f);
int  people_file_step(PeopleFile *f, PeopleStep s, const double *gamma);       // adds an iteration
int  people_find(const PeopleFile *f, const char *name);        // its number, or -1
int  people_groups_read(int *group, int *groups, const char *path, const char *const *name,
                        int H);

// Adds an iteration with a copy of gamma (H,K).  0, or -1 after fail().
int people_file_step(PeopleFile *f, PeopleStep s, const double *gamma) {
    const size_t n = (size_t)f->people.H * (size_t)f->people.K;
    if (reserve(&f->step, &f->step_capacity, f->num_steps + 1, sizeof s) < 0) return -1;
    if (!(s.gamma = allocate(n, sizeof *s.gamma))) return -1;
    memcpy(s.gamma, gamma, n * sizeof *s.gamma);
    f->step[f->num_steps++] = s;
    return 0;
}

// --------------------------------------------------------------------------------------- writing

static int people_put_numbers(Buffer *b, const char *key, const double *x, size_t n) {
    if (buffer_printf(b, "\"%s\":[", key) < 0) return -1;
    for (size_t i = 0; i < n; i++) {
        if (buffer_printf(b, "%s%.17g", i ? "," : "", x[i]) < 0) return -1;
    }
    return buffer_printf(b, "]");
}

static int people_put_string(Buffer *b, const char *key, const char *s) {
    if (buffer_printf(b, "\"%s\":", key) < 0) return -1;
    return json_quote(b, s, strlen(s));
}

static int people_put_steps(Buffer *b, const PeopleFile *f) {
    const size_t H = (size_t)f->people.H, K = (size_t)f->people.K;
    if (buffer_printf(b, "\"history\":[") < 0) return -1;
    for (size_t i = 0; i < f->num_steps; i++) {
        const PeopleStep *s = &f->step[i];
        if (buffer_printf(b, "%s\n{\"start\":%d,\"iteration\":%d,\"log_likelihood\":%.17g,"
                          "\"rows\":%zu,\"entropy\":%.17g,", i ? "," : "", s->start + 1,
                          s->iteration, s->loglik, s->rows, s->entropy) < 0) return -1;
        if (people_put_numbers(b, "eta", s->eta, K) < 0) return -1;
        if (buffer_printf(b, ",\n\"gamma\":[") < 0) return -1;
        for (size_t h = 0; h < H; h++) {
            if (buffer_printf(b, h ? ",[" : "[") < 0) return -1;
            for (size_t k = 0; k < K; k++) {
                const double gamma = s->gamma[h * K + k];
                if (buffer_printf(b, "%s%.17g", k ? "," : "", gamma) < 0) return -1;
            }
            if (buffer_printf(b, "]") < 0) return -1;
        }
        if (buffer_printf(b, "]}") < 0) return -1;
    }
    return buffer_printf(b, "],\n");
}

// The annotators; x: eta, gamma and A, as in People.
static int people_put_people(Buffer *b, const PeopleFile *f, const double *x) {
    const size_t H = (size_t)f->people.H, K = (size_t)f->people.K;
    const double *gamma = x + K, *A = gamma + H * K;
    if (buffer_printf(b, "\"people\":[") < 0) return -1;
    for (size_t h = 0; h < H; h++) {
        if (buffer_printf(b, "%s\n{", h ? "," : "") < 0) return -1;
        if (people_put_string(b, "annotator", f->name[h]) < 0) return -1;
        if (buffer_printf(b, ",\"rows\":%d,", f->count[h]) < 0) return -1;
        if (people_put_numbers(b, "gamma", gamma + h * K, K) < 0) return -1;
        if (buffer_printf(b, ",") < 0) return -1;
        if (people_put_numbers(b, "log_likelihood", A + h * K, K) < 0) return -1;
        if (buffer_printf(b, "}") < 0) return -1;
    }
    return buffer_printf(b, "]");
}

static int people_put_all(Buffer *b, const PeopleFile *f) {
    const People *p = &f->people;
    if (buffer_printf(b, "{\"format\":\"more people 1\",") < 0) return -1;
    if (people_put_string(b, "by", f->by) < 0) return -1;
    if (buffer_printf(b, ",\"objective\":\"%s\",\"beta\":%.17g,\"key\":\"%s\",\"finished\":%s,\n",
                      f->objective, f->beta, f->key, f->finished ? "true" : "false") < 0) return -1;
    if (buffer_printf(b, "\"types\":%d,\"models\":[", p->K) < 0) return -1;
    for (int k = 0; k < p->K; k++) {
        if (buffer_printf(b, "%s\"type-%d\"", k ? "," : "", k + 1) < 0) return -1;
    }
    if (buffer_printf(b, "],\"weights_sha256\":[") < 0) return -1;
    for (int k = 0; k < p->K; k++) {
        if (buffer_printf(b, "%s\"%s\"", k ? "," : "", f->sha256[k]) < 0) return -1;
    }
    if (buffer_printf(b, "],\n\"rows\":%zu,\"start\":%d,\"iteration\":%d,\"settled\":%s,",
                      p->N, p->start + 1, p->iteration, p->settled ? "true" : "false") < 0) {
        return -1;
    }
    if (buffer_printf(b, "\"log_likelihood\":%.17g,\"bic\":%.17g,\"entropy\":%.17g,\n", p->loglik,
                      f->bic, people_entropy(p)) < 0) return -1;
    if (people_put_steps(b, f) < 0) return -1;
    if (people_put_numbers(b, "eta", p->eta, (size_t)p->K) < 0) return -1;
    if (buffer_printf(b, ",\n") < 0) return -1;
    if (people_put_people(b, f, p->eta) < 0) return -1;

    // the best start before this one
    if (!f->finished && p->start > 0) {
        if (buffer_printf(b, ",\n\"best\":{\"start\":%d,\"iteration\":%d,\"log_likelihood\":%.17g,",
                          f->best_start + 1, f->best_iteration, p->best_loglik) < 0) return -1;
        if (people_put_numbers(b, "eta", p->best, (size_t)p->K) < 0) return -1;
        if (buffer_printf(b, ",\n") < 0 || people_put_people(b, f, p->best) < 0) return -1;
        if (buffer_printf(b, "}") < 0) return -1;
    }
    return buffer_printf(b, "}\n");
}

// The whole file, in place of the one before.  0, or -1 after fail().
int people_file_write(const PeopleFile *f, const char *path) {
    Buffer b = {0};
    int result = people_put_all(&b, f);
    if (result == 0) result = file_write(path, b.data, b.len);
    buffer_free(&b);
    return result;
}

// --------------------------------------------------------------------------------------- reading

// Numbers that must be n.  0, or -1: they are not there (without fail).
static int people_get_numbers(const Json *j, int list, double *x, size_t n) {
    if (json_type(j, list) != JSON_ARRAY || (size_t)json_count(j, list) != n) return -1;
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (json_type(j, i) != JSON_NUMBER) return -1;
        *x++ = json_number(j, i);
    }
    return 0;
}

static int people_get_whole(const Json *j, int object, const char *key, int *to) {
    const int v = json_get(j, object, key);
    int64_t whole;
    if (json_type(j, v) != JSON_NUMBER || !json_integer(j, v, &whole)) return -1;
    if (whole < 0 || whole > INT_MAX) return -1;
    *to = (int)whole;
    return 0;
}

static int people_get_real(const Json *j, int object, const char *key, double *to) {
    const int v = json_get(j, object, key);
    if (json_type(j, v) != JSON_NUMBER) return -1;
    *to = json_number(j, v);
    return 0;
}

static int people_get_string(const Json *j, int object, const char *key, const char **to) {
    const int v = json_get(j, object, key);
    if (json_type(j, v) != JSON_STRING) return -1;
    *to = json_string(j, v);
    return 0;
}

// gamma (H,K) of a list of lists.
static int people_get_gamma(const Json *j, int list, double *gamma, size_t H, size_t K) {
    if (json_type(j, list) != JSON_ARRAY || (size_t)json_count(j, list) != H) return -1;
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (people_get_numbers(j, i, gamma, K) < 0) return -1;
        gamma += K;
    }
    return 0;
}

// A number that counts from 1 in the file.
static int people_get_number(const Json *j, int object, const char *key, int *to) {
    if (people_get_whole(j, object, key, to) < 0 || *to < 1) return -1;
    *to -= 1;
    return 0;
}

// eta, gamma and A of an object to x, as in People; names and counts too.
static int people_get_people(PeopleFile *f, int object, double *x) {
    const Json *j = &f->json;
    const size_t H = (size_t)f->people.H, K = (size_t)f->people.K;
    const int list = json_get(j, object, "people");
    double *gamma = x + K, *A = gamma + H * K;
    size_t h = 0;
    if (people_get_numbers(j, json_get(j, object, "eta"), x, K) < 0) return -1;
    if (json_type(j, list) != JSON_ARRAY || (size_t)json_count(j, list) != H) return -1;
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (people_get_string(j, i, "annotator", &f->name[h]) < 0) return -1;
        if (people_get_whole(j, i, "rows", &f->count[h]) < 0) return -1;
        if (people_get_numbers(j, json_get(j, i, "gamma"), gamma + h * K, K) < 0) return -1;
        if (people_get_numbers(j, json_get(j, i, "log_likelihood"), A + h * K, K) < 0) return -1;
        h++;
    }
    return 0;
}

static int people_get_step(PeopleFile *f, int object, double *gamma) {
    const Json *j = &f->json;
    const size_t H = (size_t)f->people.H, K = (size_t)f->people.K;
    PeopleStep s = {0};
    int rows;
    if (people_get_number(j, object, "start", &s.start) < 0) return -1;
    if (people_get_whole(j, object, "iteration", &s.iteration) < 0) return -1;
    if (people_get_real(j, object, "log_likelihood", &s.loglik) < 0) return -1;
    if (people_get_real(j, object, "entropy", &s.entropy) < 0) return -1;
    if (people_get_whole(j, object, "rows", &rows) < 0) return -1;
    if (people_get_numbers(j, json_get(j, object, "eta"), s.eta, K) < 0) return -1;
    if (people_get_gamma(j, json_get(j, object, "gamma"), gamma, H, K) < 0) return -1;
    s.rows = (size_t)rows;
    return people_file_step(f, s, gamma);
}

static int people_get_steps(PeopleFile *f) {
    const Json *j = &f->json;
    const int list = json_get(j, 0, "history");
    double *gamma = allocate((size_t)f->people.H * (size_t)f->people.K, sizeof *gamma);
    int result = -1;
    if (!gamma || json_type(j, list) != JSON_ARRAY) goto done;
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (people_get_step(f, i, gamma) < 0) goto done;
    }
    result = 0;
done:
    free(gamma);
    return result;
}

// All of the file.  0, or -1: something is missing or is not what was written.
static int people_get_all(PeopleFile *f) {
    const Json *j = &f->json;
    People *p = &f->people;
    const char *key, *sha256;
    const int list = json_get(j, 0, "people"), hashes = json_get(j, 0, "weights_sha256");
    const int best = json_get(j, 0, "best");
    int K, i = 0;

    // the sizes
    if (!json_equal(j, json_get(j, 0, "format"), "more people 1")) return -1;
    if (people_get_whole(j, 0, "types", &K) < 0 || K < 1 || K > MAX_TYPES) return -1;
    if (json_type(j, list) != JSON_ARRAY) return -1;
    if (people_init(p, json_count(j, list), K, 0, NULL) < 0) return -1;
    f->name = allocate((size_t)p->H, sizeof *f->name);
    f->count = allocate((size_t)p->H, sizeof *f->count);
    if (!f->name || !f->count) return -1;

    // what it is of
    if (people_get_string(j, 0, "by", &f->by) < 0) return -1;
    if (people_get_string(j, 0, "objective", &f->objective) < 0) return -1;
    if (people_get_real(j, 0, "beta", &f->beta) < 0) return -1;
    if (people_get_string(j, 0, "key", &key) < 0) return -1;
    snprintf(f->key, sizeof f->key, "%s", key);
    f->finished = json_type(j, json_get(j, 0, "finished")) == JSON_TRUE;
    if (json_type(j, hashes) != JSON_ARRAY || json_count(j, hashes) != K) return -1;
    for (int v = json_first(j, hashes); v >= 0; v = json_next(j, v)) {
        if (json_type(j, v) != JSON_STRING) return -1;
        sha256 = json_string(j, v);
        snprintf(f->sha256[i++], sizeof f->sha256[0], "%s", sha256);
    }

    // where the loop is
    if (people_get_number(j, 0, "start", &p->start) < 0) return -1;
    if (people_get_whole(j, 0, "iteration", &p->iteration) < 0) return -1;
    p->settled = json_type(j, json_get(j, 0, "settled")) == JSON_TRUE;
    if (people_get_real(j, 0, "log_likelihood", &p->loglik) < 0) return -1;
    if (people_get_real(j, 0, "bic", &f->bic) < 0) return -1;
    if (people_get_steps(f) < 0 || people_get_people(f, 0, p->eta) < 0) return -1;
    if (best < 0) return f->finished || p->start == 0 ? 0 : -1;
    if (people_get_number(j, best, "start", &f->best_start) < 0) return -1;
    if (people_get_whole(j, best, "iteration", &f->best_iteration) < 0) return -1;
    if (people_get_real(j, best, "log_likelihood", &p->best_loglik) < 0) return -1;
    return people_get_people(f, best, p->best);
}

// A file that people_file_write wrote; people_file_free() in both cases.  0, or -1 after fail().
int people_file_read(PeopleFile *f, const char *path) {
    *f = (PeopleFile){0};
    if (json_load(&f->json, path) < 0) return -1;
    if (people_get_all(f) == 0) return 0;
    return fail(EX_DATAERR, "%s: not a people.json that more train em wrote", path);
}

void people_file_free(PeopleFile *f) {
    for (size_t i = 0; i < f->num_steps; i++) free(f->step[i].gamma);
    people_free(&f->people);
    free(f->name);
    free(f->count);
    free(f->step);
    json_free(&f->json);
    *f = (PeopleFile){0};
}

int people_find(const PeopleFile *f, const char *name) {
    for (int h = 0; h < f->people.H; h++) {
        if (!strcmp(f->name[h], name)) return h;
    }
    return -1;
}

// The number of a label among those of the annotators before h, or how many there are.
static int label_number(const char (*label)[64], const int *group, int h, int groups) {
    for (int i = 0; i < h; i++) {
        if (!strcmp(label[i], label[h])) return group[i];
    }
    return groups;
}

/* Groups of H annotators, from a file {"annotator": group, ...}, whose groups are strings or
 * numbers: group (H) in the order in which they come first, *groups: how many.  The file may have
 * others too.  0, or -1 after fail().                                                            */
int people_groups_read(int *group, int *groups, const char *path, const char *const *name,
                       int H) {
    Json j = {0};
    char (*label)[64] = allocate((size_t)H, sizeof *label);
    int result = -1;
    *groups = 0;
    if (!label || json_load(&j, path) < 0) goto done;
    for (int h = 0; h < H; h++) {
        const int v = json_get(&j, 0, name[h]), type = (int)json_type(&j, v);
        if (type == JSON_STRING && json_length(&j, v) < sizeof label[h]) {
            snprintf(label[h], sizeof label[h], "%s", json_string(&j, v));
        } else if (type == JSON_NUMBER) {
            snprintf(label[h], sizeof label[h], "%.15g", json_number(&j, v));
        } else {
            fail(EX_DATAERR, "%s: the group of annotator \"%s\" is missing, or is no number or "
                 "string of less than %zu bytes", path, name[h], sizeof label[h]);
            goto done;
        }
        group[h] = label_number((const char (*)[64])label, group, h, *groups);
        if (group[h] == *groups) *groups += 1;
    }
    result = 0;
done:
    json_free(&j);
    free(label);
    return result;
}
#endif
