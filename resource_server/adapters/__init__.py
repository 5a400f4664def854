"""One module per outside thing; foreign errors become ours here."""
