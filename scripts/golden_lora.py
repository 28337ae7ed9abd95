"""Writes the tiny adapters of test/golden (lora_...) with PEFT, which shares nothing with ours.

    pip install torch==2.13.0 transformers==5.24.0 peft==0.21.2 accelerate safetensors numpy
    python scripts/golden_lora.py

Every folder holds what PEFT's save_pretrained wrote (adapter_config.json, adapter_model.safetensors) of an adapter over
one of the folders of golden_models.py, and reference.json as it has them: here of base model and adapter together, in
float64 throughout.  lora_steps.json beside them is three training steps of each: of the fourth and the fifth text of
reference.json, the one chosen, the other rejected, the loss of a reward model or DPO's, with the adapter off as the
reference; the score of each text, or the last row's logits; and of each tensor that is trained the norm and three numbers, with their places in the file, of its gradient
and of how it has changed after one and after three steps of AdamW with a clipped gradient.

With a folder, the reference is printed of that adapter and base instead, as

    python scripts/golden_lora.py ADAPTER IDS        token ids with commas: score, or log-probabilities
"""
import json, os, sys
import numpy, torch, transformers
import golden_models as golden
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

HERE = os.path.dirname(os.path.abspath(__file__))
os.chdir(os.path.join(HERE, ".."))                     # the bases are named from the repository's root
ADAPTERS = {                                           # base, and what LoraConfig is to say
    "lora_llama": ("llama", dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "down_proj"],
                                 use_rslora=True)),
    "lora_neox": ("neox", dict(r=4, lora_alpha=8, target_modules="all-linear")),
    "lora_gpt2": ("gpt2", dict(r=2, lora_alpha=3, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)),
    "lora_reward": ("llama_reward", dict(r=2, lora_alpha=4, target_modules=["k_proj", "gate_proj", "up_proj", "o_proj"],
                                         task_type="SEQ_CLS")),
}

def write(name, seed):
    base, settings = ADAPTERS[name]
    cls, folder, out = golden.MODELS[base][0], "test/golden/" + base, "test/golden/" + name
    settings = {"task_type": "CAUSAL_LM", **settings}
    model = get_peft_model(cls.from_pretrained(folder, dtype=torch.float32), LoraConfig(**settings))
    random = numpy.random.RandomState(seed)
    for key, p in sorted(model.named_parameters()):
        if p.requires_grad:
            p.data = torch.tensor(0.3*random.standard_normal(tuple(p.shape)), dtype=torch.float32)
    model.save_pretrained(out)
    os.path.exists(out + "/README.md") and os.remove(out + "/README.md")
    with open(out + "/adapter_config.json") as f:
        config = json.load(f)
    config["target_modules"] = sorted(config["target_modules"])
    with open(out + "/adapter_config.json", "w") as f:
        json.dump(config, f, indent=1, sort_keys=True)
        f.write("\n")

def stored(folder):
    """Config, base and adapter as they are stored: to be read before float64_everywhere."""
    with open(folder + "/adapter_config.json") as f:
        base = json.load(f)["base_model_name_or_path"]
    return transformers.AutoConfig.from_pretrained(base), golden.load(base), golden.load(folder)

def together(cls, folder, config, state, adapter):
    """Base and adapter in float64."""
    double = lambda tensors: {k.replace("embed_out", "lm_head"): v.double() for k, v in tensors.items()}
    config.dtype, config.num_labels = torch.float64, 1
    model = (cls.from_config if hasattr(cls, "from_config") else cls)(config).double()
    assert not model.load_state_dict(double(state), strict=False).unexpected_keys
    model.tie_weights()
    settings = LoraConfig.from_pretrained(folder)
    settings.inference_mode = True
    model = get_peft_model(model, settings).double().eval()
    assert not set_peft_model_state_dict(model, double(adapter)).unexpected_keys
    return model

def values(model, kind, ids):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    assert logits.dtype == torch.float64
    if kind == "SEQ_CLS":
        return dict(ids=ids, score=logits[0].item())
    logp = [torch.log_softmax(logits[t], 0)[ids[t + 1]].item() for t in range(len(ids) - 1)]
    return dict(ids=ids, logits=logits[-1].tolist(), logp=logp, sum_logp=sum(logp))

def write_reference(name, parts):
    cls, folder = golden.MODELS[ADAPTERS[name][0]][0], "test/golden/" + name
    model, random = together(cls, folder, *parts), numpy.random.RandomState(7)
    kind = ADAPTERS[name][1].get("task_type", "CAUSAL_LM")
    texts = [values(model, kind, [int(i) for i in random.randint(3, 64, n)]) for n in (1, 2, 5, 17, 33)]
    with open(folder + "/reference.json", "w") as f:
        json.dump({"class": cls.__name__, "dtype": "float32", "texts": texts}, f)
        f.write("\n")

SETTINGS = dict(beta=0.3, lr=0.01, weight_decay=0.1, max_grad_norm=0.5)

def policy_logp(model, ids):
    logp = torch.log_softmax(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1], -1)
    return logp.gather(1, torch.tensor(ids[1:])[:, None]).sum()

def numbers(x):
    x = x.reshape(-1)
    return [float(f"{x.norm().item():.9g}")] + [[i, float(f"{x[i].item():.9g}")]
                                                for i in sorted({0, len(x) // 3, len(x) - 1})]

def steps(name, parts):
    """Three steps of AdamW on one pair."""
    folder, kind = "test/golden/" + name, ADAPTERS[name][1].get("task_type", "CAUSAL_LM")
    model, out = together(golden.MODELS[ADAPTERS[name][0]][0], folder, *parts), {}
    with open(folder + "/reference.json") as f:
        pair = [text["ids"] for text in json.load(f)["texts"][3:5]]
    trained = {}
    for key, p in model.named_parameters():
        p.requires_grad = "lora_" in key or "modules_to_save" in key
        if p.requires_grad:
            trained[key.replace(".modules_to_save", "").replace(".default", "")] = p
    start = {key: p.detach().clone() for key, p in trained.items()}
    if kind == "CAUSAL_LM":
        with torch.no_grad(), model.disable_adapter():
            out["reference"] = [policy_logp(model, ids).item() for ids in pair]
    optimizer = torch.optim.AdamW(trained.values(), lr=SETTINGS["lr"], weight_decay=SETTINGS["weight_decay"])
    for step in range(1, 4):
        optimizer.zero_grad()
        if step == 1:
            with torch.no_grad():
                out["last"] = [[float(f"{v:.9g}") for v in model(input_ids=torch.tensor([ids]), use_cache=False)
                                .logits.reshape(-1)[-(64 if kind == "CAUSAL_LM" else 1):].tolist()] for ids in pair]
        if kind == "CAUSAL_LM":
            d = [policy_logp(model, ids) - ref for ids, ref in zip(pair, out["reference"])]
            loss = -torch.nn.functional.logsigmoid(SETTINGS["beta"] * (d[0] - d[1]))
        else:
            r = [model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, 0] for ids in pair]
            loss = -torch.nn.functional.logsigmoid(r[0] - r[1])
        loss.backward()
        if step == 1:
            out["loss"] = loss.item()
            out["gradient"] = {key: numbers(p.grad) for key, p in sorted(trained.items())}
        norm = torch.nn.utils.clip_grad_norm_(list(trained.values()), SETTINGS["max_grad_norm"]).item()
        assert norm > SETTINGS["max_grad_norm"] or step > 1, norm
        optimizer.step()
        if step != 2:
            out[f"change {step}"] = {key: numbers(p.detach() - start[key]) for key, p in sorted(trained.items())}
    return out

if __name__ == "__main__":
    if len(sys.argv) > 2:
        with open(sys.argv[1] + "/adapter_config.json") as f:
            kind = json.load(f)["task_type"]
        cls = transformers.AutoModelForSequenceClassification if kind == "SEQ_CLS" else \
            transformers.AutoModelForCausalLM
        parts = stored(sys.argv[1])
        golden.float64_everywhere()
        print(json.dumps(values(together(cls, sys.argv[1], *parts), kind, [int(i) for i in sys.argv[2].split(",")])))
        sys.exit()
    for seed, name in enumerate(ADAPTERS):
        write(name, seed)
    parts = {name: stored("test/golden/" + name) for name in ADAPTERS}
    golden.float64_everywhere()
    for name in ADAPTERS:
        write_reference(name, parts[name])
    with open("test/golden/lora_steps.json", "w") as f:
        rows = [f'"{name}": ' + json.dumps(steps(name, parts[name])) for name in ADAPTERS]
        f.write('{"settings": ' + json.dumps(SETTINGS) + ",\n" + ",\n".join(rows) + "\n}\n")
