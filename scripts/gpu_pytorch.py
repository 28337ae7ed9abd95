"""Steps of GPT-2 124M and Pythia-160M in PyTorch on one GPU, to put beside `more bench`: fp32
without TF32 and bf16 autocast, eager and torch.compile.  Needs torch and transformers; weights are
drawn."""
import sys
import time

import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig

ROWS, LENGTH, STEPS = 8, 512, 20
MODELS = {
    "GPT-2 124M": GPT2Config(),
    "Pythia-160M": GPTNeoXConfig(
        vocab_size=50304, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
        intermediate_size=3072, rotary_pct=0.25, max_position_embeddings=2048),
}


def tokens_per_second(config, bf16, compiled):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    run = torch.compile(model) if compiled else model
    ids = torch.randint(0, config.vocab_size, (ROWS, LENGTH), device="cuda")
    for step in range(STEPS + 5):
        if step == 5:
            torch.cuda.synchronize()
            start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            loss = run(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    return ROWS * LENGTH * STEPS / (time.perf_counter() - start)


if not torch.cuda.is_available():
    sys.exit("no GPU")
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
print(torch.cuda.get_device_name(), "torch", torch.__version__)
for name, config in MODELS.items():
    for bf16 in (False, True):
        for compiled in (False, True):
            speed = tokens_per_second(config, bf16, compiled)
            print(f"{name}, {'bf16' if bf16 else 'fp32'}, "
                  f"{'torch.compile' if compiled else 'eager'}: {speed:.0f} tokens/s")
