"""Labels by people: which traces they are asked about, the page that asks, and what they answered."""
