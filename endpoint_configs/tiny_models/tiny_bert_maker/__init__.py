"""Makes two tiny BERT models: one ranks documents for a question, one names a text's subject."""
