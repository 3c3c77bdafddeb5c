"""Small graphs in the shapes of real ones, and the calculators that they need."""
