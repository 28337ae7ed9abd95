/* shapes.c - the shapes of data rows: their keys, their kinds, and well-known sets as published.
 *
 * The keys of a data row decide its shape; null is absent.  Other keys are metadata, which a short
 * rule tells from text (unread.c): text that nobody would read is an error.  A file is rows line
 * by line, or one JSON array of them; for language models any other text is one document.
 *
 *     text        {"text": ""}                           a document: DATA_DOCUMENT
 *     prompt      {"prompt": P}
 *     completion  {"prompt": P, "completion": A}         or another of answer_names; or messages
 *                                                        that end with A
 *     point       ... the same with "label", "score" or "kto_tag"
 *     pair        {"prompt": P, "chosen": A, "rejected": A}
 *     ranking     {"prompt": P, "chosen": ["", ...], "rejected": ["", ...]}; one may be a string
 *                 {"prompt": P, "completions": [A, ...]} best first, or with "ranks" or "scores"
 *                                                        (these also beside "responses");
 *                 {"instruction": "", "output": [A, ...]} best first
 *                 {"prompt": P, "answers": [{"answer": A, "rank": 1}, ...]}
 *                 {"text": ["", ...], "score": [1, ...]}
 *     and those of well-known sets as they are published: the table known_sets
 *
 *     P = "" | [messages];   A = "" | [messages] | message
 *     message = {"role" or "from": "user", "content" or "value": C}
 *     C = "" | [{"type": "text", "text": ""}, ...]
 *     "prompt": P may also be "instruction": "" with "input" (or "context") and "history";
 *     "conversations", "messages" or "conversation": [messages]; or absent: then every answer is a
 *     whole text.
 *     "system": "" beside any of them is the first message; a string as prompt then is the user's.
 *
 * What is found here are places: RowKeys has the values of the row that hold prompt and answers.
 * answers.c reads them; dataset.c tokenises, cuts, drops and counts what comes out there. */
#ifndef SHAPES_C
#define SHAPES_C

#include "common.h"
#include "template.c"

typedef struct {                        // values of the row's keys, -1 where absent or null
    int prompt, instruction;
    int conversation;                   // "conversations", "messages" or "conversation"
    int answer;                         // "completion" or another of answer_names, or a message
    int answer_is_last_message;         // yes: the last of the conversation
    int label, score, kto_tag;          // three names of a label; "score" may also be a list
    int chosen, rejected;
    int completions, ranks, scores;     // a ranking and what sorts it
    int answers;                        // a ranking whose elements hold their ranks
    int text, texts;                    // "text": a document; a list, which is a ranking
    const struct KnownSet *set;         // of which the row is as published, or NULL
    int question;                       // the user's message there
} RowKeys;

/* Well-known sets as they are published.  A row is of a set if it has all of its keys.  The prompt
 * is then the user's message, the answers are the assistant's; of a pair `better` says which one is
 * chosen.  A path goes into objects by their keys and into lists by number. */
enum Better {
    BY_ORDER,                           // the first
    BY_NUMBER,                          // `by` is 0: the first; 1: the second
    BY_ONE,                             // `by` is 1: the first; 0: the second
    BY_SIGN,                            // `by` is negative: the first; positive: the second
    BY_LARGER,                          // the first has `by`, the second `by_too`: the larger one
    BY_NAME,                            // `by` is "model_a": the first; "model_b": the second
};
enum { SET_KEYS = 6 };
typedef struct KnownSet {
    const char *name, *keys[SET_KEYS];
    const char *prompt, *first, *second;                  // paths; of a ranking and a point no two
    int lists_in_strings;               // strings hold JSON: what the user said, what was answered
    int is_post;                        // the prompt is made of a post's parts (answers.c)
    enum Better better;
    const char *by, *by_too;                              // keys; of a point `by` is its score
    const char *meaning;
} KnownSet;

RowKeys row_find_keys(const Reader *r);                     // by our own names, or a known set's
enum DataKind row_kind(const Reader *r, const RowKeys *k);
int  row_at_path(const Reader *r, const char *path);        // the value at the end of a path
int  row_read_better(Reader *r, const KnownSet *set, int *second);  // of the two of a pair

// what stops at a row that is not read
int  row_refuse_sets(const Reader *r);                      // a known set that is not read
int  row_check_keys(const Reader *r, const RowKeys *k);     // keys that do not go together
int  row_refuse_shape(const Reader *r);                     // always: no shape is known

// ---------------------------------------------------------------------------------- the known sets

static const KnownSet known_sets[] = {
    {.name = "SHP", .keys = {"history", "human_ref_A", "human_ref_B", "labels"},
     .prompt = "history", .first = "human_ref_A", .second = "human_ref_B",
     .better = BY_ONE, .by = "labels",
     .meaning = "history is the user's message; labels 1: human_ref_A is better, 0: human_ref_B"},
    {.name = "PKU-SafeRLHF",
     .keys = {"prompt", "response_0", "response_1", "better_response_id"},
     .prompt = "prompt", .first = "response_0", .second = "response_1",
     .better = BY_NUMBER, .by = "better_response_id",
     .meaning = "better_response_id names the better answer (safer_response_id is not used)"},
    {.name = "HelpSteer2, preferences",
     .keys = {"prompt", "response_1", "response_2", "preference_strength"},
     .prompt = "prompt", .first = "response_1", .second = "response_2",
     .better = BY_SIGN, .by = "preference_strength",
     .meaning = "preference_strength below 0: response_1 is better, above: response_2, 0: a tie"},
    {.name = "HelpSteer3, preferences",
     .keys = {"context", "response1", "response2", "overall_preference"},
     .prompt = "context", .first = "response1", .second = "response2",
     .better = BY_SIGN, .by = "overall_preference",
     .meaning = "overall_preference below 0: response1 is better, above: response2, 0: a tie"},
    {.name = "HelpSteer2", .keys = {"prompt", "response", "helpfulness", "verbosity"},
     .prompt = "prompt", .first = "response", .by = "helpfulness",
     .meaning = "helpfulness is the score (the other four ratings are not used)"},
    {.name = "UltraFeedback", .keys = {"instruction", "completions", "correct_answers"},
     .prompt = "instruction", .meaning = "a ranking by overall_score"},
    {.name = "WebGPT comparisons",
     .keys = {"question", "answer_0", "answer_1", "score_0", "score_1"},
     .prompt = "question.full_text", .first = "answer_0", .second = "answer_1",
     .better = BY_LARGER, .by = "score_0", .by_too = "score_1",
     .meaning = "the answer with the larger score is better, equal ones are a tie; quotes are not "
                "used"},
    {.name = "TL;DR comparisons", .keys = {"info", "summaries", "choice"},
     .is_post = 1, .first = "summaries.0.text", .second = "summaries.1.text",
     .better = BY_NUMBER, .by = "choice",
     .meaning = "the prompt is SUBREDDIT, TITLE and POST (or Article) and ends with TL;DR:, choice "
                "names the better summary"},
    {.name = "Stack Exchange, paired", .keys = {"question", "response_j", "response_k"},
     .prompt = "question", .first = "response_j", .second = "response_k",
     .meaning = "response_j is better"},
    {.name = "Stack Exchange, preferences", .keys = {"qid", "question", "answers"},
     .prompt = "question", .meaning = "a ranking by pm_score"},
    {.name = "arena conversations", .keys = {"conversation_a", "conversation_b", "winner"},
     .first = "conversation_a", .second = "conversation_b",
     .better = BY_NAME, .by = "winner",
     .meaning = "winner model_a or model_b names the better conversation, else it is a tie"},
    {.name = "arena 55k",
     .keys = {"prompt", "response_a", "response_b", "winner_model_a", "winner_model_b"},
     .first = "response_a", .second = "response_b", .lists_in_strings = 1,
     .better = BY_LARGER, .by = "winner_model_a", .by_too = "winner_model_b",
     .meaning = "prompt and responses are lists of turns in JSON; winner_model_a or _b is 1, or it "
                "is a tie"},
    {.name = "Orca pairs", .keys = {"system", "question", "chosen", "rejected"},
     .prompt = "question", .first = "chosen", .second = "rejected",
     .meaning = "system and question are the messages before the answer"},
    {.name = "Orca pairs of distilabel", .keys = {"system", "input", "chosen", "rejected"},
     .prompt = "input", .first = "chosen", .second = "rejected",
     .meaning = "system and input are the messages before the answer"},
    {.name = "OpenAI's preference format",
     .keys = {"input", "preferred_output", "non_preferred_output"},
     .prompt = "input.messages", .first = "preferred_output", .second = "non_preferred_output",
     .meaning = "preferred_output is better"},
    {.name = "RewardBench 2", .keys = {"prompt", "chosen", "rejected", "num_correct"},
     .prompt = "prompt",
     .meaning = "each of chosen is better than each of rejected"},
};

static int is_key_of_set(const KnownSet *set, const char *key) {
    for (int k = 0; k < SET_KEYS && set->keys[k]; k++) {
        if (!strcmp(set->keys[k], key)) return 1;
    }
    return 0;
}

// Has the row all keys of the set, and no prompt under another of our names?
static int is_of_set(const Reader *r, const KnownSet *set) {
    static const char *const prompts[] = {"prompt", "instruction", "messages", "conversations"};
    for (int k = 0; k < SET_KEYS && set->keys[k]; k++) {
        if (json_get(&r->json, 0, set->keys[k]) < 0) return 0;
    }
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        if (row_get(r, 0, prompts[i]) >= 0 && !is_key_of_set(set, prompts[i])) return 0;
    }
    return 1;
}

// The set that the row is of, as published; NULL: none, or the command line names keys.
static const KnownSet *known_set(const Reader *r) {
    const DataOptions *o = r->options;
    if (o->prompt_key || o->chosen_key || o->rejected_key) return NULL;
    for (size_t i = 0; i < sizeof known_sets / sizeof *known_sets; i++) {
        if (is_of_set(r, &known_sets[i])) return &known_sets[i];
    }
    return NULL;
}

// The value at the end of a path, -1 where there is none.
int row_at_path(const Reader *r, const char *path) {
    const Json *j = &r->json;
    char name[32];
    int v = 0;
    while (path && *path && v >= 0) {
        const size_t n = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, path);
        if (json_type(j, v) == JSON_ARRAY) {
            const int number = atoi(name);
            v = json_first(j, v);
            for (int i = 0; i < number && v >= 0; i++) v = json_next(j, v);
        } else {
            v = row_get(r, v, name);
        }
        path += n + (path[n] == '.');
    }
    return path ? v : -1;
}

// The string at the head of a path, where the set's objects became their text; -1: there is none.
static int string_on_path(const Reader *r, const char *path) {
    char name[32];
    if (!path) return -1;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(path, "."), path);
    const int v = row_get(r, 0, name);
    return json_type(&r->json, v) == JSON_STRING ? v : -1;
}

/* Which answer of a pair of a known set is better: *second 0 or 1, a tie: *second 0 and r->is_tie.
 * 0, or -1 after fail(). */
int row_read_better(Reader *r, const KnownSet *set, int *second) {
    const Json *j = &r->json;
    const int by = set->by ? row_get(r, 0, set->by) : -1;
    const int by_too = set->by_too ? row_get(r, 0, set->by_too) : -1;
    float x = 0, y = 0;
    *second = 0;
    if (set->better == BY_ORDER) return 0;
    if (set->better == BY_NAME) {
        static const char *const ties[] = {"tie", "tie (bothbad)", "both_bad", "bothbad"};
        *second = json_equal(j, by, "model_b");
        r->is_tie = LISTED(json_string(j, by), ties);
        if (*second || r->is_tie || json_equal(j, by, "model_a")) return 0;
        return row_fail(r, "\"%s\" must be model_a, model_b or tie", set->by);
    }
    if (row_number(r, by, set->by, &x) < 0) return -1;
    if (set->better == BY_LARGER && row_number(r, by_too, set->by_too, &y) < 0) return -1;
    if (set->better == BY_LARGER || set->better == BY_SIGN) {
        *second = set->better == BY_SIGN ? x > 0 : x < y;
        r->is_tie = x == y;                               // of a sign y is 0
        return 0;
    }
    if (x != 0 && x != 1) return row_fail(r, "\"%s\" must be 0 or 1", set->by);
    *second = (x == 1) != (set->better == BY_ONE);
    return 0;
}

// --------------------------------------------------------------------- the keys of a row, its kind

// What an answer is called, the first that a row has.
static const char *const answer_names[] = {"completion", "output", "response", "answer"};

static int has_label(const RowKeys *k) { return k->label >= 0 || k->score >= 0 || k->kto_tag >= 0; }

// Is chosen or rejected a list of answers, or are both?  Then each of chosen is better than each
// of rejected.
static int has_lists(const Reader *r, const RowKeys *k) {
    if (k->set && k->set->second) return 0;               // two answers by its own keys
    return row_is_string_list(r, k->chosen) || row_is_string_list(r, k->rejected);
}

// What a row is by its keys.
enum DataKind row_kind(const Reader *r, const RowKeys *k) {
    if (has_lists(r, k)) return DATA_RANKING;
    if (k->chosen >= 0 || k->rejected >= 0) return DATA_PAIR;
    if (k->completions >= 0 || k->answers >= 0 || k->texts >= 0) return DATA_RANKING;
    if (k->text >= 0) return DATA_DOCUMENT;
    if (k->answer < 0) return DATA_PROMPT;
    return has_label(k) ? DATA_POINT : DATA_COMPLETION;
}

// The last message of a conversation if it is the assistant's; -1: the user has the last word.
static int assistants_last_message(const Reader *r, int conversation) {
    const Json *j = &r->json;
    int last = -1;
    if (json_type(j, conversation) != JSON_ARRAY) return -1;
    for (int i = json_first(j, conversation); i >= 0; i = json_next(j, i)) last = i;
    return message_is_assistants(r, last) ? last : -1;
}

// The keys of a row of a known set, in place of our own names.
static void keys_of_set(const Reader *r, RowKeys *k) {
    const KnownSet *set = k->set;
    const RowKeys all = *k;
    *k = (RowKeys){
        .prompt = -1, .instruction = -1, .conversation = -1, .answer = -1, .label = -1, .score = -1,
        .kto_tag = -1, .chosen = -1, .rejected = -1, .completions = -1, .ranks = -1, .scores = -1,
        .answers = -1, .text = -1, .texts = -1, .set = set,
        .question = row_at_path(r, set->prompt),
    };
    if (k->question < 0) k->question = string_on_path(r, set->prompt);
    if (set->second) {
        k->chosen = row_at_path(r, set->first);
        k->rejected = row_at_path(r, set->second);
    } else if (set->first) {
        k->answer = row_at_path(r, set->first);
        k->score = row_get(r, 0, set->by);
    } else if (all.chosen >= 0) {
        k->chosen = all.chosen;                           // two lists
        k->rejected = all.rejected;
    } else {
        k->completions = all.completions;
        k->answers = all.answers;
    }
}

// The keys of a row that is read, wherever they stand.
RowKeys row_find_keys(const Reader *r) {
    RowKeys k = {
        .prompt       = row_get(r, 0, r->prompt_key),
        .instruction  = row_get(r, 0, "instruction"),
        .conversation = row_get(r, 0, "conversations"),
        .answer       = row_get(r, 0, "completion"),
        .label        = row_get(r, 0, "label"),
        .score        = row_get(r, 0, "score"),
        .kto_tag      = row_get(r, 0, "kto_tag"),
        .chosen       = row_get(r, 0, r->chosen_key),
        .rejected     = row_get(r, 0, r->rejected_key),
        .completions  = row_get(r, 0, "completions"),
        .ranks        = row_get(r, 0, "ranks"),
        .scores       = row_get(r, 0, "scores"),
        .answers      = row_get(r, 0, "answers"),
        .text         = row_get(r, 0, "text"),
        .texts        = -1,
        .question     = -1,
    };
    k.set = known_set(r);
    if (k.set) {
        keys_of_set(r, &k);
        return k;
    }
    if (k.conversation < 0) k.conversation = row_get(r, 0, "messages");
    if (k.conversation < 0) k.conversation = row_get(r, 0, "conversation");
    for (size_t i = 0; i < sizeof answer_names / sizeof *answer_names; i++) {
        if (k.answer < 0) k.answer = row_get(r, 0, answer_names[i]);
    }
    // a document that is also an instruction with its answer is one for language models only
    const int both = k.text >= 0 && k.instruction >= 0 && k.answer >= 0;
    if (both && r->options->plain_text != ONE_DOCUMENT) k.text = -1;
    // two answers in "output" are a ranking, the better one first; so are "responses" with numbers
    if (row_is_string_list(r, row_get(r, 0, "output"))) {
        k.completions = k.answer;
        k.answer = -1;
    }
    if (k.completions < 0 && (k.ranks >= 0 || k.scores >= 0)) {
        k.completions = row_get(r, 0, "responses");
    }
    if (json_type(&r->json, k.text) == JSON_ARRAY) {
        k.texts = k.text;
        k.text = -1;
    }
    // a conversation that holds the answer also holds the prompt, whatever stands beside it;
    // "answer" is then what is known to be right
    const int last = assistants_last_message(r, k.conversation);
    const char *name = json_key(&r->json, k.answer);
    if (last >= 0 && k.answer >= 0 && !has_label(&k) && !strcmp(name, "answer")) k.answer = -1;
    if (row_kind(r, &k) == DATA_PROMPT) {
        k.answer = last;
        k.answer_is_last_message = k.answer >= 0;
        if (k.answer_is_last_message) k.prompt = k.instruction = -1;
    }
    return k;
}

// -------------------------------------------------------------------------------- what is not read

/* Well-known rows that are not read: what has all of the keys.  Messages of a tree are each other's
 * prompts; steps of a solution have ratings of their own. */
static const char of_tree[] =
    "write each conversation from its root to an answer as {\"messages\": ...}, or of the replies "
    "to one message, by their rank, pairs of {\"prompt\", \"chosen\", \"rejected\"}";
static const struct { const char *name, *keys[SET_KEYS], *remedy; } refused_sets[] = {
    {.name = "a tree of OpenAssistant's messages", .keys = {"message_tree_id", "prompt"},
     .remedy = of_tree},
    {.name = "a tree of messages", .keys = {"text", "replies"}, .remedy = of_tree},
    {.name = "a single message of an OpenAssistant tree", .keys = {"message_id", "role", "text"},
     .remedy = of_tree},
    {.name = "a single message of a tree", .keys = {"parent_id", "role", "text"},
     .remedy = of_tree},
    {.name = "PRM800K's ratings of single steps", .keys = {"labeler", "question", "label"},
     .remedy = "write whole solutions as {\"prompt\", \"completion\", \"label\"}"},
};

// Stops at a row of one of them.
int row_refuse_sets(const Reader *r) {
    for (size_t i = 0; i < sizeof refused_sets / sizeof *refused_sets; i++) {
        int k = 0;
        while (k < SET_KEYS && refused_sets[i].keys[k]) {
            if (json_get(&r->json, 0, refused_sets[i].keys[k]) < 0) break;
            k++;
        }
        if (k < SET_KEYS && refused_sets[i].keys[k]) continue;
        return row_fail(r, "%s, which is not read: %s", refused_sets[i].name,
                        refused_sets[i].remedy);
    }
    return 0;
}

// A row that is none of ours; perhaps it is an object that holds all rows of the file.
int row_refuse_shape(const Reader *r) {
    static const char *const holders[] = {"data", "rows", "train", "examples"};
    const Json *j = &r->json;
    char found[256];
    row_keys(r, found);
    for (size_t i = 0; i < sizeof holders / sizeof *holders; i++) {
        const int list = row_get(r, 0, holders[i]), first = json_first(j, list);
        if (json_type(j, list) != JSON_ARRAY || json_type(j, first) != JSON_OBJECT) continue;
        const char *in_it = row_get(r, first, "row") >= 0 ? ".row" : "";
        return row_fail(r, "unknown shape: %s; if \"%s\" holds the rows, write them as lines with: "
                        "jq -c '.%s[]%s' FILE", found, holders[i], holders[i], in_it);
    }
    const int has_features = json_get(j, 0, "features") >= 0
                             || json_get(j, 0, "features_chosen") >= 0;
    if (has_features && !r->options->features) {
        return row_fail(r, "features without a text, which train features, and eval and score with "
                        "its models, read: %s", found);
    }
    return row_fail(r, "unknown shape: %s; a prompt is called prompt (or what --prompt_key names), "
                    "instruction, messages or conversations; an answer completion, output, "
                    "response, chosen and rejected (or what --chosen_key and --rejected_key name), "
                    "or completions; a document text", found);
}

// What a row cannot be, whatever its values are.
int row_check_keys(const Reader *r, const RowKeys *k) {
    if (k->completions >= 0 && row_get(r, 0, "labels") >= 0) {
        return row_fail(r, "\"completions\" with \"labels\" is step-wise data, which is not "
                        "supported");
    }
    const int has_pair = k->chosen >= 0 && k->rejected >= 0;
    if (k->set && k->set->second && !has_pair) {
        return row_fail(r, "a row of %s without %s or %s", k->set->name, k->set->first,
                        k->set->second);
    }
    if (k->chosen >= 0 && k->rejected < 0) {
        return row_fail(r, "no \"%s\" beside \"%s\"; --rejected_key names another key",
                        r->rejected_key, r->chosen_key);
    }
    if (k->rejected >= 0 && k->chosen < 0) {
        return row_fail(r, "no \"%s\" beside \"%s\"; --chosen_key names another key",
                        r->chosen_key, r->rejected_key);
    }
    return 0;
}
#endif
