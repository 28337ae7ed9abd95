"""Writes test/golden/gradients.json: losses of the models of golden_models.py and their gradients, by PyTorch's autograd
in float64 throughout.

    pip install torch==2.13.0 transformers==5.24.0 safetensors numpy && python scripts/golden_gradients.py

Of a language model the loss is the mean of -log p over the tokens of the fifth text of reference.json after the first;
of a reward model it is -log sigmoid(r - s), r and s the scores of the fourth and the fifth text.  Of each tensor, by
its name in the folder: the norm of its gradient, and three of its numbers with their places in the file."""
import json
import os

import torch
import transformers
import golden_models as golden

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "golden")
NAMES = ["neox", "neox_sequential", "neox_tied", "gpt2", "gpt2_untied", "llama", "llama3", "mistral", "mistral_window",
         "qwen2", "qwen2_window", "qwen3", "smollm3", "olmo2", "neox_reward", "gpt2_reward", "llama_reward",
         "mistral_reward", "qwen2_reward", "qwen3_reward", "smollm3_reward", "olmo2_reward"]


def gradients(name, stored):
    cls, folder = golden.MODELS[name][0], os.path.join(ROOT, name)
    config = transformers.AutoConfig.from_pretrained(folder)
    config.dtype = torch.float64
    model = cls(config).double().eval()
    model.load_state_dict({k.replace("embed_out", "lm_head"): v.double() for k, v in stored.items()}, strict=False)
    model.tie_weights()
    with open(os.path.join(folder, "reference.json")) as f:
        ids = [torch.tensor([t["ids"]]) for t in json.load(f)["texts"]]
    if "Sequence" in cls.__name__:
        r, s = (model(i, use_cache=False).logits[0, 0] for i in ids[3:5])
        loss = -torch.nn.functional.logsigmoid(r - s)
    else:
        logp = torch.log_softmax(model(ids[4], use_cache=False).logits[0, :-1], -1)
        loss = -logp.gather(1, ids[4][0, 1:, None]).mean()
    loss.backward()
    of = dict(model.named_parameters())
    tensors = {}
    for key in sorted(stored):
        g = of[key.replace("embed_out", "lm_head")].grad.reshape(-1)
        places = sorted({0, len(g) // 3, len(g) - 1})
        tensors[key] = [g.norm().item()] + [[i, g[i].item()] for i in places]
    return {"loss": loss.item(), "tensors": tensors}


if __name__ == "__main__":
    stored = {name: golden.load(os.path.join(ROOT, name)) for name in NAMES}
    golden.float64_everywhere()
    with open(os.path.join(ROOT, "gradients.json"), "w") as f:
        rows = [json.dumps(name) + ": " + json.dumps(gradients(name, stored[name])) for name in NAMES]
        f.write("{\n" + ",\n".join(rows) + "\n}\n")
