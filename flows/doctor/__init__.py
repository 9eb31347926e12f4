"""What a machine or a profile lacks, before anything is spent."""
