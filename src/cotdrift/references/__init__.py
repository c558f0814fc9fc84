"""References: what human text looks like."""
