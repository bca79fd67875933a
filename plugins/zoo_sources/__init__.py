"""The zoo's own sources of bases and data, each found through its entry point like a third party's."""
