/* dataset.c - a file of JSON lines to records: a prompt and its answers, as tokens.
 *
 * The words that training speaks, on one line of a file (a data row):
 *
 *     {"prompt": "The sky is", "chosen": " blue.", "rejected": " a green lawn."}
 *
 * Its texts are tokenised apart; their tokens stand one after the other in Dataset.token:
 *
 *     Dataset.token   ... | p0 p1 p2 | a0 a1 | b0 b1 b2 b3 | ...
 *                         '----------'-------'-------------'   Span: start and len in token
 *                            prompt    tokens     tokens
 *     Answer                         {tokens,   {tokens,       answer[first], answer[first + 1]:
 *                                     score 1}   score 0}      the best one first
 *     Record                 {prompt, first, count 2, line, prompt_id, weight, ...}
 *
 * Of a conversation, --train_turns all makes an answer that holds several turns of the assistant,
 * with what the user says in between; those tokens are gaps of the answer and no targets:
 *
 *     ... | p0 p1 p2 | a0 a1 | u0 u1 u2 | b0 b1 | ...
 *                    '-------------------------'     Answer.tokens
 *                              '-----------'         Dataset.gap[first_gap]
 *
 * So a Dataset is three arrays: tokens, answers that point into the tokens, and records that point
 * into both.  Records of one prompt have one prompt_id.  batch.c goes on from here: it packs
 * records into token rows, cuts these into segments, and makes a Text of each answer.  What in a
 * row is prompt and what is answer is read by answers.c; here its texts are tokenised, cut,
 * dropped and counted. */
#ifndef DATASET_C
#define DATASET_C

#include "common.h"
#include "template.c"
#include "shapes.c"
#include "unread.c"
#include "row_features.c"
#include "csv.c"
#include "answers.c"

typedef struct {                        // token[start .. start+len)
    size_t start;
    int len;
} Span;

typedef struct {
    Span tokens;                        // no end-of-text token appended
    int chars;                          // code points before any cut
    float score;                        // label or score as given; a pair has 1 and 0, of a ranking
                                        //     the place: 1, and 1 for each better answer
    int cut;                            // yes: its end was cut off
    int first_gap, num_gaps;            // gap[first_gap .. first_gap+num_gaps), in order
    double ref_logp;                    // log-probability by the reference, set by policies
} Answer;

typedef struct {
    Span prompt;
    int first, count;                   // answer[first .. first+count), the best one first
    size_t line;                        // where the row begins in the file
    size_t line_start, line_len;        // the row: contents.data[line_start .. line_start+line_len)
    size_t others, others_len;          // its keys that are no text or result: Dataset.others
    size_t said, said_len;              // the prompt's messages there, as JSON; 0: a string
    int part;                           // 1, 2, ... where the row became several records; else 0
    float margin, weight;
    unsigned long long prompt_id;       // hash of the whole prompt, or if empty of the first answer
} Record;

struct Dataset {
    char *path, name[64];
    enum DataKind kind;                 // of all rows
    const char *read_as, *read_set;     // what the file was taken for; NULL: rows of own shape
    char keys[256];                     // "found a, b": those of the first row
    Buffer contents;                    // the file as read
    Buffer others;                      // ,"key":value of rows, if DataOptions.keep_others
    const char *answer_lead;            // what the template puts before what an answer says
    int *token;
    size_t num_tokens, token_capacity;
    Record *record;
    size_t num_records, record_capacity;
    Answer *answer;
    size_t num_answers, answer_capacity;
    Span *gap;                          // the user's turns within answers
    size_t num_gaps, gap_capacity;
    FeatureNames features, listed;      // of answers; of lists, in the order of the file
    double *feature;                    // (num_answers, features.n)
    size_t feature_capacity;

    size_t rows;                        // num_records + dropped + tied - parts
    size_t parts;                       // records beyond the first of their row
    size_t turns, targets;              // of the assistant in conversations; those that are answers
    size_t contrary, contrary_line;     // pairs whose row says that the rejected answer is better
    size_t with_user, with_user_line;   // rows of whole texts whose answers hold the user's words
    char contrary_by[CONTRARY_SIZE];    // what the first of them says, on contrary_line
    size_t repeated;                    // answers that stand twice in their ranking: once is kept
    size_t dropped;                     // an answer was too long
    size_t tied;                        // a pair of equal texts or scores, a ranking of one place
    size_t bad;                         // left out by DataOptions.bad_row; not counted in rows
    size_t truncated;                   // records that lost tokens:
    size_t cut_prompts, cut_answers;    //     of the prompt, of an answer
};

int  dataset_load(Dataset *d, const char *spec, const Tokenizer *t, const DataOptions *o);
void dataset_free(Dataset *d);
void dataset_name(char name[64], const char *spec);         // what a file is called in tables
int  dataset_is_stream(const char *spec);                   // can it be read only once?
int  dataset_is_at(const char *spec, const char *path);     // is it what is at path?
int  dataset_report(const Dataset *d, Buffer *out);         // one line: kind and counts; and:
int  dataset_report_shape(const Dataset *d, Buffer *out);   // one line, if not of our own shapes
int  dataset_report_turns(const Dataset *d, Buffer *out);   // one line, where there are several
int  dataset_row_without(Buffer *out, const Dataset *d, const Record *r, const char *members);

// a prompt and its completion for a row that is written, as they will be read again: of a chat
// template the messages, and what the answer says
int  dataset_prompt_json(Buffer *out, const Dataset *d, const Record *r, const char *s, size_t n);
int  dataset_answer_json(Buffer *out, const Dataset *d, const Record *r, const char *s, size_t n);

// prompts, and which of them are the same
Span dataset_prompt(const Dataset *d, const Record *r);     // the prompt to write an answer for
int  dataset_first_of_prompt(size_t *first, const Dataset *d);
int  dataset_same_tokens(const Dataset *d, Span a, Span b);
uint64_t dataset_hash_tokens(uint64_t h, const Dataset *d, Span s);
unsigned long long text_hash(const char *s, size_t n);

void record_places(float *place, const Dataset *d, const Record *r);  // of its answers, in order
int  answer_room(int max_length, int prompt_len);           // in tokens
int  count_code_points(const char *s, size_t n);            // of UTF-8

// ----------------------------------------------------------------------- what else stands in a row

/* Where the member of an object or the element of an array ends that begins at s[i] of the text
 * s[0 .. n): at its comma, or at the bracket of the whole.  In quotes neither counts. */
static size_t member_end(const char *s, size_t i, size_t n) {
    size_t depth = 0;
    int quoted = 0;
    for (; i < n; i++) {
        const char c = s[i];
        if (quoted) {
            if (c == '\\') i++;
            if (c == '"') quoted = 0;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
        if (c == '"') quoted = 1;
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
    }
    return i;
}

// Appends s[0 .. n) on one line: a line end can only be white space between values.
static int append_on_one_line(Buffer *out, const char *s, size_t n) {
    const size_t start = out->len;
    if (buffer_append(out, s, n) < 0) return -1;
    for (char *c = out->data + start; c < out->data + out->len; c++) {
        if (*c == '\n' || *c == '\r') *c = ' ';
    }
    return 0;
}

/* Keeps the row's other keys, as ,"key":value each, for a row that is written about the same
 * prompt.  Not those of its texts and labels, nor what sample, bestof and score say of answers. */
static int keep_others(Reader *r, Record *record) {
    static const char *const own[] = {
        "text", "chosen", "rejected", "completion", "output", "response", "answer", "completions",
        "responses", "answers", "label", "score", "kto_tag", "ranks", "scores", "margin", "weight",
        "sample", "tokens", "finish", "logp", "token_logps", "reward", "rewards", "scores_chosen",
        "scores_rejected", "results", "probability", "probabilities",
    };
    const Json *j = &r->json;
    Buffer *out = &r->d->others;
    const char *row = r->d->contents.data + r->line_start;
    size_t at = 1;                                        // after the bracket
    record->others = out->len;
    for (int v = json_first(j, 0); v >= 0; v = json_next(j, v)) {
        const char *key = json_key(j, v);
        const size_t end = member_end(row, at, r->line_len);
        const size_t blanks = strspn(row + at, " \t\r\n");
        const size_t start = at + blanks;
        at = end + 1;
        if (row_uses(r, v) || LISTED(key, own) || row_names_prompt(key)) continue;
        if (buffer_append(out, ",", 1) < 0) return -1;
        if (append_on_one_line(out, row + start, end - start) < 0) return -1;
    }
    record->others_len = out->len - record->others;

    // a template's text is not what was said: the messages are kept
    if (!r->said_in_prompt || !r->chat.form || !r->chat.form->end) return 0;
    record->said = out->len;
    if (buffer_append(out, "[", 1) < 0) return -1;
    if (buffer_append(out, r->said.data, r->said_in_prompt) < 0) return -1;
    record->said_len = r->said_in_prompt + 2;
    return buffer_append(out, "]", 1);
}

/* Appends r's row as it stands, but on one line, without its last bracket, and without the keys of
 * `members` (,"key":value ...), which the caller will append.  0, or -1 after fail(). */
int dataset_row_without(Buffer *out, const Dataset *d, const Record *r, const char *members) {
    const char *row = d->contents.data + r->line_start;
    Json old = {0}, new = {0};
    Buffer object = {0};
    const char *between = "{";
    size_t at = 1;
    int result = -1;
    if (buffer_printf(&object, "{%s}", members + (*members == ',')) < 0) goto done;
    if (json_parse(&new, object.data, object.len, d->path) < 0) goto done;
    if (json_parse(&old, row, r->line_len, d->path) < 0) goto done;
    for (int v = json_first(&old, 0); v >= 0; v = json_next(&old, v)) {
        const size_t start = at, end = member_end(row, at, r->line_len);
        at = end + 1;
        if (json_get(&new, 0, json_key(&old, v)) >= 0) continue;
        if (buffer_append(out, between, 1) < 0) goto done;
        if (append_on_one_line(out, row + start, end - start) < 0) goto done;
        between = ",";
    }
    result = 0;
done:
    json_free(&old);
    json_free(&new);
    buffer_free(&object);
    return result;
}

// The prompt as JSON: its messages, or its text s, as it is.  0, or -1 after fail().
int dataset_prompt_json(Buffer *out, const Dataset *d, const Record *r, const char *s, size_t n) {
    if (r->said_len) return buffer_append(out, d->others.data + r->said, r->said_len);
    return json_quote(out, n ? s : "", n);
}

// The answer s to it as a JSON string.  0, or -1 after fail().
int dataset_answer_json(Buffer *out, const Dataset *d, const Record *r, const char *s, size_t n) {
    const size_t lead = r->said_len && d->answer_lead ? strlen(d->answer_lead) : 0;
    const int has_lead = lead && n >= lead && !memcmp(s, d->answer_lead, lead);
    return has_lead ? json_quote(out, s + lead, n - lead) : json_quote(out, s, n);
}

// ------------------------------------------------------------------ from the normal form to tokens

// place (r->count): of the answers of a pair or a ranking, the best first, for choice_loglik.
void record_places(float *place, const Dataset *d, const Record *r) {
    for (int k = 0; k < r->count; k++) {
        place[k] = d->kind == DATA_RANKING ? d->answer[r->first + k].score : (float)(k + 1);
    }
}

int count_code_points(const char *s, size_t n) {
    int count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

// FNV-1a, 64 bits (Fowler, Noll and Vo)
unsigned long long text_hash(const char *s, size_t n) {
    unsigned long long hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) hash = (hash ^ (unsigned char)s[i]) * 0x100000001b3u;
    return hash;
}

// The same prompt has the same id in every file and shape.
static unsigned long long prompt_id(const Reader *r) {
    const Passage *p = r->prompt.len || !r->n ? &r->prompt : &r->answer[0];
    const char *row = r->d->contents.data + r->line_start;
    if (r->n && p->len == 0) return text_hash(row, r->line_len);     // features alone
    return text_hash(r->rendered.data + p->start, p->len);
}

// rendered[from .. to), in which all special tokens are plain text.
static int encode_said(Reader *r, size_t from, size_t to, Place place) {
    Dataset *d = r->d;
    if (to <= from) return 0;
    return tokenizer_encode_part(r->tokenizer, r->rendered.data + from, to - from, place,
                                 &d->token, &d->num_tokens, &d->token_capacity);
}

// A special token that the template has written.
static int add_special(Dataset *d, int id) {
    if (reserve(&d->token, &d->token_capacity, d->num_tokens + 1, sizeof *d->token) < 0) return -1;
    d->token[d->num_tokens] = id;
    d->num_tokens++;
    return 0;
}

/* The passage, in which special tokens are tokens where the template has written them; what stands
 * between them is encoded apart, as `tokenizers` does. */
static int encode_passage(Reader *r, const Passage *p, Place place) {
    const Tokenizer *t = r->tokenizer;
    const char *s = r->rendered.data;
    const size_t end = p->start + p->len;
    size_t from = p->start;
    for (size_t k = 0; k < r->num_markup; k++) {
        const size_t start = r->markup[k].start, markup_end = start + r->markup[k].len;
        size_t at = start > from ? start : from;
        while (at < markup_end && at < end) {
            const size_t stop = markup_end < end ? markup_end : end;
            const int id = tokenizer_special_at(t, s + at, stop - at);
            if (id < 0) {
                at++;
                continue;
            }
            if (encode_said(r, from, at - tokenizer_stripped_before(t, id, s, from, at),
                            place) < 0) return -1;
            if (add_special(r->d, id) < 0) return -1;
            at += tokenizer_piece_len(t, id);
            at += tokenizer_stripped_after(t, id, s, at, end);
            from = at;
            place = PLACE_LATER;
        }
    }
    return encode_said(r, from, end, place);
}

// A passage that begins a text, or goes on after another: then some tokenizers put no space there.
static int tokenize(Reader *r, const Passage *p, int goes_on, Span *out) {
    Dataset *d = r->d;
    const size_t start = d->num_tokens;
    const int encoded = encode_passage(r, p, goes_on ? PLACE_GOES_ON : PLACE_FIRST);
    if (encoded < 0 && error_code == EX_DATAERR) return row_fail(r, "%s", error_text);
    if (encoded < 0) return -1;
    if (d->num_tokens - start > INT_MAX / 4) {
        return row_fail(r, "a text of more than %d tokens", INT_MAX / 4);
    }
    *out = (Span){.start = start, .len = (int)(d->num_tokens - start)};
    return 0;
}

// An answer needs a token: it may be made of bytes only that the tokenizer drops.
static int tokenize_answer_text(Reader *r, const Passage *p, int goes_on, Span *out) {
    if (tokenize(r, p, goes_on, out) < 0) return -1;
    if (out->len) return 0;
    return row_fail(r, "the tokenizer has a piece for none of an answer's bytes");
}

static int tokenize_answer(Reader *r, const Passage *p, Answer *a) {
    *a = (Answer){.score = p->score};
    a->chars = count_code_points(r->rendered.data + p->start, p->len);
    const int goes_on = r->prompt.len > 0;
    return p->len ? tokenize_answer_text(r, p, goes_on, &a->tokens) : 0;
}

// The tokens a prompt may have.
static int prompt_limit(const DataOptions *o) {
    if (o->max_prompt_length) return o->max_prompt_length;
    return o->max_length ? o->max_length - 2 : INT_MAX;
}

/* The tokens that an answer to a prompt of so many may have: what the prompt leaves of max_length,
 * less the end of text; at least 1, by check_options.  It depends on its own prompt at most, never
 * on the other answers. */
int answer_room(int max_length, int prompt_len) {
    return max_length ? max_length - prompt_len - 1 : INT_MAX;
}

// An empty record of the row, with room for it and for answers, which are indexed by int.
static int begin_record(Reader *r, Record *record, int answers) {
    Dataset *d = r->d;
    if (d->num_answers > INT_MAX - MAX_ANSWERS) {
        return row_fail(r, "more than %d answers in one file", INT_MAX - MAX_ANSWERS);
    }
    const size_t most = d->num_answers + (size_t)answers + 1;
    *record = (Record){
        .first = (int)d->num_answers, .count = answers,
        .line = r->line, .line_start = r->line_start, .line_len = r->line_len,
        .margin = r->margin, .weight = r->weight, .prompt_id = prompt_id(r),
    };
    if (reserve(&d->record, &d->record_capacity, d->num_records + 1, sizeof *d->record) < 0) {
        return -1;
    }
    return reserve(&d->answer, &d->answer_capacity, most, sizeof *d->answer);
}

// Of the first row that has answers: which features all have.
static int settle_features(Reader *r, const FeatureNames *listed, int is_counted) {
    Dataset *d = r->d;
    d->features = *r->options->features;
    return is_counted ? 0 : row_feature_names(r, &d->features, listed);
}

// Features of the row's answers, behind those of the answers before, in the order of the answers.
static int keep_features(Reader *r, const Record *record) {
    Dataset *d = r->d;
    const DataOptions *o = r->options;
    const FeatureNames *listed = d->listed.n || !o->listed ? &d->listed : o->listed;
    const int is_first = d->features.n == 0;
    int described;
    const int is_counted = row_features_form(r, &described) == FEATURES_NONE;
    if (!is_counted && described != r->given) {
        return row_fail(r, "%d answers, but features of %d", r->given, described);
    }
    if (is_first && settle_features(r, listed, is_counted) < 0) goto failed;
    const size_t n = (size_t)d->features.n;
    const size_t need = (size_t)(record->first + r->n) * n;
    if (reserve(&d->feature, &d->feature_capacity, need, sizeof *d->feature) < 0) goto failed;
    for (int i = 0; i < r->n; i++) {
        const Passage *a = &r->answer[i];
        double *to = d->feature + (size_t)(record->first + i) * n;
        const int kept = is_counted ? row_count_features(r, &d->features, a, to)
                                    : row_features(r, &d->features, listed, a->given, to);
        if (kept < 0) goto failed;
    }
    return 0;
failed:
    if (is_first) d->features.n = 0;                      // a later row names them
    return -1;
}

// Tokenises, cuts the prompt from the left and the answers from the right, drops and counts.
static int keep_row(Reader *r) {
    Dataset *d = r->d;
    const DataOptions *o = r->options;
    const size_t tokens_before = d->num_tokens;

    // two answers of the same text are no pair, and equally good in a ranking
    if (r->n == 2 && (r->is_tie || row_same_text(r, &r->answer[0], &r->answer[1]))) {
        if (r->kind == DATA_PAIR && !o->as_given) {
            d->tied++;
            return 0;
        }
        r->answer[1].score = r->answer[0].score;
    }
    if (r->kind == DATA_RANKING && !o->as_given && r->answer[r->n - 1].score == 1) {
        d->tied++;                                        // the last one is as good as the first
        return 0;
    }

    // the prompt loses its beginning
    Record record;
    if (begin_record(r, &record, r->n) < 0) return -1;
    const int has_row = json_type(&r->json, 0) == JSON_OBJECT;
    if (o->keep_others && has_row && keep_others(r, &record) < 0) return -1;
    if (o->features && keep_features(r, &record) < 0) return -1;
    if (tokenize(r, &r->prompt, 0, &record.prompt) < 0) return -1;
    const int cut = record.prompt.len - prompt_limit(o);
    if (cut > 0) {
        record.prompt.start += (size_t)cut;
        record.prompt.len -= cut;
    }

    // an answer that is too long loses its end, or the whole row is dropped, or refused
    const int limit = answer_room(o->max_length, record.prompt.len);
    int cut_answer = 0;
    for (int i = 0; i < r->n; i++) {
        Answer *a = &d->answer[record.first + i];
        if (tokenize_answer(r, &r->answer[i], a) < 0) return -1;
        if (a->tokens.len <= limit) continue;
        if (o->over_length == OVER_RAISE) {
            return row_fail(r, "an answer has %d tokens, the limit is %d; raise --max_length or "
                            "choose --over_length", a->tokens.len, limit);
        }
        if (o->over_length == OVER_DROP) {
            d->num_tokens = tokens_before;
            d->dropped++;
            return 0;
        }
        a->tokens.len = limit;
        a->cut = 1;
        cut_answer = 1;
    }

    // it stays
    d->record[d->num_records++] = record;
    d->num_answers += (size_t)r->n;
    if (*r->contrary && d->contrary == 0) {
        d->contrary_line = r->line;
        memcpy(d->contrary_by, r->contrary, CONTRARY_SIZE);
    }
    d->contrary += *r->contrary != 0;
    if (r->has_user && d->with_user == 0) d->with_user_line = r->line;
    d->with_user += (size_t)r->has_user;
    d->targets += r->turns > 0;
    d->cut_prompts += cut > 0;
    d->cut_answers += (size_t)cut_answer;
    d->truncated += cut > 0 || cut_answer;
    return 0;
}

// One turn of the assistant in a conversation: its tokens, which are followed by the user's.
typedef struct {
    Span tokens;
    int chars;
} Turn;

// The conversation's tokens, one after the other, each passage tokenised apart.
static int tokenize_turns(Reader *r, Turn *turn) {
    Span before;
    size_t end = 0;                                       // of what is tokenised, in rendered
    for (int i = 0; i < r->n; i++) {
        const Passage *p = &r->answer[i];
        const Passage said_before = {.start = end, .len = p->start - end};
        if (tokenize(r, &said_before, end > 0, &before) < 0) return -1;
        if (tokenize_answer_text(r, p, p->start > 0, &turn[i].tokens) < 0) return -1;
        turn[i].chars = count_code_points(r->rendered.data + p->start, p->len);
        end = p->start + p->len;
    }
    return 0;
}

/* A record of the turns from number i on, as many as there is room for: their prompt is all that
 * was said before.  *next: the first turn that is left. */
static int keep_some_turns(Reader *r, const Turn *turn, size_t begin, int i, int *next) {
    Dataset *d = r->d;
    const DataOptions *o = r->options;
    Record record;
    *next = i + 1;
    if (begin_record(r, &record, 1) < 0) return -1;
    const size_t start = turn[i].tokens.start;
    const size_t before = start - begin, limit = (size_t)prompt_limit(o);
    const size_t kept = before < limit ? before : limit;
    record.prompt = (Span){.start = start - kept, .len = (int)kept};

    // the first turn must fit, others may
    const int room = answer_room(o->max_length, record.prompt.len);
    Answer a = {.tokens = turn[i].tokens, .chars = turn[i].chars, .first_gap = (int)d->num_gaps};
    if (a.tokens.len > room && o->over_length == OVER_RAISE) {
        return row_fail(r, "an answer has %d tokens, the limit is %d; raise --max_length or "
                        "choose --over_length", a.tokens.len, room);
    }
    if (a.tokens.len > room && o->over_length == OVER_DROP) {
        d->dropped++;
        return 0;
    }
    if (a.tokens.len > room) {
        a.tokens.len = room;
        a.cut = 1;
    }
    while (!a.cut && *next < r->n) {
        const Span *t = &turn[*next].tokens;
        const size_t end = start + (size_t)a.tokens.len, all = t->start + (size_t)t->len - start;
        if (all > (size_t)room) break;
        if (reserve(&d->gap, &d->gap_capacity, d->num_gaps + 1, sizeof *d->gap) < 0) return -1;
        d->gap[d->num_gaps++] = (Span){.start = end, .len = (int)(t->start - end)};
        a.num_gaps++;
        a.tokens.len = (int)all;
        a.chars += turn[*next].chars;
        *next += 1;
    }

    d->answer[d->num_answers++] = a;
    d->record[d->num_records++] = record;
    d->targets += (size_t)a.num_gaps + 1;
    d->cut_prompts += kept < before;
    d->cut_answers += (size_t)a.cut;
    d->truncated += kept < before || a.cut;
    return 0;
}

// A row became several records: numbers them.
static void number_parts(Dataset *d, const Dataset *before) {
    const size_t first = before->num_records, kept = d->num_records - first;
    const size_t parts = kept + d->dropped - before->dropped + d->tied - before->tied;
    for (size_t k = 0; parts > 1 && k < kept; k++) d->record[first + k].part = (int)k + 1;
    d->parts += parts - 1;
}

// Nothing of a row stays that turned out to be bad.
static void forget_row(Dataset *d, const Dataset *before) {
    d->num_records = before->num_records;
    d->num_answers = before->num_answers;
    d->num_gaps = before->num_gaps;
    d->targets = before->targets;
    d->dropped = before->dropped;
    d->tied = before->tied;
    d->truncated = before->truncated;
    d->cut_prompts = before->cut_prompts;
    d->cut_answers = before->cut_answers;
}

// Each two answers of a ranking, one of them better: a pair.
static int keep_pairs(Reader *r) {
    const Dataset before = *r->d;
    const int n = r->n;
    int pairs = 0;
    Passage *all = allocate((size_t)n, sizeof *all);
    int result = -1;
    if (!all) return -1;
    memcpy(all, r->answer, (size_t)n * sizeof *all);
    r->n = 2;
    for (int i = 0; i < n; i++) {
        for (int k = i + 1; k < n; k++) {
            if (all[i].score == all[k].score) continue;
            r->answer[0] = all[i];
            r->answer[1] = all[k];
            r->answer[0].score = 1;
            r->answer[1].score = 0;
            if (keep_row(r) < 0) goto done;
            pairs++;
        }
    }
    if (pairs) number_parts(r->d, &before);
    else r->d->tied++;
    result = 0;
done:
    free(all);
    if (result < 0) forget_row(r->d, &before);
    return result;
}

/* All turns of the assistant, in as few records as --max_length allows: each record begins where
 * the one before had no more room, behind a prompt of all that was said, cut from the left. */
static int keep_turns(Reader *r) {
    Dataset *d = r->d;
    Turn *turn = allocate((size_t)r->n, sizeof *turn);
    const Dataset before = *d;
    const size_t begin = d->num_tokens;
    int result = -1;
    if (!turn) return -1;
    if (tokenize_turns(r, turn) < 0) goto done;
    for (int i = 0, next; i < r->n; i = next) {
        if (keep_some_turns(r, turn, begin, i, &next) < 0) goto done;
    }
    number_parts(d, &before);
    result = 0;
done:
    free(turn);
    if (result < 0) forget_row(d, &before);
    return result;
}

// ------------------------------------------------------------------------------ the rows of a file

// Goes on to the next character that is not white space, counting lines.  Byte order marks are
// white space too: where files were joined, one begins a line.
static void skip_blank(Reader *r) {
    const Buffer *b = &r->d->contents;
    while (r->at < b->len) {
        const char *s = b->data + r->at;
        const int mark = b->len - r->at >= 3 && !memcmp(s, "\xef\xbb\xbf", 3);
        if (!mark && !isspace((unsigned char)*s)) return;
        r->line += *s == '\n';
        r->at += mark ? 3 : 1;
    }
}

// The row is from `at` to `end`, without blanks at its end, from which reading goes on.
static void set_row(Reader *r, size_t end) {
    const char *s = r->d->contents.data;
    r->line_start = r->at;
    while (isspace((unsigned char)s[end-1])) end--;
    r->line_len = end - r->line_start;
    r->at = end;
}

// The next line that is not blank.  1; 0 at the end.
static int next_line(Reader *r) {
    const Buffer *b = &r->d->contents;
    skip_blank(r);
    if (r->at == b->len) return 0;
    const char *end = memchr(b->data + r->at, '\n', b->len - r->at);
    set_row(r, end ? (size_t)(end - b->data) : b->len);
    return 1;
}

// The next element of the array that the file is.  1; 0 at the end; -1 after fail().
static int next_element(Reader *r) {
    const char *s = r->d->contents.data;
    const size_t n = r->d->contents.len;
    for (size_t i = 0; i < r->line_len; i++) r->line += s[r->line_start + i] == '\n';
    skip_blank(r);
    if (r->at < n && s[r->at] == ']') {
        r->at++;
        skip_blank(r);
        if (r->at < n) return row_fail(r, "more text after the array of rows");
        return 0;
    }

    const int is_first = r->d->rows + r->d->bad == 0 && !r->d->listed.n;
    if (!is_first) {
        if (r->at == n || s[r->at] != ',') return row_fail(r, "',' or ']' is expected after a row");
        r->at++;
        skip_blank(r);
    }
    if (r->at == n || s[r->at] != '{') return row_fail(r, "a row must be a JSON object");
    set_row(r, member_end(s, r->at, n));
    return 1;
}

// The line of names that a file of features may begin with.
static int take_names(Reader *r) {
    Dataset *d = r->d;
    if (d->rows + d->bad || d->listed.n) {
        return row_fail(r, "\"feature_names\" must be in the first line of the file alone");
    }
    d->listed = feature_names_none();
    return row_features_header(r, &d->listed);
}

// Parses the row, brings it to its normal form, keeps it.
static int take_row(Reader *r) {
    Dataset *d = r->d;
    const char *row = d->contents.data + r->line_start;
    r->json.first_line = r->line;
    if (r->line_len == 1 && *row == '{') {
        return row_fail(r, "a row must stand on one line; write it so with: jq -c . FILE");
    }
    if (json_parse(&r->json, row, r->line_len, d->path) < 0) return -1;
    if (json_get(&r->json, 0, "feature_names") >= 0) return take_names(r);
    if (row_read(r) < 0) return -1;
    const int as_pairs = r->options->as_pairs && r->kind == DATA_RANKING;
    if (as_pairs) r->kind = DATA_PAIR;
    if (d->rows && r->kind != d->kind) {
        return row_fail(r, "a %s row in a file of %s rows; one kind a file%s",
                        data_kind_name[r->kind], data_kind_name[d->kind],
                        r->kind == DATA_PROMPT ? " (a conversation without an answer at its end "
                                                 "is a prompt)" : "");
    }
    if (d->read_set && r->set && strcmp(r->set->name, d->read_set) != 0) {
        return row_fail(r, "a row of %s in a file that is read as %s; one set a file",
                        r->set->name, d->read_set);
    }
    int kept;
    if (r->are_turns) kept = keep_turns(r);
    else if (as_pairs) kept = keep_pairs(r);
    else kept = keep_row(r);
    if (kept < 0) return -1;

    // what the first row is, all are; a row of a known set may come later
    if (!d->rows) {
        d->kind = r->kind;
        row_keys(r, d->keys);
    }
    if (!d->read_set && r->set) {
        d->read_set = r->set->name;
        d->read_as = r->set->meaning;
    }
    d->rows++;
    d->turns += r->turns;
    d->repeated += r->repeated;
    return 0;
}

// All rows; a bad one is an error, or left out and told.
static int read_rows(Reader *r) {
    Dataset *d = r->d;
    for (;;) {
        const int more = r->is_array ? next_element(r) : next_line(r);
        if (more < 0) return -1;
        if (more == 0) break;
        const size_t tokens_before = d->num_tokens;
        if (take_row(r) == 0) continue;
        if (!r->options->bad_row || error_code != EX_DATAERR) return -1;
        d->num_tokens = tokens_before;
        d->bad++;
        r->options->bad_row(r->options->to, d);
    }
    if (d->rows + d->bad == 0) return fail(EX_DATAERR, "%s: no rows", d->path);
    if (d->rows == 0 && !r->options->none_left) {
        return fail(EX_DATAERR, "%s: all %zu rows are bad", d->path, d->bad);
    }
    return 0;
}

// Does a text begin as JSON lines or an array of rows do?
static int looks_like_rows(const char *s) {
    static const char blanks[] = " \t\r\n";
    s += strspn(s, blanks);
    const char first = *s;
    if (!first) return 0;
    const char next = s[1 + strspn(s + 1, blanks)];
    return (first == '{' && (next == '"' || next == '}')) || (first == '[' && next == '{');
}

/* The whole file is one prompt, without the end of its last line, or one document.  A document is
 * text: UTF-8 without a zero byte. */
static int read_plain_text(Reader *r) {
    const Buffer *b = &r->d->contents;
    const char *s = b->data + r->at;
    size_t n = b->len - r->at;
    r->d->rows = 1;
    if (r->options->plain_text == ONE_PROMPT) {
        if (n && b->data[b->len - 1] == '\n') n--;
        r->kind = r->d->kind = DATA_PROMPT;
        r->prompt = (Passage){.start = 0, .len = n};
        if (buffer_append(&r->rendered, s, n) < 0) return -1;
        return keep_row(r);
    }

    uint32_t code = 0;
    for (size_t i = 0; i < n; ) {
        const int len = utf8_decode(s + i, n - i, &code);
        if (len == 0 || code == 0) {
            return fail(EX_DATAERR, "%s: neither JSON lines nor text in UTF-8", r->d->path);
        }
        i += (size_t)len;
    }
    r->kind = r->d->kind = DATA_DOCUMENT;
    r->n = 1;
    r->answer[0] = (Passage){.start = 0, .len = n};
    r->weight = 1;
    r->d->read_as = !strstr(s, "<|endoftext|>") ? "plain text: one document"
        : "plain text: one document; <|endoftext|> in it ends nothing: write each text between "
          "them as a row {\"text\": ...}";
    if (buffer_append(&r->rendered, s, n) < 0) return -1;
    return keep_row(r);
}

// ---------------------------------------------------------------------------------------- the file

// Of FILE:NAME the colon; NULL where there is none, or where the whole is the name of a file.
static const char *name_colon(const char *spec) {
    const char *slash = strrchr(spec, '/'), *colon = strrchr(slash ? slash : spec, ':');
    struct stat st;
    return colon && colon[1] && stat(spec, &st) < 0 ? colon : NULL;
}

// Takes .jsonl, .csv and .tsv, .train, .test and .valid off the end of a name.
static void strip_endings(char *name) {
    static const char *const endings[] = {
        ".jsonl", ".json", ".csv", ".tsv", ".train", ".test", ".valid"};
    for (size_t k = 0; k < sizeof endings / sizeof *endings; k++) {
        const size_t n = strlen(name), e = strlen(endings[k]);
        if (n > e && !strcmp(name + n - e, endings[k])) name[n - e] = 0;
    }
}

/* What a file given as FILE or FILE:NAME is called: NAME, or the file's name without folder and
 * endings.  It goes into logs and tables: what would need an escape there becomes '_'. */
void dataset_name(char name[64], const char *spec) {
    const char *colon = name_colon(spec), *slash = strrchr(spec, '/');
    const char *from = slash ? slash + 1 : spec;
    if (!strcmp(spec, "-")) from = "stdin";
    if (colon) from = colon + 1;
    snprintf(name, 64, "%s", from);
    if (!colon) strip_endings(name);
    for (char *c = name; *c; c++) {
        if (iscntrl((unsigned char)*c) || *c == '"' || *c == '\\') *c = '_';
    }
}

// What stat says of the file of FILE or FILE:NAME.
static int spec_stat(const char *spec, struct stat *st) {
    const char *colon = name_colon(spec);
    char path[FILENAME_MAX];
    snprintf(path, sizeof path, "%.*s", (int)(colon ? (size_t)(colon - spec) : strlen(spec)), spec);
    return stat(path, st);
}

// Can the file be read only once: is it standard input or a pipe?
int dataset_is_stream(const char *spec) {
    struct stat st;
    if (!strcmp(spec, "-")) return 1;
    return spec_stat(spec, &st) == 0 && S_ISFIFO(st.st_mode);
}

// Is it the file at path, or a folder that is there, by whatever name?
int dataset_is_at(const char *spec, const char *path) {
    struct stat x, y;
    if (spec_stat(spec, &x) < 0 || stat(path, &y) < 0) return 0;
    if (!S_ISREG(x.st_mode) && !S_ISDIR(x.st_mode)) return 0;
    return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

// The contents: rows that the caller gives, or standard input, or the file or pipe that the path
// names.
static int read_contents(Dataset *d, const Buffer *rows) {
    if (rows) return buffer_append(&d->contents, rows->data, rows->len);
    if (!strcmp(d->path, "-")) return fd_read(&d->contents, STDIN_FILENO, "standard input");
    if (!dataset_is_stream(d->path)) return file_read(&d->contents, d->path);
    const int fd = fd_open(d->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(EX_NOINPUT, "%s: %s", d->path, strerror(errno));
    const int result = fd_read(&d->contents, fd, d->path);
    close(fd);
    return result;
}

// What a file of another format begins with.
static const struct {
    const char *bytes;
    size_t n;
    const char *what, *remedy;
} formats[] = {
    {"\x1f\x8b",             2, "compressed by gzip", "gunzip it"},
    {"\x28\xb5\x2f\xfd",     4, "compressed by zstd", "unzstd it"},
    {"BZh",                  3, "compressed by bzip2", "bunzip2 it"},
    {"\xfd" "7zXZ",          5, "compressed by xz", "unxz it"},
    {"PK\3\4",               4, "a zip archive (or .xlsx)",
     "unzip it, or save the table as JSON lines"},
    {"PAR1",                 4, "a Parquet file",
     "write JSON lines, in Python: pandas.read_parquet(FILE).to_json(OUT, orient=\"records\", "
     "lines=True)"},
    {"ARROW1",               6, "an Arrow file",
     "write JSON lines, in Python: datasets.Dataset.from_file(FILE).to_json(OUT)"},
    {"\xff\xfe\0\0",         4, "text in UTF-32", "iconv -f UTF-32 -t UTF-8 FILE"},
    {"\0\0\xfe\xff",         4, "text in UTF-32", "iconv -f UTF-32 -t UTF-8 FILE"},
    {"\xff\xfe",             2, "text in UTF-16", "iconv -f UTF-16 -t UTF-8 FILE"},
    {"\xfe\xff",             2, "text in UTF-16", "iconv -f UTF-16 -t UTF-8 FILE"},
    {"{\0",                  2, "text in UTF-16", "iconv -f UTF-16LE -t UTF-8 FILE"},
    {"[\0",                  2, "text in UTF-16", "iconv -f UTF-16LE -t UTF-8 FILE"},
    {"\0{",                  2, "text in UTF-16", "iconv -f UTF-16BE -t UTF-8 FILE"},
    {"\0[",                  2, "text in UTF-16", "iconv -f UTF-16BE -t UTF-8 FILE"},
    {"version https://git-lfs", 23, "a pointer of Git LFS, not the file itself", "git lfs pull"},
    {"%PDF",                 4, "a PDF file", "write its text as JSON lines"},
    {"<!DOCTYPE",            9, "a web page", "download the file itself"},
    {"<!doctype",            9, "a web page", "download the file itself"},
    {"<html",                5, "a web page", "download the file itself"},
};

static int refuse_other_formats(const Dataset *d) {
    const Buffer *b = &d->contents;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (b->len < formats[i].n || memcmp(b->data, formats[i].bytes, formats[i].n)) continue;
        return fail(EX_DATAERR, "%s: %s; JSON lines in UTF-8 are needed: %s", d->path,
                    formats[i].what, formats[i].remedy);
    }
    return 0;
}

static int is_named(const char *path, const char *ending) {
    const char *dot = strrchr(path, '.');
    return dot && !strcmp(dot, ending);
}

// Does the name say that the file holds rows?
static int is_named_json(const char *path) {
    return is_named(path, ".jsonl") || is_named(path, ".json") || is_named(path, ".ndjson");
}

// A table of comma- or tab-separated values: a name in its first line is that of a row's key, or
// the file's name says so.
static int refuse_table(const Dataset *d, const char *s) {
    static const char *const names[] = {
        "text", "prompt", "completion", "chosen", "rejected", "instruction", "output", "response",
        "question", "label", "messages",
    };
    const char *const end = s + strcspn(s, "\r\n"), *at = s;
    const int has_columns = s + strcspn(s, ",;\t\r\n") < end;
    char found[64] = "";
    while (has_columns && !*found && at < end) {
        const size_t n = strcspn(at, ",;\t\r\n");
        const size_t quote = n >= 2 && at[0] == '"' && at[n-1] == '"';
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            const size_t len = n - 2*quote;
            if (strlen(names[k]) != len || memcmp(at + quote, names[k], len)) continue;
            snprintf(found, sizeof found, " with a column \"%s\"", names[k]);
        }
        at += n;
        if (at < end) at++;
    }
    if (!*found && !is_named(d->path, ".csv") && !is_named(d->path, ".tsv")) return 0;
    return fail(EX_DATAERR, "%s: a table (CSV or TSV)%s; JSON lines are needed, in Python: "
                "pandas.read_csv(FILE).to_json(OUT, orient=\"records\", lines=True)", d->path,
                found);
}

// The rows of the file, whatever way they are written.
static int read_file(Reader *r) {
    Dataset *d = r->d;
    if (read_contents(d, r->options->rows) < 0) return -1;
    const Buffer *b = &d->contents;
    if (r->options->plain_text != ONE_PROMPT && refuse_other_formats(d) < 0) return -1;
    if (r->options->features) {
        const char *s = b->data + strspn(b->data, "\xef\xbb\xbf \t\r\n");
        const int is_table = *s && *s != '{' && *s != '[';
        if (is_table && csv_to_rows(&d->contents, d->path, r->options) < 0) return -1;
    }
    if (b->len >= 3 && !memcmp(b->data, "\xef\xbb\xbf", 3)) r->at = 3;  // a byte order mark
    const char *s = b->data + r->at;
    if (r->options->plain_text == ONE_PROMPT && !looks_like_rows(s)) return read_plain_text(r);
    const size_t start = r->at;                           // of a document, which keeps its blanks
    skip_blank(r);
    s = b->data + r->at;
    // a document may begin with a bracket, if the file's name says that it is one
    const int is_named_text = r->options->plain_text == ONE_DOCUMENT && is_named(d->path, ".txt");
    const int is_rows = is_named_text ? looks_like_rows(s) : (*s == '{' || *s == '[');
    const int is_text = r->at < b->len && !is_rows;
    if (is_text && refuse_table(d, s) < 0) return -1;
    if (is_text && r->options->plain_text == ONE_DOCUMENT && !is_named_json(d->path)) {
        r->at = start;
        r->line = 1;
        return read_plain_text(r);
    }
    if (is_text) {
        return fail(EX_DATAERR, "%s:%zu: not JSON lines; a row is an object on one line, a text "
                    "for train lm {\"text\": \"...\"} or a file of its own, named .txt", d->path,
                    r->line);
    }
    if (r->at < b->len && b->data[r->at] == '[') {
        r->is_array = 1;
        r->at++;
    }
    return read_rows(r);
}

// Where every ranking has two answers, the file is one of pairs.
static void rankings_of_two(Dataset *d) {
    for (size_t i = 0; i < d->num_records; i++) {
        if (d->record[i].count != 2) return;
    }
    d->kind = DATA_PAIR;
    for (size_t i = 0; i < d->num_answers; i++) d->answer[i].score = i % 2 == 0;
}

// What the command line can ask for in vain.
static int check_options(const DataOptions *o) {
    Buffer names = {0};
    Chat chat;
    if (o->template_ && !chat_named(&chat, o->template_)) {
        if (chat_names(&names) == 0) {
            fail(EX_USAGE, "--template %s: unknown; %s are known", o->template_, names.data);
        }
        buffer_free(&names);
        return -1;
    }
    if (o->max_length && (o->max_length < 2 || o->max_prompt_length > o->max_length - 2)) {
        return fail(EX_USAGE, "--max_length %d leaves no room for an answer beside "
                    "--max_prompt_length %d: raise the one or lower the other",
                    o->max_length, o->max_prompt_length);
    }
    return 0;
}

/* Reads FILE or FILE:NAME (- is standard input): all rows of one kind, as tokens of t, cut by o.
 * 0, or -1 after fail() with file, line and reason; then d is empty. */
int dataset_load(Dataset *d, const char *spec, const Tokenizer *t, const DataOptions *o) {
    const char *colon = name_colon(spec);
    const size_t path_len = colon ? (size_t)(colon - spec) : strlen(spec);
    int result = -1;
    memset(d, 0, sizeof *d);
    if (check_options(o) < 0) return -1;
    dataset_name(d->name, spec);
    Reader *r = allocate(1, sizeof *r);
    d->path = allocate(path_len + 1, 1);
    if (!r || !d->path) goto done;

    memcpy(d->path, spec, path_len);
    r->options = o;
    r->tokenizer = t;
    r->d = d;
    r->path = d->path;
    r->line = 1;
    r->prompt_key = o->prompt_key ? o->prompt_key : "prompt";
    r->chosen_key = o->chosen_key ? o->chosen_key : "chosen";
    r->rejected_key = o->rejected_key ? o->rejected_key : "rejected";
    template_choose(&r->chat, t, o->template_);
    if (r->chat.form) d->answer_lead = r->chat.form->turn[ROLE_ASSISTANT].lead;
    if (read_file(r) < 0) goto done;
    if (d->kind == DATA_RANKING && !o->as_given) rankings_of_two(d);
    result = 0;

done:
    if (r) {
        json_free(&r->json);
        buffer_free(&r->rendered);
        buffer_free(&r->said);
        buffer_free(&r->tools);
        free(r->markup);
    }
    free(r);
    if (result < 0) dataset_free(d);
    return result;
}

void dataset_free(Dataset *d) {
    free(d->path);
    free(d->token);
    free(d->record);
    free(d->answer);
    free(d->gap);
    free(d->feature);
    buffer_free(&d->contents);
    buffer_free(&d->others);
    memset(d, 0, sizeof *d);
}

int dataset_report_shape(const Dataset *d, Buffer *out) {
    const char *set = d->read_set ? d->read_set : "", *colon = d->read_set ? ": " : "";
    if (!d->read_as) return 0;
    return buffer_printf(out, "%s: read as %s%s%s\n", d->name, set, colon, d->read_as);
}

int dataset_report(const Dataset *d, Buffer *out) {
    size_t tokens = 0;
    for (size_t i = 0; i < d->num_records; i++) tokens += (size_t)d->record[i].prompt.len;
    for (size_t i = 0; i < d->num_answers; i++) tokens += (size_t)d->answer[i].tokens.len;
    const double mean = d->num_records ? (double)tokens / (double)d->num_records : 0.0;
    char bad[64] = "", parts[64] = "", repeated[64] = "";
    if (d->bad) snprintf(bad, sizeof bad, "; %zu bad rows are left out", d->bad);
    if (d->parts) snprintf(parts, sizeof parts, " in %zu records", d->rows + d->parts);
    if (d->repeated) {
        snprintf(repeated, sizeof repeated, ", %zu repeated answers left out", d->repeated);
    }
    if (dataset_report_shape(d, out) < 0) return -1;
    return buffer_printf(out,
                         "%s: %zu rows of kind %s%s, %zu kept, %zu dropped (too long), %zu ties, "
                         "%zu truncated (%zu prompts, %zu answers), %.0f tokens a row%s%s\n",
                         d->name, d->rows, data_kind_name[d->kind], parts, d->num_records,
                         d->dropped, d->tied, d->truncated, d->cut_prompts, d->cut_answers, mean,
                         repeated, bad);
}

int dataset_report_turns(const Dataset *d, Buffer *out) {
    const int last = !d->num_gaps && !d->parts;
    if (d->turns <= d->rows) return 0;                    // one turn a conversation at most
    return buffer_printf(out, "%s: %zu of %zu turns of the assistant are targets%s\n", d->name,
                         d->targets, d->turns, last ? ", the last of each conversation" : "");
}

// -------------------------------------------------------------------------------- repeated prompts

// Do two spans hold the same tokens?
int dataset_same_tokens(const Dataset *d, Span a, Span b) {
    if (a.len != b.len) return 0;
    if (a.len == 0) return 1;
    return !memcmp(d->token + a.start, d->token + b.start, (size_t)a.len * sizeof *d->token);
}

// A hash of the tokens of s, continued from h.
uint64_t dataset_hash_tokens(uint64_t h, const Dataset *d, Span s) {
    h = random_mix(h ^ (uint64_t)s.len);
    for (int i = 0; i < s.len; i++) h = random_mix(h ^ (uint64_t)d->token[s.start + (size_t)i]);
    return h;
}

// A document is itself the prompt that it is continued from.
Span dataset_prompt(const Dataset *d, const Record *r) {
    return d->kind == DATA_DOCUMENT ? d->answer[r->first].tokens : r->prompt;
}

/* first (num_records): for each record the first one of the file with the same prompt, by its
 * tokens; so record i is the first with its prompt where first[i] == i.  By a hash table: the time
 * grows with the number of tokens, not with the square of the number of records.
 * 0, or -1 after fail(). */
int dataset_first_of_prompt(size_t *first, const Dataset *d) {
    size_t slots = 16;
    while (slots < 2 * d->num_records) slots *= 2;
    size_t *table = allocate(slots, sizeof *table);       // a record's index + 1; 0: an empty slot
    if (!table) return -1;

    for (size_t i = 0; i < d->num_records; i++) {
        const Span prompt = dataset_prompt(d, &d->record[i]);
        size_t slot = dataset_hash_tokens(0, d, prompt) % slots;
        while (table[slot]) {
            const Record *other = &d->record[table[slot] - 1];
            if (dataset_same_tokens(d, dataset_prompt(d, other), prompt)) break;
            slot = (slot + 1) % slots;
        }
        if (!table[slot]) table[slot] = i + 1;
        first[i] = table[slot] - 1;
    }
    free(table);
    return 0;
}
#endif
