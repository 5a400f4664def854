"""The command with which a person logs in and gets an access token: one file, to be copied."""
