"""The learner's table: layouts, growth in small steps, 16-bit fixed point."""
