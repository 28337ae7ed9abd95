"""Writes the tiny model folders of test/golden with PyTorch and transformers, which share nothing with ours.

    pip install torch==2.13.0 transformers safetensors numpy
    python scripts/golden_models.py test/golden [NAME...]

Without names it writes all of them.  Every folder holds what save_pretrained wrote (config.json, model.safetensors
or its parts) and reference.json:
    class      the transformers class;   dtype   how the weights are stored
    texts      [{ids, logits, logp, sum_logp}] for language models: token ids,
        the (V) logits after the last id,
               log p(ids[t+1] | ids[..t]) for t = 0 .. n-2, and their sum
               [{ids, score}] for reward models: the score read at the last id
The reference is computed in float64 throughout, from the weights as they were stored.
"""
import glob, json, os, sys
import numpy, safetensors.torch, torch, transformers
from transformers import (GPTNeoXConfig, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config,
                          GPTNeoXForCausalLM, GPT2LMHeadModel, LlamaForCausalLM, MistralForCausalLM,
                          Qwen2ForCausalLM, Qwen3ForCausalLM, GPTNeoXForSequenceClassification,
                          GPT2ForSequenceClassification, LlamaForSequenceClassification,
                          MistralForSequenceClassification, SmolLM3Config, SmolLM3ForCausalLM,
                          Olmo2Config, Olmo2ForCausalLM, Olmo2ForSequenceClassification,
                          Qwen2ForSequenceClassification, Qwen3ForSequenceClassification,
                          SmolLM3ForSequenceClassification)

NEOX = dict(vocab_size=64, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48,
            max_position_embeddings=64, bos_token_id=0, eos_token_id=0, pad_token_id=1)
SMALL = {**NEOX, "hidden_size": 16, "num_attention_heads": 2}
ROPE = dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=0.5)
LLAMA = dict(vocab_size=64, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             intermediate_size=40, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0)
TINY = {**LLAMA, "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24}
GPT2 = dict(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=40, bos_token_id=0, eos_token_id=0)
LLAMA3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
MODELS = {
    "neox": (GPTNeoXForCausalLM, GPTNeoXConfig(**NEOX, rotary_pct=0.25), "float32"),
    "neox_sequential": (GPTNeoXForCausalLM, GPTNeoXConfig(**SMALL, rope_parameters=ROPE,
                        hidden_act="gelu_new", use_parallel_residual=False, tie_word_embeddings=True), "float16"),
    "neox_reward": (GPTNeoXForSequenceClassification, GPTNeoXConfig(**SMALL, num_labels=1), "float32"),
    "gpt2": (GPT2LMHeadModel, GPT2Config(**GPT2), "float32"),
    "llama": (LlamaForCausalLM, LlamaConfig(**LLAMA), "float32"),
    "llama3": (LlamaForCausalLM, LlamaConfig(**{**LLAMA, "rms_norm_eps": 1e-5}, rope_parameters=LLAMA3,
               attention_bias=True, mlp_bias=True, tie_word_embeddings=True, head_dim=8), "bfloat16"),
    "llama_reward": (LlamaForSequenceClassification, LlamaConfig(**LLAMA, num_labels=1), "bfloat16"),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**LLAMA), "float16"),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**LLAMA, head_dim=8, tie_word_embeddings=True), "float32"),
    "neox_tied": (GPTNeoXForCausalLM, GPTNeoXConfig(**SMALL, rotary_pct=1.0, attention_bias=False,
                  tie_word_embeddings=True), "bfloat16"),
    "gpt2_untied": (GPT2LMHeadModel, GPT2Config(**GPT2, n_inner=40, tie_word_embeddings=False), "float32"),
    "gpt2_reward": (GPT2ForSequenceClassification, GPT2Config(**GPT2, num_labels=1, pad_token_id=1), "float32"),
    "mistral": (MistralForCausalLM, MistralConfig(**TINY, sliding_window=64), "float32"),
    "mistral_tied": (MistralForCausalLM, MistralConfig(**TINY, sliding_window=None, head_dim=10,
                     tie_word_embeddings=True), "bfloat16"),
    "mistral_reward": (MistralForSequenceClassification, MistralConfig(**TINY, sliding_window=None, num_labels=1),
                       "float32"),
    "qwen2_tied": (Qwen2ForCausalLM, Qwen2Config(**TINY, tie_word_embeddings=True), "bfloat16"),
    "qwen3_untied": (Qwen3ForCausalLM, Qwen3Config(**TINY, head_dim=8, attention_bias=True), "float16"),
    "llama_linear": (LlamaForCausalLM, LlamaConfig(**TINY, rope_parameters=dict(rope_type="linear", rope_theta=1000.0,
                     factor=4.0)), "bfloat16"),
    "llama_dynamic": (LlamaForCausalLM, LlamaConfig(**TINY, rope_parameters=dict(rope_type="dynamic",
                      rope_theta=1000.0, factor=4.0)), "bfloat16"),
    "qwen2_yarn": (Qwen2ForCausalLM, Qwen2Config(**TINY, rope_parameters=dict(rope_type="yarn",
                   rope_theta=1000.0, factor=4.0, original_max_position_embeddings=64)), "bfloat16"),
    "smollm3": (SmolLM3ForCausalLM, SmolLM3Config(**TINY, no_rope_layers=[1, 0], rope_parameters=dict(
                rope_type="default", rope_theta=100.0)), "bfloat16"),
    "mistral_window": (MistralForCausalLM, MistralConfig(**TINY, sliding_window=6), "bfloat16"),
    "qwen2_window": (Qwen2ForCausalLM, Qwen2Config(**TINY, use_sliding_window=True, sliding_window=5,
                     max_window_layers=1), "bfloat16"),
    "olmo2": (Olmo2ForCausalLM, Olmo2Config(**LLAMA, rope_parameters=dict(rope_type="default", rope_theta=500.0)),
              "bfloat16"),
    "qwen2_reward": (Qwen2ForSequenceClassification, Qwen2Config(**TINY, num_labels=1), "bfloat16"),
    "qwen3_reward": (Qwen3ForSequenceClassification, Qwen3Config(**TINY, head_dim=8, num_labels=1), "bfloat16"),
    "smollm3_reward": (SmolLM3ForSequenceClassification, SmolLM3Config(**TINY, no_rope_layers=[0, 1], num_labels=1,
                       rope_parameters=dict(rope_type="default", rope_theta=100.0)), "bfloat16"),
    "olmo2_reward": (Olmo2ForSequenceClassification, Olmo2Config(**TINY, num_labels=1), "bfloat16"),
}
SHARDED = {"mistral": "8KB"}                           # the largest part of its weights

def weights(model, seed):                              # the same on every machine: numpy's frozen generator
    random = numpy.random.RandomState(seed)
    for name, p in sorted(model.named_parameters()):
        x = random.standard_normal(tuple(p.shape))
        p.data = torch.tensor(1 + 0.2*x if "norm" in name or ".ln_" in name else 0.25*x, dtype=torch.float32)
    model.tie_weights()

def float64_everywhere():                          # transformers computes norms and rotary angles in float32
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)

def reference(cls, folder, dtype, state):
    config = transformers.AutoConfig.from_pretrained(folder)
    config.dtype = torch.float64
    model = cls(config).double().eval()
    state = {k.replace("embed_out", "lm_head"): v.double() for k,
             v in state.items()}    # as it is named in memory
    missing, unexpected = model.load_state_dict(state, strict=False)
    tied = config.tie_word_embeddings and "Sequence" not in cls.__name__
    assert not unexpected and missing == ["lm_head.weight"]*tied
    model.tie_weights()
    random, texts = numpy.random.RandomState(7), []
    for n in (1, 2, 5, 17, 33):
        ids = [int(i) for i in random.randint(3, config.vocab_size, n)]
        with torch.no_grad():
            logits = model(torch.tensor([ids]), use_cache=False).logits[0]
        assert logits.dtype == torch.float64
        if "Sequence" in cls.__name__:
            texts.append(dict(ids=ids, score=logits[0].item()))
            continue
        logp = [torch.log_softmax(logits[t], 0)[ids[t + 1]].item() for t in range(n - 1)]
        texts.append(dict(ids=ids, logits=logits[-1].tolist(), logp=logp, sum_logp=sum(logp)))
    return dict(**{"class": cls.__name__}, dtype=dtype, torch=torch.__version__.split("+")[0],
                transformers=transformers.__version__, texts=texts)

def load(folder):
    state = {}
    for part in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        state.update(safetensors.torch.load_file(part))
    return state

def write(out, names):
    for seed, (name, (cls, config, dtype)) in enumerate(MODELS.items()):
        if name not in names:
            continue
        model, folder = cls(config), os.path.join(out, name)
        weights(model, seed)
        parts = dict(max_shard_size=SHARDED[name]) if name in SHARDED else {}
        model.to(getattr(torch, dtype)).save_pretrained(folder, **parts)
        if os.path.exists(os.path.join(folder, "generation_config.json")):
            os.remove(os.path.join(folder, "generation_config.json"))
    stored = {name: load(os.path.join(out, name)) for name in names}
    float64_everywhere()
    for name in names:
        cls, config, dtype = MODELS[name]
        with open(os.path.join(out, name, "reference.json"), "w") as f:
            json.dump(reference(cls, os.path.join(out, name), dtype, stored[name]), f)
            f.write("\n")

if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2:] or list(MODELS))
