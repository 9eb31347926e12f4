"""Stage `probe`: where the pair sees harm, and who may teach."""
