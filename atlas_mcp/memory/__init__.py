"""What is remembered by many and searched by words: shared documents, and what runs came to and taught."""
