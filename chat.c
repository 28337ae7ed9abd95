/* chat.c - chat templates: a conversation as the one text that a model was trained to go on with.
 *
 *     {"role": "user", "content": "Hi"}            messages
 *     <|im_start|>user                             by the form `chatml`, which says what stands
 *     Hi<|im_end|>                                 before and after each turn; <|im_start|> and
 *     <|im_start|>assistant                        <|im_end|> are single tokens.  The last line
 *                                                  asks for the answer: it ends the prompt.
 *
 * A model's folder has its template as a program, in Jinja.  No program is run here: the templates
 * that are published are known by their text, as it is when spaces and quotes that change nothing
 * are left out (chat_recognise), and their forms by name.                                        */
#ifndef CHAT_C
#define CHAT_C

#include "common.h"
#include "files/file.c"
#include "tools.c"

enum { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, NUM_ROLES };

/* A turn is before, lead, the content, tail and after, in this order.  Of the assistant's, `before`
 * ends the prompt, the answer is lead to tail, and `after` begins with the token that ends it.
 * {bos} and {eos} are the tokenizer's own tokens.  */
typedef struct { const char *before, *lead, *tail, *after; } ChatTurn;

typedef struct {
    const char *name;
    const char *begin;                  // before the first turn
    ChatTurn turn[NUM_ROLES];
    const char *system;                 // what the system says where nobody has said it; or NULL
    const char *user_system[2];         // around a system message that has no turn of its own and
                                        //     stands in the user's first; NULL: it has a turn
    const char *preamble;               // what the system says before all else, in a turn of its
                                        //     own where nobody has said more; or NULL
    const char *end;                    // the token that ends an answer; NULL: the end of text
    int no_system;                      // yes: a system message is refused
    int system_last;                    // yes: without a turn of its own it stands in the user's
                                        //     last, not the first
    int skips_silence;                  // yes: a system message that says nothing is none
    int alternates;                     // yes: so is another order than user, assistant, user, ..
    int strips;                         // yes: contents lose white space at both ends
    int strips_answers;                 // yes: those of the assistant alone do
    int thinks;                         // yes: the last answer begins with its thoughts, old ones
                                        //     have lost them
    ToolsForm tools;                    // how tools and calls of them are written; 0: they have
                                        //     no place
    ChatTurn response;                  // what a tool answers; none: the user says it
} ChatForm;

enum { CHAT_SYSTEM = 512 };             // room for a template's own system message
typedef struct {
    const ChatForm *form;               // NULL: the folder's template is not known
    char system[CHAT_SYSTEM];           // "": that of the form, if it has one
} Chat;

int  chat_named(Chat *chat, const char *name);                    // is there a form of that name?
int  chat_recognise(Chat *chat, const char *jinja, size_t n);     // is it a template that is known?
int  chat_names(Buffer *out);                                     // appends "plain, turns, ..."
const char *chat_system(const Chat *chat);                        // or NULL

// ------------------------------------------------------------------------------------------ forms

#define IM(role) {.before = "<|im_start|>" role "\n", .after = "<|im_end|>\n"}
#define CHATML {[ROLE_SYSTEM] = IM("system"), [ROLE_USER] = IM("user"), \
                [ROLE_ASSISTANT] = IM("assistant")}
#define HEADER(role) {.before = "<|start_header_id|>" role "<|end_header_id|>\n\n", \
                      .after = "<|eot_id|>"}
#define BAR(role) {.before = "<|" role "|>\n", .after = "{eos}\n"}
#define BARS {[ROLE_SYSTEM] = BAR("system"), [ROLE_USER] = BAR("user"), \
              [ROLE_ASSISTANT] = BAR("assistant")}
#define TULU {[ROLE_SYSTEM] = {.before = "<|system|>\n", .after = "\n"}, \
              [ROLE_USER] = {.before = "<|user|>\n", .after = "\n"}, \
              [ROLE_ASSISTANT] = {.before = "<|assistant|>\n", .after = "{eos}\n"}}
#define PHI(role) {.before = "<|" role "|>\n", .after = "<|end|>\n"}
#define PHI3 {[ROLE_SYSTEM] = PHI("system"), [ROLE_USER] = PHI("user"), \
              [ROLE_ASSISTANT] = PHI("assistant")}
#define HEADERS {[ROLE_SYSTEM] = HEADER("system"), [ROLE_USER] = HEADER("user"), \
                 [ROLE_ASSISTANT] = HEADER("assistant")}
#define SAYS(who) {.before = "\n\n" who ":", .lead = " "}
#define SAID {[ROLE_SYSTEM] = SAYS("System"), [ROLE_USER] = SAYS("Human"), \
              [ROLE_ASSISTANT] = SAYS("Assistant")}

// The date is that of the templates where no other is given.  LLaMA-3.2's asks for a clock first: a
// text would be another one each day.
#define LLAMA3_DATES "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

static const ChatForm forms[] = {
    {.name = "plain", .turn = SAID},                      // as the Anthropic HH data
    {.name = "turns", .turn = SAID},                      // the same, and a string is a turn
    {.name = "none"},
    {.name = "chatml", .turn = CHATML, .end = "<|im_end|>"},
    {.name = "smollm2", .turn = CHATML, .end = "<|im_end|>",
     .system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
    {.name = "qwen2", .turn = CHATML, .end = "<|im_end|>",
     .system = "You are a helpful assistant."},
    {.name = "qwen2.5", .turn = CHATML, .end = "<|im_end|>",
     .system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
     .tools = TOOLS_QWEN25},
    {.name = "qwen3", .turn = CHATML, .end = "<|im_end|>", .thinks = 1, .tools = TOOLS_QWEN3},
    {.name = "qwen3-2507", .turn = CHATML, .end = "<|im_end|>", .tools = TOOLS_QWEN3},
    {.name = "llama2", .end = "{eos}", .alternates = 1, .strips = 1,
     .user_system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
     .turn = {[ROLE_USER] = {.before = "{bos}[INST] ", .after = " [/INST]"},
              [ROLE_ASSISTANT] = {.lead = " ", .tail = " ", .after = "{eos}"}}},
    {.name = "llama3", .begin = "{bos}", .turn = HEADERS, .end = "<|eot_id|>", .strips = 1},
    {.name = "llama3.1", .begin = "{bos}", .turn = HEADERS, .end = "<|eot_id|>", .strips = 1,
     .preamble = LLAMA3_DATES, .tools = TOOLS_LLAMA31, .response = HEADER("ipython")},
    {.name = "llama3.2", .begin = "{bos}", .turn = HEADERS, .end = "<|eot_id|>", .strips = 1,
     .preamble = LLAMA3_DATES, .tools = TOOLS_LLAMA31, .response = HEADER("ipython")},
    {.name = "mistral", .begin = "{bos}", .end = "{eos}", .alternates = 1, .no_system = 1,
     .turn = {[ROLE_USER] = {.before = "[INST] ", .after = " [/INST]"},
              [ROLE_ASSISTANT] = {.after = "{eos}"}}},
    {.name = "mistral-v1", .begin = "{bos}", .end = "{eos}", .alternates = 1,
     .user_system = {"", "\n\n"},
     .turn = {[ROLE_USER] = {.before = " [INST] ", .after = " [/INST]"},
              [ROLE_ASSISTANT] = {.lead = " ", .after = "{eos}"}}},
    {.name = "mistral-v3", .begin = "{bos}", .end = "{eos}", .alternates = 1, .system_last = 1,
     .user_system = {"", "\n\n"}, .strips_answers = 1,
     .turn = {[ROLE_USER] = {.before = "[INST] ", .after = "[/INST]"},
              [ROLE_ASSISTANT] = {.lead = " ", .after = "{eos}"}}},
    {.name = "mistral-v3-tekken", .begin = "{bos}", .end = "{eos}", .alternates = 1,
     .system_last = 1, .user_system = {"", "\n\n"},
     .turn = {[ROLE_USER] = {.before = "[INST]", .after = "[/INST]"},
              [ROLE_ASSISTANT] = {.after = "{eos}"}}},
    {.name = "mistral-v7", .begin = "{bos}", .end = "{eos}",
     .turn = {[ROLE_SYSTEM] = {.before = "[SYSTEM_PROMPT] ", .after = "[/SYSTEM_PROMPT]"},
              [ROLE_USER] = {.before = "[INST] ", .after = "[/INST]"},
              [ROLE_ASSISTANT] = {.lead = " ", .after = "{eos}"}}},
    {.name = "phi3", .turn = PHI3, .end = "<|end|>"},
    {.name = "phi3.5", .turn = PHI3, .end = "<|end|>", .skips_silence = 1},
    {.name = "zephyr", .turn = BARS, .end = "{eos}"},
    {.name = "tinyllama", .turn = BARS, .end = "{eos}"},  // the same
    {.name = "tulu", .turn = TULU, .end = "{eos}"},
    {.name = "olmo2", .begin = "{bos}", .turn = TULU, .end = "{eos}"},
    {.name = "gemma", .begin = "{bos}", .end = "<end_of_turn>", .alternates = 1, .no_system = 1,
     .strips = 1,
     .turn = {[ROLE_USER] = {.before = "<start_of_turn>user\n", .after = "<end_of_turn>\n"},
              [ROLE_ASSISTANT] = {.before = "<start_of_turn>model\n",
                                  .after = "<end_of_turn>\n"}}},
};
enum { NUM_FORMS = sizeof forms / sizeof *forms };

int chat_named(Chat *chat, const char *name) {
    *chat = (Chat){.form = NULL};
    for (int k = 0; k < NUM_FORMS; k++) {
        if (!strcmp(forms[k].name, name)) chat->form = &forms[k];
    }
    return chat->form != NULL;
}

int chat_names(Buffer *out) {
    for (int k = 0; k < NUM_FORMS; k++) {
        const char *before = k ? ", " : "";
        if (k == NUM_FORMS - 1) before = " and ";
        if (buffer_printf(out, "%s%s", before, forms[k].name) < 0) return -1;
    }
    return 0;
}

// What the system says where a conversation has no system message; NULL: nothing.
const char *chat_system(const Chat *chat) {
    return *chat->system ? chat->system : chat->form->system;
}

// -------------------------------------------------------------------------------------- templates

/* The text of a template without what means nothing: outside of strings, white space in {{ }} and
 * {% %}; which quotes a string has, and whether a line end in it is one or \n.
 *
 *                 {{ or {%                 a quote
 *     text: kept ----------> a block ------------------> a string: kept, "\n" as a line end
 *                <---------- no spaces <------------------
 *                 }} or %}                 the same quote                                        */
static int append_plainly(Buffer *out, const char *s, size_t n) {
    int in_block = 0;
    char quote = 0;
    while (n && isspace((unsigned char)s[n-1])) n--;
    for (size_t i = 0; i < n; i++) {
        const char next = i + 1 < n ? s[i+1] : 0;
        char c = s[i];
        if (!in_block && c == '{' && (next == '{' || next == '%')) in_block = 2;
        if (in_block && !quote && next == '}' && (c == '}' || c == '%')) in_block = 0;
        if (in_block == 2) {                              // the second character of {{ or {%
            if (buffer_append(out, &c, 1) < 0) return -1;
            i++;
            c = next;
            in_block = 1;
        } else if (in_block && quote && c == '\\' && next == 'n') {
            i++;
            c = '\n';
        } else if (in_block && quote && c == quote) {
            quote = 0;
            c = '"';
        } else if (in_block && !quote && (c == '\'' || c == '"')) {
            quote = c;
            c = '"';
        } else if (in_block && !quote && isspace((unsigned char)c)) {
            continue;
        }
        if (buffer_append(out, &c, 1) < 0) return -1;
    }
    return 0;
}

// Removes each occurrence of s.
static void remove_all(Buffer *text, const char *s) {
    const size_t n = strlen(s);
    char *at = n ? strstr(text->data, s) : NULL;
    for (; at; at = strstr(at, s)) {
        const size_t behind = text->len - (size_t)(at - text->data) - n;
        memmove(at, at + n, behind + 1);
        text->len -= n;
    }
}

/* A template of the ChatML kind has a system message of its own, which differs from model to model:
 * it is taken out, and kept.  */
static void take_system(Buffer *text, char system[CHAT_SYSTEM]) {
    static const char before[] = "<|im_start|>system\n";
    *system = 0;
    for (char *at = strstr(text->data, before); at; at = strstr(at, before)) {
        at += sizeof before - 1;
        const size_t n = strcspn(at, "\"{}<");
        if (n == 0 || n >= CHAT_SYSTEM || strncmp(at + n, "<|im_end|>", 10) != 0) continue;
        memcpy(system, at, n);
        system[n] = 0;
        remove_all(text, system);
        return;
    }
}

// The first 16 digits of the SHA-256 of what append_plainly and take_system leave of a template.
static const struct { const char *hash, *form; } known_templates[] = {
    {.hash = "79ccbf0d5585c8b0", .form = "chatml"},     // with any system message or none
    {.hash = "08753ea57765e412", .form = "chatml"},     // the same in other words
    {.hash = "c3d392d4eeccdcc6", .form = "chatml"},     // SmolLM2 and Qwen2, whose system says ..
    {.hash = "778518f251dca81f", .form = "qwen2.5"},    // Qwen2.5
    {.hash = "42809e2cbe8a5ef7", .form = "qwen3"},      // Qwen3
    {.hash = "82e2d33f97bf53dd", .form = "qwen3-2507"}, // Qwen3 of July 2025, which does not think
    {.hash = "5d183297bd23bf3d", .form = "llama2"},     // LLaMA-2
    {.hash = "3b79414aebdd078e", .form = "llama3"},     // LLaMA-3
    {.hash = "7ae04cc5e5e06702", .form = "llama3"},     // the same, always asking for an answer
    {.hash = "f4098b0ff74d30f7", .form = "llama3.1"},   // LLaMA-3.1
    {.hash = "1c846f7b4745de54", .form = "llama3.2"},   // LLaMA-3.2 1B and 3B
    {.hash = "edd5b4536bec09bf", .form = "mistral"},    // Mistral 0.1 and 0.2
    {.hash = "38aee6c30f3178bc", .form = "mistral-v1"}, // Mistral 0.2, later
    {.hash = "fc05cd6e9bbf6b3e", .form = "mistral-v3"}, // Mistral 7B 0.3, Large 2407
    {.hash = "fa5c601cbe43e4fa", .form = "mistral-v3-tekken"},      // Mistral Nemo 2407
    {.hash = "2056ce44357801dc", .form = "mistral-v7"}, // Mistral Large 2411
    {.hash = "5867895b63e59715", .form = "phi3"},       // Phi-3 mini and medium
    {.hash = "dd388cd10afd49d4", .form = "phi3.5"},     // Phi-3.5 mini
    {.hash = "1686e736ae375ff9", .form = "zephyr"},     // Zephyr and TinyLlama
    {.hash = "a25177ea9b7b37b7", .form = "gemma"},      // Gemma and Gemma 2
    {.hash = "0b2730d629bded26", .form = "tulu"},       // Tulu 2 and 3
    {.hash = "975a615c06a9a903", .form = "olmo2"},      // OLMo 2, Tulu 3 as open-instruct saves it

    // what other trainers leave in a folder: test/golden/templates/variants
    {.hash = "c0f8bc54a54f998a", .form = "chatml"},     // axolotl
    {.hash = "22bbad0cbeaf22c1", .form = "gemma"},
    {.hash = "ef0e8a00b2260d2c", .form = "llama3"},
    {.hash = "446e119b2fe835bf", .form = "mistral-v1"},
    {.hash = "35bcad5314461e9a", .form = "mistral-v3"},
    {.hash = "7cfdbc30810935ee", .form = "mistral-v3-tekken"},
    {.hash = "2d2ed567b27eaf63", .form = "phi3.5"},
    {.hash = "522faf80e46da50d", .form = "zephyr"},     // open-instruct
    {.hash = "86724098c1c0b0ae", .form = "gemma"},      // TRL, which marks the answers
    {.hash = "f98f43fec108fb27", .form = "llama3"},
    {.hash = "444de2d8bd1573d5", .form = "phi3"},
    {.hash = "33d85ca90c0a5253", .form = "phi3.5"},
    {.hash = "4c64207b478c16cf", .form = "qwen2.5"},
    {.hash = "44f585f957878d27", .form = "qwen3-2507"},
    {.hash = "831dedf4f82585dd", .form = "chatml"},     // Unsloth
    {.hash = "f8f828e728106ff7", .form = "chatml"},
    {.hash = "363b6a5732eb9639", .form = "llama3"},
    {.hash = "f0f5eba5f2c1bf0b", .form = "phi3"},
    {.hash = "43b30bcb33059d68", .form = "qwen3"},
    {.hash = "70b9e12d7b3c39f8", .form = "zephyr"},
};

int chat_recognise(Chat *chat, const char *jinja, size_t n) {
    char hex[65], system[CHAT_SYSTEM];
    Buffer text = {0};
    *chat = (Chat){.form = NULL};
    if (append_plainly(&text, jinja, n) < 0 || text.len == 0) goto done;
    take_system(&text, system);
    sha256_hex(hex, text.data, text.len);
    for (size_t k = 0; k < sizeof known_templates / sizeof *known_templates; k++) {
        if (strncmp(hex, known_templates[k].hash, 16) != 0) continue;
        if (!chat_named(chat, known_templates[k].form)) break;
        strcpy(chat->system, system);
        break;
    }
done:
    buffer_free(&text);
    return chat->form != NULL;
}

#endif
