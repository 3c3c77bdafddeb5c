"""MediaPipe's core calculators, one per file, found by entry point."""
