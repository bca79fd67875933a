"""The zoo's own tasks, one file each, found through their entry points like a third party's."""
