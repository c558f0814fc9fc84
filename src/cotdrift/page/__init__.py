"""The page: its template, its looks, and what it carries."""
