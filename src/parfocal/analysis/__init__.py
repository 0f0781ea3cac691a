"""Pure array functions: filter, threshold, segment, measure, assess, score."""
