"""Stage `prepare`: sources become one validated table of prompts."""
