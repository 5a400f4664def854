"""The real infinity-emb on a machine without a GPU, for the demo and for the acceptance tests."""
