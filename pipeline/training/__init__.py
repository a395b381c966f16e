"""Fine-tuning on preference pairs: trl's DPO over shared-prefix batches, peft's LoRA."""
