"""Which files of a cluster a person may have read for a batch, and where results may be put.

`access` says what the spool wants; `chosen` gives it in the mode of the site. In the mode `account`
the service's account reads and writes, and what the person may do is evaluated as the kernel would,
on descriptors that were opened without following any link. In the mode `user` a small program does
it that runs as the person.
"""
