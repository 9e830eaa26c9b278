"""The experiments: each turns the parts before it into its own, one unit at a time.

Every module offers `units` (what is to be done, by content key) and `run` (do one of them and
commit it). A unit whose part exists is done; running it again only reads the store.
"""
