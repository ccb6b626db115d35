"""Where published files lie, a folder or a bucket, behind one small set of verbs."""
