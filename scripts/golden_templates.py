#!/usr/bin/env python3
"""Writes test/golden/templates/cases.json: what transformers' apply_chat_template makes of conversations.

    pip install transformers==5.24.0 tokenizers==0.23.3 jinja2 && python3 scripts/golden_templates.py

Each template, NAME.jinja, is rendered with a tokenizer of test/golden: of each conversation the ids of the prompt,
that is of all messages before the last of the assistant and what asks for an answer, and those of the whole; or
null where the template refuses it, or would lose thoughts.  A template that puts the system's message into the
user's last turn shows it only in prompts: the whole is then the prompt and the answer.  Dates are the templates'
own.  "tool_cases": the same of rows with tools, of the templates that have a place for them; "tools_as_text": the
first of these conversations as messages that say the same."""
import json
import os
import re
import tempfile

from transformers import PreTrainedTokenizerFast

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "golden")
OUT = os.path.join(GOLDEN, "templates")
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
           "<|eot_id|>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
# name of the template: the form it is known as, tokenizer, bos, eos
TEMPLATES = {
    "chatml": ("chatml", "bytes", None, "<|im_end|>"), "chatml-last": ("chatml", "bytes", None, "<|im_end|>"),
    "smollm2": ("smollm2", "bytes", None, "<|im_end|>"), "qwen2": ("qwen2", "bytes", None, "<|im_end|>"),
    "qwen2.5": ("qwen2.5", "bytes", None, "<|im_end|>"), "qwen3": ("qwen3", "bytes", None, "<|im_end|>"),
    "qwen3-2507": ("qwen3-2507", "bytes", None, "<|im_end|>"),
    "llama2": ("llama2", "pieces", "<s>", "</s>"), "llama3": ("llama3", "bytes", "<|begin_of_text|>", "<|eot_id|>"),
    "llama3-always": ("llama3", "bytes", "<|begin_of_text|>", "<|eot_id|>"),
    "mistral": ("mistral", "pieces", "<s>", "</s>"), "mistral-v1": ("mistral-v1", "pieces", "<s>", "</s>"),
    "mistral-v3": ("mistral-v3", "pieces", "<s>", "</s>"),
    "mistral-v3-tekken": ("mistral-v3-tekken", "bytes", "<s>", "</s>"),
    "mistral-v7": ("mistral-v7", "pieces", "<s>", "</s>"),
    "llama3.1": ("llama3.1", "bytes", "<|begin_of_text|>", "<|eot_id|>"),
    "llama3.2": ("llama3.2", "bytes", "<|begin_of_text|>", "<|eot_id|>"),
    "phi3": ("phi3", "bytes", None, "<|end|>"), "phi3.5": ("phi3.5", "bytes", None, "<|end|>"),
    "tulu": ("tulu", "bytes", None, "<|eot_id|>"), "olmo2": ("olmo2", "bytes", "<|begin_of_text|>", "<|eot_id|>"),
    "zephyr": ("zephyr", "pieces", "<s>", "</s>"), "gemma": ("gemma", "bytes", "<bos>", "<end_of_turn>"),
}
# variants/NAME.jinja, which other trainers put into a model's folder: the template above that says the same.
VARIANTS = {
    "axolotl_chatml": "chatml", "axolotl_gemma": "gemma", "axolotl_llama3": "llama3", "axolotl_mistral_v1": "mistral-v1",
    "axolotl_mistral_v2v3": "mistral-v3", "axolotl_mistral_v3_tekken": "mistral-v3-tekken", "axolotl_phi_35": "phi3.5",
    "open-instruct_zephyr": "zephyr", "trl_gemma": "gemma", "trl_llama3": "llama3", "trl_phi3": "phi3",
    "trl_phi3.5": "phi3.5", "trl_qwen2.5": "qwen2.5", "trl_qwen3-2507": "qwen3-2507", "unsloth_chatml": "chatml",
    "unsloth_grpo": "chatml", "unsloth_llama3": "llama3", "unsloth_phi3": "phi3", "unsloth_qwen3": "qwen3",
    "unsloth_zephyr": "zephyr",
}


def say(*contents, system=None, first="user"):
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    turns = [{"role": roles[i % 2], "content": c} for i, c in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system is not None else []) + turns


def think(messages, *thoughts):
    answers = [m for m in messages if m["role"] == "assistant"]
    for message, thought in zip(answers, thoughts):
        message["reasoning_content"] = thought
    return messages


CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
RESPONSE = "<tool_response>\n7\n</tool_response>"
CONVERSATIONS = [
    say("Hi", "Hello."), say("What color is the sky?", "It is blue.", system="Be brief."),
    say("a", "b", "c", "d"), say("a", "b", "c", "d", "e", "f", system="You know 3 letters."),
    say("  two  spaces ", "an answer  "), say("line\nline\n\n", "one\n\ttwo\nthree", system=" s "),
    say("caf\u00e9 \u4f60\u597d 1234 \U0001f600", "\u00fc\u00df 12 it's"), say("", "nothing"), say("x", "y \n"),
    say("a", "b", first="assistant"), say("q", "<think>\nhm\n</think>\n\nyes", "more", "no thoughts"),
    say("q", "one", "more", "<think>why</think>because"), say("{% x %} {{ y }} <|user|> [INST]", "'\"\\n"),
    [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}],
    [{"role": "user", "content": "a"}, {"role": "system", "content": "s"}, {"role": "assistant", "content": "c"}],
    say("a", "b", system=""), think(say("q", "yes"), "\nhm\n\nso\n"), think(say("q", "yes\n"), ""),
    think(say("q", "<think>x</think>one", "more", "two"), "beside"),
    say("q", "<think>\nt\n</think>\n\n" + CALL, RESPONSE, "so 7"),
    say("q", "<think>\nt\n</think>\n\n" + CALL, RESPONSE, "so 7", "r", "s", system="s"),
    [{"role": "system", "content": "s"}, {"role": "assistant", "content": "<think>\nt\n</think>\n\na"}],
]



def call(name, arguments, **more):
    return {"function": {"name": name, "arguments": arguments}, **more}


def calls(content, *tool_calls, **more):
    return dict({"role": "assistant", "content": content, "tool_calls": list(tool_calls)}, **more)


def answers(*contents):
    return [{"role": "tool", "content": c} for c in contents]


# Rows with tools.
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"x": {"type": "integer"}}}}
NUMBERS = [0, -0.0, 1.0, 1e5, 1e16, 1.5e300, 1e-5, 0.0001, 123456789.125, 0.1, 12345678901234567890, -7, True, None]
LONG = {"type": "function", "function": {
    "name": "search", "description": "Finds \"caf\u00e9s\"\n\tin \u4f60\u597d \\ \u007f\u0001.", "strict": False, "parameters": {
        "type": "object", "required": ["q"], "properties": {
            "q": {"type": "string", "enum": ["a", ""]}, "n": {"type": "number", "default": NUMBERS}, "o": {}, "l": []}}}}
F = call("f", {"x": 1})
Q = say("q")
TOOL_ROWS = [([TOOL], say("q", system="s") + [calls("", F)] + answers("7") + say("so 7", "again", first="assistant") +
              [calls("f", F)])] + [(tools, messages) for messages in [
    Q + [calls("", F)], Q + [calls("let me see", F, call("search", {"q": "caf\u00e9", "n": NUMBERS}))],
    Q + [calls("", F, F)] + answers("7", "8 \u00fc") + say("so 7", first="assistant"),
    Q + [calls(None, call("f", {}))] + answers("") + [calls("", F)] + answers("9") + say("9", first="assistant"),
    say("q", system="") + [calls("", call("f", "{\"x\": 1}", id="call_1", type="function"))],
    Q + [calls("", {"name": "f", "arguments": ["x", {"y": None}]})], say("q", "no call", system="s"),
    Q + [calls("<think>\nt\n</think>\n\n", F)] + answers("7") + say("so 7", "r", "s", first="assistant"),
    Q + [calls("<think>\nt\n</think>\n\nwords\n", F)] + answers("7", "8") + say("<think>u</think>so 7", first="assistant"),
    think(Q + [calls("", F), *answers("7"), calls("w", F), *answers("8")] + say("so 8", first="assistant"), "t", "u", "v"),
    think(Q + [calls("\n", F)], "beside"), Q + [calls("w\n", F)],
    say("q", "a", "<tool_response>\nnot a tool\n</tool_response>", "b")] for tools in ([LONG, TOOL], [])]
AS_TEXT = say("q", CALL, RESPONSE, "so 7", "again", "f\n" + CALL, system="s\n\n# Tools\n\nYou may call one or more "
              "functions to assist with the user query.\n\nYou are provided with function signatures within "
              "<tools></tools> XML tags:\n<tools>\n" + json.dumps(TOOL) + "\n</tools>\n\nFor each function call, "
              "return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n"
              "<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>")


def tokenizers():
    """The tokenizer files: byte-level with the special tokens of all templates, and SentencePiece's."""
    import golden_families
    from tokenizers import AddedToken, Tokenizer, normalizers
    from sentencepiece import sentencepiece_model_pb2
    t = Tokenizer.from_file(os.path.join(GOLDEN, "tokenizers", "llama3.json"))
    t.add_special_tokens(SPECIAL)
    t.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    t.add_special_tokens(["<|end|>"])
    t.save(os.path.join(OUT, "tokenizer.json"), pretty=False)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(open(os.path.join(GOLDEN, "tokenizers", "tokenizer.model"), "rb").read())
    mark = golden_families.MARK
    marks = normalizers.Sequence([normalizers.Prepend(mark), normalizers.Replace(" ", mark)])
    pieces = golden_families.of_pieces(proto.pieces, "tokenizer", marks, None, fuse_unk=True)
    return {"bytes": t, "pieces": pieces}


def loses(form, messages):
    """Would the template pass over what is said beside an answer, or beside a call?"""
    return any(m.get("reasoning_content") and form != "qwen3" or
               m.get("tool_calls") and m["content"] and form.startswith("llama") for m in messages)


def case(t, messages, template, tools=None):
    """Ids of the prompt and of the whole, or None where the template refuses them."""
    try:
        return {"prompt": ids_of(t, messages[:-1], template, True, tools), "whole": ids_of(t, messages, template, False, tools)}
    except Exception:
        return None


def read(name):
    return open(os.path.join(OUT, name + ".jinja")).read()


def check_variant(t, variant, name):
    """Refuses what it does, and says the same: prompts, and wholes but for what ends them all."""
    def said(template, messages, ask, tools):
        try:
            text = t.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=ask,
                                         date_string="26 Jul 2024", tools=tools)
        except Exception:
            return None
        return text if ask else re.sub("(%s|\n)*$" % re.escape(t.eos_token), "", text)

    with_tools = [(tools or None, m) for tools, m in TOOL_ROWS if all(x["content"] is not None for x in m)]
    for tools, messages in [(None, m) for m in CONVERSATIONS] + with_tools * name.startswith("qwen"):
        for m, ask in ((messages[:-1], True), (messages, False)):
            assert said(read("variants/" + variant), m, ask, tools) == said(read(name), m, ask, tools), (variant, m)


def ids_of(t, messages, template, ask, tools=None):
    ids = t.apply_chat_template(messages, chat_template=template, tokenize=True, add_generation_prompt=ask,
                                return_dict=False, date_string="26 Jul 2024", tools=tools)
    return list(ids)


def main():
    files, rows = tokenizers(), []
    with tempfile.TemporaryDirectory() as d:
        for name, (form, kind, bos, eos) in TEMPLATES.items():
            path = os.path.join(d, kind + ".json")
            files[kind].encode_special_tokens = False
            files[kind].save(path)
            t = PreTrainedTokenizerFast(tokenizer_file=path, bos_token=bos, eos_token=eos)
            template = read(name)
            for variant in VARIANTS:
                if VARIANTS[variant] == name:
                    check_variant(t, variant, name)
            cases = []
            for messages in CONVERSATIONS:
                if form != "qwen3" and any(m.get("reasoning_content") for m in messages):
                    cases.append(None)                     # the template would lose the thoughts
                    continue
                try:
                    prompt, whole = ids_of(t, messages[:-1], template, True), ids_of(t, messages, template, False)
                    if name.startswith("mistral-v3") and messages[0]["role"] == "system":
                        said = [m for m in messages if m["role"] != "system"]
                        bare = ids_of(t, said[:-1], template, True)
                        whole = prompt + ids_of(t, said, template, False)[len(bare):]
                    cases.append({"prompt": prompt, "whole": whole})
                except Exception:
                    cases.append(None)
            rows.append({"template": name, "form": form, "tokenizer": kind, "bos": bos, "eos": eos, "cases": cases})
            if form in ("qwen2.5", "qwen3", "qwen3-2507", "llama3.1", "llama3.2"):
                rows[-1]["tool_cases"] = [None if loses(form, messages) else case(t, messages, template, tools or None)
                                          for tools, messages in TOOL_ROWS]
    with open(os.path.join(OUT, "cases.json"), "w") as f:
        f.write('{"conversations": [\n' + ",\n".join(map(json.dumps, CONVERSATIONS)) + '\n], "tools_as_text": ' +
                json.dumps(AS_TEXT) + ', "tool_rows": [\n' +
                ",\n".join(json.dumps({"tools": tools, "messages": m}) for tools, m in TOOL_ROWS) + '\n], "templates": [\n' +
                ",\n".join(json.dumps(r) for r in rows) + '\n], "variants": ' + json.dumps(VARIANTS) + "}\n")
    print(sum(c is not None for r in rows for c in r["cases"]), "of", sum(len(r["cases"]) for r in rows), "rendered")


if __name__ == "__main__":
    main()
