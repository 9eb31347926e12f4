"""The stages of SafeReAct-Ops and what they share. Nothing here imports Prefect."""
