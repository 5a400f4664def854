"""Makes the tiny Whisper model, which hears the digits of a telephone's keys."""
