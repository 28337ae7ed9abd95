/* unread.c - what a row says beyond the prompt and the answers that were read from it: text that
 * would be lost, and what says that the rejected answer of a pair is the better one.  answers.c
 * asks for both when it has read a row. */
#ifndef UNREAD_C
#define UNREAD_C

#include "common.h"
#include "template.c"

int  row_refuse_two_answers(const Reader *r, int answer);   // stops at another answer beside it
int  row_refuse_lost_text(const Reader *r);                 // stops at text under another key
int  row_names_prompt(const char *key);                     // does this key hold what is before it?
void row_find_contrary(Reader *r);                          // to r->contrary

// ---------------------------------------------------------------- text of a row that would be lost

/* No text of a row may be lost without a word.  Text are strings, and lists of messages or of
 * strings, whose key is one of prompt_names; and in a row without a prompt strings and messages
 * under any other key, for that may be the prompt.  It is metadata where its name ends in one of
 * metadata_names ("prompt_id", "source"), or where its string is one word of letters, digits and
 * -_./:+@# ("u17", "gpt-4", "2024-05-01").  Text may stand twice: a string that the prompt says
 * already is not lost, nor are messages that prompt and answers say.  And whoever names the prompt
 * with --prompt_key leaves the other keys out on purpose. */
static const char *const prompt_names[] = {
    "prompt", "instruction", "input", "history", "system", "system_prompt", "conversations",
    "conversation", "messages", "question", "query", "context", "problem", "dialogue",
    "system_message", "context_messages", "trajectory", "passage", "background",
};
static const char *const metadata_names[] = {
    "id", "uuid", "hash", "source", "origin", "url", "link", "model", "policy", "author", "dataset",
    "category", "subset", "split", "group", "lang", "language", "type", "kind", "domain", "tag",
    "tags", "date", "time", "timestamp", "version", "license", "annotator", "worker", "judge",
    "label", "note", "comment", "reason", "rationale", "explanation", "critique", "feedback",
    "metadata",
};

int row_names_prompt(const char *key) { return LISTED(key, prompt_names); }

// Is a value of the row metadata, by its name or by what it says?
static int is_metadata(const Json *j, int v) {
    const char *key = json_key(j, v), *last = strrchr(key, '_');
    if (LISTED(last ? last + 1 : key, metadata_names)) return 1;
    const size_t n = json_length(j, v);
    const char *s = json_string(j, v);
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        const int of_word = c < 0x80 && (isalnum(c) || (c && strchr("-_./:+@#", c)));
        if (!of_word) return 0;
    }
    return json_type(j, v) == JSON_STRING;
}

// Is it in the text of a passage?
static int passage_holds(const Reader *r, const Passage *p, const char *s, size_t n) {
    const char *at = r->rendered.data + p->start, *end = at + p->len;
    while ((size_t)(end - at) >= n) {
        at = memchr(at, s[0], (size_t)(end - at) - n + 1);
        if (!at) return 0;
        if (!memcmp(at, s, n)) return 1;
        at++;
    }
    return 0;
}

// Does the prompt say the string already, but for blanks around it?  Or, with_answers, an answer?
static int is_said(const Reader *r, const char *s, size_t n, int with_answers) {
    while (n && isspace((unsigned char)s[0])) {
        s++;
        n--;
    }
    while (n && isspace((unsigned char)s[n-1])) n--;
    if (n == 0 || passage_holds(r, &r->prompt, s, n)) return 1;
    const Passage talk = {.start = 0, .len = r->rendered.len};        // with the turns in between
    if (r->are_turns) return passage_holds(r, &talk, s, n);
    for (int i = 0; with_answers && i < r->n; i++) {
        if (passage_holds(r, &r->answer[i], s, n)) return 1;
    }
    return 0;
}

// The same of all strings of a value, but for who says them and which call is answered.
static int is_all_said(const Reader *r, int v, int with_answers) {
    static const char *const whose[] = {"role", "from", "name", "type", "id", "tool_call_id"};
    const Json *j = &r->json;
    if (json_type(j, v) == JSON_STRING) {
        return is_said(r, json_string(j, v), json_length(j, v), with_answers);
    }
    for (int i = json_first(j, v); i >= 0; i = json_next(j, i)) {
        if (json_type(j, v) == JSON_OBJECT && LISTED(json_key(j, i), whose)) continue;
        if (!is_all_said(r, i, with_answers)) return 0;
    }
    return 1;
}

// Stops at an answer beside those that are used; "answer" beside another is what is known to be
// right.
int row_refuse_two_answers(const Reader *r, int answer) {
    static const char *const names[] = {"completion", "output", "response"};
    for (size_t i = 0; answer >= 0 && i < sizeof names / sizeof *names; i++) {
        const int v = row_get(r, 0, names[i]);
        if (v < 0 || row_uses(r, v) || is_all_said(r, v, 1)) continue;
        if (!row_uses(r, answer)) {
            return row_fail(r, "\"%s\" would be ignored beside the %s; remove it", names[i],
                            data_kind_name[r->kind]);
        }
        return row_fail(r, "two answers, \"%s\" and \"%.60s\"; keep one",
                        json_key(&r->json, answer), names[i]);
    }
    return 0;
}

// Stops at a key whose text would be lost.
int row_refuse_lost_text(const Reader *r) {
    const Json *j = &r->json;
    const int without_prompt = r->prompt_form == NO_PROMPT && r->answer_form == STRING_ANSWER
        && !r->is_marked && r->kind != DATA_DOCUMENT;
    int system = -1;                                      // names of other keys help more
    if (r->options->prompt_key) return 0;
    for (int v = json_first(j, 0); v >= 0; v = json_next(j, v)) {
        const char *key = json_key(j, v);
        const int messages = message_role(r, json_first(j, v)) >= 0;
        const int strings = row_is_string_list(r, v) && row_names_prompt(key);
        const int text = json_type(j, v) == JSON_STRING || messages || strings;
        if (!text && strcmp(key, "history") != 0) continue;
        const int with_answers = messages || r->kind == DATA_DOCUMENT;
        if (row_uses(r, v) || is_all_said(r, v, with_answers)) continue;
        if (without_prompt && v == row_system(r)) {
            system = v;
            continue;
        }
        if (without_prompt && (row_names_prompt(key) || !is_metadata(j, v))) {
            return row_fail(r, "no prompt, and \"%.60s\" would be ignored; if it is the prompt, "
                            "say --prompt_key %.60s, else remove it", key, key);
        }
        if (!row_names_prompt(key)) continue;
        return row_fail(r, "\"%.60s\" would be ignored; join it to the prompt, or name the key "
                        "that is all of the prompt with --prompt_key", key);
    }
    if (system < 0) return 0;
    return row_fail(r, "\"%.60s\" would be ignored: there is no prompt", json_key(j, system));
}

// ------------------------------------------------------------ what a row says against its own pair

// Is it a number of which more is better, by its name?
static int names_merit(const char *key) {
    static const char *const names[] = {"score", "rating", "reward", "grade", "quality"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *at = strstr(key, names[i]);
        if (at && !isalpha((unsigned char)at[strlen(names[i])])) return 1;
    }
    return 0;
}

// The value of the other answer's key: for "score_chosen" of "score_rejected"; -1: there is none.
static int value_of_rejected(const Reader *r, const char *key) {
    char other[64];
    const char *at = strstr(key, r->chosen_key);
    if (!at) return -1;
    const int before = (int)(at - key);
    const int n = snprintf(other, sizeof other, "%.*s%s%s", before, key, r->rejected_key,
                           at + strlen(r->chosen_key));
    return n < (int)sizeof other ? row_get(r, 0, other) : -1;
}

// Does the string w name the rejected answer: as "rejected", or as the model that wrote it alone?
static int names_rejected(const Reader *r, int w) {
    const Json *j = &r->json;
    if (json_equal(j, w, r->rejected_key)) return 1;
    for (int v = json_first(j, 0); v >= 0; v = json_next(j, v)) {
        if (!strstr(json_key(j, v), "model")) continue;
        const int other = value_of_rejected(r, json_key(j, v));
        if (json_type(j, other) != JSON_STRING || json_equal(j, v, json_string(j, other))) continue;
        if (json_equal(j, w, json_string(j, other))) return 1;
    }
    return 0;
}

/* r->contrary: what says that the rejected answer is the better one, "" where nothing does.  Two
 * numbers whose names differ in chosen and rejected alone ("score_chosen", "chosen-rating"), a
 * margin below 0, the winner's name.  What the rows of a known set say, their table knows. */
void row_find_contrary(Reader *r) {
    const Json *j = &r->json;
    const int winner = row_get(r, 0, "winner");
    *r->contrary = 0;
    if (r->kind != DATA_PAIR || r->set) return;
    if (r->margin < 0) snprintf(r->contrary, CONTRARY_SIZE, "\"margin\" %g", (double)r->margin);
    if (names_rejected(r, winner)) {
        snprintf(r->contrary, CONTRARY_SIZE, "\"winner\" \"%.40s\"", json_string(j, winner));
    }
    for (int v = json_first(j, 0); v >= 0; v = json_next(j, v)) {
        const int other = names_merit(json_key(j, v)) ? value_of_rejected(r, json_key(j, v)) : -1;
        if (json_type(j, v) != JSON_NUMBER || json_type(j, other) != JSON_NUMBER) continue;
        if (!(json_number(j, v) < json_number(j, other))) continue;
        snprintf(r->contrary, CONTRARY_SIZE, "\"%.40s\" %g below \"%.40s\" %g", json_key(j, v),
                 json_number(j, v), json_key(j, other), json_number(j, other));
    }
}
#endif
