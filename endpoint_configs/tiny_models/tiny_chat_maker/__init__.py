"""Makes the tiny chat model: corpus, tokenizer, training, and the check of its answers."""
