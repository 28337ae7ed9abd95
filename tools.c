/* tools.c - tools, calls of them and their results as text, as Qwen2.5's and Qwen3's chat templates
 * write them.
 *
 *     "tools": [{"type": "function", ..}]       at the end of the system's message: # Tools ..
 *                                               <tools>
 *                                               {"type": "function", ..}
 *                                               </tools> ..
 *     the assistant's "tool_calls":             behind what it says, on lines of their own:
 *         [{"function": {"name": "f",           <tool_call>
 *           "arguments": {"x": 1}}}]            {"name": "f", "arguments": {"x": 1}}
 *                                               </tool_call>
 *     messages of the role "tool":              one message of the user for all that follow one
 *         {"content": "7"}                      another:
 *                                               <tool_response>
 *                                               7
 *                                               </tool_response>
 *
 * template.c puts these texts where they belong; the JSON in them is as Python prints it.        */
#ifndef TOOLS_C
#define TOOLS_C

#include "common.h"
#include "files/json.c"

// How a template writes a call's "arguments" that are a string, as OpenAI has them: bare, as the
// JSON that it holds, or quoted.
typedef enum { NO_TOOLS, TOOLS_BARE, TOOLS_QUOTED } ToolsForm;

int tools_append(Buffer *out, const Json *j, int tools);    // the list of tools; and of one call:
int tool_call_parts(const Json *j, int call, int *name, int *arguments);    // does it have both?
int tool_call_append(Buffer *out, const Json *j, int call, ToolsForm form);

// what a tool has answered stands between these
#define TOOL_RESPONSE_OPEN "<tool_response>"
#define TOOL_RESPONSE_CLOSE "</tool_response>"
int tool_is_response(const char *s, size_t n);              // is that how s begins and ends?

// 0, or -1 after fail().
int tools_append(Buffer *out, const Json *j, int tools) {
    static const char before[] =
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
    static const char after[] =
        "\n</tools>\n\nFor each function call, return a json object with function name and "
        "arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
        "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";
    if (buffer_append(out, before, sizeof before - 1) < 0) return -1;
    for (int tool = json_first(j, tools); tool >= 0; tool = json_next(j, tool)) {
        if (buffer_append(out, "\n", 1) < 0) return -1;
        if (json_print(out, j, tool) < 0) return -1;
    }
    return buffer_append(out, after, sizeof after - 1);
}

// {"function": {"name": .., "arguments": ..}}, or what stands in it.
int tool_call_parts(const Json *j, int call, int *name, int *arguments) {
    const int function = json_get(j, call, "function");
    if (json_type(j, function) == JSON_OBJECT) call = function;
    *name = json_get(j, call, "name");
    *arguments = json_get(j, call, "arguments");
    return json_type(j, *name) == JSON_STRING && *arguments >= 0;
}

// 0, or -1 after fail().
int tool_call_append(Buffer *out, const Json *j, int call, ToolsForm form) {
    int name, arguments;
    const int is_call = tool_call_parts(j, call, &name, &arguments);
    assert(is_call);
    (void)is_call;
    if (buffer_printf(out, "<tool_call>\n{\"name\": \"") < 0) return -1;
    if (buffer_append(out, json_string(j, name), json_length(j, name)) < 0) return -1;
    if (buffer_printf(out, "\", \"arguments\": ") < 0) return -1;
    const int is_bare = form == TOOLS_BARE && json_type(j, arguments) == JSON_STRING;
    const int done = is_bare
        ? buffer_append(out, json_string(j, arguments), json_length(j, arguments))
        : json_print(out, j, arguments);
    if (done < 0) return -1;
    return buffer_printf(out, "}\n</tool_call>");
}

int tool_is_response(const char *s, size_t n) {
    const size_t open = sizeof TOOL_RESPONSE_OPEN - 1, close = sizeof TOOL_RESPONSE_CLOSE - 1;
    return n >= close && !memcmp(s, TOOL_RESPONSE_OPEN, open)
        && !memcmp(s + n - close, TOOL_RESPONSE_CLOSE, close);
}
#endif
