"""What tests of several folders share: real parts started for them, and doubles."""
