/* answers.c - a parsed row to its normal form: a prompt and n answers with a score each.
 *
 * shapes.c says where in the row they stand, template.c renders them.  A conversation that ends
 * with the assistant's message is a completion: whoever wants the whole text joins prompt and
 * answer.
 *
 * Where answers are whole texts, the prompt is their longest common prefix: of conversations whole
 * messages, of strings cut at its last role marker, else before its last space. */
#ifndef ANSWERS_C
#define ANSWERS_C

#include "common.h"
#include "template.c"
#include "shapes.c"
#include "unread.c"
#include "row_features.c"

int  row_read(Reader *r);                                   // the parsed row to its normal form
int  row_same_text(const Reader *r, const Passage *a, const Passage *b);

// -------------------------------------------------------------------------------------- the prompt

// Where the role marker ends that begins the line s[i .. n), perhaps after "## "; 0: there is none.
static size_t role_marker_end(const char *s, size_t i, size_t n) {
    static const char *const markers[] = {
        "Human:", "User:", "Assistant:", "System:", "<|user|>", "<|assistant|>", "<|im_start|>user",
        "<|im_start|>assistant",
    };
    while (i < n && (s[i] == '#' || s[i] == ' ')) i++;
    for (size_t k = 0; k < sizeof markers / sizeof *markers; k++) {
        const size_t len = strlen(markers[k]);
        if (len <= n - i && !memcmp(s + i, markers[k], len)) return i + len;
    }
    return 0;
}

/* A string stands as it is, behind the row's system message if it has role markers of its own; any
 * other string is the user's message, as `instruction` is, beside a system message or where
 * --template turns says so. */
static int read_string_prompt(Reader *r, int prompt) {
    const Json *j = &r->json;
    const char *s = json_string(j, prompt), *blank = "\n ";
    const size_t n = json_length(j, prompt), start = strspn(s, blank);
    const int is_turn = template_has_turns(r) || row_system(r) >= 0;
    if (!is_turn || role_marker_end(s, start, n)) {
        r->prompt_form = STRING_PROMPT;
        if (render_system(r, -1) < 0) return -1;
        return render_string(r, prompt, r->prompt_key);
    }
    if (render_system(r, -1) < 0) return -1;
    return render_turn(r, ROLE_USER, prompt, r->prompt_key);
}

// What is rendered so far is the prompt; a conversation is asked for its answer.
static int end_prompt(Reader *r) {
    if (r->prompt_form == CHAT_PROMPT && render_answer_marker(r) < 0) return -1;
    r->prompt.len = r->rendered.len;
    r->after_prompt = r->state;
    r->said_in_prompt = r->prompt_form == CHAT_PROMPT ? r->said.len : 0;
    return 0;
}

// The prompt, wherever it stands; without the last message of a conversation if that is the answer.
static int read_prompt(Reader *r, const RowKeys *k) {
    const Json *j = &r->json;
    int first, last = ROLE_USER;
    r->prompt_form = CHAT_PROMPT;
    if (k->prompt >= 0) row_use(r, k->prompt);
    if (json_type(j, k->prompt) == JSON_STRING) {
        if (read_string_prompt(r, k->prompt) < 0) return -1;
    } else if (k->prompt >= 0) {
        if (row_get(r, k->prompt, "0") >= 0) {
            return row_fail(r, "a table by columns; rows are needed, in Python: "
                            "pandas.read_json(FILE).to_json(OUT, orient=\"records\", lines=True)");
        }
        if (json_type(j, k->prompt) != JSON_ARRAY) {
            return row_fail(r, "\"%s\" must be a string or a list of messages, not %s",
                            r->prompt_key, row_type_name(r, k->prompt));
        }
        if (render_system(r, k->prompt) < 0) return -1;
        if (render_messages(r, k->prompt, 0, &first, &last) < 0) return -1;
    } else if (r->options->prompt_key && !k->answer_is_last_message) {
        return row_fail(r, "no \"%s\", which --prompt_key names", r->prompt_key);
    } else if (k->instruction >= 0) {
        if (render_instruction(r, k->instruction) < 0) return -1;
    } else if (k->conversation >= 0) {
        const int leave = k->answer_is_last_message;
        row_use(r, k->conversation);
        if (render_system(r, k->conversation) < 0) return -1;
        if (render_messages(r, k->conversation, leave, &first, &last) < 0) return -1;
    } else {
        r->prompt_form = NO_PROMPT;
    }

    if (last == ROLE_ASSISTANT && k->answer >= 0 && k->prompt < 0) {
        return row_fail(r, "two answers, \"%s\" and the last message of \"%s\"; keep one",
                        json_key(j, k->answer), json_key(j, k->conversation));
    }
    if (last == ROLE_ASSISTANT) {
        return row_fail(r, "the prompt must end with the user's message, not the assistant's");
    }
    return end_prompt(r);
}

// The prompt of a post or an article that is to be summarised, in the words of the set's authors.
static int render_post(Reader *r) {
    const int subreddit = row_at_path(r, "info.subreddit"), title = row_at_path(r, "info.title");
    const int post = row_at_path(r, "info.post"), article = row_at_path(r, "info.article");
    const struct { const char *key, *before; int v; } part[] = {
        {"subreddit", "SUBREDDIT: r/", subreddit}, {"title", "\n\nTITLE: ", title},
        {"post", "\n\nPOST: ", post}, {"article", "Article:\n\n", article},
    };
    const int from = post >= 0 ? 0 : 3, to = post >= 0 ? 3 : 4;
    for (int i = from; i < to; i++) {
        if (buffer_printf(&r->rendered, "%s", part[i].before) < 0) return -1;
        if (render_string(r, part[i].v, part[i].key) < 0) return -1;
    }
    return buffer_printf(&r->rendered, "\n\nTL;DR:");
}

// The prompt of a row of a known set.
static int read_prompt_of_set(Reader *r, const RowKeys *k) {
    const KnownSet *set = k->set;
    r->set = set;
    for (int i = 0; i < SET_KEYS && set->keys[i]; i++) {
        const int v = row_get(r, 0, set->keys[i]);
        row_use(r, v);
        if (row_refuse_beside_text(r, v) < 0) return -1;
    }
    if (set->is_post) {
        r->prompt_form = STRING_PROMPT;
        if (render_post(r) < 0) return -1;
    } else if (set->prompt) {
        r->prompt_form = CHAT_PROMPT;
        int first, last = ROLE_USER;
        const int messages = json_type(&r->json, k->question) == JSON_ARRAY;
        if (render_system(r, messages ? k->question : -1) < 0) return -1;
        const int rendered = messages ? render_messages(r, k->question, 0, &first, &last)
                                      : render_turn(r, ROLE_USER, k->question, set->prompt);
        if (rendered < 0) return -1;
        if (last != ROLE_USER) return row_fail(r, "\"%s\" must end with the user", set->prompt);
    } else {
        r->prompt_form = NO_PROMPT;
    }
    return end_prompt(r);
}

// ------------------------------------------------------------------------------------- the answers

// A list that begins with the assistant's message is the answer; another holds its prompt as well.
static int form_of_answer(const Reader *r, int v) {
    if (json_type(&r->json, v) == JSON_OBJECT) return MESSAGE_ANSWER;
    if (json_type(&r->json, v) != JSON_ARRAY) return STRING_ANSWER;
    return message_is_assistants(r, json_first(&r->json, v)) ? MESSAGE_ANSWER : CONVERSATION;
}

// One more answer.
static int read_answer(Reader *r, int v, const char *key, float score) {
    if (row_is_string_list(r, v)) {
        return row_fail(r, "\"%.60s\" is a list of strings; it must be a string, or a list of "
                        "messages {\"role\": ..., \"content\": ...}", key);
    }

    // answers have one form, which fits the prompt's
    const int form = form_of_answer(r, v);
    if (r->n == 0 && form == CONVERSATION) r->num_used = 0;   // they hold their prompt
    if (r->kind != DATA_RANKING && r->n < 2) row_use(r, v);
    if (r->n == MAX_ANSWERS) return row_fail(r, "more than %d answers", MAX_ANSWERS);
    if (r->n == 0) r->answer_form = form;
    if (form != (int)r->answer_form
        || (r->prompt_form == STRING_PROMPT && form == MESSAGE_ANSWER)) {
        return row_fail(r, "prompt and answers must all be strings or all be messages");
    }
    if (r->prompt_form == NO_PROMPT && form == MESSAGE_ANSWER) {
        return row_fail(r, "the answers have no prompt; name its key with --prompt_key");
    }

    // its text; what follows messages is a turn
    const size_t start = r->rendered.len;
    int first = ROLE_ASSISTANT, last = ROLE_ASSISTANT;
    if (form == CONVERSATION) render_begin(r);
    else r->state = r->after_prompt;
    r->is_last = 1;
    if (form != STRING_ANSWER) {
        if (form == CONVERSATION && render_system(r, v) < 0) return -1;
        if (render_messages(r, v, 0, &first, &last) < 0) return -1;
    } else if (r->prompt_form == CHAT_PROMPT) {
        if (render_turn(r, ROLE_ASSISTANT, v, key) < 0) return -1;
    } else {
        if (render_string(r, v, key) < 0) return -1;
    }
    if (last != ROLE_ASSISTANT || (form == MESSAGE_ANSWER && first != ROLE_ASSISTANT)) {
        return row_fail(r, "an answer must be the assistant's message");
    }

    // the turn's marker already ends the prompt
    Passage *a = &r->answer[r->n];
    a->given = r->n;
    r->n++;
    a->start = start;
    if (r->prompt_form == CHAT_PROMPT && form != CONVERSATION) {
        a->start += template_answer_marker(r);
    }
    const size_t after = form != STRING_ANSWER || r->prompt_form == CHAT_PROMPT
                         ? r->state.after : 0;
    a->len = r->rendered.len - after - a->start;
    a->score = score;
    a->messages = form == CONVERSATION ? v : 0;
    return 0;
}

/* A conversation of which the user's messages stand in one list and the assistant's in another,
 * each list as JSON in a string. */
static int read_conversation_of_lists(Reader *r, int users, int assistants, float score) {
    const Json outer = r->json;
    Json list[2] = {{0}, {0}};
    const int from[2] = {users, assistants};
    int v[2], result = -1;
    for (int i = 0; i < 2; i++) {
        const char *text = json_string(&outer, from[i]);
        if (*text != '[') {
            row_fail(r, "\"%.60s\" must be a string that holds a list in JSON",
                     json_key(&outer, from[i]));
            goto done;
        }
        list[i].first_line = r->line;
        if (json_parse(&list[i], text, json_length(&outer, from[i]), r->path) < 0) goto done;
        v[i] = json_first(&list[i], 0);
    }
    if (json_count(&list[0], 0) != json_count(&list[1], 0)) {
        row_fail(r, "another number of prompts than of responses");
        goto done;
    }

    const size_t start = r->rendered.len;
    render_begin(r);
    while (v[0] >= 0) {
        r->is_last = json_next(&list[0], v[0]) < 0;
        r->user_follows = !r->is_last && r->chat.form && r->chat.form->system_last;
        r->query_follows = !r->is_last;
        for (int i = 0; i < 2; i++) {
            r->json = list[i];                            // in which render_turn looks values up
            if (render_turn(r, i ? ROLE_ASSISTANT : ROLE_USER, v[i], "a message") < 0) goto done;
            v[i] = json_next(&list[i], v[i]);
        }
    }
    const size_t end = r->rendered.len - r->state.after;
    r->answer[r->n] = (Passage){.start = start, .len = end - start, .score = score};
    r->n++;
    r->answer_form = CONVERSATION;
    result = 0;
done:
    r->json = outer;
    json_free(&list[0]);
    json_free(&list[1]);
    return result;
}

// The answers of a pair.
static int read_pair(Reader *r, const RowKeys *k) {
    int second = 0;
    if (k->set && row_read_better(r, k->set, &second) < 0) return -1;
    const int chosen = second ? k->rejected : k->chosen;
    const int rejected = second ? k->chosen : k->rejected;
    if (k->set && k->set->lists_in_strings) {
        const int users = row_get(r, 0, "prompt");
        if (read_conversation_of_lists(r, users, chosen, 1) < 0) return -1;
        return read_conversation_of_lists(r, users, rejected, 0);
    }
    if (read_answer(r, chosen, k->set ? "an answer" : r->chosen_key, 1) < 0) return -1;
    if (read_answer(r, rejected, k->set ? "an answer" : r->rejected_key, 0) < 0) return -1;
    r->answer[0].given = second;
    r->answer[1].given = !second;
    return 0;
}

// --------------------------------------------------------------------- all turns of a conversation

// How many messages of a conversation are the assistant's.
static size_t count_turns(const Reader *r, int conversation) {
    const Json *j = &r->json;
    size_t turns = 0;
    for (int i = json_first(j, conversation); i >= 0; i = json_next(j, i)) {
        turns += (size_t)message_is_assistants(r, i);
    }
    return turns;
}

// All turns of the assistant as answers, each behind all that was said before.
static int read_turns(Reader *r, int conversation) {
    const Json *j = &r->json;
    r->prompt_form = CHAT_PROMPT;
    r->are_turns = 1;
    row_use(r, conversation);
    if (render_system(r, conversation) < 0) return -1;
    for (int i = json_first(j, conversation); i >= 0; i = json_next(j, i)) {
        int role = ROLE_USER;
        const size_t start = r->rendered.len;
        r->is_last = json_next(j, i) < 0;
        if (render_message(r, i, &role) < 0) return -1;
        if (role == ROLE_ASSISTANT && row_end_turn(r, start) < 0) return -1;
    }
    r->prompt.len = r->answer[0].start;
    return 0;
}

// The same of an instruction with a history: its answers, then that of the instruction.
static int read_turns_of_history(Reader *r, const RowKeys *k) {
    r->prompt_form = CHAT_PROMPT;
    r->are_turns = 1;
    row_use(r, k->answer);
    if (render_instruction(r, k->instruction) < 0) return -1;
    const size_t start = r->rendered.len;
    r->is_last = 1;
    if (render_turn(r, ROLE_ASSISTANT, k->answer, "output") < 0) return -1;
    if (row_end_turn(r, start) < 0) return -1;
    r->prompt.len = r->answer[0].start;
    return 0;
}

// ---------------------------------------------------------------------------------------- rankings

static int is_better(const Passage *a, const Passage *b, int large_is_good) {
    return large_is_good ? a->score > b->score : a->score < b->score;
}

// Insertion sort of the answers, the best one first; equally good ones keep their order.
static void sort_answers(Reader *r, int large_is_good) {
    for (int i = 1; i < r->n; i++) {
        const Passage a = r->answer[i];
        int k = i;
        while (k > 0 && is_better(&a, &r->answer[k-1], large_is_good)) {
            r->answer[k] = r->answer[k-1];
            k--;
        }
        r->answer[k] = a;
    }
}

// The score of each answer becomes its place: 1, and 1 for each answer that is better.
static void number_places(Reader *r, int large_is_good) {
    int place[MAX_ANSWERS];
    for (int i = 0; i < r->n; i++) {
        place[i] = 1;
        for (int k = 0; k < r->n; k++) {
            place[i] += is_better(&r->answer[k], &r->answer[i], large_is_good);
        }
    }
    for (int i = 0; i < r->n; i++) r->answer[i].score = (float)place[i];
}

int row_same_text(const Reader *r, const Passage *a, const Passage *b) {
    const char *s = r->rendered.data;
    if (a->len == 0) return 0;                            // only features are known
    return a->len == b->len && !memcmp(s + a->start, s + b->start, a->len);
}

// An answer that stands twice in a ranking is no choice: the better one of the same text stays.
static void drop_repeated_answers(Reader *r) {
    int kept = 0;
    for (int i = 0; i < r->n; i++) {
        int k = 0;
        while (k < kept && !row_same_text(r, &r->answer[k], &r->answer[i])) k++;
        if (k < kept) continue;
        r->answer[kept] = r->answer[i];
        kept++;
    }
    r->repeated = (size_t)(r->n - kept);
    r->n = kept;
}

// Stops at numbers beside a ranking that would not sort it.
static int refuse_other_numbers(const Reader *r, const RowKeys *k) {
    static const char *const names[] = {"score", "label", "rank", "rating", "ratings"};
    if (k->ranks >= 0 && k->scores >= 0) return row_fail(r, "keep one of \"ranks\" and \"scores\"");
    if (k->ranks >= 0 || k->scores >= 0) return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (json_type(&r->json, row_get(r, 0, names[i])) != JSON_ARRAY) continue;
        return row_fail(r, "\"%s\" would be ignored; numbers that sort the answers are called "
                        "\"ranks\" (1 is the best) or \"scores\"", names[i]);
    }
    return 0;
}

// One side of a pair, of which one side at least is a list: all its answers have one score.
static int read_side(Reader *r, int v, const char *key, float score) {
    const int element = json_first(&r->json, v);
    row_use(r, v);
    if (json_type(&r->json, v) == JSON_ARRAY && element < 0) {
        return row_fail(r, "\"%.60s\" must be an answer or a list of answers", key);
    }
    if (!row_is_string_list(r, v)) return read_answer(r, v, key, score);
    for (int a = element; a >= 0; a = json_next(&r->json, a)) {
        if (read_answer(r, a, key, score) < 0) return -1;
    }
    return 0;
}

// The answers of a list: best first, or sorted by numbers beside the list or in its elements.
static int read_list(Reader *r, const RowKeys *k, int *large) {
    const Json *j = &r->json;
    int list = k->completions, by = k->ranks, large_is_good = 0, holds_rank = 0;
    const char *key = "ranks", *name = "answer";          // of an element: its number, its text

    // which list, and what sorts it
    if (k->texts >= 0) {
        list = k->texts;
        by = k->score;
        key = "score";
        large_is_good = 1;
        if (by < 0) return row_fail(r, "\"text\" is a list, but there is no \"score\"");
    } else if (k->answers >= 0) {
        list = k->answers;
        by = -1;
        key = "rank";
        holds_rank = 1;
        if (row_get(r, json_first(j, list), "pm_score") >= 0) {       // Stack Exchange
            key = "pm_score";
            name = "text";
            large_is_good = 1;
        }
    } else if (k->set) {                                  // UltraFeedback
        by = -1;
        key = "overall_score";
        name = "response";
        large_is_good = 1;
        holds_rank = 1;
    } else if (refuse_other_numbers(r, k) < 0) {
        return -1;
    } else if (k->scores >= 0) {
        by = k->scores;
        key = "scores";
        large_is_good = 1;
    }
    const int n = json_count(j, list);
    if (json_type(j, list) != JSON_ARRAY || n < 2) {
        return row_fail(r, "\"%s\" must be a list of two or more answers, a ranking",
                        json_key(j, list));
    }
    if (by >= 0 && (json_type(j, by) != JSON_ARRAY || json_count(j, by) != n)) {
        return row_fail(r, "\"%s\" must be a list of %d numbers, one for each answer", key, n);
    }

    int number = json_first(j, by);
    for (int v = json_first(j, list); v >= 0; v = json_next(j, v)) {
        int answer = v;
        float score = (float)(r->n + 1);                  // best first: its place is its rank
        if (holds_rank) {
            number = row_get(r, v, key);
            answer = row_get(r, v, name);
        }
        if ((holds_rank || by >= 0) && row_number(r, number, key, &score) < 0) return -1;
        if (read_answer(r, answer, name, score) < 0) return -1;
        number = json_next(j, number);
    }
    row_use(r, list);
    *large = large_is_good;
    return 0;
}

// The answers of a ranking, the best one first, each text once; as given: as they stand in the row.
static int read_ranking(Reader *r, const RowKeys *k) {
    int large_is_good = 0;
    if (k->chosen >= 0) {
        if (read_side(r, k->chosen, r->chosen_key, 1) < 0) return -1;
        if (read_side(r, k->rejected, r->rejected_key, 2) < 0) return -1;
    } else {
        if (read_list(r, k, &large_is_good) < 0) return -1;
    }
    if (!r->options->as_given) sort_answers(r, large_is_good);
    number_places(r, large_is_good);
    return 0;
}

// -------------------------------------------------------------- whole texts: where the prompt ends

// Where the prompt in s[0 .. n) ends: after its last role marker, else before its last space.
static size_t prompt_end(const char *s, size_t n, int *marked) {
    size_t end = 0, space = 0;
    for (size_t i = 0; i < n; i++) {
        if (isspace((unsigned char)s[i])) space = i;
        if (i > 0 && s[i-1] != '\n') continue;            // a marker begins a line
        const size_t marker = role_marker_end(s, i, n);
        if (marker) end = marker;
    }
    *marked = end > 0;
    return end ? end : space;
}

// How long the beginning is that two texts share.
static size_t common_len(const char *a, size_t len_a, const char *b, size_t len_b) {
    size_t n = 0;
    while (n < len_a && n < len_b && a[n] == b[n]) n++;
    return n;
}

// Does the same one say the same in two messages, however they are written?  -1 after fail().
static int is_same_message(Reader *r, int a, int b) {
    const size_t start = r->rendered.len;
    int role_a, role_b;
    r->is_alone = 1;
    const int rendered_a = render_message(r, a, &role_a);
    const size_t end = r->rendered.len, n = end - start;
    const int rendered_b = rendered_a < 0 ? -1 : render_message(r, b, &role_b);
    r->is_alone = 0;
    if (rendered_b < 0) return -1;
    const char *s = r->rendered.data;
    const int same_length = r->rendered.len - end == n;
    r->rendered.len = start;
    return role_a == role_b && same_length && !memcmp(s + start, s + end, n);
}

// The message number k of a list.
static int message_at(const Reader *r, int list, int k) {
    int message = json_first(&r->json, list);
    while (k-- > 0) message = json_next(&r->json, message);
    return message;
}

// How many messages all answers begin with; of each one at least is left.  -1 after fail().
static int count_common_messages(Reader *r) {
    const Json *j = &r->json;
    int common = json_count(j, r->answer[0].messages) - 1;
    for (int i = 1; i < r->n; i++) {
        int a = json_first(j, r->answer[0].messages);
        int b = json_first(j, r->answer[i].messages);
        int k = 0;
        while (k < common && json_next(j, b) >= 0) {
            const int same = is_same_message(r, a, b);
            if (same < 0) return -1;
            if (!same) break;
            a = json_next(j, a);
            b = json_next(j, b);
            k++;
        }
        common = k;
    }
    return common;
}

/* The answers are whole conversations: the messages that all begin with are the prompt, as in TRL's
 * extract_prompt.  What differs first must be the assistant's.  *n: the prompt's length.  */
static int split_messages(Reader *r, size_t *n) {
    const int list = r->answer[0].messages, common = count_common_messages(r);
    const size_t start = r->rendered.len;
    int first, last;
    if (common < 0) return -1;
    for (int i = 0; i < r->n; i++) {
        const int differs = message_at(r, r->answer[i].messages, common);
        if (message_is_assistants(r, differs)) continue;
        return row_fail(r, "the conversations differ from message %d on, which is not the "
                        "assistant's: they must answer one prompt; repair the row, or leave such "
                        "rows out with --bad_rows drop", common + 1);
    }
    for (int i = 0; i < r->n; i++) {
        if (json_count(&r->json, r->answer[i].messages) > common + 1) r->has_user = 1;
    }

    // how long it is, is measured
    render_begin(r);
    r->said.len = 0;
    if (render_system(r, list) < 0) return -1;
    const int leave = json_count(&r->json, list) - common;
    if (render_messages(r, list, leave, &first, &last) < 0) return -1;
    *n = r->rendered.len - start + template_answer_marker(r);
    r->said_in_prompt = r->said.len;
    r->rendered.len = start;
    r->is_marked = 1;
    return 0;
}

// The answers are whole texts: what all begin with becomes the prompt.
static int split_prompt(Reader *r) {
    const Passage *first = &r->answer[0];
    const char *s = r->rendered.data;
    size_t n = first->len;
    if (first->messages) {
        if (split_messages(r, &n) < 0) return -1;
        s = r->rendered.data;
    } else {
        for (int i = 1; i < r->n; i++) {
            const Passage *a = &r->answer[i];
            n = common_len(s + first->start, n, s + a->start, a->len);
        }
        n = prompt_end(s + first->start, n, &r->is_marked);
    }
    r->prompt = (Passage){.start = first->start, .len = n};
    for (int i = 0; i < r->n; i++) {
        Passage *a = &r->answer[i];
        a->start += n;
        a->len -= n;
        int marked = 0;
        if (!a->messages) prompt_end(s + a->start, a->len, &marked);
        if (marked) r->has_user = 1;
    }
    return 0;
}

// ---------------------------------------------------------------------- one row to its normal form

// Two numbers that every row may have; where they are absent 0 and 1.
static int read_margin_and_weight(Reader *r) {
    const int margin = row_get(r, 0, "margin"), weight = row_get(r, 0, "weight");
    r->margin = 0;
    r->weight = 1;
    if (margin >= 0 && row_number(r, margin, "margin", &r->margin) < 0) return -1;
    if (weight >= 0 && row_number(r, weight, "weight", &r->weight) < 0) return -1;
    if (r->weight < 0) return row_fail(r, "\"weight\" must not be negative");
    return 0;
}

// The label of a point: true, false or a number, under one of three names.
static int read_label(Reader *r, const RowKeys *k, float *out) {
    if ((k->label >= 0) + (k->score >= 0) + (k->kto_tag >= 0) > 1) {
        return row_fail(r, "keep one of \"label\", \"score\" and \"kto_tag\"");
    }
    int v = k->label;
    if (k->score >= 0) v = k->score;
    if (k->kto_tag >= 0) v = k->kto_tag;
    const JsonType type = json_type(&r->json, v);
    if (type == JSON_NUMBER) return row_number(r, v, json_key(&r->json, v), out);
    if (type != JSON_TRUE && type != JSON_FALSE) {
        return row_fail(r, "\"%s\" must be true, false or a number, not %s",
                        json_key(&r->json, v), row_type_name(r, v));
    }
    *out = type == JSON_TRUE;
    return 0;
}

// What the kind of the row says are its answers, each with its score.
static int read_answers_of_kind(Reader *r, const RowKeys *k) {
    float label = 0;
    if (k->set && k->set->first && !k->set->second && r->kind != DATA_POINT) {
        return row_fail(r, "\"%s\" must be a number, not null", k->set->by);
    }
    switch (r->kind) {
    case DATA_DOCUMENT:
        return read_answer(r, k->text, "text", 0);
    case DATA_PAIR:
        return read_pair(r, k);
    case DATA_RANKING:
        return read_ranking(r, k);
    case DATA_POINT:
        if (read_label(r, k, &label) < 0) return -1;
        return read_answer(r, k->answer, json_key(&r->json, k->answer), label);
    case DATA_COMPLETION:
        return read_answer(r, k->answer, json_key(&r->json, k->answer), 0);
    default:
        return 0;                                         // a prompt has no answers
    }
}

// Answers of which only features are known, and their prompt if the row has one: a pair, a ranking
// (best first, or sorted by ranks or scores), or one answer, with a label or without.
static int read_features_alone(Reader *r, const RowKeys *k) {
    int large_is_good = k->scores >= 0;
    const int by = large_is_good ? k->scores : k->ranks;
    const FeaturesForm form = row_features_form(r, &r->n);
    float label = 0;
    r->kind = form == FEATURES_PAIR ? DATA_PAIR : DATA_RANKING;
    if (form == FEATURES_ONE) {
        const int labelled = k->label >= 0 || k->score >= 0 || k->kto_tag >= 0;
        r->kind = labelled ? DATA_POINT : DATA_COMPLETION;
        if (labelled && read_label(r, k, &label) < 0) return -1;
    }
    if (r->n > MAX_ANSWERS) return row_fail(r, "more than %d answers", MAX_ANSWERS);
    if (r->kind == DATA_RANKING && r->n < 2) {
        return row_fail(r, "the features of one answer are no ranking; write them without the list "
                        "around them");
    }
    if (r->kind == DATA_RANKING && refuse_other_numbers(r, k) < 0) return -1;
    if (by >= 0 && r->kind == DATA_RANKING && json_count(&r->json, by) != r->n) {
        return row_fail(r, "\"%s\" must be a list of %d numbers, one for each answer",
                        json_key(&r->json, by), r->n);
    }
    if (read_prompt(r, k) < 0) return -1;

    int number = json_first(&r->json, by);
    for (int i = 0; i < r->n; i++) {
        Passage *a = &r->answer[i];
        *a = (Passage){.start = r->rendered.len, .given = i, .score = label};
        if (r->kind == DATA_PAIR) a->score = i == 0;
        if (r->kind != DATA_RANKING) continue;
        a->score = (float)(i + 1);
        if (by >= 0 && row_number(r, number, json_key(&r->json, by), &a->score) < 0) return -1;
        number = json_next(&r->json, number);
    }
    r->given = r->n;
    if (r->kind != DATA_RANKING) return 0;
    if (!r->options->as_given) sort_answers(r, large_is_good);
    number_places(r, large_is_good);
    return 0;
}

// The parsed row to its kind, its prompt and its answers.
int row_read(Reader *r) {
    const Json *j = &r->json;
    r->n = 0;
    r->num_used = 0;
    r->are_turns = 0;
    r->is_marked = 0;
    r->has_user = 0;
    r->is_tie = 0;
    r->turns = 0;
    r->repeated = 0;
    r->set = NULL;
    r->prompt_form = NO_PROMPT;
    r->answer_form = STRING_ANSWER;
    r->prompt = (Passage){0};
    r->rendered.len = 0;
    r->num_markup = 0;
    r->said.len = 0;
    r->said_in_prompt = 0;
    r->is_alone = 0;
    render_begin(r);
    r->after_prompt = r->state;
    if (buffer_append(&r->rendered, "", 0) < 0) return -1;

    if (json_type(j, 0) != JSON_OBJECT) return row_fail(r, "a row must be a JSON object");
    if (row_read_tools(r) < 0) return -1;
    if (row_refuse_beside_text(r, 0) < 0) return -1;
    if (row_refuse_sets(r) < 0) return -1;
    if (read_margin_and_weight(r) < 0) return -1;
    const RowKeys k = row_find_keys(r);
    if (row_check_keys(r, &k) < 0) return -1;
    r->kind = row_kind(r, &k);
    const int of_turns = r->options->all_turns && r->kind == DATA_COMPLETION && !k.set;
    const int has_history = json_count(j, row_get(r, 0, "history")) > 0;
    int described;                                        // answers that have features
    if (r->kind == DATA_PROMPT && r->options->features
        && row_features_form(r, &described) != FEATURES_NONE) return read_features_alone(r, &k);

    // a document is an answer without a prompt, and stays whole
    if (r->kind == DATA_DOCUMENT) {
        if (json_length(j, k.text) == 0) {
            return row_fail(r, "\"text\" must be a string that is not empty; --bad_rows drop "
                            "leaves such rows out");
        }
    } else if (of_turns && k.answer_is_last_message) {
        if (read_turns(r, k.conversation) < 0) return -1;
    } else if (of_turns && has_history && k.prompt < 0 && k.instruction >= 0) {
        if (read_turns_of_history(r, &k) < 0) return -1;
    } else if (k.set) {
        if (read_prompt_of_set(r, &k) < 0) return -1;
    } else {
        if (read_prompt(r, &k) < 0) return -1;
        if (r->prompt_form == NO_PROMPT && r->kind != DATA_PAIR && r->kind != DATA_RANKING) {
            return row_refuse_shape(r);
        }
    }
    if (k.answer_is_last_message) r->turns = count_turns(r, k.conversation);
    else if (r->turns && k.answer >= 0) r->turns++;       // those of a history, and the answer
    else r->turns = 0;
    if (!r->are_turns && read_answers_of_kind(r, &k) < 0) return -1;
    const int whole_texts = r->prompt_form == NO_PROMPT || r->answer_form == CONVERSATION;
    if (r->n && whole_texts && r->kind != DATA_DOCUMENT && split_prompt(r) < 0) return -1;
    for (int i = 0; i < r->n; i++) {
        if (!r->answer[i].len) {
            return row_fail(r, "an answer is empty; remove the row or complete it");
        }
    }
    r->given = r->n;
    if (r->kind == DATA_RANKING && !r->options->as_given) drop_repeated_answers(r);
    row_find_contrary(r);
    if (r->tools.len && !r->tools_said) {
        return row_fail(r, "\"tools\" would be lost: they stand in a conversation's first turn; "
                        "write prompt and answers as messages, of which the first is the user's");
    }
    if (row_refuse_two_answers(r, k.answer) < 0) return -1;
    return row_refuse_lost_text(r);
}
#endif
