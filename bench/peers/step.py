"""Times one LoRA training step of an encoder classifier with PyTorch and peft on the CPU.

    python step.py --model DIR [--batch 32] [--length 64] [--rank 8] [--steps 10] [--warmup 3] [--threads 2]
                   [--attention eager|sdpa|both]

A step is forward from token ids, cross-entropy, backward, AdamW; LoRA on query and value, classifier trained, no
padding, float32, no dropout, no clipping. A forward is the same model under `no_grad`. Prints one JSON line for each
kind of attention. How it is installed and what is compared: README.md beside this file.
"""

import argparse
import json
import os
import statistics
import time
import warnings

# Threads are set by --threads alone.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"):
    os.environ.pop(variable, None)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Raised by peft's own call into transformers.
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)

import peft
import torch
import torch.nn.functional as F
import transformers
from transformers import AutoModelForSequenceClassification

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

SEED, NUM_LABELS, LEARNING_RATE, WEIGHT_DECAY = 1, 2, 1e-3, 0.01
LORA_TARGETS = {"bert": ["query", "value"], "roberta": ["query", "value"], "distilbert": ["q_lin", "v_lin"]}
HEADS = {"bert": ["classifier"], "roberta": ["classifier"], "distilbert": ["pre_classifier", "classifier"]}


def adapted_model(directory, rank, attention):
    """Loads the base model and adds the adapter; eval mode switches every dropout off and changes nothing else."""
    model = AutoModelForSequenceClassification.from_pretrained(
        directory,
        num_labels=NUM_LABELS,
        attn_implementation=attention,
        dtype=torch.float32,
        local_files_only=True,
        ignore_mismatched_sizes=True,  # a head for another number of classes is replaced
    )
    family = model.config.model_type
    config = peft.LoraConfig(
        task_type=peft.TaskType.SEQ_CLS,
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=LORA_TARGETS[family],
        modules_to_save=HEADS[family],
    )
    return peft.get_peft_model(model, config).eval()


def step(model, optimizer, input_ids, labels):
    """Runs one optimizer step and returns its loss."""
    loss = F.cross_entropy(model(input_ids=input_ids).logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def forward(model, input_ids):
    """Runs one forward without a graph."""
    return model(input_ids=input_ids).logits


def millis_of(work, repetitions, warmup):
    """Times `work` and returns the milliseconds of every repetition after the warm-up."""
    millis = []
    for _ in range(warmup + repetitions):
        started = time.perf_counter()
        work()
        millis.append((time.perf_counter() - started) * 1e3)
    return millis[warmup:]


def measure(args, attention):
    """Returns the record of one kind of attention."""
    load_average = os.getloadavg()[0]  # of other programs, before ours adds to it
    torch.manual_seed(SEED)
    model = adapted_model(args.model, args.rank, attention)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    # Ids from 5 on: no padding id in any family, so RoBERTa counts every position.
    input_ids = torch.randint(5, model.config.vocab_size, (args.batch, args.length))
    labels = torch.randint(0, NUM_LABELS, (args.batch,))
    step_millis = millis_of(lambda: step(model, optimizer, input_ids, labels), args.steps, args.warmup)
    forward_millis = millis_of(lambda: forward(model, input_ids), args.steps, args.warmup)
    return {
        "peer": "pytorch+peft",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "attention": attention,
        "batch": args.batch,
        "length": args.length,
        "rank": args.rank,
        "trainable_parameters": sum(p.numel() for p in trainable),
        "step_millis_median": round(statistics.median(step_millis), 2),
        "step_millis_min": round(min(step_millis), 2),
        "step_millis": [round(millis, 2) for millis in step_millis],
        "forward_millis_median": round(statistics.median(forward_millis), 2),
        "threads": torch.get_num_threads(),
        "load_average_before": round(load_average, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="Hugging Face model directory")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the first timed one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--attention", choices=["eager", "sdpa", "both"], default="both")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for attention in ["eager", "sdpa"] if args.attention == "both" else [args.attention]:
        print(json.dumps(measure(args, attention)), flush=True)


if __name__ == "__main__":
    main()
