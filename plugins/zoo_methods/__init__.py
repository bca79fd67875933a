"""The zoo's own methods, one file each, found through their entry points like a third party's."""
