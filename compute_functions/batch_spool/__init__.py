"""The site's spool of batches: their folders and files, and the functions a gateway calls.

Nothing here needs the agent: any process of the service's account may call `run_batch` and
`batch_file`, several at the same time. What must happen once is an exclusive create or a link.
"""
