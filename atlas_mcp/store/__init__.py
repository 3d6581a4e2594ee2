"""What outlives a process: the home folder, the record, and the locks that keep its processes apart."""
