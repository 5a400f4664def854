"""The clients that people use, in environments of their own, for the conformance tests."""
