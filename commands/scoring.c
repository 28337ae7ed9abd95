/* scoring.c - a language model that is asked for scores: a rubric, an answer, a number from 0 to 5.
 *
 *     rubric       FILE.txt of --rubrics; {source} and {summary} in it stand for an answer's prompt
 *                  and the answer, FILE is the feature's name
 *     question     a rubric that is filled in: a message of the user
 *     attempt      what the model writes, behind --prefill; its score is the first number between
 *                  <score> and </score>, if that is one from 0 to 5
 *
 * The first attempt of a question is at --temperature, by default always the most probable token.
 * While a question has no score, --retries more are drawn, each with a seed of its own.  After that
 * its score is NaN.  (Nath et al., arXiv 2402.15473, score features so; the wording is ours.)
 *
 * Every attempt is appended to the cache, one line, as soon as it is there, so that a run that is
 * killed goes on where it was:
 *
 *     {"question":"<SHA-256>","attempt":0,"feature":"relevance","score":4.5,"text":"..."}
 *
 * The SHA-256 is of the question and of all that its attempts depend on: weights, tokenizer,
 * template, sampling.  An attempt does not depend on what else is asked.                         */
#ifndef SCORING_C
#define SCORING_C
#include "writer.c"
#include "../text_features.c"

enum { SCORE_MAX = 5 };
#define RETRY_TEMPERATURE 1.0

typedef struct {
    char name[FEATURE_NAME];            // of the file, without folder and ending
    Buffer text;
} Rubric;

// An attempt that was made, in this run or before.
typedef struct {
    char question[65];
    int attempt;
    double score;                       // NaN: none
} Attempt;

// One answer, one rubric.
typedef struct {
    char question[65];
    int rubric;
    const FeatureTexts *texts;
    double score;                       // NaN: none so far
    int attempts;                       // that were needed for it
} Question;

typedef struct {
    Rubric *rubric;                     // (n)
    int n;
    Model *m;
    const Tokenizer *t;
    const char *folder;                 // of the model
    char model_hash[65];                // of all but the question that an attempt depends on

    char path[PATH_SIZE];               // of the cache
    int cache;                          // its fd, or -1
    Attempt *made;                      // (num_made) by question and attempt; then new ones
    size_t num_made, capacity;
    size_t before;                      // attempts that an earlier run had made
    size_t too_long;                    // questions for which the model has no room
} Scoring;

int    scoring_rubrics(Scoring *s, const List *files);
int    scoring_open(Scoring *s, Model *m, const Tokenizer *t, const char *dir, const char *path);
int    scoring_ask(Scoring *s, const FeatureTexts *texts, size_t n, double *score);
void   scoring_free(Scoring *s);
double score_parse(const char *text, size_t len, int closed);

// ----------------------------------------------------------------------------------------- rubrics

static const char source_place[] = "{source}", summary_place[] = "{summary}";

static int rubric_read(Rubric *r, const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    const size_t n = dot && dot > base ? (size_t)(dot - base) : strlen(base);
    if (n >= sizeof r->name) {
        return fail(EX_USAGE, "%s: the name of a feature has at most %d bytes", path,
                    FEATURE_NAME - 1);
    }
    memcpy(r->name, base, n);
    r->name[n] = 0;
    if (file_read(&r->text, path) < 0) return -1;
    if (strlen(r->text.data) != r->text.len) {
        return fail(EX_DATAERR, "%s: a zero byte; a rubric is a text", path);
    }
    if (!strstr(r->text.data, summary_place)) {
        return fail(EX_DATAERR, "%s: no %s, which stands for the answer that is to be scored", path,
                    summary_place);
    }
    if (!strstr(r->text.data, "<score>")) {
        return fail(EX_DATAERR, "%s: no <score>; ask for the number between <score> and </score>",
                    path);
    }
    return 0;
}

// 0, or -1 after fail(); scoring_free follows either.
int scoring_rubrics(Scoring *s, const List *files) {
    *s = (Scoring){.cache = -1};
    s->rubric = allocate((size_t)files->n, sizeof *s->rubric);
    if (!s->rubric) return -1;
    for (int i = 0; i < files->n; i++) {
        s->n = i + 1;
        if (rubric_read(&s->rubric[i], files->item[i]) < 0) return -1;
    }
    return 0;
}

void scoring_free(Scoring *s) {
    for (int i = 0; i < s->n; i++) buffer_free(&s->rubric[i].text);
    free(s->rubric);
    free(s->made);
    if (s->cache >= 0) close(s->cache);
}

// Appends the rubric with an answer and its prompt in their places.
static int append_question(Buffer *out, const Rubric *r, const FeatureTexts *t) {
    const char *at = r->text.data, *end = at + r->text.len;
    while (at < end) {
        const char *brace = strchr(at, '{');
        const char *next = brace ? brace : end;
        if (buffer_append(out, at, (size_t)(next - at)) < 0) return -1;
        at = next;
        if (!strncmp(at, source_place, strlen(source_place))) {
            if (buffer_append(out, t->prompt, t->prompt_len) < 0) return -1;
            at += strlen(source_place);
        } else if (!strncmp(at, summary_place, strlen(summary_place))) {
            if (buffer_append(out, t->answer, t->answer_len) < 0) return -1;
            at += strlen(summary_place);
        } else if (at < end) {
            if (buffer_append(out, at, 1) < 0) return -1;
            at++;
        }
    }
    return 0;
}

// ----------------------------------------------------------------------------------- what is said

static int is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

// The first number of a text, or NaN: there is none, or what follows makes another one of it.
static double first_number(const char *s, size_t n) {
    char digits[32];
    size_t i = 0, count = 0;
    int points = 0;
    while (i < n && !is_ascii_digit(s[i])) i++;
    if (i > 0 && i < n && s[i-1] == '.') i--;
    const int negative = i > 0 && s[i-1] == '-';
    while (i < n && count + 1 < sizeof digits) {
        const int point = s[i] == '.' && i + 1 < n && is_ascii_digit(s[i+1]);
        if (!point && !is_ascii_digit(s[i])) break;
        points += point;
        digits[count++] = s[i++];
    }
    digits[count] = 0;
    if (count == 0 || points > 1 || count + 1 == sizeof digits) return NAN;
    if (i < n && (isalpha((unsigned char)s[i]) || s[i] == '%')) return NAN;             // 4e1, 80%
    if (i + 1 < n && s[i] == ',' && is_ascii_digit(s[i+1])) return NAN;                 // 4,5
    const double number = strtod(digits, NULL);
    return negative ? -number : number;
}

// The score that a text gives: the first number behind <score>, if what stands there is closed by
// </score>, before which the text ends, and the number is from 0 to SCORE_MAX.  Else NaN.
double score_parse(const char *text, size_t len, int closed) {
    static const char tag[] = "<score>";
    const char *at = closed ? memmem(text, len, tag, strlen(tag)) : NULL;
    if (!at) return NAN;
    at += strlen(tag);
    const double score = first_number(at, (size_t)(text + len - at));
    return score >= 0 && score <= SCORE_MAX ? score : NAN;
}

// --------------------------------------------------------------------------------------- the cache

static int compare_attempts(const void *a, const void *b) {
    const Attempt *x = a, *y = b;
    const int order = strcmp(x->question, y->question);
    return order ? order : (x->attempt > y->attempt) - (x->attempt < y->attempt);
}

static void sort_attempts(Scoring *s) {
    if (s->num_made) qsort(s->made, s->num_made, sizeof *s->made, compare_attempts);
}

// The attempt, or NULL.
static const Attempt *find_attempt(const Scoring *s, const char *question, int attempt) {
    Attempt wanted = {.attempt = attempt};
    strcpy(wanted.question, question);
    if (!s->num_made) return NULL;
    return bsearch(&wanted, s->made, s->num_made, sizeof *s->made, compare_attempts);
}

static int keep_attempt(Scoring *s, const char *question, int attempt, double score) {
    if (reserve(&s->made, &s->capacity, s->num_made + 1, sizeof *s->made) < 0) return -1;
    Attempt *a = &s->made[s->num_made++];
    *a = (Attempt){.attempt = attempt, .score = score};
    memcpy(a->question, question, sizeof a->question);
    return 0;
}

// One line of the cache.
static int read_attempt(Scoring *s, const Json *j, size_t line) {
    const int question = json_get(j, 0, "question"), score = json_get(j, 0, "score");
    const double number = json_type(j, score) == JSON_NUMBER ? json_number(j, score) : NAN;
    const int is_score = json_type(j, score) == JSON_NULL || (number >= 0 && number <= SCORE_MAX);
    int64_t attempt;
    if (json_length(j, question) != 64 || !json_integer(j, json_get(j, 0, "attempt"), &attempt)
        || attempt < 0 || attempt > INT_MAX || !is_score) {
        return fail(EX_DATAERR, "%s:%zu: not a line of a cache of more judge; give another file "
                    "with --cache", s->path, line);
    }
    return keep_attempt(s, json_string(j, question), (int)attempt, number);
}

// What a run that was killed may have left at the end of a cache: half a line.
static int is_half_line(const char *s, size_t n) {
    static const char begin[] = "{\"question\":\"";
    const size_t length = strlen(begin);
    return memcmp(s, begin, n < length ? n : length) == 0;
}

// The attempts of earlier runs.  Half a line at the end is cut off; any other file is left alone.
static int read_cache(Scoring *s) {
    Buffer b = {0};
    Json j = {0};
    size_t line = 0, at = 0;
    int result = -1;
    if (fd_read(&b, s->cache, s->path) < 0) goto done;
    while (at < b.len) {
        const char *end = memchr(b.data + at, '\n', b.len - at);
        if (!end) break;
        line++;
        j.first_line = line;
        const size_t len = (size_t)(end - b.data) - at;
        if (json_parse(&j, b.data + at, len, s->path) < 0) goto done;
        if (read_attempt(s, &j, line) < 0) goto done;
        at += len + 1;
    }
    if (at < b.len && !is_half_line(b.data + at, b.len - at)) {
        fail(EX_DATAERR, "%s:%zu: not a line of a cache of more judge; give another file with "
             "--cache", s->path, line + 1);
        goto done;
    }
    if (at < b.len && ftruncate(s->cache, (off_t)at) < 0) {
        fail(EX_IOERR, "%s: %s", s->path, strerror(errno));
        goto done;
    }
    s->before = s->num_made;
    sort_attempts(s);
    result = 0;
done:
    buffer_free(&b);
    json_free(&j);
    return result;
}

// Opens the cache for this run alone, and reads it.
static int open_cache(Scoring *s, const char *path) {
    struct stat st;
    if (strlen(path) >= sizeof s->path) {
        return fail(EX_USAGE, "--cache: the name is longer than %d bytes", PATH_SIZE - 1);
    }
    strcpy(s->path, path);
    s->cache = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    if (s->cache < 0) return fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
    if (fstat(s->cache, &st) < 0 || !S_ISREG(st.st_mode)) {
        return fail(EX_CANTCREAT, "%s: a regular file is needed for the cache", path);
    }
    if (flock(s->cache, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        return fail(EX_TEMPFAIL, "%s: in use by another run; wait for it, or give another --cache",
                    path);
    }
    return read_cache(s);
}

// Appends the line of an attempt.
static int write_attempt(const Scoring *s, const Question *q, int attempt, double score,
                         const Completion *c) {
    const char *name = s->rubric[q->rubric].name;
    Buffer line = {0};
    int result = -1;
    if (buffer_printf(&line, "{\"question\":\"%s\",\"attempt\":%d,", q->question, attempt) < 0) {
        goto done;
    }
    if (buffer_printf(&line, "\"feature\":") < 0) goto done;
    if (json_quote(&line, name, strlen(name)) < 0) goto done;
    if (isnan(score) && buffer_printf(&line, ",\"score\":null") < 0) goto done;
    if (!isnan(score) && buffer_printf(&line, ",\"score\":%.9g", score) < 0) goto done;
    if (buffer_printf(&line, ",\"finish\":\"%s\",\"text\":", finish_name[c->finish]) < 0) goto done;
    if (json_quote(&line, c->text, c->len) < 0) goto done;
    if (buffer_printf(&line, "}\n") < 0) goto done;

    Output o = {.fd = s->cache};
    snprintf(o.path, sizeof o.path, "%s", s->path);
    result = output_write(&o, line.data, line.len);
done:
    buffer_free(&line);
    return result;
}

// ------------------------------------------------------------------------------------------ asking

// What answers begin with.
static const char *prefill(void) { return opt.prefill ? opt.prefill : ""; }

// How the attempts of that number are drawn.
static Sampling attempt_sampling(const Scoring *s, int attempt) {
    static const char *const stop[] = {"</score>"};
    const int again = attempt > 0 && opt.temperature == 0;
    return (Sampling){.folder = s->folder, .n = 1,
                      .temperature = again ? RETRY_TEMPERATURE : opt.temperature,
                      .top_k = opt.top_k, .top_p = opt.top_p, .min_p = opt.min_p,
                      .repetition_penalty = opt.repetition_penalty,
                      .seed = (uint64_t)opt.seed + (uint64_t)attempt,
                      .max_new_tokens = opt.max_new_tokens, .batch = opt.batch,
                      .num_eos = s->t->num_ends, .eos = s->t->ends, .num_stop = 1, .stop = stop};
}

// All but the question that attempts depend on: weights, tokenizer, template, sampling.
static int hash_model(Scoring *s) {
    const Sampling a = attempt_sampling(s, 0), b = attempt_sampling(s, 1);
    const char *template_ = opt.template_ ? opt.template_ : "plain";
    Buffer text = {0};
    char tokenizer[65];
    Sha256 sha;
    int result = -1;
    if (tokenizer_identity(tokenizer, s->folder) < 0) goto done;
    if (config_text(&text, &s->m->config, "float32") < 0) goto done;
    if (buffer_printf(&text, "more judge 1\n%s\n%s\n%s\n", tokenizer, template_,
                      prefill()) < 0) {
        goto done;
    }
    if (buffer_printf(&text, "%d %.17g %.17g %d %.17g %.17g %.17g %d %d\n%s",
                      opt.precision, a.temperature, b.temperature, a.top_k, a.top_p, a.min_p,
                      a.repetition_penalty, opt.seed, a.max_new_tokens, settings_gpu()) < 0) {
        goto done;
    }
    sha256_start(&sha);
    sha256_add(&sha, text.data, text.len);
    if (reference_hash_weights(&sha, s->m) < 0) goto done;
    sha256_finish(&sha, s->model_hash);
    result = 0;
done:
    buffer_free(&text);
    return result;
}

// For a model in the folder dir and its tokenizer, with the cache at path.  0, or -1 after fail().
int scoring_open(Scoring *s, Model *m, const Tokenizer *t, const char *dir, const char *path) {
    s->m = m;
    s->t = t;
    s->folder = dir;
    if (hash_model(s) < 0) return -1;
    return open_cache(s, path);
}

// Questions that are asked together, and the attempt that this is.
typedef struct {
    Scoring *s;
    Question *const *asked;             // by the prompts' numbers
    int attempt;
    size_t *done, all;                  // for progress
} Asking;

// TakeCompletion of ask_some.
static int take_attempt(void *context, const Completion *c) {
    Asking *x = context;
    const Question *q = x->asked[c->prompt];
    if (c->finish == GOING) return 0;
    Buffer text = {0};
    if (buffer_printf(&text, "%s%.*s", prefill(), (int)c->len, c->text) < 0) return -1;
    const double score = score_parse(text.data, text.len, c->finish == FINISH_STOP);
    buffer_free(&text);
    if (keep_attempt(x->s, q->question, x->attempt, score) < 0) return -1;
    *x->done += 1;
    if (!opt.quiet && (*x->done % 100 == 0 || *x->done == x->all)) {
        fprintf(stderr, "attempt %d: %zu of %zu questions\n", x->attempt + 1, *x->done, x->all);
    }
    return write_attempt(x->s, q, x->attempt, score, c);
}

// Tokens that an attempt needs at least; a question that leaves fewer is not asked, and never cut.
enum { LEAST_ROOM = 16 };

// The tokens of a question and those that its answer begins with go to token + *count.
static Prompt append_question_tokens(int *token, size_t *count, const Dataset *d,
                                     const Record *r, const int *begin, size_t num_begin) {
    const Span whole = dataset_prompt(d, r);
    int *to = token + *count;
    memcpy(to, d->token + whole.start, (size_t)whole.len * sizeof *to);
    if (num_begin) memcpy(to + whole.len, begin, num_begin * sizeof *to);
    *count += (size_t)whole.len + num_begin;
    return (Prompt){.token = to, .len = whole.len + (int)num_begin};
}

// Asks the questions (n).  Their text is a message of the user, rendered by --template.
static int ask_some(Scoring *s, Question *const *question, int n, int attempt, size_t *done,
                    size_t all) {
    Buffer rows = {0}, text = {0};
    Dataset d = {0};
    Prompt *prompt = allocate((size_t)n, sizeof *prompt);
    Question **asked = allocate((size_t)n, sizeof *asked);
    int *begin = NULL, *token = NULL;
    size_t num_begin = 0, begin_capacity = 0, tokens = 0;
    DataOptions o = prompts_options();
    o.rows = &rows;
    o.bad_row = NULL;
    o.prompt_key = NULL;
    int count = 0, result = -1;
    if (!prompt || !asked) goto done;
    for (int i = 0; i < n; i++) {
        text.len = 0;
        if (append_question(&text, &s->rubric[question[i]->rubric], question[i]->texts) < 0) {
            goto done;
        }
        if (buffer_printf(&rows, "{\"prompt\":[{\"role\":\"user\",\"content\":") < 0) goto done;
        if (json_quote(&rows, text.data, text.len) < 0) goto done;
        if (buffer_printf(&rows, "}]}\n") < 0) goto done;
    }
    if (dataset_load(&d, "questions", s->t, &o) < 0) goto done;
    assert(d.num_records == (size_t)n);

    // prompts; the random numbers of a question depend on itself alone
    if (tokenizer_encode_part(s->t, prefill(), strlen(prefill()), PLACE_GOES_ON, &begin,
                              &num_begin, &begin_capacity) < 0) {
        goto done;
    }
    token = allocate(d.num_tokens + (size_t)n * num_begin, sizeof *token);
    if (!token) goto done;
    for (int i = 0; i < n; i++) {
        Prompt p = append_question_tokens(token, &tokens, &d, &d.record[i], begin, num_begin);
        if (p.len + LEAST_ROOM > s->m->config.max_positions) {
            s->too_long += attempt == 0;
            *done += 1;
            if (keep_attempt(s, question[i]->question, attempt, NAN) < 0) goto done;
            continue;
        }
        p.id = text_hash(question[i]->question, 64);
        prompt[count] = p;
        asked[count++] = question[i];
    }
    Asking x = {.s = s, .asked = asked, .attempt = attempt, .done = done, .all = all};
    const Sampling how = attempt_sampling(s, attempt);
    result = count ? generate(s->m, s->t, prompt, count, &how, take_attempt, &x) : 0;
done:
    free(prompt);
    free(asked);
    free(begin);
    free(token);
    dataset_free(&d);
    buffer_free(&rows);
    buffer_free(&text);
    return result;
}

static int compare_questions(const void *a, const void *b) {
    const Question *x = *(Question *const *)a, *y = *(Question *const *)b;
    const int order = strcmp(x->question, y->question);
    return order ? order : (x > y) - (x < y);
}

static int compare_places(const void *a, const void *b) {
    const Question *x = *(Question *const *)a, *y = *(Question *const *)b;
    return (x > y) - (x < y);
}

// Sets pending to the questions without a score for which this attempt was never made, equal ones
// once, in order; returns how many these are.
static size_t find_pending(const Scoring *s, Question **pending, Question *question, size_t n,
                           int attempt) {
    size_t count = 0, kept = 0;
    for (Question *q = question; q < question + n; q++) {
        if (!isnan(q->score) || find_attempt(s, q->question, attempt)) continue;
        pending[count++] = q;
    }
    if (count) qsort(pending, count, sizeof *pending, compare_questions);
    for (size_t i = 0; i < count; i++) {
        if (kept && !strcmp(pending[i]->question, pending[kept - 1]->question)) continue;
        pending[kept++] = pending[i];
    }
    if (kept) qsort(pending, kept, sizeof *pending, compare_places);
    return kept;
}

// All attempts of all questions (n), which are asked in parts, for memory.
static int ask_all(Scoring *s, Question *question, size_t n) {
    enum { TOGETHER = 1024 };
    Question **pending = allocate(n, sizeof *pending);
    if (!pending) return -1;
    int result = -1;
    for (int attempt = 0; attempt <= opt.retries; attempt++) {
        const size_t count = find_pending(s, pending, question, n, attempt);
        size_t done = 0;
        for (size_t i = 0; i < count; i += TOGETHER) {
            const int part = count - i < TOGETHER ? (int)(count - i) : TOGETHER;
            if (ask_some(s, pending + i, part, attempt, &done, count) < 0) goto done;
        }
        sort_attempts(s);
        for (Question *q = question; q < question + n; q++) {
            const Attempt *a = isnan(q->score) ? find_attempt(s, q->question, attempt) : NULL;
            if (!a) continue;
            q->score = a->score;
            q->attempts = attempt + 1;
        }
    }
    result = 0;
done:
    free(pending);
    return result;
}

// Says for each rubric how many answers have a score, and by which attempt.
static void report_scores(const Scoring *s, const Question *question, size_t n) {
    if (opt.quiet) return;
    if (s->before) {
        fprintf(stderr, "%s: %zu attempts of earlier runs\n", s->path, s->before);
    }
    if (s->too_long) {
        fprintf(stderr, "%zu questions are too long for the %d positions of %s and were not "
                "asked\n", s->too_long, s->m->config.max_positions, s->folder);
    }
    for (int r = 0; r < s->n; r++) {
        size_t scored = 0, first = 0;
        for (const Question *q = question; q < question + n * (size_t)s->n; q++) {
            if (q->rubric != r || isnan(q->score)) continue;
            scored++;
            first += q->attempts == 1;
        }
        fprintf(stderr, "%s: %zu of %zu answers have a score, %zu of them by the first attempt\n",
                s->rubric[r].name, scored, n, first);
    }
}

// score (n, rubrics): of n answers by each rubric, NaN where no attempt gave one.  0, or -1 after
// fail().
int scoring_ask(Scoring *s, const FeatureTexts *texts, size_t n, double *score) {
    const size_t R = (size_t)s->n;
    Question *question = allocate(n * R, sizeof *question);
    Buffer text = {0};
    int result = -1;
    if (!question) goto done;
    for (size_t i = 0; i < n * R; i++) {
        Question *q = &question[i];
        *q = (Question){.rubric = (int)(i % R), .texts = &texts[i / R], .score = NAN};
        const Rubric *rubric = &s->rubric[q->rubric];
        text.len = 0;
        if (buffer_printf(&text, "%s\n%s\n", s->model_hash, rubric->name) < 0) goto done;
        if (append_question(&text, rubric, q->texts) < 0) goto done;
        sha256_hex(q->question, text.data, text.len);
    }
    if (ask_all(s, question, n * R) < 0) goto done;
    if (fd_sync(s->cache) < 0 && errno != EINVAL) {
        fail(EX_IOERR, "%s: %s", s->path, strerror(errno));
        goto done;
    }
    report_scores(s, question, n);
    for (size_t i = 0; i < n * R; i++) score[i] = question[i].score;
    result = 0;
done:
    free(question);
    buffer_free(&text);
    return result;
}
#endif
