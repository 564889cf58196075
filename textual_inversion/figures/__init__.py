"""Contact sheets and plots."""
