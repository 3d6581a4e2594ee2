"""Redis beside the record: a copy of working memory, counters, and bells between machines. All of it may be lost."""
