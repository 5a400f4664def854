"""One module per thing a user can ask for; each reads like the sentence that describes it."""
