/* tools.c - tools, calls of them and their answers as text, as chat templates write them:
 *
 *     a row with tools           Qwen2.5 and Qwen3                   LLaMA-3.1 and 3.2
 *
 *     "tools": [{..}]            at the end of the system's          before what the user says
 *                                message: # Tools .. <tools> ..      first: Given the following
 *     the assistant's            <tool_call>                         {"name": "f",
 *     "tool_calls": [..]         {"name": "f", "arguments": {..}}     "parameters": {..}}
 *                                </tool_call>                        of one tool, alone
 *     role "tool", content 7     in a turn of the user, joined:      in a turn of ipython: "7"
 *                                <tool_response> 7 </tool_response>
 *
 * template.c puts these texts where they belong; the JSON in them is as Python prints it.        */
#ifndef TOOLS_C
#define TOOLS_C

#include "common.h"
#include "files/json.c"

// How a template writes tools.  A call's arguments that are a string, as OpenAI has them, stand
// bare in Qwen3's, as the JSON that it holds, and quoted in the others'.
typedef enum { NO_TOOLS, TOOLS_QWEN25, TOOLS_QWEN3, TOOLS_LLAMA31 } ToolsForm;

int tools_append(Buffer *out, const Json *j, int tools, ToolsForm form);
int tool_is_call(const Json *j, int call, ToolsForm form);  // can the template write it?
int tool_call_append(Buffer *out, const Json *j, int call, ToolsForm form);

// what a tool has answered stands between these in Qwen's
#define TOOL_RESPONSE_OPEN "<tool_response>"
#define TOOL_RESPONSE_CLOSE "</tool_response>"
int tool_is_response(const char *s, size_t n);              // is that how s begins and ends?

static const char qwen_before[] =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
static const char qwen_after[] =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";
static const char llama_before[] =
    "Given the following functions, please respond with a JSON for a function call with its proper "
    "arguments that best answers the given prompt.\n\nRespond in the format {\"name\": function "
    "name, \"parameters\": dictionary of argument name and its value}.Do not use variables.\n\n";

// What the model is told of a list of tools.  0, or -1 after fail().
int tools_append(Buffer *out, const Json *j, int tools, ToolsForm form) {
    const int is_llama = form == TOOLS_LLAMA31;
    if (buffer_printf(out, "%s", is_llama ? llama_before : qwen_before) < 0) return -1;
    for (int tool = json_first(j, tools); tool >= 0; tool = json_next(j, tool)) {
        if (buffer_printf(out, is_llama ? "" : "\n") < 0) return -1;
        if (json_print(out, j, tool, is_llama ? 4 : 0) < 0) return -1;
        if (buffer_printf(out, is_llama ? "\n\n" : "") < 0) return -1;
    }
    return buffer_printf(out, "%s", is_llama ? "" : qwen_after);
}

// {"name": .., "arguments": ..} of {"function": that}, or where the template takes it of that
// itself; or -1.
static int call_function(const Json *j, int call, ToolsForm form) {
    const int function = json_get(j, call, "function");
    if (json_type(j, function) == JSON_OBJECT) return function;
    return form == TOOLS_LLAMA31 ? -1 : call;
}

int tool_is_call(const Json *j, int call, ToolsForm form) {
    const int function = call_function(j, call, form);
    const int has_name = json_type(j, json_get(j, function, "name")) == JSON_STRING;
    return has_name && json_get(j, function, "arguments") >= 0;
}

// Of what tool_is_call().  0, or -1 after fail().
int tool_call_append(Buffer *out, const Json *j, int call, ToolsForm form) {
    const int is_llama = form == TOOLS_LLAMA31, function = call_function(j, call, form);
    const int name = json_get(j, function, "name");
    const int arguments = json_get(j, function, "arguments");
    if (buffer_printf(out, "%s{\"name\": \"", is_llama ? "" : "<tool_call>\n") < 0) return -1;
    if (buffer_append(out, json_string(j, name), json_length(j, name)) < 0) return -1;
    if (buffer_printf(out, "\", \"%s\": ", is_llama ? "parameters" : "arguments") < 0) return -1;
    const int is_bare = form == TOOLS_QWEN3 && json_type(j, arguments) == JSON_STRING;
    const int done = is_bare
        ? buffer_append(out, json_string(j, arguments), json_length(j, arguments))
        : json_print(out, j, arguments, 0);
    if (done < 0) return -1;
    return buffer_printf(out, is_llama ? "}" : "}\n</tool_call>");
}

int tool_is_response(const char *s, size_t n) {
    const size_t open = sizeof TOOL_RESPONSE_OPEN - 1, close = sizeof TOOL_RESPONSE_CLOSE - 1;
    return n >= close && !memcmp(s, TOOL_RESPONSE_OPEN, open)
        && !memcmp(s + n - close, TOOL_RESPONSE_CLOSE, close);
}
#endif
